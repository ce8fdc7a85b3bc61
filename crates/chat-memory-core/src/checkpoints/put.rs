//! The engine's operation that puts a checkpoint.

use std::sync::Arc;

use super::buffer::At;
use super::format::{self, BasePart, Head, Lean};
use super::frame;
use super::keys::{self, Log};
use super::logs::{LogState, TIP_LIFETIME, Tip};
use super::read::{Base, Known, unreadable};
use super::rows::{Condition, Put, Row};
use super::rules::Rule;
use super::state::State;
use super::store::{CheckpointStore, ROW_OVERHEAD};
use super::tasks::Held;
use super::{Costed, NewCheckpoint, Write};
use crate::error::{Error, ErrorKind};
use crate::session::SessionId;
use crate::store::Cost;
use crate::store::position::Moment;
use crate::timestamp::Timestamp;

/// How often a fork is tried while others write.
const MAX_FORK_ATTEMPTS: usize = 50;

impl CheckpointStore {
    /// Puts a checkpoint. A repeat of a put that was stored is recognized by its id and changes nothing.
    ///
    /// # Errors
    /// - conflict: its parent is not the newest checkpoint, as another run has put one since, or the thread was deleted; or its id is
    ///   not greater than that of the newest. Nothing was stored.
    /// - in doubt: the table did not answer; put it again.
    /// - not found: it is a fork and its parent is not there.
    /// - invalid; too large: its state, with the writes that waited for it, has more than 256 MB; errors of the table.
    pub async fn put(&self, thread: &SessionId, namespace: &str, new: NewCheckpoint) -> Result<Costed<()>, Error> {
        keys::check_id(&new.id)?;
        keys::check_attempt(new.attempt.as_deref())?;
        let mut cost = Cost::default();
        let (partition, log) = (self.partition(thread), Log::new(namespace));
        {
            let mut buffer = self.buffer();
            if let Some(error) = buffer.failure(&partition) {
                return Err(error);
            }
            cost += buffer.take_spent();
        }
        let mut state = self.lock(&partition, &log).await;
        let put = self.put_locked(thread, &partition, &log, &mut state, &new, &mut cost).await;
        if put.is_err() {
            state.tip = None;
        }
        self.remember(&partition, &log, &state);
        put.map(|()| Costed { value: (), cost })
    }

    async fn put_locked(
        &self,
        thread: &SessionId,
        partition: &str,
        log: &Log,
        state: &mut LogState,
        new: &NewCheckpoint,
        cost: &mut Cost,
    ) -> Result<(), Error> {
        for _ in 0..MAX_FORK_ATTEMPTS {
            let started = self.0.now();
            let is_believed = |tip: &Tip| tip.at.age(started) < TIP_LIFETIME || !self.0.keeps(Rule::TipLifetime);
            state.tip = state.tip.take().filter(is_believed);
            let mut is_current = state.tip.is_none();
            if is_current {
                self.newest(partition, log, state, cost).await?;
            }
            while let Err(error) = check(thread, state, new, started.wall, self.0.keeps(Rule::Greater)) {
                // Perhaps what is remembered is out of date.
                if std::mem::replace(&mut is_current, true) {
                    return self.check_stored_before(partition, log, state, new, error, cost).await;
                }
                self.newest(partition, log, state, cost).await?;
            }
            let Some(tip) = state.tip.clone() else { continue };
            if let Some(newest) = tip.newest.as_ref().filter(|newest| newest.head.id == new.id) {
                return check_repeat(newest, new);
            }
            if self.is_due(tip.purged_at) {
                // Without it, another could begin at an earlier place.
                self.renew_last(partition, log, cost).await?;
                state.tip = None;
                continue;
            }
            if let Some(known) = self.put_after(partition, log, state, (&tip, started), new, cost).await? {
                let purged_at = known.head.purge_at();
                state.tip = Some(Tip { last: Some(new.id.clone()), purged_at, newest: Some(Arc::new(known)), at: started });
                return Ok(());
            }
            // Another writer was first. The next attempt reads what it wrote, and fails unless this is a fork.
            state.tip = None;
        }
        let sentence =
            format!("checkpoint not stored: other runs on thread {:?} came first each time; run it again", thread.as_str());
        Err(Error::new(ErrorKind::Contended, sentence))
    }

