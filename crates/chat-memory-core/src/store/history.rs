//! Loads: how far back they read, and what they return.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AppendId, Cost, PageCursor, Position};
use crate::entry::Entry;
use crate::message::Message;
use crate::timestamp::Timestamp;

/// What one append wrote: [entries](Entry), most of them messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// Its number in the log, from 0.
    pub seq: u64,
    /// The append's id.
    pub append_id: AppendId,
    /// When it was written, by the writer's clock.
    pub created_at: Timestamp,
    /// When it expires, in a store with a retention: whole seconds.
    pub expires_at: Option<Timestamp>,
    /// A rewind: the view at this record is the view before this number, followed by this record's entries.
    pub rewind: Option<u64>,
    /// The caller's metadata.
    pub metadata: Option<Map<String, Value>>,
    /// When each entry was sent; `None` if unknown. Empty if the append [gave no
    /// times](super::Append::sent_at): the entries were then sent when the record was written.
    /// [`entry_times`](Self::entry_times) covers both cases.
    pub sent_at: Vec<Option<Timestamp>>,
    /// The entries.
    #[serde(rename = "messages")]
    pub entries: Vec<Entry>,
}

impl Record {
    /// Creates a record without entries. One that takes nothing back either is a [stub](Self::is_stub).
    pub fn new(seq: u64, append_id: AppendId, created_at: Timestamp) -> Self {
        let (expires_at, rewind, metadata) = (None, None, None);
        Self { seq, append_id, created_at, expires_at, rewind, metadata, sent_at: Vec::new(), entries: Vec::new() }
    }

    /// Sets the entries.
    #[must_use]
    pub fn with_entries(mut self, entries: impl IntoIterator<Item = impl Into<Entry>>) -> Self {
        self.entries = entries.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the number of the first record that this one takes back.
    #[must_use]
    pub fn with_rewind(mut self, seq: u64) -> Self {
        self.rewind = Some(seq);
        self
    }

    /// Returns what a sweep leaves of the record, so that a repeat of its append is recognized: its number, id and time.
    #[must_use]
    pub fn stub(&self) -> Self {
        Self::new(self.seq, self.append_id, self.created_at)
    }

    /// Whether it is what a sweep left: a record without entries that takes nothing back.
    pub fn is_stub(&self) -> bool {
        self.entries.is_empty() && self.rewind.is_none()
    }

    /// Whether it has expired at this time.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether an entry is not a message.
    pub fn has_other_entries(&self) -> bool {
        self.entries.iter().any(|entry| entry.as_message().is_none())
    }

    /// Iterates over the entries that are messages.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.entries.iter().filter_map(Entry::as_message)
    }

    /// Returns the messages.
    pub fn into_messages(self) -> Vec<Message> {
        self.entries.into_iter().filter_map(Entry::into_message).collect()
    }

    /// Returns when each entry was sent; `None` if unknown, as in a list written by Flowise or LangChain.
    pub fn entry_times(&self) -> impl ExactSizeIterator<Item = Option<Timestamp>> + '_ {
        // Other programs' records carry no time.
        let written = self.created_at.known();
        let is_given = self.sent_at.len() == self.entries.len();
        (0..self.entries.len()).map(move |n| if is_given { self.sent_at[n] } else { written })
    }

    /// Iterates over the messages, each with when it was [sent](Self::entry_times).
    pub fn timed_messages(&self) -> impl Iterator<Item = (&Message, Option<Timestamp>)> {
        self.entries.iter().zip(self.entry_times()).filter_map(|(entry, at)| Some((entry.as_message()?, at)))
    }
}

/// How far back a load reads. It returns whole records with all their entries, so there may be more than was asked for; the
/// policies in [`memory`](crate::memory) cut to the message. Entries that are not messages count for nothing but
/// [`Records`](Reach::Records).
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Reach {
    /// The whole history.
    #[default]
    All,
    /// The last n records.
    Records(usize),
    /// At least the last n messages.
    Messages(usize),
    /// At least the last n turns, each of which starts with a message that [begins one](Message::begins_turn).
    Turns(usize),
    /// Until the weights of the messages add up to the budget.
    Weight {
        /// The sum at which to stop.
        budget: u64,
        /// Weighs a message, for instance by its tokens.
        of: Arc<dyn Fn(&Message) -> u64 + Send + Sync>,
    },
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Records(n) => write!(f, "Records({n})"),
            Self::Messages(n) => write!(f, "Messages({n})"),
            Self::Turns(n) => write!(f, "Turns({n})"),
            Self::Weight { budget, .. } => write!(f, "Weight({budget})"),
        }
    }
}

