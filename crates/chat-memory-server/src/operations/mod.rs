//! What the service does with sessions, for the API and the console alike: writes that are completed, pages, lists and streams.
//!
//! An operation takes an [`Access`](crate::auth::Access), checked by whoever calls it, and returns the library's types. It knows no
//! routes, bodies or pages.

pub(crate) mod cursor;
mod follow;
mod read;
mod search;
mod sessions;
mod stream;
pub(crate) mod threads;
mod write;

pub(crate) use follow::{Update, follow};
pub(crate) use read::{newer, recall};
pub(crate) use search::search;
pub(crate) use sessions::{delete, delete_owner, find, list, read_contents, update};
pub(crate) use stream::records;
pub(crate) use write::{Back, Cleared, append, append_new, clear, fork, plan_fork, redact, replace, rewind};

/// The default number of checkpoints on a page, and the largest: each is read with its state.
pub(crate) const CHECKPOINTS: usize = 20;
pub(crate) const MAX_CHECKPOINTS: usize = 100;

/// The default number of messages or sessions on a page, in the API and in the console.
pub(crate) const PAGE: usize = 100;
