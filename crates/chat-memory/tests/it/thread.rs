//! A thread of checkpoints, for the tests of each store.

use chat_memory::checkpoints::{Checkpoint, CheckpointStore, NewCheckpoint, Typed};
use chat_memory::store::Cost;
use chat_memory::{Error, SessionId};

pub fn id(n: usize) -> String {
    format!("1f0000{n:06}")
}

pub fn json(text: impl Into<String>) -> Typed {
    Typed::new("json", text.into())
}

/// A checkpoint with one channel.
pub fn saying(n: usize, parent: Option<usize>, text: &str) -> NewCheckpoint {
    let mut new = NewCheckpoint::new(id(n), parent.map(id), json(format!("body {n}")), json(format!("metadata {n}")));
    new.versions.insert("messages".into(), n.to_string());
    new.values.insert("messages".into(), Some(json(text)));
    new
}

pub async fn put(store: &CheckpointStore, thread: &SessionId, new: NewCheckpoint) -> Result<Cost, Error> {
    store.put(thread, "", new).await.map(|put| put.cost)
}

pub async fn newest(store: &CheckpointStore, thread: &SessionId) -> Option<Checkpoint> {
    store.load(thread, "", None).await.expect("it can be loaded").value
}
