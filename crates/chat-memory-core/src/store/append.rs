//! Appends: what is written, and what the store returns.

use std::time::Duration;

use serde_json::{Map, Value};

use super::directory::{check_metadata, check_record_metadata};
use super::redact::are_left_of;
use super::{AppendId, Cost, History, Position, Record, Ticket};
use crate::entry::Entry;
use crate::error::Error;
use crate::message::Message;
use crate::session::{Owner, SessionId};
use crate::timestamp::Timestamp;

/// How long an idempotency key is remembered: 24 hours from its record's time.
pub const KEY_LIFETIME: Duration = Duration::from_hours(24);

/// The longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The latest time that an append may give: the largest number of milliseconds with 13 digits, in the year 2286.
pub const MAX_TIME: Timestamp = Timestamp::from_millis(9_999_999_999_999);

/// Identifies repeated attempts of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A first attempt: the store generates an id. Each call appends again.
    New,
    /// The caller's own idempotency key: a repeat within [`KEY_LIFETIME`] finds the first record.
    Key(String),
    /// A repeat of an append whose outcome was unknown.
    Ticket(Ticket),
}

/// One append: entries, most of them messages, that become one record, all or nothing, and the conditions on it.
///
/// ```
/// use chat_memory::{Append, Message};
/// let turn = Append::new([Message::user("What is 2 + 2?"), Message::assistant("4.")]).with_key("request-17");
/// assert_eq!(turn.messages().count(), 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an append does nothing until a store takes it"]
pub struct Append {
    entries: Vec<Entry>,
    metadata: Option<Map<String, Value>>,
    rewind: Option<u64>,
    /// For a rewind: when the last record that it hides expires. The rewind must not expire earlier.
    hides_until: Option<Expiry>,
    expected: Option<Position>,
    identity: Identity,
    owner: Option<Owner>,
    title: Option<String>,
    session_metadata: Option<Map<String, Value>>,
    /// When each entry was sent; empty if that is when the record is written.
    sent_at: Vec<Option<Timestamp>>,
    started_at: Option<Timestamp>,
}

/// How long something lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// Until this time.
    Until(Timestamp),
    /// Forever.
    Forever,
}

impl Expiry {
    /// Until this time; forever if it is `None`.
    pub fn of(expires_at: Option<Timestamp>) -> Self {
        expires_at.map_or(Self::Forever, Self::Until)
    }

    /// Returns the time at which it ends.
    pub fn at(self) -> Option<Timestamp> {
        match self {
            Self::Until(at) => Some(at),
            Self::Forever => None,
        }
    }

    /// Whether it has ended at this time.
    pub fn is_over(self, now: Timestamp) -> bool {
        self.at().is_some_and(|at| at <= now)
    }
}

impl Append {
    /// Creates an append of these messages, or of any other [entries](Entry).
    pub fn new(entries: impl IntoIterator<Item = impl Into<Entry>>) -> Self {
        Self {
            entries: entries.into_iter().map(Into::into).collect(),
            metadata: None,
            rewind: None,
            hides_until: None,
            expected: None,
            identity: Identity::New,
            owner: None,
            title: None,
            session_metadata: None,
            sent_at: Vec::new(),
            started_at: None,
        }
    }

    /// Creates a clear, which hides everything before it.
    pub fn clear() -> Self {
        Self::replace_all(None::<Entry>)
    }

    /// Creates a clear that replaces everything before it with these entries.
    pub fn replace_all(entries: impl IntoIterator<Item = impl Into<Entry>>) -> Self {
        Self { rewind: Some(0), hides_until: Some(Expiry::Forever), ..Self::new(entries) }
    }

    /// Removes the records from number `seq` on and puts `entries` in their place: `None::<Message>` for none. The append expects the position of `history`,
    /// so that nothing is removed that another writer added in the meantime: it then fails with a conflict.
    ///
    /// What earlier rewinds and clears hide stays hidden: if record `seq` is itself a rewind or a clear, only its own entries
    /// are removed.
    ///
    /// # Errors
    /// Invalid if `history` has no visible record with this number.
    pub fn rewind(history: &History, seq: u64, entries: impl IntoIterator<Item = impl Into<Entry>>) -> Result<Self, Error> {
        let Some(record) = history.records.iter().find(|record| record.seq == seq) else {
            let why = "no such record in what was read of the session; give the number (seq) of one that it shows";
            return Err(Error::invalid(format!("cannot rewind to record {seq}: {why}")));
        };
        // Removing a rewind or a clear must not bring back what it hid.
        let to = record.rewind.unwrap_or(seq);
        let hidden = history.records.iter().filter(|record| record.seq >= seq);
        let hides_until = hidden.map(|record| Expiry::of(record.expires_at)).max();
        Ok(Self { rewind: Some(to), hides_until, ..Self::new(entries) }.with_expected(history.position.clone()))
    }

