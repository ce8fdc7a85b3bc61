//! What the processes asked and were told, as lines of JSON.

use serde::{Deserialize, Serialize};

use crate::op::Op;

/// One line of a history. Times are of [`now_us`](crate::now_us); a `clock` is the writer's wall clock, in epoch milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A try of an append begins.
    Tries {
        /// When.
        at: u64,
        /// Its number, the only one of the history.
        number: u64,
        /// What it appends.
        op: Op,
        /// Through this ticket.
        ticket: Option<String>,
    },
    /// A try has ended. One that never does was killed.
    Tried {
        /// When.
        at: u64,
        /// The try.
        number: u64,
        /// The wall clock, then.
        clock: i64,
        /// How.
        outcome: Outcome,
    },
    /// A load was answered.
    Loaded(Loaded),
    /// A delete begins.
    Deletes {
        /// When.
        at: u64,
        /// Its number, the only one of the history.
        number: u64,
        /// Of this session.
        session: String,
    },
    /// A delete has ended. One that never does was killed.
    Deleted {
        /// When.
        at: u64,
        /// The delete.
        number: u64,
        /// The wall clock, then.
        clock: i64,
        /// Whether nothing of it comes later: it is not in doubt.
        settled: bool,
    },
    /// Something was refused that must not be.
    Wrong {
        /// When.
        at: u64,
        /// What was done.
        what: String,
        /// The error.
        why: String,
    },
}

/// How a try of an append ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in the log.
    Appended {
        /// As the record of this number.
        seq: u64,
        /// The record's id.
        id: String,
    },
    /// The log was elsewhere.
    Conflict {
        /// The number that comes next, if the error says it.
        next: Option<u64>,
    },
    /// It is not known.
    InDoubt {
        /// What settles it.
        ticket: String,
    },
    /// Nothing was written.
    NotWritten {
        /// The error.
        why: String,
    },
}

/// A load and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    /// When it began.
    pub from: u64,
    /// When it ended.
    pub to: u64,
    /// The wall clock before.
    pub clock_from: i64,
    /// The wall clock after.
    pub clock_to: i64,
    /// Of this session.
    pub session: String,
    /// At least so many messages; all of them where it is `None`.
    pub messages: Option<usize>,
    /// Only records from this number on.
    pub since: Option<u64>,
    /// The records, oldest first.
    pub shown: Vec<Shown>,
    /// Whether these are all.
    pub complete: bool,
    /// The number that comes next.
    pub next: u64,
    /// The last record's id.
    pub last: Option<String>,
}

/// A record, as a load shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// The number from which on it takes back.
    pub rewind: Option<u64>,
    /// When it expires, in epoch seconds.
    pub expires_at: Option<i64>,
    /// How many messages it has.
    pub messages: usize,
    /// The append that it is, by its metadata; `None` for what a delete left.
    pub op: Option<u64>,
    /// Whether it is what was appended, to the last byte.
    pub equal: bool,
}
