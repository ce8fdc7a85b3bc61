//! Loads: how far back they read, and what they return.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AppendId, Cost, PageCursor, Position};
use crate::message::Message;

/// The messages that one append wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number in the log, from 0.
    pub seq: u64,
    /// The append's id.
    pub append_id: AppendId,
    /// When it was written, in epoch milliseconds by the writer's clock.
    pub created_at: i64,
    /// When it expires, in epoch seconds, in a store with a retention.
    pub expires_at: Option<i64>,
    /// A rewind: the view at this record is the view before this number, followed by this record's messages.
    pub rewind: Option<u64>,
    /// The caller's metadata.
    pub metadata: Option<Map<String, Value>>,
    /// When each message was sent, in epoch milliseconds; `None` if unknown. Empty if the append [gave no
    /// times](super::Append::sent_at): the messages were then sent when the record was written.
    /// [`message_times`](Self::message_times) covers both cases.
    pub sent_at: Vec<Option<i64>>,
    /// The messages.
    pub messages: Vec<Message>,
}

impl Record {
    /// Whether it has expired at this time, in epoch milliseconds.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now_ms.div_euclid(1000))
    }

    /// Returns when each message was sent, in epoch milliseconds; `None` if unknown, as in a list written by Flowise or
    /// LangChain.
    pub fn message_times(&self) -> impl ExactSizeIterator<Item = Option<i64>> + '_ {
        // Other programs' records carry no time.
        let written = Some(self.created_at).filter(|at| *at > 0);
        let is_given = self.sent_at.len() == self.messages.len();
        (0..self.messages.len()).map(move |n| if is_given { self.sent_at[n] } else { written })
    }
}

/// How far back a load reads. It returns whole records, so there may be more than was asked for; the policies in
/// [`memory`](crate::memory) cut to the message.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Reach {
    /// The whole history.
    #[default]
    All,
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
    /// The records, oldest first. A record whose messages were all removed by a rewind is left out; a rewind without messages is
    /// included.
    pub records: Vec<Record>,
    /// Whether these are all the records.
    pub complete: bool,
    /// The position of the log.
    pub position: Position,
    /// What it cost.
    pub cost: Cost,
}

impl History {
    /// Creates a history of these records.
    pub fn new(records: Vec<Record>, complete: bool, position: Position) -> Self {
        Self { records, complete, position, cost: Cost::default() }
    }

    /// Sets what it cost.
    #[must_use]
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// Iterates over the messages, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.records.iter().flat_map(|record| &record.messages)
    }

    /// Returns the messages, oldest first.
    pub fn into_messages(self) -> Vec<Message> {
        self.records.into_iter().flat_map(|record| record.messages).collect()
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.messages().next().is_none()
    }

    /// Returns the cursor from which a load of what is [older](Load::before) continues; `None` if nothing is older.
    pub fn older(&self) -> Option<PageCursor> {
        let next = self.position.next();
        let shown = self.records.first().map_or(next, |record| record.seq);
        (!self.complete).then(|| PageCursor::new(next, shown, self.position.read_at()))
    }
}
