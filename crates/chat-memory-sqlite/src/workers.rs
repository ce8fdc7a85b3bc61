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

/// Work on the slot of a connection. It tells the queue that its thread is free before it answers, so that who calls again at once is
/// served by the same thread and connection.
type Job = Box<dyn FnOnce(&mut Option<Connection>, &Shared) + Send>;

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
    /// Threads that run no job.
    free: usize,
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
        self.push(Box::new(move |kept, shared| {
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
            shared.queue().free += 1;
        }))
    }

    /// Runs work with access to the slot of a connection.
    pub(super) async fn run_with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<Connection>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        self.push(Box::new(move |kept, shared| {
            let done: Result<_, Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| work(kept)));
            shared.queue().free += 1;
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
        if queue.free >= queue.jobs.len() {
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
            Ok(started) => {
                queue.free += 1;
                threads.push(started);
            }
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
                    None => queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            queue.free -= 1;
            drop(queue);
            job(&mut connection, self);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_one_after_the_other_share_a_thread_and_its_connection() {
        let workers = Workers::new(4, || Ok(Connection::open_in_memory()?));
        for _ in 0..1_000 {
            workers.run(|db| Ok(db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)).await.expect("in memory");
        }
        assert_eq!(workers.threads.lock().unwrap_or_else(PoisonError::into_inner).len(), 1);
    }

    #[tokio::test]
    async fn calls_at_once_have_a_thread_each_and_a_panic_leaves_its_thread_free() {
        let workers = Arc::new(Workers::new(4, || Ok(Connection::open_in_memory()?)));
        let spawn = |work: fn()| {
            let workers = Arc::clone(&workers);
            let work = move |_: &Connection| {
                work();
                Ok(())
            };
            tokio::spawn(async move { workers.run(work).await.expect("in memory") })
        };
        // Each ends when all run.
        static ALL: std::sync::Barrier = std::sync::Barrier::new(4);
        for call in [(); 4].map(|()| spawn(|| _ = ALL.wait())) {
            call.await.expect("no panic");
        }
        assert!(spawn(|| panic!("as the test wants")).await.is_err_and(|error| error.is_panic()));
        assert_eq!(workers.shared.queue().free, 4);
        spawn(|| ()).await.expect("no panic");
    }
}
