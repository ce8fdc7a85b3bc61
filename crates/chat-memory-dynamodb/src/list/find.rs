//! Whether an append is there already: in the list, among what the item remembers, in older segments, among what is gone.

use std::collections::HashSet;

use super::beside::{Beside, CLOCKS_MS, Gone, Stub, circle};
use super::state::{Entry, Log, State};
use super::{ListTable, Listed, Rule};
use crate::retry::Retry;
use crate::table::Clock;
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::store::{AppendId, Receipt, Record};

/// Since when an append may have landed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    /// Since this time (epoch milliseconds), by the clock of whoever tried it first.
    pub(super) ms: i64,
    /// As a record of this number or a later one, where that is known: then others' clocks, however wrong, do not end the look too early.
    pub(super) seq: Option<u64>,
}

impl Since {
    pub(super) fn time(ms: i64) -> Self {
        Self { ms, seq: None }
    }

    /// Whether a record of this time and number was there before.
    fn is_later_than(self, ms: i64, seq: u64) -> bool {
        ms < self.ms.saturating_sub(CLOCKS_MS) && self.seq.is_none_or(|from| seq < from)
    }
}

/// An append that landed before.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stub: Stub,
    /// What it stored, where that can still be read.
    pub(super) record: Option<Record>,
}

impl<T: ListTable, C: Clock> Listed<T, C> {
    /// Looks in the item alone.
    pub(super) async fn find_here(
        &self,
        session: &SessionId,
        state: &State,
        id: AppendId,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Found>, Error> {
        if let Some(entry) = state.log.find(id) {
            return self.found(session, &state.log, entry, receipt, retry).await.map(Some);
        }
        // It landed, and an original that writes the whole list has lost it since. That is done, and nobody's to repeat.
        let lost = state.ids.contains(&id);
        let seq = state.log.next().saturating_sub(1);
        Ok(lost.then_some(Found { stub: Stub { append_id: id, seq, created_at: 0 }, record: None }))
    }

    /// Looks where the append may have gone since then.
    pub(super) async fn find_far(
        &self,
        session: &SessionId,
        state: &State,
        id: AppendId,
        since: Since,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Found>, Error> {
        if !self.keeps(Rule::LookBack) {
            return Ok(None);
        }
        // Where the list itself goes back as far, nothing older matters.
        if !reaches(&state.log, since) {
            let from = state.log.head.segment.clone();
            if let Some(found) = self.find_in_segments(session, from, None, id, since, receipt, retry).await? {
                return Ok(Some(found));
            }
        }
        let mut note = state.log.head.gone.clone();
        let mut seen = HashSet::new();
        while let Some(at) = note.take() {
            if !seen.insert(at.clone()) {
                return Err(circle(session, &at));
            }
            let Some(Beside::Gone(gone)) = self.read_beside(session, &at, receipt, retry).await? else { break };
            let Gone { stubs, segments, before, .. } = &gone;
            if let Some(stub) = stubs.iter().find(|stub| stub.append_id == id) {
                return Ok(Some(Found { stub: *stub, record: None }));
            }
            if let Some((from, until)) = segments.clone() {
                let found = self.find_in_segments(session, Some(from), until, id, since, receipt, retry).await?;
                if let Some(found) = found {
                    return Ok(Some(Found { record: None, ..found }));
                }
            }
            // What older notes took away is all below what this one did, which goes up to the end that the log had.
            let newest = stubs.iter().map(|stub| stub.seq).max();
            if since.is_later_than(gone.at, newest.unwrap_or(u64::MAX)) {
                break;
            }
            note.clone_from(before);
        }
        Ok(None)
    }

    #[allow(clippy::too_many_arguments, reason = "two bounds, and what every request needs")]
    async fn find_in_segments(
        &self,
        session: &SessionId,
        from: Option<String>,
        until: Option<String>,
        id: AppendId,
        since: Since,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Found>, Error> {
        let mut next = from;
        let mut seen = HashSet::new();
        while let Some(at) = next.filter(|at| Some(at) != until.as_ref()) {
            if !seen.insert(at.clone()) {
                return Err(circle(session, &at));
            }
            match self.read_beside(session, &at, receipt, retry).await? {
                Some(Beside::Segment(log)) => {
                    if let Some(entry) = log.find(id) {
                        return self.found(session, &log, entry, receipt, retry).await.map(Some);
                    }
                    if reaches(&log, since) {
                        break;
                    }
                    next = log.head.segment;
                }
                Some(Beside::Swept { head, stubs }) => {
                    if let Some(stub) = stubs.iter().find(|stub| stub.append_id == id) {
                        return Ok(Some(Found { stub: *stub, record: None }));
                    }
                    next = head.segment;
                }
                Some(Beside::Gone(_)) | None => break,
            }
        }
        Ok(None)
    }

    async fn found(
        &self,
        session: &SessionId,
        log: &Log,
        entry: &Entry,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Found, Error> {
        let record = self.whole(session, log, entry, receipt, retry).await?;
        Ok(Found { stub: Stub::of(entry), record })
    }
}

/// Whether a list goes back to before then, by its own records.
fn reaches(log: &Log, since: Since) -> bool {
    log.entries.iter().any(|entry| !entry.foreign && since.is_later_than(entry.bare.created_at, entry.bare.seq))
}
