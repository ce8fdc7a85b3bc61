//! What all chat-memory stores share: messages, sessions, the store contract, windows and wire formats. Applications use the
//! crate `chat-memory`, which re-exports all of this and adds the stores.

pub mod backend;
pub mod checkpoints;
#[cfg(feature = "conformance")]
pub mod conformance;
mod data;
mod entry;
pub mod error;
pub mod json;
pub mod memory;
pub mod message;
mod session;
pub mod store;
mod timestamp;
#[cfg(all(feature = "torture", unix))]
pub mod torture;
pub mod wire;

pub use entry::Entry;
pub use error::{Error, ErrorKind};
pub use message::{Content, Message, MessageError, Part, Role, ToolCall};
pub use session::{Namespace, Owner, SessionId};
pub use store::{Append, ChatStore, ChatStoreExt};
pub use timestamp::Timestamp;
