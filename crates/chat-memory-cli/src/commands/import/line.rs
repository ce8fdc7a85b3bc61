//! A line of the file: one conversation.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_memory::wire::{Format, JsonLine};
use chat_memory::{Error, Message, Owner, SessionId};
use serde_json::{Map, Value};

/// A session as a line of the file has it.
#[derive(Debug)]
pub struct Conversation {
    pub number: usize,
    pub id: SessionId,
    pub messages: Vec<Message>,
    pub owner: Option<Owner>,
    pub title: Option<String>,
    pub metadata: Option<Map<String, Value>>,
}

impl Conversation {
    /// Reads a line; an error says which line and, for a message, which.
    pub fn read(line: JsonLine, format: Format, prefix: &str) -> Result<Self, Error> {
        let place = line.place();
        Self::from_value(line, format, prefix).map_err(|e| e.context(place))
    }

    fn from_value(line: JsonLine, format: Format, prefix: &str) -> Result<Self, Error> {
        let Value::Object(fields) = line.value else {
            return Err(Error::invalid("a line holds a conversation, {\"id\": …, \"messages\": […]}; this is no JSON object"));
        };
        let (mut id, mut messages, mut owner, mut title, mut metadata) = (None, None, None, None, None);
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("id", Value::String(text)) => id = Some(prefixed(prefix, &text)?),
                ("messages", Value::Array(list)) => messages = Some(read_messages(list, format)?),
                ("owner" | "title" | "metadata", Value::Null) => {}
                ("owner", Value::String(text)) => owner = Some(Owner::new(text)?),
                ("title", Value::String(text)) => title = Some(text),
                ("metadata", Value::Object(fields)) => metadata = Some(fields),
                ("id" | "messages" | "owner" | "title" | "metadata", _) => {
                    return Err(Error::invalid(format!(
                        "the field {name:?} is of the wrong type: id, owner and title are text, messages a list, metadata an object"
                    )));
                }
                // Ignoring it would lose it without a word.
                _ => {
                    return Err(Error::invalid(format!(
                        "the field {name:?} has no place in a conversation; its fields are id, messages, owner, title, metadata"
                    )));
                }
            }
        }
        let lacks = |field: &str| Error::invalid(format!("the conversation has no {field:?}"));
        Ok(Self {
            number: line.number,
            id: id.ok_or_else(|| lacks("id"))?,
            messages: messages.ok_or_else(|| lacks("messages"))?,
            owner,
            title,
            metadata,
        })
    }
}

/// The id with the prefix in front, which must not make an id of none.
fn prefixed(prefix: &str, id: &str) -> Result<SessionId, Error> {
    if id.is_empty() { SessionId::new(id) } else { SessionId::new(format!("{prefix}{id}")) }
}

fn read_messages(list: Vec<Value>, format: Format) -> Result<Vec<Message>, Error> {
    let read = |(place, value)| format.read(value).map_err(|e| Error::from(e).context(format_args!("message {}", place + 1)));
    list.into_iter().enumerate().map(read).collect()
}

/// A reader that counts what was read from it.
pub struct Counted<R> {
    reader: R,
    done: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, done: Arc::default() }
    }

    /// The bytes read so far.
    pub fn done(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.done.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
        self.done.fetch_add(n as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Conversation, String> {
        let value = serde_json::from_str(text).expect("JSON");
        Conversation::read(JsonLine { number: 7, item: None, value }, Format::OpenAi, "a/").map_err(|e| e.to_string())
    }

    #[test]
    fn a_conversation_is_read() {
        let text = r#"{"id": "x", "messages": [{"role": "user", "content": "Hi"}], "owner": "o", "title": null}"#;
        let read = read(text).expect("good");
        assert_eq!((read.number, read.id.as_str(), read.messages.len()), (7, "a/x", 1));
        assert_eq!((read.owner.map(|owner| owner.to_string()), read.title), (Some("o".into()), None));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, parts) in [
            ("[]", &["line 7", "no JSON object"][..]),
            (r#"{"messages": []}"#, &["line 7", "\"id\""]),
            (r#"{"id": "x"}"#, &["line 7", "\"messages\""]),
            (r#"{"id": 1, "messages": []}"#, &["line 7", "\"id\"", "wrong type"]),
            (r#"{"id": "", "messages": []}"#, &["line 7", "must not be empty"]),
            (r#"{"id": "x", "messages": [], "tags": []}"#, &["line 7", "\"tags\""]),
            (r#"{"id": "x", "messages": [{"role": "user"}, {"role": "bot"}]}"#, &["line 7", "message 2", "\"bot\""]),
        ] {
            let error = read(text).expect_err(text);
            parts.iter().for_each(|part| assert!(error.contains(part), "{text}: {error}"));
        }
    }
}
