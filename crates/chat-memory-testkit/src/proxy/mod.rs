//! A proxy between a client and DynamoDB Local that makes the faults a network and a service make.
//!
//! It speaks HTTP/1.1 without TLS on both sides and does not look at signatures. Every request that is sent on is a task of
//! its own: like the real service, it goes on when the client has hung up.

mod answer;
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
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub use answer::Answer;
pub use fault::{Fault, Gate, Plan, Request, Seeded};

/// What became of a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recorded {
    /// The request.
    pub request: Request,
    /// What was done to it.
    pub fault: Fault,
    /// The statuses with which DynamoDB answered, one for each time that the request was carried out, in order.
    pub statuses: Vec<u16>,
}

/// A proxy that makes faults. It runs in a thread of its own, so that it serves tests with a runtime and without, and stops when
/// it is dropped.
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
    /// Host and port of what is behind the proxy.
    upstream: String,
    plan: Mutex<Arc<dyn Plan>>,
    log: Mutex<Log>,
    /// How many requests are on their way.
    underway: watch::Sender<usize>,
}

#[derive(Default)]
struct Log {
    requests: Vec<Recorded>,
    counts: HashMap<String, u64>,
    /// Grows with each [`FaultProxy::forget`], so that an answer to a forgotten request is not put down to another.
    generation: u64,
}

/// Where a request stands in the log.
#[derive(Debug, Clone, Copy)]
struct Place {
    index: usize,
    generation: u64,
}

impl FaultProxy {
    /// Starts one on a free port of this machine, before the service at this URL.
    ///
    /// # Panics
    /// When the URL is none of plain HTTP, or there is no free port.
    pub fn start(upstream: &str, plan: impl Plan) -> Self {
        Self::listen("127.0.0.1:0", upstream, plan).expect("this machine gives no free port")
    }

    /// Starts one that listens at this address (`127.0.0.1:0` for a free port).
    ///
    /// # Errors
    /// When it cannot listen there.
    ///
    /// # Panics
    /// When the URL is none of plain HTTP.
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
            log: Mutex::default(),
            underway: watch::Sender::new(0),
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

    /// Its URL, to be used as DynamoDB's endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Decides otherwise from now on. The counts go on.
    pub fn set_plan(&self, plan: impl Plan) {
        *lock(&self.shared.plan) = Arc::new(plan);
    }

    /// Every request so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.log).requests.clone()
    }

    /// How many requests of this operation came so far.
    pub fn count(&self, operation: &str) -> u64 {
        lock(&self.shared.log).counts.get(operation).copied().unwrap_or(0)
    }

    /// How many requests of each operation came so far.
    pub fn counts(&self) -> HashMap<String, u64> {
        lock(&self.shared.log).counts.clone()
    }

    /// Forgets the requests so far; counts and numbers start from 0 again.
    pub fn forget(&self) {
        let mut log = lock(&self.shared.log);
        *log = Log { generation: log.generation + 1, ..Log::default() };
    }

    /// Waits until no request is on its way, held and late ones included.
    pub async fn idle(&self) {
        // It cannot fail: the sender is in `shared`.
        let _ = self.shared.underway.subscribe().wait_for(|underway| *underway == 0).await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed, and must not become a second one while a test fails.
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
    /// Takes a request into the log and decides on it.
    fn decide(&self, operation: String, body: Value) -> (Fault, Place) {
        let plan = Arc::clone(&lock(&self.plan));
        let mut log = lock(&self.log);
        let index = log.requests.len();
        let count = log.counts.entry(operation.clone()).or_default();
        let nth = *count;
        *count += 1;
        let request = Request { operation, nth, index: index as u64, body };
        let fault = plan.fault(&request);
        log.requests.push(Recorded { request, fault: fault.clone(), statuses: Vec::new() });
        (fault, Place { index, generation: log.generation })
    }

    /// Notes that a request was carried out.
    fn answered(&self, place: Place, status: u16) {
        let mut log = lock(&self.log);
        if log.generation == place.generation {
            log.requests[place.index].statuses.push(status);
        }
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a listener that does not block, inside a runtime");
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // One connection failed, or there are too many files for now: the next may do.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| forward::handle(Arc::clone(&shared), request));
            // Its errors are the faults that we make, and clients that hang up.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A panic while it was locked (in a test's plan) leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
