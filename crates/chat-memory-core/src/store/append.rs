//! What is appended, and what the store answers.

use serde_json::{Map, Value};

use super::position::wall_ms;
use super::{AppendId, History, Position, Receipt, Record, Ticket};
use crate::error::Error;
use crate::json;
use crate::message::Message;
use crate::session::{Owner, SessionId};

/// How long an idempotency key is looked for, in milliseconds: 24 hours from its record's time.
pub const KEY_LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

/// The longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The latest time that an append may give, in milliseconds since 1970: what 13 digits hold, in the year 2286.
pub const MAX_TIME_MS: i64 = 9_999_999_999_999;

/// By what an append is known if it is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Never tried before: the store makes an id. Each call appends anew.
    New,
    /// The caller's own idempotency key: a repeat within [`KEY_LIFETIME_MS`] finds the first record.
    Key(String),
    /// A repeat of an append that ended in doubt.
    Ticket(Ticket),
}

/// One append: messages that become one record, whole or not at all, and the conditions on it.
///
/// ```
/// use chat_memory::{Append, Message};
/// let turn = Append::new([Message::user("What is 2 + 2?"), Message::assistant("4.")]).with_key("request-17");
/// assert_eq!(turn.messages().len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an append does nothing until a store takes it"]
pub struct Append {
    messages: Vec<Message>,
    metadata: Option<Map<String, Value>>,
    rewind: Option<u64>,
    /// For a rewind: when the last of what it hides expires (epoch seconds); it must not expire earlier itself.
    hides_until: Option<Lasts>,
    expected: Option<Position>,
    identity: Identity,
    owner: Option<Owner>,
    title: Option<String>,
    /// When each message was sent; empty where that is when the record is written.
    sent_at: Vec<Option<i64>>,
    started_at: Option<i64>,
}

/// How long something lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lasts {
    /// Until this time, in epoch seconds.
    Until(i64),
    /// Without end.
    Forever,
}

impl Lasts {
    /// Until this time, in epoch seconds, or without end.
    pub fn of(expires_at: Option<i64>) -> Self {
        expires_at.map_or(Self::Forever, Self::Until)
    }

    /// The time at which it is over, in epoch seconds.
    pub fn seconds(self) -> Option<i64> {
        match self {
            Self::Until(at) => Some(at),
            Self::Forever => None,
        }
    }

    /// Whether it is over at this time, in epoch seconds.
    pub fn has_passed(self, now_s: i64) -> bool {
        self.seconds().is_some_and(|at| at <= now_s)
    }

    /// Whether it is over at this time, in epoch milliseconds.
    pub fn is_over(self, now_ms: i64) -> bool {
        self.has_passed(now_ms.div_euclid(1000))
    }
}

