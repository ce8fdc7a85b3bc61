//! Rolling: an append that would make an item larger than the rolling size moves the older part of the list into a segment and
//! writes the rest of the list together with its own elements. So no append pays for the whole item twice.

use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::append::Attempt;
use super::element::{self, Dialect};
use super::state::{Head, Log, State};
use super::{Listed, Rule};
use crate::common::names::LIST_IDS;
use crate::common::retry::Retry;
use crate::common::size::{value_bytes, write_units};
use crate::table::{Clock, Condition, Table, Update};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::store::Append;

/// Bytes of an item that a segment leaves for its key and for what it stores besides its elements.
const SEGMENT_MARGIN: usize = 4 * 1024;

/// How many times smaller a segment is than its elements, for estimates: real conversations compress to a fifth or a quarter.
const SEGMENT_RATIO: usize = 4;

/// A segment that an attempt has written.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    id: String,
    head: Head,
    elements: Vec<AttributeValue>,
}

/// How an attempt rolls.
#[derive(Debug, Default)]
pub(super) struct Rolling {
    /// The segments to which its request leads.
    segments: Vec<Segment>,
    /// Those to which an earlier request led.
    unused: Vec<String>,
    /// Rolling failed, or another writer came first: the next append rolls.
    given_up: bool,
    /// DynamoDB does not let the item grow: only a request that rolls can land.
    pub(super) is_forced: bool,
}

impl Rolling {
    /// The next request leads to none of the segments.
    pub(super) fn leave(&mut self) {
        self.unused.extend(self.segments.drain(..).map(|segment| segment.id));
    }

    /// A request was refused since the item had changed.
    pub(super) fn lost(&mut self) {
        self.given_up |= !self.segments.is_empty();
    }
}

impl<T: Table, C: Clock> Listed<T, C> {
    /// Estimates the write units of these appends to a new session. Each pays for the whole item, and one that rolls also for the
    /// segment that it creates.
    pub(crate) fn write_units(&self, session: &SessionId, appends: &[Append]) -> f64 {
        let dialect = self.form_of_new();
        let empty = session.as_str().len() + 64;
        let (mut item, mut units) = (empty, 0);
        for append in appends {
            let elements = append.messages().map(|message| element::encode(dialect, message, element::Mark::new()));
            // The record's mark, and its id among those that the item remembers.
            let bytes = elements.map(|element| 1 + value_bytes(&element)).sum::<usize>() + 80 + 16;
            let before = item;
            item += bytes;
            if let Some(limit) = self.settings.roll_bytes.filter(|limit| item > *limit) {
                let kept = (limit / 4).max(bytes).min(item);
                units += write_units((item - kept) / SEGMENT_RATIO);
                item = empty + kept;
            }
            units += write_units(before.max(item));
        }
        units as f64
    }

    /// Estimates, likewise, the write units of these appends in one request.
    pub(crate) fn write_units_of_all(&self, session: &SessionId, appends: &[Append]) -> f64 {
        let dialect = self.form_of_new();
        let elements = appends.iter().flat_map(Append::messages).map(|m| element::encode(dialect, m, element::Mark::new()));
        let bytes = elements.map(|element| 1 + value_bytes(&element)).sum::<usize>() + 80 * appends.len() + 16;
        let empty = session.as_str().len() + 64;
        let units = match self.settings.roll_bytes.filter(|limit| empty + bytes > *limit) {
            Some(limit) => {
                let kept = (limit / 4).min(bytes);
                write_units((bytes - kept) / SEGMENT_RATIO) + write_units(empty + kept)
            }
            None => write_units(empty + bytes),
        };
        units as f64
    }

    /// Whether an append of these elements rolls an item of this size.
    pub(super) fn is_due(&self, attempt: &Attempt<'_>, item: usize, elements: &[AttributeValue]) -> bool {
        let Some(limit) = self.settings.roll_bytes else { return false };
        let may_roll = !attempt.rolling.given_up && !self.known.roll_denied.load(Ordering::Relaxed);
        attempt.rolling.is_forced || may_roll && item + bytes_of(elements) > limit
    }

