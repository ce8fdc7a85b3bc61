//! The stores and their common log. [`ChatStore`] defines the operations; the module of the same name in the crate
//! `chat-memory-core` documents the promises.

pub use chat_memory_core::store::*;
#[cfg(feature = "dynamodb")]
pub use chat_memory_dynamodb as dynamodb;
#[cfg(feature = "sqlite")]
pub use chat_memory_sqlite as sqlite;

pub mod url;
