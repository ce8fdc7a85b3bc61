//! Extras keep what a message has no place for, as a difference from what would be written without it.

use serde_json::{Map, Value};

use super::schema::Stored;
use super::{EXTRAS_KEY, OVERLAY_KEY};
use crate::message::Message;

/// How a stored message differs from what its message alone would be written as.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Extras {
    /// A type other than the role's usual one.
    pub(super) kind: Option<String>,
    /// Whether it is written as by LangChain.js: without empty fields.
    pub(super) js: bool,
    /// Whether `additional_kwargs` also holds the provider's own tool calls.
    pub(super) raw_calls: bool,
    /// Fields of `additional_kwargs` whose names have another meaning in a message.
    pub(super) kwargs: Map<String, Value>,
    /// Fields of `data` that differ from the expected ones or are additional.
    pub(super) data: Map<String, Value>,
    /// Expected fields of `data` that are missing.
    pub(super) absent: Vec<String>,
    /// Fields next to `type` and `data`.
    pub(super) others: Map<String, Value>,
}

impl Extras {
    /// Splits a message into the message without its extras, and the extras. Anything else under that key stays in the message.
    pub(super) fn split(message: &Message) -> (Message, Self) {
        let mut plain = message.clone();
        match message.extra.get(EXTRAS_KEY).and_then(Self::from_value) {
            Some(extras) => {
                plain.extra.shift_remove(EXTRAS_KEY);
                (plain, extras)
            }
            None => (plain, Self::default()),
        }
    }

    /// Completes the extras with all remaining differences between `written` (what these extras produce) and `stored`.
    pub(super) fn completed(mut self, stored: &Stored, written: &Stored) -> Self {
        for (key, value) in &stored.data {
            if written.data.get(key) != Some(value) {
                self.data.insert(key.clone(), value.clone());
            }
        }
        self.absent = written.data.keys().filter(|key| !stored.data.contains_key(*key)).cloned().collect();
        self.absent.sort();
        self.others.clone_from(&stored.others);
        self
    }

    /// Changes `stored`, written for `plain`, as these extras say.
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
        stored.others.clone_from(&self.others);
        stored
    }

    /// Returns the part of the extras that does not concern the message itself, so that it applies to any message.
    pub(super) fn beside_message(&self) -> Self {
        let mut extras = Self { kind: None, raw_calls: false, ..self.clone() };
        extras.kwargs.shift_remove(OVERLAY_KEY);
        extras.kwargs.shift_remove("tool_calls");
        extras.data.retain(|key, _| !concerns_message(key));
        extras.absent.retain(|key| !concerns_message(key));
        extras
    }

    /// Returns the extras as JSON; `None` if there are none.
    pub(super) fn into_value(self) -> Option<Value> {
        let mut fields = Map::new();
        let mut put = |key: &str, value: Option<Value>| value.map(|value| fields.insert(key.to_owned(), value));
        put("type", self.kind.map(Value::String));
        put("form", self.js.then(|| "js".into()));
        put("raw_calls", self.raw_calls.then_some(true.into()));
        put("kwargs", (!self.kwargs.is_empty()).then(|| self.kwargs.into()));
        put("data", (!self.data.is_empty()).then(|| self.data.into()));
        put("absent", (!self.absent.is_empty()).then(|| self.absent.into()));
        put("beside", (!self.others.is_empty()).then(|| self.others.into()));
        (!fields.is_empty()).then_some(Value::Object(fields))
    }

    /// Parses extras; `None` if the value is not extras.
    fn from_value(value: &Value) -> Option<Self> {
        let mut extras = Self::default();
        let object = |value: &Value| value.as_object().filter(|fields| !fields.is_empty()).cloned();
        for (key, value) in value.as_object()? {
            match key.as_str() {
                "type" => extras.kind = Some(value.as_str()?.to_owned()),
                "form" => extras.js = (value == "js").then_some(true)?,
                "raw_calls" => extras.raw_calls = (value == true).then_some(true)?,
                "kwargs" => extras.kwargs = object(value)?,
                "data" => extras.data = object(value)?,
                "absent" => {
                    extras.absent = value.as_array()?.iter().map(|key| key.as_str().map(str::to_owned)).collect::<Option<_>>()?;
                }
                "beside" => extras.others = object(value).filter(|fields| !fields.contains_key("type"))?,
                _ => return None,
            }
        }
        let names_known_type = extras.kind.as_deref().is_none_or(super::schema::is_known);
        (names_known_type && !extras.others.contains_key("data")).then_some(extras)
    }
}

/// Whether a field of `data` is made of the message itself.
pub(super) fn concerns_message(key: &str) -> bool {
    matches!(
        key,
        "content" | "additional_kwargs" | "type" | "role" | "name" | "id" | "tool_calls" | "invalid_tool_calls" | "tool_call_id"
    )
}
