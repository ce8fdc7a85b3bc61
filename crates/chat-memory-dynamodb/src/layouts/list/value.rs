//! JSON as DynamoDB values, and back. DynamoDB has fewer numbers than JSON (it stores decimals: 1.0 becomes 1, and 1e300 is
//! refused) and allows less nesting. Whatever it would alter or refuse is written as JSON text, for display only.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};

/// How deep a value may nest in an element. DynamoDB's limit is 32 levels for the whole item.
const MAX_DEPTH: usize = 24;

/// DynamoDB's bounds on a number's magnitude, as powers of ten.
const EXPONENTS: std::ops::RangeInclusive<i64> = -130..=125;

/// Converts a value for the originals to see.
pub(super) fn to_attribute(value: &Value) -> AttributeValue {
    to_depth(value, 0)
}

fn to_depth(value: &Value, depth: usize) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(is) => AttributeValue::Bool(*is),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Number(number) => number_of(number),
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => AttributeValue::S(value.to_string()),
        Value::Array(values) => AttributeValue::L(values.iter().map(|value| to_depth(value, depth + 1)).collect()),
        // DynamoDB allows no empty keys in maps.
        Value::Object(fields) => AttributeValue::M(
            fields
                .iter()
                .filter(|(key, _)| !key.is_empty())
                .map(|(key, value)| (key.clone(), to_depth(value, depth + 1)))
                .collect(),
        ),
    }
}

fn number_of(number: &Number) -> AttributeValue {
    let text = number.to_string();
    let fits = Decimal::of(&text).is_some_and(|decimal| decimal.is_zero() || EXPONENTS.contains(&decimal.magnitude()));
    if fits { AttributeValue::N(text) } else { AttributeValue::S(text) }
}

/// The value that DynamoDB returns after this one was written: numbers become decimals in plain notation.
pub(super) fn as_stored(value: AttributeValue) -> AttributeValue {
    match value {
        AttributeValue::N(number) => match Decimal::of(&number) {
            Some(decimal) => AttributeValue::N(decimal.plain()),
            None => AttributeValue::N(number),
        },
        AttributeValue::L(values) => AttributeValue::L(values.into_iter().map(as_stored).collect()),
        AttributeValue::M(fields) => AttributeValue::M(fields.into_iter().map(|(key, value)| (key, as_stored(value))).collect()),
        other => other,
    }
}

/// Converts a DynamoDB value to JSON with sorted keys.
///
/// # Errors
/// The value is one that JSON cannot hold: binary.
pub(super) fn to_json(value: &AttributeValue) -> Result<Value, String> {
    Ok(match value {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(is) => Value::Bool(*is),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => Value::Number(read_number(number)?),
        AttributeValue::L(values) => values.iter().map(to_json).collect::<Result<_, _>>()?,
        AttributeValue::M(fields) => {
            // DynamoDB does not preserve order.
            let mut keys: Vec<_> = fields.keys().collect();
            keys.sort_unstable();
            let fields = keys.into_iter().map(|key| {
                let value = to_json(&fields[key]).map_err(|why| format!("{key}: {why}"))?;
                Ok((key.clone(), value))
            });
            Value::Object(fields.collect::<Result<Map<_, _>, String>>()?)
        }
        AttributeValue::Ss(texts) => texts.iter().cloned().map(Value::String).collect(),
        AttributeValue::Ns(numbers) => {
            numbers.iter().map(|number| read_number(number).map(Value::Number)).collect::<Result<_, _>>()?
        }
        AttributeValue::B(_) | AttributeValue::Bs(_) => return Err("bytes, which messages cannot contain".to_owned()),
        _ => return Err("a value of a type that this version does not know".to_owned()),
    })
}

/// A number as [`json::parse`](chat_memory_core::json::parse) reads it: a 64-bit integer, or else the nearest `f64`. The attribute
/// itself keeps all digits.
fn read_number(text: &str) -> Result<Number, String> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Ok(number.into());
    }
    let float = text.parse::<f64>().ok().and_then(Number::from_f64);
    float.ok_or_else(|| format!("the number {text}, which is beyond the largest 64-bit float"))
}

/// A number as its digits and a power of ten.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent.parse::<i64>().ok()?.checked_sub(fraction.len() as i64)?;
        let digits = all.trim_start_matches('0');
        let trimmed = digits.trim_end_matches('0');
        if trimmed.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let exponent = exponent.checked_add((digits.len() - trimmed.len()) as i64)?;
        Some(Self { negative, exponent, digits: trimmed.to_owned() })
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The power of ten of the first digit.
    fn magnitude(&self) -> i64 {
        self.exponent + self.digits.len() as i64 - 1
    }

    /// The number in plain notation, as DynamoDB writes it.
    fn plain(&self) -> String {
        let (length, point) = (self.digits.len() as i64, self.digits.len() as i64 + self.exponent);
        let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
        let text = match point {
            _ if self.is_zero() => return "0".to_owned(),
            point if point >= length => format!("{}{}", self.digits, zeros(self.exponent)),
            point if point <= 0 => format!("0.{}{}", zeros(-point), self.digits),
            point => {
                let (whole, fraction) = self.digits.split_at(usize::try_from(point).unwrap_or(0));
                format!("{whole}.{fraction}")
            }
        };
        if self.negative { format!("-{text}") } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_integers_or_the_nearest_double() {
        for (text, json) in [
            ("1", "1"),
            ("-7", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e19"),
            ("0.1", "0.1"),
            ("1E+2", "100.0"),
            ("0.12345678901234567890", "0.12345678901234568"),
            ("100000000000000000000001", "1.0000000000000001e23"),
            ("0.000000029802322387695312500", "2.9802322387695312e-8"),
        ] {
            let read: serde_json::Value = chat_memory_core::json::parse(json).expect("a number");
            assert_eq!(serde_json::Value::Number(read_number(text).expect(text)), read, "{text}");
        }
    }

    #[test]
    fn decimals_are_normalised_as_dynamodb_stores_them() {
        let stored = |text: &str| match as_stored(AttributeValue::N(text.to_owned())) {
            AttributeValue::N(number) => number,
            other => panic!("{other:?}"),
        };
        for (sent, kept) in
            [("1.0", "1"), ("-0.0", "0"), ("1e22", "10000000000000000000000"), ("1.5e-7", "0.00000015"), ("-120.50", "-120.5")]
        {
            assert_eq!(stored(sent), kept);
        }
        assert_eq!(to_attribute(&serde_json::json!(1e300)), AttributeValue::S("1e+300".to_owned()));
    }
}
