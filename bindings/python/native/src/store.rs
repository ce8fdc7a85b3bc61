//! A store: opened at its first use, closed before a fork where that is necessary, and opened again after it.
//!
//! # Forks
//! A child has a copy of the parent's memory but none of its threads. So it leaves what the parent opened alone, and opens the store
//! again at its first use.
//!
//! A SQLite file must not be open during a fork at all: SQLite's list of the process's locks would be copied, but not the locks. So
//! [`prepare_fork`] waits for the operations on SQLite files and closes them; both processes open them again. A `memory:` store is
//! copied with its content, like any object of Python's; [`prepare_fork`] waits for its operations, too.
//!
//! A fork that Python does not know of (`os.register_at_fork` is not run) cannot be prepared. Operations on stores of these two kinds that
//! were open then return an error in the child.

use std::process;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use chat_memory::store::url::StoreUrl;
use chat_memory::{ChatStore, Error, ErrorKind};
use chat_memory_bindings::{Request, Setup};
use pyo3::prelude::*;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};

/// How many operations on one store run at a time; others wait. More would only wait for one another, and each needs a connection.
const AT_A_TIME: usize = 256;

/// How often a thread that waits with the GIL released looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// How long the exit of the interpreter waits for operations on files.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// All stores. Like all locks here, it is only held with the GIL, so a fork never copies it while it is locked.
static STORES: Mutex<Vec<Weak<Store>>> = Mutex::new(Vec::new());

/// How many SQLite files are open in this process, and below the process's id. Unlike the stores in [`STORES`], this includes those that
/// an operation uses whose store is gone, until the last of them is closed.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// Counts one open file in [`OPEN`].
struct OpenFile(u32);

impl OpenFile {
    fn new() -> Self {
        let pid = process::id();
        // What a parent counted is not open here.
        let count = |open: u64| if open >> 32 == u64::from(pid) { open + 1 } else { u64::from(pid) << 32 | 1 };
        // Never refuses.
        let _ = OPEN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| Some(count(open)));
        Self(pid)
    }

    fn any() -> bool {
        let open = OPEN.load(Ordering::SeqCst);
        open >> 32 == u64::from(process::id()) && open & u64::from(u32::MAX) > 0
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let _ = OPEN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| (open >> 32 == u64::from(self.0)).then(|| open - 1));
    }
}

/// An open store. The file is counted until it is closed: fields are dropped in this order.
struct OpenStore {
    store: Arc<dyn ChatStore>,
    _file: Option<OpenFile>,
}

/// How many threads prepare a fork or the exit: new operations wait.
static HELD: AtomicUsize = AtomicUsize::new(0);

pub struct Store {
    setup: Setup,
    state: Mutex<State>,
}

struct State {
    /// `None` once the store is closed for good.
    opened: Option<Arc<Opened>>,
    /// Whether the store may be used in a forked child as it is.
    copied: bool,
}

/// A store as one process opened it. Each running operation holds a clone.
pub struct Opened {
    pid: u32,
    store: OnceCell<OpenStore>,
    turns: Semaphore,
}

impl Opened {
    fn new(store: Option<Arc<dyn ChatStore>>) -> Arc<Self> {
        let store = store.map(|store| OpenStore { store, _file: None });
        Arc::new(Self { pid: process::id(), store: OnceCell::new_with(store), turns: Semaphore::new(AT_A_TIME) })
    }

