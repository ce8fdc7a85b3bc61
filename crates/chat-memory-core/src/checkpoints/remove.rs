//! The engine's operations that remove: whole threads, runs, and all but the newest checkpoints.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;

use super::format::{self, Entry, Head, Lean, Mark};
use super::frame;
use super::keys::{Log, Place, below, checkpoint_of, fence_after, place};
use super::logs::TIP_LIFETIME;
use super::put::Successor;
use super::read::{Found, Walk, steady};
use super::rows::{Condition, Put, Row, RowRange};
use super::rules::Rule;
use super::state::{Rode, State};
use super::store::{CheckpointStore, ROW_OVERHEAD, SOLID};
use crate::error::{Error, ErrorKind};
use crate::session::SessionId;
use crate::store::Cost;
use crate::store::position::Moment;
use crate::timestamp::Timestamp;

/// How often an end is put while others write.
const MAX_ATTEMPTS: usize = 50;

/// How long a mark stays: longer than anyone believes what they read of a log, by any two machines' clocks.
const MARKS_STAY: Duration = TIP_LIFETIME.saturating_mul(4);

/// How many rows are read at a time.
const PAGE: u32 = 100;

/// How many marks are put at once.
const AT_ONCE: usize = 16;

/// A fence that was put.
struct Fence {
    row: Row,
    /// The id in the row before it.
    last: String,
    at: Moment,
}

impl CheckpointStore {
    /// Deletes all checkpoints of a thread. A run that read it before cannot put any more; the next one starts from nothing.
    ///
    /// # Errors
    /// Errors of the table; the thread may be deleted in part, and it is safe to delete it again.
    pub async fn delete_thread(&self, thread: &SessionId) -> Result<Cost, Error> {
        let mut cost = Cost::default();
        let partition = self.partition(thread);
        self.settle(&partition, &mut cost).await?;
        let mut is_removed = false;
        for log in self.logs(&partition, &mut cost).await? {
            let mut state = self.lock(&partition, &log).await;
            state.tip = None;
            if let Some(fence) = self.fence(&partition, &log, true, &mut cost).await? {
                self.clear_rows(&partition, log.until(&fence.last), None, |row| row.sort != fence.row.sort, &mut cost).await?;
                let is_old = |row: &Row| matches!(place(&row.sort), Some((_, Place::Base { id, .. })) if checkpoint_of(id) <= fence.last.as_str());
                self.clear_rows(&partition, log.all_bases(), None, is_old, &mut cost).await?;
                // Only now may it go, as it hid what was left, and not before those who read it have put what follows it.
                let row = Row { purge_at: self.0.now().wall.expires_after(MARKS_STAY), ..fence.row };
                self.0.rows.put(&partition, &row, Condition::Is(row.body.clone()), &mut cost).await?;
                is_removed = true;
            }
        }
        if is_removed {
            self.0.rows.erase_traces(&mut cost).await?;
        }
        Ok(cost)
    }

    /// Puts a fence after the last row of a log: whoever read the log before cannot put a checkpoint. `None` if the log is empty.
    async fn fence(&self, partition: &str, log: &Log, all: bool, cost: &mut Cost) -> Result<Option<Fence>, Error> {
        for _ in 0..MAX_ATTEMPTS {
            let at = self.0.now();
            let mut walk = Walk::new(&self.0, partition, log, log.whole());
            let Some((row, entry)) = walk.last_row(cost).await? else { return Ok(None) };
            if self.is_due(row.purge_at) {
                self.renew_last(partition, log, cost).await?;
                continue;
            }
            let last = entry.id().to_owned();
            let mark = Mark { id: fence_after(&last), all, put_at: self.0.now().wall };
            let purge_at = mark_purge(&mark).filter(|_| !all || !self.0.keeps(Rule::FenceStays));
            let row = Row { sort: log.after(Some(&last)), body: format::encode_mark(&mark), purge_at };
            let fence = Fence { row, last, at };
            if self.0.is_old(at) {
                continue;
            }
            if !all && !self.0.keeps(Rule::Fence) {
                return Ok(Some(fence));
            }
            match self.0.rows.put(partition, &fence.row, Condition::Absent, cost).await? {
                Put::Done => return Ok(Some(fence)),
                // An earlier attempt of which the answer was lost.
                Put::Taken(there) if there.body == fence.row.body => return Ok(Some(fence)),
                Put::Taken(_) | Put::Gone => {}
            }
        }
        Err(Error::new(ErrorKind::Contended, "nothing removed: runs of the thread came first each time; repeat it"))
    }

    /// Whether the table may delete a row before a put that relies on it is done, by any machine's clock.
    pub(super) fn is_due(&self, purged_at: Option<Timestamp>) -> bool {
        self.0.keeps(Rule::SolidEnd) && purged_at.is_some_and(|at| at.since(self.0.now().wall) < SOLID)
    }

