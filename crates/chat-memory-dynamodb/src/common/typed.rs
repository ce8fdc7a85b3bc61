//! Attribute values as JSON text in DynamoDB's own form (`{"TYPE": VALUE}`), without any loss.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// Writes a value, with sorted names; `None` if it contains a type that this version does not know.
pub(crate) fn to_json(value: &AttributeValue) -> Option<Value> {
    let bytes = |blob: &Blob| BASE64.encode(blob.as_ref());
    Some(match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::B(blob) => json!({"B": bytes(blob)}),
        AttributeValue::Bool(is) => json!({"BOOL": is}),
        AttributeValue::Null(is) => json!({"NULL": is}),
        AttributeValue::L(values) => json!({"L": values.iter().map(to_json).collect::<Option<Vec<_>>>()?}),
        AttributeValue::M(fields) => {
            let fields = fields.iter().map(|(name, value)| Some((name, to_json(value)?)));
            json!({"M": fields.collect::<Option<BTreeMap<_, _>>>()?})
        }
        AttributeValue::Ss(texts) => json!({"SS": texts}),
        AttributeValue::Ns(numbers) => json!({"NS": numbers}),
        AttributeValue::Bs(blobs) => json!({"BS": blobs.iter().map(bytes).collect::<Vec<_>>()}),
        _ => return None,
    })
}

/// Reads a value; `None` if it is not one.
pub(crate) fn from_json(value: &Value) -> Option<AttributeValue> {
    from_json_with(value, &|text| BASE64.decode(text).ok())
}

/// The same, with this decoder of binary values.
pub(crate) fn from_json_with(value: &Value, bytes: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<AttributeValue> {
    let mut fields = value.as_object()?.iter();
    let (kind, value) = fields.next().filter(|_| fields.next().is_none())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let blob = |value: &Value| Some(Blob::new(bytes(value.as_str()?)?));
    let read = |value: &Value| from_json_with(value, bytes);
    Some(match kind.as_str() {
        "S" => AttributeValue::S(text(value)?),
        "N" => AttributeValue::N(text(value)?),
        "B" => AttributeValue::B(blob(value)?),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(value.as_bool()?),
        "L" => AttributeValue::L(value.as_array()?.iter().map(read).collect::<Option<_>>()?),
        "M" => {
            let fields = value.as_object()?.iter();
            AttributeValue::M(fields.map(|(name, value)| Some((name.clone(), read(value)?))).collect::<Option<_>>()?)
        }
        "SS" => AttributeValue::Ss(value.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "NS" => AttributeValue::Ns(value.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "BS" => AttributeValue::Bs(value.as_array()?.iter().map(blob).collect::<Option<_>>()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_value_round_trips() {
        let values = [
            AttributeValue::S("\u{0}\"日".to_owned()),
            AttributeValue::N("0.10000000000000000000000000000000000001".to_owned()),
            AttributeValue::B(Blob::new([0, 255])),
            AttributeValue::Bool(false),
            AttributeValue::Null(true),
            AttributeValue::Ss(vec!["a".to_owned(), String::new()]),
            AttributeValue::Ns(vec!["-1".to_owned()]),
            AttributeValue::Bs(vec![Blob::new([7])]),
        ];
        let fields = values.iter().enumerate().map(|(n, value)| (n.to_string(), value.clone())).collect();
        let all =
            AttributeValue::L(values.into_iter().chain([AttributeValue::M(fields), AttributeValue::L(Vec::new())]).collect());
        assert_eq!(from_json(&to_json(&all).expect("known types")), Some(all));
        for bad in
            [json!({}), json!({"S": 1}), json!({"X": "1"}), json!({"B": "not base64"}), json!({"S": "a", "N": "1"}), json!(null)]
        {
            assert_eq!(from_json(&bad), None, "{bad}");
        }
    }
}
