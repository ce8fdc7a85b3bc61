//! Durable chat memory over HTTP, with a console to look into it: the service behind `chat-memory serve`, as a library.
//!
//! [`Service`] holds what requests share, [`app`] is its router, [`serve`](serve::serve) listens. What a client may send and gets
//! is described by [`openapi`], which is kept as `docs/openapi.json`.
//!
//! ```
//! use chat_memory_server::{Options, Service, app};
//! let service = Service::new("memory:".parse()?, None, Options::default())?;
//! let router: axum::Router = app(service);
//! # Ok::<(), chat_memory::Error>(())
//! ```

mod api;
mod app;
mod auth;
mod console;
mod hub;
pub mod keys;
#[cfg(feature = "lambda")]
pub mod lambda;
mod metered;
mod metrics;
mod problem;
mod service;
mod stores;

pub use api::openapi;
pub use app::app;
pub use service::{Options, Service};