    /// Puts a mark in the place of the last row, which the table may delete soon. It has expired.
    pub(super) async fn renew_last(&self, partition: &str, log: &Log, cost: &mut Cost) -> Result<(), Error> {
        let mut walk = Walk::new(&self.0, partition, log, log.whole());
        let Some((row, entry)) = walk.last_row(cost).await?.filter(|(row, _)| self.is_due(row.purge_at)) else { return Ok(()) };
        let all = matches!(&entry, Entry::Mark(mark) if mark.all);
        let mark = Mark { id: entry.id().to_owned(), all, put_at: self.0.now().wall };
        let renewed = Row { sort: row.sort, body: format::encode_mark(&mark), purge_at: mark_purge(&mark) };
        // If it is gone, or another renewed it, the caller sees when it reads again.
        self.0.rows.put(partition, &renewed, Condition::Is(row.body), cost).await.map(drop)
    }

    /// Deletes rows; in the order of the range if they are seen meanwhile, behind a fence, so that what leans on a row goes before it.
    /// The place of a checkpoint gets a mark instead.
    async fn clear_rows(
        &self,
        partition: &str,
        range: RowRange,
        in_order: Option<&Fence>,
        is_meant: impl Fn(&Row) -> bool,
        cost: &mut Cost,
    ) -> Result<(), Error> {
        let descending = range.descending;
        // A reader that began before must not see a checkpoint without them.
        let mut writes = Vec::new();
        let mut range = Some(RowRange { limit: Some(PAGE), ..range });
        while let Some(next) = range.take() {
            let page = self.0.rows.page(partition, &next, cost).await?;
            if let Some(last) = page.rows.last().filter(|_| page.more) {
                range = Some(if descending {
                    RowRange { to: below(&last.sort), ..next }
                } else {
                    RowRange { from: format!("{}\0", last.sort), ..next }
                });
            }
            let now = self.0.now().wall;
            let (mut gone, mut marks) = (Vec::new(), Vec::new());
            for row in page.rows.into_iter().filter(|row| is_meant(row)) {
                if in_order.is_some_and(|fence| self.0.is_old(fence.at)) {
                    // The fence does not stay for ever.
                    return Err(Error::new(ErrorKind::Contended, "not all removed: it took too long; repeat it"));
                }
                match mark_for(&row, now).filter(|_| self.0.keeps(Rule::Marks)) {
                    Some(mark) if mark.body == row.body => {}
                    Some(mark) if in_order.is_some() => drop(self.0.rows.put(partition, &mark, Condition::None, cost).await?),
                    Some(mark) => marks.push(mark),
                    None if in_order.is_some() && matches!(place(&row.sort), Some((_, Place::After(_)))) => {
                        self.0.rows.delete(partition, &[row.sort], cost).await?;
                    }
                    None if matches!(place(&row.sort), Some((_, Place::Write { .. }))) => writes.push(row.sort),
                    None => gone.push(row.sort),
                }
            }
            for some in marks.chunks(AT_ONCE) {
                let puts: Vec<_> = some.iter().map(|mark| self.put_mark(partition, mark)).collect();
                for (put, spent) in join_all(puts).await {
                    *cost += spent;
                    put?;
                }
            }
            if !gone.is_empty() {
                self.0.rows.delete(partition, &gone, cost).await?;
            }
        }
        if writes.is_empty() { Ok(()) } else { self.0.rows.delete(partition, &writes, cost).await }
    }

    async fn put_mark(&self, partition: &str, mark: &Row) -> (Result<(), Error>, Cost) {
        let mut cost = Cost::default();
        let put = self.0.rows.put(partition, mark, Condition::None, &mut cost).await;
        (put.map(drop), cost)
    }

    /// Removes the checkpoints of a thread that its newest ones do not need: in each namespace, all but the newest, and what its
    /// [delta channels](super::NewCheckpoint::delta_channels) are computed from. Runs go on meanwhile.
    ///
    /// # Errors
    /// As [`load`](Self::load); it is safe to prune again.
    pub async fn prune(&self, thread: &SessionId) -> Result<Cost, Error> {
        self.remove(thread, |log| {
            let Some(newest) = log.first() else { return Ok(HashSet::new()) };
            let mut kept = HashSet::from([newest.id().to_owned()]);
            let mut open: HashSet<String> = newest.known.decode()?.delta_channels.into_iter().collect();
            let has = |found: &Found, open: &HashSet<String>| -> Result<Vec<String>, Error> {
                let state = found.known.decode()?;
                let valued = |name: &&String| state.channels.get(*name).is_some_and(|(_, value)| value.is_some());
                Ok(open.iter().filter(valued).cloned().collect())
            };
            for name in has(newest, &open)? {
                open.remove(&name);
            }
            let mut next = newest.known.head.parent.clone();
            for found in log {
                if open.is_empty() {
                    break;
                }
                if next.as_deref() == Some(found.id()) {
                    kept.insert(found.id().to_owned());
                    next = found.known.head.parent.clone();
                    for name in has(found, &open)? {
                        open.remove(&name);
                    }
                }
            }
            Ok(kept)
        })
        .await
    }

