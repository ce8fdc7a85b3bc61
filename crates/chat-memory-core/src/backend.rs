//! For authors of stores: building blocks that applications do not need.

pub mod settings;

pub use crate::message::tools::uses_tools;
pub use crate::store::directory::{Cursor, check_metadata, check_title, place};
pub use crate::store::position::{Moment, wall_ms};
