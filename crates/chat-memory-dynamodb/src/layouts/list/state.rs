//! Decodes a session's item: the records in its list, and what precedes them.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::element::{self, Dialect, Mark};
use super::generations::Generation;
use super::mark;
use crate::common::names::{LIST_GENERATION, LIST_HEAD, LIST_IDS, MARK, MAX_SEQ};
use crate::common::payload::MAX_PARTS;
use crate::common::size::{attributes_bytes, value_bytes};
use crate::table::Attributes;
use chat_memory_core::Timestamp;
use chat_memory_core::error::Error;
use chat_memory_core::message::Message;
use chat_memory_core::store::{AppendId, Position, Record};

/// The namespace (as UUIDv5 defines it) of the ids given to the originals' elements.
const ORIGINALS: Uuid = Uuid::from_u128(0x1b0c_74f2_9a3e_4d55_8c61_37ad_e01f_92b8);

/// The keys, besides its id, that only the mark of a record's first element has.
const OF_A_RECORD: [&str; 7] = ["at", "n", "seq", "rewind", "metadata", "parts", "sent"];

/// What precedes a list's first element. It is stored in that element, where the originals preserve it, or in an attribute of its
/// own while the list is empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Head {
    /// The number of the list's first record.
    pub(super) next: u64,
    /// The record before it.
    pub(super) last: Option<AppendId>,
    /// The segment with the records before it.
    pub(super) segment: Option<String>,
    /// The oldest segment to which this leads. It identifies the chain: an original's clear, or ours, ends it.
    pub(super) root: Option<String>,
    /// The newest note of what was rewound or cleared.
    pub(super) gone: Option<String>,
    /// Records without messages at this place.
    pub(super) bare: Vec<Bare>,
}

/// A record without messages: a clear, or a plain rewind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bare {
    pub(super) seq: u64,
    pub(super) append_id: AppendId,
    pub(super) created_at: Timestamp,
    pub(super) rewind: Option<u64>,
    pub(super) metadata: Option<Map<String, Value>>,
    /// When each message was sent, if given.
    pub(super) sent_at: Vec<Option<Timestamp>>,
}

/// Where a large record's messages are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) id: String,
    pub(super) count: usize,
}

/// A record in a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) bare: Bare,
    /// The index of its first element, and the number of elements.
    pub(super) at: usize,
    pub(super) count: usize,
    pub(super) parts: Option<Parts>,
    /// Whether an original wrote it.
    pub(super) foreign: bool,
}

/// The list of one item: a session's own, or a segment's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Log {
    pub(super) head: Head,
    /// The elements in order, each with the form of its attribute.
    pub(super) elements: Vec<(Dialect, AttributeValue)>,
    pub(super) entries: Vec<Entry>,
}

/// The names of the two lists that an item may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lists {
    pub(crate) js: String,
    pub(crate) python: String,
    /// The one that the settings name, if any. Other lists in an item that has it are then ignored.
    pub(crate) named: Option<String>,
}

impl Lists {
    /// The originals' lists, if the settings name no other.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn usual() -> Self {
        use crate::common::names::{LIST_JS, LIST_PYTHON};
        Self { js: LIST_JS.to_owned(), python: LIST_PYTHON.to_owned(), named: None }
    }

    /// A list of messages under an attribute that the settings do not read: its name and its dialect.
    pub(crate) fn unread<'a>(&self, attributes: &'a Attributes) -> Option<(&'a str, Dialect)> {
        let chosen = self.named.as_ref().and_then(|name| attributes.get(name));
        if element::is_messages(chosen) {
            return None;
        }
        // If nothing is read, report anything that looks like messages; otherwise it may be unrelated data of the application.
        let is_read = [&self.js, &self.python].iter().any(|name| element::is_messages(attributes.get(*name)));
        let form = |value| element::form_of_list(value).or((!is_read && element::may_be_messages(value)).then_some(Dialect::Js));
        let others = attributes.iter().filter(|(name, _)| **name != self.js && **name != self.python);
        let others = others.filter_map(|(name, value)| Some((name.as_str(), form(value)?)));
        others.min_by_key(|(name, _)| *name)
    }

    /// The remedy if lists are not read: name one of these in the settings.
    pub(crate) fn remedy(&self, choices: &[(&str, Dialect)]) -> String {
        let choices: Vec<_> = choices
            .iter()
            .map(|(name, dialect)| match dialect {
                Dialect::Js => format!("list_attribute={name}"),
                Dialect::Python => format!("dialect=python&list_attribute={name}"),
            })
            .collect();
        format!("give {} in the store URL to read them", choices.join(" or "))
    }
}

