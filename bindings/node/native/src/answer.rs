//! The response of an operation, as JSON.

use chat_memory::{Error, ErrorKind};
use chat_memory_bindings::Response;
use serde::Serialize;
use serde_json::{Serializer, json};

use crate::numbers::Marked;

/// The response: `{"ok": …}` or `{"error": …}`.
pub fn of(result: Result<Response, Error>) -> String {
    result.and_then(|response| succeeded(&response)).unwrap_or_else(|error| failed(&error))
}

/// The JSON is written once, as it may have megabytes.
fn succeeded(response: &Response) -> Result<String, Error> {
    let mut text = br#"{"ok":"#.to_vec();
    let written = response.serialize(&mut Serializer::with_formatter(&mut text, Marked));
    text.push(b'}');
    let wrong = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Invalid, format!("response not written as JSON: {e}"));
    written.map_err(|e| wrong(&e))?;
    String::from_utf8(text).map_err(|e| wrong(&e))
}

/// The JSON `{"error": …}`.
pub fn failed(error: &Error) -> String {
    json!({"error": chat_memory_bindings::error(error)}).to_string()
}
