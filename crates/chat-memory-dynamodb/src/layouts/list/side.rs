//! Side items of a session: segments with its older records, notes of removed records, and parts of large records.

use crate::common::timing::{CLOCK_SKEW, REMEMBERED};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use super::state::{Entry, Head, Lists, Log, Parts, item_id, parse_id, spell_id, time};
use super::{Dialect, Listed, mark, number, retry};
use crate::common::names::{CREATED_AT, DATA, FORMAT_VERSION, LIST_HEAD, MESSAGES_VERSION, VERSION, millis, secs};
use crate::common::payload::{Codec, compress, most_bytes, unpack, unpack_messages};
use crate::common::retry::Retry;
use crate::common::size::{MAX_ITEM, item_bytes, write_units};
use crate::common::typed::{from_json, to_json};
use crate::table::{Attributes, Clock, Item, Table};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::message::Message;
use chat_memory_core::store::{AppendId, Cost};
use chat_memory_core::{SessionId, Timestamp};

/// Bytes of an item that a part leaves for its key.
const PART_MARGIN: usize = 20 * 1024;

/// The most bytes of JSON that a segment's frame may hold. The JSON of an item's elements has at most fourteen times their size: an
/// element of two bytes may be `{"NULL":true},`, and each byte of a text may be escaped in six.
const SEGMENT_JSON: usize = 16 * MAX_ITEM;

/// A removed record: enough to recognise a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stub {
    pub(super) append_id: AppendId,
    pub(super) seq: u64,
    pub(super) created_at: Timestamp,
}

/// What a rewind or a clear removed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Gone {
    pub(super) at: Timestamp,
    pub(super) stubs: Vec<Stub>,
    pub(super) parts: Vec<Parts>,
    /// Records from this number on were removed. Older ones that were in the same segment live on in the list.
    pub(super) to: u64,
    /// The segments that were removed: from the first (included) down to the second (excluded).
    pub(super) segments: Option<(String, Option<String>)>,
    /// The previous note.
    pub(super) before: Option<String>,
    /// Whether nothing of it is left to erase.
    pub(super) swept: bool,
}

/// A side item of a session.
#[derive(Debug)]
pub(super) enum SideItem {
    Segment(Log),
    /// A segment whose messages were erased.
    Swept {
        head: Head,
        stubs: Vec<Stub>,
    },
    Gone(Gone),
}

impl Stub {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { append_id: entry.bare.append_id, seq: entry.bare.seq, created_at: entry.bare.created_at }
    }

    fn value(&self) -> Value {
        json!([spell_id(self.append_id), self.seq, self.created_at])
    }

    fn parse(value: &Value) -> Option<Self> {
        Some(Self { append_id: parse_id(value.get(0)?)?, seq: value.get(1)?.as_u64()?, created_at: time(value.get(2)?)? })
    }
}

fn stubs(value: Option<&Value>) -> Option<Vec<Stub>> {
    value?.as_array()?.iter().map(Stub::parse).collect()
}

impl Gone {
    fn value(&self) -> Value {
        let (from, until) = self.segments.clone().map_or((None, None), |(from, until)| (Some(from), until));
        json!({
            "at": self.at,
            "stubs": self.stubs.iter().map(Stub::value).collect::<Vec<_>>(),
            "parts": self.parts.iter().map(Parts::value).collect::<Vec<_>>(),
            "to": self.to,
            "from": from,
            "until": until,
            "before": self.before,
            "swept": self.swept,
        })
    }

    fn parse(value: &Value) -> Option<Self> {
        // `None` if it is present but unreadable: what it leads to must not be skipped.
        let text = |name: &str| match value.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(text) => Some(Some(item_id(text)?)),
        };
        let until = text("until")?;
        Some(Self {
            at: time(value.get("at")?)?,
            stubs: stubs(value.get("stubs"))?,
            parts: value.get("parts")?.as_array()?.iter().map(Parts::of).collect::<Option<_>>()?,
            to: value.get("to")?.as_u64()?,
            segments: text("from")?.map(|from| (from, until)),
            before: text("before")?,
            swept: value.get("swept")?.as_bool()?,
        })
    }
}