/// What to load.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Load {
    /// How far back.
    pub reach: Reach,
    /// Allows an eventually consistent read, at half the price: it may miss writes that have not reached every replica, so the
    /// promise "an append that returned is there for every later load" does not hold for this load. Stores without replicas
    /// ignore it.
    pub eventual: bool,
    /// Hints that most of the session's records hold a single message, as written by programs that save each message separately.
    /// It saves a request when accurate and never changes the result.
    pub singly: bool,
    /// Only records with this number or higher.
    pub since: Option<u64>,
    /// Only records older than what another load returned.
    pub before: Option<PageCursor>,
}

impl Load {
    /// Loads the whole history.
    pub fn all() -> Self {
        Self::default()
    }

    /// Loads the last `n` records.
    pub fn records(n: usize) -> Self {
        Self::reaching(Reach::Records(n))
    }

    /// Loads at least the last `n` messages.
    pub fn last(n: usize) -> Self {
        Self::reaching(Reach::Messages(n))
    }

    /// Loads at least the last `n` turns.
    pub fn turns(n: usize) -> Self {
        Self::reaching(Reach::Turns(n))
    }

    /// Loads as far back as `reach`.
    pub fn reaching(reach: Reach) -> Self {
        Self { reach, ..Self::default() }
    }

    /// Reads at half the price, possibly without the newest records.
    #[must_use]
    pub fn eventually_consistent(mut self) -> Self {
        self.eventual = true;
        self
    }

    /// Hints that the session was written [message by message](Self::singly).
    #[must_use]
    pub fn single_message_records(mut self) -> Self {
        self.singly = true;
        self
    }

    /// Loads only the records numbered `seq` and higher, for a caller that already has the earlier ones. It costs what those
    /// records cost, plus the record before them, which gives the position.
    #[must_use]
    pub fn since(mut self, seq: u64) -> Self {
        self.since = Some(seq);
        self
    }

    /// Loads what is older than another load returned: the previous page. It costs what the page costs, plus what was written
    /// since that load.
    ///
    /// ```
    /// use chat_memory::store::{Append, ChatStore, InMemoryStore, Load};
    /// use chat_memory::{Message, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let (store, session) = (InMemoryStore::new(), SessionId::new("trip")?);
    /// for text in ["one", "two", "three"] {
    ///     store.append(&session, &Append::new([Message::user(text)])).await?;
    /// }
    /// let newest = store.load(&session, &Load::last(2)).await?;
    /// let older = newest.older().ok_or("there is one more")?;
    /// let page = store.load(&session, &Load::last(2).before(older)).await?;
    /// assert_eq!(page.into_messages(), [Message::user("one")]);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn before(mut self, older: PageCursor) -> Self {
        self.before = Some(older);
        self
    }
}

/// The result of a load: the newest records of a session's view, oldest first.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct History {
    /// The records, oldest first. A record that a rewind removed is left out; a rewind without entries is included.
    pub records: Vec<Record>,
    /// Whether these are all the records.
    pub complete: bool,
    /// The position of the log.
    pub position: Position,
    /// What it cost.
    pub cost: Cost,
    /// Where the store found the oldest record, for the cursor.
    place: Option<[u8; 16]>,
}

impl History {
    /// Creates a history of these records.
    pub fn new(records: Vec<Record>, complete: bool, position: Position) -> Self {
        Self { records, complete, position, cost: Cost::default(), place: None }
    }

    /// Sets where the store found the oldest record. For store authors: the cursor of what is [older](Self::older) carries it
    /// ([`PageCursor::place`]).
    #[must_use]
    pub fn with_place(self, place: Option<[u8; 16]>) -> Self {
        Self { place, ..self }
    }

    /// Sets what it cost.
    #[must_use]
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// Iterates over the entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.records.iter().flat_map(|record| &record.entries)
    }

    /// Iterates over the messages, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.entries().filter_map(Entry::as_message)
    }

    /// Returns the entries, oldest first.
    pub fn into_entries(self) -> Vec<Entry> {
        self.records.into_iter().flat_map(|record| record.entries).collect()
    }

    /// Returns the messages, oldest first.
    pub fn into_messages(self) -> Vec<Message> {
        self.into_entries().into_iter().filter_map(Entry::into_message).collect()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries().next().is_none()
    }

    /// Returns the cursor from which a load of what is [older](Load::before) continues; `None` if nothing is older.
    pub fn older(&self) -> Option<PageCursor> {
        let next = self.position.next();
        let shown = self.records.first().map_or(next, |record| record.seq);
        (!self.complete).then(|| PageCursor::new(next, shown, self.position.read_at()).with_place(self.place))
    }
}
