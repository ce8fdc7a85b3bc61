//! What this process knows about the sessions that it wrote: enough to make the next append one request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Dialect;
use super::state::State;
use super::table::Generation;
use crate::table::Key;

/// How many sessions are remembered. A forgotten session costs a read.
const REMEMBERED: usize = 10_000;

/// What an append needs to know. It does not go stale: a generation that has passed never comes again, so an append that requires
/// it is refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct CachedGeneration {
    pub(super) generation: Generation,
    pub(super) dialect: Dialect,
    /// The next number at the time it was learned.
    pub(super) next: u64,
}

#[derive(Debug, Default)]
pub(super) struct GenerationCache(Mutex<HashMap<Key, CachedGeneration>>);

impl GenerationCache {
    pub(super) fn get(&self, key: &Key) -> Option<CachedGeneration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    pub(super) fn learn(&self, key: &Key, now: &State, dialect: Dialect) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(key) {
            known.clear();
        }
        match now.generation {
            Some(generation) => drop(known.insert(key.clone(), CachedGeneration { generation, dialect, next: now.log.next() })),
            None => drop(known.remove(key)),
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
