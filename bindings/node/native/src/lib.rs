//! The stores of the crate `chat-memory`, for the npm package of the same name.
//!
//! The interface is narrow on purpose: for sessions one class with one method, whose request and response are JSON texts, and for
//! checkpoints, whose values are bytes, one class with the operations of the crate. Everything that a JavaScript programmer sees
//! (classes, options, errors, types) is in the TypeScript next to it; everything about sessions and checkpoints is in the crate. A
//! request runs on a thread pool of its own, never on Node's event loop.

mod answer;
mod checkpoints;
mod numbers;

use std::sync::Arc;

use chat_memory::{ChatStore, Error, json};
use chat_memory_bindings::{Request, Response, Setup};
use napi_derive::napi;
use tokio::sync::OnceCell;

/// A store, opened at its first use.
#[napi]
pub struct NativeStore(Arc<Inner>);

struct Inner {
    setup: Setup,
    opened: OnceCell<Arc<dyn ChatStore>>,
}

#[napi]
impl NativeStore {
    /// A store from `setup`, the JSON that `Setup` describes. Does not open it yet.
    ///
    /// # Errors
    /// If the store URL or the credentials are invalid. The error's reason is JSON, as `answer.rs` writes it.
    #[napi(constructor)]
    pub fn new(setup: String) -> napi::Result<Self> {
        let setup = Setup::parse(&setup).map_err(|error| napi::Error::from_reason(answer::failed(&error)))?;
        Ok(Self(Arc::new(Inner { setup, opened: OnceCell::new() })))
    }

    /// Runs an operation, and resolves to the JSON `{"ok": …}` or `{"error": …}`. Never rejects.
    #[napi]
    pub async fn call(&self, operation: String, request: String) -> String {
        let inner = self.0.clone();
        answer::of(inner.call(&operation, &request).await)
    }
}

impl Inner {
    async fn call(&self, operation: &str, request: &str) -> Result<Response, Error> {
        // The project's own parser, since it drops nothing silently and explains errors.
        let request = Request::read(operation, json::parse_document(request.as_bytes())?)?;
        let store = self.opened.get_or_try_init(|| self.setup.open()).await?;
        request.run(store.as_ref()).await
    }
}

/// The mark before the digits of an integer that a JavaScript number cannot hold, in the strings of a response. It is random for
/// each load of the addon, so that no stored text can contain it.
#[napi]
pub fn integer_mark() -> String {
    numbers::mark().to_owned()
}

/// A new session id, a UUIDv7.
#[napi]
pub fn random_session_id() -> String {
    chat_memory::SessionId::random().to_string()
}

/// The version of this addon, which equals its npm package's.
#[napi]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
