//! What the packages for Node and Python share: how to open a store, and its operations, whose parameters and results are JSON
//! values. Each package turns its language's values into these, and writes classes, options and types around them.

mod answer;
mod fork;
mod messages;
mod open;
mod owner;
mod redact;
mod request;
mod search;

pub use answer::{Response, error};
pub use open::Setup;
pub use request::Request;
