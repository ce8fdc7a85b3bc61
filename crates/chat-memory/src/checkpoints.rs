//! Checkpoints: the states of an agent's threads, as LangGraph's checkpointers keep them. See [`CheckpointStore`].

pub use chat_memory_core::checkpoints::*;

use crate::Error;
use crate::store::url::StoreUrl;

/// Opens the checkpoints at a store URL, as [`chat_memory::open`](crate::open) opens its sessions: `sqlite:PATH`, `dynamodb://TABLE`
/// (a table with a partition key and a sort key) or `memory:`. The URL's `namespace` and `retention` apply to threads, too. Sessions
/// and threads in one table or file do not meet, whatever their names.
///
/// ```
/// use chat_memory::SessionId;
/// use chat_memory::checkpoints::{self, CheckpointOptions, NewCheckpoint, Typed};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let store = checkpoints::open("memory:", CheckpointOptions::default()).await?;
/// let json = |text: &str| Typed::new("json", text);
/// store.put(&SessionId::new("trip")?, "", NewCheckpoint::new("1", None, json("{}"), json("{}"))).await?;
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`chat_memory::open`](crate::open); unsupported for a registered scheme.
pub async fn open(url: &str, options: CheckpointOptions) -> Result<CheckpointStore, Error> {
    url.parse::<StoreUrl>()?.open_checkpoints(options).await
}
