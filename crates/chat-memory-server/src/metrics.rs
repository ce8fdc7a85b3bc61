//! Metrics in Prometheus's text format. No label contains anything that a client chose: no session, owner, key or path.

use std::sync::PoisonError;
use std::sync::{Mutex, atomic::AtomicU64};
use std::time::{Duration, Instant};

use chat_memory::store::Cost;
use chat_memory::{ErrorKind, Timestamp};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Declares the operations, and the list of all of them.
macro_rules! operations {
    ($($name:ident),+ $(,)?) => {
        /// An operation of a store. The metrics have its name as a label.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
        #[allow(missing_docs, reason = "each is the store's operation of that name")]
        pub enum Operation {
            $($name),+
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

operations![Append, Fork, Redact, Rewind, Load, Clear, Sweep, Delete, Sessions, Session, Search, Threads];

/// What an operation took since the service started.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// The operation.
    pub operation: Operation,
    /// How often it was done, whatever the outcome.
    pub times: u64,
    /// What it cost in total.
    pub cost: Cost,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    operation: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    operation: Operation,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

type Units = Family<Of, Counter<f64, AtomicU64>>;

/// The service's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    operations: Family<Ended, Counter>,
    store_requests: Family<Of, Counter>,
    read_units: Units,
    write_units: Units,
    bytes: Family<Of, Counter>,
    retries: Family<Reason, Counter>,
    replays: Counter,
    streams: Gauge,
    since: (Timestamp, Instant),
}

impl Default for Metrics {
    fn default() -> Self {
        // 1 ms to 32 s.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let seconds = Family::new_with_constructor(buckets);
        let mut metrics = Self {
            registry: Mutex::new(Registry::with_prefix("chat_memory")),
            requests: Family::default(),
            seconds,
            operations: Family::default(),
            store_requests: Family::default(),
            read_units: Family::default(),
            write_units: Family::default(),
            bytes: Family::default(),
            retries: Family::default(),
            replays: Counter::default(),
            streams: Gauge::default(),
            since: (Timestamp::now(), Instant::now()),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = self.registry.get_mut().unwrap_or_else(PoisonError::into_inner);
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("http_request_seconds", "Time from a request's header to the response's", self.seconds.clone());
        registry.register("store_operations", "Store operations, by outcome", self.operations.clone());
        registry.register("store_requests", "Requests to the store", self.store_requests.clone());
        registry.register("store_read_units", "Read capacity units consumed", self.read_units.clone());
        registry.register("store_write_units", "Write capacity units consumed", self.write_units.clone());
        registry.register("store_bytes", "Bytes of records written and read", self.bytes.clone());
        registry.register("retries", "Retries by the service itself", self.retries.clone());
        registry.register("idempotent_replays", "Repeated requests answered with the stored result", self.replays.clone());
        registry.register("event_streams", "Open event streams", self.streams.clone());
    }

    /// Counts an answered request.
    pub fn answered(&self, method: &axum::http::Method, route: Option<&str>, status: u16, took: Duration) {
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        };
        let route = route.unwrap_or("other").to_owned();
        self.seconds.get_or_create(&Route { method, route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { method, route, status }).inc();
    }

    /// Counts a finished store operation and its cost.
    pub fn operation(&self, operation: Operation, outcome: &'static str, cost: Cost) {
        self.operations.get_or_create(&Ended { operation, outcome }).inc();
        let of = Of { operation };
        self.store_requests.get_or_create(&of).inc_by(cost.requests);
        self.read_units.get_or_create(&of).inc_by(cost.read_units);
        self.write_units.get_or_create(&of).inc_by(cost.write_units);
        self.bytes.get_or_create(&of).inc_by(cost.bytes);
    }

    /// When counting began, and how long ago that is.
    pub fn since(&self) -> (Timestamp, Duration) {
        (self.since.0, self.since.1.elapsed())
    }

    /// What each operation took since the service started; those that were never done are left out.
    pub fn usage(&self) -> Vec<Usage> {
        let outcomes = || std::iter::once("ok").chain(ErrorKind::ALL.iter().map(|kind| kind.as_str()));
        let used = |operation| {
            let times = outcomes().filter_map(|outcome| Some(self.operations.get(&Ended { operation, outcome })?.get())).sum();
            let of = Of { operation };
            let units = |units: &Units| units.get(&of).map_or(0.0, |counter| counter.get());
            let count = |counts: &Family<Of, Counter>| counts.get(&of).map_or(0, |counter| counter.get());
            let mut cost = Cost::new(count(&self.store_requests), count(&self.bytes));
            (cost.read_units, cost.write_units) = (units(&self.read_units), units(&self.write_units));
            Usage { operation, times, cost }
        };
        Operation::ALL.iter().copied().map(used).filter(|usage| usage.times > 0).collect()
    }

    /// Counts a retry.
    pub fn retry(&self, reason: &'static str) {
        self.retries.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a repeated request that was answered from the stored result.
    pub fn replay(&self) {
        self.replays.inc();
    }

    /// Counts an open stream of events until the returned value is dropped.
    pub fn stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    /// All metrics, as `/metrics` returns them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

/// A stream of events, while it is open.
#[derive(Debug)]
pub struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
