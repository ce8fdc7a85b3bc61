//! What a history tells of its appends: which landed, where, and when.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeBounds;

use super::{Contract, Counts};
use crate::Result;
use crate::history::{Event, Loaded, Outcome};
use crate::op::Op;

/// For how long keys are surely good: a day, less what clocks may differ by.
const KEY_MS: i64 = 23 * 60 * 60 * 1000;

/// By how many seconds two clocks differ at most where something expires, and more.
const CLOCKS_S: i64 = 60;

/// One try of an append.
pub(super) struct Try<'a> {
    pub(super) from: u64,
    pub(super) ticket: bool,
    /// When, by which wall clock, and how it ended.
    pub(super) ended: Option<(u64, i64, &'a Outcome)>,
}

/// An append, and all that is known of it.
pub(super) struct Appended<'a> {
    pub(super) op: &'a Op,
    pub(super) tries: Vec<Try<'a>>,
    /// Where it is, if anyone saw it.
    pub(super) landed: Option<Place>,
}

impl Appended<'_> {
    /// Whether a try of it may have gone on when its key was no longer good: then it may be there twice. `last` is the last wall clock
    /// that anyone read.
    fn outlived_its_key(&self, last: i64) -> bool {
        let ends = self.tries.iter().map(|one| one.ended.map_or(last, |(_, clock, _)| clock));
        self.op.keyed && ends.max().is_some_and(|end| end - self.op.first_tried > KEY_MS)
    }

    /// Whether each try of it was refused.
    pub(super) fn was_refused(&self) -> bool {
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Conflict { .. } | Outcome::NotWritten { .. });
        self.tries.iter().all(|one| one.ended.is_some_and(|(_, _, outcome)| refused(outcome)))
    }

    /// When it was tried first.
    pub(super) fn from(&self) -> u64 {
        self.tries.iter().map(|one| one.from).min().unwrap_or(0)
    }
}

/// A record of the log.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) id: String,
    /// When somebody had seen it.
    pub(super) by: u64,
    /// When it expires, in epoch seconds, where a load said it.
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
    /// When, and by which wall clock, it ended, if it is settled.
    ended: Option<(u64, i64)>,
}

/// By then, a session's log had at least so many records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) by: u64,
    pub(super) next: u64,
}

/// All that a history tells.
pub(super) struct Known<'a> {
    pub(super) contract: Contract,
    pub(super) appends: BTreeMap<u64, Appended<'a>>,
    pub(super) loads: Vec<&'a Loaded>,
    pub(super) deletes: Vec<Delete<'a>>,
    /// By session: the appends at each number. Several only where records expire and numbers begin anew.
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

    /// Finds where each append landed: by answers, and by what loads show.
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
                return Err(format!("record {} is of append {number}, which nobody made", place.seq));
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

    /// Where an append landed, if it did.
    pub(super) fn landed(&self, number: u64) -> Option<(&Appended<'a>, &Place)> {
        let append = self.appends.get(&number)?;
        append.landed.as_ref().map(|place| (append, place))
    }

    /// The appends of a session that are known to have landed at these numbers, those that were tried before this time. Where numbers begin
    /// anew, what was tried later stands where another did.
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

    /// Whether the log may be shorter than it was at this mark, at this wall clock: all that is known to have been there from that number
    /// on has expired.
    pub(super) fn may_be_shorter(&self, session: &str, from: u64, mark: &Mark, clock: i64) -> bool {
        self.contract.retained && self.between(session, from..mark.next, mark.by).all(|(_, place)| place.may_be_gone(clock))
    }

    /// Whether a record may have been taken back before a load ended, by something that the load does not show.
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

    /// Whether all that was written to a session before a load ended was written so long before it that the session has expired.
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
