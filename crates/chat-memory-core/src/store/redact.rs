//! Redactions: what one record says is replaced, and the record keeps its place.

use std::ops::Range;

use super::{AppendId, Cost, Record};
use crate::entry::Entry;
use crate::error::Error;
use crate::message::redacted::{is_left_of, redacted};
use crate::session::SessionId;
use crate::timestamp::Timestamp;

pub use crate::message::redacted::REDACTED;

/// The longest replacement, in bytes.
pub const MAX_REPLACEMENT_BYTES: usize = 1024;

/// How to redact a record: which of its messages, and what to put in their place.
///
/// Everything that a message says is replaced: its text, images and other parts, the arguments of its tool calls, a tool's result,
/// and fields that are not known to be harmless. Its role, name and ids stay, so that calls and results still refer to each other.
/// The message says when it was redacted, in the field [`REDACTED`].
///
/// ```
/// use chat_memory::store::{Append, ChatStore, InMemoryStore, Load, Redaction};
/// use chat_memory::{Message, SessionId};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (store, session) = (InMemoryStore::new(), SessionId::new("trip")?);
/// let turn = Append::new([Message::user("My card is 4111 1111 1111 1111"), Message::assistant("Thank you.")]);
/// let appended = store.append(&session, &turn).await?;
/// let redacted = store.redact(&session, appended.seq, &Redaction::new().message(0)).await?;
/// assert!(redacted.changed);
/// let texts: Vec<String> = store.load(&session, &Load::all()).await?.messages().map(Message::text).collect();
/// assert_eq!(texts, ["[redacted]", "Thank you."]);
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a redaction does nothing until a store takes it"]
pub struct Redaction {
    message: Option<usize>,
    replacement: String,
    expected: Option<AppendId>,
    dry_run: bool,
}

impl Default for Redaction {
    fn default() -> Self {
        Self::new()
    }
}

impl Redaction {
    /// Redacts all entries of the record; what they say becomes `[redacted]`.
    pub fn new() -> Self {
        Self { message: None, replacement: "[redacted]".to_owned(), expected: None, dry_run: false }
    }

    /// Redacts only the entry at this index of the record, from 0.
    pub fn message(self, index: usize) -> Self {
        Self { message: Some(index), ..self }
    }

    /// Puts this text in place of what was said: 1 to [`MAX_REPLACEMENT_BYTES`] bytes.
    pub fn with_replacement(self, text: impl Into<String>) -> Self {
        Self { replacement: text.into(), ..self }
    }

    /// Redacts the record only if this append wrote it, as [`Record::append_id`] says: numbers of records that expired may be given
    /// again.
    pub fn with_expected(self, append_id: AppendId) -> Self {
        Self { expected: Some(append_id), ..self }
    }

    /// Changes nothing: the result shows what would change.
    pub fn dry_run(self) -> Self {
        Self { dry_run: true, ..self }
    }

    /// Whether nothing is to be changed.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Checks what can be checked without the record. Stores call this first.
    ///
    /// # Errors
    /// Invalid if the replacement is empty or too long.
    pub fn check(&self) -> Result<(), Error> {
        let bytes = self.replacement.len();
        if !(1..=MAX_REPLACEMENT_BYTES).contains(&bytes) {
            return Err(Error::invalid(format!(
                "invalid replacement of {bytes} bytes: give a text of 1 to {MAX_REPLACEMENT_BYTES} bytes"
            )));
        }
        Ok(())
    }

    /// Applies it to a stored record at this time. The result has no cost yet; a store writes its [`after`](Redacted::after) in place
    /// of the record if it [changed](Redacted::changed) and this is no [dry run](Self::is_dry_run).
    ///
    /// # Errors
    /// Not found if the record is what a sweep left, or another append's than expected; invalid if it has no such message.
    pub fn apply(&self, session: &SessionId, record: Record, now: Timestamp) -> Result<Redacted, Error> {
        let seq = record.seq;
        if record.is_stub() {
            return Err(Self::erased(session, seq));
        }
        if self.expected.is_some_and(|expected| expected != record.append_id) {
            let why = "another record has this number now; load the session again";
            return Err(Error::no_record(seq, Self::cannot(session, seq, why)));
        }
        let count = record.entries.len();
        if count == 0 {
            let why = "it has no messages: it takes back others, or began the session; give the number of one that has, also of one that was taken back";
            return Err(Error::invalid(Self::cannot(session, seq, why)));
        }
        if let Some(index) = self.message.filter(|index| *index >= count) {
            let messages = if count == 1 { "one message".to_owned() } else { format!("{count} messages") };
            let why = format!("it has {messages}, counted from 0, and none is {index}");
            return Err(Error::invalid(Self::cannot(session, seq, &why)));
        }
        let mut after = record.clone();
        for (index, entry) in after.entries.iter_mut().enumerate() {
            if self.message.is_none_or(|only| only == index) {
                *entry = redacted(entry, &self.replacement, now);
            }
        }
        let changed = after.entries.iter().zip(&record.entries).filter(|(after, before)| after != before).count();
        Ok(Redacted { changed: changed > 0, entries: changed as u64, before: record, after, cost: Cost::default() })
    }

    /// Returns the error for a record that does not exist: the session has no such number, or DynamoDB or a purge erased it.
    pub fn missing(session: &SessionId, seq: u64) -> Error {
        let why = "there is no such record; give the number (seq) of one that the session has";
        Error::no_record(seq, Self::cannot(session, seq, why))
    }

    /// Returns the error for a record whose messages were erased.
    pub fn erased(session: &SessionId, seq: u64) -> Error {
        let why = "its messages were erased already, and nothing is left to redact";
        Error::no_record(seq, Self::cannot(session, seq, why))
    }

    fn cannot(session: &SessionId, seq: u64, why: &str) -> String {
        format!("cannot redact record {seq} of session {:?}: {why}", session.as_str())
    }
}

/// The result of a redaction.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Redacted {
    /// Whether anything changed, or in a dry run would change. False if the record was redacted in this way before.
    pub changed: bool,
    /// How many entries changed.
    pub entries: u64,
    /// The record as it was found. It has the text that was redacted: show it to nobody who must not see that.
    pub before: Record,
    /// The record as it is now, or in a dry run would be.
    pub after: Record,
    /// What it cost.
    pub cost: Cost,
}

impl Redacted {
    /// The numbers of the records that this one was written in place of, as an edit is. They are hidden, and may say what this one said
    /// until a clear or a redaction of their own.
    pub fn replaced(&self) -> Option<Range<u64>> {
        let to = self.before.rewind?;
        (!self.before.entries.is_empty() && to < self.before.seq).then_some(to..self.before.seq)
    }

    /// Sets what it cost.
    #[must_use]
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }
}

/// Whether stored entries are these, or what redactions left of them.
pub(super) fn are_left_of(stored: &[Entry], given: &[Entry]) -> bool {
    stored.len() == given.len() && stored.iter().zip(given).all(|(stored, given)| stored == given || is_left_of(stored, given))
}