    /// Removes the last `turns` turns and puts `entries` in their place. A turn is a user's message and everything up to the
    /// next one; if there are fewer turns, all of them are removed. Entries before a turn in the same record, such as a system
    /// prompt, stay. Returns `None` if `history` has no turn.
    ///
    /// # Errors
    /// As [`rewind`](Self::rewind).
    pub fn rewind_turns(
        history: &History,
        turns: usize,
        entries: impl IntoIterator<Item = impl Into<Entry>>,
    ) -> Result<Option<Self>, Error> {
        let Some((seq, kept)) = cut_before_turn(history, turns) else { return Ok(None) };
        let record = history.records.iter().find(|record| record.seq == seq);
        let mut times: Vec<_> = record.map_or_else(Vec::new, |record| record.entry_times().take(kept.len()).collect());
        let rewind = Self::rewind(history, seq, kept.into_iter().chain(entries.into_iter().map(Into::into)))?;
        if times.is_empty() {
            return Ok(Some(rewind));
        }
        // Entries that stay keep their times; the replacements are sent now.
        times.resize(rewind.entries.len(), Some(Timestamp::now()));
        Ok(Some(rewind.sent_at(times)))
    }

    /// Refuses the append if the session was modified since this position was read.
    pub fn with_expected(mut self, position: Position) -> Self {
        self.expected = Some(position);
        self
    }

