//! Redacts entries: replaces what they say, and keeps what others refer to.
//!
//! Works on an entry's JSON, so that every provider's form is covered: what is not known to be harmless goes. A call and its result
//! still refer to each other, and the entry stays what it was: a message in its form, or another entry.

use serde_json::{Map, Value, json};

use super::{Message, tools};
use crate::entry::Entry;
use crate::timestamp::Timestamp;
use crate::wire::openai;

/// The field of a redacted entry with the time of its redaction, as RFC 3339 in UTC.
pub const REDACTED: &str = "redacted";

/// Fields whose text names or refers to something, and says nothing.
const KEPT: [&str; 23] = [
    "type",
    "role",
    "id",
    "uuid",
    "parentUuid",
    "sessionId",
    "timestamp",
    "name",
    "status",
    "state",
    "call_id",
    "tool_call_id",
    "tool_use_id",
    "approval_request_id",
    "toolCallId",
    "toolUseId",
    "tool_name",
    "toolName",
    "server_label",
    "server_name",
    "container_id",
    "output_index",
    "phase",
];

/// Fields with an object that has such fields: a call, a result, or a message inside an entry.
const NESTED: [&str; 13] = [
    "function",
    "custom",
    "function_call",
    "functionCall",
    "functionResponse",
    "function_response",
    "toolUse",
    "tool_use",
    "toolResult",
    "tool_result",
    "toolInvocation",
    "tool_invocation",
    "approval",
];

/// Fields with a list that an item of the Responses API must have. Nothing in it is kept.
const LISTS: [&str; 5] = ["pending_safety_checks", "queries", "tools", "outputs", "summary"];

/// A mouse's buttons in a `computer_call`.
const BUTTONS: [&str; 5] = ["left", "right", "wheel", "back", "forward"];

/// Replaces the texts of entries.
struct Redactor<'a> {
    replacement: &'a str,
}

/// Returns the entry with everything that it says replaced, as it is after a redaction at this time. One that is redacted keeps the
/// time that it names.
pub(crate) fn redacted(entry: &Entry, replacement: &str, at: Timestamp) -> Entry {
    let at = redacted_at(entry).map_or_else(|| at.to_string(), str::to_owned);
    with_marker(entry, replacement, at)
}

/// Whether the entry is what a redaction left of `other`, with any replacement at any time, or of what is left of that.
pub(crate) fn is_left_of(entry: &Entry, other: &Entry) -> bool {
    redacted_at(entry).is_some() && shape(entry) == shape(other)
}

/// What every redaction of the entry leaves alike.
pub(crate) fn shape(entry: &Entry) -> Entry {
    with_marker(entry, "x", String::new())
}

impl Message {
    /// When a [redaction](crate::store::Redaction) replaced what the message said, as RFC 3339 in UTC; `None` if none did.
    pub fn redacted_at(&self) -> Option<&str> {
        time_in(&self.extra)
    }
}

/// When the entry was redacted, as it says.
pub(crate) fn redacted_at(entry: &Entry) -> Option<&str> {
    match entry {
        Entry::Message(message) => message.redacted_at(),
        Entry::Other(fields) => time_in(fields),
    }
}

fn time_in(fields: &Map<String, Value>) -> Option<&str> {
    fields.get(REDACTED)?.as_str().filter(|text| is_time(text))
}

/// Whether a text is a time as we write it. Any other could be what is to be redacted.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    text.len() == FORM.len() && text.as_bytes().iter().zip(FORM).all(fits)
}

fn with_marker(entry: &Entry, replacement: &str, at: String) -> Entry {
    let Value::Object(fields) = entry.to_value() else { return entry.clone() };
    let redactor = Redactor { replacement };
    let mut fields = match entry {
        Entry::Message(_) => redactor.message(&fields),
        Entry::Other(_) => redactor.other(&fields),
    };
    fields.insert(REDACTED.to_owned(), at.into());
    Entry::from_object(fields)
}

