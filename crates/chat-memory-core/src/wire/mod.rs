//! Reads and writes messages in other programs' forms, exactly.
//!
//! Each form follows two laws: a list of values that was read is written again equal; and messages that were written are read
//! again equal. "Equal" is JSON's equality: the order of an object's keys does not matter, and `1` and `1.0` differ.
//!
//! A form converts lists, since one value may be several messages (a user's message of Anthropic's with the results of several
//! tools), and one message several values (an answer and its calls are items of their own in OpenAI's Responses API).

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::entry::Entry;
use crate::error::Error;
use crate::message::{Message, MessageError};

pub mod anthropic;
#[cfg(any(test, feature = "arbitrary"))]
#[doc(hidden)]
pub mod arbitrary;
mod exact;
#[cfg(test)]
mod exact_tests;
pub mod langchain;
mod lines;
pub mod openai;
mod overlay;
#[cfg(test)]
mod refused_tests;
pub mod responses;

pub use lines::{JsonLine, JsonLines};

/// A value or message, with the index of the last one on the other side that it is made of.
pub type Placed<T> = (usize, T);

/// The result of reading a list.
type ReadPlaced = Result<Vec<Placed<Message>>, MessageError>;

/// Writes a list.
type WriteList = fn(&[Message]) -> Vec<Placed<Value>>;

/// What a form consists of. Its file has one as `FORM`.
struct Form {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    read: fn(Vec<Value>) -> ReadPlaced,
    write: WriteList,
    /// As `write`, where messages that belong together may be read as one; `None` if each message is one value.
    write_joined: Option<WriteList>,
    /// `None` if it is not the form of a model's API.
    for_request: Option<fn(&[Message]) -> Request>,
}

/// An entry in a form; its JSON is the value.
///
/// ```
/// use chat_memory::{Entry, Message, wire::Format};
/// let written = Format::LangChain.write_entries(vec![Entry::from(Message::user("Hi"))]);
/// assert!(serde_json::to_string(&written[0].1)?.starts_with(r#"{"type":"human""#));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenEntry(Source);

/// What the value is made of when it is serialised; a message is not made a [`Value`] first, where the form permits.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    OpenAi(Message),
    LangChain(Message),
    Other(Map<String, Value>),
    Value(Value),
}

impl Serialize for WrittenEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Source::OpenAi(message) => openai::Written(message).serialize(serializer),
            Source::LangChain(message) => langchain::Written(message).serialize(serializer),
            Source::Other(fields) => fields.serialize(serializer),
            Source::Value(value) => value.serialize(serializer),
        }
    }
}

impl From<Value> for WrittenEntry {
    fn from(value: Value) -> Self {
        Self(Source::Value(value))
    }
}

/// Messages for a request to a model's API: only what the API accepts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The system prompt, if the API takes it outside the messages.
    pub system: Option<Value>,
    /// The values, each with the index of the last message that it shows.
    pub messages: Vec<Placed<Value>>,
}