    /// Returns the error of a put that is refused, unless an earlier attempt stored it and others were put since.
    async fn check_stored_before(
        &self,
        partition: &str,
        log: &Log,
        state: &LogState,
        new: &NewCheckpoint,
        error: Error,
        cost: &mut Cost,
    ) -> Result<(), Error> {
        let last = state.tip.as_ref().and_then(|tip| tip.last.as_ref());
        if last.is_none_or(|last| new.id > *last) || !self.0.keeps(Rule::Repeat) {
            return Err(error);
        }
        match self.find(partition, log, state, &new.id, cost).await? {
            Some(stored) => check_repeat(&stored.known, new),
            None => Err(error),
        }
    }

    /// Puts a checkpoint after a tip that was found to be solid at some time. `None` if another was put there first.
    async fn put_after(
        &self,
        partition: &str,
        log: &Log,
        state: &LogState,
        (tip, found_at): (&Tip, Moment),
        new: &NewCheckpoint,
        cost: &mut Cost,
    ) -> Result<Option<Known>, Error> {
        let newest = tip.newest.as_ref().filter(|newest| tip.last.as_ref() == Some(&newest.head.id));
        let follows = newest.filter(|newest| new.parent.as_ref() == Some(&newest.head.id)).cloned();
        let parent = match (&new.parent, &follows) {
            (None, _) => None,
            (Some(_), Some(newest)) => Some(newest.clone()),
            (Some(id), None) => match self.find(partition, log, state, id, cost).await? {
                Some(found) => Some(found.known),
                None => {
                    let sentence =
                        format!("checkpoint not stored: its parent {id} does not exist (any more); start from one that does");
                    return Err(Error::new(ErrorKind::NotFound, sentence));
                }
            },
        };
        // A channel may be computed from what tasks wrote at the parent: all of it is stored before this checkpoint is.
        let at: Option<At> = parent.as_ref().map(|parent| (partition.to_owned(), log.clone(), parent.head.id.clone()));
        // It belongs to a checkpoint that is there, whatever becomes of this one.
        let mut held = match at {
            Some(at) => Some(Held::take_after(self, at, new.attempt.as_deref()).await),
            None => None,
        };
        // Only in the row after its checkpoint does a reader look for it.
        if let (None, Some(held)) = (&follows, &mut held) {
            held.store(cost).await?;
        }
        let calls = held.as_ref().map_or(&[][..], |held| &held.calls);
        let rides: Vec<Write> = calls.iter().flat_map(|call| call.writes.iter().cloned()).collect();
        let place = Successor { partition, log, last: tip.last.as_deref(), parent, follows: follows.is_some(), found_at };
        let put = self.put_at(&place, new, rides, cost).await;
        if let Some(held) = held.as_mut().filter(|held| !held.calls.is_empty()) {
            if matches!(put, Ok(Some(_))) {
                held.calls.clear();
            } else {
                self.store_later(held.at.clone());
            }
        }
        put
    }

    async fn put_at(
        &self,
        place: &Successor<'_>,
        new: &NewCheckpoint,
        rides: Vec<Write>,
        cost: &mut Cost,
    ) -> Result<Option<Known>, Error> {
        let state = State::encode_new(new, place.parent.as_ref().map(|parent| &parent.state[..]), rides)
            .map_err(|why| unreadable(new.parent.as_deref().unwrap_or_default(), &why))?;
        frame::check_size(format_args!("checkpoint too large: its state has"), state.len())?;
        let (known, frame) = self.against(place, new, state, cost).await?;
        let row = Row {
            sort: place.log.after(place.last),
            body: format::encode_checkpoint(&known.head, place.last, &frame),
            purge_at: known.head.purge_at(),
        };
        if self.0.is_old(place.found_at) {
            return Ok(None);
        }
        let condition = if self.0.keeps(Rule::Absent) { Condition::Absent } else { Condition::None };
        match self.0.rows.put(place.partition, &row, condition, cost).await? {
            Put::Done => Ok(Some(known)),
            Put::Taken(there) => Ok((there.body == row.body).then_some(known)),
            Put::Gone => Ok(None),
        }
    }

