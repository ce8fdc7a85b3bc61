//! Encodes records as items.

use crate::common::timing::PURGED_AFTER;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use super::{Head, Life, Limits, Links, PartsOf};
use crate::common::names::*;
use crate::common::payload::{MAX_PARTS, compress};
use crate::common::size::{keyed_bytes, texts_bytes, write_units};
use crate::table::{Attributes, Item, Key};
use chat_memory_core::Timestamp;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{AppendId, Record};

/// The maximum size of attributes that are known only with the record's number: `began` and the like, without an owner.
const LATER_ATTRIBUTES: usize = 96;

/// The part of these that every record has: `began`, a time of 13 digits, and how long its session lasts.
fn link_bytes(record: &Record) -> usize {
    let life = match record.expires_at {
        None => LASTS_UNTIL.len() + 1,
        Some(_) => LASTS_UNTIL.len() + LISTED_UNTIL.len() + 2 * 6,
    };
    BEGAN.len() + 8 + life
}

/// The maximum size of an item written in a transaction, in which each KB costs two units. Parts cost one, and a request each time
/// that the record is loaded.
const TRANSACTED_BYTES: usize = 3 * 1024;

/// An encoded new record: the item without what depends on its number, and the parts if it is large.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) attributes: Attributes,
    pub(crate) parts: Vec<Item>,
}

/// Encodes a record. Its `seq` is ignored.
pub(crate) fn encode(pk: &str, record: &Record, ttl: &str, limits: Limits) -> Result<Encoded, Error> {
    encode_within(pk, record, ttl, limits, limits.whole())
}

/// The same, with messages in parts unless they are few: what is written in a transaction costs twice the units, and a record's
/// parts are not in it.
pub(crate) fn encode_in_parts(pk: &str, record: &Record, ttl: &str, limits: Limits) -> Result<Encoded, Error> {
    encode_within(pk, record, ttl, limits, limits.whole().min(TRANSACTED_BYTES))
}

fn encode_within(pk: &str, record: &Record, ttl: &str, limits: Limits, whole: usize) -> Result<Encoded, Error> {
    let texts: Vec<String> = record.entries.iter().map(|entry| entry.to_json()).collect();
    let bytes = texts.iter().map(String::len).sum::<usize>();
    let max_bytes = limits.record;
    if bytes > max_bytes {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "append too large: {bytes} bytes of messages, and the limit is {max_bytes} (max_record in the store URL); split it or raise the limit"
            ),
        ));
    }
    let version = if record.has_other_entries() { FORMAT_VERSION } else { MESSAGES_VERSION };
    let mut attributes = Attributes::from([
        (VERSION.to_owned(), number(version)),
        (APPEND_ID.to_owned(), binary(record.append_id.as_bytes().to_vec())),
        (CREATED_AT.to_owned(), millis(record.created_at)),
    ]);
    if let Some(seq) = record.rewind {
        attributes.insert(REWIND.to_owned(), number(seq));
    }
    if let Some(metadata) = &record.metadata {
        attributes.insert(METADATA.to_owned(), AttributeValue::S(Value::Object(metadata.clone()).to_string()));
    }
    if !record.sent_at.is_empty() {
        let time = |at: &Option<Timestamp>| at.map_or(AttributeValue::Null(true), millis);
        attributes.insert(SENT_AT.to_owned(), AttributeValue::L(record.sent_at.iter().map(time).collect()));
    }
    if let Some(at) = record.expires_at {
        attributes.insert(EXPIRES_AT.to_owned(), secs(at));
        if record.rewind != Some(0) {
            attributes.insert(ttl.to_owned(), secs(at + PURGED_AFTER));
        }
    }
    if texts.is_empty() {
        return Ok(Encoded { attributes, parts: Vec::new() });
    }
    let key = Key { pk: pk.to_owned(), sk: record_sk(0) };
    // Everything but the messages.
    let others = keyed_bytes(&key, &attributes) + MESSAGES.len();
    let (list_bytes, json) = (texts_bytes(&texts), || format!("[{}]", texts.join(",")));
    let plain_size = others + link_bytes(record) + list_bytes;
    // One unit is the minimum, so what takes no more stays readable in the console.
    let frame = if write_units(plain_size) > 1 { Some(compress(&json())?) } else { None };
    let frame = frame.filter(|frame| {
        let packed = others + link_bytes(record) + frame.len() + CODEC.len() + ZSTD.len();
        write_units(packed) < write_units(plain_size)
    });
    if frame.is_some() {
        attributes.insert(CODEC.to_owned(), AttributeValue::S(ZSTD.to_owned()));
    }
    let stored = frame.as_ref().map_or(list_bytes, Vec::len);
    if others + LATER_ATTRIBUTES + stored + CODEC.len() + ZSTD.len() <= whole {
        let list = || AttributeValue::L(texts.into_iter().map(AttributeValue::S).collect());
        attributes.insert(MESSAGES.to_owned(), frame.map_or_else(list, binary));
        return Ok(Encoded { attributes, parts: Vec::new() });
    }
    // A new id for each attempt, not the append's: a repeat with different messages must not touch what the first one wrote.
    let id = AppendId::random().to_string();
    let payload = frame.unwrap_or_else(|| json().into_bytes());
    let expires = record.expires_at.filter(|_| record.rewind != Some(0)).map(|at| at + PURGED_AFTER);
    let parts: Vec<Item> =
        payload.chunks(limits.part()).enumerate().map(|(n, chunk)| part(pk, &id, n, chunk, record, expires, ttl)).collect();
    if parts.len() > MAX_PARTS {
        let why = format!("append too large: it takes {} parts, and the limit is {MAX_PARTS}; split it", parts.len());
        return Err(Error::new(ErrorKind::TooLarge, why));
    }
    attributes.insert(PARTS.to_owned(), number(parts.len()));
    attributes.insert(PARTS_ID.to_owned(), AttributeValue::S(id));
    if keyed_bytes(&key, &attributes) + LATER_ATTRIBUTES > limits.whole() {
        return Err(Error::new(
            ErrorKind::TooLarge,
            "append too large: its metadata and times exceed DynamoDB's limit for an item (400 KB); split it",
        ));
    }
    Ok(Encoded { attributes, parts })
}

