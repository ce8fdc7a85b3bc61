//! Batches appends: those that wait for the disk at the same time share one transaction, and so one sync.
//!
//! Each append queues itself and a job; the first job to run takes all appends queued by then. Each append of a batch is
//! processed on its own, after those before it. Only if the batch as a whole fails is each append retried alone, so that none
//! fails because of another.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::{Failure, commit_failed};
use super::log::{Landed, NewRecord, Transaction, append_within};
use super::workers::Workers;
use chat_memory_core::Timestamp;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Ticket;

/// A batch is limited to this many appends or bytes, so that no append waits long for others.
const MOST: usize = 128;
const MOST_BYTES: usize = 4_000_000;

/// The appends that wait for the writer.
#[derive(Default)]
pub(super) struct Batches {
    waiting: Mutex<VecDeque<Waiting>>,
    /// The number of batches, for the tests.
    #[cfg(test)]
    pub(super) count: std::sync::atomic::AtomicU64,
}

struct Waiting {
    new: NewRecord,
    now: Timestamp,
    expires_at: Option<Timestamp>,
    answer: oneshot::Sender<Result<Landed, Failure>>,
}

impl Batches {
    /// Appends a record with `writer`, batched with others that are waiting. It is written even if the caller stops waiting.
    pub(super) async fn append(
        self: &Arc<Self>,
        writer: &Workers,
        new: NewRecord,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Result<Landed, Failure> {
        let (answer, answered) = oneshot::channel();
        self.waiting().push_back(Waiting { new, now, expires_at, answer });
        let batches = Arc::clone(self);
        writer.start(move |connection| batches.run(connection))?;
        let closed = || Error::new(ErrorKind::Unavailable, "operation aborted: the SQLite store was closed");
        answered.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Returns how many are waiting.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        // Nothing under this lock can panic halfway.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < MOST
            && let Some(first) = waiting.front()
            && (taken.is_empty() || bytes + first.new.bytes() <= MOST_BYTES)
        {
            bytes += first.new.bytes();
            taken.extend(waiting.pop_front());
        }
        taken
    }

    /// Runs one batch, or none if another job took everything. Returns whether the connection is still usable.
    fn run(&self, connection: Result<&Connection, Failure>) -> bool {
        let batch = self.next();
        let db = match connection {
            Ok(db) => db,
            Err(failure) => {
                batch.into_iter().for_each(|one| drop(one.answer.send(Err(failure.copy()))));
                return false;
            }
        };
        if batch.is_empty() {
            return true;
        }
        #[cfg(test)]
        self.count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let news: Vec<&Waiting> = batch.iter().collect();
        let landed = match together(db, &news) {
            Ok(landed) => landed,
            // The disk may have room for some of them, and one record's damage does not affect the others. A lock affects all.
            Err(failure) if batch.len() > 1 && db.is_autocommit() && !failure.is_lock() => {
                batch.iter().map(|one| together(db, &[one]).and_then(|mut landed| landed.remove(0))).collect()
            }
            Err(failure) => batch.iter().map(|_| Err(failure.copy())).collect(),
        };
        let good = landed.iter().all(Result::is_ok);
        for (one, landed) in batch.into_iter().zip(landed) {
            // The caller may have stopped waiting.
            let _ = one.answer.send(landed);
        }
        good
    }
}

/// Appends all of them in one transaction. Returns the result of each, or why nothing was written.
fn together(db: &Connection, batch: &[&Waiting]) -> Result<Vec<Result<Landed, Failure>>, Failure> {
    let transaction = Transaction::to_write(db)?;
    let mut landed = Vec::with_capacity(batch.len());
    for one in batch {
        match append_within(db, &one.new, one.now, one.expires_at) {
            // It wrote nothing, and reports why.
            Err(Failure::Final(said)) => landed.push(Err(Failure::Final(said))),
            Err(failure) => return Err(failure),
            done => landed.push(done),
        }
    }
    let Err(error) = transaction.commit() else { return Ok(landed) };
    let new = |landed: &Result<Landed, Failure>| match landed {
        Ok(Landed::New { seq, append_id, .. }) => Some((*append_id, *seq)),
        _ => None,
    };
    let written: Vec<_> = landed.iter().filter_map(new).collect();
    let in_doubt = |(append_id, seq)| Err(commit_failed(copy(&error), Ticket::new(append_id, seq)));
    let unwritten = |landed| match landed {
        Ok(Landed::New { seq, append_id, .. }) => in_doubt((append_id, seq)),
        // The record found may have been written by this same transaction, and is then in as much doubt.
        Ok(Landed::Earlier(stored)) => {
            let first = written.iter().find(|(append_id, _)| *append_id == stored.record.append_id);
            first.map_or(Ok(Landed::Earlier(stored)), |first| in_doubt(*first))
        }
        // It wrote nothing, but what it found may not have been committed either.
        Ok(Landed::Conflict(_) | Landed::Nothing) => Err(Failure::Sqlite(copy(&error))),
        said => said,
    };
    Ok(landed.into_iter().map(unwritten).collect())
}

/// Copies an SQLite error for the other appends of a batch.
pub(super) fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, said) => rusqlite::Error::SqliteFailure(*code, said.clone()),
        other => rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR), Some(other.to_string())),
    }
}
