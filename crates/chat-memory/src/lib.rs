//! Durable chat memory on Amazon DynamoDB, with an embedded default: conversations of unlimited length at a flat cost, each
//! message stored exactly once and returned exactly as it came.
//!
//! A [session](SessionId) is a log of records. One [append](Append) writes one record of one or more [messages](Message), so a
//! turn is written whole or not at all. The [`store`] module documents what every store promises.

pub mod checkpoints;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod store;

#[cfg(all(feature = "torture", unix))]
pub use chat_memory_core::torture;
pub use chat_memory_core::{
    Append, ChatStore, ChatStoreExt, Content, Entry, Error, ErrorKind, Message, MessageError, Namespace, Owner, Part, Role,
    SessionId, Timestamp, ToolCall, backend, error, json, memory, message, wire,
};
#[cfg(feature = "conformance")]
pub use chat_memory_core::{checkpoint_conformance_tests, conformance, conformance_tests};

/// Opens the store at a URL: `sqlite:PATH`, `dynamodb://TABLE`, `memory:` or a [registered](store::url::register) scheme, each with
/// its settings after a `?` (see [`store::url`]).
///
/// ```
/// use chat_memory::{Append, ChatStore, Message, SessionId};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = chat_memory::open("memory:").await?;
/// store.append(&SessionId::new("trip")?, &Append::new([Message::user("Where should we go in May?")])).await?;
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Invalid if it is no store URL; unsupported if this build lacks the store, naming the cargo feature; errors of opening the store.
pub async fn open(url: &str) -> Result<std::sync::Arc<dyn ChatStore>, Error> {
    url.parse::<store::url::StoreUrl>()?.open().await
}

/// Compiles the Rust code in the README.
#[cfg(all(doctest, feature = "dynamodb"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
