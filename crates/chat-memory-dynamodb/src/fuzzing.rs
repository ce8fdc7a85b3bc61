//! Entry points to the decoders of both layouts, for the fuzz targets.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

pub use crate::layouts::list::fuzzing as list;
pub use crate::layouts::turns::fuzzing as turns;

/// Parses attributes from JSON in DynamoDB's own form (`{"NAME": {"TYPE": VALUE}}`). Binary values are base64, or else the bytes of
/// the text itself.
pub fn attributes(data: &[u8]) -> Option<Vec<(String, AttributeValue)>> {
    let Value::Object(fields) = serde_json::from_slice(data).ok()? else { return None };
    fields.into_iter().map(|(name, value)| Some((name, attribute(&value)?))).collect()
}

fn attribute(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let bytes = |value: &Value| text(value).map(|text| Blob::new(BASE64.decode(&text).unwrap_or_else(|_| text.into_bytes())));
    Some(match kind.as_str() {
        "S" => AttributeValue::S(text(value)?),
        "N" => AttributeValue::N(text(value)?),
        "B" => AttributeValue::B(bytes(value)?),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(value.as_array()?.iter().map(attribute).collect::<Option<_>>()?),
        "M" => {
            let fields = value.as_object()?.iter();
            AttributeValue::M(fields.map(|(name, value)| Some((name.clone(), attribute(value)?))).collect::<Option<_>>()?)
        }
        "SS" => AttributeValue::Ss(value.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "NS" => AttributeValue::Ns(value.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "BS" => AttributeValue::Bs(value.as_array()?.iter().map(bytes).collect::<Option<_>>()?),
        _ => return None,
    })
}