impl SideItem {
    /// Parses a side item of a session.
    ///
    /// # Errors
    /// Corrupt or unsupported, naming the session and the item.
    pub(super) fn parse(lists: &Lists, session: &SessionId, id: &str, attributes: &Attributes) -> Result<Self, Error> {
        let damaged = || damaged(session, id);
        let version = check_version(session, id, attributes)?;
        let Some(AttributeValue::S(text)) = attributes.get(LIST_HEAD) else { return Err(damaged()) };
        let value: Value = serde_json::from_str(text).map_err(|_| damaged())?;
        if let Some(gone) = value.get("gone") {
            return Gone::parse(gone).map(SideItem::Gone).ok_or_else(damaged);
        }
        let head = value.get("head").and_then(|head| Head::parse(&head.to_string())).ok_or_else(damaged)?;
        if let Some(swept) = value.get("swept") {
            return Ok(SideItem::Swept { head, stubs: stubs(Some(swept)).ok_or_else(damaged)? });
        }
        let mut elements = Vec::new();
        for (dialect, name) in [(Dialect::Python, &lists.python), (Dialect::Js, &lists.js)] {
            match attributes.get(name) {
                Some(AttributeValue::L(list)) => elements.extend(list.iter().map(|element| (dialect, element.clone()))),
                Some(AttributeValue::B(frame)) if version > MESSAGES_VERSION => {
                    let list = unpacked(frame.as_ref()).map_err(|why| {
                        Error::corrupt(format!("the segment {id:?} of session {session:?} cannot be read: {why}"))
                    })?;
                    elements.extend(list.into_iter().map(|element| (dialect, element)));
                }
                _ => {}
            }
        }
        if elements.is_empty() {
            return Err(damaged());
        }
        Ok(SideItem::Segment(Log::new(session.as_str(), head, elements)?))
    }
}

/// A segment's elements as a zstd frame of their JSON; `None` if they cannot be compressed.
fn packed(elements: &[AttributeValue]) -> Option<Vec<u8>> {
    let elements: Option<Vec<Value>> = elements.iter().map(|element| to_json(&mark::with_text(element))).collect();
    compress(&Value::Array(elements?).to_string()).ok()
}

fn unpacked(frame: &[u8]) -> Result<Vec<AttributeValue>, String> {
    let json = unpack(frame.to_vec(), Codec::Zstd, SEGMENT_JSON)?;
    let elements: Vec<Value> = serde_json::from_str(&json).map_err(|e| format!("there is no JSON list ({e})"))?;
    let elements: Option<_> = elements.iter().map(from_json).collect();
    elements.ok_or_else(|| "there is no list of attribute values".to_owned())
}

/// The records that need a stub as of `now`.
pub(super) fn stubs_of<'a>(entries: impl IntoIterator<Item = &'a Entry>, now: Timestamp) -> Vec<Stub> {
    let young = |entry: &&Entry| !entry.foreign && entry.bare.created_at > now - REMEMBERED - CLOCK_SKEW;
    entries.into_iter().filter(young).map(Stub::of).collect()
}

impl<T: Table, C: Clock> Listed<T, C> {
    /// `expires` names the attribute by which DynamoDB purges it, and the time.
    fn item(&self, session: &SessionId, id: &str, head: &Value, expires: Option<(&str, Timestamp)>) -> Item {
        let mut attributes = Attributes::from([
            (VERSION.to_owned(), number(MESSAGES_VERSION)),
            (CREATED_AT.to_owned(), millis(self.clock.now().wall)),
            (LIST_HEAD.to_owned(), AttributeValue::S(head.to_string())),
        ]);
        attributes.extend(expires.map(|(name, at)| (name.to_owned(), secs(at))));
        attributes.extend(self.settings.ids.session_of_side_item(session));
        Item { key: self.settings.ids.side_key(session, id), attributes }
    }

    /// A segment of these elements, all in one dialect. They are compressed if that saves a write unit.
    pub(super) fn segment(
        &self,
        session: &SessionId,
        id: &str,
        head: &Head,
        dialect: Dialect,
        elements: Vec<AttributeValue>,
        expires: Option<(&str, Timestamp)>,
    ) -> Item {
        let mut item = self.item(session, id, &json!({"head": head.value()}), expires);
        let frame = packed(&elements);
        item.attributes.insert(self.list_name(dialect).to_owned(), AttributeValue::L(elements));
        let Some(frame) = frame else { return item };
        let mut shorter = item.clone();
        shorter.attributes.insert(self.list_name(dialect).to_owned(), AttributeValue::B(Blob::new(frame)));
        shorter.attributes.insert(VERSION.to_owned(), number(FORMAT_VERSION));
        let units = |item| write_units(item_bytes(item));
        if units(&shorter) < units(&item) { shorter } else { item }
    }

