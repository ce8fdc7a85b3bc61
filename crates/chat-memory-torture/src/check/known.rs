//! What a history reveals about its appends: which were stored, where, and when.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeBounds;

use super::{Contract, Counts};
use crate::Result;
use crate::history::{Event, Loaded, Outcome};
use crate::op::Op;

/// How long keys are certainly valid: a day, less the possible difference between clocks.
const KEY_MS: i64 = 23 * 60 * 60 * 1000;

/// The most seconds by which two clocks differ where records expire, with a margin.
const CLOCKS_S: i64 = 60;

/// One attempt of an append.
pub(super) struct Try<'a> {
    pub(super) from: u64,
    pub(super) ticket: bool,
    /// When, by which wall clock, and how it ended.
    pub(super) ended: Option<(u64, i64, &'a Outcome)>,
}

/// An append, and everything known of it.
pub(super) struct Appended<'a> {
    pub(super) op: &'a Op,
    pub(super) tries: Vec<Try<'a>>,
    /// Where it is, if it was seen.
    pub(super) landed: Option<Place>,
}

impl Appended<'_> {
    /// Whether an attempt may have continued after its key expired: the append may then be stored twice. `last` is the last wall
    /// clock reading of any process.
    fn outlived_its_key(&self, last: i64) -> bool {
        let ends = self.tries.iter().map(|one| one.ended.map_or(last, |(_, clock, _)| clock));
        self.op.keyed && ends.max().is_some_and(|end| end - self.op.first_tried > KEY_MS)
    }

    /// Whether each attempt was refused.
    pub(super) fn was_refused(&self) -> bool {
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Conflict { .. } | Outcome::NotWritten { .. });
        self.tries.iter().all(|one| one.ended.is_some_and(|(_, _, outcome)| refused(outcome)))
    }

    /// When it was first tried.
    pub(super) fn from(&self) -> u64 {
        self.tries.iter().map(|one| one.from).min().unwrap_or(0)
    }
}

/// A record of the log.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) id: String,
    /// When it had been seen.
    pub(super) by: u64,
    /// When it expires, in epoch seconds, if a load returned it.
    pub(super) expires_at: Option<Option<i64>>,
}

impl Place {
    /// Whether it may have expired by this wall clock (epoch milliseconds).
    pub(super) fn may_be_gone(&self, clock: i64) -> bool {
        self.expires_at.is_none_or(|at| at.is_some_and(|at| at * 1000 <= clock))
    }
}

/// A delete.
pub(super) struct Delete<'a> {
    session: &'a str,
    from: u64,
    /// When, and by which wall clock, it ended, if its outcome is known.
    ended: Option<(u64, i64)>,
}

/// A time by which a session's log had at least this many records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) by: u64,
    pub(super) next: u64,
}

/// Everything that a history reveals.
pub(super) struct Known<'a> {
    pub(super) contract: Contract,
    pub(super) appends: BTreeMap<u64, Appended<'a>>,
    pub(super) loads: Vec<&'a Loaded>,
    pub(super) deletes: Vec<Delete<'a>>,
    /// Per session, the appends at each number. Several only where records expire and numbers restart.
    pub(super) at: HashMap<&'a str, BTreeMap<u64, Vec<u64>>>,
    pub(super) marks: HashMap<&'a str, Vec<Mark>>,
}

impl<'a> Known<'a> {
    pub(super) fn of(history: &'a [Event], contract: Contract) -> Result<Self> {
        let (appends, loads, deletes) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut known = Self { contract, appends, loads, deletes, at: HashMap::new(), marks: HashMap::new() };
        let (mut ends, mut deleted) = (HashMap::new(), HashMap::new());
        for event in history {
            match event {
                Event::Tried { at, number, clock, outcome } => drop(ends.insert(*number, (*at, *clock, outcome))),
                Event::Deleted { at, number, clock, settled: true } => drop(deleted.insert(*number, (*at, *clock))),
                _ => {}
            }
        }
        for event in history {
            match event {
                Event::Tries { at, number, op, ticket } => {
                    let append = known.appends.entry(op.number).or_insert(Appended { op, tries: Vec::new(), landed: None });
                    let ended = ends.get(number).copied();
                    append.tries.push(Try { from: *at, ticket: ticket.is_some(), ended });
                }
                Event::Loaded(load) => known.loads.push(load),
                Event::Deletes { at, number, session } => {
                    known.deletes.push(Delete { session, from: *at, ended: deleted.get(number).copied() });
                }
                Event::Tried { .. } | Event::Deleted { .. } | Event::Wrong { .. } => {}
            }
        }
        known.place()?;
        Ok(known)
    }

