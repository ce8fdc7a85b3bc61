//! The DynamoDB store: the `turns` layout, one item a record (docs/formats.md says what is in it).

pub mod admin;
pub mod iam;
mod names;
mod options;
#[allow(dead_code, reason = "until the protocol uses it")]
pub(crate) mod sdk;
#[allow(dead_code, reason = "until the protocol uses it")]
mod size;
#[allow(dead_code, reason = "until the protocol uses it")]
mod table;
#[cfg(test)]
mod testing;

pub use options::{Credentials, MAX_RETENTION, MIN_RETENTION, Options};
