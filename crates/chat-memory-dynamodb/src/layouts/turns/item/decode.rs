//! Decodes items as records. Whatever no writer can have written is refused, naming the problem.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::{Body, Head, Life, Links, PartsOf, Stored};
use crate::common::names::*;
use crate::common::payload::{Codec, MAX_PARTS, entries, entry, most_bytes, too_many_bytes, unpack};
use crate::table::{Item, Key};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{AppendId, Expiry};
use chat_memory_core::{Entry, Owner, Timestamp};

/// Refuses items that need a newer reader, and returns the version of others.
pub(crate) fn check_version(item: &Item) -> Result<u64, Error> {
    let Key { pk, sk } = &item.key;
    check_version_of(item, || {
        seq_of(&item.key).map_or_else(|_| format!("the item {sk:?} of {pk:?}"), |seq| format!("record {seq} of {pk:?}"))
    })
}

/// The same, with this name for the item in errors.
fn check_version_of(item: &Item, what: impl FnOnce() -> String) -> Result<u64, Error> {
    let version = match item.attributes.get(VERSION) {
        Some(AttributeValue::N(digits)) => digits.parse::<u64>().ok(),
        _ => None,
    };
    match version {
        Some(version @ ..=FORMAT_VERSION) => Ok(version),
        Some(newer) => {
            let why = format!("needs a reader of format {newer}, and this one reads {FORMAT_VERSION}; update chat-memory");
            Err(Error::new(ErrorKind::Unsupported, format!("{} {why}", what())))
        }
        None => {
            let found = if item.attributes.contains_key(VERSION) { "something else" } else { "nothing" };
            let why = format!("its attribute {VERSION:?} should be a number and is {found}");
            Err(Error::corrupt(format!("{} cannot be read: {why}", what())))
        }
    }
}

/// Decodes an item in a record's place. `max_bytes` limits the uncompressed size of a record.
pub(crate) fn decode(item: &Item, max_bytes: usize) -> Result<Head, Error> {
    read(&Reader { item, seq: seq_of(&item.key)?, whole: true }, max_bytes)
}

/// Decodes what the protocol needs of an item in a record's place. Messages and metadata are not read: they may be damaged, or were
/// not requested.
pub(crate) fn decode_without_messages(item: &Item) -> Result<Head, Error> {
    read(&Reader { item, seq: seq_of(&item.key)?, whole: false }, 0)
}

fn read(reader: &Reader<'_>, max_bytes: usize) -> Result<Head, Error> {
    let &Reader { item, seq, .. } = reader;
    let others = check_version(item)? > MESSAGES_VERSION;
    let append_id = match item.attributes.get(APPEND_ID) {
        Some(AttributeValue::B(bytes)) => bytes.as_ref().try_into().map(AppendId::from_bytes).ok(),
        _ => None,
    };
    let append_id = append_id.ok_or_else(|| reader.wrong(APPEND_ID, "16 bytes of binary"))?;
    let body = match reader.optional(CLEARED_BY)? {
        Some(cleared_by) => {
            if cleared_by <= seq || cleared_by > MAX_SEQ {
                return Err(reader.wrong(CLEARED_BY, "the number of a later record"));
            }
            // A record that carries this by mistake must not be mistaken for an erased one, nor be erased.
            if let Some(name) = [MESSAGES, METADATA, SENT_AT, REWIND].into_iter().find(|name| item.attributes.contains_key(*name))
            {
                return Err(reader.wrong(name, &format!("absent next to {CLEARED_BY:?}")));
            }
            Body::Stub { cleared_by, parts: reader.parts()? }
        }
        None => {
            let rewind = reader.optional(REWIND)?;
            // A load that followed it would never end.
            if rewind.is_some_and(|rewind| rewind > seq) {
                return Err(reader.wrong(REWIND, "no greater than the record's own number"));
            }
            let (metadata, content) = (reader.metadata()?, reader.content(rewind.is_some(), others, max_bytes)?);
            let sent_at = reader.sent_at(&content)?;
            Body::Record { rewind, metadata, sent_at, content }
        }
    };
    let owner = reader.text(OWNER)?.map(Owner::new).transpose().map_err(|_| reader.wrong(OWNER, "an owner's name"))?;
    let life = reader.secs(LASTS_UNTIL)?.map(|lasts| {
        let listed = Expiry::of(reader.secs(LISTED_UNTIL)?);
        Ok::<_, Error>(Life {
            lasts: if lasts == Timestamp::UNIX_EPOCH { Expiry::Forever } else { Expiry::Until(lasts) },
            listed,
        })
    });
    Ok(Head {
        seq,
        append_id,
        created_at: reader.millis(CREATED_AT)?.ok_or_else(|| reader.wrong(CREATED_AT, "a number"))?,
        expires_at: reader.secs(EXPIRES_AT)?,
        links: Links {
            began: reader.millis(BEGAN)?,
            owner,
            life: life.transpose()?,
            last_entry: reader.millis(LAST_ENTRY)?,
            ended: reader.millis(ENDED)?,
        },
        group: reader.group()?,
        rev: item.attributes.get(REV).cloned().map(Box::new),
        old_parts: reader.old_parts()?.map(Box::new),
        after_expiring: matches!(item.attributes.get(AFTER_EXPIRING), Some(AttributeValue::Bool(true))),
        body,
    })
}

