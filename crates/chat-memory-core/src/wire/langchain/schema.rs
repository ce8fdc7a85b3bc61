//! The schema of LangChain's messages, type by type: what it writes for each of our messages.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::calls;
use super::extras::Extras;
use super::{EXTRAS_KEY, OVERLAY_KEY};
use crate::json;
use crate::message::{Content, Message, MessageError, Part, Role, ToolCall, refused};
use crate::wire::openai::{self, ROLE_KEY};

/// Where langchain-core stores OpenAI's role `developer`.
const DEVELOPER_KEY: &str = "__openai_role__";

/// A stored message: `type`, `data`, and any fields next to them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) kind: String,
    pub(super) data: Map<String, Value>,
    pub(super) others: Map<String, Value>,
}

impl Stored {
    pub(super) fn new(kind: String, data: Map<String, Value>) -> Self {
        Self { kind, data, others: Map::new() }
    }

    pub(super) fn from_value(value: Value) -> Result<Self, MessageError> {
        let Value::Object(mut others) = value else { return Err(refused::not_stored(&value)) };
        let (kind, data) = match (others.get("type"), others.get("data")) {
            (Some(Value::String(kind)), Some(Value::Object(_))) => (kind.clone(), others.shift_remove("data")),
            // Its other fields identify it.
            (Some(Value::String(kind)), None) if kind == "remove" => return Err(removes()),
            _ => return Err(refused::not_stored(&Value::Object(others))),
        };
        others.shift_remove("type");
        if kind == "remove" {
            return Err(removes());
        }
        if !is_known(&kind) {
            return Err(refused::unknown_type(&kind));
        }
        let Some(Value::Object(data)) = data else { return Err(refused::not_stored(&Value::Object(others))) };
        Ok(Self { kind, data, others })
    }

    pub(super) fn into_value(self) -> Value {
        let mut fields = Map::from_iter([("type".to_owned(), self.kind.into()), ("data".to_owned(), self.data.into())]);
        fields.extend(self.others);
        Value::Object(fields)
    }

    pub(super) fn kwargs(&self) -> Option<&Map<String, Value>> {
        self.data.get("additional_kwargs")?.as_object()
    }

    /// Whether an overlay can be added and removed again without other changes.
    pub(super) fn takes_overlay(&self) -> bool {
        self.kwargs().is_some_and(|kwargs| !kwargs.contains_key(OVERLAY_KEY))
    }

    pub(super) fn with_overlay(mut self, overlay: String) -> Self {
        if let Some(Value::Object(kwargs)) = self.data.get_mut("additional_kwargs") {
            kwargs.insert(OVERLAY_KEY.into(), overlay.into());
        }
        self
    }

    pub(super) fn without_overlay(&self) -> Option<(Self, String)> {
        let overlay = self.kwargs()?.get(OVERLAY_KEY)?.as_str()?.to_owned();
        let mut rest = self.clone();
        if let Some(Value::Object(kwargs)) = rest.data.get_mut("additional_kwargs") {
            kwargs.shift_remove(OVERLAY_KEY);
        }
        Some((rest, overlay))
    }
}

/// The error for an instruction to LangChain that is not part of a conversation.
fn removes() -> MessageError {
    MessageError::new(
        "stored message of type \"remove\": it tells LangChain to delete a message and is not part of the conversation; leave it out"
            .into(),
    )
}

/// What the types of messages have in common, whole or chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Human,
    Ai,
    System,
    Tool,
    Function,
    /// Any role, by name.
    Chat,
}

impl Family {
    fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "human" | "HumanMessageChunk" => Self::Human,
            "ai" | "AIMessageChunk" => Self::Ai,
            "system" | "SystemMessageChunk" => Self::System,
            "tool" | "ToolMessageChunk" => Self::Tool,
            "function" | "FunctionMessageChunk" => Self::Function,
            "chat" | "generic" | "ChatMessageChunk" => Self::Chat,
            _ => return None,
        })
    }

    fn role(self, data: &Map<String, Value>) -> Role {
        match self {
            Self::Human => Role::User,
            Self::Ai => Role::Assistant,
            Self::System => Role::System,
            Self::Tool | Self::Function => Role::Tool,
            Self::Chat => match data.get("role").and_then(Value::as_str) {
                Some("assistant" | "ai") => Role::Assistant,
                Some("system" | "developer") => Role::System,
                Some("tool") => Role::Tool,
                _ => Role::User,
            },
        }
    }
}

/// Whether it is a type of LangChain's messages.
pub(super) fn is_known(kind: &str) -> bool {
    Family::of(kind).is_some()
}

