//! Entries: what a record holds.

use serde_json::{Map, Value};

use crate::json;
use crate::message::{Message, MessageError, redacted, refused};

/// One entry of a record: a chat message, or any other JSON object, such as a line of an agent's transcript, an item of the
/// Responses API or a summary.
///
/// Other entries are stored, loaded, counted, exported and shown as they are. Windows, wire formats and everything else that a
/// model is shown pass over them.
///
/// What an object is depends on its JSON alone: an object that [`Message::from_value`] accepts is a message, any other is not.
/// Take entries only where a caller says that they are entries. Where messages are expected, [`Message::from_value`] explains what
/// is wrong with an object.
///
/// ```
/// use chat_memory::{Entry, Message};
/// let entry = Entry::from_json(r#"{"type": "summary", "summary": "A trip to Rome", "uuid": "s-1"}"#)?;
/// assert_eq!((entry.kind(), entry.id(), entry.as_message()), (Some("summary"), Some("s-1"), None));
/// assert_eq!(Entry::from_json(r#"{"role": "user", "content": "Hi"}"#)?, Entry::from(Message::user("Hi")));
/// # Ok::<(), chat_memory::MessageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Hash)]
#[non_exhaustive]
pub enum Entry {
    /// A chat message.
    Message(Message),
    /// Any other JSON object, as it came.
    Other(Map<String, Value>),
}

impl From<Message> for Entry {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

impl From<&Message> for Entry {
    fn from(message: &Message) -> Self {
        Self::Message(message.clone())
    }
}

impl From<&Entry> for Entry {
    fn from(entry: &Entry) -> Self {
        entry.clone()
    }
}

impl Entry {
    /// Reads an entry from its JSON object.
    pub fn from_object(fields: Map<String, Value>) -> Self {
        match Message::read(fields) {
            Ok(message) => Self::Message(message),
            Err(fields) => Self::Other(fields),
        }
    }

    /// Reads an entry from its JSON form.
    ///
    /// # Errors
    /// [`MessageError`] if it is not an object.
    pub fn from_value(value: Value) -> Result<Self, MessageError> {
        match value {
            Value::Object(fields) => Ok(Self::from_object(fields)),
            other => Err(refused::not_an_entry(&other)),
        }
    }

    /// Parses an entry's JSON form.
    ///
    /// # Errors
    /// [`MessageError`] as [`json::parse`] and [`Entry::from_value`].
    pub fn from_json(text: &str) -> Result<Self, MessageError> {
        Self::from_value(json::parse(text).map_err(|e| MessageError::new(e.to_string()))?)
    }

    /// Returns the entry's JSON form.
    pub fn to_value(&self) -> Value {
        json::value(self)
    }

    /// Returns the text of the entry's JSON form.
    pub fn to_json(&self) -> String {
        json::text(self)
    }