/// A session's item.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) exists: bool,
    pub(super) generation: Option<Generation>,
    /// The ids of the appends since the list was last rewritten.
    pub(super) ids: HashSet<AppendId>,
    /// The two lists, if present.
    pub(super) js: Option<AttributeValue>,
    pub(super) python: Option<AttributeValue>,
    /// When it is hidden, if it expires.
    pub(super) expires_at: Option<Timestamp>,
    /// The size of the item without its keys.
    pub(super) bytes: usize,
    pub(super) log: Log,
}

impl State {
    pub(super) fn absent() -> Self {
        let log = Log { head: Head::default(), elements: Vec::new(), entries: Vec::new() };
        Self { exists: false, generation: None, ids: HashSet::new(), js: None, python: None, expires_at: None, bytes: 0, log }
    }

    /// Decodes a session's item; `session` is its name in errors.
    ///
    /// # Errors
    /// Corrupt, naming the session, the attribute and the element.
    pub(super) fn of(session: &str, lists: &Lists, attributes: Option<&Attributes>) -> Result<Self, Error> {
        let Some(attributes) = attributes else { return Ok(Self::absent()) };
        let generation = match attributes.get(LIST_GENERATION) {
            None => None,
            Some(AttributeValue::B(bytes)) if bytes.as_ref().len() == 16 => bytes.as_ref().try_into().ok().map(Generation),
            // Treating it as absent would make an append wait for an item that never comes.
            Some(_) => return Err(unreadable(session, LIST_GENERATION)),
        };
        let ids: Option<HashSet<_>> = match attributes.get(LIST_IDS) {
            None => Some(HashSet::new()),
            Some(AttributeValue::Bs(ids)) => {
                ids.iter().map(|id| Some(AppendId::from_bytes(id.as_ref().try_into().ok()?))).collect()
            }
            Some(_) => None,
        };
        let ids = ids.ok_or_else(|| unreadable(session, LIST_IDS))?;
        let js = attributes.get(&lists.js).cloned();
        let python = attributes.get(&lists.python).cloned();
        if let Some((name, dialect)) = lists.unread(attributes) {
            let read = [(&lists.js, &js, Dialect::Js), (&lists.python, &python, Dialect::Python)];
            let read = read.into_iter().filter(|(_, list, _)| element::is_messages(list.as_ref()));
            let read: Vec<_> = read.map(|(name, _, dialect)| (name.as_str(), dialect)).collect();
            let also = if read.is_empty() { "" } else { "some " };
            let choices: Vec<_> = read.into_iter().chain([(name, dialect)]).collect();
            return Err(Error::invalid(format!(
                "session {session:?} cannot be used: {also}messages of it are stored under the attribute {name:?}, which these settings do not read; {}",
                lists.remedy(&choices)
            )));
        }
        if generation.is_some() && js.is_none() && python.is_none() {
            return Err(Error::corrupt(format!(
                "session {session:?} has neither an attribute {:?} nor {:?}, though it had messages; name another attribute with \
                 list_attribute=… in the store URL, or restore the item",
                lists.js, lists.python
            )));
        }
        let mut elements = Vec::new();
        // LangChain Python's messages come first: a JavaScript class that continues such an item adds its own list.
        for (dialect, name, list) in [(Dialect::Python, &lists.python, &python), (Dialect::Js, &lists.js, &js)] {
            match list {
                None => {}
                Some(AttributeValue::L(list)) => elements.extend(list.iter().map(|element| (dialect, element.clone()))),
                Some(_) => {
                    return Err(Error::corrupt(format!(
                        "session {session:?} has an attribute {name:?} that is not a list, so its messages cannot be read; \
                         name another attribute with list_attribute=… in the store URL"
                    )));
                }
            }
        }
        let head = match attributes.get(LIST_HEAD) {
            None => Head::default(),
            Some(AttributeValue::S(text)) => Head::parse(text).ok_or_else(|| unreadable(session, LIST_HEAD))?,
            Some(_) => return Err(unreadable(session, LIST_HEAD)),
        };
        let log = Log::new(session, head, elements)?;
        let bytes = attributes_bytes(attributes);
        Ok(Self { exists: true, generation, ids, js, python, expires_at: None, bytes, log })
    }

    /// The dialect in which the session continues.
    pub(super) fn dialect(&self, configured: Dialect) -> Dialect {
        match (&self.js, &self.python) {
            (Some(_), _) => Dialect::Js,
            (None, Some(_)) => Dialect::Python,
            (None, None) => configured,
        }
    }

