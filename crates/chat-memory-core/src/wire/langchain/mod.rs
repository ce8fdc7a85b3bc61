//! LangChain's stored messages, `{"type", "data"}`: what langchain-core's `messages_to_dict` and LangChain.js's
//! `mapChatMessagesToStoredMessages` write, and what their readers accept.
//!
//! | LangChain | here |
//! |---|---|
//! | type `human`, `ai`, `system`, `tool` | role user, assistant, system, tool |
//! | type `function` | role tool, as OpenAI's older role `function` ([`ROLE_KEY`](super::openai::ROLE_KEY)) |
//! | type `chat` (Python), `generic` (JS) | the role it names if that is one of ours, otherwise user |
//! | `…MessageChunk` | as the message of that name |
//! | `additional_kwargs.__openai_role__: developer` on a system message | OpenAI's role `developer` |
//! | `content`, `name`, `id`, `tool_call_id` | the same |
//! | `content: ""` of an `ai` message with tool calls | no content, which OpenAI writes as `null` |
//! | `tool_calls` with `args`, an object | `tool_calls` with `function.arguments`, the same as JSON text |
//! | `invalid_tool_calls`, whose `args` are a text | `tool_calls` whose arguments are not a JSON object |
//! | a field of `additional_kwargs` | a field of [`Message::extra`] |
//!
//! **Fields that a message has no place for** (`usage_metadata`, `response_metadata`, `artifact`, `status`, the name of a `chat`
//! role …) are kept in `extra` under [`EXTRAS_KEY`], as the difference from what would be written without it: empty for what
//! langchain-core writes by default, and `{"form": "js"}` for what LangChain.js writes.
//!
//! **What LangChain's form has no place for**, or alters (arguments with their own whitespace, fields that are ours alone), is
//! stored in `data.additional_kwargs` under [`OVERLAY_KEY`]: a JSON text with only the fields that differ, which LangChain code
//! passes along unchanged. When the message is read back, the overlay applies only if the rest is as it was written; if LangChain
//! code has edited the visible message, the visible message wins.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{Form, read_each, write_each};
use crate::json;
use crate::message::{Message, MessageError};

mod calls;
mod extras;
mod ordinary;
mod schema;
#[cfg(test)]
mod tests;

pub use super::overlay::{OVERLAY_KEY, Overlay};
use extras::Extras;
use ordinary::Ordinary;
use schema::Stored;

/// The field of [`Message::extra`] for what a message has no place for.
pub const EXTRAS_KEY: &str = "langchain";

pub(super) const FORM: Form = Form {
    name: "langchain",
    title: "LangChain",
    about: "LangChain's stored messages: {\"type\", \"data\"}",
    read: |values| read_each(values, from_value),
    write: |messages| write_each(messages, to_value),
    write_joined: None,
    for_request: None,
};

/// Reads a stored message. [`to_value`] returns an equal value.
///
/// ```
/// use chat_memory::wire::langchain;
/// let value = serde_json::json!({"type": "ai", "data": {
///     "content": "", "additional_kwargs": {}, "response_metadata": {}, "type": "ai", "name": null, "id": null,
///     "tool_calls": [{"name": "get_weather", "args": {"city": "Paris"}, "id": "call_1", "type": "tool_call"}],
///     "invalid_tool_calls": [], "usage_metadata": null,
/// }});
/// let message = langchain::from_value(value.clone())?;
/// assert_eq!(message.tool_calls[0].arguments(), Some(r#"{"city":"Paris"}"#));
/// assert_eq!(langchain::to_value(&message), value);
/// # Ok::<(), chat_memory::MessageError>(())
/// ```
///
/// # Errors
/// [`MessageError`] if the value is not an object with a `type` and `data`, if the type is unknown or is `remove` (an instruction
/// to LangChain that no model should see), or if the message would nest deeper than [`MAX_DEPTH`](crate::json::MAX_DEPTH).
pub fn from_value(value: Value) -> Result<Message, MessageError> {
    let message = read(&Stored::from_value(value)?);
    message.check_depth()?;
    Ok(message)
}

/// Writes a stored message as langchain-core does, for its `messages_from_dict`. [`from_value`] returns an equal message.
///
/// This holds for every message that passes [`Message::check`].
///
/// ```
/// use chat_memory::{Message, wire::langchain};
/// let mut message = Message::user("Hello");
/// let value = langchain::to_value(&message);
/// assert_eq!((&value["type"], &value["data"]["content"]), (&"human".into(), &"Hello".into()));
///
/// message.name = Some("alice".into());
/// assert_eq!(langchain::from_value(langchain::to_value(&message))?, message);
/// # Ok::<(), chat_memory::MessageError>(())
/// ```
pub fn to_value(message: &Message) -> Value {
    json::value(&Written(message))
}

/// A message whose JSON is [`to_value`]'s.
pub(super) struct Written<'a>(pub(super) &'a Message);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Ordinary::of(self.0) {
            Some(ordinary) => ordinary.serialize(serializer),
            None => write(self.0).into_value().serialize(serializer),
        }
    }
}

/// Reads a stored message and applies its overlay if that still agrees with the rest.
fn read(stored: &Stored) -> Message {
    // Agreement is checked by writing, and writing checks itself by reading. Each step down reads an overlay nested in the last one,
    // escaped once more, so there are few.
    let exact = stored.without_overlay().and_then(|(rest, overlay)| Overlay::parse(&overlay)?.applied_to(&decode(&rest)));
    match exact {
        Some(message) if write(&message) == *stored => message,
        _ => decode(stored),
    }
}

/// Whether this is a type of LangChain's messages.
pub fn is_type(kind: &str) -> bool {
    schema::is_known(kind)
}

/// Returns what LangChain code sees of a message: the stored message without the overlay.
pub fn shown(message: &Message) -> Value {
    if let Some(ordinary) = Ordinary::of(message) {
        return json::value(&ordinary);
    }
    let stored = write(message);
    stored.without_overlay().map_or_else(|| stored.clone(), |(rest, _)| rest).into_value()
}

/// Writes any message, and checks that it is read back equal.
fn write(message: &Message) -> Stored {
    let (plain, extras) = Extras::split(message);
    let whole = encode(&plain, &extras);
    if read(&whole) == *message {
        return whole;
    }
    // The form cannot hold everything, so an overlay is needed. The extras still determine how the rest is written, unless they belong
    // to a message that has changed since: what is visible must be the current message.
    let shown = match Extras::split(&decode(&whole)).0 {
        visible if whole.takes_overlay() && schema::looks_same(&visible, &plain) => whole,
        _ => encode(&plain, &extras.beside_message()),
    };
    let overlay = Overlay::between(&decode(&shown), message);
    shown.with_overlay(overlay.to_text())
}

/// Returns the message that a stored message shows, ignoring overlays.
fn decode(stored: &Stored) -> Message {
    let (mut plain, extras) = schema::decode(stored);
    let written = encode(&plain, &extras);
    let extras = extras.completed(stored, &written);
    if let Some(extras) = extras.into_value() {
        plain.extra.insert(EXTRAS_KEY.into(), extras);
    }
    plain
}

/// Returns what LangChain writes for a message without extras, changed as the extras say.
fn encode(plain: &Message, extras: &Extras) -> Stored {
    let kind = extras.kind.clone().unwrap_or_else(|| schema::kind_of(plain).to_owned());
    let data = schema::data(plain, &kind, extras.js);
    extras.applied(Stored::new(kind, data), plain)
}