    /// Runs an operation, and opens the store if that is the first one.
    pub async fn run(&self, setup: &Setup, request: Request) -> Result<Value, Error> {
        // Never closed.
        let _turn = self.turns.acquire().await;
        let open = async || {
            let file = (setup.url().scheme() == "sqlite").then(OpenFile::new);
            Ok::<_, Error>(OpenStore { store: setup.open().await?, _file: file })
        };
        let opened = self.store.get_or_try_init(open).await?;
        request.run(opened.store.as_ref()).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub fn new(setup: Setup) -> Arc<Self> {
        let state = State { opened: Some(Opened::new(None)), copied: false };
        let store = Arc::new(Self { setup, state: Mutex::new(state) });
        let mut stores = lock(&STORES);
        stores.retain(|known| known.strong_count() > 0);
        stores.push(Arc::downgrade(&store));
        store
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Returns the store as opened by this process.
    ///
    /// # Errors
    /// Invalid if it was closed; unsupported if it was open in the parent during a fork that could not be prepared.
    pub fn opened(&self, py: Python<'_>) -> Result<Arc<Opened>, Error> {
        while HELD.load(Ordering::SeqCst) > 0 {
            py.detach(|| std::thread::sleep(PAUSE));
        }
        let mut state = lock(&self.state);
        let Some(opened) = state.opened.clone() else {
            return Err(Error::invalid("the store is closed; open it again"));
        };
        if opened.pid == process::id() {
            return Ok(opened);
        }
        let content = match self.setup.url().scheme() {
            "dynamodb" => None,
            "memory" if state.copied => opened.store.get().map(|opened| opened.store.clone()),
            _ if opened.store.get().is_none() && Arc::strong_count(&opened) == 2 => None,
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the store was open when this process was forked, without os.fork: open it in the child only, \
                     or close it before the fork",
                ));
            }
        };
        let fresh = Opened::new(content);
        state.copied = false;
        // What the parent opened is never closed here: its threads do not exist, and its files are the parent's.
        std::mem::forget((state.opened.replace(fresh.clone()), opened));
        Ok(fresh)
    }

    /// Closes the store for good. Operations that are running end first.
    pub fn close(&self, py: Python<'_>) {
        while !self.is_idle() {
            py.detach(|| std::thread::sleep(PAUSE));
        }
        let opened = lock(&self.state).opened.take();
        discard(py, opened);
    }

    fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.opened.as_ref().is_none_or(|opened| opened.pid != process::id() || Arc::strong_count(opened) == 1)
    }

    /// Closes what is open; the next operation opens it again.
    fn pause(&self, py: Python<'_>) {
        let mut state = lock(&self.state);
        let opened = state.opened.as_mut().map(|opened| std::mem::replace(opened, Opened::new(None)));
        drop(state);
        discard(py, opened);
    }
}

/// Drops what this process opened, which may wait for threads.
fn discard(py: Python<'_>, opened: Option<Arc<Opened>>) {
    match opened {
        Some(opened) if opened.pid == process::id() => py.detach(move || drop(opened)),
        other => std::mem::forget(other),
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.opened.as_ref().is_some_and(|opened| opened.pid != process::id()) {
            std::mem::forget(state.opened.take());
        }
    }
}

fn stores(of: fn(&StoreUrl) -> bool) -> Vec<Arc<Store>> {
    let stores = lock(&STORES);
    stores.iter().filter_map(Weak::upgrade).filter(|store| of(store.setup.url())).collect()
}

/// Waits for the operations on stores in this process, and closes files.
pub fn prepare_fork(py: Python<'_>) {
    HELD.fetch_add(1, Ordering::SeqCst);
    for store in stores(|url| url.scheme() != "dynamodb") {
        // Each operation ends by its own deadline, and no new one starts.
        while !store.is_idle() {
            py.detach(|| std::thread::sleep(PAUSE));
        }
        match store.setup.url().scheme() {
            "memory" => {
                let mut state = lock(&store.state);
                state.copied |= state.opened.as_ref().is_some_and(|opened| opened.pid == process::id());
            }
            _ => store.pause(py),
        }
    }
    while OpenFile::any() {
        py.detach(|| std::thread::sleep(PAUSE));
    }
}

/// Ends what [`prepare_fork`] began.
pub fn resume(in_child: bool) {
    if in_child {
        // The other threads are not here.
        HELD.store(0, Ordering::SeqCst);
    } else {
        for store in stores(|url| url.scheme() == "memory") {
            let mut state = lock(&store.state);
            state.copied &= state.opened.as_ref().is_some_and(|opened| opened.pid != process::id());
        }
        HELD.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Closes files when the interpreter exits, so that each is one file again.
pub fn close_files(py: Python<'_>) {
    let until = Instant::now() + LAST_WAIT;
    // Daemon threads may never stop.
    HELD.fetch_add(1, Ordering::SeqCst);
    for store in stores(|url| url.scheme() == "sqlite") {
        while !store.is_idle() && Instant::now() < until {
            py.detach(|| std::thread::sleep(PAUSE));
        }
        if store.is_idle() {
            store.pause(py);
        }
    }
    while OpenFile::any() && Instant::now() < until {
        py.detach(|| std::thread::sleep(PAUSE));
    }
    HELD.fetch_sub(1, Ordering::SeqCst);
}
