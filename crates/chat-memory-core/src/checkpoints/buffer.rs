//! What tasks wrote and no row holds yet: it waits for the next checkpoint, in whose row it costs nothing.

use std::collections::BTreeMap;

use super::Write;
use super::keys::Log;
use crate::error::Error;
use crate::store::Cost;

/// The checkpoint that writes belong to: its partition, its log and its id.
pub(super) type At = (String, Log, String);

/// The writes of one call, and its id, which orders calls.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) task_id: String,
    pub(super) writes: Vec<Write>,
}

impl Call {
    /// The id of a call of an attempt.
    pub(super) fn id_of(unique: String, attempt: Option<&str>) -> String {
        attempt.map_or_else(|| unique.clone(), |attempt| format!("{unique}.{attempt}"))
    }

    pub(super) fn attempt(id: &str) -> Option<&str> {
        id.split_once('.').map(|(_, attempt)| attempt)
    }
}

#[derive(Debug, Default)]
pub(super) struct Buffer {
    waiting: BTreeMap<At, Vec<Call>>,
    /// How many batches of a checkpoint's writes are on their way to the table.
    storing: BTreeMap<At, usize>,
    /// Writes that could not be stored while nobody waited for them, by partition: the next call says so.
    failed: BTreeMap<String, Error>,
    /// What was spent while nobody waited.
    spent: Cost,
}

impl Buffer {
    /// Adds a call; returns whether it is the first of its checkpoint.
    pub(super) fn add(&mut self, at: At, call: Call) -> bool {
        let calls = self.waiting.entry(at).or_default();
        calls.push(call);
        calls.len() == 1
    }

    pub(super) fn take(&mut self, at: &At) -> Vec<Call> {
        self.waiting.remove(at).unwrap_or_default()
    }

    /// Takes the calls of an attempt; for `None` all.
    pub(super) fn take_of(&mut self, at: &At, attempt: Option<&str>) -> Vec<Call> {
        let is_meant = |call: &Call| attempt.is_none() || Call::attempt(&call.id) == attempt;
        let (taken, left) = self.take(at).into_iter().partition(is_meant);
        self.put_back(at.clone(), left);
        taken
    }

    /// Puts back what was taken and not stored.
    pub(super) fn put_back(&mut self, at: At, mut calls: Vec<Call>) {
        if calls.is_empty() {
            return;
        }
        let later = self.waiting.entry(at).or_default();
        calls.append(later);
        *later = calls;
    }

    /// The checkpoints of a partition that have waiting writes; of all partitions for `None`.
    pub(super) fn waiting(&self, partition: Option<&str>) -> Vec<At> {
        let is_meant = |at: &&At| partition.is_none_or(|partition| at.0 == partition);
        self.waiting.keys().filter(is_meant).cloned().collect()
    }

    pub(super) fn begin(&mut self, at: &At) {
        *self.storing.entry(at.clone()).or_default() += 1;
    }

    pub(super) fn end(&mut self, at: &At) {
        if let Some(batches) = self.storing.get_mut(at) {
            *batches -= 1;
            if *batches == 0 {
                self.storing.remove(at);
            }
        }
    }

    /// Whether writes of a partition, or of any for `None`, are on their way to the table.
    pub(super) fn is_storing(&self, partition: Option<&str>) -> bool {
        self.storing.keys().any(|at| partition.is_none_or(|partition| at.0 == partition))
    }

    /// Whether writes of a checkpoint are on their way to the table.
    pub(super) fn is_storing_at(&self, at: &At) -> bool {
        self.storing.contains_key(at)
    }

    pub(super) fn spend(&mut self, cost: Cost) {
        self.spent += cost;
    }

    /// Takes what was spent while nobody waited.
    pub(super) fn take_spent(&mut self) -> Cost {
        std::mem::take(&mut self.spent)
    }

    pub(super) fn fail(&mut self, partition: &str, error: Error) {
        self.failed.insert(partition.to_owned(), error);
    }

    pub(super) fn failure(&mut self, partition: &str) -> Option<Error> {
        self.failed.remove(partition)
    }
}
