//! Checkpoints, for the module `chat_memory.langgraph`. A value is its encoding's name and its bytes; parameters and results are
//! tuples, without JSON in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat_memory::checkpoints::{ChannelHistory, Checkpoint, CheckpointStore, NewCheckpoint, Typed, Write};
use chat_memory::store::Cost;
use chat_memory::{Error, SessionId};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::store::{AnyRequest, Kind, Store};
use crate::{raised, settle_soon, setup, wait};

/// The longest time that a task's writes may wait.
const MAX_DELAY: f64 = 60.0;

/// Checkpoints in a store, opened at the first use.
#[pyclass(frozen, weakref)]
pub struct NativeCheckpoints(Arc<Store>);

#[pymethods]
impl NativeCheckpoints {
    /// Checkpoints at a store URL, with an access key as for `NativeStore`, and for how many seconds a task's writes may wait.
    #[new]
    #[pyo3(signature = (url, credentials=None, write_delay=0.15))]
    fn new(url: &str, credentials: Option<(String, String, Option<String>)>, write_delay: f64) -> PyResult<Self> {
        if !(0.0..=MAX_DELAY).contains(&write_delay) {
            let sentence = format!("invalid write_delay {write_delay}: expected 0 to {MAX_DELAY} seconds");
            return Err(raised(&Error::invalid(sentence)));
        }
        let window = Duration::from_secs_f64(write_delay);
        Ok(Self(Store::new(setup(url, credentials)?, Kind::Checkpoints(window))))
    }

    /// Runs an operation and returns its result.
    fn call<'py>(&self, py: Python<'py>, operation: &str, request: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        wait(py, &self.0, read(operation, request)?)
    }

    /// Starts an operation, whose result is set in a future of this event loop.
    fn call_soon(
        &self,
        py: Python<'_>,
        operation: &str,
        request: &Bound<'_, PyTuple>,
        event_loop: Py<PyAny>,
        future: Py<PyAny>,
    ) -> PyResult<()> {
        settle_soon(py, &self.0, read(operation, request)?, event_loop, future)
    }

    /// Stores what waits and closes the store. Operations that are running end first.
    fn close(&self, py: Python<'_>) {
        self.0.close(py);
    }
}

/// An operation with its parameters.
pub enum CheckpointRequest {
    Put {
        thread: SessionId,
        namespace: String,
        new: Box<NewCheckpoint>,
    },
    PutWrites {
        attempt: Option<String>,
        thread: SessionId,
        namespace: String,
        checkpoint: String,
        task_id: String,
        writes: Vec<Write>,
    },
    Load {
        thread: SessionId,
        namespace: String,
        id: Option<String>,
    },
    List {
        thread: SessionId,
        namespace: String,
        before: Option<String>,
        limit: usize,
    },
    Namespaces {
        thread: SessionId,
    },
    Threads {
        after: Option<String>,
    },
    History {
        thread: SessionId,
        namespace: String,
        id: Option<String>,
        channels: Vec<String>,
    },
    DeleteThread {
        thread: SessionId,
    },
    DeleteRuns {
        thread: SessionId,
        runs: Vec<String>,
    },
    CopyThread {
        source: SessionId,
        target: SessionId,
    },
    Prune {
        thread: SessionId,
    },
    Flush,
}

/// What an operation returns, and what it cost.
pub struct CheckpointAnswer {
    value: Value,
    cost: Cost,
}

enum Value {
    Nothing,
    Checkpoints(Vec<Checkpoint>),
    Names(Vec<String>),
    Threads(Vec<SessionId>, Option<String>),
    Histories(Vec<ChannelHistory>),
}

