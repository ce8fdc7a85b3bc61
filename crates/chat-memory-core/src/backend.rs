//! For authors of stores: building blocks that applications do not need.

pub use crate::message::tools::uses_tools;
pub use crate::store::directory::{Cursor, check_metadata, check_title, place};
pub use crate::store::layout::{DEFAULT_ROLL_BYTES, Dialect, Layout, MAX_ROLL_BYTES, MIN_ROLL_BYTES, Roll};
pub use crate::store::position::{Moment, wall_ms};
