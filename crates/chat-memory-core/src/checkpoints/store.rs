//! The engine's operations that read, and what all operations share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::buffer::Buffer;
use super::format::Entry;
use super::keys::{self, Log, Place};
use super::logs::{LogState, Logs, Tip};
use super::read::{Found, Known, Walk, steady};
use super::rows::{MAX_BODY, RowRange, Rows};
use super::rules::Rule;
use super::{Checkpoint, Costed};
use crate::error::Error;
use crate::session::{Namespace, SessionId};
use crate::store::Cost;
use crate::store::position::Moment;

/// How a [`CheckpointStore`] keeps threads.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckpointOptions {
    /// The tenant, whose threads no other tenant's store sees.
    pub namespace: Option<Namespace>,
    /// How long a checkpoint is kept after it was put; `None`: for good.
    pub retention: Option<Duration>,
    /// How long a task's writes wait for the next checkpoint, in whose row they cost nothing. Until they are stored, a crash loses
    /// them, and their task runs again. Zero: they are stored at once. Interrupts, errors and resumes are always stored at once.
    pub window: Duration,
    /// The most bytes of states to remember, so that a put need not read the checkpoint before it.
    pub cache_bytes: usize,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self { namespace: None, retention: None, window: Duration::from_millis(150), cache_bytes: 64 << 20 }
    }
}

impl CheckpointOptions {
    /// Sets the tenant.
    #[must_use]
    pub fn with_namespace(self, namespace: impl Into<Option<Namespace>>) -> Self {
        Self { namespace: namespace.into(), ..self }
    }

    /// Sets how long a checkpoint is kept.
    #[must_use]
    pub fn with_retention(self, retention: impl Into<Option<Duration>>) -> Self {
        Self { retention: retention.into(), ..self }
    }

    /// Sets how long a task's writes wait for the next checkpoint.
    #[must_use]
    pub fn with_window(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// Sets how many bytes of states to remember.
    #[must_use]
    pub fn with_cache_bytes(self, cache_bytes: usize) -> Self {
        Self { cache_bytes, ..self }
    }
}

/// Threads of checkpoints in a table. Cheap to clone; clones share what they remember.
///
/// ```
/// use chat_memory::SessionId;
/// use chat_memory::checkpoints::{CheckpointOptions, CheckpointStore, InMemoryRows, NewCheckpoint, Typed};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let store = CheckpointStore::new(InMemoryRows::new(), CheckpointOptions::default());
/// let thread = SessionId::of_thread("trip")?;
/// let json = |text: &str| Typed::new("json", text);
/// let mut first = NewCheckpoint::new("1", None, json("{}"), json(r#"{"step": -1}"#));
/// first.versions.insert("messages".into(), "1".into());
/// first.values.insert("messages".into(), Some(json(r#"["Hi"]"#)));
/// store.put(&thread, "", first).await?;
/// let newest = store.load(&thread, "", None).await?.value.expect("it was put");
/// assert_eq!(newest.values["messages"], json(r#"["Hi"]"#));
///
/// // Of two runs that start from it, one is refused.
/// let next = |id: &str| NewCheckpoint::new(id, Some("1".into()), json("{}"), json("{}"));
/// store.put(&thread, "", next("2")).await?;
/// assert_eq!(store.put(&thread, "", next("3")).await.unwrap_err().kind(), chat_memory::ErrorKind::Conflict);
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct CheckpointStore(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) rows: Arc<dyn Rows>,
    pub(super) options: CheckpointOptions,
    pub(super) logs: Mutex<Logs>,
    pub(super) buffer: Mutex<Buffer>,
    /// Tells that writes were stored, or could not be.
    pub(super) stored: Notify,
    #[cfg(feature = "simulation")]
    pub(super) simulated: Option<super::simulation::Simulated>,
}

impl Inner {
    pub(super) fn new(rows: Arc<dyn Rows>, options: CheckpointOptions) -> Self {
        Self {
            rows,
            options,
            logs: Mutex::default(),
            buffer: Mutex::default(),
            stored: Notify::new(),
            #[cfg(feature = "simulation")]
            simulated: None,
        }
    }

    pub(super) fn now(&self) -> Moment {
        #[cfg(feature = "simulation")]
        if let Some(simulated) = &self.simulated {
            return simulated.now();
        }
        Moment::now()
    }

    /// An id that no other call has, and that is greater than those of earlier calls by the same clock.
    pub(super) fn unique(&self) -> String {
        #[cfg(feature = "simulation")]
        if let Some(simulated) = &self.simulated {
            return simulated.unique();
        }
        uuid::Uuid::now_v7().simple().to_string()
    }

    /// Whether what was found at this time may be otherwise by now: rows that the table was about to delete are gone.
    pub(super) fn is_old(&self, found_at: Moment) -> bool {
        self.keeps(Rule::Prompt) && found_at.age(self.now()) > SOLID / 2
    }

