//! What is remembered of logs, so that a put need not read the checkpoint before it.

use std::sync::atomic::Ordering;
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
pub(super) struct Remembered {
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

impl CheckpointStore {
    /// Locks a log, so that nothing else in this process changes it.
    pub(super) async fn lock(&self, partition: &str, log: &Log) -> OwnedMutexGuard<LogState> {
        let state = {
            let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
            let remembered = logs.entry((partition.to_owned(), log.clone())).or_insert_with(|| {
                let was_loaded = self.0.forgot.load(Ordering::Relaxed);
                let state = Arc::new(tokio::sync::Mutex::new(LogState { tip: None, was_loaded }));
                Remembered { state, ..Remembered::default() }
            });
            remembered.used = self.0.uses.fetch_add(1, Ordering::Relaxed);
            remembered.state.clone()
        };
        state.lock_owned().await
    }

    /// Notes how large a log's tip is, and forgets logs that were not used for the longest time if there is too much.
    pub(super) fn remember(&self, partition: &str, log: &Log, state: &LogState) {
        let newest = state.tip.as_ref().and_then(|tip| tip.newest.as_ref());
        let bytes = newest.map_or(0, |known| known.state.len() + known.base.as_ref().map_or(0, |base| base.state.len()));
        let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = logs.get_mut(&(partition.to_owned(), log.clone())) {
            remembered.bytes = bytes;
        }
        let mut total: usize = logs.values().map(|log| log.bytes).sum();
        if total <= self.0.options.cache_bytes && logs.len() <= MAX_LOGS {
            return;
        }
        let mut by_use: Vec<_> = logs.iter().map(|(key, log)| (log.used, log.bytes, key.clone())).collect();
        by_use.sort_by_key(|(used, ..)| *used);
        for (_, bytes, key) in by_use {
            if total <= self.0.options.cache_bytes / 2 && logs.len() <= MAX_LOGS / 2 {
                break;
            }
            // One that is in use has another owner; forgetting it would let two changes run at once.
            if logs.get(&key).is_some_and(|log| Arc::strong_count(&log.state) == 1) {
                total -= bytes;
                logs.remove(&key);
                self.0.forgot.store(true, Ordering::Relaxed);
            }
        }
    }
}
