//! Redact: rewrites the list with one record's messages replaced, on the condition that it is the one that was read.
//!
//! Segments are not changed in place: a delayed copy of the request that stored one would bring its text back. The one with the
//! record, and those that lead to it, are stored again, and notes name the old ones and the old parts until a sweep erases them.

use std::collections::HashSet;

use uuid::Uuid;

use super::element::{self, Dialect, Mark};
use super::load::{LOOK_AGAIN_MS, lost};
use super::rewrite::{headed, unreadable};
use super::side::{Gone, SideItem, circle};
use super::state::{Entry, Log, Parts, State, mark_of};
use super::{Listed, retry};
use crate::common::names::LIST_GENERATION;
use crate::common::redact::{Sent, contended, done, send};
use crate::common::retry::Retry;
use crate::table::{Clock, Key, Table, Update};
use chat_memory_core::error::Error;
use chat_memory_core::store::{Cost, Redacted, Redaction};
use chat_memory_core::{SessionId, Timestamp};

/// Where a record is.
struct Place {
    /// The list, and the segments from the newest to the one with the record, each with its id.
    chain: Vec<(String, Log)>,
    /// The index of the record in the last of them.
    entry: usize,
}

/// What a lookup found.
enum Found {
    Here(Box<Place>),
    /// It is in no list any more: a rewind or a clear took it away.
    Gone,
    /// This was missing.
    Missing(String),
}

/// A request that redacts, and the items that were written for it.
struct Ready {
    update: Update,
    written: Vec<Key>,
}

