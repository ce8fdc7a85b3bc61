//! The cases, by topic.

use super::Case;

mod append;
mod clear;
mod concurrency;
mod cost;
mod delete;
mod directory;
mod entry;
mod exact;
mod fork;
mod input;
mod key;
mod owner;
mod page;
mod position;
mod random;
mod redact;
mod rewind;
mod search;
mod ticket;
mod window;

pub(super) const ALL: &[Case] = crate::conformance_tests! { @cases table [] };