impl CheckpointRequest {
    /// Runs the operation.
    pub async fn run(self, store: &CheckpointStore) -> Result<CheckpointAnswer, Error> {
        let nothing = |cost| CheckpointAnswer { value: Value::Nothing, cost };
        Ok(match self {
            Self::Put { thread, namespace, new } => nothing(store.put(&thread, &namespace, *new).await?.cost),
            Self::PutWrites { attempt, thread, namespace, checkpoint, task_id, writes } => {
                let attempt = attempt.as_deref();
                nothing(store.put_writes_of(attempt, &thread, &namespace, &checkpoint, &task_id, writes).await?.cost)
            }
            Self::Load { thread, namespace, id } => {
                let loaded = store.load(&thread, &namespace, id.as_deref()).await?;
                CheckpointAnswer { value: Value::Checkpoints(loaded.value.into_iter().collect()), cost: loaded.cost }
            }
            Self::List { thread, namespace, before, limit } => {
                let listed = store.list(&thread, &namespace, before.as_deref(), limit).await?;
                CheckpointAnswer { value: Value::Checkpoints(listed.value), cost: listed.cost }
            }
            Self::Namespaces { thread } => {
                let found = store.namespaces(&thread).await?;
                CheckpointAnswer { value: Value::Names(found.value), cost: found.cost }
            }
            Self::Threads { after } => {
                let found = store.threads(after.as_deref()).await?;
                let (threads, next) = found.value;
                CheckpointAnswer { value: Value::Threads(threads, next), cost: found.cost }
            }
            Self::History { thread, namespace, id, channels } => {
                let found = store.history(&thread, &namespace, id.as_deref(), &channels).await?;
                CheckpointAnswer { value: Value::Histories(found.value), cost: found.cost }
            }
            Self::DeleteThread { thread } => nothing(store.delete_thread(&thread).await?),
            Self::DeleteRuns { thread, runs } => nothing(store.delete_runs(&thread, &runs).await?),
            Self::CopyThread { source, target } => nothing(store.copy_thread(&source, &target).await?),
            Self::Prune { thread } => nothing(store.prune(&thread).await?),
            Self::Flush => nothing(store.flush().await?),
        })
    }
}

impl CheckpointAnswer {
    /// The result as (value, (requests, read units, write units, bytes)).
    pub fn python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let Cost { requests, read_units, write_units, bytes, .. } = self.cost;
        let value = match self.value {
            Value::Nothing => py.None().into_bound(py),
            Value::Checkpoints(found) => {
                let found = found.iter().map(|checkpoint| checkpoint_tuple(py, checkpoint)).collect::<PyResult<Vec<_>>>()?;
                PyList::new(py, found)?.into_any()
            }
            Value::Names(names) => PyList::new(py, names)?.into_any(),
            Value::Threads(threads, next) => {
                let threads: Vec<&str> = threads.iter().map(SessionId::as_str).collect();
                (threads, next).into_pyobject(py)?.into_any()
            }
            Value::Histories(found) => {
                let found = found.iter().map(|history| {
                    let seed = history.seed.as_ref().map(|seed| typed_tuple(py, seed)).transpose()?;
                    (writes_list(py, &history.writes)?, seed).into_pyobject(py)
                });
                PyList::new(py, found.collect::<PyResult<Vec<_>>>()?)?.into_any()
            }
        };
        Ok((value, (requests, read_units, write_units, bytes)).into_pyobject(py)?.into_any())
    }
}

fn typed_tuple<'py>(py: Python<'py>, typed: &Typed) -> PyResult<Bound<'py, PyTuple>> {
    (&typed.kind, PyBytes::new(py, &typed.bytes)).into_pyobject(py)
}

fn writes_list<'py>(py: Python<'py>, writes: &[Write]) -> PyResult<Bound<'py, PyList>> {
    let writes = writes.iter().map(|write| (&write.task_id, &write.channel, typed_tuple(py, &write.value)?).into_pyobject(py));
    PyList::new(py, writes.collect::<PyResult<Vec<_>>>()?)
}

fn checkpoint_tuple<'py>(py: Python<'py>, found: &Checkpoint) -> PyResult<Bound<'py, PyTuple>> {
    let values = PyDict::new(py);
    for (channel, value) in &found.values {
        values.set_item(channel, typed_tuple(py, value)?)?;
    }
    let (body, metadata) = (typed_tuple(py, &found.body)?, typed_tuple(py, &found.metadata)?);
    let writes = writes_list(py, &found.writes)?;
    (&found.id, &found.parent, body, metadata, values, writes, &found.calls, found.is_newest).into_pyobject(py)
}

