//! What this process knows of the sessions that it wrote: enough for the next append to be one request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Dialect;
use super::state::State;
use super::table::Generation;
use crate::table::Key;

/// How many sessions are remembered. One that is forgotten costs a read.
const REMEMBERED: usize = 10_000;

/// What an append needs to know. It does not grow old: a generation that has passed never comes again, and then the append is refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knowledge {
    pub(super) generation: Generation,
    pub(super) dialect: Dialect,
    /// The number that came next when it was learnt.
    pub(super) next: u64,
}

#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Key, Knowledge>>);

impl Known {
    pub(super) fn get(&self, key: &Key) -> Option<Knowledge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    pub(super) fn learn(&self, key: &Key, now: &State, dialect: Dialect) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(key) {
            known.clear();
        }
        match now.generation {
            Some(generation) => drop(known.insert(key.clone(), Knowledge { generation, dialect, next: now.log.next() })),
            None => drop(known.remove(key)),
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
