//! The DynamoDB store, in two layouts: `turns`, one item per record, and `list`, one item per session as Flowise and LangChain
//! store it (see docs/formats.md).

pub mod admin;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod iam;
mod list;
mod names;
mod options;
mod payload;
mod queue;
mod retry;
pub(crate) mod sdk;
#[cfg(test)]
mod sim;
mod size;
mod store;
mod swept;
mod table;
#[cfg(test)]
mod testing;
mod timing;
mod turns;

pub use names::FORMAT_VERSION;
pub use options::{Credentials, MAX_RETENTION, MIN_RETENTION, Options};
pub use store::DynamoDbStore;
pub use swept::TableSweepStats;
pub use turns::{RecordCost, cost_of};

pub use chat_memory_core::backend::{DEFAULT_ROLL_BYTES, Dialect, Layout, MAX_ROLL_BYTES, MIN_ROLL_BYTES, Roll};
