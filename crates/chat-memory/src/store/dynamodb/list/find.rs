//! Whether an append is there already: in the list, among what the item remembers, in older segments, among what is gone.

use super::beside::{Beside, CLOCKS_MS, Gone, Stub};
use super::state::{Entry, Log, State};
use super::{ListTable, Listed, Rule};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::dynamodb::patience::Patience;
use crate::store::dynamodb::table::Clock;
use crate::store::{AppendId, Receipt, Record};

/// An append that landed before.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stub: Stub,
    /// What it stored, where that can still be read.
    pub(super) record: Option<Record>,
}

/// How many steps of segments and notes a look goes at most: a bound against items that point at each other.
const FARTHEST: usize = 100_000;

impl<T: ListTable, C: Clock> Listed<T, C> {
    /// Looks in the item alone.
    pub(super) async fn find_here(
        &self,
        session: &SessionId,
        state: &State,
        id: AppendId,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<Option<Found>, Error> {
        if let Some(entry) = state.log.find(id) {
            return self.found(session, &state.log, entry, receipt, patience).await.map(Some);
        }
        // It landed, and an original that writes the whole list has lost it since. That is done, and nobody's to repeat.
        let lost = state.ids.contains(&id);
        let seq = state.log.next().saturating_sub(1);
        Ok(lost.then_some(Found { stub: Stub { append_id: id, seq, created_at: 0 }, record: None }))
    }

    /// Looks where the append may have gone since `oldest_ms` (epoch milliseconds).
    pub(super) async fn find_far(
        &self,
        session: &SessionId,
        state: &State,
        id: AppendId,
        oldest_ms: i64,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<Option<Found>, Error> {
        if !self.keeps(Rule::LookBack) {
            return Ok(None);
        }
        let oldest_ms = oldest_ms - CLOCKS_MS;
        // Where the list itself goes back as far, nothing older matters.
        if !reaches(&state.log, oldest_ms) {
            let from = state.log.head.segment.clone();
            if let Some(found) = self.find_in_segments(session, from, None, id, oldest_ms, receipt, patience).await? {
                return Ok(Some(found));
            }
        }
        let mut note = state.log.head.gone.clone();
        for _ in 0..FARTHEST {
            let Some(at) = note.take() else { break };
            let Some(Beside::Gone(gone)) = self.read_beside(session, &at, receipt, patience).await? else { break };
            let Gone { stubs, segments, before, .. } = &gone;
            if let Some(stub) = stubs.iter().find(|stub| stub.append_id == id) {
                return Ok(Some(Found { stub: *stub, record: None }));
            }
            if let Some((from, until)) = segments.clone() {
                let found = self.find_in_segments(session, Some(from), until, id, oldest_ms, receipt, patience).await?;
                if let Some(found) = found {
                    return Ok(Some(Found { record: None, ..found }));
                }
            }
            if gone.at < oldest_ms {
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
        oldest_ms: i64,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<Option<Found>, Error> {
        let mut next = from;
        for _ in 0..FARTHEST {
            if next == until {
                break;
            }
            let Some(at) = next else { break };
            match self.read_beside(session, &at, receipt, patience).await? {
                Some(Beside::Segment(log)) => {
                    if let Some(entry) = log.find(id) {
                        return self.found(session, &log, entry, receipt, patience).await.map(Some);
                    }
                    if reaches(&log, oldest_ms) {
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
        patience: &mut Patience<'_, C>,
    ) -> Result<Found, Error> {
        let record = self.whole(session, log, entry, receipt, patience).await?;
        Ok(Found { stub: Stub::of(entry), record })
    }
}

/// Whether a list goes back to before this time, by its own records.
fn reaches(log: &Log, oldest_ms: i64) -> bool {
    log.entries.iter().any(|entry| !entry.foreign && entry.bare.created_at < oldest_ms)
}
