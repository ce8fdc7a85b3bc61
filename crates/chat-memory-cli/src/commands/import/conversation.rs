//! A conversation from a file, in any format.

use chat_memory::store::MAX_TIME;
use chat_memory::wire::Format;
use chat_memory::{Entry, Error, Message, Owner, SessionId, Timestamp};
use chat_memory::{backend::check_title, store::MAX_TITLE_BYTES};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::forms;
use super::source::{Found, Place};
use crate::commands::Choice;
use crate::commands::ids::readable_id;

/// The UUIDv5 namespace for the ids of conversations without one.
const WITHOUT_ID: Uuid = Uuid::from_u128(0x6d1f_0c52_77be_4f0a_9d3e_2a41_58c6_e7b9);

/// The format of a file's conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Detected for each conversation.
    Auto,
    /// `{"messages": [...]}` of messages in this format.
    Messages(Format),
    Chatgpt,
    Sharegpt,
}

impl Form {
    /// Those that are not formats of messages, with their help.
    pub const OTHERS: &[(&str, &str)] = &[
        ("auto", "Detect the format of each conversation"),
        ("chatgpt", "ChatGPT's export: conversations.json"),
        ("sharegpt", "{\"conversations\": [{\"from\", \"value\"}]}"),
    ];
}

impl From<Choice> for Form {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Format(format) => Self::Messages(format),
            Choice::Other("chatgpt") => Self::Chatgpt,
            Choice::Other("sharegpt") => Self::Sharegpt,
            Choice::Other(_) => Self::Auto,
        }
    }
}

/// A conversation, ready to be written.
#[derive(Debug)]
pub struct Conversation {
    pub place: Place,
    pub id: SessionId,
    /// The reason if the id is not the file's own.
    pub made_id: Option<MadeId>,
    pub entries: Vec<Entry>,
    /// When each entry was sent.
    pub times: Vec<Option<Timestamp>>,
    pub owner: Option<Owner>,
    pub title: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub started_at: Option<Timestamp>,
    /// Fields of the file that a session cannot hold.
    pub left_out: Vec<String>,
}

/// Why a conversation has an id that is not in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MadeId {
    /// The file has none.
    None,
    /// No store accepts it.
    Refused(String),
}

/// A conversation as its format has it.
#[derive(Debug, Default)]
pub struct Draft {
    pub id: Option<String>,
    pub messages: Vec<Message>,
    /// When each message was sent; empty if the format does not say.
    pub times: Vec<Option<Timestamp>>,
    pub others: Vec<OtherEntry>,
    pub owner: Option<Owner>,
    pub title: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub started_at: Option<Timestamp>,
    pub left_out: Vec<String>,
}

/// An entry that is not a message.
#[derive(Debug)]
pub struct OtherEntry {
    /// The number of messages before it.
    pub after: usize,
    pub entry: Entry,
    pub sent_at: Option<Timestamp>,
}

/// The prefix of each id, and the number of earlier conversations with the same content.
#[derive(Debug, Default)]
pub struct Ids {
    pub prefix: String,
    seen: std::collections::HashMap<Uuid, u64>,
}

impl Ids {
    pub fn with_prefix(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// The id for a conversation without one, derived from its content, so that the same file gives the same ids again. If several
    /// have the same content, their ids still differ.
    fn made_of(&mut self, content: &Value) -> String {
        let of_content = Uuid::new_v5(&WITHOUT_ID, content.to_string().as_bytes());
        let count = self.seen.entry(of_content).or_default();
        *count += 1;
        if *count == 1 { of_content.to_string() } else { format!("{of_content}-{count}") }
    }
}

impl Conversation {
    /// Parses a conversation.
    ///
    /// # Errors
    /// Invalid, with the place and what was expected.
    pub fn read(found: Found, form: Form, ids: &mut Ids) -> Result<Self, Error> {
        let Found { place, value } = found;
        Self::of(place, value, form, ids).map_err(|e| e.context(place))
    }

    fn of(place: Place, value: Value, form: Form, ids: &mut Ids) -> Result<Self, Error> {
        let form = if form == Form::Auto { forms::detect(&value)? } else { form };
        let Value::Object(fields) = value else { return Err(forms::expected(form, "a conversation is a JSON object")) };
        let content = ["messages", "input", "mapping", "conversations"].into_iter().find_map(|name| fields.get(name).cloned());
        let draft = match form {
            Form::Auto | Form::Messages(_) => forms::messages::read(fields, form)?,
            Form::Chatgpt => forms::chatgpt::read(fields)?,
            Form::Sharegpt => forms::sharegpt::read(fields)?,
        };
        let (given, none) = match draft.id {
            Some(id) => (id, None),
            None => (ids.made_of(&content.unwrap_or_default()), Some(MadeId::None)),
        };
        let given = format!("{}{given}", ids.prefix);
        let (id, made_id) = match SessionId::new(given.as_str()) {
            Ok(id) => (id, none),
            Err(_) => (readable_id(&given)?, Some(MadeId::Refused(given))),
        };
        let mut times = draft.times;
        times.resize(draft.messages.len(), None);
        let mut entries: Vec<_> = draft.messages.into_iter().map(Entry::from).collect();
        // From the last on, so that the places before it stay true.
        for OtherEntry { after, entry, sent_at } in draft.others.into_iter().rev() {
            entries.insert(after, entry);
            times.insert(after, sent_at);
        }
        Ok(Self {
            place,
            id,
            made_id,
            started_at: draft.started_at.or_else(|| times.iter().flatten().next().copied()),
            entries,
            times,
            owner: draft.owner,
            title: draft.title,
            metadata: draft.metadata,
            left_out: draft.left_out,
        })
    }
}

/// A time in a file: RFC 3339, or milliseconds since 1970.
///
/// # Errors
/// Invalid, with the field and the value.
pub fn time(field: &str, value: &Value) -> Result<Option<Timestamp>, Error> {
    let read = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    read.map(Timestamp::from_millis).filter(|at| at.known().is_some() && *at <= MAX_TIME).map(Some).ok_or_else(|| {
        Error::invalid(format!(
            "invalid {field} {value}: expected a time such as \"2026-05-01T12:00:00Z\" or milliseconds since 1970, or null"
        ))
    })
}

/// A time in seconds since 1970, as other programs write it; implausible times count as unknown.
pub fn time_of_seconds(value: Option<&Value>) -> Option<Timestamp> {
    let ms = value?.as_f64()? * 1000.0;
    (1.0..=MAX_TIME.as_millis() as f64).contains(&ms).then(|| Timestamp::from_millis(ms.round() as i64))
}

/// Another program's title as one of ours: on one line, and shortened if it is too long.
pub fn plain_title(title: &str) -> Option<String> {
    let mut plain: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.len() > MAX_TITLE_BYTES {
        let end = (0..=MAX_TITLE_BYTES - '…'.len_utf8()).rev().find(|at| plain.is_char_boundary(*at)).unwrap_or(0);
        plain.truncate(end);
        plain.push('…');
    }
    let plain = plain.trim();
    (!plain.is_empty() && check_title(plain).is_ok()).then(|| plain.to_owned())
}
