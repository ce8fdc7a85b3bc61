//! Records as items, and items as records.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};
use crate::message::Message;
use crate::session::Owner;
use crate::store::dynamodb::names::*;
use crate::store::dynamodb::size::{MAX_ITEM, item_bytes, value_bytes, write_units};
use crate::store::dynamodb::table::{Attributes, Item, Key};
use crate::store::{AppendId, Record};

/// How long DynamoDB keeps an item after it is hidden, in seconds: TTL purges in no order, and a reader must never see a
/// hole where a neighbour still lives by a few hours.
pub(crate) const PURGED_AFTER_S: i64 = 24 * 60 * 60;

/// Bytes of an item that a part leaves for its keys and its other attributes: a partition key has 2 KB at most.
const PART_MARGIN: usize = 20 * 1024;

/// How large things may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The messages of a record, in bytes of JSON.
    pub(crate) record: usize,
    /// An item; a smaller one than DynamoDB's in the simulation.
    pub(crate) item: usize,
}

impl Limits {
    pub(crate) fn new(record: usize) -> Self {
        Self { record, item: MAX_ITEM }
    }

    /// The largest item that a whole record may become.
    fn whole(self) -> usize {
        self.item - ITEM_MARGIN.min(self.item / 8)
    }

    fn part(self) -> usize {
        self.item.saturating_sub(PART_MARGIN).max(self.item / 2)
    }
}

/// zstd's own default: higher levels gain a few percent on texts of this size for several times the work.
const ZSTD_LEVEL: i32 = 3;

/// What attributes take that are known only when the record's number is: `began` and the like, but for an owner.
const LATER_ATTRIBUTES: usize = 64;

/// Room for what may make an item larger than was reckoned: an owner's name, and a table's own long key names.
const ITEM_MARGIN: usize = 2 * 1024;

/// What a record's item says beside the record: what the protocol needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Links {
    /// When the session's directory entry was made: its key. A session without is one that was deleted.
    pub(crate) began: Option<i64>,
    pub(crate) owner: Option<Owner>,
}

/// An item in a record's place.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) append_id: AppendId,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) links: Links,
    /// The record before it has an expiry and this one has none: a hole below it is no corruption.
    pub(crate) after_expiring: bool,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// What the sweep after the clear with this number left; with the parts that it has not deleted yet.
    Stub {
        cleared_by: u64,
        parts: Option<PartsOf>,
    },
    Record {
        rewind: Option<u64>,
        metadata: Option<Map<String, Value>>,
        content: Stored,
    },
}

/// A record's messages, as they are stored.
#[derive(Debug)]
pub(crate) enum Stored {
    Here(Vec<Message>),
    Parts { parts: PartsOf, codec: Codec },
}

/// The items that hold a large record's messages: so many under this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartsOf {
    pub(crate) id: String,
    pub(crate) count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Zstd,
}

impl Head {
    /// When DynamoDB may purge the item (epoch seconds). A clear is never purged, even if its messages expire.
    pub(crate) fn purged_at(&self) -> Option<i64> {
        let is_clear = matches!(self.body, Body::Record { rewind: Some(0), .. });
        self.expires_at.filter(|_| !is_clear).map(|at| at + PURGED_AFTER_S)
    }

    pub(crate) fn is_stub(&self) -> bool {
        matches!(self.body, Body::Stub { .. })
    }

    /// The parts that the record has, or that its stub has still to lose.
    pub(crate) fn parts(&self) -> Option<&PartsOf> {
        match &self.body {
            Body::Stub { parts, .. } => parts.as_ref(),
            Body::Record { content: Stored::Parts { parts, .. }, .. } => Some(parts),
            Body::Record { .. } => None,
        }
    }
}

/// A new record, encoded: the item without what depends on its number, and the parts if it is large.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) attributes: Attributes,
    pub(crate) parts: Vec<Item>,
}