/// Defines [`Format`] from the list of forms.
macro_rules! formats {
    ($($(#[$more:meta])* $name:ident = $form:ident: $doc:literal,)+) => {
        /// The form in which messages are read and written.
        ///
        /// ```
        /// use chat_memory::wire::Format;
        /// let format: Format = "langchain".parse()?;
        /// let lines = r#"{"type": "human", "data": {"content": "Hello"}}"#;
        /// let messages = format.messages(lines.as_bytes())?;
        /// assert_eq!(Format::OpenAi.write(&messages)[0]["role"], "user");
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[non_exhaustive]
        pub enum Format {
            $(#[doc = $doc] $(#[$more])* $name,)+
        }

        impl Format {
            /// All forms.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            fn form(self) -> &'static Form {
                match self {
                    $(Self::$name => &$form::FORM,)+
                }
            }
        }
    };
}

formats! {
    #[default] OpenAi = openai: "OpenAI's chat messages: [`openai`].",
    LangChain = langchain: "LangChain's stored messages: [`langchain`].",
    Anthropic = anthropic: "The messages of Anthropic's Messages API: [`anthropic`].",
    Responses = responses: "The items of OpenAI's Responses API: [`responses`].",
}

impl Format {
    /// Returns the form's name.
    pub fn as_str(self) -> &'static str {
        self.form().name
    }

    /// Returns the form's title, for people.
    pub fn title(self) -> &'static str {
        self.form().title
    }

    /// Describes the form in a few words, for help texts.
    pub fn about(self) -> &'static str {
        self.form().about
    }

    /// Writes entries: messages in this form, other entries as they are; each value with the index of the last entry that it shows.
    pub fn write_entries(self, entries: Vec<Entry>) -> Vec<Placed<WrittenEntry>> {
        let write_one = self.write_one();
        let (mut written, mut run) = (Vec::with_capacity(entries.len()), Vec::new());
        let count = entries.len();
        let write_run = |run: &mut Vec<Message>, written: &mut Vec<_>, next: usize| {
            let first = next - run.len();
            let values = self.write_placed(&std::mem::take(run));
            written.extend(values.into_iter().map(|(place, value)| (first + place, value.into())));
        };
        for (place, entry) in entries.into_iter().enumerate() {
            match (entry, write_one) {
                (Entry::Message(message), Some(write)) => written.push((place, WrittenEntry(write(message)))),
                (Entry::Message(message), None) => run.push(message),
                (Entry::Other(fields), _) => {
                    write_run(&mut run, &mut written, place);
                    written.push((place, WrittenEntry(Source::Other(fields))));
                }
            }
        }
        write_run(&mut run, &mut written, count);
        written
    }

    /// Returns how one message becomes one value. In the other forms one value may be several messages.
    fn write_one(self) -> Option<fn(Message) -> Source> {
        match self {
            Self::OpenAi => Some(Source::OpenAi),
            Self::LangChain => Some(Source::LangChain),
            _ => None,
        }
    }

    /// Reads a list of messages.
    ///
    /// # Errors
    /// [`MessageError`] if a value is not a message of this form; it has the [place](MessageError::place) in the list.
    ///
    /// ```
    /// use chat_memory::wire::Format;
    /// use serde_json::json;
    /// let results = json!({"role": "user", "content": [
    ///     {"type": "tool_result", "tool_use_id": "t1", "content": "21 °C"},
    ///     {"type": "tool_result", "tool_use_id": "t2", "content": "Sunny"},
    /// ]});
    /// let messages = Format::Anthropic.read(vec![results.clone()])?;
    /// assert_eq!(messages[1].tool_call_id.as_deref(), Some("t2"));
    /// assert_eq!(Format::Anthropic.write(&messages), [results]);
    /// # Ok::<(), chat_memory::MessageError>(())
    /// ```
    pub fn read(self, values: Vec<Value>) -> Result<Vec<Message>, MessageError> {
        Ok(second(self.read_placed(values)?))
    }

    /// Like [`read`](Self::read), with the index of the last value that each message is made of.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_placed(self, values: Vec<Value>) -> Result<Vec<Placed<Message>>, MessageError> {
        (self.form().read)(values)
    }

    /// Writes messages as a list. [`read`](Self::read) returns equal ones.
    ///
    /// This holds for all messages that pass [`Message::check`].
    pub fn write(self, messages: &[Message]) -> Vec<Value> {
        second(self.write_placed(messages))
    }

    /// Like [`write`](Self::write), with the index of the last message that each value shows.
    pub fn write_placed(self, messages: &[Message]) -> Vec<Placed<Value>> {
        (self.form().write)(messages)
    }

    /// Writes messages as values that a program passes on, such as a window for an agent: what was [read](Self::read) is written again
    /// equal, also if it was read in several lists. Unlike with [`write_placed`](Self::write_placed), values that belong together may be read
    /// as one message: no value carries a field only to prevent that.
    ///
    /// ```
    /// use chat_memory::wire::Format;
    /// use serde_json::json;
    /// // An agent stores the items of one answer one by one.
    /// let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"});
    /// let call = json!({"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"});
    /// let mut messages = Format::Responses.read(vec![reasoning.clone()])?;
    /// messages.extend(Format::Responses.read(vec![call.clone()])?);
    /// let written = Format::Responses.write_joined(messages);
    /// assert_eq!(serde_json::to_value(&written[0].1)?, reasoning);
    /// assert_eq!(serde_json::to_value(&written[1].1)?, call);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_joined(self, messages: Vec<Message>) -> Vec<Placed<WrittenEntry>> {
        match (self.write_one(), self.form().write_joined) {
            (Some(write), _) => messages.into_iter().map(|message| WrittenEntry(write(message))).enumerate().collect(),
            (None, write) => {
                let values = write.unwrap_or(self.form().write)(&messages);
                values.into_iter().map(|(place, value)| (place, value.into())).collect()
            }
        }
    }

    /// Writes messages for a request to the API that has this form; `None` if no API has it.
    pub fn for_request(self, messages: &[Message]) -> Option<Request> {
        self.form().for_request.map(|write| write(messages))
    }

    /// Reads the messages of a file, which is a list: values one per line, in a JSON list, or spanning lines.
    ///
    /// # Errors
    /// The first error in the file: as [`JsonLines`], or as [`read`](Self::read) with the place in the file.
    pub fn messages(self, reader: impl std::io::BufRead) -> Result<Vec<Message>, Error> {
        let (mut values, mut places, mut broken) = (Vec::new(), Vec::new(), Ok(()));
        for line in JsonLines::new(reader) {
            match line {
                Ok(line) => {
                    places.push(line.place().to_string());
                    values.push(line.value);
                }
                // A wrong message before it comes first.
                Err(error) => {
                    broken = Err(error);
                    break;
                }
            }
        }
        let messages = self.read(values).map_err(|e| {
            let error = Error::invalid(e.reason().to_owned());
            match places.get(e.place().unwrap_or_default()) {
                Some(place) => error.context(place),
                None => error,
            }
        })?;
        broken.map(|()| messages)
    }
}