impl<T: Table, C: Clock> Listed<T, C> {
    pub(crate) async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        if !redaction.is_dry_run() {
            self.writable()?;
        }
        redaction.check()?;
        let (mut retry, mut cost) = (self.retry(), Cost::default());
        let ttl = self.ttl_attribute(&mut cost, &mut retry).await?;
        let mut missed: Option<State> = None;
        // A try that may have landed, though its answer was lost and others have written since.
        let mut tried: Option<Redacted> = None;
        loop {
            if retry.is_over() {
                return Err(contended(session, seq));
            }
            let state = self.state(session, false, ttl.as_deref(), &mut cost, &mut retry).await?;
            if seq >= state.log.next() {
                return Err(Redaction::missing(session, seq));
            }
            let missing = match self.find_record(session, &state, seq, &mut cost, &mut retry).await? {
                Found::Here(place) => match self.read_record(session, &place, &mut cost, &mut retry).await? {
                    Some(record) => {
                        let now = self.clock.now().wall;
                        let redacted = redaction.apply(session, record, now)?;
                        if redaction.is_dry_run() {
                            return Ok(redacted.with_cost(cost));
                        }
                        if redacted.changed {
                            let ttl = ttl.as_deref();
                            let ready =
                                self.redacting(session, &state, *place, &redacted, (now, ttl), &mut cost, &mut retry).await?;
                            self.known.generations.forget(&self.settings.ids.key(session)?);
                            let update = (&ready.update, LIST_GENERATION);
                            let sent = send(&self.table, update, &ready.written, &mut cost, &mut retry).await?;
                            if let Sent::Refused { in_doubt } = sent {
                                tried = in_doubt.then_some(redacted).or(tried);
                                retry.wait(LOOK_AGAIN_MS).await;
                                continue;
                            }
                        }
                        self.erase_redacted(session, &mut cost).await?;
                        return Ok(done(redacted, tried).with_cost(cost));
                    }
                    None => format!("a part of record {seq}"),
                },
                Found::Gone => {
                    // Its segment or its parts may not be erased yet.
                    if !redaction.is_dry_run() {
                        self.erase_redacted(session, &mut cost).await?;
                    }
                    return Err(Redaction::erased(session, seq));
                }
                Found::Missing(what) => what,
            };
            if missed.as_ref() == Some(&state) {
                return Err(lost(session, &missing));
            }
            missed = Some(state);
            retry.wait(LOOK_AGAIN_MS).await;
        }
    }

    async fn find_record(
        &self,
        session: &SessionId,
        state: &State,
        seq: u64,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Found, Error> {
        let mut chain = vec![(String::new(), state.log.clone())];
        let mut seen = HashSet::new();
        while let Some((_, log)) = chain.last() {
            if let Some(entry) = log.entries.iter().position(|entry| entry.bare.seq == seq) {
                return Ok(Found::Here(Box::new(Place { chain, entry })));
            }
            let Some(id) = log.head.segment.clone().filter(|_| seq < log.head.next) else { break };
            if !seen.insert(id.clone()) {
                return Err(circle(session, &id));
            }
            match self.read_side_item(session, &id, cost, retry).await? {
                Some(SideItem::Segment(older)) => chain.push((id, older)),
                None if self.common.retention.is_none() => return Ok(Found::Missing(format!("the segment {id:?}"))),
                _ => break,
            }
        }
        Ok(Found::Gone)
    }

    async fn read_record(
        &self,
        session: &SessionId,
        place: &Place,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<chat_memory_core::store::Record>, Error> {
        let Some((_, log)) = place.chain.last() else { return Ok(None) };
        self.whole(session, log, &log.entries[place.entry], cost, retry).await
    }

    /// Writes the side items of a redaction, and builds the request that makes the list lead to them.
    #[allow(clippy::too_many_arguments, reason = "one step of the loop above, taken out to be read")]
    async fn redacting(
        &self,
        session: &SessionId,
        state: &State,
        place: Place,
        redacted: &Redacted,
        (now, ttl): (Timestamp, Option<&str>),
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Ready, Error> {
        let Place { mut chain, entry } = place;
        let mut items = Vec::new();
        let mut note = Gone { at: now, to: state.log.next(), before: state.log.head.gone.clone(), ..Gone::default() };
        let mut notes = Vec::new();
        if let Some((_, log)) = chain.last_mut() {
            let read = log.entries[entry].clone();
            let new_parts = match &read.parts {
                None => None,
                Some(old) => {
                    let id = Uuid::new_v4().to_string();
                    let written = self.parts_of(session, &id, &redacted.after.entries)?;
                    let parts = Parts { id, count: written.len() };
                    items.extend(written);
                    note.parts.push(old.clone());
                    Some(parts)
                }
            };
            self.replace(session, log, &read, redacted, new_parts.as_ref(), now)?;
        }
        // From the record's segment up to the newest one.
        let expires = self.common.retention.and_then(|kept| Some((ttl?, now.expires_after(kept)?)));
        let mut below: Option<(String, Option<String>)> = None;
        while chain.len() > 1 {
            let Some((old, mut log)) = chain.pop() else { break };
            note.segments = Some((old, log.head.segment.clone()));
            notes.push(std::mem::replace(&mut note, Gone { at: now, to: state.log.next(), ..Gone::default() }));
            let id = Uuid::new_v4().to_string();
            // A page's cursor must not continue in what is replaced: the copies are a chain of their own.
            let root = below.as_ref().and_then(|(_, root)| root.clone()).unwrap_or_else(|| id.clone());
            if let Some((segment, root)) = below.take() {
                (log.head.segment, log.head.root) = (Some(segment), root);
            }
            let dialect = log.elements.first().map_or(Dialect::Js, |(dialect, _)| *dialect);
            let mut log = self.unify(session, log, dialect)?;
            keep_first_id(session, &mut log, now)?;
            if let Some((_, first)) = log.elements.first_mut() {
                *first = headed(session, dialect, first, &log.head)?;
            }
            let elements = log.elements.into_iter().map(|(_, element)| element).collect();
            items.push(self.segment(session, &id, &log.head, dialect, elements, expires));
            below = Some((id, Some(root)));
        }
        if !note.parts.is_empty() {
            notes.push(note);
        }
        let mut log = chain.pop().map_or_else(|| state.log.clone(), |(_, log)| log);
        for mut note in notes {
            note.before.clone_from(&log.head.gone);
            let id = Uuid::new_v4().to_string();
            items.push(self.note(session, &id, &note, expires));
            log.head.gone = Some(id);
        }
        if let Some((segment, root)) = below {
            (log.head.segment, log.head.root) = (Some(segment), root);
        }
        if log.head != state.log.head {
            keep_first_id(session, &mut log, now)?;
        }
        for item in &items {
            retry!(retry, self.table.put(item, &[], cost))?;
        }
        let dialect = self.form(state);
        let log = self.unify(session, log, dialect)?;
        let elements = log.elements.into_iter().map(|(_, element)| element).collect();
        let update = self.rewrite(session, state, dialect, &log.head, elements)?;
        Ok(Ready { update, written: items.into_iter().map(|item| item.key).collect() })
    }

    /// Replaces the elements of a record whose messages changed.
    fn replace(
        &self,
        session: &SessionId,
        log: &mut Log,
        entry: &Entry,
        redacted: &Redacted,
        parts: Option<&Parts>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let unreadable = |why: String| unreadable(session, &why);
        let elements = &mut log.elements[entry.at..entry.at + entry.count];
        if let Some(parts) = parts {
            let Some((dialect, element)) = elements.first_mut() else { return Ok(()) };
            let mut mark = mark_of(element).unwrap_or_default();
            mark.insert("parts".into(), parts.value());
            *element = element::with_mark(*dialect, element, mark).map_err(unreadable)?;
            return Ok(());
        }
        let pairs = redacted.before.entries.iter().zip(&redacted.after.entries);
        for ((dialect, element), (before, after)) in elements.iter_mut().zip(pairs) {
            let Some(message) = after.as_message().filter(|_| before != after) else { continue };
            let mut mark = element::decode(element).map_err(unreadable)?.mark;
            if entry.foreign {
                mark.extend(mark_of_foreign(entry, now));
            }
            *element = element::encode(*dialect, message, mark);
        }
        Ok(())
    }

    /// Erases what notes name: the old text, also that of an earlier redaction that was cut off.
    async fn erase_redacted(&self, session: &SessionId, cost: &mut Cost) -> Result<(), Error> {
        let swept = self.sweep(session).await.map_err(|e| {
            e.context("the record is redacted, but its old text is not erased yet; repeat the redaction, or sweep, to finish")
        })?;
        *cost += swept.cost;
        Ok(())
    }
}

/// The mark of an original's element that changes. Its id is a hash of it, and that of the next one depends on it: it keeps the one
/// that it had. Its time is unknown; an old one would end the search for a repeat too early.
fn mark_of_foreign(entry: &Entry, now: Timestamp) -> Mark {
    let mut bare = entry.bare.clone();
    (bare.created_at, bare.sent_at) = (now, vec![None]);
    bare.mark(false)
}

/// Gives a first element that an original wrote, and that is to have another head, a mark with the id that it has.
fn keep_first_id(session: &SessionId, log: &mut Log, now: Timestamp) -> Result<(), Error> {
    let Some(entry) = log.entries.iter().find(|entry| entry.count > 0).filter(|entry| entry.foreign) else { return Ok(()) };
    let Some((dialect, first)) = log.elements.first_mut() else { return Ok(()) };
    let mut mark = mark_of(first).unwrap_or_default();
    if !mark.contains_key("id") {
        mark.extend(mark_of_foreign(entry, now));
        *first = element::with_mark(*dialect, first, mark).map_err(|why| unreadable(session, &why))?;
    }
    Ok(())
}