    /// Identifies the append by the caller's idempotency key: it is stored once, however often it is repeated within
    /// [`KEY_LIFETIME`]. The same key with another body is an error.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.identity = Identity::Key(key.into());
        self
    }

    /// Repeats the append that this ticket was returned for. It is stored once, whether or not the first attempt was.
    pub fn with_ticket(mut self, ticket: Ticket) -> Self {
        self.identity = Identity::Ticket(ticket);
        self
    }

    /// Adds the caller's own metadata, a small JSON object stored next to the entries.
    pub fn with_metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Sets the owner of the session if this append starts it.
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Sets the title of the session if this append starts it. An empty title is none.
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into()).filter(|title| !title.is_empty());
        self
    }

    /// Sets the caller's metadata of the session if this append starts it. A store without a directory has no place for it.
    pub fn with_session_metadata(mut self, metadata: impl Into<Option<Map<String, Value>>>) -> Self {
        self.session_metadata = metadata.into();
        self
    }

    /// Gives each entry the time when it was sent; `None` if it is unknown. Without this call, the time
    /// is when the record is written.
    ///
    /// Times are stored next to the entries and returned in [`Record::sent_at`]. They are ignored when a repeat is
    /// [compared](Self::is_body_of) with its record.
    ///
    /// ```
    /// use chat_memory::{Append, Message, Timestamp};
    /// let asked = Timestamp::from_millis(1_700_000_000_000);
    /// let turn = Append::new([Message::user("Hi"), Message::assistant("Hello!")]).sent_at([Some(asked), None]);
    /// assert!(turn.check().is_ok());
    /// assert!(turn.sent_at([None]).check().is_err(), "one time for two messages");
    /// ```
    pub fn sent_at(mut self, times: impl IntoIterator<Item = Option<Timestamp>>) -> Self {
        self.sent_at = times.into_iter().collect();
        self
    }

    /// Sets when the session started if this append starts it; the default is when the record is written.
    /// [`SessionInfo::created_at`](super::SessionInfo::created_at) returns this time and lists are sorted by it. A time in the
    /// future counts as now.
    pub fn started_at(mut self, at: Timestamp) -> Self {
        self.started_at = Some(at);
        self
    }

    /// Keeps only these of the entries, with their times, and expects this position.
    pub(super) fn only(&self, keep: &[bool], position: Position) -> Self {
        let kept = |n: usize| keep.get(n).copied().unwrap_or_default();
        let entries = self.entries.iter().enumerate().filter(|(n, _)| kept(*n)).map(|(_, entry)| entry.clone()).collect();
        let sent_at = self.sent_at.iter().enumerate().filter(|(n, _)| kept(*n)).map(|(_, at)| *at).collect();
        Self { entries, sent_at, expected: Some(position), ..self.clone() }
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Iterates over the entries that are messages.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.entries.iter().filter_map(Entry::as_message)
    }

    /// The caller's metadata.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.metadata.as_ref()
    }

    /// The number of the first record that this append removes.
    pub fn rewinds_to(&self) -> Option<u64> {
        self.rewind
    }

    /// The position that the session must be at.
    pub fn expected(&self) -> Option<&Position> {
        self.expected.as_ref()
    }

    /// What identifies a repeat of this append.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The owner for a new session.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// The title for a new session.
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// The caller's metadata for a new session.
    pub fn session_metadata(&self) -> Option<&Map<String, Value>> {
        self.session_metadata.as_ref()
    }

    /// When each entry was sent; empty if that is when the record is written.
    pub fn times(&self) -> &[Option<Timestamp>] {
        &self.sent_at
    }

    /// Returns when a session that this append starts counts as started: the [given time](Self::started_at), or now.
    pub fn starts_at(&self, now: Timestamp) -> Timestamp {
        self.started_at.map_or(now, |at| at.min(now))
    }

    /// Returns the last activity that this append gives its session: when its newest entry was sent, or
    /// `now` if that is unknown or in the future.
    pub fn active_at(&self, now: Timestamp) -> Timestamp {
        self.times().iter().flatten().copied().max().map_or(now, |sent_at| sent_at.min(now))
    }

    /// Returns when the record expires in a store that keeps records for this long: not before the
    /// records that it hides, and never if those never expire. A clear's entries expire like any others.
    pub fn expires_at(&self, now: Timestamp, retention: Option<Duration>) -> Option<Timestamp> {
        let own = now.expires_after(retention?)?;
        match (self.rewind, self.hides_until) {
            (None | Some(0), _) => Some(own),
            (Some(_), Some(Expiry::Until(hidden))) => Some(own.max(hidden)),
            (Some(_), _) => None,
        }
    }

    /// Returns the append's id: derived from its key, taken from its ticket, or new.
    pub fn id_in(&self, session: &SessionId) -> AppendId {
        match &self.identity {
            Identity::New => AppendId::random(),
            Identity::Key(key) => AppendId::of_key(session, key),
            Identity::Ticket(ticket) => ticket.append_id(),
        }
    }

    /// Creates the record that this append becomes under this number, in a store that keeps records for this long. Its
    /// id is [`id_in`](Self::id_in) the session.
    pub fn record(&self, seq: u64, append_id: AppendId, now: Timestamp, retention: Option<Duration>) -> Record {
        Record {
            seq,
            append_id,
            created_at: now,
            expires_at: self.expires_at(now, retention),
            rewind: self.rewind,
            metadata: self.metadata.clone(),
            sent_at: self.sent_at.clone(),
            entries: self.entries.clone(),
        }
    }

    /// Checks whether any store may accept this append. Stores call this first, and
    /// [`check_title`](crate::backend::check_title) for its title and [`SessionId::check`] for the session.
    ///
    /// # Errors
    /// Invalid if there is nothing to append, an entry or the metadata would not round-trip, the key is empty or too long, the
    /// times are out of range or not one per entry, or a rewind (other than to 0) carries no position.
    pub fn check(&self) -> Result<(), Error> {
        if self.entries.is_empty() && self.rewind.is_none() {
            return Err(Error::invalid("empty append: give at least one message"));
        }
        for (place, entry) in self.entries.iter().enumerate() {
            let what = if entry.as_message().is_some() { "message" } else { "entry" };
            entry.check().map_err(|e| Error::invalid(format!("{what} {} of the append: {e}", place + 1)))?;
        }
        self.metadata.as_ref().map_or(Ok(()), check_record_metadata)?;
        self.session_metadata.as_ref().map_or(Ok(()), check_metadata)?;
        self.check_times()?;
        if let Identity::Key(key) = &self.identity
            && (key.is_empty() || key.len() > MAX_KEY_BYTES)
        {
            return Err(Error::invalid(format!("an idempotency key has 1 to {MAX_KEY_BYTES} bytes; this one has {}", key.len())));
        }
        match (self.rewind, &self.expected) {
            (Some(1..), None) => Err(Error::invalid(
                "rewind without a position: give the position of the load that returned the records to remove",
            )),
            (Some(seq), Some(position)) if seq > 0 && seq >= position.next() => {
                Err(Error::invalid(format!("cannot rewind to record {seq}: the session has {} records", position.next())))
            }
            _ => Ok(()),
        }
    }

    /// Checks appends that are to be stored together ([`ChatStore::append_all`](super::ChatStore::append_all)), each as
    /// [`check`](Self::check) does, and returns the first and the others. Stores call this first.
    ///
    /// # Errors
    /// Invalid if there are none, if one of them rewinds, or if one after the first has a key, a ticket or an expected position:
    /// the first one's apply to all.
    pub fn check_all(appends: &[Self]) -> Result<(&Self, &[Self]), Error> {
        let [first, more @ ..] = appends else {
            return Err(Error::invalid("no records to append: give at least one"));
        };
        for (place, append) in appends.iter().enumerate() {
            append.check()?;
            if append.rewind.is_some() {
                return Err(Error::invalid(
                    "a rewind or a clear cannot be appended together with other records; append it alone",
                ));
            }
            if place > 0 && (append.identity != Identity::New || append.expected.is_some()) {
                return Err(Error::invalid(
                    "only the first of several records may have a key, a ticket or an expected position; they apply to all",
                ));
            }
        }
        Ok((first, more))
    }

    /// Refuses entries that are not messages. Stores without the capability
    /// [`entries`](super::Capabilities::entries) call this; `store` names such a store, and `other` those that can hold them.
    ///
    /// # Errors
    /// Unsupported if there is such an entry; the error names it.
    pub fn check_messages_only(&self, store: &str, other: &str) -> Result<(), Error> {
        match self.entries.iter().position(|entry| entry.as_message().is_none()) {
            None => Ok(()),
            Some(place) => Err(Error::new(
                crate::ErrorKind::Unsupported,
                format!(
                    "cannot append entry {}: it is not a chat message, and {store} stores nothing else; use {other}",
                    place + 1
                ),
            )),
        }
    }

    fn check_times(&self) -> Result<(), Error> {
        let (times, entries) = (self.sent_at.len(), self.entries.len());
        if times > 0 && times != entries {
            return Err(Error::invalid(format!(
                "invalid times of the append: {times} for {entries} entries; give one for each entry, or none"
            )));
        }
        let given = self.sent_at.iter().flatten().chain(&self.started_at);
        match given.into_iter().find(|at| at.known().is_none() || **at > MAX_TIME) {
            Some(at) => Err(Error::invalid(format!(
                "invalid time {} of the append: out of range; give milliseconds since 1970, from 1 to {}",
                at.as_millis(),
                MAX_TIME.as_millis()
            ))),
            None => Ok(()),
        }
    }

    /// Whether `record`, found under this append's id, is what this append would have written. A store does not ask this of a record
    /// whose entries were swept: nothing is left to compare, and the repeat succeeds. Of a redacted entry, what is left is compared.
    pub fn is_body_of(&self, record: &Record) -> bool {
        are_left_of(&record.entries, &self.entries) && record.metadata == self.metadata && record.rewind == self.rewind
    }

    /// Returns the error for a repeat whose body differs from the stored one.
    pub fn reused(&self, seq: u64) -> Error {
        let what = match &self.identity {
            Identity::Key(key) => format!("the idempotency key {key:?}"),
            _ => "the ticket".to_owned(),
        };
        Error::new(
            crate::ErrorKind::KeyReused,
            format!("{what} was already used for record {seq}, which has other messages; use a new key for new messages"),
        )
    }
}

