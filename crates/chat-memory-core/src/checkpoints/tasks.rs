//! The engine's operations that put what tasks write, now or later.

use std::sync::{Arc, PoisonError};

use super::buffer::{At, Buffer, Call};
use super::format::{self, WritesPart};
use super::frame;
use super::keys::{self, Log};
use super::read::unreadable;
use super::rows::{Condition, Row};
use super::store::CheckpointStore;
use super::{Costed, Write};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::Cost;

impl CheckpointStore {
    /// Stores what a task wrote at a checkpoint, which need not be stored yet. Writes of a special kind (a negative index) are stored
    /// when this returns; others wait a [moment](super::CheckpointOptions::window) for the next checkpoint.
    ///
    /// # Errors
    /// Too large if the writes have more than 256 MB: nothing is stored. Errors of the table; those of earlier writes of the thread that
    /// could not be stored after their call had returned.
    pub async fn put_writes(
        &self,
        thread: &SessionId,
        namespace: &str,
        checkpoint: &str,
        task_id: &str,
        writes: Vec<Write>,
    ) -> Result<Costed<()>, Error> {
        self.put_writes_of(None, thread, namespace, checkpoint, task_id, writes).await
    }

    /// Stores what a task of an [attempt](super::NewCheckpoint::attempt) wrote at a checkpoint, as [`put_writes`](Self::put_writes).
    ///
    /// # Errors
    /// As [`put_writes`](Self::put_writes).
    pub async fn put_writes_of(
        &self,
        attempt: Option<&str>,
        thread: &SessionId,
        namespace: &str,
        checkpoint: &str,
        task_id: &str,
        writes: Vec<Write>,
    ) -> Result<Costed<()>, Error> {
        keys::check_id(checkpoint)?;
        keys::check_attempt(attempt)?;
        let bytes = format::writes_len(&writes);
        frame::check_size(format_args!("writes too large: those of the task {task_id:?} have"), bytes)?;
        let mut cost = Cost::default();
        let (partition, log) = (self.partition(thread), Log::new(namespace));
        let at = (partition, log, checkpoint.to_owned());
        let is_urgent = self.0.options.window.is_zero() || writes.iter().any(|write| write.index < 0);
        let id = Call::id_of(self.0.unique(), attempt);
        let call = Call { id, task_id: task_id.to_owned(), writes };
        let is_first = {
            let mut buffer = self.buffer();
            if let Some(error) = buffer.failure(&at.0) {
                return Err(error);
            }
            buffer.add(at.clone(), call)
        };
        if is_urgent {
            self.store_waiting(&at, &mut cost).await?;
        } else if is_first {
            self.store_later(at);
        }
        Ok(Costed { value: (), cost })
    }

    /// Stores what waits for a checkpoint, after a moment.
    pub(super) fn store_later(&self, at: At) {
        let (window, inner) = (self.0.options.window, Arc::downgrade(&self.0));
        // Without a runtime the program ends, or the next operation stores them.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::time::sleep(window).await;
            // Whoever drops the store has flushed it.
            let Some(store) = inner.upgrade().map(Self) else { return };
            let mut cost = Cost::default();
            let stored = store.store_waiting(&at, &mut cost).await;
            let mut buffer = store.buffer();
            buffer.spend(cost);
            if let Err(error) = stored {
                buffer.fail(&at.0, error);
            }
        });
    }

    /// Stores what waits for the next checkpoint in rows of its own.
    pub(super) async fn store_waiting(&self, at: &At, cost: &mut Cost) -> Result<(), Error> {
        Held::take(self, at.clone(), None).store(cost).await
    }

    async fn store_call(&self, (partition, log, checkpoint): &At, call: &Call, cost: &mut Cost) -> Result<(), Error> {
        let bytes = format::encode_writes(&call.writes);
        let frame = frame::compress(&bytes, &[]).map_err(|why| unreadable(checkpoint, &why))?;
        let pieces: Vec<&[u8]> = frame.chunks(self.0.max_frame()).collect();
        // The first part is written last: without it, a reader takes the others for what was cut off.
        for (n, piece) in pieces.iter().enumerate().rev() {
            let part = WritesPart { parts: pieces.len(), size: bytes.len(), piece: piece.to_vec() };
            let row = Row {
                sort: log.write(checkpoint, &call.task_id, &call.id, n),
                body: part.encode(),
                purge_at: format::purge_at(self.0.now().wall, self.0.options.retention),
            };
            self.0.rows.put(partition, &row, Condition::None, cost).await?;
        }
        Ok(())
    }

    /// Stores all writes that still wait for a checkpoint. Call it before the program ends.
    ///
    /// # Errors
    /// Errors of the table; the writes keep waiting.
    pub async fn flush(&self) -> Result<Cost, Error> {
        let mut cost = Cost::default();
        self.store_all(None, &mut cost).await?;
        Ok(cost)
    }

    /// Stores the writes of a partition that wait, or of all for `None`, also those that another task is storing.
    async fn store_all(&self, partition: Option<&str>, cost: &mut Cost) -> Result<(), Error> {
        loop {
            let stored = self.0.stored.notified();
            let (is_storing, spent) = {
                let mut buffer = self.buffer();
                (buffer.is_storing(partition), buffer.take_spent())
            };
            *cost += spent;
            if !is_storing {
                break;
            }
            stored.await;
        }
        let waiting: Vec<At> = self.buffer().waiting(partition);
        for at in waiting {
            self.store_waiting(&at, cost).await?;
        }
        Ok(())
    }

    pub(super) fn buffer(&self) -> std::sync::MutexGuard<'_, Buffer> {
        self.0.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the writes of a partition that wait, or fails if earlier ones could not be stored.
    pub(super) async fn settle(&self, partition: &str, cost: &mut Cost) -> Result<(), Error> {
        let failure = self.buffer().failure(partition);
        match failure {
            Some(error) => Err(error),
            None => self.store_all(Some(partition), cost).await,
        }
    }
}

/// Calls that were taken to be stored, which readers wait for. Those that are not stored, also since nobody waits for it any more,
/// are put back, and the next operation stores them.
pub(super) struct Held<'a> {
    store: &'a CheckpointStore,
    pub(super) at: At,
    pub(super) calls: Vec<Call>,
}

impl<'a> Held<'a> {
    /// Takes the calls of an attempt; for `None` all.
    fn take(store: &'a CheckpointStore, at: At, attempt: Option<&str>) -> Self {
        let calls = {
            let mut buffer = store.buffer();
            buffer.begin(&at);
            buffer.take_of(&at, attempt)
        };
        Self { store, at, calls }
    }

    /// Takes the calls of an attempt, once none of the checkpoint's are on their way.
    pub(super) async fn take_after(store: &'a CheckpointStore, at: At, attempt: Option<&str>) -> Self {
        loop {
            let stored = store.0.stored.notified();
            let taken = {
                let mut buffer = store.buffer();
                (!buffer.is_storing_at(&at)).then(|| {
                    buffer.begin(&at);
                    buffer.take_of(&at, attempt)
                })
            };
            if let Some(calls) = taken {
                return Self { store, at, calls };
            }
            stored.await;
        }
    }

    /// Stores them in rows of their own.
    pub(super) async fn store(&mut self, cost: &mut Cost) -> Result<(), Error> {
        while let Some(call) = self.calls.first() {
            self.store.store_call(&self.at, call, cost).await?;
            self.calls.remove(0);
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        {
            let mut buffer = self.store.buffer();
            buffer.put_back(self.at.clone(), std::mem::take(&mut self.calls));
            buffer.end(&self.at);
        }
        self.store.0.stored.notify_waiters();
    }
}