/// Decodes the entries of a large record from its parts' joined data.
pub(crate) fn decode_parts(
    pk: &str,
    seq: u64,
    payload: Vec<u8>,
    codec: Codec,
    others: bool,
    max_bytes: usize,
) -> Result<Vec<Entry>, Error> {
    let wrong = |why: String| Error::corrupt(format!("record {seq} of {pk:?} cannot be read: {why} in its parts"));
    unpack(payload, codec, max_bytes).and_then(|text| entries(&text, others)).map_err(wrong)
}

/// Adds a part's bytes to those of the parts before it. Together they may not exceed the record's limit.
pub(crate) fn add_part(payload: &mut Vec<u8>, part: &Item, head: &Head, max_bytes: usize) -> Result<(), Error> {
    let Key { pk, sk } = &part.key;
    check_version_of(part, || format!("record {} of {pk:?}, in its part {sk:?},", head.seq))?;
    let wrong = |why: String| Error::corrupt(format!("record {} of {pk:?} cannot be read: {why}", head.seq));
    match part.attributes.get(APPEND_ID) {
        Some(AttributeValue::B(id)) if id.as_ref() == head.append_id.as_bytes() => {}
        _ => return Err(wrong(format!("its part {sk:?} has an {APPEND_ID:?} that is not the record's"))),
    }
    let Some(AttributeValue::B(bytes)) = part.attributes.get(DATA) else {
        return Err(wrong(format!("its part {sk:?} has no binary attribute {DATA:?}")));
    };
    let limit = most_bytes(max_bytes);
    if payload.len() + bytes.as_ref().len() > limit {
        return Err(wrong(too_many_bytes(limit)));
    }
    payload.extend(bytes.as_ref());
    Ok(())
}

struct Reader<'a> {
    item: &'a Item,
    seq: u64,
    /// Whether messages and metadata are read.
    whole: bool,
}