/// Returns the record in which the last `turns` turns start, and its entries before them.
fn cut_before_turn(history: &History, turns: usize) -> Option<(u64, Vec<Entry>)> {
    let mut left = turns;
    for record in history.records.iter().rev() {
        for (place, entry) in record.entries.iter().enumerate().rev() {
            if left > 0 && entry.as_message().is_some_and(Message::begins_turn) {
                left -= 1;
                if left == 0 {
                    return Some((record.seq, record.entries[..place].to_vec()));
                }
            }
        }
    }
    // Fewer turns than asked for: remove all of them and keep what comes before the first (a system prompt).
    let turns = turns - left;
    if turns == 0 { None } else { cut_before_turn(history, turns) }
}

/// The result of an append.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Appended {
    /// The record's number.
    pub seq: u64,
    /// The position after the record, for the next append. Other writers may already have appended since.
    pub position: Position,
    /// When the record was written.
    pub created_at: Timestamp,
    /// Whether an earlier attempt with the same key or ticket had already written the record. (If two callers of one key both
    /// lost their response, each may see this as true: nothing records whose request it was.)
    pub repeated: bool,
    /// Whether this append started the session, whose log was empty.
    pub started: bool,
    /// What it cost.
    pub cost: Cost,
}

impl Appended {
    /// Creates the result for the record with number `seq`.
    pub fn new(seq: u64, position: Position, created_at: Timestamp) -> Self {
        Self { seq, position, created_at, repeated: false, started: false, cost: Cost::default() }
    }

    /// Sets what it cost.
    #[must_use]
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewinding_a_rewind_does_not_reveal_hidden_records() {
        let record = |seq, rewind| Record {
            rewind,
            ..Record::new(seq, AppendId::random(), Timestamp::UNIX_EPOCH).with_entries([Message::user("text")])
        };
        let records = vec![record(7, Some(0)), record(8, None), record(12, Some(9)), record(13, None)];
        let position = Position::new(14, Some(records[3].append_id), Timestamp::UNIX_EPOCH);
        let history = History::new(records, true, position.clone());
        for (seq, rewinds_to) in [(7, 0), (8, 8), (12, 9), (13, 13)] {
            let rewind = Append::rewind(&history, seq, None::<Message>).expect("it is in view");
            assert_eq!((rewind.rewinds_to(), rewind.expected()), (Some(rewinds_to), Some(&position)));
        }
        assert!(Append::rewind(&history, 9, None::<Message>).expect_err("not in view").is_invalid());
    }
}