    /// Whether the item has both lists: LangChain Python began it, and a JavaScript class continues it.
    pub(super) fn is_mixed(&self) -> bool {
        self.js.is_some() && self.python.is_some()
    }

    pub(super) fn position(&self, read_at: Timestamp) -> Position {
        self.log.position(read_at)
    }
}

impl Log {
    /// Whether a clear left it empty, with nothing added since.
    pub(super) fn is_cleared(&self) -> bool {
        let is_clear = |entry: &Entry| entry.bare.rewind == Some(0);
        self.elements.is_empty() && self.head.segment.is_none() && !self.entries.is_empty() && self.entries.iter().all(is_clear)
    }

    /// Reads the records in these elements, which follow `head`; a head in the first element takes precedence.
    pub(super) fn new(session: &str, head: Head, elements: Vec<(Dialect, AttributeValue)>) -> Result<Self, Error> {
        let mut log = Self { head, elements, entries: Vec::new() };
        let marks = log.elements.iter().enumerate().map(|(place, (_, element))| {
            mark_of(element).ok_or_else(|| unreadable(session, &format!("{MARK} (element {place} of the list)")))
        });
        let marks: Vec<Mark> = marks.collect::<Result<_, _>>()?;
        if let Some(head) = marks.first().and_then(|mark| mark.get("head")) {
            log.head = Head::of(head).ok_or_else(|| unreadable(session, MARK))?;
        }
        let mut next = log.head.next;
        let mut last = log.head.last;
        for mut bare in log.head.bare.clone() {
            bare.seq = bare.seq.max(next);
            (next, last) = (bare.seq + 1, Some(bare.append_id));
            log.entries.push(Entry::bare(bare, 0));
        }
        let mut place = 0;
        while place < log.elements.len() {
            let mark = &marks[place];
            let entry = if mark.contains_key("id") {
                let damaged = || unreadable(session, &format!("{MARK} (element {place} of the list)"));
                let bare = Bare::of(mark, next).ok_or_else(damaged)?;
                let count = mark.get("n").map_or(Some(1), |n| n.as_u64().filter(|n| *n > 0)).ok_or_else(damaged)?;
                // An original that keeps only the newest messages may have cut a record short at its end: it then ends where the
                // next one begins.
                let most = marks[place + 1..].iter().position(|mark| mark.contains_key("id"));
                let most = most.map_or(log.elements.len() - place, |others| others + 1);
                let count = usize::try_from(count).map_or(most, |count| count.min(most));
                let parts = mark.get("parts").map(|parts| Parts::of(parts).ok_or_else(damaged)).transpose()?;
                Entry { bare, at: place, count, parts, foreign: false }
            } else if let Some(key) = OF_A_RECORD.into_iter().find(|key| mark.contains_key(*key)) {
                return Err(unreadable(session, &format!("{MARK} (element {place} of the list, which has {key:?} and no id)")));
            } else {
                let append_id = id_of_foreign(last, &log.elements[place].1);
                let bare = Bare {
                    seq: next,
                    append_id,
                    created_at: Timestamp::UNIX_EPOCH,
                    rewind: None,
                    metadata: None,
                    sent_at: Vec::new(),
                };
                Entry { bare, at: place, count: 1, parts: None, foreign: true }
            };
            (next, last) = (entry.bare.seq + 1, Some(entry.bare.append_id));
            let end = place + entry.count;
            log.entries.push(entry);
            // Records without messages that follow are noted in the record's last element.
            let then =
                marks[end - 1].get("then").map(|then| then.as_array().ok_or_else(|| unreadable(session, MARK))).transpose()?;
            for then in then.into_iter().flatten() {
                let bare = then.as_object().and_then(|then| Bare::of(then, next)).ok_or_else(|| unreadable(session, MARK))?;
                (next, last) = (bare.seq + 1, Some(bare.append_id));
                log.entries.push(Entry::bare(bare, end));
            }
            place = end;
        }
        Ok(log)
    }

    pub(super) fn next(&self) -> u64 {
        self.entries.last().map_or(self.head.next, |entry| entry.bare.seq + 1)
    }

    pub(super) fn last(&self) -> Option<AppendId> {
        self.entries.last().map_or(self.head.last, |entry| Some(entry.bare.append_id))
    }

    pub(super) fn position(&self, read_at: Timestamp) -> Position {
        Position::new(self.next(), self.last(), read_at)
    }