impl Append {
    /// An append of these messages.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self {
            messages: messages.into_iter().collect(),
            metadata: None,
            rewind: None,
            hides_until: None,
            expected: None,
            identity: Identity::New,
            owner: None,
            title: None,
            sent_at: Vec::new(),
            started_at: None,
        }
    }

    /// A clear: all that is before it is forgotten.
    pub fn clear() -> Self {
        Self::replace_all([])
    }

    /// A clear that puts these messages in place of all that is before it.
    pub fn replace_all(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { rewind: Some(0), hides_until: Some(Lasts::Forever), ..Self::new(messages) }
    }

    /// Takes back the records from number `seq` on, and puts `messages` in their place. It carries the position of
    /// `history`, since what another writer added meanwhile must not vanish unseen: then it ends in a conflict.
    ///
    /// What was taken back or cleared before stays so: where record `seq` is itself a rewind or a clear, its own messages go,
    /// and what it hid stays hidden.
    ///
    /// # Errors
    /// Invalid, when `history` does not show a record with this number.
    pub fn rewind(history: &History, seq: u64, messages: impl IntoIterator<Item = Message>) -> Result<Self, Error> {
        let Some(record) = history.records.iter().find(|record| record.seq == seq) else {
            return Err(Error::invalid(format!("record {seq} is not in the history that was read, so it cannot be taken back")));
        };
        // A record that itself took something back, or cleared, must not give it back by going: what it hid stays hidden.
        let to = record.rewind.unwrap_or(seq);
        let hidden = history.records.iter().filter(|record| record.seq >= seq);
        let hides_until = hidden.map(|record| Lasts::of(record.expires_at)).max();
        Ok(Self { rewind: Some(to), hides_until, ..Self::new(messages) }.expecting(history.position.clone()))
    }

    /// Takes back the last `turns` turns (each a user's message and all that follows it; fewer if there are fewer), and puts `messages` in
    /// their place. `None` where `history` shows no turn. What stands before a turn in the same record, such as a system prompt, stays.
    ///
    /// # Errors
    /// As [`rewind`](Self::rewind).
    pub fn rewind_turns(
        history: &History,
        turns: usize,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Option<Self>, Error> {
        let Some((seq, kept)) = cut_before_turn(history, turns) else { return Ok(None) };
        let record = history.records.iter().find(|record| record.seq == seq);
        let mut times: Vec<_> = record.map_or_else(Vec::new, |record| record.message_times().take(kept.len()).collect());
        let rewind = Self::rewind(history, seq, kept.into_iter().chain(messages))?;
        if times.is_empty() {
            return Ok(Some(rewind));
        }
        // What stays keeps its time; what comes in its place is sent now.
        times.resize(rewind.messages.len(), Some(wall_ms()));
        Ok(Some(rewind.sent_at(times)))
    }

    /// The same append, to be refused if anyone wrote to the session since this position was read.
    pub fn expecting(mut self, position: Position) -> Self {
        self.expected = Some(position);
        self
    }

    /// The same append, known by the caller's idempotency key: however often it is repeated within [`KEY_LIFETIME_MS`], it
    /// is stored once. The same key with another body is an error.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.identity = Identity::Key(key.into());
        self
    }

    /// The same append as the one that ended in doubt with this ticket: stored once, whether that one landed or not.
    pub fn with_ticket(mut self, ticket: Ticket) -> Self {
        self.identity = Identity::Ticket(ticket);
        self
    }

    /// The same append with the caller's own small JSON beside the messages.
    pub fn with_metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// The same append; if it starts the session, the session gets this owner.
    pub fn owned_by(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The same append; if it starts the session, the session gets this title.
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Gives each message its own time: when it was sent, in epoch milliseconds, `None` where that is unknown. Without this, the messages
    /// count as sent when the record is written.
    ///
    /// Times are stored next to the messages and come back in [`Record::sent_at`]. They are no part of what a repeat is
    /// [compared](Self::is_body_of) by.
    ///
    /// ```
    /// use chat_memory::{Append, Message};
    /// let turn = Append::new([Message::user("Hi"), Message::assistant("Hello!")]).sent_at([Some(1_700_000_000_000), None]);
    /// assert!(turn.check().is_ok());
    /// assert!(turn.sent_at([None]).check().is_err(), "one time for two messages");
    /// ```
    pub fn sent_at(mut self, times: impl IntoIterator<Item = Option<i64>>) -> Self {
        self.sent_at = times.into_iter().collect();
        self
    }

    /// The same append; if it starts the session, the session counts as started at this time (epoch milliseconds) and not when the record
    /// is written: [`SessionInfo::created_at`](super::SessionInfo::created_at) says it, and lists are in its order. A time in the future
    /// counts as now.
    pub fn started_at(mut self, epoch_ms: i64) -> Self {
        self.started_at = Some(epoch_ms);
        self
    }

    /// The messages.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The caller's own JSON.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.metadata.as_ref()
    }

    /// The number from which it takes back.
    pub fn rewinds_to(&self) -> Option<u64> {
        self.rewind
    }

    /// The expected position.
    pub fn expected(&self) -> Option<&Position> {
        self.expected.as_ref()
    }

    /// By what it is known if it is repeated.
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

    /// When each message was sent; empty where that is when the record is written.
    pub fn times(&self) -> &[Option<i64>] {
        &self.sent_at
    }

    /// When a session that this append starts counts as started: the [time given](Self::started_at), or now.
    pub fn starts_at(&self, now_ms: i64) -> i64 {
        self.started_at.map_or(now_ms, |at| at.min(now_ms))
    }

    /// When it makes its session active: as its newest message was sent, where that is known and not ahead of this time, and else then
    /// (epoch milliseconds).
    pub fn active_at(&self, now_ms: i64) -> i64 {
        self.times().iter().flatten().copied().max().map_or(now_ms, |sent_at| sent_at.min(now_ms))
    }

    /// When the record expires (epoch seconds) in a store that keeps records for `retention_s`: not before what it hides,
    /// and never where that has no expiry. A clear's messages expire as any others do.
    pub fn expires_at(&self, now_ms: i64, retention_s: Option<u64>) -> Option<i64> {
        // What would expire beyond the end of time does not expire.
        let own = now_ms.div_euclid(1000).checked_add(i64::try_from(retention_s?).ok()?)?;
        match (self.rewind, self.hides_until) {
            (None | Some(0), _) => Some(own),
            (Some(_), Some(Lasts::Until(hidden))) => Some(own.max(hidden)),
            (Some(_), _) => None,
        }
    }

    /// The append's id: the one its key or ticket names, or a new one.
    pub fn id_in(&self, session: &SessionId) -> AppendId {
        match &self.identity {
            Identity::New => AppendId::random(),
            Identity::Key(key) => AppendId::of_key(session, key),
            Identity::Ticket(ticket) => ticket.append_id(),
        }
    }

    /// Whether any store may take it. Stores call this first.
    ///
    /// # Errors
    /// Invalid, when there is nothing to append, a message or the metadata cannot come back equal, the key is empty or too long,
    /// the times are not one for each message or out of range, or a rewind (other than to 0) carries no position.
    pub fn check(&self) -> Result<(), Error> {
        if self.messages.is_empty() && self.rewind.is_none() {
            return Err(Error::invalid("there is nothing to append: give one message at least"));
        }
        for (place, message) in self.messages.iter().enumerate() {
            message.check().map_err(|e| Error::invalid(format!("message {} of the append: {e}", place + 1)))?;
        }
        if self.metadata.as_ref().is_some_and(|fields| fields.values().map(json::depth).max() >= Some(json::MAX_DEPTH)) {
            return Err(Error::invalid(json::too_deep("metadata")));
        }
        self.check_times()?;
        if let Identity::Key(key) = &self.identity
            && (key.is_empty() || key.len() > MAX_KEY_BYTES)
        {
            return Err(Error::invalid(format!("an idempotency key has 1 to {MAX_KEY_BYTES} bytes; this one has {}", key.len())));
        }
        match (self.rewind, &self.expected) {
            (Some(1..), None) => Err(Error::invalid("a rewind needs the position of the load that showed what it takes back")),
            (Some(seq), Some(position)) if seq > 0 && seq >= position.next() => Err(Error::invalid(format!(
                "record {seq} is not there to be taken back: the session has {} records",
                position.next()
            ))),
            _ => Ok(()),
        }
    }

    fn check_times(&self) -> Result<(), Error> {
        let (times, messages) = (self.sent_at.len(), self.messages.len());
        if times > 0 && times != messages {
            return Err(Error::invalid(format!(
                "invalid times of the append: {times} for {messages} messages; give one for each message, or none"
            )));
        }
        let given = self.sent_at.iter().flatten().chain(&self.started_at);
        match given.into_iter().find(|at| !(1..=MAX_TIME_MS).contains(*at)) {
            Some(at) => Err(Error::invalid(format!(
                "invalid time {at} of the append: out of range; give milliseconds since 1970, from 1 to {MAX_TIME_MS}"
            ))),
            None => Ok(()),
        }
    }

    /// Whether `record`, found under this append's id, is what this append would have written. A record whose messages were
    /// cleared since is taken for it, as nothing can be compared any more.
    pub fn is_body_of(&self, record: &Record) -> bool {
        record.messages == self.messages && record.metadata == self.metadata && record.rewind == self.rewind
    }

    /// The error for a repeat whose body is another than the one stored.
    pub fn reused(&self, seq: u64) -> Error {
        let what = match &self.identity {
            Identity::Key(key) => format!("the idempotency key {key:?}"),
            _ => "the ticket".to_owned(),
        };
        Error::new(
            crate::ErrorKind::KeyReused,
            format!("{what} belongs to record {seq}, whose messages are others; take a new key for new messages"),
        )
    }
}