/// Encodes a record. Its `seq` is of no account.
pub(crate) fn encode(pk: &str, record: &Record, ttl: &str, limits: Limits) -> Result<Encoded, Error> {
    let texts: Vec<String> = record.messages.iter().map(|message| message.to_value().to_string()).collect();
    let bytes = texts.iter().map(String::len).sum::<usize>();
    let max_bytes = limits.record;
    if bytes > max_bytes {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "the append has {bytes} bytes of messages; the limit is {max_bytes} (max_record in the store's URL); split it or raise the limit"
            ),
        ));
    }
    let mut attributes = Attributes::from([
        (VERSION.to_owned(), number(FORMAT_VERSION)),
        (APPEND_ID.to_owned(), binary(record.append_id.as_bytes().to_vec())),
        (CREATED_AT.to_owned(), number(record.created_at)),
    ]);
    if let Some(seq) = record.rewind {
        attributes.insert(REWIND.to_owned(), number(seq));
    }
    if let Some(metadata) = &record.metadata {
        attributes.insert(METADATA.to_owned(), AttributeValue::S(Value::Object(metadata.clone()).to_string()));
    }
    if let Some(at) = record.expires_at {
        attributes.insert(EXPIRES_AT.to_owned(), number(at));
        if record.rewind != Some(0) {
            attributes.insert(ttl.to_owned(), number(at + PURGED_AFTER_S));
        }
    }
    if texts.is_empty() {
        return Ok(Encoded { attributes, parts: Vec::new() });
    }
    let key = Key { pk: pk.to_owned(), sk: record_sk(0) };
    // Everything but the messages, the later attributes and a codec included.
    let others = item_bytes(&Item { key: key.clone(), attributes: attributes.clone() }) + LATER_ATTRIBUTES + MESSAGES.len();
    let list = AttributeValue::L(texts.iter().cloned().map(AttributeValue::S).collect());
    let plain_size = others + value_bytes(&list);
    let json = format!("[{}]", texts.join(","));
    // What takes one unit cannot take less, so it stays readable in the console.
    let frame = if write_units(plain_size) > 1 { Some(compress(&json)?) } else { None };
    let frame = frame.filter(|frame| {
        let packed = others + frame.len() + CODEC.len() + ZSTD.len();
        write_units(packed) < write_units(plain_size)
    });
    if frame.is_some() {
        attributes.insert(CODEC.to_owned(), AttributeValue::S(ZSTD.to_owned()));
    }
    let value = frame.as_ref().map_or(list, |frame| binary(frame.clone()));
    if others + value_bytes(&value) + CODEC.len() + ZSTD.len() <= limits.whole() {
        attributes.insert(MESSAGES.to_owned(), value);
        return Ok(Encoded { attributes, parts: Vec::new() });
    }
    // A new id for each try, not the append's: a repeat with another body must not touch what the first one wrote.
    let id = AppendId::random().to_string();
    let payload = frame.unwrap_or_else(|| json.into_bytes());
    let expires = record.expires_at.filter(|_| record.rewind != Some(0)).map(|at| at + PURGED_AFTER_S);
    let parts: Vec<Item> =
        payload.chunks(limits.part()).enumerate().map(|(n, chunk)| part(pk, &id, n, chunk, record, expires, ttl)).collect();
    attributes.insert(PARTS.to_owned(), number(parts.len()));
    attributes.insert(PARTS_ID.to_owned(), AttributeValue::S(id));
    if item_bytes(&Item { key, attributes: attributes.clone() }) + LATER_ATTRIBUTES > limits.whole() {
        return Err(Error::new(ErrorKind::TooLarge, "the append's metadata is larger than an item of DynamoDB may be (400 KB)"));
    }
    Ok(Encoded { attributes, parts })
}

fn part(pk: &str, id: &str, n: usize, chunk: &[u8], record: &Record, expires: Option<i64>, ttl: &str) -> Item {
    let mut attributes = Attributes::from([
        (VERSION.to_owned(), number(FORMAT_VERSION)),
        (APPEND_ID.to_owned(), binary(record.append_id.as_bytes().to_vec())),
        (CREATED_AT.to_owned(), number(record.created_at)),
        (DATA.to_owned(), binary(chunk.to_vec())),
    ]);
    if let Some(head_purged) = expires {
        // A day after its head: a head without its parts would be corruption, parts without a head are only garbage.
        attributes.insert(EXPIRES_AT.to_owned(), number(head_purged));
        attributes.insert(ttl.to_owned(), number(head_purged + PURGED_AFTER_S));
    }
    Item { key: Key { pk: pk.to_owned(), sk: part_sk(id, n) }, attributes }
}

/// What a sweep leaves in a record's place. While the record's parts are there, its stub names them, so that a sweep that was
/// cut off can be finished.
pub(crate) fn stub(key: &Key, head: &Head, cleared_by: u64, parts: Option<&PartsOf>, now_s: i64, ttl: &str) -> Item {
    let mut attributes = Attributes::from([
        (VERSION.to_owned(), number(FORMAT_VERSION)),
        (APPEND_ID.to_owned(), binary(head.append_id.as_bytes().to_vec())),
        (CREATED_AT.to_owned(), number(head.created_at)),
        (CLEARED_BY.to_owned(), number(cleared_by)),
        (EXPIRES_AT.to_owned(), number(now_s)),
        (ttl.to_owned(), number(now_s + PURGED_AFTER_S)),
    ]);
    if let Some(PartsOf { id, count }) = parts {
        attributes.insert(PARTS.to_owned(), number(count));
        attributes.insert(PARTS_ID.to_owned(), AttributeValue::S(id.clone()));
    }
    Item { key: key.clone(), attributes }
}

