//! The tail of each session's log as this process last saw it, and how long it may be relied on.

use crate::common::timing::{FRESH, SOLID};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::item::{Head, Links};
use chat_memory_core::Timestamp;
use chat_memory_core::backend::Moment;
use chat_memory_core::store::{AppendId, Position};

/// How many sessions are remembered. A forgotten session costs a read.
const REMEMBERED: usize = 10_000;

/// The tail of a session's log at some moment.
#[derive(Debug, Clone)]
pub(crate) struct CachedTail {
    /// The next number.
    pub(crate) next: u64,
    /// The time before the request that showed it.
    pub(crate) asked_at: Moment,
    /// The last record; `None` for an empty log.
    pub(crate) last: Option<Last>,
}

/// What is known about the last record.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    pub(crate) append_id: AppendId,
    pub(crate) created_at: Timestamp,
    /// When it is hidden, and when it is purged.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) purged_at: Option<Timestamp>,
    pub(crate) links: Links,
}

impl CachedTail {
    pub(crate) fn empty(asked_at: Moment) -> Self {
        Self { next: 0, asked_at, last: None }
    }

    pub(crate) fn after(head: &Head, asked_at: Moment) -> Self {
        let last = Last {
            append_id: head.append_id,
            created_at: head.created_at,
            expires_at: head.expires_at,
            purged_at: head.purged_at(),
            links: head.links.clone(),
        };
        Self { next: head.seq + 1, asked_at, last: Some(last) }
    }

    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        self.asked_at.age(now) <= FRESH
    }

    /// Whether the last record is sure to outlive a put after it by far.
    pub(crate) fn is_solid(&self, now: Moment) -> bool {
        let purged_at = self.last.as_ref().and_then(|last| last.purged_at);
        purged_at.is_none_or(|at| at.since(now.wall) >= SOLID)
    }

    pub(crate) fn last_id(&self) -> Option<AppendId> {
        self.last.as_ref().map(|last| last.append_id)
    }

    pub(crate) fn links(&self) -> Links {
        self.last.as_ref().map(|last| last.links.clone()).unwrap_or_default()
    }

    pub(crate) fn position(&self) -> Position {
        Position::new(self.next, self.last_id(), self.asked_at.wall)
    }

    /// Whether the log is still at this position.
    pub(crate) fn is_at(&self, position: &Position) -> bool {
        self.next == position.next() && self.last_id() == position.last()
    }
}

/// The tails of one store, by partition key.
#[derive(Debug, Default)]
pub(crate) struct CachedTails(Mutex<HashMap<String, CachedTail>>);

impl CachedTails {
    pub(crate) fn get(&self, pk: &str, now: Moment) -> Option<CachedTail> {
        self.lock().get(pk).filter(|tail| tail.is_fresh(now)).cloned()
    }

    /// Caches a tail, unless the cached one is more recent.
    pub(crate) fn learn(&self, pk: &str, tail: &CachedTail, now: Moment) {
        let mut tails = self.lock();
        if tails.len() >= REMEMBERED && !tails.contains_key(pk) {
            tails.retain(|_, tail| tail.is_fresh(now));
            if tails.len() >= REMEMBERED {
                tails.clear();
            }
        }
        match tails.get_mut(pk) {
            Some(known) if known.is_fresh(now) && known.next > tail.next && known.asked_at.mono_ms > tail.asked_at.mono_ms => {}
            Some(known) => *known = tail.clone(),
            None => drop(tails.insert(pk.to_owned(), tail.clone())),
        }
    }

    pub(crate) fn forget(&self, pk: &str) {
        self.lock().remove(pk);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, CachedTail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
