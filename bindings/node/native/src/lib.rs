//! The stores of the crate `chat-memory`, for the npm package of the same name.
//!
//! The border is narrow on purpose: one class with one method, whose request and answer are JSON texts. Everything that a
//! JavaScript programmer sees (classes, options, errors, types) is in the TypeScript beside it; everything about sessions is in the crate.
//! A request runs on a thread pool of its own, never on Node's event loop.

mod answer;
mod numbers;
mod open;
mod request;

use std::sync::Arc;

use chat_memory::{ChatStore, Error};
use napi_derive::napi;
use tokio::sync::OnceCell;

use crate::open::Setup;

/// A store, opened when it is first used.
#[napi]
pub struct NativeStore(Arc<Inner>);

struct Inner {
    setup: Setup,
    opened: OnceCell<Arc<dyn ChatStore>>,
}

#[napi]
impl NativeStore {
    /// A store as `setup` says it, the JSON that `open.rs` describes. Nothing is opened yet.
    ///
    /// # Errors
    /// An error whose reason is the JSON of an error as `answer.rs` writes it, when the store URL or the credentials cannot work.
    #[napi(constructor)]
    pub fn new(setup: String) -> napi::Result<Self> {
        let setup = Setup::parse(&setup).map_err(|error| napi::Error::from_reason(answer::failed(&error)))?;
        Ok(Self(Arc::new(Inner { setup, opened: OnceCell::new() })))
    }

    /// Runs an operation, and resolves to the JSON of `{"ok": …}` or `{"error": …}`. It is never rejected.
    #[napi]
    pub async fn call(&self, operation: String, request: String) -> String {
        let inner = self.0.clone();
        answer::of(inner.call(&operation, &request).await)
    }
}

impl Inner {
    async fn call(&self, operation: &str, request: &str) -> Result<serde_json::Value, Error> {
        let request = request::Request::parse(operation, request)?;
        let store = self.opened.get_or_try_init(|| self.setup.open()).await?;
        request.run(store.as_ref()).await
    }
}

/// The text that stands in front of the digits of an integer which a JavaScript number cannot hold, in the strings of an answer. It is
/// made anew each time the addon is loaded, so that no stored text can be taken for one.
#[napi]
pub fn integer_mark() -> String {
    numbers::mark().to_owned()
}

/// A new session id, a UUIDv7.
#[napi]
pub fn random_session_id() -> String {
    chat_memory::SessionId::random().to_string()
}

/// The version of this addon, which is that of the npm package it belongs to.
#[napi]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
