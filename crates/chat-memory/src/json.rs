//! Reading JSON without losing anything: numbers that no `i64`, `u64` or `f64` holds, and keys that stand
//! twice in one object, are refused where serde_json would round the one and drop the other.

use std::fmt;

use serde_json::{Map, Number, Value, de};

/// How deep a message's JSON may nest. serde_json reads 128 levels; the stored form adds a few of its own,
/// and what was acknowledged must never be too deep to read back.
pub const MAX_DEPTH: usize = 100;

/// Why a text is not JSON that can be kept exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (line {line}, column {column})")]
pub struct JsonError {
    reason: String,
    line: usize,
    column: usize,
}

impl JsonError {
    /// The line of the text where the trouble is, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in that line, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong, without the place.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Parses JSON that comes from outside.
///
/// # Errors
/// [`JsonError`] when the text is not JSON, nests deeper than [`MAX_DEPTH`], has a key twice in one object, or has a
/// number that would have to be rounded.
///
/// ```
/// use chat_memory::json;
/// assert_eq!(json::parse(r#"{"n": 18446744073709551615}"#)?["n"], u64::MAX);
/// assert!(json::parse("18446744073709551616").is_err(), "one more than any integer type holds");
/// assert!(json::parse("3.14159265358979323846").is_err(), "more digits than a float holds");
/// assert!(json::parse(r#"{"a": 1, "a": 2}"#).is_err(), "one of the two would be lost");
/// # Ok::<(), json::JsonError>(())
/// ```
pub fn parse(text: &str) -> Result<Value, JsonError> {
    let mut reader = de::Deserializer::from_str(text);
    let value = strict::value(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(|e| JsonError {
        reason: reason_of(&e),
        line: e.line(),
        column: e.column(),
    })?;
    check_numbers(text)?;
    if depth(&value) > MAX_DEPTH {
        return Err(JsonError { reason: format!("nested deeper than {MAX_DEPTH} levels"), line: 1, column: 1 });
    }
    Ok(value)
}

/// How deep a value nests: 0 for a scalar, 1 for a flat list or object.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// serde_json's message without the place it appends, which we say in our own words.
fn reason_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Looks at each number of a text that is known to be JSON.
fn check_numbers(text: &str) -> Result<(), JsonError> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = after_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = bytes[at..]
                    .iter()
                    .position(|b| !matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .map_or(bytes.len(), |n| at + n);
                let literal = &text[at..end];
                if !is_held_exactly(literal) {
                    let before = &text[..at];
                    return Err(JsonError {
                        reason: format!(
                            "the number {} cannot be kept exactly as a 64-bit integer or float; send it as a string",
                            short(literal)
                        ),
                        line: before.matches('\n').count() + 1,
                        column: at - before.rfind('\n').map_or(0, |n| n + 1) + 1,
                    });
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

fn short(literal: &str) -> String {
    if literal.len() <= 40 { literal.to_owned() } else { format!("{}…", &literal[..40]) }
}

fn after_string(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn is_held_exactly(literal: &str) -> bool {
    if !literal.contains(['.', 'e', 'E']) {
        return literal.parse::<i64>().is_ok() || literal.parse::<u64>().is_ok();
    }
    // Of two shortest decimals that stand for one float and are as near to it, the standard library writes one and
    // serde_json the other: what counts is what we give back, which serde_json writes.
    literal
        .parse::<f64>()
        .ok()
        .and_then(Number::from_f64)
        .is_some_and(|float| Decimal::of(literal) == Decimal::of(&float.to_string()))
}

/// A decimal literal's value: its digits without zeros at either end, and the power of ten of the last one.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn of(literal: &str) -> Option<Self> {
        let (mantissa, exponent) = match literal.split_once(['e', 'E']) {
            // An exponent that no i64 holds belongs to a number that no f64 holds, unless its digits are all 0.
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (literal, 0),
        };
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let kept = all.trim_end_matches('0');
        let dropped = (all.len() - kept.len()) as i64;
        let digits = kept.trim_start_matches('0').to_owned();
        let exponent = if digits.is_empty() { 0 } else { exponent.checked_add(dropped - fraction.len() as i64)? };
        Some(Self { negative, digits, exponent })
    }
}

/// A `Value` read with serde, but with a key that stands twice refused.
mod strict {
    use super::{Map, Number, Value, fmt};

    use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

    struct Strict;

    pub(super) fn value<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        Strict.deserialize(from)
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
            let mut items = Vec::new();
            while let Some(item) = seq.next_element_seed(Strict)? {
                items.push(item);
            }
            Ok(Value::Array(items))
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
            let mut fields = Map::new();
            while let Some(key) = map.next_key::<String>()? {
                let value = map.next_value_seed(Strict)?;
                if fields.contains_key(&key) {
                    return Err(A::Error::custom(format!("the key {key:?} stands twice in one object")));
                }
                fields.insert(key, value);
            }
            Ok(Value::Object(fields))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_kept_or_refused() {
        for kept in
            ["0", "-1", "1.0", "1.10", "1e300", "-1E-7", "0.1", "9223372036854775807", "0.0", "0e9", "5e-324", "123456789.125"]
        {
            let value = parse(kept).unwrap_or_else(|e| panic!("{kept}: {e}"));
            assert_eq!(value.is_f64(), kept.contains(['.', 'e', 'E']), "{kept} changed its kind");
            assert_eq!(parse(&value.to_string()), Ok(value));
        }
        for refused in [
            "18446744073709551616",
            "-9223372036854775809",
            "1e400",
            "1e-400",
            "0.12345678901234567890",
            "1e99999999999999999999",
            "9007199254740993.0",
            "0.5e-9223372036854775808",
        ] {
            assert!(parse(refused).is_err(), "{refused} was rounded");
        }
    }

    #[test]
    fn between_two_equally_near_decimals_the_one_that_comes_back_is_kept() {
        // The float is 140635632025307.125; its neighbours are 1/32 away, so that either of these two stands for it.
        let written = parse("140635632025307.12").expect("what serde_json, Python and JavaScript write").to_string();
        assert_eq!(written, "140635632025307.12");
        assert!(parse("140635632025307.13").is_err(), "its last digit would change");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Any float, and those which often lie in the middle between two decimals of as few digits as tell it apart.
        #[test]
        fn what_we_write_of_a_float_we_read(bits in any::<u64>(), odd in (1_u64 << 52)..(1 << 53), halvings in 0..12) {
            for float in [f64::from_bits(bits), odd as f64 / 2_f64.powi(halvings)] {
                if let Some(number) = Number::from_f64(float) {
                    prop_assert_eq!(parse(&number.to_string()), Ok(Value::Number(number)));
                }
            }
        }
    }

    #[test]
    fn numbers_inside_strings_are_text() {
        assert!(parse(r#"{"a\"1e999": "99999999999999999999999", "b": [1, "\\", 2.5]}"#).is_ok());
    }

    #[test]
    fn errors_name_the_place() {
        let error = parse("{\n \"a\": 1e999999999999\n}").expect_err("out of range");
        assert_eq!(error.line(), 2);
        let error = parse("[1,\n\n 0.30000000000000004440892]").expect_err("rounded");
        assert_eq!((error.line, error.column), (3, 2));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(MAX_DEPTH)).is_ok());
        assert!(parse(&deep(MAX_DEPTH + 1)).is_err());
    }
}
