//! What is loaded: how much, and what comes back.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{AppendId, Older, Position, Receipt};
use crate::message::Message;

/// What one append wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place in the log, from 0.
    pub seq: u64,
    /// The append's identity.
    pub append_id: AppendId,
    /// When it was written, in epoch milliseconds by the writer's clock.
    pub created_at: i64,
    /// When it is hidden, in epoch seconds, in a store with a retention.
    pub expires_at: Option<i64>,
    /// The view at this record is the view before this number, followed by this record's messages.
    pub rewind: Option<u64>,
    /// The caller's own JSON.
    pub metadata: Option<Map<String, Value>>,
    /// When each message was sent, in epoch milliseconds, `None` where that is unknown. Empty where the append [gave no
    /// times](super::Append::sent_at): then it is when the record was written. [`message_times`](Self::message_times) tells both.
    pub sent_at: Vec<Option<i64>>,
    /// The messages.
    pub messages: Vec<Message>,
}

impl Record {
    /// Whether it is hidden at this time, given in epoch milliseconds.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now_ms.div_euclid(1000))
    }

    /// When each of the messages was sent, in epoch milliseconds; `None` where that is unknown, as in a list that Flowise or LangChain wrote.
    pub fn message_times(&self) -> impl ExactSizeIterator<Item = Option<i64>> + '_ {
        // Other programs' records have no time.
        let written = Some(self.created_at).filter(|at| *at > 0);
        let is_given = self.sent_at.len() == self.messages.len();
        (0..self.messages.len()).map(move |n| if is_given { self.sent_at[n] } else { written })
    }
}

/// How far back a load reaches. It always brings whole records, so there may be more than was asked; the policies in
/// [`memory`](crate::memory) cut to the message.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Reach {
    /// The whole history.
    #[default]
    All,
    /// At least the last so many messages.
    Messages(usize),
    /// At least the last so many turns, each from a message on that [begins one](Message::begins_turn).
    Turns(usize),
    /// Until the messages' weights add up to the budget.
    Weight {
        /// The sum at which to stop.
        budget: u64,
        /// A message's weight, its tokens for instance.
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
    /// Whether what is not yet on every replica may be missed, at half the price. Then the promise "an append that returned
    /// is there for every later load" does not hold for this load. Stores without replicas ignore it.
    pub eventual: bool,
    /// Whether the session's records mostly hold one message each, as programs write them that save message by message. It changes
    /// nothing of what is loaded; where it is true, it spares a request.
    pub singly: bool,
    /// Only records of this number and later.
    pub since: Option<u64>,
    /// Only what is older than what another load brought.
    pub before: Option<Older>,
}

impl Load {
    /// The whole history.
    pub fn all() -> Self {
        Self::default()
    }

    /// At least the last `n` messages.
    pub fn last(n: usize) -> Self {
        Self::reaching(Reach::Messages(n))
    }

    /// At least the last `n` turns.
    pub fn turns(n: usize) -> Self {
        Self::reaching(Reach::Turns(n))
    }

    /// As far back as this.
    pub fn reaching(reach: Reach) -> Self {
        Self { reach, ..Self::default() }
    }

    /// The same load, at half the price, possibly without the newest records.
    #[must_use]
    pub fn eventually_consistent(mut self) -> Self {
        self.eventual = true;
        self
    }

    /// The same load, of a session that was written [message by message](Self::singly).
    #[must_use]
    pub fn written_singly(mut self) -> Self {
        self.singly = true;
        self
    }

    /// The same load, of the records numbered `seq` and later only: what is new to someone who has all before. It costs what those
    /// records cost, and the one before them, which tells the position.
    #[must_use]
    pub fn since(mut self, seq: u64) -> Self {
        self.since = Some(seq);
        self
    }

    /// The same load, of what is older than what another load brought: the page before. It costs what the page costs, and what was
    /// written since that load.
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
    pub fn before(mut self, older: Older) -> Self {
        self.before = Some(older);
        self
    }
}

/// What was loaded: the newest records of a session's view, oldest first.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct History {
    /// The records, oldest first. A record whose messages were all taken back is not among them; one that only takes back is.
    pub records: Vec<Record>,
    /// Whether they are all there are.
    pub complete: bool,
    /// Where the log was.
    pub position: Position,
    /// What it cost.
    pub receipt: Receipt,
}

impl History {
    /// A history of these records.
    pub fn new(records: Vec<Record>, complete: bool, position: Position) -> Self {
        Self { records, complete, position, receipt: Receipt::default() }
    }

    /// The same, with what it cost.
    #[must_use]
    pub fn with_receipt(self, receipt: Receipt) -> Self {
        Self { receipt, ..self }
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.records.iter().flat_map(|record| &record.messages)
    }

    /// The messages, oldest first.
    pub fn into_messages(self) -> Vec<Message> {
        self.records.into_iter().flat_map(|record| record.messages).collect()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.messages().next().is_none()
    }

    /// Where a load of what is [older](Load::before) goes on; `None` where there is nothing older.
    pub fn older(&self) -> Option<Older> {
        let next = self.position.next();
        let shown = self.records.first().map_or(next, |record| record.seq);
        (!self.complete).then(|| Older::new(next, shown, self.position.read_at()))
    }
}