/// Returns the type that LangChain gives such a message.
pub(super) fn kind_of(message: &Message) -> &'static str {
    match (message.role, openai::other_name(message.role, &message.extra)) {
        (Role::System, _) => "system",
        (Role::User, _) => "human",
        (Role::Assistant, _) => "ai",
        (Role::Tool, Some("function")) => "function",
        (Role::Tool, _) => "tool",
    }
}

/// Whether a field of `extra` goes into `additional_kwargs` under its own name, and back.
pub(super) fn is_shared(key: &str, value: &Value) -> bool {
    let ours = [EXTRAS_KEY, OVERLAY_KEY, ROLE_KEY, DEVELOPER_KEY];
    !ours.contains(&key) && !Message::FIELDS.contains(&key) && is_shown(value)
}

/// How deeply a value of the visible message may nest.
const MAX_SHOWN_DEPTH: usize = json::MAX_DEPTH - 10;

/// Whether a value may be part of the visible message. The levels that LangChain's form adds must not make the whole too deep to
/// be read again; deeper values go into the overlay as text.
pub(super) fn is_shown(value: &Value) -> bool {
    json::depth(value) <= MAX_SHOWN_DEPTH
}

/// Whether a content may be part of the visible message.
pub(super) fn content_is_shown(content: &Content) -> bool {
    let of_part = |part: &Part| 1 + part.fields().values().map(json::depth).max().unwrap_or(0);
    match content {
        Content::Parts(parts) => parts.iter().map(of_part).max().unwrap_or(0) < MAX_SHOWN_DEPTH,
        Content::Text(_) => true,
    }
}

/// Returns the `data` of a message without extras, as langchain-core writes it, or (`js`) as LangChain.js does: without the
/// defaults.
pub(super) fn data(message: &Message, kind: &str, js: bool) -> Map<String, Value> {
    match json::value(&Data::of(message, kind, js)) {
        Value::Object(data) => data,
        _ => Map::new(),
    }
}

/// The `data` of a message, to be written.
pub(super) struct Data<'a> {
    message: &'a Message,
    pub(super) kind: &'a str,
    family: Option<Family>,
    js: bool,
    calls: Vec<Value>,
    invalid_calls: Vec<Value>,
    /// Fields in place of those that the schema gives, and additional ones.
    set: Option<&'a Map<String, Value>>,
}

impl<'a> Data<'a> {
    pub(super) fn of(message: &'a Message, kind: &'a str, js: bool) -> Self {
        let family = Family::of(kind);
        let (calls, invalid_calls) = match family {
            Some(Family::Ai) => calls::to_stored(&message.tool_calls),
            _ => Default::default(),
        };
        Self { message, kind, family, js, calls, invalid_calls, set: None }
    }

    /// Sets fields in place of those that the schema gives, and additional ones.
    pub(super) fn setting(self, set: Option<&'a Map<String, Value>>) -> Self {
        Self { set, ..self }
    }

    /// Returns the calls that it shows.
    pub(super) fn shown_calls(&self) -> Vec<ToolCall> {
        calls::from_stored(&self.calls, &self.invalid_calls)
    }

    fn content(&self) -> Cow<'a, Content> {
        match &self.message.content {
            Some(content) if content_is_shown(content) => Cow::Borrowed(content),
            _ => Cow::Owned(plain_text(self.message).into()),
        }
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { message, js, set, .. } = *self;
        let mut data = Fields { map: serializer.serialize_map(None)?, set, written: Vec::new() };
        data.put("content", &self.content())?;
        data.put("additional_kwargs", &Kwargs(self))?;
        data.put("response_metadata", &Map::new())?;
        if !js {
            data.put("type", self.kind)?;
        }
        match &message.name {
            Some(name) => data.put("name", name)?,
            // The only type that must have a name.
            None if self.family == Some(Family::Function) => data.put("name", "")?,
            None if !js => data.put("name", &Value::Null)?,
            None => {}
        }
        match &message.id {
            Some(id) => data.put("id", id)?,
            None if !js => data.put("id", &Value::Null)?,
            None => {}
        }
        match self.family {
            Some(Family::Ai) => {
                data.put("tool_calls", &self.calls)?;
                data.put("invalid_tool_calls", &self.invalid_calls)?;
                if !js {
                    data.put("usage_metadata", &Value::Null)?;
                }
            }
            Some(Family::Tool) => {
                data.put("tool_call_id", message.tool_call_id.as_deref().unwrap_or_default())?;
                if !js {
                    data.put("artifact", &Value::Null)?;
                    data.put("status", "success")?;
                }
            }
            Some(Family::Chat) => data.put("role", message.role.as_str())?,
            Some(Family::Human | Family::System | Family::Function) | None => {}
        }
        data.end()
    }
}

