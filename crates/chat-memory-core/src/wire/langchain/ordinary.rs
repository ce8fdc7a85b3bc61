//! Ordinary messages: LangChain's form holds them exactly, which their fields show, so that they are written without reading them
//! back.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::EXTRAS_KEY;
use super::extras::concerns_message;
use super::schema::{self, Data};
use crate::message::{Content, Message, Role};

/// A message that [`decode`](super::decode) reads back from its `data`, with these extras.
pub(super) struct Ordinary<'a>(Data<'a>);

impl<'a> Ordinary<'a> {
    /// Returns `None` for a message with anything unusual, which must be checked.
    pub(super) fn of(message: &'a Message) -> Option<Self> {
        let (js, set) = match message.extra.get(EXTRAS_KEY) {
            None => (false, None),
            Some(extras) => ordinary_extras(extras.as_object()?)?,
        };
        let calls_only = match &message.content {
            None if !message.tool_calls.is_empty() && message.extra.get("content") == Some(&Value::Null) => true,
            // Read back as no content.
            Some(Content::Text(text)) if text.is_empty() && !message.tool_calls.is_empty() => return None,
            Some(content) if schema::content_is_shown(content) => false,
            _ => return None,
        };
        let is_ordinary = |(key, value): (&String, &Value)| {
            key == EXTRAS_KEY || (calls_only && key == "content") || schema::is_shared(key, value)
        };
        // Only an assistant calls tools, and only a tool answers a call.
        let fits = (message.role == Role::Assistant || message.tool_calls.is_empty())
            && (message.role == Role::Tool) == message.tool_call_id.is_some()
            && message.extra.iter().all(is_ordinary);
        if !fits {
            return None;
        }
        let data = Data::of(message, schema::kind_of(message), js).setting(set);
        (message.tool_calls.is_empty() || data.shown_calls() == message.tool_calls).then_some(Self(data))
    }
}

impl Serialize for Ordinary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut stored = serializer.serialize_map(Some(2))?;
        stored.serialize_entry("type", self.0.kind)?;
        stored.serialize_entry("data", &self.0)?;
        stored.end()
    }
}

/// Returns whether these extras are of LangChain.js's form, and the fields of `data` that they set; `None` if they have anything
/// else, or are not as they would be made again.
fn ordinary_extras(extras: &Map<String, Value>) -> Option<(bool, Option<&Map<String, Value>>)> {
    let (mut js, mut set) = (false, None);
    for (key, value) in extras {
        match (key.as_str(), value) {
            ("form", Value::String(form)) if form == "js" => js = true,
            ("data", Value::Object(fields)) if !fields.is_empty() => set = Some(fields),
            _ => return None,
        }
    }
    // A default of the schema would not be kept as a difference from it.
    let is_default = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text == "success",
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let differs = |(key, value): (&String, &Value)| !concerns_message(key) && !is_default(value);
    (!extras.is_empty() && set.into_iter().flatten().all(differs)).then_some((js, set))
}
