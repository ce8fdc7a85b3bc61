//! Checkpoints: the states of an agent's threads, as LangGraph's checkpointers keep them.
//!
//! A [thread](crate::SessionId) has namespaces (the graph itself, and one for each of its subgraphs), and each namespace is a log of
//! checkpoints. A checkpoint is put on the condition that nothing follows the one before it, so of two runs that start from the
//! same checkpoint, one is refused. It is stored as what differs from the one before it, so its cost depends on what the turn
//! added and not on how long the thread is.
//!
//! [`CheckpointStore`] is the engine. It runs on any [`Rows`]: what a table with a partition key and a sort key can do. See
//! docs/formats.md ("Checkpoints") for what it stores.

mod buffer;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod copy;
mod encoding;
mod format;
mod frame;
mod history;
mod keys;
mod logs;
mod memory;
mod put;
mod read;
mod remove;
mod rows;
mod rules;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod state;
mod store;
mod tasks;
#[cfg(test)]
mod tests;

pub use keys::PARTITION;
pub use memory::InMemoryRows;
pub use rows::{Condition, Put, Row, RowPage, RowRange, Rows};
pub use store::{CheckpointOptions, CheckpointStore};

use std::collections::BTreeMap;

use crate::store::Cost;
use crate::timestamp::Timestamp;

/// A serialized value: the name of its encoding, and its bytes. The engine never looks into it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Typed {
    /// The encoding, such as `msgpack` or `json`.
    pub kind: String,
    /// The encoded value.
    pub bytes: Vec<u8>,
}

impl Typed {
    /// Creates a value.
    pub fn new(kind: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind: kind.into(), bytes: bytes.into() }
    }
}

/// A checkpoint to be put.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct NewCheckpoint {
    /// Its id: a text that is greater than those of all checkpoints before it in its namespace (LangGraph's are UUIDs of version 6).
    pub id: String,
    /// The id of the checkpoint that its run started from or put last; `None` for the first of a namespace.
    pub parent: Option<String>,
    /// Whether it may follow checkpoints that its run has not seen, as a branch from its parent. Otherwise its parent must be the
    /// newest checkpoint.
    pub fork: bool,
    /// The checkpoint without the values of its channels.
    pub body: Typed,
    /// Its metadata.
    pub metadata: Typed,
    /// The id of the run that puts it, by which [`delete_runs`](CheckpointStore::delete_runs) finds it.
    pub run_id: Option<String>,
    /// The version of each channel, as text.
    pub versions: BTreeMap<String, String>,
    /// The values of the channels that changed since the parent; `None` for a channel that has no value now. A channel that is not
    /// here has its parent's value, if the version is the same.
    pub values: BTreeMap<String, Option<Typed>>,
    /// What tells the run that puts it apart from others that started from the same checkpoint, if its writes are put with
    /// [`put_writes_of`](CheckpointStore::put_writes_of): of what tasks wrote at the parent, only what is of the same attempt, or what
    /// it had [seen](Self::seen), belongs to this checkpoint. Without one, everything does.
    pub attempt: Option<String>,
    /// The [calls](Checkpoint::calls) at the parent that the run had loaded.
    pub seen: Vec<String>,
    /// The channels of which this checkpoint may hold no value, because it is computed from writes before it
    /// ([`history`](CheckpointStore::history)): pruning keeps what they need.
    pub delta_channels: Vec<String>,
}

impl NewCheckpoint {
    /// Creates a checkpoint that follows `parent`.
    pub fn new(id: impl Into<String>, parent: Option<String>, body: Typed, metadata: Typed) -> Self {
        Self { id: id.into(), parent, body, metadata, ..Self::default() }
    }
}

/// A stored checkpoint.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The namespace; empty for the graph itself.
    pub namespace: String,
    /// Its id.
    pub id: String,
    /// The id of its parent.
    pub parent: Option<String>,
    /// The checkpoint without the values of its channels.
    pub body: Typed,
    /// Its metadata.
    pub metadata: Typed,
    /// The values of the channels that have one.
    pub values: BTreeMap<String, Typed>,
    /// What tasks wrote at this checkpoint, in the order in which their run applies it.
    pub writes: Vec<Write>,
    /// The ids of the calls that stored those writes, for [`NewCheckpoint::seen`].
    pub calls: Vec<String>,
    /// Whether it is the newest of its namespace. One that is not can only be continued by a [fork](NewCheckpoint::fork).
    pub is_newest: bool,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// A task's write to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Write {
    /// The id of the task.
    pub task_id: String,
    /// The path of the task in its graph; may be empty.
    pub task_path: String,
    /// Its place among the task's writes. Negative: of a special kind, of which only the last counts.
    pub index: i64,
    /// The channel.
    pub channel: String,
    /// What was written.
    pub value: Typed,
}

impl Write {
    /// Creates a write.
    pub fn new(
        task_id: impl Into<String>,
        task_path: impl Into<String>,
        index: i64,
        channel: impl Into<String>,
        value: Typed,
    ) -> Self {
        Self { task_id: task_id.into(), task_path: task_path.into(), index, channel: channel.into(), value }
    }
}

/// What the checkpoints before one contributed to a channel.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ChannelHistory {
    /// The writes to the channel, oldest first, since the seed.
    pub writes: Vec<Write>,
    /// The value at the nearest ancestor that has one.
    pub seed: Option<Typed>,
}

/// A result, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Costed<T> {
    /// The result.
    pub value: T,
    /// What it cost.
    pub cost: Cost,
}
