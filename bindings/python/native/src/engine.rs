//! The runtime that operations run on, and the thread that hands their results to event loops. Both belong to one process: after a
//! fork the child starts its own.

use std::process;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::{Outcome, answer};

/// The runtime of this process. The lock is only held with the GIL, so a fork never copies it while it is locked.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// The notifier of this process; locked like [`RUNTIME`].
static NOTIFIER: Mutex<Option<Notifier>> = Mutex::new(None);

/// At most this many results reach an event loop with one call.
const BATCH: usize = 512;

/// Returns the runtime, and starts it if this process has none. It is never stopped: its threads end with the process.
pub fn runtime() -> PyResult<&'static Runtime> {
    let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match *slot {
        Some((pid, runtime)) if pid == process::id() => Ok(runtime),
        // The threads of a parent's runtime do not exist here. It must not be dropped, which would wait for them.
        _ => {
            let runtime = Builder::new_multi_thread().enable_all().thread_name("chat-memory").build();
            let runtime = runtime.map_err(|e| PyRuntimeError::new_err(format!("no thread could be started: {e}")))?;
            let runtime: &'static Runtime = Box::leak(Box::new(runtime));
            *slot = Some((process::id(), runtime));
            Ok(runtime)
        }
    }
}

/// The result of an operation, for a future of an event loop.
pub struct Done {
    pub event_loop: Py<PyAny>,
    pub future: Py<PyAny>,
    pub outcome: Outcome,
}

pub enum Message {
    Done(Done),
    Stop,
}

struct Notifier {
    pid: u32,
    sender: Sender<Message>,
    /// `None` once the interpreter exits.
    thread: Option<JoinHandle<()>>,
}

/// Returns where to send results to.
///
/// # Errors
/// RuntimeError if the interpreter exits, so that no event loop can wait for a result.
pub fn results() -> PyResult<Sender<Message>> {
    let mut slot = NOTIFIER.lock().unwrap_or_else(PoisonError::into_inner);
    match &*slot {
        Some(Notifier { pid, thread: None, .. }) if *pid == process::id() => {
            Err(PyRuntimeError::new_err("cannot start an operation: the interpreter is exiting; await it before"))
        }
        Some(Notifier { pid, sender, .. }) if *pid == process::id() => Ok(sender.clone()),
        _ => {
            let (sender, receiver) = mpsc::channel();
            let thread = thread::Builder::new().name("chat-memory-results".to_owned()).spawn(move || notify(&receiver));
            let thread = thread.map_err(|e| PyRuntimeError::new_err(format!("no thread could be started: {e}")))?;
            // A parent's thread does not exist here, so its handle is forgotten.
            std::mem::forget(slot.replace(Notifier { pid: process::id(), sender: sender.clone(), thread: Some(thread) }));
            Ok(sender)
        }
    }
}

/// Stops the notifier: from here on, no thread of ours takes the GIL, which a thread must not do while the interpreter ends.
pub fn stop(py: Python<'_>) {
    let stopping = {
        let mut slot = NOTIFIER.lock().unwrap_or_else(PoisonError::into_inner);
        let running = slot.as_mut().filter(|notifier| notifier.pid == process::id());
        running.and_then(|notifier| Some((notifier.sender.clone(), notifier.thread.take()?)))
    };
    if let Some((sender, thread)) = stopping {
        py.detach(move || {
            // Fails only if the thread has ended already.
            let _ = sender.send(Message::Stop);
            let _ = thread.join();
        });
    }
}

fn notify(receiver: &Receiver<Message>) {
    let mut stopped = false;
    while !stopped && let Ok(first) = receiver.recv() {
        // While the interpreter was busy, more results have come: one call brings them all.
        let mut batch = Vec::new();
        for message in std::iter::once(first).chain(receiver.try_iter().take(BATCH - 1)) {
            match message {
                Message::Done(done) => batch.push(done),
                Message::Stop => stopped = true,
            }
        }
        if Python::try_attach(|py| deliver(py, batch)).is_none() {
            return;
        }
    }
}

/// Hands results to their event loops, one call for each run of results of one loop.
fn deliver(py: Python<'_>, batch: Vec<Done>) {
    let mut rest = batch.into_iter().peekable();
    while let Some(first) = rest.next() {
        let event_loop = first.event_loop.clone_ref(py);
        let mut results = vec![(first.future, first.outcome)];
        while let Some(next) = rest.next_if(|next| next.event_loop.is(&event_loop)) {
            results.push((next.future, next.outcome));
        }
        let settle = Py::new(py, Settle(Mutex::new(results)));
        // A loop that is closed has nobody waiting.
        let _ = settle.and_then(|settle| event_loop.call_method1(py, "call_soon_threadsafe", (settle,)));
    }
}

/// A callback that sets the results of futures, in their event loop's thread.
#[pyclass(frozen)]
struct Settle(Mutex<Vec<(Py<PyAny>, Outcome)>>);

#[pymethods]
impl Settle {
    fn __call__(&self, py: Python<'_>) {
        let results = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (future, outcome) in results {
            let future = future.bind(py);
            if let Err(error) = settle(future, outcome) {
                error.write_unraisable(py, Some(future));
            }
        }
    }
}

fn settle(future: &Bound<'_, PyAny>, outcome: Outcome) -> PyResult<()> {
    // Whoever waited may have been cancelled. The operation has run to its end nevertheless.
    if future.call_method0("done")?.is_truthy()? {
        return Ok(());
    }
    match answer(future.py(), outcome) {
        Ok(value) => future.call_method1("set_result", (value,))?,
        Err(error) => future.call_method1("set_exception", (error,))?,
    };
    Ok(())
}