/// Adds what is known only with the record's number and neighbours.
pub(crate) fn link(attributes: &mut Attributes, links: &Links, after_expiring: bool) {
    if let Some(began) = links.began {
        attributes.insert(BEGAN.to_owned(), number(began));
    }
    if let Some(owner) = &links.owner {
        attributes.insert(OWNER.to_owned(), AttributeValue::S(owner.as_str().to_owned()));
    }
    if after_expiring && !attributes.contains_key(EXPIRES_AT) {
        attributes.insert(AFTER_EXPIRING.to_owned(), AttributeValue::Bool(true));
    }
}

/// Refuses what only a newer reader shows right.
pub(crate) fn check_version(item: &Item) -> Result<(), Error> {
    let Key { pk, sk } = &item.key;
    let what = seq_of(&item.key).map_or_else(|_| format!("the item {sk:?} of {pk:?}"), |seq| format!("record {seq} of {pk:?}"));
    let version = match item.attributes.get(VERSION) {
        Some(AttributeValue::N(digits)) => digits.parse::<u64>().ok(),
        _ => None,
    };
    match version {
        Some(..=FORMAT_VERSION) => Ok(()),
        Some(newer) => {
            let why = format!("needs a reader of format {newer}, and this one reads {FORMAT_VERSION}; update chat-memory");
            Err(Error::new(ErrorKind::Unsupported, format!("{what} {why}")))
        }
        None => {
            let found = if item.attributes.contains_key(VERSION) { "something else" } else { "nothing" };
            let why = format!("its attribute {VERSION:?} should be a number and is {found}");
            Err(Error::corrupt(format!("{what} cannot be read: {why}")))
        }
    }
}

/// Reads an item in a record's place. `max_bytes` limits what a compressed record may unfold to.
pub(crate) fn decode(item: &Item, max_bytes: usize) -> Result<Head, Error> {
    let seq = seq_of(&item.key)?;
    let reader = Reader { item, seq };
    check_version(item)?;
    let append_id = match item.attributes.get(APPEND_ID) {
        Some(AttributeValue::B(bytes)) => bytes.as_ref().try_into().map(AppendId::from_bytes).ok(),
        _ => None,
    };
    let append_id = append_id.ok_or_else(|| reader.wrong(APPEND_ID, "16 bytes of binary"))?;
    let body = match reader.optional(CLEARED_BY)? {
        Some(cleared_by) => Body::Stub { cleared_by, parts: reader.parts()? },
        None => {
            Body::Record { rewind: reader.optional(REWIND)?, metadata: reader.metadata()?, content: reader.content(max_bytes)? }
        }
    };
    let owner = reader.text(OWNER)?.map(Owner::new).transpose().map_err(|_| reader.wrong(OWNER, "an owner's name"))?;
    Ok(Head {
        seq,
        append_id,
        created_at: reader.required(CREATED_AT)?,
        expires_at: reader.optional(EXPIRES_AT)?,
        links: Links { began: reader.optional(BEGAN)?, owner },
        after_expiring: matches!(item.attributes.get(AFTER_EXPIRING), Some(AttributeValue::Bool(true))),
        body,
    })
}

/// The messages of a large record, of its parts' data put together.
pub(crate) fn decode_parts(pk: &str, seq: u64, payload: Vec<u8>, codec: Codec, max_bytes: usize) -> Result<Vec<Message>, Error> {
    let wrong = |why: String| Error::corrupt(format!("record {seq} of {pk:?} cannot be read: {why} in its parts"));
    unpack(payload, codec, max_bytes).and_then(|text| messages(&text)).map_err(wrong)
}

/// The bytes that a part holds.
pub(crate) fn part_data(part: &Item) -> Result<&[u8], Error> {
    check_version(part)?;
    match part.attributes.get(DATA) {
        Some(AttributeValue::B(bytes)) => Ok(bytes.as_ref()),
        _ => Err(Error::corrupt(format!("the part {:?} of {:?} has no binary attribute {DATA:?}", part.key.sk, part.key.pk))),
    }
}

