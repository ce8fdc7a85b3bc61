//! A proxy between a client and DynamoDB Local that injects the faults of a network and a service.
//!
//! It speaks HTTP/1.1 without TLS on both sides and ignores signatures, except for their [times](FaultProxy::check_clocks) if
//! enabled. Every forwarded request is a task of its own: as with the real service, it continues after the client has
//! disconnected.

mod answer;
mod clock;
mod fault;
mod forward;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

pub use answer::Answer;
pub use fault::{Fault, Gate, Plan, Request, Seeded};

use clock::ServiceClock;
use forward::Ended;

/// A request and its outcome.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recorded {
    /// The request.
    pub request: Request,
    /// What was done to it.
    pub fault: Fault,
    /// The statuses of DynamoDB's responses, one for each time that the request was carried out, in order.
    pub statuses: Vec<u16>,
    /// How often it arrived and was refused because of its signature's time, and so not carried out.
    pub out_of_time: u32,
}

/// A proxy that injects faults. It runs in its own thread, so that it serves tests with and without a runtime, and stops when it
/// is dropped.
///
/// ```no_run
/// use chat_memory_testkit::{Fault, FaultProxy, Request, dynamodb_endpoint};
///
/// // The first PutItem arrives, but its answer is lost.
/// let proxy = FaultProxy::start(&dynamodb_endpoint(), |request: &Request| {
///     if request.is("PutItem", 0) { Fault::DropAnswer } else { Fault::Pass }
/// });
/// // … use the table at proxy.url() …
/// assert_eq!(proxy.count("PutItem"), 2);
/// ```
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Host and port of the service behind the proxy.
    upstream: String,
    plan: Mutex<Arc<dyn Plan>>,
    clock: Mutex<ServiceClock>,
    log: Mutex<Log>,
    underway: watch::Sender<Count>,
}

/// How many requests are in flight.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: usize,
    /// How many of them wait at a [gate](Fault::Hold).
    held: usize,
}

#[derive(Default)]
struct Log {
    requests: Vec<Recorded>,
    counts: HashMap<String, u64>,
    /// Incremented by [`FaultProxy::forget`], so that a response to a forgotten request is not attributed to another.
    generation: u64,
}

/// The place of a request in the log.
#[derive(Debug, Clone, Copy)]
struct Place {
    index: usize,
    generation: u64,
}

impl FaultProxy {
    /// Starts a proxy on a free port of this machine, in front of the service at this URL.
    ///
    /// # Panics
    /// If the URL is not plain HTTP, or there is no free port.
    pub fn start(upstream: &str, plan: impl Plan) -> Self {
        Self::listen("127.0.0.1:0", upstream, plan).expect("this machine gives no free port")
    }

