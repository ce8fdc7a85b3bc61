//! Load: the list, newest record first, then its segments as far back as requested.

use std::collections::HashSet;

use uuid::Uuid;

use super::side::{SideItem, circle};
use super::state::{Entry, Log, State};
use super::{Listed, Rule};
use crate::common::retry::Retry;
use crate::table::{Clock, Table};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{Cost, History, Load, Record, Walk};
use chat_memory_core::{SessionId, Timestamp};

/// The longest wait before re-reading a session in which something was missing: rewriting it takes little time.
pub(super) const LOOK_AGAIN_MS: f64 = 20.0;

/// The error if `what` is missing although the session was not rewritten.
pub(super) fn lost(session: &SessionId, what: &str) -> Error {
    Error::corrupt(format!(
        "{what} of session {:?} is missing from the table; it may have been deleted by hand",
        session.as_str()
    ))
}

/// The result of one pass of a load, which starts again if the session is rewritten meanwhile.
enum Step {
    Done(Box<History>),
    /// This was missing.
    Missing(String),
}

impl<T: Table, C: Clock> Listed<T, C> {
    pub(crate) async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        let mut retry = self.retry();
        let mut cost = Cost::default();
        let ttl = self.ttl_attribute(&mut cost, &mut retry).await?;
        let mut eventual = load.eventual || self.common.eventual;
        let mut before: Option<State> = None;
        loop {
            let asked_at = self.clock.now().wall;
            let state = self.state(session, eventual, ttl.as_deref(), &mut cost, &mut retry).await?;
            // Nothing was written since it was found missing, so it is lost.
            let unchanged = before.as_ref().is_some_and(|before| *before == state);
            match self.try_load(session, load, &state, unchanged, asked_at, &mut cost, &mut retry).await? {
                Step::Done(mut history) => {
                    history.cost = cost;
                    return Ok(*history);
                }
                Step::Missing(what) if unchanged || !self.keeps(Rule::LookAgain) => {
                    return Err(lost(session, &what));
                }
                Step::Missing(_) if retry.is_over() => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("session {:?} could not be read while it was being rewritten; try again", session.as_str()),
                    ));
                }
                Step::Missing(_) => {
                    (before, eventual) = (Some(state), false);
                    retry.wait(LOOK_AGAIN_MS).await;
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one step of the loop above, taken out to be read")]
    async fn try_load(
        &self,
        session: &SessionId,
        load: &Load,
        state: &State,
        unchanged: bool,
        asked_at: Timestamp,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Step, Error> {
        let position = state.position(asked_at);
        let newest = state.log.next().checked_sub(1).filter(|_| state.log.last().is_some());
        let mut walk = Walk::new(load, newest, self.clock.now().wall);
        if self.is_expired(state) {
            walk.end();
        }
        let mut older: Option<(String, Log)> = None;
        let mut seen = HashSet::new();
        let mut jump = load.before.and_then(|cursor| cursor.place());
        let mut place = None;
        loop {
            let log = older.as_ref().map_or(&state.log, |(_, log)| log);
            for entry in log.entries.iter().rev() {
                let Some(wanted) = walk.wants() else { break };
                if entry.bare.seq > wanted {
                    // A load of an earlier page skips what its reader has already seen.
                    continue;
                }
                if entry.bare.seq < wanted {
                    // The records in between were rewound: they are no longer in the list.
                    walk.skip(entry.bare.seq + 1);
                }
                if walk.wants() != Some(entry.bare.seq) {
                    break;
                }
                match self.whole(session, log, entry, cost, retry).await? {
                    Some(record) => {
                        walk.take(record);
                        place = older.as_ref().and_then(|(id, _)| Uuid::try_parse(id).ok()).map(Uuid::into_bytes);
                    }
                    None => return Ok(Step::Missing(format!("a part of record {}", entry.bare.seq))),
                }
            }
            let Some(wanted) = walk.wants() else { break };
            if let Some((_, at)) = jump.take_if(|(seq, _)| *seq == wanted)
                && let Some(found) =
                    self.segment_at(session, state, Uuid::from_bytes(at).to_string(), wanted, cost, retry).await?
            {
                older = Some(found);
                continue;
            }
            let Some(id) = log.head.segment.clone() else {
                walk.end();
                break;
            };
            match self.read_side_item(session, &id, cost, retry).await? {
                Some(SideItem::Segment(next)) => {
                    if !seen.insert(id.clone()) {
                        return Err(circle(session, &id));
                    }
                    // Otherwise a load would silently skip what the segment does not lead to.
                    let rewound = log.entries.first().is_some_and(|entry| entry.bare.rewind.is_some());
                    let follows = next.next() == log.head.next || next.next() < log.head.next && rewound;
                    if next.last() != log.head.last || !follows {
                        return Err(Error::corrupt(format!(
                            "the segment {id:?} of session {session:?} does not end with the record before number {}; it may have been \
                             edited by hand",
                            log.head.next
                        )));
                    }
                    older = Some((id, next));
                }
                // An original wrote back what it had read before it was cleared; the history ends here.
                Some(SideItem::Swept { .. }) if unchanged => walk.end(),
                // It has expired.
                None if self.common.retention.is_some() => walk.end(),
                _ => return Ok(Step::Missing(format!("the segment {id:?}"))),
            }
            if walk.wants().is_none() {
                break;
            }
        }
        let (records, complete) = walk.finish();
        Ok(Step::Done(Box::new(History::new(records, complete, position).with_place(place))))
    }

    /// The segment in which the reader of an earlier page found this record, if the list still leads to it. A load that wants
    /// exactly this record has read everything that was appended since, so nothing has taken it back.
    async fn segment_at(
        &self,
        session: &SessionId,
        state: &State,
        id: String,
        seq: u64,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<(String, Log)>, Error> {
        let root = state.log.head.root.as_ref();
        let is_checked = self.keeps(Rule::SameChain);
        // LangChain Python may have brought back an older list, which leads to other segments under the same root.
        if is_checked && (root.is_none() || state.python.is_some()) {
            return Ok(None);
        }
        let Some(SideItem::Segment(log)) = self.read_side_item(session, &id, cost, retry).await? else { return Ok(None) };
        let is_of_chain = root == Some(&id) || log.head.root.as_ref() == root || !is_checked;
        let has_record = log.entries.iter().any(|entry| entry.bare.seq == seq);
        Ok((is_of_chain && has_record).then_some((id, log)))
    }

    /// Reads a record with its messages, wherever they are stored; `None` if parts of it are missing.
    pub(super) async fn whole(
        &self,
        session: &SessionId,
        log: &Log,
        entry: &Entry,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Record>, Error> {
        match &entry.parts {
            None => log.record(session.as_str(), entry).map(Some),
            Some(parts) => {
                let messages = self.read_parts(session, parts, cost, retry).await?;
                Ok(messages.map(|messages| entry.bare.with(messages)))
            }
        }
    }
}
