//! The stores of the crate `chat-memory`, for the Python package of the same name.
//!
//! The interface is narrow on purpose: one class with one operation, blocking or for an event loop. Everything that a Python
//! programmer sees (classes, parameters, exceptions, types) is in the Python next to it; everything about sessions is in the crate.
//! An operation runs without the GIL: a blocking one on the thread that calls it, others on threads of the engine's own.

mod checkpoints;
mod engine;
mod store;
mod values;

use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use chat_memory::store::dynamodb::Credentials;
use chat_memory::store::url::StoreUrl;
use chat_memory::{Error, SessionId};
use chat_memory_bindings::{Request, Setup};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;

use crate::checkpoints::NativeCheckpoints;
use crate::engine::{Done, Message};
use crate::store::{AnyRequest, Kind, Store};
use crate::values::Refused;

/// How soon a blocking call notices Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

create_exception!(
    _native,
    NativeError,
    PyException,
    "An error of the engine, with its kind, message, ticket, actual position, and whether a retry may help."
);

/// What an operation returns.
pub(crate) enum Answer {
    Sessions(Value),
    Checkpoints(checkpoints::CheckpointAnswer),
}

/// The result of an operation; `None` if it panicked.
pub(crate) type Outcome = Option<Result<Answer, Error>>;

fn raised(error: &Error) -> PyErr {
    NativeError::new_err((
        error.kind().as_str(),
        error.to_string(),
        error.ticket().map(ToString::to_string),
        error.actual().map(ToString::to_string),
        error.is_retryable(),
    ))
}

fn answer(py: Python<'_>, outcome: Outcome) -> PyResult<Bound<'_, PyAny>> {
    match outcome {
        Some(Ok(Answer::Sessions(value))) => values::python(py, value),
        Some(Ok(Answer::Checkpoints(answer))) => answer.python(py),
        Some(Err(error)) => Err(raised(&error)),
        None => {
            let message =
                "the operation panicked, which is a bug of chat-memory: please report it with what standard error shows";
            Err(NativeError::new_err(("other", message, None::<String>, None::<String>, false)))
        }
    }
}

/// A store, opened at its first use.
#[pyclass(frozen, weakref)]
struct NativeStore(Arc<Store>);

#[pymethods]
impl NativeStore {
    /// A store at a store URL, with an access key (id, secret, session token) if AWS's usual chain is not to be used. Does not open it
    /// yet.
    #[new]
    #[pyo3(signature = (url, credentials=None))]
    fn new(url: &str, credentials: Option<(String, String, Option<String>)>) -> PyResult<Self> {
        Ok(Self(Store::new(setup(url, credentials)?, Kind::Sessions)))
    }

    /// Runs an operation and returns its result.
    fn call<'py>(&self, py: Python<'py>, operation: &str, request: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        wait(py, &self.0, self.request(operation, request)?)
    }

    /// Starts an operation, whose result is set in a future of this event loop.
    fn call_soon(
        &self,
        py: Python<'_>,
        operation: &str,
        request: &Bound<'_, PyDict>,
        event_loop: Py<PyAny>,
        future: Py<PyAny>,
    ) -> PyResult<()> {
        let request = self.request(operation, request)?;
        settle_soon(py, &self.0, request, event_loop, future)
    }

    /// Closes the store. Operations that are running end first.
    fn close(&self, py: Python<'_>) {
        self.0.close(py);
    }
}

impl NativeStore {
    fn request(&self, operation: &str, request: &Bound<'_, PyDict>) -> PyResult<AnyRequest> {
        let request = values::request(request).map_err(|refused| match refused {
            Refused::Value(message) => raised(&Error::invalid(message)),
            Refused::Raised(error) => error,
        })?;
        Request::read(operation, request).map(AnyRequest::Sessions).map_err(|error| raised(&error))
    }
}

/// Reads how to open a store.
fn setup(url: &str, credentials: Option<(String, String, Option<String>)>) -> PyResult<Setup> {
    let setup = url.parse().map(at_absolute_path).and_then(|url| {
        let credentials = credentials.map(|(id, secret, token)| {
            let credentials = Credentials::new(id, secret);
            token.into_iter().fold(credentials, |credentials, token| credentials.with_session_token(token))
        });
        Setup::new(url, credentials)
    });
    setup.map_err(|error| raised(&error))
}

