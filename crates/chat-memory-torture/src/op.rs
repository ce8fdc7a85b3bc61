//! An append that any process can make again: it is described, not stored.

use chat_memory::store::{Append, AppendId, Expiry, History, Position, Record};
use chat_memory::{Error, Message, Owner, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An append. However often and by whomever it is tried, it must be stored at most once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// Its number, unique in the history.
    pub number: u64,
    /// The session.
    pub session: String,
    /// What it does.
    pub what: What,
    /// How many messages it has.
    pub messages: usize,
    /// How long each is, in characters.
    pub length: usize,
    /// The position that it expects, as text.
    pub expected: Option<String>,
    /// Whether it has an idempotency key.
    pub keyed: bool,
    /// The wall clock when it was first tried, in epoch milliseconds.
    pub first_tried: i64,
}

/// What an append does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It adds messages.
    Add,
    /// It removes everything, and adds messages or none.
    ReplaceAll,
    /// It removes the records from this number on.
    Rewind {
        /// The number.
        to: u64,
        /// When the last record that it hides expires, in epoch seconds; `None` if one never does.
        hides_until: Option<i64>,
    },
}

impl What {
    /// Returns the number of the first record that it removes.
    pub fn rewinds_to(self) -> Option<u64> {
        match self {
            Self::Add => None,
            Self::ReplaceAll => Some(0),
            Self::Rewind { to, .. } => Some(to),
        }
    }
}

impl Op {
    /// Returns the session.
    ///
    /// # Errors
    /// If the id is invalid.
    pub fn session(&self) -> Result<SessionId, Error> {
        SessionId::new(&self.session)
    }

    /// Builds the append.
    ///
    /// # Errors
    /// If the description is invalid.
    pub fn append(&self) -> Result<Append, Error> {
        let messages = messages(self.number, self.messages, self.length);
        let expected = self.expected.as_deref().map(str::parse::<Position>).transpose()?;
        let mut append = match (self.what, expected) {
            (What::Add, None) => Append::new(messages),
            (What::Add, Some(position)) => Append::new(messages).with_expected(position),
            (What::ReplaceAll, None) => Append::replace_all(messages),
            (What::ReplaceAll, Some(position)) => Append::replace_all(messages).with_expected(position),
            (What::Rewind { to, hides_until }, Some(position)) => {
                Append::rewind(&History::new(vec![hidden(to, hides_until)], true, position), to, messages)?
            }
            (What::Rewind { .. }, None) => return Err(Error::invalid("a rewind expects a position")),
        };
        if self.keyed {
            append = append.with_key(format!("key {}", self.number));
        }
        if let Some(owner) = owner(OWNERS[self.number as usize % OWNERS.len()])? {
            append = append.with_owner(owner).with_title(format!("title {}", self.number));
        }
        Ok(append.with_metadata(metadata(self.number, self.messages, self.length)))
    }
}

/// The owners of new sessions; an empty text means none.
pub const OWNERS: [&str; 3] = ["ada", "bob", ""];

/// Parses one of [`OWNERS`].
///
/// # Errors
/// If the name is invalid.
pub fn owner(name: &str) -> Result<Option<Owner>, Error> {
    if name.is_empty() { Ok(None) } else { Owner::new(name).map(Some) }
}

/// A record that represents everything that a rewind hides.
fn hidden(seq: u64, expires_at: Option<i64>) -> Record {
    let mut hidden = Record::new(seq, AppendId::from_bytes([0; 16]), Timestamp::UNIX_EPOCH);
    hidden.expires_at = expires_at.map(Timestamp::from_secs);
    hidden
}

/// Describes a rewind to this record of a history.
pub fn rewind(history: &History, seq: u64) -> Option<What> {
    let append = Append::rewind(history, seq, None::<Message>).ok()?;
    let hidden = history.records.iter().filter(|record| record.seq >= seq);
    let lasts = hidden.map(|record| Expiry::of(record.expires_at)).max();
    let hides_until = lasts.and_then(Expiry::at).map(Timestamp::as_secs);
    Some(What::Rewind { to: append.rewinds_to()?, hides_until })
}

/// Returns the messages of an append: incompressible text that no other append has.
pub fn messages(number: u64, count: usize, length: usize) -> Vec<Message> {
    let mut chance = fastrand::Rng::with_seed(number);
    let text = |n: usize, chance: &mut fastrand::Rng| {
        let filling: String = (0..length).map(|_| chance.alphanumeric()).collect();
        format!("{number}.{n} {filling}")
    };
    (0..count)
        .map(|n| {
            let text = text(n, &mut chance);
            if n % 2 == 0 { Message::user(text) } else { Message::assistant(text) }
        })
        .collect()
}

/// Returns the metadata of an append, which identifies its contents to whoever finds its record.
pub fn metadata(number: u64, count: usize, length: usize) -> Map<String, Value> {
    [("op", number), ("messages", count as u64), ("length", length as u64)]
        .map(|(name, n)| (name.to_owned(), n.into()))
        .into_iter()
        .collect()
}

/// Returns the append that a record is, and whether it is exactly what was appended.
pub fn recognize(record: &Record) -> (Option<u64>, bool) {
    let said = |name: &str| record.metadata.as_ref().and_then(|fields| fields.get(name)).and_then(Value::as_u64);
    let (Some(number), Some(count), Some(length)) = (said("op"), said("messages"), said("length")) else {
        // A delete's own clear carries no metadata.
        return (None, record.entries.is_empty() && record.metadata.is_none() && record.rewind == Some(0));
    };
    let (count, length) = (count as usize, length as usize);
    let equal = record.messages().eq(&messages(number, count, length))
        && !record.has_other_entries()
        && record.metadata == Some(metadata(number, count, length));
    (Some(number), equal)
}
