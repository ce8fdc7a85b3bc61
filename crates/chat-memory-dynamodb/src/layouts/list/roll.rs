//! Rolling: beyond a size, the older part of a list becomes a segment, so that the next append does not pay for it.

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::element;
use super::state::{Entry, Head, State};
use super::{Listed, attributes};
use crate::common::retry::Retry;
use crate::common::size::{item_bytes, value_bytes, write_units};
use crate::table::{Clock, Item, Table, Updated};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::store::{Append, Cost};

/// Bytes of an item that a segment leaves for its key and for what it stores besides its elements.
const SEGMENT_MARGIN: usize = 4 * 1024;

impl<T: Table, C: Clock> Listed<T, C> {
    /// Estimates the write units of these appends to a new session. Each pays for the whole item, and some for a roll: the item and
    /// the segment that it creates.
    pub(crate) fn write_units(&self, session: &SessionId, appends: &[Append]) -> f64 {
        let dialect = self.form_of_new();
        let empty = session.as_str().len() + 64;
        let (mut item, mut units) = (empty, 0);
        for append in appends {
            let elements = append.messages().map(|message| element::encode(dialect, message, element::Mark::new()));
            // The record's mark, and its id among those that the item remembers.
            let bytes = elements.map(|element| 1 + value_bytes(&element)).sum::<usize>() + 80 + 16;
            item += bytes;
            units += write_units(item);
            if let Some(limit) = self.settings.roll_bytes.filter(|limit| item > *limit) {
                let kept = (limit / 4).max(bytes).min(item);
                units += write_units(item - kept) + write_units(item);
                item = empty + kept;
            }
        }
        units as f64
    }

    /// Rolls a session's item if it has grown beyond the size. After a failure the next append tries again.
    pub(super) async fn roll_if_due(&self, session: &SessionId, item: &Item, state: &State, cost: &mut Cost) {
        let Some(limit) = self.settings.roll_bytes else { return };
        if item_bytes(item) <= limit {
            return;
        }
        let mut retry = self.retry();
        if let Err(error) = self.roll(session, state, limit, cost, &mut retry).await {
            tracing::warn!(%error, "moving older records of a session to a segment failed; the next append retries");
        }
    }

    /// Makes room in an item that DynamoDB refuses to let grow. Returns whether there is room now.
    pub(super) async fn make_room(&self, session: &SessionId, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<bool, Error> {
        let Some(limit) = self.settings.roll_bytes else { return Ok(false) };
        let mut rolled = false;
        // An item filled by an original takes two segments at most, since an item holds no more than that.
        for _ in 0..3 {
            let state = self.state(session, false, None, cost, retry).await?;
            if !self.roll(session, &state, limit, cost, retry).await? {
                break;
            }
            rolled = true;
        }
        Ok(rolled)
    }

    /// Moves the older part of a list into a segment. Returns whether it was moved, by us or by another writer.
    async fn roll(
        &self,
        session: &SessionId,
        state: &State,
        limit: usize,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<bool, Error> {
        // In an item with two lists, each original sees its own part, so it is left as it is.
        if state.is_mixed() {
            return Ok(false);
        }
        let Some(keep_from) = self.keep_from(state, limit) else { return Ok(false) };
        let dialect = self.form(state);
        let (first, log) = (&state.log.entries[keep_from], &state.log);
        let older: Vec<AttributeValue> = log.elements[..first.at].iter().map(|(_, element)| element.clone()).collect();
        let last = log.entries[..keep_from].last().map(|entry| entry.bare.append_id);
        let id = Uuid::new_v4().to_string();
        let ttl = self.ttl_attribute(cost, retry).await?;
        let now = self.clock.now().wall;
        let expires = self.common.retention.and_then(|kept| Some((ttl.as_deref()?, now.expires_after(kept)?)));
        let segment = self.segment(session, &id, &log.head, dialect, older, expires);
        super::retry!(retry, self.table.put(&segment, &[], cost))?;
        let head = Head { next: first.bare.seq, last, segment: Some(id.clone()), gone: log.head.gone.clone(), bare: Vec::new() };
        let kept = log.elements[first.at..].iter().map(|(_, element)| element.clone()).collect();
        let change = self.rewrite(session, state, dialect, &head, kept)?;
        let key = &change.key;
        loop {
            match self.table.update(&change, cost).await {
                Ok(Updated::Done(item)) => {
                    let now = self.read_state(session, Some(&item.attributes), None)?;
                    self.known.generations.learn(key, &now, dialect);
                    return Ok(true);
                }
                Ok(Updated::Refused(item)) => {
                    let now = self.read_state(session, attributes(item.as_ref()), None)?;
                    self.known.generations.learn(key, &now, self.form(&now));
                    // It may have been this very change, whose response was lost.
                    if !self.points_at(session, &now, &id, cost, retry).await? {
                        let _ = self.table.delete(&segment.key, &[], cost).await;
                    }
                    return Ok(true);
                }
                Err(fault) => {
                    self.known.generations.forget(key);
                    retry.after(fault).await?;
                }
            }
        }
    }

    /// Whether a session's chain of segments contains this one.
    async fn points_at(
        &self,
        session: &SessionId,
        state: &State,
        id: &str,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<bool, Error> {
        // It would be the newest segment, or one of the newest few. A rewind or a clear may have noted it, too. If in doubt it
        // stays, as garbage that `table sweep` finds.
        if state.log.head.segment.as_deref() == Some(id) || state.log.head.gone.is_some() {
            return Ok(true);
        }
        let mut next = state.log.head.segment.clone();
        for _ in 0..3 {
            let Some(at) = next else { return Ok(false) };
            match self.read_side_item(session, &at, cost, retry).await? {
                Some(super::side::SideItem::Segment(log)) if log.head.segment.as_deref() != Some(id) => next = log.head.segment,
                _ => return Ok(true),
            }
        }
        Ok(true)
    }

    /// The first record to keep: the newest quarter stays, from the start of a turn if possible. `None` if everything stays.
    fn keep_from(&self, state: &State, limit: usize) -> Option<usize> {
        let log = &state.log;
        let bytes = |entry: &Entry| -> usize {
            log.elements[entry.at..entry.at + entry.count].iter().map(|(_, element)| 1 + value_bytes(element)).sum()
        };
        let begins_turn = |entry: &Entry| {
            let first = log.elements.get(entry.at).filter(|_| entry.count > 0);
            first.is_some_and(|(_, value)| element::decode(value).is_ok_and(|read| read.message.begins_turn()))
        };
        let (mut kept, mut from) = (0, None);
        for (place, entry) in log.entries.iter().enumerate().rev() {
            let more = kept + bytes(entry);
            let whole = from.is_some_and(|from: usize| begins_turn(&log.entries[from]));
            // A turn is kept whole unless it fills half of the item by itself.
            if from.is_some() && (more > limit / 4 && whole || more > limit / 2) {
                break;
            }
            kept = more;
            if entry.count > 0 {
                from = Some(place);
            }
        }
        let mut from = from?;
        // What moves must fit into one item.
        let room = self.settings.item_bytes.saturating_sub(SEGMENT_MARGIN.min(self.settings.item_bytes / 8));
        while from > 0 && log.entries[..from].iter().map(bytes).sum::<usize>() > room {
            from -= 1;
        }
        while from > 0 && log.entries[from].count == 0 {
            from -= 1;
        }
        (log.entries[from].at > 0).then_some(from)
    }
}
