//! What the processes requested and got in response, as lines of JSON.

use serde::{Deserialize, Serialize};

use crate::op::Op;

/// One line of a history. Times are from [`now_us`](crate::now_us); a `clock` is the writer's wall clock, in epoch milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An attempt of an append starts.
    Tries {
        /// When.
        at: u64,
        /// Its number, unique in the history.
        number: u64,
        /// What it appends.
        op: Op,
        /// The ticket that it uses.
        ticket: Option<String>,
    },
    /// An attempt has ended. One that never ends was killed.
    Tried {
        /// When.
        at: u64,
        /// The attempt.
        number: u64,
        /// The wall clock at that time.
        clock: i64,
        /// How it ended.
        outcome: Outcome,
    },
    /// A load returned.
    Loaded(Loaded),
    /// A delete starts.
    Deletes {
        /// When.
        at: u64,
        /// Its number, unique in the history.
        number: u64,
        /// The session.
        session: String,
    },
    /// A delete has ended. One that never ends was killed.
    Deleted {
        /// When.
        at: u64,
        /// The delete.
        number: u64,
        /// The wall clock at that time.
        clock: i64,
        /// Whether its outcome is known, so that nothing of it comes later.
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

/// How an attempt of an append ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in the log.
    Appended {
        /// The record's number.
        seq: u64,
        /// The record's id.
        id: String,
    },
    /// The log was at another position.
    Conflict {
        /// The number that comes next, if the error names it.
        next: Option<u64>,
    },
    /// The outcome is unknown.
    InDoubt {
        /// The ticket that settles it.
        ticket: String,
    },
    /// Nothing was written.
    NotWritten {
        /// The error.
        why: String,
    },
}

/// A load and its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    /// When it started.
    pub from: u64,
    /// When it ended.
    pub to: u64,
    /// The wall clock before.
    pub clock_from: i64,
    /// The wall clock after.
    pub clock_to: i64,
    /// The session.
    pub session: String,
    /// At least n messages; all of them for `None`.
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

/// A record, as a load returns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// The number of the first record that it removes.
    pub rewind: Option<u64>,
    /// When it expires, in epoch seconds.
    pub expires_at: Option<i64>,
    /// How many messages it has.
    pub messages: usize,
    /// The append that it is, by its metadata; `None` for what a delete left.
    pub op: Option<u64>,
    /// Whether it is exactly what was appended.
    pub equal: bool,
}
