//! The mark of an element in the JavaScript form, as bytes: its originals read texts only. (In the Python form a mark is JSON text,
//! since langchain-core's users print what it is part of.)
//!
//! The first byte says what follows: a record's id, time and number of elements, and the other fields as JSON, or as a zstd frame
//! of it if that is shorter. The messages that these originals must not see are stored that way.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory_core::Timestamp;
use chat_memory_core::store::AppendId;

use super::element::Mark;
use super::state::{parse_id, spell_id, time};
use crate::common::names::MARK;
use crate::common::payload::{Codec, compress, unpack};
use crate::common::size::MAX_ITEM;

/// A record begins: its id (16 bytes), its time in ms (6 bytes) and its number of elements (1 byte).
const RECORD: u8 = 1;
/// Other fields, as JSON or as a zstd frame of it.
const JSON: u8 = 2;
const ZSTD: u8 = 4;

/// The most bytes of JSON that are compressed, and read. Below the least, nothing is gained.
const MOST_JSON: usize = MAX_ITEM;
const LEAST_JSON: usize = 64;

/// Encodes a mark.
pub(super) fn pack(mark: &Mark) -> AttributeValue {
    let mut rest = mark.clone();
    let mut bytes = vec![0];
    if let Some((id, at, n)) = record_of(mark) {
        bytes[0] |= RECORD;
        bytes.extend(id.as_bytes());
        bytes.extend(&at.as_millis().to_be_bytes()[2..]);
        bytes.push(n);
        rest.retain(|key, _| !["id", "at", "n"].contains(&key.as_str()));
    }
    if !rest.is_empty() {
        let json = serde_json::Value::Object(rest).to_string();
        let is_fit = (LEAST_JSON..=MOST_JSON).contains(&json.len());
        let frame = is_fit.then(|| compress(&json).ok()).flatten().filter(|frame| frame.len() < json.len());
        bytes[0] |= if frame.is_some() { ZSTD } else { JSON };
        bytes.extend(frame.unwrap_or_else(|| json.into_bytes()));
    }
    AttributeValue::B(Blob::new(bytes))
}

/// The record that a mark begins, if it fits the fields for it.
fn record_of(mark: &Mark) -> Option<(AppendId, Timestamp, u8)> {
    let n = match mark.get("n") {
        None => 1,
        Some(n) => n.as_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| *n > 1)?,
    };
    let at = time(mark.get("at")?).filter(|at| (0..1 << 48).contains(&at.as_millis()))?;
    Some((parse_id(mark.get("id")?)?, at, n))
}

/// Decodes a mark; `None` if it is unreadable.
pub(super) fn unpack_mark(bytes: &[u8]) -> Option<Mark> {
    let (&kind, mut bytes) = bytes.split_first()?;
    let mut mark = Mark::new();
    if kind & RECORD != 0 {
        let (id, others) = bytes.split_first_chunk::<16>()?;
        let (at, others) = others.split_first_chunk::<6>()?;
        let (&n, others) = others.split_first()?;
        let at = at.iter().fold(0, |at, byte| at << 8 | i64::from(*byte));
        mark.insert("id".into(), spell_id(AppendId::from_bytes(*id)).into());
        mark.insert("at".into(), at.into());
        if n > 1 {
            mark.insert("n".into(), n.into());
        }
        bytes = others;
    }
    let json = match kind & !RECORD {
        0 if bytes.is_empty() => return Some(mark),
        JSON => String::from_utf8(bytes.to_vec()).ok()?,
        ZSTD => unpack(bytes.to_vec(), Codec::Zstd, MOST_JSON).ok()?,
        _ => return None,
    };
    mark.extend(serde_json::from_str::<Mark>(&json).ok()?);
    Some(mark)
}

/// An element with its mark as text: in a segment, which is compressed as a whole, it takes less that way.
pub(super) fn with_text(element: &AttributeValue) -> AttributeValue {
    let mut element = element.clone();
    if let AttributeValue::M(fields) = &mut element
        && let Some(AttributeValue::B(bytes)) = fields.get(MARK)
        && let Some(mark) = unpack_mark(bytes.as_ref())
    {
        fields.insert(MARK.to_owned(), text(&mark));
    }
    element
}

/// A mark as text.
pub(super) fn text(mark: &Mark) -> AttributeValue {
    AttributeValue::S(serde_json::Value::Object(mark.clone()).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(mark: &serde_json::Value) -> Vec<u8> {
        match pack(mark.as_object().expect("an object")) {
            AttributeValue::B(bytes) => bytes.into_inner(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn marks_round_trip_as_bytes() {
        let id = spell_id(AppendId::from_bytes([7; 16]));
        let long = json!({"role": "tool", "content": "the same words, again and again; ".repeat(30)});
        for (mark, length) in [
            (json!({}), Some(1)),
            (json!({"id": id, "at": 1_774_000_060_250_i64}), Some(24)),
            (json!({"id": id, "at": 1_774_000_060_250_i64, "n": 255}), Some(24)),
            (json!({"id": id, "at": 1_774_000_060_250_i64, "n": 256}), None),
            (json!({"id": id, "at": -1}), None),
            (json!({"id": id, "at": 0, "seq": 7, "metadata": {"a": [1, 1.0, null]}}), None),
            (json!({"set": long}), None),
        ] {
            let packed = bytes(&mark);
            assert_eq!(unpack_mark(&packed).map(serde_json::Value::Object), Some(mark.clone()), "{mark}");
            assert!(length.is_none_or(|length| packed.len() == length), "{mark}: {}", packed.len());
            assert!(packed.len() <= mark.to_string().len() + 1, "{mark}");
        }
    }

    #[test]
    fn damaged_marks_are_unreadable() {
        let good = bytes(&json!({"id": spell_id(AppendId::from_bytes([7; 16])), "at": 1, "metadata": {"a": "b".repeat(90)}}));
        for end in 0..good.len() {
            assert_eq!(unpack_mark(&good[..end]), None, "{end}");
        }
        assert_eq!(unpack_mark(&[8]), None, "a kind of a later version");
        assert_eq!(unpack_mark(&[0, 1]), None);
    }
}
