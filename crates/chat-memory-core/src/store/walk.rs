//! The walk through a log that every load makes.

use super::{Load, Reach, Record};
use crate::message::Message;
use crate::timestamp::Timestamp;

/// How many records a load by weight requests first: their weight is unknown until they are read.
const FIRST_RECORDS_OF_A_BUDGET: u64 = 8;

/// A walk through a log, from its newest record backwards, following rewinds, until the load has what it asked for. Every store
/// loads with it: the walk names the number it [wants](Walk::wants) next, and the store passes it that record.
///
/// ```
/// use chat_memory::store::{AppendId, Load, Record, Walk};
/// use chat_memory::{Message, Timestamp};
/// let record = |seq| Record::new(seq, AppendId::random(), Timestamp::now()).with_entries([Message::user(format!("{seq}"))]);
/// let log = [record(0), record(1), record(2).with_rewind(1)]; // record 2 takes record 1's place
/// let mut walk = Walk::new(&Load::all(), Some(2), Timestamp::now());
/// while let Some(seq) = walk.wants() {
///     walk.take(log[seq as usize].clone());
/// }
/// let (records, complete) = walk.finish();
/// assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), [0, 2]);
/// assert!(complete);
/// ```
#[derive(Debug)]
pub struct Walk {
    reach: Reach,
    singly: bool,
    since: u64,
    /// Records to skip: their messages are left out, but their rewinds are followed.
    passing: Option<Passing>,
    now: Timestamp,
    wants: Option<u64>,
    taken: Vec<Record>,
    filled: u64,
    ended: bool,
}

/// What is newer than the requested page: the reader has seen it, or it was appended later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passing {
    /// Records with this number or higher were appended after the reader's load.
    pub(super) came_after: u64,
    /// The oldest record that the reader has seen. Records from here up to `came_after` need not be read again.
    pub(super) seen: u64,
}

impl Walk {
    /// Starts a walk at the record numbered `newest` (`None` for an empty log), hiding what has expired at `now`.
    pub fn new(load: &Load, newest: Option<u64>, now: Timestamp) -> Self {
        let empty_reach = match &load.reach {
            Reach::All => false,
            Reach::Records(n) | Reach::Messages(n) | Reach::Turns(n) => *n == 0,
            Reach::Weight { budget, .. } => *budget == 0,
        };
        let mut walk = Self {
            reach: load.reach.clone(),
            singly: load.singly,
            since: load.since.unwrap_or(0),
            passing: load.before.map(|older| older.passing(now)),
            now,
            wants: None,
            taken: Vec::new(),
            filled: 0,
            ended: newest.is_none(),
        };
        if !empty_reach {
            walk.wants = newest.and_then(|newest| walk.or_below(newest));
        }
        walk
    }

    /// Returns the number of the next record; `None` when the walk is over.
    pub fn wants(&self) -> Option<u64> {
        self.wants
    }

    /// Takes the record that was wanted.
    pub fn take(&mut self, record: Record) {
        debug_assert_eq!(self.wants, Some(record.seq));
        let below = record.rewind.unwrap_or(record.seq);
        let passed = self.passing.is_some_and(|passing| record.seq >= passing.seen);
        // An expired record is hidden, but its rewind still counts: what it removed stays removed.
        if !passed && !record.is_expired(self.now) {
            // The caller's weights may be any numbers.
            let weight = match self.reach {
                Reach::Records(_) => 1,
                _ => record.messages().map(|message| self.weight(message)).fold(0, u64::saturating_add),
            };
            self.filled = self.filled.saturating_add(weight);
            self.taken.push(record);
        }
        self.go_below(below);
    }

    /// Skips a number whose record is gone (purged, in a store with a retention).
    pub fn skip(&mut self, seq: u64) {
        debug_assert!(self.wants.is_some_and(|wanted| wanted >= seq));
        self.go_below(seq);
    }

    /// Ends the walk: everything before this point was cleared.
    pub fn end(&mut self) {
        self.wants = None;
        self.ended = true;
    }

    /// Returns the oldest record taken so far.
    pub fn last_taken(&self) -> Option<&Record> {
        self.taken.last()
    }

    /// Sets where the walk starts, once the newest record is known. Call it only before anything was taken.
    pub fn start_at(&mut self, newest: u64) {
        debug_assert!(self.taken.is_empty());
        if self.wants.is_some() {
            self.wants = self.or_below(newest);
        }
    }

