//! What all requests share.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use chat_memory::store::url::StoreUrl;
use chat_memory::{ChatStore, Error, ErrorKind, Namespace, SessionId};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::keys::Keys;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::stores::{Source, Stores};
use crate::streams::Streams;
use crate::watch::Watch;

/// The service's options, except where it listens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// The memory for the bodies of all requests together while they are read and stored, in bytes; an estimate. Requests beyond it
    /// get 503.
    pub body_memory: usize,
    /// The most open event streams in total.
    pub max_streams: usize,
    /// The most open event streams of one key.
    pub max_streams_per_key: usize,
    /// The longest path and query of a request, in bytes.
    pub max_path: usize,
    /// How long a request may take until its response headers, including its body. Event streams are exempt.
    pub request_timeout: Duration,
    /// How often an event stream checks for other processes' writes. This process's own are sent at once.
    pub poll: Duration,
    /// Whether to serve event streams. They must be off if responses are passed on only as a whole.
    pub streaming: bool,
    /// Whether to serve the console.
    pub console: bool,
    /// Whether to serve `/metrics` here to keys with the right (and to anyone, if there are no keys).
    pub metrics: bool,
    /// The origins whose pages may call the API from a browser; none by default.
    pub cors_origins: Vec<String>,
    /// The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether the listener itself uses TLS, so that cookies are for TLS only.
    pub tls: bool,
    /// The host names under which a service without keys may be called, in addition to loopback's.
    pub hosts: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_body: 16_000_000,
            body_memory: 128_000_000,
            max_streams: 512,
            max_streams_per_key: 256,
            max_path: 8_192,
            request_timeout: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            streaming: true,
            console: true,
            metrics: true,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: false,
            hosts: Vec::new(),
        }
    }
}

/// The service without its listener: stores, keys, metrics, and running writes. Cloning is cheap; clones share everything.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    stores: Stores,
    keys: Option<Keys>,
    options: Options,
    metrics: Arc<Metrics>,
    watch: Watch,
    in_flight: Mutex<HashSet<InFlightKey>>,
    memory: Memory,
    streams: Streams,
    writes: TaskTracker,
    stopping: watch::Sender<bool>,
    /// Signs what is valid only in this process, if there are no keys.
    secret: [u8; 32],
}

/// A running write, identified by its key.
pub(crate) type InFlightKey = (Option<Namespace>, SessionId, String);

impl Service {
    /// Creates the service on this store. Without keys, everyone who reaches it may do everything.
    ///
    /// ```
    /// use chat_memory_server::{Options, Service, app};
    /// let service = Service::new("memory:".parse()?, None, Options::default())?;
    /// let router: axum::Router = app(service);
    /// # Ok::<(), chat_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Unavailable, if the system returns no random bytes.
    pub fn new(store: StoreUrl, keys: Option<Keys>, options: Options) -> Result<Self, Error> {
        Self::of(Source::Url(Box::new(store)), keys, options)
    }

    /// Creates the service on a store that is already open, such as one of your own. It has no namespaces: a key with one is refused.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory_server::{Options, Service, app};
    /// use std::sync::Arc;
    /// let service = Service::with_store(Arc::new(InMemoryStore::new()), None, Options::default())?;
    /// let router: axum::Router = app(service);
    /// # Ok::<(), chat_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Service::new`].
    pub fn with_store(store: Arc<dyn ChatStore>, keys: Option<Keys>, options: Options) -> Result<Self, Error> {
        Self::of(Source::Ready(store), keys, options)
    }

    fn of(source: Source, keys: Option<Keys>, options: Options) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::default());
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|e| Error::new(ErrorKind::Unavailable, format!("no random bytes from the system ({e})")))?;
        Ok(Self(Arc::new(Inner {
            stores: Stores::new(source, Arc::clone(&metrics)),
            keys,
            watch: Watch::new(options.poll),
            memory: Memory::new(options.body_memory),
            streams: Streams::new(options.max_streams, options.max_streams_per_key),
            options,
            metrics,
            in_flight: Mutex::default(),
            writes: TaskTracker::new(),
            stopping: watch::Sender::new(false),
            secret,
        })))
    }

    /// The stores.
    pub fn stores(&self) -> &Stores {
        &self.0.stores
    }

    /// The keys; `None` where everyone may do everything.
    pub fn keys(&self) -> Option<&Keys> {
        self.0.keys.as_ref()
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// The watched sessions.
    pub(crate) fn watch(&self) -> &Watch {
        &self.0.watch
    }

    /// The memory for request bodies.
    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// The open event streams.
    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    /// The secret that signs page cursors if there are no keys. Since everyone may then read everything, it only keeps the cursors
    /// of different lists and stores apart. It is the same in each process with this store URL, so that links to pages stay valid.
    pub(crate) fn cursor_secret(&self) -> [u8; 32] {
        match self.stores().url() {
            Some(url) if url.scheme() != "memory" => Sha256::digest(format!("cursors of {url}")).into(),
            // The sessions of a store in memory end with the process; and a ready store has no name.
            _ => self.0.secret,
        }
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.0.secret
    }

    /// Starts the shutdown: the service is no longer ready, and event streams end. Accepted requests continue.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Whether it is shutting down.
    pub fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Waits until it is shutting down.
    pub(crate) async fn stopped(&self) {
        // `self` holds the sender, so this cannot fail.
        let _ = self.0.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Waits until every accepted write has ended, including those whose clients disconnected.
    pub async fn finish_writes(&self) {
        self.0.writes.close();
        self.0.writes.wait().await;
    }

    /// Runs a write to its end, even if the client disconnects.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        // Its log lines carry the request's id.
        let done = self.0.writes.spawn(work.in_current_span());
        done.await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "a write failed unexpectedly");
            Err(Problem::internal())
        })
    }

    /// Begins a write with a key; refuses it while another with this key is under way.
    pub(crate) fn begin(&self, key: InFlightKey) -> Result<InFlight, Problem> {
        if self.in_flight().insert(key.clone()) {
            return Ok(InFlight { service: self.clone(), key });
        }
        let detail = "a request with the same Idempotency-Key is in progress; repeat this one once that is answered, to get the same response";
        Err(Problem::later(StatusCode::CONFLICT, "in-flight", 1, detail))
    }

    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashSet<InFlightKey>> {
        self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("stores", &self.0.stores).field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// A key in use until this is dropped.
pub(crate) struct InFlight {
    service: Service,
    key: InFlightKey,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.service.in_flight().remove(&self.key);
    }
}
