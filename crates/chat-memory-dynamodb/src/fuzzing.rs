//! Entry points to the decoders of both layouts, for the fuzz targets.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::common::typed::from_json_with;

pub use crate::layouts::list::fuzzing as list;
pub use crate::layouts::turns::fuzzing as turns;

/// Parses attributes from JSON in DynamoDB's own form (`{"NAME": {"TYPE": VALUE}}`). Binary values are base64, or else the bytes of
/// the text itself.
pub fn attributes(data: &[u8]) -> Option<Vec<(String, AttributeValue)>> {
    let Value::Object(fields) = serde_json::from_slice(data).ok()? else { return None };
    let bytes = |text: &str| Some(BASE64.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec()));
    fields.into_iter().map(|(name, value)| Some((name, from_json_with(&value, &bytes)?))).collect()
}
