//! Durable chat memory on Amazon DynamoDB, with an embedded default: conversations of unlimited length at a flat cost,
//! each message stored exactly once and given back exactly as it came.
//!
//! A [session](SessionId) is a log of records; one [append](Append) is one record and holds one or more
//! [messages](Message), so a turn is written whole or not at all. The [`store`] module's page says what every store
//! promises.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod json;
pub mod memory;
pub mod message;
mod session;
pub mod store;
#[cfg(all(feature = "torture", unix))]
pub mod torture;
pub mod wire;

pub use error::{Error, ErrorKind};
pub use message::{Content, Message, MessageError, Part, Role, ToolCall};
pub use session::{Namespace, Owner, SessionId};
pub use store::{Append, ChatStore, ChatStoreExt};

/// The README's Rust, compiled as it stands there.
#[cfg(all(doctest, feature = "dynamodb"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