    /// Chooses what a state is compressed against, and compresses it. Writes a base if it needs one.
    async fn against(
        &self,
        place: &Successor<'_>,
        new: &NewCheckpoint,
        state: Vec<u8>,
        cost: &mut Cost,
    ) -> Result<(Known, Vec<u8>), Error> {
        let failed = |why: String| Error::invalid(format!("checkpoint not stored: {why}"));
        let now = self.0.now().wall;
        let mut head = Head {
            id: new.id.clone(),
            parent: new.parent.clone(),
            lean: Lean::Nothing,
            tail_bytes: 0,
            put_at: now,
            leans_until: None,
            expires_at: self.0.options.retention.and_then(|kept| now.expires_after(kept)),
            run_id: new.run_id.clone(),
            size: state.len(),
        };
        // What it leans on must be there for as long as it is, by any machine's clock.
        let needed_until = head.expires_at.and_then(|at| at.expires_after(format::DAY));
        let lasts = |until: Option<Timestamp>| {
            until.is_none_or(|until| needed_until.is_some_and(|needed| needed <= until)) || !self.0.keeps(Rule::LeansUntil)
        };
        // A parent that is not in the last row may be removed at any moment, and its base with it.
        let follows = place.follows || !self.0.keeps(Rule::FollowerLeans);
        let parent = place.parent.as_ref().filter(|_| follows);
        let mut base = parent.filter(|parent| lasts(parent.head.leans_until)).and_then(|parent| parent.base.clone());
        let mut tail = 0;
        let frame = match parent.filter(|parent| lasts(parent.head.whole_until())) {
            Some(parent) if place.follows => {
                (head.lean, head.leans_until, tail) = (Lean::Previous, parent.head.whole_until(), parent.head.tail_bytes);
                frame::compress(&state, &parent.state)
            }
            _ => match (parent, &base) {
                (Some(parent), Some(base)) => {
                    (head.lean, head.leans_until) = (base.lean(), parent.head.leans_until);
                    frame::compress(&state, &base.state)
                }
                _ => frame::compress(&state, &[]),
            },
        };
        let mut frame = frame.map_err(failed)?;
        head.tail_bytes = tail + frame.len() + ROW_OVERHEAD;
        if head.tail_bytes > self.0.max_tail() && (head.lean != Lean::Nothing || frame.len() > self.0.max_frame()) {
            let before = base.as_deref().map(|base| (base, parent.and_then(|parent| parent.head.leans_until)));
            let new_base = self.put_base(place, &mut head, &state, before, cost).await?;
            frame = frame::compress(&state, &new_base.state).map_err(failed)?;
            (head.lean, head.tail_bytes) = (new_base.lean(), frame.len() + ROW_OVERHEAD);
            base = Some(Arc::new(new_base));
        }
        let base = base.filter(|_| head.lean != Lean::Nothing);
        Ok((Known { head, previous: place.last.unwrap_or_default().to_owned(), state, base }, frame))
    }