/// The record in which the last `turns` turns start, and its messages before them.
fn cut_before_turn(history: &History, turns: usize) -> Option<(u64, Vec<Message>)> {
    let mut left = turns;
    for record in history.records.iter().rev() {
        for (place, message) in record.messages.iter().enumerate().rev() {
            if left > 0 && message.begins_turn() {
                left -= 1;
                if left == 0 {
                    return Some((record.seq, record.messages[..place].to_vec()));
                }
            }
        }
    }
    // Fewer turns than asked: all of them go, and what stands before the first (a system prompt) stays.
    let turns = turns - left;
    if turns == 0 { None } else { cut_before_turn(history, turns) }
}

/// What an append did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Appended {
    /// The record's number.
    pub seq: u64,
    /// The position after the record, good for the next append. (Others may have written behind it already.)
    pub position: Position,
    /// When the record was made, in epoch milliseconds.
    pub created_at: i64,
    /// Whether an earlier attempt, under the same key or ticket, had written it already. (Of two callers of one key who both lost an
    /// answer, each may be told that it was the first: nothing tells then whose request it was.)
    pub repeated: bool,
    /// Whether this append started the session: its log was empty.
    pub started: bool,
    /// What it cost.
    pub receipt: Receipt,
}

impl Appended {
    /// The answer for the record with number `seq`.
    pub fn new(seq: u64, position: Position, created_at: i64) -> Self {
        Self { seq, position, created_at, repeated: false, started: false, receipt: Receipt::default() }
    }

    /// The same, with what it cost.
    #[must_use]
    pub fn with_receipt(self, receipt: Receipt) -> Self {
        Self { receipt, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_back_a_rewind_does_not_bring_back_what_it_hid() {
        let record = |seq, rewind| Record {
            seq,
            append_id: AppendId::random(),
            created_at: 0,
            expires_at: None,
            rewind,
            metadata: None,
            sent_at: Vec::new(),
            messages: vec![Message::user("text")],
        };
        let records = vec![record(7, Some(0)), record(8, None), record(12, Some(9)), record(13, None)];
        let position = Position::new(14, Some(records[3].append_id), 0);
        let history = History::new(records, true, position.clone());
        for (seq, rewinds_to) in [(7, 0), (8, 8), (12, 9), (13, 13)] {
            let rewind = Append::rewind(&history, seq, []).expect("it is in view");
            assert_eq!((rewind.rewinds_to(), rewind.expected()), (Some(rewinds_to), Some(&position)));
        }
        assert!(Append::rewind(&history, 9, []).expect_err("not in view").is_invalid());
    }
}
