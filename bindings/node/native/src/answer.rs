//! The response of an operation, as JSON.

use chat_memory::Error;
use serde_json::{Value, json};

use crate::numbers::marked;

/// The response: `{"ok": …}` or `{"error": …}`.
pub fn of(result: Result<Value, Error>) -> String {
    match result {
        Ok(value) => json!({"ok": marked(value)}).to_string(),
        Err(error) => failed(&error),
    }
}

/// The JSON `{"error": {"code", "message", "retryable", "ticket"?, "actual"?}}`.
pub fn failed(error: &Error) -> String {
    json!({"error": {
        "code": error.kind().as_str(),
        "message": error.to_string(),
        "retryable": error.is_retryable(),
        "ticket": error.ticket().map(ToString::to_string),
        "actual": error.actual().map(ToString::to_string),
    }})
    .to_string()
}