/// Prepares an operation, which runs as the future is polled.
fn start(
    py: Python<'_>,
    store: &Arc<Store>,
    request: AnyRequest,
) -> PyResult<impl Future<Output = Result<Answer, Error>> + Send + use<>> {
    let opened = store.opened(py).map_err(|error| raised(&error))?;
    let (setup, kind) = (store.setup().clone(), store.kind());
    Ok(async move {
        let result = opened.run(&setup, kind, request).await;
        // Before anybody hears of it, so that a store which is not in use has no operation running.
        drop(opened);
        result
    })
}

/// Runs an operation on this thread, which would only wait for another one: handing it over and back takes longer than most do. One
/// that has not ended by the time to look for signals is handed over, since their handlers may start operations that wait for it.
fn wait<'py>(py: Python<'py>, store: &Arc<Store>, request: AnyRequest) -> PyResult<Bound<'py, PyAny>> {
    let is_quick = request.is_quick();
    let runtime = engine::runtime()?;
    let mut running = Box::pin(start(py, store, request)?);
    let mut run_for = |time| {
        let _entered = runtime.enter();
        panic::catch_unwind(AssertUnwindSafe(|| poll_for(time, running.as_mut())))
    };
    // Releasing the GIL and getting it back takes longer than what is quick.
    let mut polled = if is_quick { run_for(Duration::ZERO) } else { Ok(Poll::Pending) };
    if matches!(polled, Ok(Poll::Pending)) {
        polled = py.detach(|| run_for(SIGNALS));
    }
    match polled {
        Ok(Poll::Ready(result)) => return answer(py, Some(result)),
        Ok(Poll::Pending) => {}
        Err(_) => return answer(py, None),
    }
    let (sender, mut receiver) = mpsc::sync_channel(1);
    let task = runtime.spawn(running);
    runtime.spawn(async move {
        // Fails only after Ctrl-C. The operation has run to its end nevertheless.
        let _ = sender.send(task.await.ok());
    });
    loop {
        py.check_signals()?;
        let (back, received) = py.detach(move || {
            let received = receiver.recv_timeout(SIGNALS);
            (receiver, received)
        });
        receiver = back;
        match received {
            Ok(outcome) => return answer(py, outcome),
            Err(RecvTimeoutError::Disconnected) => return answer(py, None),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread until it ends, or for so long; at least to its first pause.
fn poll_for<F: Future>(time: Duration, mut future: Pin<&mut F>) -> Poll<F::Output> {
    let (waker, until) = (Waker::from(Arc::new(Unpark(thread::current()))), Instant::now() + time);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Poll::Ready(output);
        }
        match until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::park_timeout(left),
            _ => return Poll::Pending,
        }
    }
}

/// Starts an operation, whose result is set in a future of this event loop.
fn settle_soon(
    py: Python<'_>,
    store: &Arc<Store>,
    request: AnyRequest,
    event_loop: Py<PyAny>,
    future: Py<PyAny>,
) -> PyResult<()> {
    let results = engine::results()?;
    let running = start(py, store, request)?;
    // A task of its own: if it panics, the one that waits for it still gives an answer.
    let task = engine::runtime()?.spawn(running);
    engine::runtime()?.spawn(async move {
        let outcome = task.await.ok();
        // Fails only when the interpreter exits.
        let _ = results.send(Message::Done(Done { event_loop, future, outcome }));
    });
    Ok(())
}

/// A relative path must not change its meaning if the program changes its folder before the first use.
fn at_absolute_path(url: StoreUrl) -> StoreUrl {
    if url.scheme() != "sqlite" {
        return url;
    }
    match path::absolute(url.path()) {
        Ok(path) => url.clone().with_place(path).unwrap_or(url),
        Err(_) => url,
    }
}

#[pymodule]
mod _native {
    use super::{PyResult, Python, SessionId, engine, pyfunction, store};

    #[pymodule_export]
    use super::{NativeCheckpoints, NativeError, NativeStore};

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// A new session id, a UUIDv7.
    #[pyfunction]
    fn random_session_id() -> String {
        SessionId::random().to_string()
    }

    /// Prepares a fork.
    #[pyfunction]
    fn before_fork(py: Python<'_>) {
        store::prepare_fork(py);
    }

    /// Ends the preparation of a fork.
    #[pyfunction]
    fn after_fork(in_child: bool) {
        store::resume(in_child);
    }

    /// Ends what must not run while the interpreter exits.
    #[pyfunction]
    fn shutdown(py: Python<'_>) -> PyResult<()> {
        engine::stop(py);
        store::close_files(py);
        Ok(())
    }
}
