//! The stores, and the log that each of them keeps: its operations are [`ChatStore`]'s, and its promises are said in the crate
//! `chat-memory-core`'s module of this name.

pub use chat_memory_core::store::*;
#[cfg(feature = "dynamodb")]
pub use chat_memory_dynamodb as dynamodb;
#[cfg(feature = "sqlite")]
pub use chat_memory_sqlite as sqlite;

pub mod url;
