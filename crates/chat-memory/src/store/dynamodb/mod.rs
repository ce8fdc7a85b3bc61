//! The DynamoDB store: the `turns` layout, one item a record (docs/formats.md says what is in it).

mod item_size;
mod names;
mod options;
mod table;
mod turns;

pub use names::FORMAT_VERSION;
pub use options::{Credentials, Options};