/// Writes the fields of an object, with those that are set otherwise.
struct Fields<'a, M> {
    map: M,
    set: Option<&'a Map<String, Value>>,
    /// Which of the set ones are written.
    written: Vec<&'static str>,
}

impl<M: SerializeMap> Fields<'_, M> {
    fn put(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) -> Result<(), M::Error> {
        match self.set.and_then(|set| set.get(key)) {
            Some(other) => {
                self.written.push(key);
                self.map.serialize_entry(key, other)
            }
            None => self.map.serialize_entry(key, value),
        }
    }

    fn end(mut self) -> Result<M::Ok, M::Error> {
        for (key, value) in self.set.into_iter().flatten() {
            if !self.written.contains(&key.as_str()) {
                self.map.serialize_entry(key, value)?;
            }
        }
        self.map.end()
    }
}

/// The field `additional_kwargs`.
struct Kwargs<'a>(&'a Data<'a>);

impl Serialize for Kwargs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Data { message, family, .. } = *self.0;
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in message.extra.iter().filter(|(key, value)| is_shared(key, value)) {
            map.serialize_entry(key, value)?;
        }
        if family == Some(Family::System) && openai::other_name(message.role, &message.extra).is_some() {
            map.serialize_entry(DEVELOPER_KEY, "developer")?;
        }
        map.end()
    }
}

/// Returns the text for a content whose type has no list in LangChain's form. It must not change: an overlay applies only if writing
/// the message again gives what is stored.
fn plain_text(message: &Message) -> String {
    let text = |part: &Part| part.as_text().filter(|_| part.kind() == Some("text")).map(str::to_owned);
    match &message.content {
        None => String::new(),
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Parts(parts)) => parts.iter().filter_map(text).collect(),
    }
}

/// Whether two messages without extras look the same to LangChain code.
pub(super) fn looks_same(a: &Message, b: &Message) -> bool {
    let shown = |message: &Message| {
        let mut data = data(message, kind_of(message), false);
        data.shift_remove("additional_kwargs");
        data
    };
    a.role == b.role && a.tool_call_id == b.tool_call_id && shown(a) == shown(b)
}

/// Returns the message that a stored message shows, without its extras, and the extras as far as it is needed to write it again: the
/// form, the type, and the arguments that a message has no place for.
pub(super) fn decode(stored: &Stored) -> (Message, Extras) {
    let data = &stored.data;
    let family = Family::of(&stored.kind).unwrap_or(Family::Human);
    let text = |key: &str| data.get(key).and_then(Value::as_str).map(str::to_owned);
    let list = |key: &str| data.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut message = Message { content: None, ..Message::new(family.role(data), "") };
    let mut extras = Extras { js: !data.contains_key("type"), ..Extras::default() };
    if family == Family::Function {
        message.extra.insert(ROLE_KEY.into(), "function".into());
    }
    for (key, value) in stored.kwargs().into_iter().flatten() {
        if is_shared(key, value) {
            message.extra.insert(key.clone(), value.clone());
        } else if key == DEVELOPER_KEY && family == Family::System && value == "developer" {
            message.extra.insert(ROLE_KEY.into(), value.clone());
        } else {
            extras.kwargs.insert(key.clone(), value.clone());
        }
    }
    message.name = text("name");
    message.id = text("id");
    match family {
        Family::Tool => message.tool_call_id = text("tool_call_id"),
        Family::Ai => {
            message.tool_calls = calls::from_stored(list("tool_calls"), list("invalid_tool_calls"));
            // Older code keeps the provider's own calls there, with the exact text of the arguments.
            if let Some(raw) = extras.kwargs.get("tool_calls").and_then(|raw| calls::raw(raw, &message.tool_calls)) {
                message.tool_calls = raw;
                extras.kwargs.shift_remove("tool_calls");
                extras.raw_calls = true;
            }
        }
        _ => {}
    }
    message.content = content(data.get("content"));
    let says_nothing = message.content.as_ref().is_none_or(|content| *content == Content::Text(String::new()));
    if says_nothing && !message.tool_calls.is_empty() {
        message.content = None;
        message.extra.insert("content".into(), Value::Null);
    }
    if stored.kind != kind_of(&message) {
        extras.kind = Some(stored.kind.clone());
    }
    (message, extras)
}

fn content(value: Option<&Value>) -> Option<Content> {
    let part = |value: &Value| match value {
        Value::Object(fields) => Part::from(fields.clone()),
        Value::String(text) => Part::text(text.clone()),
        other => Part::text(other.to_string()),
    };
    match value? {
        Value::Null => None,
        Value::String(text) => Some(Content::Text(text.clone())),
        Value::Array(parts) => Some(Content::Parts(parts.iter().map(part).collect())),
        other => Some(Content::Text(other.to_string())),
    }
}