impl Reader<'_> {
    fn wrong(&self, name: &str, expected: &str) -> Error {
        let found = if self.item.attributes.contains_key(name) { "something else" } else { "nothing" };
        Error::corrupt(format!(
            "record {} of {:?} cannot be read: its attribute {name:?} should be {expected} and is {found}",
            self.seq, self.item.key.pk
        ))
    }

    fn optional<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Error> {
        match self.item.attributes.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(digits)) => digits.parse().map(Some).map_err(|_| self.wrong(name, "a whole number")),
            Some(_) => Err(self.wrong(name, "a number")),
        }
    }

    fn millis(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        Ok(self.optional(name)?.map(Timestamp::from_millis))
    }

    fn secs(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        Ok(self.optional(name)?.map(Timestamp::from_secs))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.item.attributes.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    fn metadata(&self) -> Result<Option<Map<String, Value>>, Error> {
        if !self.whole {
            return Ok(None);
        }
        let Some(text) = self.text(METADATA)? else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|_| self.wrong(METADATA, "the JSON text of an object"))
    }

    /// The times of the entries. The number of entries in parts is not known here, so
    /// [`Record::entry_times`](chat_memory_core::store::Record::entry_times) uses them only if there are as many.
    fn sent_at(&self, content: &Stored) -> Result<Vec<Option<Timestamp>>, Error> {
        let Some(value) = self.item.attributes.get(SENT_AT).filter(|_| self.whole) else { return Ok(Vec::new()) };
        let expected = || self.wrong(SENT_AT, "a list with a time or NULL for each message");
        let AttributeValue::L(times) = value else { return Err(expected()) };
        if matches!(content, Stored::Here(messages) if messages.len() != times.len()) {
            return Err(expected());
        }
        let time = |time: &AttributeValue| match time {
            AttributeValue::Null(_) => Ok(None),
            AttributeValue::N(at) => at.parse().map(|at| Some(Timestamp::from_millis(at))).map_err(|_| expected()),
            _ => Err(expected()),
        };
        times.iter().map(time).collect()
    }

    fn group(&self) -> Result<Option<(u64, u64)>, Error> {
        let Some(value) = self.item.attributes.get(GROUP) else { return Ok(None) };
        let number = |value: &AttributeValue| value.as_n().ok().and_then(|digits| digits.parse::<u64>().ok());
        let numbers = value.as_l().ok().and_then(|list| match &list[..] {
            [first, last] => number(first).zip(number(last)),
            _ => None,
        });
        let holds_its_own = numbers.filter(|(first, last)| (*first..=*last).contains(&self.seq) && *last <= MAX_SEQ);
        holds_its_own.map(Some).ok_or_else(|| self.wrong(GROUP, "the numbers of the first and the last record of its group"))
    }

    fn old_parts(&self) -> Result<Option<PartsOf>, Error> {
        let Some(value) = self.item.attributes.get(OLD_PARTS) else { return Ok(None) };
        let parts = value.as_l().ok().and_then(|list| match &list[..] {
            [AttributeValue::S(id), AttributeValue::N(count)] => Some(PartsOf { id: id.clone(), count: count.parse().ok()? }),
            _ => None,
        });
        let parts = parts.filter(|parts| (1..=MAX_PARTS).contains(&parts.count) && uuid::Uuid::try_parse(&parts.id).is_ok());
        parts.map(Some).ok_or_else(|| self.wrong(OLD_PARTS, "the id and the number of parts"))
    }

    fn parts(&self) -> Result<Option<PartsOf>, Error> {
        let Some(count) = self.optional(PARTS)? else {
            let is_left = self.item.attributes.contains_key(PARTS_ID);
            return if is_left { Err(self.wrong(PARTS, "the number of the record's parts")) } else { Ok(None) };
        };
        if !(1..=MAX_PARTS).contains(&count) {
            return Err(self.wrong(PARTS, &format!("a number from 1 to {MAX_PARTS}")));
        }
        // Anything else could make a key that DynamoDB refuses.
        let id = self.text(PARTS_ID)?.filter(|id| uuid::Uuid::try_parse(id).is_ok());
        let id = id.ok_or_else(|| self.wrong(PARTS_ID, "the id of the record's parts, a UUID"))?;
        Ok(Some(PartsOf { id: id.to_owned(), count }))
    }

    /// The entries. Only a record that rewinds may have none.
    fn content(&self, may_be_none: bool, others: bool, max_bytes: usize) -> Result<Stored, Error> {
        let parts = self.parts()?;
        if parts.is_none() && !self.whole {
            return Ok(Stored::Here(Vec::new()));
        }
        let codec = match self.text(CODEC)? {
            None => Codec::Json,
            Some(ZSTD) => Codec::Zstd,
            Some(_) => return Err(self.wrong(CODEC, "\"zstd\" or absent")),
        };
        if let Some(parts) = parts {
            return Ok(Stored::Parts { parts, codec, others });
        }
        let wrong = |why: String| Error::corrupt(format!("record {} of {:?} cannot be read: {why}", self.seq, self.item.key.pk));
        match (self.item.attributes.get(MESSAGES), codec) {
            (None, Codec::Json) if may_be_none => Ok(Stored::Here(Vec::new())),
            (Some(AttributeValue::L(items)), Codec::Json) if !items.is_empty() => {
                let texts = items.iter().enumerate().map(|(n, item)| match item {
                    AttributeValue::S(text) => {
                        entry(text, others).map_err(|why| wrong(format!("message {} of its attribute {MESSAGES:?} {why}", n + 1)))
                    }
                    _ => Err(wrong(format!("message {} of its attribute {MESSAGES:?} is not a string", n + 1))),
                });
                texts.collect::<Result<_, _>>().map(Stored::Here)
            }
            (Some(AttributeValue::B(bytes)), codec) => {
                let read = unpack(bytes.as_ref().to_vec(), codec, max_bytes).and_then(|text| entries(&text, others));
                read.map(Stored::Here).map_err(|why| wrong(format!("{why} in its attribute {MESSAGES:?}")))
            }
            _ => Err(self.wrong(MESSAGES, "a list of strings, or binary with a codec")),
        }
    }
}