impl Redactor<'_> {
    fn text(&self) -> Value {
        self.replacement.into()
    }

    /// A message: what has no known place is left out.
    fn message(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut left = self.fields(fields, |_, _| None);
        // Items of the Responses API whose output has a shape of its own, without which that API refuses them.
        let own = match fields.get("type").and_then(Value::as_str) {
            Some("computer_call_output") => ("output", json!({"type": "computer_screenshot"})),
            Some("shell_call_output") => ("output", json!([])),
            Some("image_generation_call") => ("result", Value::Null),
            _ => return left,
        };
        if let Some(value) = left.get_mut(own.0) {
            *value = own.1;
        }
        left
    }

    /// Another entry: its own texts are replaced, so that a reader that needs them finds them.
    fn other(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut left = self.fields(fields, |key, value| match (key, value) {
            // A copy of the whole line that must parse.
            ("claude_entry", _) => None,
            (_, Value::String(_)) => Some(self.text()),
            _ => None,
        });
        // What made it no message may be gone; without a role it is still none.
        if matches!(Entry::from_object(left.clone()), Entry::Message(_)) {
            left.shift_remove("role");
        }
        left
    }

    fn fields(&self, fields: &Map<String, Value>, unknown: impl Fn(&str, &Value) -> Option<Value>) -> Map<String, Value> {
        let known = |(key, value): (&String, &Value)| {
            let left = self.field(key, value).unwrap_or_else(|| unknown(key, value))?;
            Some((key.clone(), left))
        };
        fields.iter().filter(|(key, _)| *key != REDACTED).filter_map(known).collect()
    }

    /// What is left of a field: `None` if the field is unknown, `Some(None)` if nothing is.
    fn field(&self, key: &str, value: &Value) -> Option<Option<Value>> {
        let left = match (key, value) {
            (_, Value::Null | Value::Bool(_)) => value.clone(),
            (_, Value::String(text)) if text.is_empty() => value.clone(),
            (openai::ROLE_KEY, _) => return Some(openai::is_other_name(value).then(|| value.clone())),
            (_, Value::String(_)) if KEPT.contains(&key) => value.clone(),
            ("content" | "parts", Value::Array(parts)) => self.contents(parts),
            ("content" | "text" | "refusal" | "errorText" | "error", Value::String(_)) => self.text(),
            // They say how a message is read, next to what it says.
            ("langchain", Value::Object(fields)) => return Some(form_of_langchain(fields)),
            ("anthropic" | "responses" | "ai_sdk", Value::Object(fields)) => self.fields(fields, |_, _| None).into(),
            ("tool_calls", Value::Array(calls)) => calls.iter().filter_map(|call| self.nested(call)).collect(),
            ("message", Value::Object(_)) => return Some(self.nested(value)),
            (_, Value::Object(_)) if NESTED.contains(&key) || tools::role_of_item(key).is_some() => {
                return Some(self.nested(value));
            }
            ("action" | "operation", Value::Object(fields)) => self.action(fields),
            ("actions", Value::Array(actions)) => {
                actions.iter().filter_map(|action| Some(self.action(action.as_object()?))).collect()
            }
            ("code", Value::String(_)) => self.text(),
            ("arguments", Value::String(text)) => arguments(text).into(),
            ("arguments" | "args" | "input" | "response", Value::Object(_)) => Map::new().into(),
            (_, Value::Array(_)) if LISTS.contains(&key) => Vec::<Value>::new().into(),
            ("input" | "output" | "result", _) => self.output(value),
            _ => return None,
        };
        Some(Some(left))
    }

    fn nested(&self, value: &Value) -> Option<Value> {
        Some(self.message(value.as_object()?).into())
    }

    /// What a call of the Responses API does: a click, a command, a search. It keeps its type and its shape, and does nothing.
    fn action(&self, fields: &Map<String, Value>) -> Value {
        let left = |(key, value): (&String, &Value)| {
            let left = match value {
                Value::String(text) if key == "type" || (key == "button" && BUTTONS.contains(&text.as_str())) => value.clone(),
                Value::String(_) => self.text(),
                Value::Number(_) => 0.into(),
                Value::Array(_) => json!([]),
                Value::Object(_) => json!({}),
                Value::Null | Value::Bool(_) => value.clone(),
            };
            (key.clone(), left)
        };
        fields.iter().map(left).collect::<Map<_, _>>().into()
    }

    /// A tool's output. The AI SDK's has a type.
    fn output(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) if fields.contains_key("type") && fields.contains_key("value") => {
                Map::from_iter([("type".to_owned(), "text".into()), ("value".to_owned(), self.text())]).into()
            }
            _ => self.text(),
        }
    }

    /// A content's list: calls and results keep their places, and each run of anything else becomes one text in its form.
    fn contents(&self, parts: &[Value]) -> Value {
        let mut left: Vec<Value> = Vec::new();
        let mut is_run = false;
        for part in parts {
            let Value::Object(fields) = part else {
                // Only an entry that is no message has such a list.
                if !std::mem::replace(&mut is_run, true) {
                    left.push(self.text());
                }
                continue;
            };
            // The place of such a request is marked by its type and id.
            let is_request = fields.get("type").is_some_and(|kind| kind == "mcp_approval_request");
            if is_request || tools::is_tool_part(fields) {
                is_run = false;
                left.push(self.tool_part(fields).into());
            } else if !std::mem::replace(&mut is_run, true) {
                let mut text = Map::new();
                if let Some(kind) = fields.get("type") {
                    let kind = kind.as_str().filter(|kind| matches!(*kind, "input_text" | "output_text" | "reasoning_text"));
                    text.insert("type".to_owned(), kind.unwrap_or("text").into());
                }
                text.insert("text".to_owned(), self.text());
                if fields.get("type").is_some_and(|kind| kind == "output_text") {
                    text.insert("annotations".to_owned(), json!([]));
                }
                left.push(text.into());
            }
        }
        left.into()
    }

    fn tool_part(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut left = self.message(fields);
        // Results of tools that the provider ran: their contents have kinds of their own, and no text. Each may be an error.
        let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind.ends_with("_tool_result") && kind != "mcp_tool_result" {
            let content = match fields.get("content") {
                Some(Value::Object(_)) => json!({"type": format!("{kind}_error"), "error_code": "unavailable"}),
                Some(_) => json!([]),
                None => return left,
            };
            left.insert("content".to_owned(), content);
        }
        left
    }
}

/// A call's arguments. Those of a call that nobody could run must not become ones that somebody can.
fn arguments(arguments: &str) -> &'static str {
    let is_object = arguments.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_ok();
    if is_object { "{}" } else { "redacted" }
}

/// The fields of ours that say in which of LangChain's forms a message is.
fn form_of_langchain(fields: &Map<String, Value>) -> Option<Value> {
    let is_kept = |key: &str, value: &Value| match key {
        "type" => value.as_str().is_some_and(|kind| kind.len() < 32 && kind.bytes().all(|byte| byte.is_ascii_alphabetic())),
        "form" => value == "js",
        "raw_calls" => value.is_boolean(),
        _ => false,
    };
    let kept: Map<_, _> =
        fields.iter().filter(|(key, value)| is_kept(key, value)).map(|(key, value)| (key.clone(), value.clone())).collect();
    (!kept.is_empty()).then(|| kept.into())
}

#[cfg(test)]
mod tests;
