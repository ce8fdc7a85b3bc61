//! The threads on which SQLite may block, each with its own connection.
//!
//! A hop to our own thread and back costs less than half of one to Tokio's blocking threads (8 µs instead of 18 µs; a window of
//! ten turns takes 50 µs), and needs no Tokio runtime.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Failure;
use chat_memory_core::error::{Error, ErrorKind};

type Job = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

type Open = dyn Fn() -> Result<Connection, Failure> + Send + Sync;

/// Up to n threads that take work from one queue, in order. They start when there is work for them.
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    most: usize,
    open: Arc<Open>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    waiting: usize,
    closed: bool,
}

impl Workers {
    /// Up to `most` threads, each of which opens its connection with `open`.
    pub(super) fn new(most: usize, open: impl Fn() -> Result<Connection, Failure> + Send + Sync + 'static) -> Self {
        Self { shared: Arc::default(), threads: Mutex::default(), most, open: Arc::new(open) }
    }

    /// Runs work on a connection, opening it if necessary. The work finishes even if the caller stops waiting.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let open = Arc::clone(&self.open);
        self.run_with(move |kept| {
            let connection = match kept.take() {
                Some(connection) => connection,
                None => open()?,
            };
            let done = work(&connection)?;
            // Kept only after success: the state that an error leaves behind is unknown.
            *kept = Some(connection);
            Ok(done)
        })
        .await
    }

    /// Starts work on a connection, or on the error if none could be opened. The work returns whether the connection may be kept;
    /// nobody waits for it.
    pub(super) fn start(&self, work: impl FnOnce(Result<&Connection, Failure>) -> bool + Send + 'static) -> Result<(), Error> {
        let open = Arc::clone(&self.open);
        self.push(Box::new(move |kept| {
            // After a panic the next job opens a new connection, and this one's transaction is rolled back.
            let _: Result<(), Box<dyn Any + Send>> =
                catch_unwind(AssertUnwindSafe(|| match kept.take().map_or_else(|| open(), Ok) {
                    Ok(connection) => {
                        if work(Ok(&connection)) {
                            *kept = Some(connection);
                        }
                    }
                    Err(failure) => drop(work(Err(failure))),
                }));
        }))
    }

    /// Runs work with access to the slot of a connection.
    pub(super) async fn run_with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<Connection>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        self.push(Box::new(move |kept| {
            let done: Result<_, Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| work(kept)));
            // The caller may have stopped waiting.
            let _ = answer.send(done);
        }))?;
        match answered.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "operation aborted: the SQLite store was closed").into()),
        }
    }

    fn push(&self, job: Job) -> Result<(), Error> {
        let mut queue = self.shared.queue();
        queue.jobs.push_back(job);
        if queue.waiting >= queue.jobs.len() {
            drop(queue);
            self.shared.wake.notify_one();
            return Ok(());
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() == self.most {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        match thread::Builder::new().name("chat-memory-sqlite".to_owned()).spawn(move || shared.work()) {
            Ok(started) => threads.push(started),
            Err(_) if !threads.is_empty() => {}
            Err(e) => {
                queue.jobs.clear();
                return Err(Error::new(ErrorKind::Unavailable, "cannot start a thread for SQLite").with_source(e));
            }
        }
        Ok(())
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock can panic halfway.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's loop: runs jobs until there are none left and the store is closed.
    fn work(&self) {
        let mut connection = None;
        loop {
            let mut queue = self.queue();
            let job = loop {
                match queue.jobs.pop_front() {
                    Some(job) => break job,
                    None if queue.closed => return,
                    None => {
                        queue.waiting += 1;
                        queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                        queue.waiting -= 1;
                    }
                }
            };
            drop(queue);
            job(&mut connection);
        }
    }
}

impl Drop for Workers {
    /// Closes the connections, so that the last one empties the write-ahead log into the file and removes it.
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_all();
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A caller's weight function may hold the last handle and be dropped by the thread itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}
