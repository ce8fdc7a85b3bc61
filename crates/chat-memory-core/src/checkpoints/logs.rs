//! What is remembered of logs, so that a put need not read the checkpoint before it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::keys::Log;
use super::read::Known;
use super::store::CheckpointStore;
use crate::store::position::Moment;
use crate::timestamp::Timestamp;

/// What is remembered of a log.
#[derive(Debug, Default)]
struct Remembered {
    state: Arc<tokio::sync::Mutex<LogState>>,
    /// When it was last used, as a count of uses of any log.
    used: u64,
    bytes: usize,
}

/// What is known of a log. Whoever changes the log holds its lock.
#[derive(Debug, Default)]
pub(super) struct LogState {
    pub(super) tip: Option<Tip>,
    /// Whether the log was loaded, so that whoever puts its first checkpoint knows whether there is one.
    pub(super) was_loaded: bool,
}

/// The end of a log, as it was when it was last read or written.
#[derive(Debug, Clone)]
pub(super) struct Tip {
    /// The id in the last row, perhaps of a mark.
    pub(super) last: Option<String>,
    /// From when on the table may delete that row.
    pub(super) purged_at: Option<Timestamp>,
    /// The newest checkpoint.
    pub(super) newest: Option<Arc<Known>>,
    /// When this was read or written.
    pub(super) at: Moment,
}

/// How long a tip may be believed. The marks of what was removed stay longer, so a put by what was read before a removal is refused.
pub(super) const TIP_LIFETIME: Duration = Duration::from_hours(12);

/// How many logs to remember at most.
const MAX_LOGS: usize = 10_000;

/// What is remembered of logs, by their partition and their keys.
#[derive(Debug, Default)]
pub(super) struct Logs {
    remembered: HashMap<(String, Log), Remembered>,
    /// The sum of their bytes.
    bytes: usize,
    /// How often any was used.
    uses: u64,
    /// Whether one was forgotten: from then on, one that is not remembered may have been loaded.
    forgot: bool,
}

impl Logs {
    fn state(&mut self, partition: &str, log: &Log) -> Arc<tokio::sync::Mutex<LogState>> {
        self.uses += 1;
        let was_loaded = self.forgot;
        let remembered = self.remembered.entry((partition.to_owned(), log.clone())).or_insert_with(|| {
            let state = Arc::new(tokio::sync::Mutex::new(LogState { tip: None, was_loaded }));
            Remembered { state, ..Remembered::default() }
        });
        remembered.used = self.uses;
        remembered.state.clone()
    }

    /// Notes how large a log is, and forgets those that were not used for the longest time if all have more than `most` bytes.
    fn note(&mut self, partition: &str, log: &Log, bytes: usize, most: usize) {
        if let Some(remembered) = self.remembered.get_mut(&(partition.to_owned(), log.clone())) {
            let before = std::mem::replace(&mut remembered.bytes, bytes);
            self.bytes = self.bytes - before + bytes;
        }
        if self.bytes <= most && self.remembered.len() <= MAX_LOGS {
            return;
        }
        let mut by_use: Vec<_> = self.remembered.iter().map(|(key, log)| (log.used, key.clone())).collect();
        by_use.sort_by_key(|(used, _)| *used);
        for (_, key) in by_use {
            if self.bytes <= most / 2 && self.remembered.len() <= MAX_LOGS / 2 {
                break;
            }
            // One that is in use has another owner; forgetting it would let two changes run at once.
            if self.remembered.get(&key).is_some_and(|log| Arc::strong_count(&log.state) == 1)
                && let Some(forgotten) = self.remembered.remove(&key)
            {
                self.bytes -= forgotten.bytes;
                self.forgot = true;
            }
        }
    }
}

impl CheckpointStore {
    fn remembered(&self) -> std::sync::MutexGuard<'_, Logs> {
        self.0.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks a log, so that nothing else in this process changes it.
    pub(super) async fn lock(&self, partition: &str, log: &Log) -> OwnedMutexGuard<LogState> {
        let state = self.remembered().state(partition, log);
        state.lock_owned().await
    }

    /// Notes how large a log's tip is, and forgets logs that were not used for the longest time if there is too much.
    pub(super) fn remember(&self, partition: &str, log: &Log, state: &LogState) {
        let newest = state.tip.as_ref().and_then(|tip| tip.newest.as_ref());
        let bytes = newest.map_or(0, |known| known.state.len() + known.base.as_ref().map_or(0, |base| base.state.len()));
        self.remembered().note(partition, log, bytes, self.0.options.cache_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_of_bytes_is_that_of_the_logs_and_those_used_last_stay() {
        const MOST: usize = 1_000;
        let (mut logs, mut random) = (Logs::default(), fastrand::Rng::with_seed(1));
        let in_use = logs.state("p", &Log::new("in use"));
        logs.note("p", &Log::new("in use"), 300, MOST);
        for _ in 0..10_000 {
            let log = Log::new(&random.u8(0..40).to_string());
            drop(logs.state("p", &log));
            let bytes = random.usize(0..120);
            logs.note("p", &log, bytes, MOST);
            let sum: usize = logs.remembered.values().map(|log| log.bytes).sum();
            assert!(logs.bytes == sum && sum <= MOST, "{} {sum}", logs.bytes);
            assert_eq!(logs.remembered[&("p".to_owned(), log)].bytes, bytes, "it was used last");
        }
        assert!(logs.forgot);
        assert!(Arc::ptr_eq(&in_use, &logs.state("p", &Log::new("in use"))), "one that is in use is never forgotten");
    }
}
