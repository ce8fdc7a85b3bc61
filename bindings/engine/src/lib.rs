//! What the packages for Node and Python share: how to open a store, and its operations, whose parameters and results are JSON
//! values. Each package turns its language's values into these, and writes classes, options and types around them.

mod answer;
mod open;
mod request;

pub use answer::Response;
pub use open::Setup;
pub use request::Request;
