//! What this process knows about the sessions that it wrote: enough to make the next append one request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::Dialect;
use super::state::State;
use crate::common::names::LIST_GENERATION;
use crate::table::{Condition, Key};

/// Identifies the list between two of our rewrites. No value ever comes back, so a late request for an older generation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Generation(pub(crate) [u8; 16]);

impl Generation {
    pub(crate) fn random() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }

    fn value(self) -> AttributeValue {
        AttributeValue::B(Blob::new(self.0))
    }

    /// Sets it in an update.
    pub(super) fn set(self) -> (String, Option<AttributeValue>) {
        (LIST_GENERATION.to_owned(), Some(self.value()))
    }
}

/// The conditions that an item is still as far as it was known: it has this generation, or has none, since only originals wrote it,
/// or does not exist.
pub(super) fn as_known(generation: Option<Generation>, exists: bool) -> Vec<Condition> {
    let is = |generation: Option<Generation>| Condition::equals(LIST_GENERATION, generation.map(Generation::value));
    match generation {
        _ if !exists => vec![Condition::Absent],
        Some(_) => vec![is(generation)],
        None => vec![Condition::Exists, is(None)],
    }
}

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
    /// The size of the item at that time, without its keys.
    pub(super) bytes: usize,
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
            Some(generation) => {
                let cached = CachedGeneration { generation, dialect, next: now.log.next(), bytes: now.bytes };
                known.insert(key.clone(), cached);
            }
            None => drop(known.remove(key)),
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
