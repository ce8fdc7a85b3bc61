//! Durable chat memory over HTTP, with a console: the service behind `chat-memory serve`, as a library.
//!
//! [`Service`] holds what requests share, [`app`] is its router, [`serve`](serve::serve) listens, [`config::Settings`] reads the
//! settings. [`openapi`] describes requests and responses; `docs/openapi.json` is a copy of it.
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
mod client;
pub mod config;
mod console;
mod extract;
pub mod keys;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod log;
mod memory;
mod metered;
mod metrics;
mod operations;
mod problem;
mod secret;
pub mod serve;
mod service;
mod sse;
mod stall;
mod stores;
mod streams;
pub mod threads;
pub mod time;
mod tls;
mod unread;
mod watch;

pub use api::openapi;
pub use app::app;
pub use service::{Options, Service};
pub use tls::TlsFiles;