    /// Deletes the checkpoints that these runs put on a thread, and what their tasks wrote. A channel that a later checkpoint of
    /// another run inherited keeps its value there.
    ///
    /// # Errors
    /// As [`prune`](Self::prune).
    pub async fn delete_runs(&self, thread: &SessionId, runs: &[String]) -> Result<Cost, Error> {
        let of_runs = |found: &Found| found.known.head.run_id.as_ref().is_some_and(|run| runs.contains(run));
        self.remove(thread, |log| Ok(log.iter().filter(|found| !of_runs(found)).map(|found| found.id().to_owned()).collect()))
            .await
    }

    /// Removes the checkpoints of each log that `keep` does not return.
    async fn remove(&self, thread: &SessionId, keep: impl Fn(&[Found]) -> Result<HashSet<String>, Error>) -> Result<Cost, Error> {
        let mut cost = Cost::default();
        let partition = self.partition(thread);
        self.settle(&partition, &mut cost).await?;
        let mut is_removed = false;
        for log in self.logs(&partition, &mut cost).await? {
            let mut state = self.lock(&partition, &log).await;
            let (found, any_expired) = steady!(self, self.all(&partition, &log, &mut cost).await)?;
            let kept = keep(&found)?;
            if kept.len() < found.len() || any_expired {
                state.tip = None;
                steady!(self, self.remove_from(&partition, &log, &found, &kept, &mut cost).await)?;
                is_removed = true;
            }
        }
        if is_removed {
            self.0.rows.erase_traces(&mut cost).await?;
        }
        Ok(cost)
    }

    /// All checkpoints of a log, newest first, and whether there are others that have expired.
    async fn all(&self, partition: &str, log: &Log, cost: &mut Cost) -> Result<(Vec<Found>, bool), Error> {
        let mut walk = Walk::new(&self.0, partition, log, log.whole());
        let mut found = Vec::new();
        while let Some(run) = walk.run(cost).await? {
            found.extend(run);
        }
        Ok((found, !walk.expired.is_empty()))
    }

    /// Removes all but some checkpoints of a log, newest first in `found`.
    async fn remove_from(
        &self,
        partition: &str,
        log: &Log,
        found: &[Found],
        kept: &HashSet<String>,
        cost: &mut Cost,
    ) -> Result<(), Error> {
        let is_kept = |found: &Found| kept.contains(found.id());
        // What leans on a row that goes is written again, so that it leans on nothing. All other rows stay as they are.
        for (n, later) in found.iter().enumerate().filter(|(_, found)| is_kept(found)) {
            if found.get(n + 1).is_some_and(|before| !is_kept(before)) && self.0.keeps(Rule::Alone) {
                let child = n.checked_sub(1).and_then(|n| found.get(n));
                self.write_alone(partition, log, later, child, cost).await?;
            }
        }
        // Who read the log until now, and may lean on what goes, cannot put any more. What they have put is found by the next walk.
        let Some(fence) = self.fence(partition, log, false, cost).await? else { return Ok(()) };
        let mut walk = Walk::new(&self.0, partition, log, log.until(&fence.last));
        let mut gone: HashSet<String> = HashSet::new();
        let mut writes: Vec<String> = Vec::new();
        // Of each chain, the last base that is used, and the last one that a removed checkpoint used.
        let (mut used, mut dropped): (HashMap<String, String>, HashMap<String, String>) = Default::default();
        let note = |chains: &mut HashMap<String, String>, chain: &str, id: &str| {
            let last = chains.entry(chain.to_owned()).or_default();
            *last = std::mem::take(last).max(id.to_owned());
        };
        let mut is_needed = false;
        while let Some(run) = walk.run(cost).await? {
            for later in run {
                let goes = found.iter().any(|found| found.id() == later.id() && !is_kept(found));
                if goes && is_needed && self.0.keeps(Rule::Alone) {
                    // A checkpoint that was put meanwhile leans on it.
                    let sentence = "nothing removed: a run put a checkpoint meanwhile; repeat it";
                    return Err(Error::new(ErrorKind::Contended, sentence));
                }
                is_needed = !goes && later.known.head.lean == Lean::Previous;
                if goes {
                    writes.extend(later.write_rows.iter().cloned());
                    gone.insert(log.after(Some(later.known.previous.as_str()).filter(|previous| !previous.is_empty())));
                }
                if let Some(base) = &later.known.base {
                    note(if goes { &mut dropped } else { &mut used }, &base.chain, &base.id);
                }
            }
        }
        // A fence of a deletion may still hide rows.
        gone.extend(walk.marks.iter().filter(|(_, mark)| !mark.all).map(|(sort, _)| sort.clone()));
        gone.extend(walk.expired.iter().cloned());
        writes.extend(walk.expired_writes.iter().cloned());
        for (chain, id) in &walk.expired_bases {
            note(&mut dropped, chain, id);
        }
        let range = RowRange { descending: self.0.keeps(Rule::NewestFirst), ..log.until(&fence.last) };
        if !self.0.keeps(Rule::WritesGoLast) {
            self.0.rows.delete(partition, &writes, cost).await?;
        }
        self.clear_rows(partition, range, Some(&fence), |row| gone.contains(&row.sort), cost).await?;
        if !writes.is_empty() {
            self.0.rows.delete(partition, &writes, cost).await?;
        }
        // Others may be of checkpoints that are about to be put, or written again by another removal.
        let is_unused = |row: &Row| match place(&row.sort) {
            Some((_, Place::Base { chain, id })) => {
                let is_dropped = dropped.get(chain).is_some_and(|last| id <= last.as_str()) || !self.0.keeps(Rule::KnownBases);
                is_dropped && used.get(chain).is_none_or(|last| id > last.as_str()) && checkpoint_of(id) <= fence.last.as_str()
            }
            _ => false,
        };
        if dropped.is_empty() && self.0.keeps(Rule::KnownBases) {
            return Ok(());
        }
        self.clear_rows(partition, log.all_bases(), None, is_unused, cost).await
    }