    pub(super) fn find(&self, id: AppendId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.bare.append_id == id)
    }

    /// The index of the record with this number, and of its first element (or where these would be): everything before is older.
    pub(super) fn cut(&self, seq: u64) -> (usize, usize) {
        let entry = self.entries.iter().position(|entry| entry.bare.seq >= seq).unwrap_or(self.entries.len());
        (entry, self.place(entry))
    }

    /// The index of a record's first element, or the number of elements for the index after the last record.
    pub(super) fn place(&self, entry: usize) -> usize {
        self.entries.get(entry).map_or(self.elements.len(), |entry| entry.at)
    }

    /// The bytes of a record's elements in its list.
    pub(super) fn bytes(&self, entry: &Entry) -> usize {
        self.elements[entry.at..entry.at + entry.count].iter().map(|(_, element)| 1 + value_bytes(element)).sum()
    }

    /// Reads a record whose messages are in this list.
    pub(super) fn record(&self, session: &str, entry: &Entry) -> Result<Record, Error> {
        let elements = &self.elements[entry.at..entry.at + entry.count];
        let messages: Vec<Message> = elements
            .iter()
            .enumerate()
            .map(|(n, (_, element))| match element::decode(element) {
                Ok(element) => Ok(element.message),
                Err(why) => Err(Error::corrupt(format!(
                    "message {} of session {session:?} (record {}) cannot be read: its element {why}; nothing was skipped or \
                     changed, repair the item in the table or use another session",
                    entry.at + n,
                    entry.bare.seq
                ))),
            })
            .collect::<Result<_, _>>()?;
        Ok(entry.bare.with(messages))
    }
}

impl Entry {
    fn bare(bare: Bare, at: usize) -> Self {
        Self { bare, at, count: 0, parts: None, foreign: false }
    }
}

impl Bare {
    /// Reads the record that a mark begins; `None` if it is unreadable. A number below `next`, from a list that an original brought
    /// back, is raised to `next`: numbers only grow, and a load relies on that.
    fn of(mark: &Mark, next: u64) -> Option<Self> {
        let seq = mark.get("seq").map_or(Some(next), Value::as_u64)?.max(next);
        let rewind = match mark.get("rewind") {
            None => None,
            Some(rewind) => Some(rewind.as_u64().filter(|rewind| *rewind <= seq)?),
        };
        let metadata = match mark.get("metadata") {
            None => None,
            Some(metadata) => Some(metadata.as_object()?.clone()),
        };
        let sent_at = match mark.get("sent") {
            None => Vec::new(),
            Some(times) => {
                let time = |time: &Value| if time.is_null() { Some(None) } else { self::time(time).map(Some) };
                times.as_array()?.iter().map(time).collect::<Option<_>>()?
            }
        };
        let (append_id, created_at) = (parse_id(mark.get("id")?)?, time(mark.get("at")?)?);
        (seq <= MAX_SEQ).then_some(Self { seq, append_id, created_at, rewind, metadata, sent_at })
    }

    /// Writes it as a mark. The number is included only if it does not follow from the records before.
    pub(super) fn mark(&self, says_seq: bool) -> Mark {
        let mut mark = Mark::new();
        mark.insert("id".into(), spell_id(self.append_id).into());
        mark.insert("at".into(), json!(self.created_at));
        if says_seq {
            mark.insert("seq".into(), self.seq.into());
        }
        if let Some(rewind) = self.rewind {
            mark.insert("rewind".into(), rewind.into());
        }
        if let Some(metadata) = &self.metadata {
            mark.insert("metadata".into(), metadata.clone().into());
        }
        if !self.sent_at.is_empty() {
            mark.insert("sent".into(), json!(self.sent_at));
        }
        mark
    }

    pub(super) fn with(&self, messages: Vec<Message>) -> Record {
        // An original may have cut the record short at its end.
        let sent_at = self.sent_at.get(..messages.len()).unwrap_or_default().to_vec();
        let mut record = Record::new(self.seq, self.append_id, self.created_at).with_entries(messages);
        (record.rewind, record.metadata, record.sent_at) = (self.rewind, self.metadata.clone(), sent_at);
        record
    }
}

impl Parts {
    pub(super) fn of(value: &Value) -> Option<Self> {
        let count = usize::try_from(value.get("count")?.as_u64()?).ok().filter(|count| (1..=MAX_PARTS).contains(count))?;
        Some(Self { id: item_id(value.get("id")?)?, count })
    }

    pub(super) fn value(&self) -> Value {
        json!({"id": self.id, "count": self.count})
    }
}

