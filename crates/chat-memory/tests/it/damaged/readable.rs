//! Items of the `list` layout with everything in them readable, by a decoder of their own.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value};

use crate::dynamodb::Stored;
use crate::format_1::attribute;

/// An item with everything in it readable: a compressed segment as a list, and marks of bytes as text (docs/formats.md), which a
/// store reads, too.
pub fn readable(mut item: Stored) -> Stored {
    for list in ["messages", "History"] {
        if let Some(AttributeValue::B(frame)) = item.get(list) {
            let elements: Vec<Value> = serde_json::from_slice(&unpacked(frame.as_ref())).expect("a JSON list");
            item.insert(list.to_owned(), AttributeValue::L(elements.iter().map(attribute).collect()));
        }
        if let Some(AttributeValue::L(elements)) = item.get_mut(list) {
            for element in elements {
                if let AttributeValue::M(fields) = element
                    && let Some(AttributeValue::B(mark)) = fields.get("chat_memory")
                {
                    let text = AttributeValue::S(mark_of(mark.as_ref()).to_string());
                    fields.insert("chat_memory".to_owned(), text);
                }
            }
        }
    }
    item
}

fn unpacked(frame: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(frame).expect("a zstd frame")
}

fn mark_of(mut bytes: &[u8]) -> Value {
    let kind = *bytes.split_off_first().expect("a first byte");
    let mut mark = Map::new();
    if kind & 1 != 0 {
        let (id, at) = (bytes.split_off(..16).expect("an id"), bytes.split_off(..6).expect("a time"));
        let at = at.iter().fold(0, |at, byte| at * 256 + i64::from(*byte));
        mark.insert("id".to_owned(), BASE64.encode(id).into());
        mark.insert("at".to_owned(), at.into());
        let n = *bytes.split_off_first().expect("a number");
        if n > 1 {
            mark.insert("n".to_owned(), n.into());
        }
    }
    let json = match kind & !1 {
        0 => b"{}".to_vec(),
        2 => bytes.to_vec(),
        4 => unpacked(bytes),
        other => panic!("a mark of the kind {other}"),
    };
    mark.extend(serde_json::from_slice::<Map<_, _>>(&json).expect("a JSON object"));
    mark.into()
}
