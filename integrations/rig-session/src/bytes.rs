//! Bytes in a message: as text if they are UTF-8, otherwise in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chat_memory::Message;
use serde_json::json;

/// The message field with bytes.
const FIELD: &str = "rig_bytes";

/// Stores bytes in a message.
pub fn put(message: &mut Message, bytes: &[u8]) {
    let value = match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"base64": BASE64.encode(bytes)}),
    };
    message.extra.insert(FIELD.into(), value);
}

/// Returns the bytes in a message, if any.
pub fn of(message: &Message) -> Option<Vec<u8>> {
    let value = message.extra.get(FIELD)?;
    match value.as_str() {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => BASE64.decode(value.get("base64")?.as_str()?).ok(),
    }
}
