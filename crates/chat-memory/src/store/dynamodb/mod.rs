//! The DynamoDB store, in two layouts: `turns`, one item a record, and `list`, one item a session as Flowise and LangChain make it
//! (docs/formats.md says what is in each).

pub mod admin;
pub mod iam;
mod list;
mod names;
mod options;
mod queue;
mod retry;
pub(crate) mod sdk;
mod size;
mod store;
mod table;
#[cfg(test)]
mod testing;
mod turns;

/// The decoders of both layouts, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    pub(crate) use super::list::fuzzing as list;
    pub(crate) use super::turns::fuzzing as turns;
}

pub use names::FORMAT_VERSION;
pub use options::{Credentials, MAX_RETENTION, MIN_RETENTION, Options};
pub use store::DynamoDbStore;
pub use turns::{RecordCost, TableSwept, cost_of};

pub use super::layout::{DEFAULT_ROLL_BYTES, Dialect, Layout, MAX_ROLL_BYTES, MIN_ROLL_BYTES, Roll};
