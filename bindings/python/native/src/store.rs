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

use chat_memory::checkpoints::{CheckpointOptions, CheckpointStore};
use chat_memory::store::url::StoreUrl;
use chat_memory::{ChatStore, Error, ErrorKind};
use chat_memory_bindings::{Request, Setup};
use pyo3::prelude::*;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};

use crate::checkpoints::CheckpointRequest;
use crate::{Answer, engine};

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

/// What a store holds.
#[derive(Clone, Copy)]
pub enum Kind {
    Sessions,
    /// Checkpoints, with how long a task's writes wait.
    Checkpoints(Duration),
}

#[derive(Clone)]
enum Content {
    Sessions(Arc<dyn ChatStore>),
    Checkpoints(CheckpointStore),
}

/// An operation on a store of either kind.
pub enum AnyRequest {
    Sessions(Request),
    Checkpoints(CheckpointRequest),
}

impl AnyRequest {
    /// Whether it usually ends without a request and without a pause: what a task wrote waits for the next checkpoint.
    pub fn is_quick(&self) -> bool {
        matches!(self, Self::Checkpoints(CheckpointRequest::PutWrites { .. }))
    }
}

/// An open store. The file is counted until it is closed: fields are dropped in this order.
struct OpenStore {
    /// `None` once it is closed.
    content: Option<Content>,
    file: Option<OpenFile>,
    engine: Handle,
}

impl OpenStore {
    /// Stores what waits and closes the store; the future ends when it is closed.
    fn end(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let (content, file) = (self.content.take(), self.file.take());
        let closing = Closing::new();
        async move {
            if let Some(Content::Checkpoints(store)) = content
                && let Err(error) = store.close().await
            {
                eprintln!("chat-memory: writes of tasks were lost when their checkpointer was closed: {error}");
            }
            drop((file, closing));
        }
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        if matches!(self.content, Some(Content::Checkpoints(_))) {
            let end = self.end();
            self.engine.spawn(end);
        }
    }
}

/// How many stores of checkpoints are being closed.
static CLOSING: AtomicUsize = AtomicUsize::new(0);

struct Closing;

impl Closing {
    fn new() -> Self {
        CLOSING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        CLOSING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How many threads prepare a fork or the exit: new operations wait.
static HELD: AtomicUsize = AtomicUsize::new(0);

pub struct Store {
    setup: Setup,
    kind: Kind,
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
    fn new(store: Option<OpenStore>) -> Arc<Self> {
        Arc::new(Self { pid: process::id(), store: OnceCell::new_with(store), turns: Semaphore::new(AT_A_TIME) })
    }

    /// Runs an operation, and opens the store if that is the first one.
    pub async fn run(&self, setup: &Setup, kind: Kind, request: AnyRequest) -> Result<Answer, Error> {
        // Never closed.
        let _turn = self.turns.acquire().await;
        let open = async || {
            let file = (setup.url().scheme() == "sqlite").then(OpenFile::new);
            let content = match kind {
                Kind::Sessions => Content::Sessions(setup.open().await?),
                Kind::Checkpoints(window) => {
                    Content::Checkpoints(setup.open_checkpoints(CheckpointOptions::default().with_window(window)).await?)
                }
            };
            Ok::<_, Error>(OpenStore { content: Some(content), file, engine: Handle::current() })
        };
        let opened = self.store.get_or_try_init(open).await?;
        match (&opened.content, request) {
            (Some(Content::Sessions(store)), AnyRequest::Sessions(request)) => {
                request.run(store.as_ref()).await?.into_value().map(Answer::Sessions)
            }
            (Some(Content::Checkpoints(store)), AnyRequest::Checkpoints(request)) => {
                request.run(store).await.map(Answer::Checkpoints)
            }
            _ => Err(Error::invalid("the store is closed; open it again")),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub fn new(setup: Setup, kind: Kind) -> Arc<Self> {
        let state = State { opened: Some(Opened::new(None)), copied: false };
        let store = Arc::new(Self { setup, kind, state: Mutex::new(state) });
        let mut stores = lock(&STORES);
        stores.retain(|known| known.strong_count() > 0);
        stores.push(Arc::downgrade(&store));
        store
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn kind(&self) -> Kind {
        self.kind
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
            "memory" if state.copied => match opened.store.get().and_then(|opened| opened.content.as_ref()) {
                Some(content) => {
                    let content = match content {
                        Content::Sessions(store) => Content::Sessions(store.clone()),
                        // Its background tasks do not exist here, and perhaps one held a lock.
                        Content::Checkpoints(store) => Content::Checkpoints(store.detached()),
                    };
                    let engine = engine::runtime()
                        .map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?
                        .handle()
                        .clone();
                    Some(OpenStore { content: Some(content), file: None, engine })
                }
                None => None,
            },
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

    /// Stores what waits, without a result.
    fn flush(&self, py: Python<'_>) {
        let opened = lock(&self.state).opened.clone();
        if let Some(opened) = opened.filter(|opened| opened.pid == process::id()) {
            py.detach(move || {
                if let Some(OpenStore { content: Some(Content::Checkpoints(store)), engine, .. }) = opened.store.get()
                    && let Err(error) = engine.block_on(store.flush())
                {
                    eprintln!("chat-memory: writes of tasks could not be stored: {error}");
                }
            });
        }
    }

    /// Closes what is open; the next operation opens it again.
    fn pause(&self, py: Python<'_>) {
        let mut state = lock(&self.state);
        let opened = state.opened.as_mut().map(|opened| std::mem::replace(opened, Opened::new(None)));
        drop(state);
        discard(py, opened);
    }
}

/// Closes what this process opened, which may wait for threads.
fn discard(py: Python<'_>, opened: Option<Arc<Opened>>) {
    match opened {
        Some(opened) if opened.pid == process::id() => py.detach(move || {
            if let Some(mut store) = Arc::into_inner(opened).and_then(|opened| opened.store.into_inner()) {
                let engine = store.engine.clone();
                engine.block_on(store.end());
            }
        }),
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
                store.flush(py);
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
        CLOSING.store(0, Ordering::SeqCst);
    } else {
        for store in stores(|url| url.scheme() == "memory") {
            let mut state = lock(&store.state);
            state.copied &= state.opened.as_ref().is_some_and(|opened| opened.pid != process::id());
        }
        HELD.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Stores what waits, and closes files when the interpreter exits, so that each is one file again.
pub fn close_files(py: Python<'_>) {
    let until = Instant::now() + LAST_WAIT;
    // Daemon threads may never stop.
    HELD.fetch_add(1, Ordering::SeqCst);
    for store in stores(|url| url.scheme() != "memory") {
        if store.setup.url().scheme() != "sqlite" {
            store.flush(py);
            continue;
        }
        while !store.is_idle() && Instant::now() < until {
            py.detach(|| std::thread::sleep(PAUSE));
        }
        if store.is_idle() {
            store.pause(py);
        }
    }
    while (OpenFile::any() || CLOSING.load(Ordering::SeqCst) > 0) && Instant::now() < until {
        py.detach(|| std::thread::sleep(PAUSE));
    }
    HELD.fetch_sub(1, Ordering::SeqCst);
}