    pub(super) fn swept(
        &self,
        session: &SessionId,
        id: &str,
        head: &Head,
        stubs: &[Stub],
        expires: Option<(&str, Timestamp)>,
    ) -> Item {
        let stubs: Vec<_> = stubs.iter().map(Stub::value).collect();
        self.item(session, id, &json!({"head": head.value(), "swept": stubs}), expires)
    }

    pub(super) fn note(&self, session: &SessionId, id: &str, gone: &Gone, expires: Option<(&str, Timestamp)>) -> Item {
        self.item(session, id, &json!({"gone": gone.value()}), expires)
    }

    /// Reads a side item of a session, strongly consistent; `None` if there is none.
    pub(super) async fn read_side_item(
        &self,
        session: &SessionId,
        id: &str,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<SideItem>, Error> {
        let key = self.settings.ids.side_key(session, id);
        let Some(item) = retry!(retry, self.table.get(&key, false, cost))? else { return Ok(None) };
        SideItem::parse(&self.settings.lists, session, id, &item.attributes).map(Some)
    }

    /// The items that hold a large record's messages.
    pub(super) fn parts_of(
        &self,
        session: &SessionId,
        id: &str,
        entries: &[chat_memory_core::Entry],
    ) -> Result<Vec<Item>, Error> {
        let json = Value::Array(entries.iter().map(chat_memory_core::Entry::to_value).collect()).to_string();
        let payload = compress(&json)?;
        let size = self.settings.item_bytes.saturating_sub(PART_MARGIN).max(self.settings.item_bytes / 2);
        let chunks = payload.chunks(size).enumerate();
        Ok(chunks
            .map(|(n, chunk)| {
                let mut attributes = Attributes::from([
                    (VERSION.to_owned(), number(MESSAGES_VERSION)),
                    (CREATED_AT.to_owned(), millis(self.clock.now().wall)),
                    (DATA.to_owned(), AttributeValue::B(Blob::new(chunk))),
                ]);
                attributes.extend(self.settings.ids.session_of_side_item(session));
                Item { key: self.settings.ids.side_key(session, &part_id(id, n)), attributes }
            })
            .collect())
    }

    /// Reads a large record's messages; `None` if parts are missing.
    pub(super) async fn read_parts(
        &self,
        session: &SessionId,
        parts: &Parts,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Vec<Message>>, Error> {
        let mut payload = Vec::new();
        for n in 0..parts.count {
            let key = self.settings.ids.side_key(session, &part_id(&parts.id, n));
            let Some(item) = retry!(retry, self.table.get(&key, false, cost))? else { return Ok(None) };
            check_version(session, &part_id(&parts.id, n), &item.attributes)?;
            match item.attributes.get(DATA) {
                Some(AttributeValue::B(data)) => payload.extend(data.as_ref()),
                _ => return Err(damaged(session, &part_id(&parts.id, n))),
            }
            let limit = most_bytes(self.settings.record_bytes);
            if payload.len() > limit {
                return Err(Error::corrupt(format!(
                    "the parts {:?} of a large message of session {session:?} have more than {limit} bytes (raise max_record in \
                     the store URL if that is expected)",
                    parts.id
                )));
            }
        }
        unpack_messages(payload, self.settings.record_bytes).map(Some).map_err(|why| {
            Error::corrupt(format!("the parts {:?} of a large message of session {session:?} cannot be read: {why}", parts.id))
        })
    }
}

fn damaged(session: &SessionId, id: &str) -> Error {
    Error::corrupt(format!("the side item {id:?} of session {session:?} cannot be read; it may have been edited by hand"))
}

/// The error if a session's side items form a cycle, which no writer creates.
pub(super) fn circle(session: &SessionId, id: &str) -> Error {
    Error::corrupt(format!(
        "the side items of session {session:?} lead from {id:?} back to {id:?}; they may have been edited by hand"
    ))
}

/// The version of an item.
///
/// # Errors
/// Unsupported if it needs a newer reader.
fn check_version(session: &SessionId, id: &str, attributes: &Attributes) -> Result<u64, Error> {
    let version = match attributes.get(VERSION) {
        Some(AttributeValue::N(version)) => version.parse::<u64>().ok(),
        _ => None,
    };
    match version {
        Some(version @ ..=FORMAT_VERSION) => Ok(version),
        Some(version) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("the side item {id:?} of session {session:?} has version {version}, written by a newer chat-memory; update"),
        )),
        None => Err(damaged(session, id)),
    }
}

pub(super) fn part_id(id: &str, n: usize) -> String {
    format!("{id}#{n:04}")
}