    /// Builds the request of a plain append that rolls: it replaces the list that was read by its newer part and these elements.
    ///
    /// Returns `None` if nothing moves.
    pub(super) async fn rolling(
        &self,
        attempt: &mut Attempt<'_>,
        state: &State,
        dialect: Dialect,
        elements: &[AttributeValue],
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Update>, Error> {
        // In an item with two lists, each original sees its own part, so it is left as it is.
        if state.is_mixed() {
            return Ok(None);
        }
        // Of several records, the older ones may themselves move.
        let whole = match attempt.more {
            [] => None,
            _ => {
                let new = elements.iter().map(|element| (dialect, element.clone()));
                let all = state.log.elements.iter().cloned().chain(new).collect();
                Some(Log::new(attempt.session.as_str(), state.log.head.clone(), all)?)
            }
        };
        let (log, elements) = whole.as_ref().map_or((&state.log, elements), |whole| (whole, &[][..]));
        let Some((head, mut list)) = self.shorten(attempt, log, dialect, elements, retry).await? else { return Ok(None) };
        list.extend_from_slice(elements);
        let mut update = self.rewrite(attempt.session, state, dialect, &head, list)?;
        update.conditions.extend(self.unexpired(attempt));
        update.set.extend(self.expiry(attempt));
        if self.keeps(Rule::Once) {
            // A rewrite drops the ids that the item remembers; this append's own is the first of the new list.
            let id = Blob::new(attempt.id.as_bytes());
            update.conditions.push(Condition::Lacks(LIST_IDS.to_owned(), id.clone()));
            update.set.retain(|(name, _)| name != LIST_IDS);
            update.set.push((LIST_IDS.to_owned(), Some(AttributeValue::Bs(vec![id]))));
        }
        Ok(Some(update))
    }

    /// Stores the older part of a list, all in this dialect, in segments, and returns the rest: its head and its elements. The
    /// newest quarter of the rolling size stays, the new elements included, from the start of a turn if possible.
    ///
    /// Returns `None` if nothing moves: there is nothing older, or it could not be stored and the append does not depend on it.
    pub(super) async fn shorten(
        &self,
        attempt: &mut Attempt<'_>,
        log: &Log,
        dialect: Dialect,
        elements: &[AttributeValue],
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<(Head, Vec<AttributeValue>)>, Error> {
        let Some(limit) = self.settings.roll_bytes else { return Ok(None) };
        let from = keep_from(log, elements, limit);
        if log.place(from) == 0 {
            attempt.rolling.leave();
            return Ok(None);
        }
        let written = std::mem::take(&mut attempt.rolling.segments);
        let (segments, head) = self.split(log, from, &written);
        let is_used = |segment: &Segment| segments.iter().any(|used| used.id == segment.id);
        attempt.rolling.unused.extend(written.iter().filter(|segment| !is_used(segment)).map(|segment| segment.id.clone()));
        for segment in segments {
            if !written.contains(&segment) {
                match self.put_segment(attempt, dialect, &segment, retry).await {
                    Ok(()) => {}
                    Err(error) if attempt.rolling.is_forced => {
                        return Err(error.context("the session's item is full, and its older part could not be moved"));
                    }
                    Err(error) => {
                        let is_denied = error.is_access_denied();
                        self.known.roll_denied.fetch_or(is_denied, Ordering::Relaxed);
                        let next = if is_denied { "grant dynamodb:PutItem" } else { "the next append retries" };
                        tracing::warn!(%error, "moving older records of a session to a segment failed; {next}");
                        attempt.rolling.given_up = true;
                        attempt.rolling.leave();
                        return Ok(None);
                    }
                }
            }
            attempt.rolling.segments.push(segment);
        }
        Ok(Some((head, log.elements[log.place(from)..].iter().map(|(_, element)| element.clone()).collect())))
    }

    /// Splits what precedes this record into segments, as few as can hold it, and returns the head of the rest. Segments that were
    /// `written` before keep their ids.
    fn split(&self, log: &Log, from: usize, written: &[Segment]) -> (Vec<Segment>, Head) {
        let room = self.settings.item_bytes.saturating_sub(SEGMENT_MARGIN.min(self.settings.item_bytes / 8));
        let (mut head, mut segments) = (log.head.clone(), Vec::new());
        let (mut start, mut bytes) = (0, 0);
        for place in 0..=from {
            let size = log.entries.get(place).map_or(0, |entry| log.bytes(entry));
            let is_full = bytes > 0 && bytes + size > room && log.entries[place].count > 0;
            if place == from || is_full {
                let elements: Vec<_> =
                    log.elements[log.place(start)..log.place(place)].iter().map(|(_, element)| element.clone()).collect();
                let known = written.iter().find(|segment| segment.head == head && segment.elements == elements);
                let id = known.map_or_else(|| Uuid::new_v4().to_string(), |segment| segment.id.clone());
                let next = log.entries.get(place).map_or(log.next(), |entry| entry.bare.seq);
                let last = log.entries[..place].last().map(|entry| entry.bare.append_id);
                let root = head.root.clone().or_else(|| Some(id.clone()));
                let rest = Head { next, last, segment: Some(id.clone()), root, gone: log.head.gone.clone(), bare: Vec::new() };
                segments.push(Segment { id, head: std::mem::replace(&mut head, rest), elements });
                (start, bytes) = (place, 0);
            }
            bytes += size;
        }
        (segments, head)
    }

    /// Stores a segment, before any list leads to it. An append that does not depend on it tries once.
    async fn put_segment(
        &self,
        attempt: &mut Attempt<'_>,
        dialect: Dialect,
        segment: &Segment,
        retry: &mut Retry<'_, C>,
    ) -> Result<(), Error> {
        let Segment { id, head, elements } = segment;
        let expires = self.common.retention.and_then(|kept| Some((attempt.ttl.as_deref()?, attempt.now.expires_after(kept)?)));
        let item = self.segment(attempt.session, id, head, dialect, elements.clone(), expires);
        while self.keeps(Rule::SegmentFirst) {
            match self.table.put(&item, &[], &mut attempt.cost).await {
                Ok(_) => break,
                Err(fault) if attempt.rolling.is_forced => retry.after(fault).await?,
                Err(fault) => return Err(fault.error),
            }
        }
        Ok(())
    }

    /// Deletes segments to which nothing leads, once the append has landed by a request that leads to others or to none. A copy of
    /// the earlier request that the network held finds another generation then, or its own id: it cannot land.
    pub(super) async fn delete_unused(&self, attempt: &mut Attempt<'_>) {
        for id in std::mem::take(&mut attempt.rolling.unused) {
            let _ = self.table.delete(&self.settings.ids.side_key(attempt.session, &id), &[], &mut attempt.cost).await;
        }
    }
}

/// The first record to keep in a list to which these elements are added.
fn keep_from(log: &Log, elements: &[AttributeValue], limit: usize) -> usize {
    let begins_turn = |value: &AttributeValue| element::decode(value).is_ok_and(|read| read.message.begins_turn());
    let mut from = log.entries.len();
    let (mut kept, mut is_whole) = (bytes_of(elements), elements.first().is_none_or(begins_turn));
    for (place, entry) in log.entries.iter().enumerate().rev() {
        let more = kept + log.bytes(entry);
        // A turn is kept whole unless it fills half of the item by itself.
        if more > limit / 4 && is_whole || more > limit / 2 {
            break;
        }
        kept = more;
        if entry.count > 0 {
            (from, is_whole) = (place, begins_turn(&log.elements[entry.at].1));
        }
    }
    from
}

/// The bytes that these elements add to a list.
pub(super) fn bytes_of(elements: &[AttributeValue]) -> usize {
    elements.iter().map(|element| 1 + value_bytes(element)).sum()
}