fn part(pk: &str, id: &str, n: usize, chunk: &[u8], record: &Record, expires: Option<Timestamp>, ttl: &str) -> Item {
    let mut attributes = Attributes::from([
        (VERSION.to_owned(), number(MESSAGES_VERSION)),
        (APPEND_ID.to_owned(), binary(record.append_id.as_bytes().to_vec())),
        (CREATED_AT.to_owned(), millis(record.created_at)),
        (DATA.to_owned(), binary(chunk.to_vec())),
    ]);
    if let Some(head_purged) = expires {
        // A day after its head: a head without its parts would be corruption; parts without a head are only garbage.
        attributes.insert(EXPIRES_AT.to_owned(), secs(head_purged));
        attributes.insert(ttl.to_owned(), secs(head_purged + PURGED_AFTER));
    }
    Item { key: Key { pk: pk.to_owned(), sk: part_sk(id, n) }, attributes }
}

/// What a sweep leaves in a record's place. As long as the record's parts exist, its stub names them, so that an interrupted sweep
/// can be finished.
pub(crate) fn stub(key: &Key, head: &Head, cleared_by: u64, parts: Option<&PartsOf>, now: Timestamp, ttl: &str) -> Item {
    let mut attributes = Attributes::from([
        (VERSION.to_owned(), number(MESSAGES_VERSION)),
        (APPEND_ID.to_owned(), binary(head.append_id.as_bytes().to_vec())),
        (CREATED_AT.to_owned(), millis(head.created_at)),
        (CLEARED_BY.to_owned(), number(cleared_by)),
        (EXPIRES_AT.to_owned(), secs(now)),
        (ttl.to_owned(), secs(now + PURGED_AFTER)),
    ]);
    if let Some(PartsOf { id, count }) = parts {
        attributes.insert(PARTS.to_owned(), number(count));
        attributes.insert(PARTS_ID.to_owned(), AttributeValue::S(id.clone()));
    }
    if let Some(last_entry) = head.links.last_entry {
        attributes.insert(LAST_ENTRY.to_owned(), millis(last_entry));
    }
    Item { key: key.clone(), attributes }
}

