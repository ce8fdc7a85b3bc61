//! For authors of stores: building blocks that applications do not need.
//!
//! A store that keeps JSON as text needs serde_json's feature `float_roundtrip`: without it, some numbers come back with another last
//! digit, and [promise 6](crate::store) is broken. The conformance suite notices. This crate turns the feature on for the whole build.

pub mod settings;

pub use crate::message::tools::uses_tools;
pub use crate::store::directory::{
    Cursor, check_metadata, check_record_metadata, check_title, first_words, numbers_in_view, place,
};
pub use crate::store::entry_ids::EntryIdCache;
pub use crate::store::position::Moment;
pub use crate::store::search::{Matcher, Reading, SearchPlace, Words, search_by_reading};
