//! Reads JSON from outside without silent loss, and explains why a text is not valid JSON.
//!
//! Numbers are read as most JSON libraries read them: a literal without a point or an exponent that fits an `i64` or a `u64`
//! becomes that integer; any other literal becomes the nearest `f64`. Only a literal beyond the largest `f64` is refused. An
//! object with a duplicate key is also refused, because one of the two values would be lost.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Number, Value, de};

mod explain;

use explain::Fault;

/// How deeply a message's JSON may nest. serde_json reads 128 levels and the stored form adds a few; the limit keeps what was
/// acknowledged readable.
pub const MAX_DEPTH: usize = 100;

/// How deeply a text that contains messages may nest: a request's body, a line of a file.
pub const MAX_DOCUMENT_DEPTH: usize = MAX_DEPTH + 4;

/// Why a text is refused: the place, the cause and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON at line {line}, column {column}: {cause}; {remedy}")]
pub struct JsonError {
    line: usize,
    column: usize,
    cause: String,
    remedy: Cow<'static, str>,
    byte: Option<usize>,
    ends: bool,
}

impl JsonError {
    /// Returns the line of the error in the text, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column of the error in that line, in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Returns the cause, without the place and the remedy.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Returns the remedy.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// Returns the offset of the first byte that is not UTF-8, from 0; `None` for other errors.
    pub fn byte(&self) -> Option<usize> {
        self.byte
    }

    /// Whether the text is valid as far as it goes, so that more text could complete it.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.ends
    }

    /// Moves the error into a larger text, in which this one starts at a line and a column, both from 1.
    pub(crate) fn within(mut self, line: usize, column: usize) -> Self {
        if self.line == 1 {
            self.column += column - 1;
        }
        self.line += line - 1;
        self
    }

    /// Moves the error to another place.
    pub(crate) fn at(self, line: usize, column: usize) -> Self {
        Self { line, column, ..self }
    }

    fn of(text: &str, fault: Fault) -> Self {
        let before = text.get(..fault.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            cause: fault.cause,
            remedy: fault.remedy,
            byte: None,
            ends: fault.ends,
        }
    }
}

impl From<JsonError> for crate::error::Error {
    fn from(error: JsonError) -> Self {
        Self::invalid(error.to_string()).with_source(error)
    }
}

/// Parses JSON that comes from outside. A byte order mark at the start is skipped.
///
/// # Errors
/// [`JsonError`] if the text is not JSON, nests deeper than [`MAX_DEPTH`], has a duplicate key in an object, or has a number
/// beyond the largest `f64`.
///
/// ```
/// use chat_memory::json;
/// assert_eq!(json::parse(r#"{"n": 18446744073709551615}"#)?["n"], u64::MAX);
/// assert_eq!(json::parse("2.98023223876953125E-8")?, 2.0_f64.powi(-25));
/// let error = json::parse("1e400").unwrap_err().to_string();
/// assert!(error.starts_with("invalid JSON at line 1, column 1: the number 1e400 is beyond"), "{error}");
/// assert!(json::parse(r#"{"a": 1, "a": 2}"#).is_err(), "one of the two would be lost");
/// # Ok::<(), json::JsonError>(())
/// ```
pub fn parse(text: &str) -> Result<Value, JsonError> {
    parse_within(text, MAX_DEPTH)
}

/// Parses a text that contains messages, such as a request's body or a line of a file. Like [`parse`], but with the depth limit
/// [`MAX_DOCUMENT_DEPTH`], so that a message inside the text may nest as deeply as one by itself.
///
/// # Errors
/// As [`parse`]; also if the bytes are not UTF-8, in which case [`JsonError::byte`] is set.
///
/// ```
/// use chat_memory::json;
/// let error = json::parse_document(b"{\"name\": \"J\xfcrgen\"}").unwrap_err();
/// assert_eq!((error.line(), error.column(), error.byte()), (1, 12, Some(11)));
/// ```
pub fn parse_document(bytes: &[u8]) -> Result<Value, JsonError> {
    parse_document_text(decode(bytes)?)
}

