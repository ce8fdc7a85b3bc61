//! The note: what a message has no place for, as a difference from what would be written without it.

use serde_json::{Map, Value};

use super::shape::Stored;
use super::{NOTE_KEY, RIDER_KEY};
use crate::message::Message;

/// How a stored message differs from the one that its message alone would give.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Note {
    /// Another type than the role's usual one.
    pub(super) kind: Option<String>,
    /// As LangChain.js writes it: without the fields that say nothing.
    pub(super) js: bool,
    /// The provider's own tool calls stand in `additional_kwargs` too.
    pub(super) raw_calls: bool,
    /// Fields of `additional_kwargs` whose names mean something else in a message.
    pub(super) kwargs: Map<String, Value>,
    /// Fields of `data` that are other than expected, or more.
    pub(super) data: Map<String, Value>,
    /// Fields of `data` that were expected and are not there.
    pub(super) absent: Vec<String>,
    /// Fields beside `type` and `data`.
    pub(super) beside: Map<String, Value>,
}

impl Note {
    /// A message without its note, and the note. What is no note of ours stays in the message.
    pub(super) fn split(message: &Message) -> (Message, Self) {
        let mut plain = message.clone();
        match message.extra.get(NOTE_KEY).and_then(Self::from_value) {
            Some(note) => {
                plain.extra.shift_remove(NOTE_KEY);
                (plain, note)
            }
            None => (plain, Self::default()),
        }
    }

    /// This note, with all that still tells `written` (what this note gives) from `stored`.
    pub(super) fn completed(mut self, stored: &Stored, written: &Stored) -> Self {
        for (key, value) in &stored.data {
            if written.data.get(key) != Some(value) {
                self.data.insert(key.clone(), value.clone());
            }
        }
        self.absent = written.data.keys().filter(|key| !stored.data.contains_key(*key)).cloned().collect();
        self.absent.sort();
        self.beside.clone_from(&stored.beside);
        self
    }

    /// `stored`, written for `plain`, changed as this note says.
    pub(super) fn applied(&self, mut stored: Stored, plain: &Message) -> Stored {
        if let Some(Value::Object(kwargs)) = stored.data.get_mut("additional_kwargs") {
            kwargs.extend(self.kwargs.clone());
            if self.raw_calls {
                let calls = plain.tool_calls.iter().map(|call| Value::Object(call.fields().clone()));
                kwargs.insert("tool_calls".into(), calls.collect());
            }
        }
        stored.data.extend(self.data.clone());
        for key in &self.absent {
            stored.data.shift_remove(key);
        }
        stored.beside.clone_from(&self.beside);
        stored
    }

    /// What of this note does not touch the message itself, so that it is true of any message.
    pub(super) fn beside_message(&self) -> Self {
        let touches = |key: &str| {
            matches!(
                key,
                "content"
                    | "additional_kwargs"
                    | "type"
                    | "role"
                    | "name"
                    | "id"
                    | "tool_calls"
                    | "invalid_tool_calls"
                    | "tool_call_id"
            )
        };
        let mut note = Self { kind: None, raw_calls: false, ..self.clone() };
        note.kwargs.shift_remove(RIDER_KEY);
        note.kwargs.shift_remove("tool_calls");
        note.data.retain(|key, _| !touches(key));
        note.absent.retain(|key| !touches(key));
        note
    }

    /// The note's JSON, `None` where there is nothing to note.
    pub(super) fn into_value(self) -> Option<Value> {
        let mut fields = Map::new();
        let mut put = |key: &str, value: Option<Value>| value.map(|value| fields.insert(key.to_owned(), value));
        put("type", self.kind.map(Value::String));
        put("form", self.js.then(|| "js".into()));
        put("raw_calls", self.raw_calls.then_some(true.into()));
        put("kwargs", (!self.kwargs.is_empty()).then(|| self.kwargs.into()));
        put("data", (!self.data.is_empty()).then(|| self.data.into()));
        put("absent", (!self.absent.is_empty()).then(|| self.absent.into()));
        put("beside", (!self.beside.is_empty()).then(|| self.beside.into()));
        (!fields.is_empty()).then_some(Value::Object(fields))
    }

    /// The note with this JSON, if it is one.
    fn from_value(value: &Value) -> Option<Self> {
        let mut note = Self::default();
        let object = |value: &Value| value.as_object().filter(|fields| !fields.is_empty()).cloned();
        for (key, value) in value.as_object()? {
            match key.as_str() {
                "type" => note.kind = Some(value.as_str()?.to_owned()),
                "form" => note.js = (value == "js").then_some(true)?,
                "raw_calls" => note.raw_calls = (value == true).then_some(true)?,
                "kwargs" => note.kwargs = object(value)?,
                "data" => note.data = object(value)?,
                "absent" => {
                    note.absent = value.as_array()?.iter().map(|key| key.as_str().map(str::to_owned)).collect::<Option<_>>()?;
                }
                "beside" => note.beside = object(value).filter(|fields| !fields.contains_key("type"))?,
                _ => return None,
            }
        }
        let names_known_type = note.kind.as_deref().is_none_or(super::shape::is_known);
        (names_known_type && !note.beside.contains_key("data")).then_some(note)
    }
}