struct Reader<'a> {
    item: &'a Item,
    seq: u64,
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

    fn required<N: std::str::FromStr>(&self, name: &str) -> Result<N, Error> {
        self.optional(name)?.ok_or_else(|| self.wrong(name, "a number"))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.item.attributes.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    fn metadata(&self) -> Result<Option<Map<String, Value>>, Error> {
        let Some(text) = self.text(METADATA)? else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|_| self.wrong(METADATA, "the JSON text of an object"))
    }

    fn parts(&self) -> Result<Option<PartsOf>, Error> {
        let Some(count) = self.optional(PARTS)? else { return Ok(None) };
        let id = self.text(PARTS_ID)?.ok_or_else(|| self.wrong(PARTS_ID, "the id of the record's parts"))?;
        Ok(Some(PartsOf { id: id.to_owned(), count }))
    }

    fn content(&self, max_bytes: usize) -> Result<Stored, Error> {
        let codec = match self.text(CODEC)? {
            None => Codec::Json,
            Some(ZSTD) => Codec::Zstd,
            Some(_) => return Err(self.wrong(CODEC, "\"zstd\" or absent")),
        };
        if let Some(parts) = self.parts()? {
            return Ok(Stored::Parts { parts, codec });
        }
        let wrong = |why: String| Error::corrupt(format!("record {} of {:?} cannot be read: {why}", self.seq, self.item.key.pk));
        match (self.item.attributes.get(MESSAGES), codec) {
            (None, _) => Ok(Stored::Here(Vec::new())),
            (Some(AttributeValue::L(items)), Codec::Json) => {
                let texts = items.iter().enumerate().map(|(n, item)| match item {
                    AttributeValue::S(text) => {
                        message(text).map_err(|why| wrong(format!("message {} of its attribute {MESSAGES:?} {why}", n + 1)))
                    }
                    _ => Err(wrong(format!("message {} of its attribute {MESSAGES:?} is not a string", n + 1))),
                });
                texts.collect::<Result<_, _>>().map(Stored::Here)
            }
            (Some(AttributeValue::B(bytes)), codec) => {
                let read = unpack(bytes.as_ref().to_vec(), codec, max_bytes).and_then(|text| messages(&text));
                read.map(Stored::Here).map_err(|why| wrong(format!("{why} in its attribute {MESSAGES:?}")))
            }
            _ => Err(self.wrong(MESSAGES, "a list of strings, or binary with a codec")),
        }
    }
}

fn message(text: &str) -> Result<Message, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("is not JSON ({e})"))?;
    Message::from_value(value).map_err(|e| format!("is not a message ({e})"))
}

fn messages(text: &str) -> Result<Vec<Message>, String> {
    let values: Vec<Value> = serde_json::from_str(text).map_err(|e| format!("there is no JSON list ({e})"))?;
    let read = |(n, value)| Message::from_value(value).map_err(|e| format!("message {} is not a message ({e})", n + 1));
    values.into_iter().enumerate().map(read).collect()
}

/// A zstd frame of this JSON.
pub(crate) fn compress(json: &str) -> Result<Vec<u8>, Error> {
    zstd::bulk::compress(json.as_bytes(), ZSTD_LEVEL)
        .map_err(|e| Error::new(ErrorKind::Unavailable, "the messages could not be compressed").with_source(e))
}

/// The messages in a zstd frame of their JSON array.
pub(crate) fn unpack_messages(frame: Vec<u8>, max_bytes: usize) -> Result<Vec<Message>, String> {
    unpack(frame, Codec::Zstd, max_bytes).and_then(|text| messages(&text))
}

fn unpack(bytes: Vec<u8>, codec: Codec, max_bytes: usize) -> Result<String, String> {
    let json = match codec {
        Codec::Json => bytes,
        Codec::Zstd => {
            let limit = max_bytes.saturating_add(max_bytes / 8).saturating_add(1024);
            // The frame's own word on its size is not trusted: reading stops at the limit whatever it says.
            let decoder =
                zstd::stream::read::Decoder::new(bytes.as_slice()).map_err(|e| format!("there is no zstd frame ({e})"))?;
            let mut json = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(decoder, limit as u64 + 1), &mut json)
                .map_err(|e| format!("there is no whole zstd frame ({e})"))?;
            if json.len() > limit {
                return Err(format!("there are more than {limit} bytes (raise max_record in the store's URL if that is right)"));
            }
            json
        }
    };
    String::from_utf8(json).map_err(|_| "there is text that is not UTF-8".to_owned())
}

fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

fn binary(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}
