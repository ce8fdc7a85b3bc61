//! The DynamoDB store, in two layouts: `turns`, one item per record, and `list`, one item per session as Flowise and LangChain
//! store it (see docs/formats.md).

pub mod admin;
mod checkpoints;
mod common;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod iam;
mod layouts;
mod options;
mod store;
mod table;
#[cfg(test)]
mod testing;

pub use common::names::FORMAT_VERSION;
pub use common::swept::TableSweepStats;
pub use layouts::turns::{RecordCost, cost_of};
pub use options::{
    Credentials, DEFAULT_ROLL_BYTES, Dialect, Layout, MAX_RETENTION, MAX_ROLL_BYTES, MIN_RETENTION, MIN_ROLL_BYTES, Options, Roll,
};
pub use store::DynamoDbStore;

/// AWS's price of a million on-demand write units in us-east-1, in dollars (DynamoDB's pricing page, 2026).
pub const WRITE_PRICE: f64 = 0.625;

/// The price of a million on-demand read units, likewise.
pub const READ_PRICE: f64 = 0.125;