    /// Writes a checkpoint again so that its row leans on no other checkpoint's, with the same state but for what rode in it.
    async fn write_alone(
        &self,
        partition: &str,
        log: &Log,
        found: &Found,
        child: Option<&Found>,
        cost: &mut Cost,
    ) -> Result<(), Error> {
        let known = &found.known;
        // A child that leans on this row needs the state as it is, to the byte.
        let is_leaned_on = child.is_none_or(|child| child.known.head.lean == Lean::Previous);
        let state = if is_leaned_on { known.state.clone() } else { State { rode: Rode::default(), ..known.decode()? }.encode() };
        let failed = |why: String| Error::invalid(format!("checkpoint {} not rewritten: {why}", known.head.id));
        let mut head = Head { lean: Lean::Nothing, leans_until: None, size: state.len(), ..known.head.clone() };
        let mut frame = frame::compress(&state, &[]).map_err(failed)?;
        if frame.len() > self.0.max_frame() / 2 {
            let place = Successor { partition, log, last: None, parent: None, follows: false, found_at: self.0.now() };
            let base = self.put_base(&place, &mut head, &state, None, cost).await?;
            frame = frame::compress(&state, &base.state).map_err(failed)?;
            head.lean = base.lean();
        }
        head.tail_bytes = frame.len() + ROW_OVERHEAD;
        let previous = Some(known.previous.as_str()).filter(|previous| !previous.is_empty());
        let row = Row {
            sort: log.after(previous),
            body: format::encode_checkpoint(&head, previous, &frame),
            purge_at: head.purge_at(),
        };
        let condition = if self.0.keeps(Rule::AsRead) { Condition::Is(found.body.clone()) } else { Condition::None };
        match self.0.rows.put(partition, &row, condition, cost).await? {
            Put::Done => Ok(()),
            // An earlier attempt of which the answer was lost.
            Put::Taken(there) if there.body == row.body => Ok(()),
            Put::Taken(_) | Put::Gone => {
                Err(Error::new(ErrorKind::Contended, "nothing removed: others were removed meanwhile; repeat it"))
            }
        }
    }
}

/// The mark that takes the place of a row; `None` if the row can go. It is the row itself if that is a mark already. However old a
/// checkpoint is, a reader may just have found it.
fn mark_for(row: &Row, now: Timestamp) -> Option<Row> {
    let (_, Place::After(previous)) = place(&row.sort)? else { return None };
    let (entry, _) = format::decode_entry(&row.body, previous).ok()?;
    let id = match entry {
        Entry::Checkpoint(head) => head.id,
        Entry::Mark(mark) => return (now.since(mark.put_at) < MARKS_STAY).then(|| row.clone()),
    };
    let mark = Mark { id, all: false, put_at: now };
    Some(Row { sort: row.sort.clone(), body: format::encode_mark(&mark), purge_at: mark_purge(&mark) })
}

fn mark_purge(mark: &Mark) -> Option<Timestamp> {
    mark.put_at.expires_after(MARKS_STAY)
}