/// Returns when each value of a written list was sent, or each message of a read one, from the times on the other side: when the last
/// one was that it is made of.
///
/// ```
/// use chat_memory::wire::times_of;
/// // The first value is made of messages 0 and 1, the second of message 2.
/// let written = [(1, "a"), (2, "b")];
/// assert_eq!(times_of(&written, &[Some(10), Some(11), None]), [Some(11), None]);
/// ```
pub fn times_of<V, T: Copy>(placed: &[Placed<V>], times: &[Option<T>]) -> Vec<Option<T>> {
    placed.iter().map(|(place, _)| times.get(*place).copied().flatten()).collect()
}

fn second<T>(placed: Vec<Placed<T>>) -> Vec<T> {
    placed.into_iter().map(|(_, of)| of).collect()
}

/// Reads values that are one message each.
fn read_each(values: Vec<Value>, read: fn(Value) -> Result<Message, MessageError>) -> Result<Vec<Placed<Message>>, MessageError> {
    let read = |(place, value)| Ok((place, read(value).map_err(|e| e.at(place))?));
    values.into_iter().enumerate().map(read).collect()
}

/// Writes messages that are one value each.
fn write_each(messages: &[Message], write: fn(&Message) -> Value) -> Vec<Placed<Value>> {
    messages.iter().map(write).enumerate().collect()
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|format| format.as_str() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|format| format.as_str()).collect();
            Error::invalid(format!("unknown message format {name:?}: expected one of {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_names_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().expect("its own name"), *format);
        }
        let error = "OpenAI ".parse::<Format>().expect_err("not a name");
        assert!(error.is_invalid() && error.to_string().contains("openai, langchain, anthropic, responses"), "{error}");
    }

    #[test]
    fn first_error_of_a_file_names_its_line() {
        let good = "{\"role\":\"user\",\"content\":\"a\"}\n";
        let read = |text: &str| Format::OpenAi.messages(text.as_bytes());
        assert_eq!(read(&format!("\n{good}  \n{good}")).expect("good").len(), 2);
        for rest in ["", good, "not JSON\n"] {
            let error = read(&format!("\n{good}{{\"role\":\"bot\"}}\n  \n{rest}")).expect_err("no such role");
            assert!(error.is_invalid() && error.to_string().starts_with("line 3: unknown role \"bot\""), "{error}");
        }
        let error = read(&format!("{good}{good}not JSON\n{good}")).expect_err("not JSON");
        assert!(error.to_string().contains("line 3"), "{error}");
    }
}
