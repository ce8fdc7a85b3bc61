//! The DynamoDB store: the `turns` layout, one item a record (docs/formats.md says what is in it).

pub mod admin;
pub mod iam;
mod names;
mod options;
pub(crate) mod sdk;
mod size;
mod store;
mod table;
#[cfg(test)]
mod testing;
mod turns;

pub use names::FORMAT_VERSION;
pub use options::{Credentials, MAX_RETENTION, MIN_RETENTION, Options};
pub use store::DynamoDbStore;
pub use turns::TableSwept;
