//! Reads and writes messages in other programs' forms, exactly.
//!
//! Each form follows two laws: a value that was read is written again equal; and a message that was written is read again equal.
//! "Equal" is JSON's equality: the order of an object's keys does not matter, and `1` and `1.0` differ.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::error::Error;
use crate::message::{Message, MessageError};

#[cfg(any(test, feature = "arbitrary"))]
#[doc(hidden)]
pub mod arbitrary;
pub mod langchain;
mod lines;
pub mod openai;
#[cfg(test)]
mod refused_tests;

pub use lines::{JsonLine, JsonLines};

/// The form in which messages are read and written.
///
/// ```
/// use chat_memory::wire::Format;
/// let format: Format = "langchain".parse()?;
/// let lines = r#"{"type": "human", "data": {"content": "Hello"}}"#;
/// let messages: Vec<_> = format.messages(lines.as_bytes()).collect::<Result<_, _>>()?;
/// assert_eq!(Format::OpenAi.write(&messages[0])["role"], "user");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// OpenAI's chat messages: [`openai`].
    #[default]
    OpenAi,
    /// LangChain's stored messages: [`langchain`].
    LangChain,
}

impl Format {
    /// All forms.
    pub const ALL: [Self; 2] = [Self::OpenAi, Self::LangChain];

    /// Returns the form's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::LangChain => "langchain",
        }
    }

    /// Reads one message.
    ///
    /// # Errors
    /// As [`openai::from_value`] and [`langchain::from_value`].
    pub fn read(self, value: Value) -> Result<Message, MessageError> {
        match self {
            Self::OpenAi => openai::from_value(value),
            Self::LangChain => langchain::from_value(value),
        }
    }

    /// Writes one message.
    pub fn write(self, message: &Message) -> Value {
        match self {
            Self::OpenAi => openai::to_value(message),
            Self::LangChain => langchain::to_value(message),
        }
    }

    /// Reads the messages of a file: one per line, a list of them, or messages that span lines.
    ///
    /// # Errors
    /// Per message: as [`JsonLines`], and as [`Format::read`] with the place in front. Reading then resumes as described at
    /// [`JsonLines`].
    pub fn messages<R: std::io::BufRead>(self, reader: R) -> impl Iterator<Item = Result<Message, Error>> {
        JsonLines::new(reader).map(move |line| {
            let line = line?;
            let place = line.place();
            self.read(line.value).map_err(|e| Error::from(e).context(place))
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == name);
        found.ok_or_else(|| Error::invalid(format!("unknown message format {name:?}; it is one of openai, langchain")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().expect("its own name"), format);
        }
        assert!("OpenAI ".parse::<Format>().expect_err("not a name").is_invalid());
    }

    #[test]
    fn an_error_names_its_line_and_the_rest_goes_on() {
        let text = "\n{\"role\":\"user\",\"content\":\"a\"}\n{\"role\":\"bot\"}\n  \n{\"role\":\"user\",\"content\":\"b\"}";
        let mut read = Format::OpenAi.messages(text.as_bytes());
        assert_eq!(read.next().expect("two").expect("good").text(), "a");
        let error = read.next().expect("three").expect_err("no such role");
        assert!(error.is_invalid() && error.to_string().starts_with("line 3: unknown role \"bot\""), "{error}");
        assert_eq!(read.next().expect("five").expect("good").text(), "b");
        assert!(read.next().is_none());
    }
}