fn typed(found: &Bound<'_, PyAny>) -> PyResult<Typed> {
    let (kind, bytes): (String, Bound<'_, PyBytes>) = found.extract()?;
    Ok(Typed::new(kind, bytes.as_bytes()))
}

fn thread(name: String) -> PyResult<SessionId> {
    SessionId::of_thread(name).map_err(|error| raised(&error))
}

/// Reads an operation.
fn read(operation: &str, request: &Bound<'_, PyTuple>) -> PyResult<AnyRequest> {
    Ok(AnyRequest::Checkpoints(match operation {
        "put" => read_put(request)?,
        "put_writes" => {
            type Written<'py> = (i64, String, Bound<'py, PyAny>);
            type Parameters<'py> = (Option<String>, String, String, String, String, String, Vec<Written<'py>>);
            let (attempt, name, namespace, checkpoint, task_id, path, writes): Parameters<'_> = request.extract()?;
            let writes = writes
                .into_iter()
                .map(|(index, channel, value)| Ok(Write::new(task_id.as_str(), path.as_str(), index, channel, typed(&value)?)));
            let writes = writes.collect::<PyResult<_>>()?;
            CheckpointRequest::PutWrites { attempt, thread: thread(name)?, namespace, checkpoint, task_id, writes }
        }
        "load" => {
            let (name, namespace, id): (String, String, Option<String>) = request.extract()?;
            CheckpointRequest::Load { thread: thread(name)?, namespace, id }
        }
        "list" => {
            let (name, namespace, before, limit): (String, String, Option<String>, usize) = request.extract()?;
            CheckpointRequest::List { thread: thread(name)?, namespace, before, limit }
        }
        "namespaces" => {
            let (name,): (String,) = request.extract()?;
            CheckpointRequest::Namespaces { thread: thread(name)? }
        }
        "threads" => {
            let (after,): (Option<String>,) = request.extract()?;
            CheckpointRequest::Threads { after }
        }
        "history" => {
            let (name, namespace, id, channels): (String, String, Option<String>, Vec<String>) = request.extract()?;
            CheckpointRequest::History { thread: thread(name)?, namespace, id, channels }
        }
        "delete_thread" => {
            let (name,): (String,) = request.extract()?;
            CheckpointRequest::DeleteThread { thread: thread(name)? }
        }
        "delete_runs" => {
            let (name, runs): (String, Vec<String>) = request.extract()?;
            CheckpointRequest::DeleteRuns { thread: thread(name)?, runs }
        }
        "copy_thread" => {
            let (source, target): (String, String) = request.extract()?;
            CheckpointRequest::CopyThread { source: thread(source)?, target: thread(target)? }
        }
        "prune" => {
            let (name,): (String,) = request.extract()?;
            CheckpointRequest::Prune { thread: thread(name)? }
        }
        "flush" => CheckpointRequest::Flush,
        other => return Err(raised(&Error::invalid(format!("unknown operation {other:?}")))),
    }))
}

fn read_put(request: &Bound<'_, PyTuple>) -> PyResult<CheckpointRequest> {
    type Place = (String, String, String, Option<String>, bool);
    type Content<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, BTreeMap<String, String>, Bound<'py, PyDict>);
    type Rest = (Option<String>, Vec<String>, Option<String>, Vec<String>);
    let (place, content, rest): (Place, Content<'_>, Rest) = request.extract()?;
    let (name, namespace, id, parent, fork) = place;
    let (body, metadata, versions, values) = content;
    let (run_id, delta_channels, attempt, seen) = rest;
    let mut new = NewCheckpoint::new(id, parent, typed(&body)?, typed(&metadata)?);
    (new.fork, new.versions, new.run_id, new.delta_channels) = (fork, versions, run_id, delta_channels);
    (new.attempt, new.seen) = (attempt, seen);
    for (channel, value) in values.iter() {
        let value = if value.is_none() { None } else { Some(typed(&value)?) };
        new.values.insert(channel.extract()?, value);
    }
    Ok(CheckpointRequest::Put { thread: thread(name)?, namespace, new: Box::new(new) })
}
