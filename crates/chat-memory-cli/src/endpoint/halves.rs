//! Joins characters that an endpoint split in two.
//!
//! Some endpoints stream text by UTF-16 units: an emoji arrives as `"\ud83d"` at the end of one event and `"\ude00"` at the start
//! of the next. Neither is valid text, and serde_json refuses both. Here the first surrogate is held until the second arrives.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

/// Marks the four digits of a surrogate in a string, and escapes itself.
const MARK: char = '\0';

/// Replaces a surrogate without its partner, as everywhere in Unicode.
const LOST: char = char::REPLACEMENT_CHARACTER;

/// The pending surrogates, each with the field that it ended.
#[derive(Debug, Default)]
pub struct Halves(HashMap<String, u16>);

impl Halves {
    /// Parses an event's JSON, and joins pending surrogates with those in it.
    ///
    /// # Errors
    /// As serde_json, unless a lone surrogate is the only problem.
    pub fn read(&mut self, json: &str) -> Result<Value, serde_json::Error> {
        let (mut value, is_marked) = match serde_json::from_str(json) {
            Ok(value) => (value, false),
            Err(error) => match marked(json) {
                Cow::Borrowed(_) => return Err(error),
                Cow::Owned(marked) => (serde_json::from_str(&marked)?, true),
            },
        };
        if is_marked || !self.0.is_empty() {
            self.join(&mut value, &mut String::new(), is_marked);
        }
        Ok(value)
    }

    fn join(&mut self, value: &mut Value, path: &mut String, is_marked: bool) {
        let length = path.len();
        match value {
            Value::String(text) if !text.is_empty() => *text = self.joined(text, path, is_marked),
            Value::Array(items) => {
                for (place, item) in items.iter_mut().enumerate() {
                    // The pieces of calls and choices carry the index that they belong to.
                    let index = item.get("index").and_then(Value::as_u64).unwrap_or(place as u64);
                    path.push_str(&format!("/{index}"));
                    self.join(item, path, is_marked);
                    path.truncate(length);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    path.push('/');
                    path.push_str(name);
                    self.join(field, path, is_marked);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// The text of a field after its pending surrogate; a surrogate at its end becomes pending.
    fn joined(&mut self, text: &str, path: &str, is_marked: bool) -> String {
        let mut units: Vec<u16> = self.0.remove(path).into_iter().collect();
        match is_marked {
            true => units.extend(unmarked(text)),
            false => units.extend(text.encode_utf16()),
        }
        if let Some(half) = units.pop_if(|last| (0xd800..=0xdbff).contains(last)) {
            self.0.insert(path.to_owned(), half);
        }
        char::decode_utf16(units).map(|read| read.unwrap_or(LOST)).collect()
    }
}

/// Replaces each lone surrogate, and each character that equals the mark, by the mark and four digits; returns JSON without lone
/// surrogates unchanged.
fn marked(json: &str) -> Cow<'_, str> {
    let mut out = String::with_capacity(json.len() + 16);
    let (mut rest, mut found) = (json, false);
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (unit, next) = (unit(rest), rest.get(6..).and_then(unit));
        let (taken, half) = match (unit, next) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, None),
            (Some(half @ 0xd800..=0xdfff), _) => (6, Some(half)),
            (Some(0), _) => (6, Some(0)),
            // Another escape: the backslash, and the escaped character.
            _ => (1 + rest[1..].chars().next().map_or(0, char::len_utf8), None),
        };
        match half {
            Some(half) => out.push_str(&format!("\\u{:04x}{half:04x}", u32::from(MARK))),
            None => out.push_str(&rest[..taken]),
        }
        found |= half.is_some_and(|half| half != 0);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    if found { Cow::Owned(out) } else { Cow::Borrowed(json) }
}

/// The UTF-16 unit of the escape at the start of this text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

/// The units of a text with marks.
fn unmarked(text: &str) -> Vec<u16> {
    let mut parts = text.split(MARK);
    let mut units: Vec<u16> = parts.next().into_iter().flat_map(str::encode_utf16).collect();
    for part in parts {
        let (digits, rest) = part.split_at_checked(4).unwrap_or((part, ""));
        units.extend(u16::from_str_radix(digits, 16));
        units.extend(rest.encode_utf16());
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The field `t` of each event.
    fn texts(events: &[&str]) -> Vec<String> {
        let mut halves = Halves::default();
        events.iter().map(|json| halves.read(json).expect(json)["t"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn surrogate_halves_of_two_events_are_joined() {
        assert_eq!(texts(&[r#"{"t":"a\ud83d"}"#, r#"{"t":"\ude00b"}"#]), ["a", "😀b"]);
        assert_eq!(texts(&[r#"{"t":"\ud83d"}"#, r#"{"u":1}"#, r#"{"t":""}"#, r#"{"t":"\ude00"}"#]), ["", "", "", "😀"]);
        assert_eq!(texts(&[r#"{"t":"\ud83d\ude00\ud83d"}"#, r#"{"t":"\ude01\ud83d"}"#, r#"{"t":"\uDE02"}"#]), ["😀", "😁", "😂"]);
        // Separate fields do not interfere with each other.
        assert_eq!(texts(&[r#"{"t":"\ud83d","u":"\ud83c"}"#, r#"{"u":"\udf89","t":"\ude00"}"#]), ["", "😀"]);
        let mut halves = Halves::default();
        halves.read(r#"{"calls":[{"index":0,"a":"\ud83d"},{"index":1,"a":"\ud83c"}]}"#).expect("JSON");
        let read = halves.read(r#"{"calls":[{"index":1,"a":"\udf89"}]}"#).expect("JSON");
        assert_eq!(read["calls"][0]["a"], "🎉");
    }

    #[test]
    fn lone_surrogate_becomes_a_replacement_character() {
        assert_eq!(texts(&[r#"{"t":"a\ud83d"}"#, r#"{"t":"b"}"#]), ["a", "\u{fffd}b"]);
        assert_eq!(texts(&[r#"{"t":"\ude00a\ud83db\u0000\\ud83d\"\ud83d"}"#]), ["\u{fffd}a\u{fffd}b\0\\ud83d\""]);
        assert_eq!(texts(&[r#"{"t":"a\u0000b"}"#, r#"{"t":"\udc00\u00000041"}"#]), ["a\0b", "\u{fffd}\u{0}0041"]);
    }

    #[test]
    fn invalid_json_stays_an_error() {
        for json in ["{", r#"{"t":"\ud8"}"#, r#"{"t":"\ud83d"#, r#"{"t":"\q"}"#, "\\", "\"\\"] {
            assert!(Halves::default().read(json).is_err(), "{json}");
        }
    }
}
