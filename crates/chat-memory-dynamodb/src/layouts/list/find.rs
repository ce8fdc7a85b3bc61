//! Finds an append that has already landed: in the list, among the item's remembered ids, in older segments, or in the notes of
//! removed records.

use crate::common::timing::CLOCK_SKEW;
use std::collections::HashSet;

use super::side::{Gone, SideItem, Stub, circle};
use super::state::{Entry, Log, State};
use super::{Listed, Rule};
use crate::common::retry::Retry;
use crate::table::{Clock, Table};
use chat_memory_core::error::Error;
use chat_memory_core::store::{AppendId, Cost, Record};
use chat_memory_core::{SessionId, Timestamp};

/// The earliest point at which an append may have landed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    /// This time, by the clock of the first process that tried it.
    pub(super) at: Timestamp,
    /// The lowest number that its record can have, if known: then other writers' clocks, however wrong, cannot end the search too
    /// early.
    pub(super) seq: Option<u64>,
}

impl Since {
    pub(super) fn time(at: Timestamp) -> Self {
        Self { at, seq: None }
    }

    /// Whether a record of this time and number is from before that point.
    fn is_later_than(self, at: Timestamp, seq: u64) -> bool {
        at < self.at - CLOCK_SKEW && self.seq.is_none_or(|from| seq < from)
    }
}

/// An append that landed before.
#[derive(Debug)]
pub(super) struct FoundAppend {
    pub(super) stub: Stub,
    /// What it stored, if that can still be read.
    pub(super) record: Option<Record>,
}

impl<T: Table, C: Clock> Listed<T, C> {
    /// Searches the item alone.
    pub(super) async fn find_in_item(
        &self,
        session: &SessionId,
        state: &State,
        id: AppendId,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<FoundAppend>, Error> {
        if let Some(entry) = state.log.find(id) {
            return self.found(session, &state.log, entry, cost, retry).await.map(Some);
        }
        // It landed, and an original that writes the whole list has lost it since. The append is done and must not be repeated.
        let lost = state.ids.contains(&id);
        let seq = state.log.next().saturating_sub(1);
        Ok(lost.then_some(FoundAppend { stub: Stub { append_id: id, seq, created_at: Timestamp::UNIX_EPOCH }, record: None }))
    }

    /// Searches everywhere else that the append may have gone.
    pub(super) async fn find_beyond_item(
        &self,
        session: &SessionId,
        state: &State,
        id: AppendId,
        since: Since,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<FoundAppend>, Error> {
        if !self.keeps(Rule::LookBack) {
            return Ok(None);
        }
        // If the list itself reaches back that far, nothing older matters.
        if !reaches(&state.log, since) {
            let from = state.log.head.segment.clone();
            if let Some(found) = self.find_in_segments(session, from, None, id, since, cost, retry).await? {
                return Ok(Some(found));
            }
        }
        let mut note = state.log.head.gone.clone();
        let mut seen = HashSet::new();
        while let Some(at) = note.take() {
            if !seen.insert(at.clone()) {
                return Err(circle(session, &at));
            }
            let Some(SideItem::Gone(gone)) = self.read_side_item(session, &at, cost, retry).await? else { break };
            let Gone { stubs, segments, before, .. } = &gone;
            if let Some(stub) = stubs.iter().find(|stub| stub.append_id == id) {
                return Ok(Some(FoundAppend { stub: *stub, record: None }));
            }
            if let Some((from, until)) = segments.clone() {
                let found = self.find_in_segments(session, Some(from), until, id, since, cost, retry).await?;
                if let Some(found) = found {
                    return Ok(Some(FoundAppend { record: None, ..found }));
                }
            }
            // This note's removal went up to the end of the log, and everything that older notes removed lies below it.
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
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<FoundAppend>, Error> {
        let mut next = from;
        let mut seen = HashSet::new();
        while let Some(at) = next.filter(|at| Some(at) != until.as_ref()) {
            if !seen.insert(at.clone()) {
                return Err(circle(session, &at));
            }
            match self.read_side_item(session, &at, cost, retry).await? {
                Some(SideItem::Segment(log)) => {
                    if let Some(entry) = log.find(id) {
                        return self.found(session, &log, entry, cost, retry).await.map(Some);
                    }
                    if reaches(&log, since) {
                        break;
                    }
                    next = log.head.segment;
                }
                Some(SideItem::Swept { head, stubs }) => {
                    if let Some(stub) = stubs.iter().find(|stub| stub.append_id == id) {
                        return Ok(Some(FoundAppend { stub: *stub, record: None }));
                    }
                    next = head.segment;
                }
                Some(SideItem::Gone(_)) | None => break,
            }
        }
        Ok(None)
    }

    async fn found(
        &self,
        session: &SessionId,
        log: &Log,
        entry: &Entry,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<FoundAppend, Error> {
        let record = self.whole(session, log, entry, cost, retry).await?;
        Ok(FoundAppend { stub: Stub::of(entry), record })
    }
}

/// Whether a list reaches back to before that point, by our own records.
fn reaches(log: &Log, since: Since) -> bool {
    log.entries.iter().any(|entry| !entry.foreign && since.is_later_than(entry.bare.created_at, entry.bare.seq))
}
