#![doc = include_str!("../README.md")]

mod event;
mod failure;
mod names;
mod service;
mod session;
mod state;
mod view;

pub use event::{from_messages, to_messages};
pub use service::ChatSessionService;