/// Like [`parse_document`], for a string.
pub(crate) fn parse_document_text(text: &str) -> Result<Value, JsonError> {
    parse_within(text, MAX_DOCUMENT_DEPTH)
}

/// Decodes bytes that come from outside.
fn decode(bytes: &[u8]) -> Result<&str, JsonError> {
    match wrong_encoding(bytes) {
        Some(error) => Err(error),
        None => utf8(bytes),
    }
}

/// Recognizes compressed or UTF-16 input by its first bytes.
pub(crate) fn wrong_encoding(bytes: &[u8]) -> Option<JsonError> {
    explain::encoding(bytes).map(|fault| JsonError { byte: Some(0), ..JsonError::of("", fault) })
}

/// Decodes UTF-8.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let (good, bad) = bytes.split_at(error.valid_up_to());
        // Everything before the error is UTF-8.
        let before = std::str::from_utf8(good).unwrap_or_default();
        let fault = Fault { at: before.len(), ..explain::not_utf8(bad, error) };
        JsonError { byte: Some(good.len()), ..JsonError::of(before, fault) }
    })
}

/// The byte order mark with which some programs start a UTF-8 text.
const BYTE_ORDER_MARK: char = '\u{feff}';

fn parse_within(text: &str, limit: usize) -> Result<Value, JsonError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut reader = de::Deserializer::from_str(text);
    let read = strict::value(&mut reader, limit).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let fault = explain::fault(text, limit).unwrap_or_else(|| explain::unexplained(text, &error));
        JsonError::of(text, fault)
    })
}

/// Writes a message or an entry as text. That cannot fail: its keys are texts, and JSON has all its numbers.
pub(crate) fn text(of: &impl serde::Serialize) -> String {
    serde_json::to_string(of).unwrap_or_else(|e| unreachable!("it has no JSON: {e}"))
}

/// Returns a message or an entry as a value, which cannot fail for the same reasons.
pub(crate) fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_else(|e| unreachable!("it has no JSON: {e}"))
}

/// Returns how deeply a value nests: 0 for a scalar, 1 for a flat list or object.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Returns the error text for a value that nests too deeply, such as "message".
pub(crate) fn too_deep(what: &str) -> String {
    format!("{what} nested too deep: the limit is {MAX_DEPTH} levels; flatten it, or store the inner part as a string")
}

/// Reads a `Value` with serde, but with a depth limit and without duplicate keys. Its error texts do not matter: [`explain`]
/// finds the same fault again, with its place.
mod strict {
    use super::{Map, Number, Value, fmt};

    use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

    /// How many more levels are allowed.
    struct Strict(usize);

    pub(super) fn value<'de, D: Deserializer<'de>>(from: D, limit: usize) -> Result<Value, D::Error> {
        Strict(limit).deserialize(from)
    }

    impl Strict {
        fn deeper<E: Error>(&self) -> Result<usize, E> {
            self.0.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))
        }
    }

    impl<'de> DeserializeSeed<'de> for Strict {
        type Value = Value;
        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
            from.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Strict {
        type Value = Value;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }
        fn visit_unit<E>(self) -> Result<Value, E> {
            Ok(Value::Null)
        }
        fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
            Ok(Value::Bool(v))
        }
        fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
            Ok(Value::Number(v.into()))
        }
        fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
            Ok(Value::Number(v.into()))
        }
        fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
            Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
        }
        fn visit_str<E>(self, v: &str) -> Result<Value, E> {
            Ok(Value::String(v.to_owned()))
        }
        fn visit_string<E>(self, v: String) -> Result<Value, E> {
            Ok(Value::String(v))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
            let left = self.deeper()?;
            let mut items = Vec::new();
            while let Some(item) = seq.next_element_seed(Strict(left))? {
                items.push(item);
            }
            Ok(Value::Array(items))
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
            let left = self.deeper()?;
            let mut fields = Map::new();
            while let Some(key) = map.next_key::<String>()? {
                if fields.contains_key(&key) {
                    return Err(A::Error::custom("a key twice in one object"));
                }
                let value = map.next_value_seed(Strict(left))?;
                fields.insert(key, value);
            }
            Ok(Value::Object(fields))
        }
    }
}

#[cfg(test)]
mod tests;