    /// Returns the message, if it is one.
    pub fn as_message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Other(_) => None,
        }
    }

    /// Returns the message, where nothing else may be.
    ///
    /// # Errors
    /// [`MessageError`] as [`Message::from_value`], if it is none.
    pub fn require_message(&self) -> Result<&Message, MessageError> {
        match self {
            Self::Message(message) => Ok(message),
            Self::Other(fields) => Err(Message::from_value(Value::Object(fields.clone())).err().unwrap_or_else(disguised)),
        }
    }

    /// Returns the message, if it is one.
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Other(_) => None,
        }
    }

    /// Returns the entry's own id, which its writer gave it: the text in its field `id`, else the one in `uuid`.
    /// [`append_new`](crate::ChatStoreExt::append_new) recognizes a repeat of the entry by it.
    pub fn id(&self) -> Option<&str> {
        let (id, fields) = match self {
            Self::Message(message) => (message.id.as_deref(), &message.extra),
            Self::Other(fields) => (fields.get("id").and_then(Value::as_str), fields),
        };
        let is_given = |id: &&str| !id.is_empty();
        id.filter(is_given).or_else(|| fields.get("uuid")?.as_str().filter(is_given))
    }

    /// Returns the `type` of an entry that is not a message, if it has one.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Message(_) => None,
            Self::Other(fields) => fields.get("type")?.as_str(),
        }
    }

    /// Whether this is what [redactions](crate::store::Redaction) left of the other entry, or of what is left of that.
    ///
    /// ```
    /// use chat_memory::{Entry, Message};
    /// let said = Entry::from(Message::user("My card is 4111"));
    /// let left = Entry::from_json(r#"{"role": "user", "content": "[redacted]", "redacted": "2026-11-28T16:30:00.000Z"}"#)?;
    /// assert!(left.is_left_of(&said) && !said.is_left_of(&left));
    /// # Ok::<(), chat_memory::MessageError>(())
    /// ```
    pub fn is_left_of(&self, other: &Self) -> bool {
        redacted::is_left_of(self, other)
    }

    /// Checks that the entry can be stored and loaded unchanged.
    ///
    /// # Errors
    /// [`MessageError`] as [`Message::check`]; also if the fields of an [`Other`](Self::Other) are those of a message, or nest
    /// deeper than [`json::MAX_DEPTH`].
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Message(message) => message.check(),
            Self::Other(fields) if Message::is_form_of(fields) => Err(disguised()),
            Self::Other(fields) if fields.values().map(json::depth).max() >= Some(json::MAX_DEPTH) => {
                Err(MessageError::new(json::too_deep("entry")))
            }
            Self::Other(_) => Ok(()),
        }
    }
}

/// Why an [`Entry::Other`] with the fields of a message is invalid.
fn disguised() -> MessageError {
    MessageError::new("invalid entry: it has the fields of a message; create it with Entry::from_object".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry::from_json(text).expect("an object")
    }

    #[test]
    fn kind_of_an_entry_depends_on_its_json_alone() {
        for message in [r#"{"role":"user"}"#, r#"{"type":"message","role":"assistant","content":[],"id":"m"}"#] {
            assert!(entry(message).as_message().is_some(), "{message}");
        }
        for other in [
            "{}",
            r#"{"type":"summary","summary":"…"}"#,
            r#"{"role":"bot","content":"x"}"#,
            r#"{"role":"user","content":7}"#,
            r#"{"role":null}"#,
            r#"{"type":"user","message":{"role":"user","content":"Hi"},"uuid":"u"}"#,
        ] {
            let read = entry(other);
            assert!(read.as_message().is_none() && read.check().is_ok(), "{other}");
            assert_eq!(read.require_message().err(), Message::from_json(other).err());
            assert_eq!(read.to_value().to_string(), other);
            assert_eq!(Entry::from_value(read.to_value()), Ok(read));
        }
        let error = Entry::from_json("[1]").expect_err("a list").to_string();
        assert_eq!(error, "invalid entry: expected a JSON object, found a list; give one object per entry");
    }

    #[test]
    fn id_is_the_field_id_or_uuid() {
        for (text, id) in [
            (r#"{"id":"a","uuid":"b"}"#, Some("a")),
            (r#"{"id":7,"uuid":"b"}"#, Some("b")),
            (r#"{"role":"user","id":"a"}"#, Some("a")),
            (r#"{"role":"user","content":"x","uuid":"b"}"#, Some("b")),
            (r#"{"role":"user"}"#, None),
            (r#"{"id":""}"#, None),
            (r#"{"uuid":{}}"#, None),
        ] {
            assert_eq!(entry(text).id(), id, "{text}");
        }
    }

    #[test]
    fn entry_that_would_be_read_as_a_message_is_refused() {
        let Value::Object(fields) = Message::user("Hi").to_value() else { panic!("an object") };
        let disguised = Entry::Other(fields);
        let error = disguised.check().expect_err("a message").to_string();
        assert!(error.starts_with("invalid entry: "), "{error}");
        assert_eq!(disguised.require_message().expect_err("another kind").to_string(), error);
        let deep = |levels: usize| {
            Entry::Other(Map::from_iter([("x".to_owned(), (1..levels).fold(Value::Null, |value, _| Value::Array(vec![value])))]))
        };
        assert!(deep(json::MAX_DEPTH).check().is_ok());
        assert!(deep(json::MAX_DEPTH + 1).check().is_err());
    }
}
