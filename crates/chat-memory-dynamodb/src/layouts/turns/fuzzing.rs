//! Runs this layout's decoders on arbitrary bytes.

use super::cached_tail::CachedTail;
use super::entry::entry;
use super::item::{self, Body, Limits, Stored};
use super::listing::{parse_scan, spell_scan};
use crate::common::names::record_sk;
use crate::common::payload::Codec;
use crate::fuzzing::attributes;
use crate::table::{Item, Key};
use chat_memory_core::backend::Moment;
use chat_memory_core::store::Record;
use chat_memory_core::{Error, Timestamp};

/// The limit on a record's bytes, so that a run stays quick.
const MOST: usize = 1_000_000;

/// Decodes an item in DynamoDB's JSON, with its sort key under `sk`. A decoded record must be equal after it is encoded and decoded
/// again.
pub fn item(data: &[u8]) {
    let Some(mut attributes) = attributes(data) else { return };
    let place = attributes.iter().position(|(name, _)| name == "sk");
    let sk = place.and_then(|place| attributes.swap_remove(place).1.as_s().ok().cloned()).unwrap_or_else(|| record_sk(7));
    let item = Item { key: Key { pk: "the session".to_owned(), sk }, attributes: attributes.into_iter().collect() };
    let named = |error: &Error| {
        assert!(error.is_corrupt() || error.is_unsupported(), "{error:?}");
        assert!(error.to_string().contains("the session"), "{error}");
    };
    let _ = entry(&item, None).inspect_err(named);
    let _ = item::decode_without_messages(&item).inspect_err(named);
    let Ok(head) = item::decode(&item, MOST).inspect_err(named) else { return };
    let (_, tail) = (head.purged_at(), CachedTail::after(&head, Moment { mono_ms: 0, wall: Timestamp::UNIX_EPOCH }));
    let _ = tail.is_solid(Moment { mono_ms: 0, wall: Timestamp::UNIX_EPOCH });
    let _ = item::add_part(&mut Vec::new(), &item, &head, MOST).inspect_err(named);
    let Body::Record { rewind, metadata, sent_at, content: Stored::Here(entries) } = head.body else { return };
    let mut record = Record::new(head.seq, head.append_id, head.created_at).with_entries(entries);
    record.expires_at = head.expires_at;
    (record.rewind, record.metadata, record.sent_at) = (rewind, metadata, sent_at);
    let Ok(encoded) = item::encode(&item.key.pk, &record, "ttl", Limits::new(MOST)) else { return };
    if !encoded.parts.is_empty() {
        return;
    }
    let again = item::decode(&Item { key: item.key, attributes: encoded.attributes }, 2 * MOST);
    let Ok(Body::Record { rewind, metadata, sent_at, content: Stored::Here(entries) }) = again.map(|head| head.body) else {
        panic!("it cannot be read once it was written");
    };
    assert_eq!((rewind, metadata, sent_at, entries), (record.rewind, record.metadata, record.sent_at, record.entries));
}

/// Decodes the joined parts of a large record.
pub fn parts(data: &[u8]) {
    for (codec, others) in [(Codec::Json, false), (Codec::Json, true), (Codec::Zstd, true)] {
        if let Err(error) = item::decode_parts("the session", 7, data.to_vec(), codec, others, MOST) {
            assert!(error.is_corrupt() && error.to_string().contains("record 7 of \"the session\""), "{error}");
        }
    }
}

/// Parses the cursor of a listing of all sessions.
pub fn cursor(text: &str) {
    if let Ok(key) = parse_scan(text) {
        assert_eq!(parse_scan(&spell_scan(&key)).ok(), Some(key));
    }
}
