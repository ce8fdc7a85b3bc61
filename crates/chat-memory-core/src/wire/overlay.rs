//! An overlay keeps what a form has no place for, as a difference between the exact message and the visible one.

use serde_json::{Map, Value};

use crate::message::Message;

/// The field for what a form has no place for: of a value, or of LangChain's `data.additional_kwargs`.
pub const OVERLAY_KEY: &str = "chat_memory";

/// The fields of the message's own JSON that differ from the visible message.
#[derive(Debug, Default, PartialEq)]
pub struct Overlay {
    /// Fields with another value, or missing from the visible message.
    pub set: Map<String, Value>,
    /// Fields that only the visible message has, sorted.
    pub unset: Vec<String>,
}

impl Overlay {
    /// Computes the difference.
    pub fn between(visible: &Message, exact: &Message) -> Self {
        let (visible, exact) = (fields(visible), fields(exact));
        let set = exact.iter().filter(|(key, value)| visible.get(*key) != Some(value));
        let mut unset: Vec<_> = visible.keys().filter(|key| !exact.contains_key(*key)).cloned().collect();
        // A visible message that was stored elsewhere may come back with its keys reordered.
        unset.sort();
        Self { set: set.map(|(key, value)| (key.clone(), value.clone())).collect(), unset }
    }

    /// Returns the exact message, if the result is one.
    pub fn applied_to(self, visible: &Message) -> Option<Message> {
        if self.unset.is_empty() && !self.set.keys().any(|key| Message::FIELDS.contains(&key.as_str())) {
            // Any value is good for such a field.
            let mut message = visible.clone();
            for (key, value) in self.set {
                message.extra.shift_remove(&key);
                message.extra.insert(key, value);
            }
            return Some(message);
        }
        let mut fields = fields(visible);
        for key in &self.unset {
            fields.shift_remove(key);
        }
        for (key, value) in self.set {
            // Appended at the end, so that these keep the order of the overlay's text, whatever the order of the visible ones.
            fields.shift_remove(&key);
            fields.insert(key, value);
        }
        Message::from_value(Value::Object(fields)).ok()
    }

    /// A text rather than JSON: it survives stores that support fewer numbers than JSON does (DynamoDB turns 1.0 into 1 and
    /// refuses 1e300), and it does not add to the message's nesting depth.
    pub(super) fn to_text(&self) -> String {
        self.to_value().to_string()
    }

    pub(super) fn to_value(&self) -> Value {
        let mut overlay = Map::new();
        if !self.set.is_empty() {
            overlay.insert("set".into(), self.set.clone().into());
        }
        if !self.unset.is_empty() {
            overlay.insert("unset".into(), self.unset.clone().into());
        }
        Value::Object(overlay)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        // Not the strict parser: this nests a level deeper than the message, and writing it again checks whether the text is
        // exactly ours.
        Self::from_value(serde_json::from_str(text).ok()?)
    }

    pub(super) fn from_value(value: Value) -> Option<Self> {
        let mut overlay = Self::default();
        let Value::Object(fields) = value else { return None };
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("set", Value::Object(set)) => overlay.set = set,
                ("unset", Value::Array(keys)) => {
                    overlay.unset = keys.iter().map(|key| key.as_str().map(str::to_owned)).collect::<Option<_>>()?;
                }
                _ => return None,
            }
        }
        Some(overlay)
    }
}

fn fields(message: &Message) -> Map<String, Value> {
    match message.to_value() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