/// The clear of a delete by the previous version, without the entry that has been removed from the directory.
pub(crate) fn without_entry(item: &Item) -> Item {
    let mut bare = item.clone();
    bare.attributes.retain(|name, _| name != ENDED && name != OWNER);
    bare
}

/// Adds what is known only with the record's number and its predecessor.
pub(crate) fn link(attributes: &mut Attributes, links: &Links, after_expiring: bool) {
    if let Some(began) = links.began {
        attributes.insert(BEGAN.to_owned(), millis(began));
    }
    if let Some(owner) = &links.owner {
        attributes.insert(OWNER.to_owned(), AttributeValue::S(owner.as_str().to_owned()));
    }
    if let Some(Life { lasts, listed }) = links.life {
        attributes.insert(LASTS_UNTIL.to_owned(), secs(lasts.at().unwrap_or(Timestamp::UNIX_EPOCH)));
        attributes.extend(listed.at().map(|at| (LISTED_UNTIL.to_owned(), secs(at))));
    }
    if let Some(last_entry) = links.last_entry {
        attributes.insert(LAST_ENTRY.to_owned(), millis(last_entry));
    }
    if after_expiring && !attributes.contains_key(EXPIRES_AT) {
        attributes.insert(AFTER_EXPIRING.to_owned(), AttributeValue::Bool(true));
    }
}

/// Adds the numbers of the first and the last record of those that are written in one transaction.
pub(crate) fn mark_group(attributes: &mut Attributes, first: u64, last: u64) {
    attributes.insert(GROUP.to_owned(), AttributeValue::L(vec![number(first), number(last)]));
}

/// Names the parts of the entries that a redaction replaced.
pub(crate) fn old_parts(PartsOf { id, count }: &PartsOf) -> AttributeValue {
    AttributeValue::L(vec![AttributeValue::S(id.clone()), number(count)])
}

fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

fn binary(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::size::item_bytes;
    use chat_memory_core::message::Message;

    fn saying(text: String) -> Record {
        Record::new(0, AppendId::random(), Timestamp::from_millis(1_700_000_000_123)).with_entries([Message::user(text)])
    }

    /// At each length around the boundary of a unit, with the attributes that every record gets later.
    #[test]
    fn record_is_compressed_exactly_when_it_saves_a_unit() {
        let mut seen = [false; 2];
        for length in 500..2_300 {
            let record = saying("a word or two ".repeat(200)[..length].to_owned());
            let mut attributes = encode("trip", &record, "ttl", Limits::new(1 << 20)).expect("a good record").attributes;
            let links = Links::to(record.created_at, None);
            link(&mut attributes, &links, false);
            let compressed = attributes.contains_key(CODEC);
            let units = |attributes: &Attributes| {
                let key = Key { pk: "trip".to_owned(), sk: record_sk(0) };
                write_units(item_bytes(&Item { key, attributes: attributes.clone() }))
            };
            let mut plain = attributes.clone();
            plain.remove(CODEC);
            let texts = record.entries.iter().map(|entry| AttributeValue::S(entry.to_json()));
            plain.insert(MESSAGES.to_owned(), AttributeValue::L(texts.collect()));
            // What is compressed here takes one unit, so compression saves one wherever the plain form takes two.
            assert_eq!(compressed, units(&plain) > 1, "{length} bytes");
            assert_eq!(units(&attributes), 1, "{length} bytes");
            seen[usize::from(compressed)] = true;
        }
        assert_eq!(seen, [true; 2]);
    }

    /// Beyond four digits their sort keys would be out of order, and a load would join them wrongly.
    #[test]
    fn record_with_too_many_parts_is_refused() {
        // With small items, so that the test need not create gigabytes.
        let limits = Limits { record: 1 << 26, item: 2_048 };
        // Compression saves about a third.
        let text = |bytes: usize| (0..bytes / 36).map(|_| AppendId::random().to_string()).collect::<String>();
        let parts = |bytes| encode("trip", &saying(text(bytes)), "ttl", limits).map(|encoded| encoded.parts.len());
        let most = MAX_PARTS * limits.part();
        assert!(parts(most / 2).expect("it is not too large") > MAX_PARTS / 4);
        let error = parts(4 * most).expect_err("it is too large");
        assert!(error.kind() == ErrorKind::TooLarge && error.to_string().contains("10000"), "{error}");
    }
}
