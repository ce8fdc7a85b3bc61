//! What all requests share.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use chat_memory::store::url::StoreUrl;
use chat_memory::{Error, ErrorKind, Namespace, SessionId};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::hub::Hub;
use crate::keys::Keys;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::stores::Stores;
use crate::streams::Streams;

/// How the service behaves, beside where it listens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// The memory that all requests' bodies may take together while they are read and stored, in bytes; an estimate. Where it is full, a
    /// request is told to come again.
    pub body_memory: usize,
    /// How many streams of events may be open in all.
    pub max_streams: usize,
    /// How many streams of events of one key may be open.
    pub max_streams_per_key: usize,
    /// The longest path and query of a request, in bytes.
    pub max_path: usize,
    /// How long a request may take from its header to its answer's, its body included. Streams of events are no part of it.
    pub request_timeout: Duration,
    /// How often a stream of events looks for what other processes wrote. What this one writes is sent at once.
    pub poll: Duration,
    /// Whether streams of events are answered. Where answers are passed on only when they are whole, a stream would never be.
    pub streaming: bool,
    /// Whether the console is served.
    pub console: bool,
    /// Whether `/metrics` is answered here to keys with the right (and to anyone, where there are no keys).
    pub metrics: bool,
    /// The origins whose pages may call the API from a browser; none by default.
    pub cors_origins: Vec<String>,
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether the listener itself speaks TLS, so that cookies are for TLS only.
    pub tls: bool,
    /// The names by which it may be called where there are no keys, beside those of this machine's loopback.
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

/// The service without its listener: stores, keys, metrics, and what is under way. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    stores: Stores,
    keys: Option<Keys>,
    options: Options,
    metrics: Arc<Metrics>,
    hub: Hub,
    in_flight: Mutex<HashSet<Flight>>,
    memory: Memory,
    streams: Streams,
    writes: TaskTracker,
    stopping: watch::Sender<bool>,
    /// Signs what only this process hands out, where there are no keys.
    secret: [u8; 32],
}

/// A write that is known by a key and under way.
type Flight = (Option<Namespace>, SessionId, String);

impl Service {
    /// The service over this store. Without keys, everyone who reaches it may do everything.
    ///
    /// ```
    /// use chat_memory_server::{Options, Service, app};
    /// let service = Service::new("memory:".parse()?, None, Options::default())?;
    /// let router: axum::Router = app(service);
    /// # Ok::<(), chat_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Unavailable when the system gives no random bytes.
    pub fn new(store: StoreUrl, keys: Option<Keys>, options: Options) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::default());
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|e| Error::new(ErrorKind::Unavailable, format!("the system gives no random bytes ({e})")))?;
        Ok(Self(Arc::new(Inner {
            stores: Stores::new(store, Arc::clone(&metrics)),
            keys,
            hub: Hub::new(options.poll),
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

    /// How it behaves.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Who waits for new messages.
    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The memory for requests' bodies.
    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// The streams of events that are open.
    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    /// What signs page cursors where there are no keys. Everyone may read everything then, so it only keeps a cursor of one list or store from
    /// being taken for another's; it is the same in each process with this store, so that links to pages stay good.
    pub(crate) fn cursor_secret(&self) -> [u8; 32] {
        let url = self.stores().url();
        if matches!(url, StoreUrl::Memory(_)) {
            // Its sessions end with the process.
            return self.0.secret;
        }
        Sha256::digest(format!("cursors of {url}")).into()
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.0.secret
    }

    /// From now on it is not ready, and streams of events end. What was accepted goes on.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Whether it is to stop.
    pub fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Waits until it is to stop.
    pub(crate) async fn stopped(&self) {
        // The sender is in this very value.
        let _ = self.0.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Waits until every write that was accepted has ended, also those whose clients went away.
    pub async fn finish_writes(&self) {
        self.0.writes.close();
        self.0.writes.wait().await;
    }

    /// Does what writes, to its end, even if the client goes away. With a key, one at a time.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        namespace: Option<&Namespace>,
        session: &SessionId,
        key: Option<&str>,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let flight = key.map(|key| self.take_off((namespace.cloned(), session.clone(), key.to_owned()))).transpose()?;
        let work = async move {
            let _flight = flight;
            work.await
        };
        // What it says in the log stands under its request's id.
        let done = self.0.writes.spawn(work.in_current_span());
        done.await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "a write broke off");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the service failed; its log says more"))
        })
    }

    fn take_off(&self, flight: Flight) -> Result<InFlight, Problem> {
        if self.flights().insert(flight.clone()) {
            return Ok(InFlight { service: self.clone(), flight });
        }
        let detail = "a request with the same Idempotency-Key is under way; repeat this one when that one was answered, and it gets the same answer";
        Err(Problem::later(StatusCode::CONFLICT, "in-flight", 1, detail))
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashSet<Flight>> {
        self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("stores", &self.0.stores).field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// A key that is taken until this is dropped.
struct InFlight {
    service: Service,
    flight: Flight,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.service.flights().remove(&self.flight);
    }
}