    /// How many bytes of rows a reader has to read at most to decode a checkpoint, besides its base.
    pub(super) fn max_tail(&self) -> usize {
        #[cfg(feature = "simulation")]
        if let Some(simulated) = &self.simulated {
            return simulated.max_tail;
        }
        32 << 10
    }

    /// How many bytes a frame or a piece of one may have.
    pub(super) fn max_frame(&self) -> usize {
        #[cfg(feature = "simulation")]
        if let Some(simulated) = &self.simulated {
            return simulated.max_frame;
        }
        MAX_BODY - ROW_OVERHEAD
    }
}

/// What a row has besides its frame, generously.
pub(super) const ROW_OVERHEAD: usize = 400;

/// How long the last row of a log must stay at least for a put after it.
pub(super) const SOLID: Duration = Duration::from_hours(2);

impl CheckpointStore {
    /// Creates a store on a table.
    pub fn new(rows: impl Rows + 'static, options: CheckpointOptions) -> Self {
        Self(Arc::new(Inner::new(Arc::new(rows), options)))
    }

    /// Creates a store on the same table that shares nothing else with this one.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Arc::new(Inner::new(self.0.rows.clone(), self.0.options.clone())))
    }

    /// Stores all writes that still wait, and returns when nothing uses the table any more: clones must be dropped.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); the writes are then lost.
    pub async fn close(self) -> Result<Cost, Error> {
        let flushed = self.flush().await;
        let inner = Arc::downgrade(&self.0);
        drop(self);
        while inner.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        flushed
    }

    /// Loads a checkpoint of a thread's namespace: the one with this id, or the newest. `None` if there is none.
    ///
    /// # Errors
    /// Errors of the table; corrupt if what it holds cannot be read.
    pub async fn load(&self, thread: &SessionId, namespace: &str, id: Option<&str>) -> Result<Costed<Option<Checkpoint>>, Error> {
        let mut cost = Cost::default();
        let (partition, log) = (self.partition(thread), Log::new(namespace));
        self.settle(&partition, &mut cost).await?;
        let mut state = self.lock(&partition, &log).await;
        // Whoever asks for another checkpoint by its id has not learned whether there is any.
        state.was_loaded |= id.is_none();
        let found = match id {
            None => self.newest(&partition, &log, &mut state, &mut cost).await?,
            Some(id) => {
                let mut found = self.find(&partition, &log, &state, id, &mut cost).await?;
                // Only what follows it was read, and that may be a mark.
                if let Some(found) = found.as_mut().filter(|found| found.is_newest) {
                    let newest = self.newest(&partition, &log, &mut state, &mut cost).await?;
                    found.is_newest = newest.is_some_and(|newest| newest.id() == id);
                }
                let now = self.0.now().wall;
                found.filter(|found| !found.is_over(now))
            }
        };
        self.remember(&partition, &log, &state);
        Ok(Costed { value: found.map(|found| found.into_checkpoint(&log)).transpose()?, cost })
    }

    /// Lists checkpoints of a thread's namespace, newest first: those before the one with the id `before`, at most `limit`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn list(
        &self,
        thread: &SessionId,
        namespace: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Costed<Vec<Checkpoint>>, Error> {
        let mut cost = Cost::default();
        let (partition, log) = (self.partition(thread), Log::new(namespace));
        self.settle(&partition, &mut cost).await?;
        let listed = steady!(self, self.list_once(&partition, &log, before, limit, &mut cost).await);
        let value = self.unless_deleted(&partition, &log, before, listed, &mut cost).await?;
        Ok(Costed { value, cost })
    }

    async fn list_once(
        &self,
        partition: &str,
        log: &Log,
        before: Option<&str>,
        limit: usize,
        cost: &mut Cost,
    ) -> Result<Vec<Checkpoint>, Error> {
        let now = self.0.now().wall;
        let mut walk = Walk::new(&self.0, partition, log, before.map_or_else(|| log.whole(), |id| log.until(id)));
        let mut listed: Vec<Checkpoint> = Vec::new();
        while listed.len() < limit
            && let Some(run) = walk.run(cost).await?
        {
            let is_meant = |found: &Found| before.is_none_or(|before| found.id() < before) && !found.is_over(now);
            let room = limit - listed.len();
            for found in run.into_iter().filter(is_meant).take(room) {
                listed.push(found.into_checkpoint(log)?);
            }
        }
        if let Some(first) = listed.first_mut().filter(|first| first.is_newest && before.is_some() && !walk.marks.is_empty()) {
            first.is_newest = self.is_newest(partition, log, &first.id, cost).await?;
        }
        Ok(listed)
    }

    /// Returns the namespaces of a thread that have, or had, checkpoints.
    ///
    /// # Errors
    /// Errors of the table.
    pub async fn namespaces(&self, thread: &SessionId) -> Result<Costed<Vec<String>>, Error> {
        let mut cost = Cost::default();
        let logs = self.logs(&self.partition(thread), &mut cost).await?;
        Ok(Costed { value: logs.iter().map(Log::namespace).collect(), cost })
    }

    /// Returns the threads of the whole table, a page at a time and in no order: the next page starts after `after`, which is what
    /// the last one returned with it. A thread may come more than once. This reads the whole table.
    ///
    /// # Errors
    /// Errors of the table.
    pub async fn threads(&self, after: Option<&str>) -> Result<Costed<(Vec<SessionId>, Option<String>)>, Error> {
        let mut cost = Cost::default();
        let prefix = self.prefix();
        let (partitions, next) = self.0.rows.partitions(&prefix, after, &mut cost).await?;
        let threads = partitions.iter().filter_map(|partition| SessionId::of_thread(partition.strip_prefix(&prefix)?).ok());
        Ok(Costed { value: (threads.collect(), next), cost })
    }

    fn prefix(&self) -> String {
        let tenant = self.0.options.namespace.as_ref().map_or_else(String::new, |name| format!("ns#{name}#"));
        format!("{tenant}{}", keys::PARTITION)
    }

    pub(super) fn partition(&self, thread: &SessionId) -> String {
        format!("{}{thread}", self.prefix())
    }

    /// Reads the newest checkpoint, and notes the log's tip.
    pub(super) async fn newest(
        &self,
        partition: &str,
        log: &Log,
        state: &mut LogState,
        cost: &mut Cost,
    ) -> Result<Option<Found>, Error> {
        let cached = state.tip.take().and_then(|tip| tip.newest);
        steady!(self, {
            let at = self.0.now();
            let mut walk = Walk::new(&self.0, partition, log, log.whole()).knowing(cached.clone()).newest_only();
            match walk.run(cost).await {
                Ok(run) => {
                    let found = run.and_then(|run| run.into_iter().next());
                    let newest = found.as_ref().map(|found| found.known.clone());
                    state.tip = Some(Tip { last: walk.last.take(), purged_at: walk.last_purged_at, newest, at });
                    Ok(found)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Reads the checkpoint with this id.
    pub(super) async fn find(
        &self,
        partition: &str,
        log: &Log,
        state: &LogState,
        id: &str,
        cost: &mut Cost,
    ) -> Result<Option<Found>, Error> {
        keys::check_id(id)?;
        let cached = state.tip.as_ref().and_then(|tip| tip.newest.clone());
        let found = steady!(self, self.find_once(partition, log, cached.clone(), id, cost).await);
        self.unless_deleted(partition, log, Some(id), found, cost).await
    }

    /// Returns what was read from a checkpoint on downwards; nothing if it could not be read since the thread was deleted, perhaps not
    /// to the end.
    pub(super) async fn unless_deleted<T: Default>(
        &self,
        partition: &str,
        log: &Log,
        id: Option<&str>,
        read: Result<T, Error>,
        cost: &mut Cost,
    ) -> Result<T, Error> {
        if let (Err(error), Some(id)) = (&read, id)
            && error.is_corrupt()
        {
            let range = RowRange { from: log.after(Some(id)), ..log.whole() };
            let mut walk = Walk::new(&self.0, partition, log, range);
            while let Some((_, entry)) = walk.last_row(cost).await? {
                if matches!(entry, Entry::Mark(mark) if mark.all) {
                    return Ok(T::default());
                }
            }
        }
        read
    }

    async fn find_once(
        &self,
        partition: &str,
        log: &Log,
        cached: Option<Arc<Known>>,
        id: &str,
        cost: &mut Cost,
    ) -> Result<Option<Found>, Error> {
        let mut walk = Walk::new(&self.0, partition, log, log.until(id)).knowing(cached);
        while let Some(run) = walk.run(cost).await? {
            let is_before = run.last().is_some_and(|found| found.id() < id);
            if let Some(mut found) = run.into_iter().find(|found| found.id() == id) {
                // Behind the mark of a checkpoint that was removed, there may be others.
                if found.is_newest && !walk.marks.is_empty() {
                    found.is_newest = self.is_newest(partition, log, id, cost).await?;
                }
                return Ok(Some(found));
            }
            if is_before {
                break;
            }
        }
        Ok(None)
    }

    async fn is_newest(&self, partition: &str, log: &Log, id: &str, cost: &mut Cost) -> Result<bool, Error> {
        let run = Walk::new(&self.0, partition, log, log.whole()).run(cost).await?;
        Ok(run.is_some_and(|run| run.first().is_some_and(|newest| newest.id() == id)))
    }

    /// The logs of a partition.
    pub(super) async fn logs(&self, partition: &str, cost: &mut Cost) -> Result<Vec<Log>, Error> {
        let (mut logs, mut from) = (Vec::new(), "c#".to_owned());
        loop {
            let range = RowRange { from, to: keys::last_of("c#"), descending: false, limit: Some(1) };
            let page = self.0.rows.page(partition, &range, cost).await?;
            let Some(row) = page.rows.first() else { return Ok(logs) };
            let Some((log, Place::After(_) | Place::Write { .. })) = keys::place(&row.sort) else {
                return Err(Error::corrupt(format!(
                    "a thread has a row with the unknown key {:?}; update this program",
                    row.sort
                )));
            };
            from = log.whole().to;
            logs.push(log);
        }
    }
}
