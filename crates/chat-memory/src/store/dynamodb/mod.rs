//! The DynamoDB store: the `turns` layout, one item a record (docs/formats.md says what is in it).

mod options;
mod table;

pub use options::{Credentials, Options};
