//! What is loaded: how much, and what comes back.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{AppendId, Position, Receipt};
use crate::message::{Message, Role};

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
    /// The messages.
    pub messages: Vec<Message>,
}

impl Record {
    /// Whether it is hidden at this time, given in epoch milliseconds.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now_ms.div_euclid(1000))
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
    /// At least the last so many turns, each from a user's message on.
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
        Self { reach, eventual: false, singly: false }
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
}

/// How many records a load by weight asks for first: before any is read, nothing tells how heavy they are.
const FIRST_RECORDS_OF_A_BUDGET: u64 = 8;

/// The walk through a log, from its newest record backwards, along its rewinds, until the reach is filled. Every
/// store loads by it: it says which number it [wants](Walk::wants) next, and is given the record there.
///
/// ```
/// use chat_memory::store::{AppendId, Reach, Record, Walk};
/// # use chat_memory::Message;
/// # let record = |seq, rewind| Record { seq, rewind, append_id: AppendId::random(), created_at: 0, expires_at: None,
/// #     metadata: None, messages: vec![Message::user(format!("{seq}"))] };
/// let log = [record(0, None), record(1, None), record(2, Some(1))]; // record 2 takes record 1's place
/// let mut walk = Walk::new(&Reach::All, Some(2), 0);
/// while let Some(seq) = walk.wants() {
///     walk.take(log[seq as usize].clone());
/// }
/// let (records, complete) = walk.finish();
/// assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), [0, 2]);
/// assert!(complete);
/// ```
#[derive(Debug)]
pub struct Walk {
    reach: Reach,
    now_ms: i64,
    wants: Option<u64>,
    taken: Vec<Record>,
    filled: u64,
    ended: bool,
    singly: bool,
}

impl Walk {
    /// A walk from the record numbered `newest` (`None` for an empty log), hiding what has expired at `now_ms`.
    pub fn new(reach: &Reach, newest: Option<u64>, now_ms: i64) -> Self {
        let empty_reach = match reach {
            Reach::All => false,
            Reach::Messages(n) | Reach::Turns(n) => *n == 0,
            Reach::Weight { budget, .. } => *budget == 0,
        };
        Self {
            reach: reach.clone(),
            now_ms,
            wants: newest.filter(|_| !empty_reach),
            taken: Vec::new(),
            filled: 0,
            ended: newest.is_none(),
            singly: false,
        }
    }

    /// The same walk through a session that was written [message by message](Load::singly), or not.
    #[must_use]
    pub fn singly(mut self, singly: bool) -> Self {
        self.singly = singly;
        self
    }

    /// The number of the record that comes next, `None` when the walk is over.
    pub fn wants(&self) -> Option<u64> {
        self.wants
    }

    /// Takes the record that was wanted.
    pub fn take(&mut self, record: Record) {
        debug_assert_eq!(self.wants, Some(record.seq));
        let below = record.rewind.unwrap_or(record.seq);
        // What has expired is hidden, but where it rewinds, the walk follows: what it took back stays taken back.
        if !record.is_expired(self.now_ms) {
            self.filled += record.messages.iter().map(|message| self.weight(message)).sum::<u64>();
            self.taken.push(record);
        }
        self.go_below(below);
    }

    /// Passes by a number at which nothing is left to show (a purged record, in a store with a retention).
    pub fn skip(&mut self, seq: u64) {
        debug_assert!(self.wants.is_some_and(|wanted| wanted >= seq));
        self.go_below(seq);
    }

    /// Ends the walk: what was cleared starts here.
    pub fn end(&mut self) {
        self.wants = None;
        self.ended = true;
    }

    /// Of the records taken so far, the oldest.
    pub fn last_taken(&self) -> Option<&Record> {
        self.taken.last()
    }

    /// Sets where the walk starts, once the newest record is known. Only before anything was taken.
    pub fn start_at(&mut self, newest: u64) {
        debug_assert!(self.taken.is_empty());
        if self.wants.is_some() {
            self.wants = Some(newest);
        }
    }

    /// How many more records the walk will need at a guess, after what those before held; `None` for all there are.
    ///
    /// The first guess takes a record for a turn of two messages, as most are, or for one message, where that was said. A guess that is too high reads bytes that
    /// nobody asked for, one that is too low costs another request.
    pub fn records_to_go(&self) -> Option<u64> {
        let target = match &self.reach {
            Reach::All => return None,
            Reach::Messages(n) | Reach::Turns(n) => *n as u64,
            Reach::Weight { budget, .. } => *budget,
        };
        let taken = self.taken.len() as u64;
        let guess = match &self.reach {
            _ if self.filled > 0 => (target.saturating_sub(self.filled)).saturating_mul(taken).div_ceil(self.filled),
            _ if taken > 0 => taken.saturating_mul(2),
            Reach::Turns(_) if self.singly => target.saturating_mul(2),
            Reach::Messages(_) if !self.singly => target.div_ceil(2),
            Reach::Weight { .. } => FIRST_RECORDS_OF_A_BUDGET,
            _ => target,
        };
        // One more than the guess, since the last record often holds a little less than the others.
        Some(guess.saturating_add(1))
    }

    /// The records taken, oldest first, and whether they are all there are.
    pub fn finish(mut self) -> (Vec<Record>, bool) {
        self.taken.reverse();
        (self.taken, self.ended)
    }

    fn weight(&self, message: &Message) -> u64 {
        match &self.reach {
            Reach::All => 0,
            Reach::Messages(_) => 1,
            Reach::Turns(_) => u64::from(message.role == Role::User),
            Reach::Weight { of, .. } => of(message),
        }
    }

    fn go_below(&mut self, seq: u64) {
        let full = match &self.reach {
            Reach::All => false,
            Reach::Messages(n) | Reach::Turns(n) => self.filled >= *n as u64,
            Reach::Weight { budget, .. } => self.filled >= *budget,
        };
        self.wants = seq.checked_sub(1).filter(|_| !full);
        self.ended = seq == 0;
    }
}