impl Head {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::of(&serde_json::from_str(text).ok()?)
    }

    fn of(value: &Value) -> Option<Self> {
        // `None` if it is present but unreadable: what it leads to must not be skipped.
        let text = |name: &str| match value.get(name) {
            None => Some(None),
            Some(text) => Some(Some(item_id(text)?)),
        };
        let bare = value.get("bare").map_or(Some(&[][..]), |bare| bare.as_array().map(Vec::as_slice))?;
        Some(Self {
            next: value.get("next")?.as_u64().filter(|next| *next <= MAX_SEQ + 1)?,
            last: match value.get("last") {
                None => None,
                Some(id) => Some(parse_id(id)?),
            },
            segment: text("segment")?,
            root: text("root")?,
            gone: text("gone")?,
            bare: bare.iter().map(|bare| Bare::of(bare.as_object()?, 0)).collect::<Option<_>>()?,
        })
    }

    pub(super) fn value(&self) -> Value {
        let mut fields = Map::from_iter([("next".to_owned(), self.next.into())]);
        if let Some(last) = self.last {
            fields.insert("last".into(), spell_id(last).into());
        }
        if let Some(segment) = &self.segment {
            fields.insert("segment".into(), segment.clone().into());
        }
        if let Some(root) = &self.root {
            fields.insert("root".into(), root.clone().into());
        }
        if let Some(gone) = &self.gone {
            fields.insert("gone".into(), gone.clone().into());
        }
        if !self.bare.is_empty() {
            fields.insert("bare".into(), self.bare.iter().map(|bare| Value::Object(bare.mark(true))).collect());
        }
        Value::Object(fields)
    }

    /// Whether it is the default.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

fn unreadable(session: &str, attribute: &str) -> Error {
    Error::corrupt(format!(
        "session {session:?} has an attribute {attribute} that cannot be read; the item may have been edited by hand"
    ))
}

/// A side item's id: a UUID. Anything else could make a key that DynamoDB refuses.
pub(super) fn item_id(value: &Value) -> Option<String> {
    value.as_str().filter(|id| Uuid::try_parse(id).is_ok()).map(str::to_owned)
}

pub(super) fn spell_id(id: AppendId) -> String {
    BASE64.encode(id.as_bytes())
}

pub(super) fn parse_id(value: &Value) -> Option<AppendId> {
    Some(AppendId::from_bytes(BASE64.decode(value.as_str()?).ok()?.try_into().ok()?))
}

pub(super) fn time(value: &Value) -> Option<Timestamp> {
    value.as_i64().map(Timestamp::from_millis)
}

/// The mark of an element, empty if it has none; `None` if it is present but unreadable.
pub(super) fn mark_of(element: &AttributeValue) -> Option<Mark> {
    let AttributeValue::M(fields) = element else { return Some(Mark::new()) };
    match fields.get(MARK).or_else(|| element::kwargs_of(fields)?.get(MARK)) {
        None => Some(Mark::new()),
        Some(AttributeValue::S(text)) => serde_json::from_str(text).ok(),
        Some(AttributeValue::B(bytes)) => mark::unpack_mark(bytes.as_ref()),
        Some(_) => None,
    }
}

/// The id of an original's element: a hash of its content and of the record before it. So a position tells a list from one that was
/// cleared and has grown to the same length.
fn id_of_foreign(last: Option<AppendId>, element: &AttributeValue) -> AppendId {
    let mut name = last.map_or_else(Vec::new, |last| last.as_bytes().to_vec());
    spell(element, &mut name);
    AppendId::from_bytes(*Uuid::new_v5(&ORIGINALS, &name).as_bytes())
}

/// Encodes a value as bytes, the same for equal values.
fn spell(value: &AttributeValue, out: &mut Vec<u8>) {
    let mut part = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend((bytes.len() as u64).to_be_bytes());
        out.extend(bytes);
    };
    match value {
        AttributeValue::S(text) => part(b'S', text.as_bytes()),
        AttributeValue::N(number) => part(b'N', number.as_bytes()),
        AttributeValue::B(bytes) => part(b'B', bytes.as_ref()),
        AttributeValue::Bool(is) => part(b'?', &[u8::from(*is)]),
        AttributeValue::L(list) => {
            part(b'L', &(list.len() as u64).to_be_bytes());
            list.iter().for_each(|value| spell(value, out));
        }
        AttributeValue::M(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort_unstable();
            part(b'M', &(keys.len() as u64).to_be_bytes());
            for key in keys {
                spell(&AttributeValue::S(key.clone()), out);
                spell(&map[key], out);
            }
        }
        // Null, and types that no original writes.
        _ => part(b'0', &[]),
    }
}