    /// Writes a base with the state of a checkpoint, against the one before it, which is there until some time; or against nothing, if
    /// that leaves a shorter chain.
    pub(super) async fn put_base(
        &self,
        place: &Successor<'_>,
        head: &mut Head,
        state: &[u8],
        before: Option<(&Base, Option<Timestamp>)>,
        cost: &mut Cost,
    ) -> Result<Base, Error> {
        let failed = |why: String| Error::invalid(format!("checkpoint not stored: {why}"));
        let (mut before, mut until) = (before.map(|(base, _)| base), before.and_then(|(_, until)| until));
        let mut frame = frame::compress(state, before.map_or(&[], |base| &base.state)).map_err(failed)?;
        let mut chain_bytes = before.map_or(0, |base| base.chain_bytes) + frame.len();
        if before.is_some() {
            let whole = frame::compress(state, &[]).map_err(failed)?;
            if chain_bytes > 2 * whole.len() {
                (chain_bytes, frame, before, until) = (whole.len(), whole, None, None);
            }
        }
        let purge_at = head.purge_at();
        head.leans_until = format::earlier(until, purge_at);
        // Another attempt to put the same checkpoint may have another state, and both may lean on what they wrote.
        let id = if self.0.keeps(Rule::OwnBase) { keys::base_of(&head.id, &self.0.unique()) } else { head.id.clone() };
        let chain = before.map_or(&id, |base| &base.chain).clone();
        let pieces: Vec<&[u8]> = frame.chunks(self.0.max_frame()).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let part = BasePart {
                parts: pieces.len(),
                before: before.map(|base| base.id.clone()),
                size: state.len(),
                chain_bytes,
                piece: piece.to_vec(),
            };
            let row = Row { sort: place.log.base(&chain, &id, n), body: part.encode(), purge_at };
            self.0.rows.put(place.partition, &row, Condition::None, cost).await?;
        }
        Ok(Base { chain, id, chain_bytes, state: state.to_vec() })
    }
}

/// Where a checkpoint is put.
pub(super) struct Successor<'a> {
    pub(super) partition: &'a str,
    pub(super) log: &'a Log,
    /// The id in the last row.
    pub(super) last: Option<&'a str>,
    pub(super) parent: Option<Arc<Known>>,
    /// Whether its parent is in the last row.
    pub(super) follows: bool,
    /// When the last row was found to stay.
    pub(super) found_at: Moment,
}

impl Base {
    pub(super) fn lean(&self) -> Lean {
        Lean::Base { chain: self.chain.clone(), id: self.id.clone() }
    }
}

/// Checks that a checkpoint may follow what is known of the log.
fn check(thread: &SessionId, state: &LogState, new: &NewCheckpoint, now: Timestamp, greater: bool) -> Result<(), Error> {
    let Some(tip) = &state.tip else { return Ok(()) };
    let newest = tip.newest.as_ref().map(|newest| &newest.head.id);
    if newest == Some(&new.id) {
        return Ok(());
    }
    let thread = thread.as_str();
    // Whoever loads an expired checkpoint gets none.
    let is_over = tip.newest.as_ref().is_some_and(|newest| newest.head.is_over(now));
    let may_start = new.parent.is_none() && (is_over || !state.was_loaded);
    let continues = newest == new.parent.as_ref() || new.fork || may_start;
    if !continues {
        let sentence = match (newest, &new.parent) {
            (Some(newest), Some(parent)) => format!(
                "checkpoint not stored: another run has put {newest} on thread {thread:?} since this one read {parent}; run it again from there, or put it as a fork"
            ),
            (Some(newest), None) => format!(
                "checkpoint not stored: another run has put {newest} on thread {thread:?}, which was empty when this one read it; run it again from there"
            ),
            (None, _) => format!("checkpoint not stored: thread {thread:?} was deleted since this run read it; run it again"),
        };
        return Err(Error::new(ErrorKind::Conflict, sentence));
    }
    match &tip.last {
        Some(last) if greater && new.id <= *last => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "checkpoint not stored: its id {} is not greater than {last}, the last one of thread {thread:?}; set the clock of this machine, or of the one that put that, and run it again",
                new.id
            ),
        )),
        _ => Ok(()),
    }
}

/// Checks that a put repeats the one that is stored under its id.
fn check_repeat(stored: &Known, new: &NewCheckpoint) -> Result<(), Error> {
    let state = stored.decode()?;
    let value_is_stored =
        |(name, value): (&String, &Option<super::Typed>)| state.channels.get(name).is_some_and(|(_, stored)| stored == value);
    if stored.head.parent == new.parent
        && (&state.body, &state.metadata) == (&new.body, &new.metadata)
        && new.values.iter().filter(|(name, _)| new.versions.contains_key(*name)).all(value_is_stored)
    {
        return Ok(());
    }
    let sentence = format!("checkpoint not stored: there is another one with its id {}; give each an id of its own", new.id);
    Err(Error::new(ErrorKind::Conflict, sentence))
}