    /// Estimates how many more records the walk needs, from the size of those taken so far; `None` for all of them.
    ///
    /// The first estimate assumes two messages per record, a typical turn, or one if the load says so. An estimate that is too
    /// high reads unneeded bytes; one that is too low costs another request.
    pub fn records_to_go(&self) -> Option<u64> {
        if let (Some(passing), Some(wanted)) = (self.passing, self.wants)
            && wanted >= passing.came_after
        {
            // After these, the walk skips the records that the reader has seen.
            return Some((wanted - passing.came_after).saturating_add(1));
        }
        let target = match &self.reach {
            Reach::All => return None,
            Reach::Records(n) | Reach::Messages(n) | Reach::Turns(n) => *n as u64,
            Reach::Weight { budget, .. } => *budget,
        };
        let taken = self.taken.len() as u64;
        let guess = match &self.reach {
            _ if self.filled > 0 => (target.saturating_sub(self.filled)).saturating_mul(taken).div_ceil(self.filled),
            _ if taken > 0 => taken.saturating_mul(2),
            Reach::Turns(_) if self.singly => target.saturating_mul(2),
            Reach::Messages(_) if !self.singly => target.div_ceil(2),
            Reach::Weight { .. } => FIRST_RECORDS_OF_A_BUDGET,
            _ => target,
        };
        // One more than the estimate, because the last record often holds a little less than the others.
        Some(guess.saturating_add(1))
    }

    /// Returns the records taken, oldest first, and whether they are all the records.
    pub fn finish(mut self) -> (Vec<Record>, bool) {
        self.taken.reverse();
        (self.taken, self.ended)
    }

    fn weight(&self, message: &Message) -> u64 {
        match &self.reach {
            Reach::All | Reach::Records(_) => 0,
            Reach::Messages(_) => 1,
            Reach::Turns(_) => u64::from(message.begins_turn()),
            Reach::Weight { of, .. } => of(message),
        }
    }

    fn go_below(&mut self, seq: u64) {
        let full = match &self.reach {
            Reach::All => false,
            Reach::Records(n) | Reach::Messages(n) | Reach::Turns(n) => self.filled >= *n as u64,
            Reach::Weight { budget, .. } => self.filled >= *budget,
        };
        self.wants = seq.checked_sub(1).filter(|_| !full).and_then(|below| self.or_below(below));
        self.ended = seq == 0;
    }

    /// Returns the number at which the walk continues after reaching `seq`: lower if the records in between are already known,
    /// none if the rest is not needed.
    fn or_below(&mut self, seq: u64) -> Option<u64> {
        let mut at = seq;
        if let Some(passing) = self.passing {
            if at < passing.seen {
                self.passing = None;
            } else if at < passing.came_after {
                at = passing.seen;
            }
        }
        (at >= self.since).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{AppendId, PageCursor};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn record(seq: u64, rewind: Option<u64>) -> Record {
        Record { rewind, ..Record::new(seq, AppendId::random(), NOW).with_entries([Message::user(format!("{seq}"))]) }
    }

    /// Returns the numbers taken and the numbers read.
    fn walk(log: &[Record], load: &Load, now: Timestamp) -> (Vec<u64>, Vec<u64>) {
        let mut walk = Walk::new(load, (log.len() as u64).checked_sub(1), now);
        let mut read = Vec::new();
        while let Some(seq) = walk.wants() {
            read.push(seq);
            walk.take(log[usize::try_from(seq).expect("small")].clone());
        }
        (walk.finish().0.iter().map(|record| record.seq).collect(), read)
    }

    #[test]
    fn continued_page_reads_new_records_and_one_seen_record() {
        let mut log: Vec<_> = (0..10).map(|seq| record(seq, None)).collect();
        let before = |next, seen| Load::last(2).before(PageCursor::new(next, seen, NOW));
        assert_eq!(walk(&log, &before(10, 8), NOW), (vec![6, 7], vec![8, 7, 6]));
        log.push(record(10, None));
        log.push(record(11, None));
        assert_eq!(walk(&log, &before(10, 8), NOW), (vec![6, 7], vec![11, 10, 8, 7, 6]));
        // Rewound since: part of what was seen, all of it, and more than that.
        for (rewind, page, read) in [(9, vec![6, 7], vec![12, 8, 7, 6]), (7, vec![5, 6], vec![12, 6, 5]), (0, vec![], vec![12])] {
            let mut log = log.clone();
            log.push(record(12, Some(rewind)));
            assert_eq!(walk(&log, &before(10, 8), NOW), (page, read), "{rewind}");
        }
        // After a day nothing is skipped.
        assert_eq!(walk(&log, &before(10, 8), NOW + PageCursor::LEAPS_FOR + Duration::from_millis(1)).1, [11, 10, 9, 8, 7, 6]);
        // The log was restarted and is shorter.
        assert_eq!(walk(&log[..5], &before(10, 8), NOW), (vec![3, 4], vec![4, 3]));
    }

    #[test]
    fn since_stops_reading_at_its_number() {
        let mut log: Vec<_> = (0..6).map(|seq| record(seq, None)).collect();
        assert_eq!(walk(&log, &Load::all().since(4), NOW), (vec![4, 5], vec![5, 4]));
        assert_eq!(walk(&log, &Load::all().since(9), NOW), (vec![], vec![]));
        log.push(record(6, Some(2)));
        assert_eq!(walk(&log, &Load::all().since(4), NOW), (vec![6], vec![6]));
        assert_eq!(walk(&log, &Load::all().since(1), NOW), (vec![1, 6], vec![6, 1]));
    }
}