    /// Finds where each append was stored, from responses and from loads.
    fn place(&mut self) -> Result {
        let mut places: Vec<(u64, Place)> = Vec::new();
        for (number, append) in &self.appends {
            for (by, _, outcome) in append.tries.iter().filter_map(|one| one.ended) {
                let session = append.op.session.as_str();
                match outcome {
                    Outcome::Appended { seq, id } => {
                        places.push((*number, Place { seq: *seq, id: id.clone(), by, expires_at: None }));
                        self.marks.entry(session).or_default().push(Mark { by, next: seq + 1 });
                    }
                    Outcome::Conflict { next: Some(next) } => {
                        self.marks.entry(session).or_default().push(Mark { by, next: *next });
                    }
                    _ => {}
                }
            }
        }
        for load in &self.loads {
            self.marks.entry(&load.session).or_default().push(Mark { by: load.to, next: load.next });
            for shown in &load.shown {
                let Some(number) = shown.op else { continue };
                let place = Place { seq: shown.seq, id: shown.id.clone(), by: load.to, expires_at: Some(shown.expires_at) };
                places.push((number, place));
            }
        }
        let clocks = self.appends.values().flat_map(|append| &append.tries).filter_map(|one| one.ended);
        let last = clocks.map(|(_, clock, _)| clock).chain(self.loads.iter().map(|load| load.clock_to)).max().unwrap_or(i64::MAX);
        for (number, mut place) in places {
            let Some(append) = self.appends.get_mut(&number) else {
                return Err(format!("record {} is of append {number}, which was never made", place.seq));
            };
            if let Some(kept_s) = self.contract.session_s {
                place.expires_at = Some(Some(append.op.first_tried.div_euclid(1000) + kept_s - CLOCKS_S));
            }
            let is_twice = append.landed.as_ref().is_some_and(|first| first.seq != place.seq || first.id != place.id);
            if is_twice && append.outlived_its_key(last) {
                continue;
            }
            match &mut append.landed {
                None => {
                    self.at.entry(&append.op.session).or_default().entry(place.seq).or_default().push(number);
                    append.landed = Some(place);
                }
                Some(first) if is_twice => {
                    return Err(format!(
                        "append {number} is record {} ({}) and record {} ({})",
                        first.seq, first.id, place.seq, place.id
                    ));
                }
                Some(first) => {
                    first.by = first.by.min(place.by);
                    first.expires_at = first.expires_at.or(place.expires_at);
                }
            }
        }
        Ok(())
    }

    /// Returns where an append was stored, if it was.
    pub(super) fn landed(&self, number: u64) -> Option<(&Appended<'a>, &Place)> {
        let append = self.appends.get(&number)?;
        append.landed.as_ref().map(|place| (append, place))
    }

    /// Returns the appends of a session known to be stored at these numbers and tried before this time. Where numbers restart, a
    /// later append may have the number of an earlier one.
    pub(super) fn between<'s>(
        &'s self,
        session: &str,
        numbers: impl RangeBounds<u64> + 's,
        by: u64,
    ) -> impl Iterator<Item = (&'s Appended<'a>, &'s Place)> {
        let at = self.at.get(session).into_iter().flatten().filter(move |(seq, _)| numbers.contains(*seq));
        let landed = at.flat_map(|(_, numbers)| numbers).filter_map(|number| self.landed(*number));
        landed.filter(move |(append, _)| append.from() < by)
    }

    /// Whether the log may be shorter than at this mark, by this wall clock: everything known from that number on has expired.
    pub(super) fn may_be_shorter(&self, session: &str, from: u64, mark: &Mark, clock: i64) -> bool {
        self.contract.retained && self.between(session, from..mark.next, mark.by).all(|(_, place)| place.may_be_gone(clock))
    }

    /// Whether a record may have been removed before a load ended, by a record that the load does not return.
    pub(super) fn may_be_taken_back(&self, append: &Appended<'_>, place: &Place, load: &Loaded) -> bool {
        let takes = |other: &Appended<'_>| {
            other.op.session == load.session
                && other.from() < load.to
                && other.op.what.rewinds_to().is_some_and(|to| to <= place.seq)
        };
        let lands = |other: &Appended<'_>| match &other.landed {
            Some(there) => place.seq < there.seq && there.seq < load.next,
            None => !other.was_refused(),
        };
        self.appends.values().any(|other| takes(other) && lands(other))
            || self.deletes.iter().any(|delete| {
                let ends_later = delete.ended.is_none_or(|(at, _)| at > append.from());
                delete.session == load.session && delete.from < load.to && ends_later
            })
    }

    /// Whether everything written to a session before a load ended is so old that the session has expired.
    pub(super) fn has_surely_expired(&self, load: &Loaded) -> bool {
        let Some(kept_s) = self.contract.session_s else { return false };
        let appends = self.appends.values().filter(|append| append.op.session == load.session).flat_map(|append| &append.tries);
        let appends = appends.filter(|one| one.from < load.to).map(|one| one.ended.map(|(_, clock, _)| clock));
        let deletes = self.deletes.iter().filter(|delete| delete.session == load.session && delete.from < load.to);
        let mut ends = appends.chain(deletes.map(|delete| delete.ended.map(|(_, clock)| clock)));
        ends.all(|clock| clock.is_some_and(|clock| clock + (kept_s + CLOCKS_S) * 1000 <= load.clock_from))
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts { loads: self.loads.len(), ..Counts::default() };
        for append in self.appends.values() {
            counts.tries += append.tries.len();
            counts.landed += usize::from(append.landed.is_some());
            for one in &append.tries {
                match one.ended {
                    None | Some((_, _, Outcome::InDoubt { .. })) => counts.in_doubt += 1,
                    Some((_, _, Outcome::Conflict { .. })) => counts.conflicts += 1,
                    _ => {}
                }
            }
        }
        counts
    }
}
