//! Integers that a JavaScript number cannot hold. They cross the interface as marked strings, and become a `BigInt` in JavaScript.

use std::sync::OnceLock;

use serde_json::Value;

/// The largest integer up to which a JavaScript number holds every integer (`Number.MAX_SAFE_INTEGER`).
const MAX_SAFE: u64 = (1 << 53) - 1;

/// The mark of this load of the addon: 128 random bits, so that no text contains it by chance or by design.
pub fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!("{:032x}:", fastrand::Rng::new().u128(..)))
}

/// The same value, with each integer beyond [`MAX_SAFE`] as a marked string.
pub fn marked(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let beyond =
                number.as_u64().is_some_and(|n| n > MAX_SAFE) || number.as_i64().is_some_and(|n| n.unsigned_abs() > MAX_SAFE);
            if beyond { Value::String(format!("{}{number}", mark())) } else { Value::Number(number) }
        }
        Value::Array(list) => list.into_iter().map(marked).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, marked(value))).collect(),
        other => other,
    }
}
