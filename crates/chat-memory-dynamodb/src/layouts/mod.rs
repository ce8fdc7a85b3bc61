//! The layouts. They know nothing of each other.

pub(crate) mod list;
pub(crate) mod turns;
