//! Sweep: erases what rewinds and clears removed.

use crate::common::timing::REMEMBERED;
use std::collections::HashSet;

use super::side::{Gone, SideItem, circle, part_id, stubs_of};
use super::state::{Log, Parts};
use super::{Listed, retry};
use crate::common::retry::Retry;
use crate::table::{Clock, Table};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::store::{Append, Cost, Deleted, SweepStats};

impl<T: Table, C: Clock> Listed<T, C> {
    pub(crate) async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        self.writable()?;
        let mut retry = self.retry();
        let mut swept = SweepStats::default();
        let state = self.state(session, false, None, &mut swept.cost, &mut retry).await?;
        let mut note = state.log.head.gone.clone();
        // What remains of it is purged a day later, if the table's TTL is on.
        let ttl = retry!(retry, self.table.ttl_attribute(&[], &mut swept.cost)).ok().flatten();
        let mut seen = HashSet::new();
        while let Some(id) = note.take() {
            if !seen.insert(id.clone()) {
                return Err(circle(session, &id));
            }
            let gone = match self.read_side_item(session, &id, &mut swept.cost, &mut retry).await? {
                Some(SideItem::Gone(gone)) => gone,
                Some(_) => {
                    return Err(Error::corrupt(format!("the side item {id:?} of session {session:?} does not describe a clear")));
                }
                // It was purged long after it was swept.
                None => break,
            };
            note.clone_from(&gone.before);
            if !gone.swept {
                self.sweep_note(session, &id, gone, &state.log, ttl.as_deref(), &mut swept, &mut retry).await?;
            }
            // Each step has a deadline of its own: a long session has many.
            retry = self.retry();
        }
        Ok(swept)
    }

    /// Erases what a note names, except what an original has brought back since by writing back a list that it had read before.
    #[allow(clippy::too_many_arguments, reason = "one step of the loop above, taken out to be read")]
    async fn sweep_note<'a>(
        &'a self,
        session: &SessionId,
        id: &str,
        mut gone: Gone,
        live: &Log,
        ttl: Option<&str>,
        swept: &mut SweepStats,
        retry: &mut Retry<'a, C>,
    ) -> Result<(), Error> {
        let now = self.clock.now().wall;
        let expires = ttl.map(|name| (name, now + 2 * REMEMBERED));
        swept.records += gone.stubs.len() as u64;
        if let Some((from, until)) = gone.segments.clone() {
            let mut next = Some(from);
            let mut seen = HashSet::new();
            while let Some(at) = next.filter(|at| Some(at) != until.as_ref() && Some(at) != live.head.segment.as_ref()) {
                if !seen.insert(at.clone()) {
                    return Err(circle(session, &at));
                }
                *retry = self.retry();
                next = match self.read_side_item(session, &at, &mut swept.cost, retry).await? {
                    Some(SideItem::Segment(log)) => {
                        let away = log.entries.iter().filter(|entry| entry.bare.seq >= gone.to);
                        for parts in away.filter_map(|entry| entry.parts.as_ref()) {
                            self.delete_parts(session, &parts.id, parts.count, &mut swept.cost, retry).await?;
                        }
                        let stub = self.swept(session, &at, &log.head, &stubs_of(&log.entries, now), expires);
                        retry!(retry, self.table.put(&stub, &[], &mut swept.cost))?;
                        swept.records += log.entries.len() as u64;
                        // Everything below records that live on in the list lives on as well, whatever end the note gives.
                        let is_last = log.entries.first().is_some_and(|entry| entry.bare.seq < gone.to);
                        log.head.segment.filter(|_| !is_last)
                    }
                    Some(SideItem::Swept { head, .. }) => head.segment,
                    Some(SideItem::Gone(_)) | None => None,
                };
            }
        }
        let is_live = |parts: &Parts| live.entries.iter().any(|entry| entry.parts.as_ref() == Some(parts));
        for parts in std::mem::take(&mut gone.parts).into_iter().filter(|parts| !is_live(parts)) {
            self.delete_parts(session, &parts.id, parts.count, &mut swept.cost, retry).await?;
        }
        gone.swept = true;
        let note = self.note(session, id, &gone, expires);
        retry!(retry, self.table.put(&note, &[], &mut swept.cost)).map(drop)
    }

    async fn delete_parts(
        &self,
        session: &SessionId,
        id: &str,
        count: usize,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<(), Error> {
        for n in 0..count {
            let key = self.settings.ids.side_key(session, &part_id(id, n));
            retry!(retry, self.table.delete(&key, &[], cost))?;
        }
        Ok(())
    }

    /// Clears a session and erases what it held. Its item stays, empty: it keeps the numbering and what identifies a repeat, until
    /// a sweep of the table finds it two days old. No clear is written if there is no item, or if a clear or a delete left it
    /// empty.
    pub(crate) async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        self.writable()?;
        let mut cost = Cost::default();
        let state = self.state(session, false, None, &mut cost, &mut self.retry()).await?;
        if !state.exists {
            return Ok(Deleted::new(false, SweepStats::new(0, cost)));
        }
        if state.log.is_cleared() {
            // This may repeat a delete that was interrupted.
            let mut swept = self.sweep(session).await?;
            swept.cost += cost;
            return Ok(Deleted::new(false, swept));
        }
        let cleared = self.append_over(session, &Append::clear(), &[]).await;
        let (cleared, took) = cleared.map_err(|e| e.of_repeatable("deleted"))?;
        let mut deleted = Deleted::new(took.shown, self.sweep(session).await?);
        // The records of an earlier delete held no messages.
        deleted.records = deleted.records.saturating_sub(took.bare);
        deleted.cost += cost;
        deleted.cost += cleared.cost;
        Ok(deleted)
    }
}
