//! Shared test support for this workspace: [DynamoDB Local](dynamodb_endpoint), a [proxy that injects faults](FaultProxy) in
//! front of it, and [real conversations](shared_conversations).
//!
//! Everything here is for tests: a missing prerequisite is a panic with the remedy.

pub mod children;
mod conversations;
pub mod crash;
mod local;
pub mod peers;
mod proxy;
mod secrets;
#[cfg(feature = "stores")]
mod stores;
#[cfg(feature = "tables")]
mod tables;
#[cfg(feature = "trace")]
mod trace;

pub use conversations::{Conversation, conversations_path, sample_path, shared_conversations};
pub use local::{credentials_env, dynamodb_endpoint, table_name};
pub use proxy::{Answer, Fault, FaultProxy, Gate, Plan, Recorded, Request, Seeded};
pub use secrets::Secrets;
#[cfg(feature = "stores")]
pub use stores::{dynamodb_url, list_url, open_checkpoints, sqlite_url, store_urls};
#[cfg(feature = "tables")]
pub use tables::{client, client_at, new_table};
#[cfg(feature = "trace")]
pub use trace::Traced;