    /// Starts a proxy that listens at this address (`127.0.0.1:0` for a free port).
    ///
    /// # Errors
    /// If it cannot listen there.
    ///
    /// # Panics
    /// If the URL is not plain HTTP.
    pub fn listen(address: &str, upstream: &str, plan: impl Plan) -> std::io::Result<Self> {
        let host = upstream.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let host = host.filter(|host| !host.is_empty() && !host.contains('/'));
        let host = host.unwrap_or_else(|| panic!("the fault proxy needs a URL like http://127.0.0.1:8000, not {upstream:?}"));
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: if host.contains(':') { host.to_owned() } else { format!("{host}:80") },
            plan: Mutex::new(Arc::new(plan)),
            clock: Mutex::default(),
            log: Mutex::default(),
            underway: watch::Sender::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("fault-proxy".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns its URL, for use as DynamoDB's endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replaces the plan from now on. The counts continue.
    pub fn set_plan(&self, plan: impl Plan) {
        *lock(&self.shared.plan) = Arc::new(plan);
    }

    /// From now on, refuses requests whose signature's time differs by more than this from the service's clock when they arrive,
    /// as AWS does: with status 400, `InvalidSignatureException` and the `Date` of that clock. AWS documents five minutes, and 15
    /// for some of its services. A request that is [held](Fault::Hold) is checked when it arrives.
    pub fn check_clocks(&self, tolerance: Duration) {
        lock(&self.shared.clock).tolerance = Some(tolerance);
    }

    /// Sets the service's clock ahead of this machine's by this many seconds (negative: behind). To the service, all clients'
    /// clocks are then wrong by as much in the other direction.
    pub fn set_clock_ahead(&self, seconds: i64) {
        lock(&self.shared.clock).ahead_s = seconds;
    }

    /// Returns all requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.log).requests.clone()
    }

    /// Returns how many requests of this operation have come so far.
    pub fn count(&self, operation: &str) -> u64 {
        lock(&self.shared.log).counts.get(operation).copied().unwrap_or(0)
    }

    /// Returns how many requests of each operation have come so far.
    pub fn counts(&self) -> HashMap<String, u64> {
        lock(&self.shared.log).counts.clone()
    }

    /// Forgets the requests so far; counts and numbers start from 0 again.
    pub fn forget(&self) {
        let mut log = lock(&self.shared.log);
        *log = Log { generation: log.generation + 1, ..Log::default() };
    }

    /// Waits until no request is in flight, including held and delayed ones.
    pub async fn idle(&self) {
        // It cannot fail: the sender is in `shared`.
        let _ = self.shared.underway.subscribe().wait_for(|count| count.all == 0).await;
    }

    /// Waits until no request is in flight except those that are [held](Fault::Hold). A gate that was opened just now may still
    /// hold its own: [`idle`](Self::idle) waits for them.
    pub async fn idle_but_for_held(&self) {
        let _ = self.shared.underway.subscribe().wait_for(|count| count.all == count.held).await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed and must not cause a second one while a test fails.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultProxy").field("url", &self.url()).field("upstream", &self.shared.upstream).finish_non_exhaustive()
    }
}

impl Shared {
    /// Logs a request and decides on it.
    fn decide(&self, operation: String, body: Value) -> (Fault, Place) {
        let plan = Arc::clone(&lock(&self.plan));
        let mut log = lock(&self.log);
        let index = log.requests.len();
        let count = log.counts.entry(operation.clone()).or_default();
        let nth = *count;
        *count += 1;
        let request = Request { operation, nth, index: index as u64, body };
        let fault = plan.fault(&request);
        log.requests.push(Recorded { request, fault: fault.clone(), statuses: Vec::new(), out_of_time: 0 });
        (fault, Place { index, generation: log.generation })
    }

    /// Records the outcome of a request that arrived.
    fn note(&self, place: Place, note: impl FnOnce(&mut Recorded)) {
        let mut log = lock(&self.log);
        if log.generation == place.generation {
            note(&mut log.requests[place.index]);
        }
    }

    fn clock(&self) -> ServiceClock {
        *lock(&self.clock)
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a listener that does not block, inside a runtime");
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // One connection failed, or too many files are open for now: the next may succeed.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        tokio::spawn(connection(stream, Arc::clone(&shared)));
    }
}

/// Serves a connection, and ends it as its fault requires.
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let ending = Mutex::new(None);
    let service = service_fn(|request| {
        let (shared, ending) = (Arc::clone(&shared), &ending);
        Box::pin(async move { forward::handle(shared, request).await.inspect_err(|how| *lock(ending) = Some(how.clone())) })
    });
    let mut serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Its errors are the faults that we inject, and clients that disconnect. It leaves the socket open, which is closed here.
    let _ = std::future::poll_fn(|context| serving.poll_without_shutdown(context)).await;
    let mut stream = serving.into_parts().io.into_inner();
    let ending = lock(&ending).take();
    match ending {
        Some(Ended::Reset) => {
            // With this, closing the socket sends RST and discards unsent data.
            let _ = stream.set_zero_linger();
        }
        Some(Ended::Said(bytes)) => {
            // The client may have disconnected.
            let _ = stream.write_all(&bytes).await;
        }
        Some(Ended::Closed) | None => {}
    }
}

/// A panic under the lock (in a test's plan) leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
