//! What both layouts share.

pub(crate) mod names;
pub(crate) mod payload;
pub(crate) mod queue;
pub(crate) mod redact;
pub(crate) mod retry;
pub(crate) mod sessions;
pub(crate) mod size;
pub(crate) mod swept;
pub(crate) mod timing;
pub(crate) mod typed;
