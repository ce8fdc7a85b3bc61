//! The `turns` layout: one item a record. The protocol, over any [`Table`] and [`Clock`].
//!
//! docs/design.md says why it is so; the simulation in `sim/` takes each rule out in turn and shows what breaks.

mod append;
mod cached_tail;
mod directory;
mod entry;
mod estimate;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod item;
mod listing;
mod load;
mod look;
mod seen;
#[cfg(test)]
mod sim;
mod sweep;
mod sweep_table;

use std::time::Duration;

pub use estimate::{RecordCost, cost_of};
pub(crate) use item::{Limits, MAX_PARTS, compress, most_bytes, unpack_messages};
#[cfg(test)]
pub(crate) use sim::{drive, number, refused, run_many, turn, unknown};
pub(crate) use sweep::Damaged;
pub use sweep_table::TableSwept;

use super::names::Partitions;
use super::queue::Queues;
use super::retry::{Retry, retry};
use super::table::{Clock, Item, Table};
use chat_memory_core::error::Error;
use chat_memory_core::store::Capabilities;

/// What this layout can do: everything, and sessions by last activity to the hour.
pub(crate) const CAPABILITIES: Capabilities =
    Capabilities { last_activity: Some(Duration::from_secs(60 * 60)), ..Capabilities::all() };

/// Whether this item is an entry of the directory in today's form, or one of the version before; `None` where it is no entry.
pub(crate) fn is_entry_of_today(partitions: &Partitions, item: &Item) -> Option<Result<bool, Error>> {
    entry::entry_in(partitions, item).map(|read| read.map(|entry| !entry.is_before()))
}

/// How a store keeps its sessions.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) partitions: Partitions,
    pub(crate) retention_s: Option<u64>,
    pub(crate) eventual: bool,
    pub(crate) read_only: bool,
    pub(crate) limits: item::Limits,
    pub(crate) deadline_ms: u64,
}

/// The sessions of a table.
#[derive(Debug)]
pub(crate) struct Turns<T, C> {
    table: T,
    clock: C,
    settings: Settings,
    tails: cached_tail::CachedTails,
    seen: seen::SeenIds,
    /// Of this process's appends to each session; the simulation's writers race.
    queues: Option<Queues>,
    #[cfg(test)]
    broken: std::collections::BTreeSet<Rule>,
}

/// A rule of the protocol. The product keeps them all; the simulation takes one out to prove that it would be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A sweep leaves a stub; without the rule it deletes.
    Stub,
    /// An item in the way that bears our own id is our own append.
    IdCheck,
    /// A put behind a record that may be purged soon is a transaction with it.
    CheckBefore,
    /// A rewind is refused if anyone wrote since the load that showed what it takes back.
    RewindPosition,
    /// A repeat looks for its id from the ticket's number up.
    Ticket,
    /// A put is made on a cached tail of 15 minutes at most.
    CachedTailAge,
    /// The ids that a process has seen tell that a key is new only where they reach to the end of the log.
    SeenToTheEnd,
    /// A stub whose clear came after the load began makes the load start again.
    StubNamesClear,
    /// A record is put only within its deadline of its time.
    RecordAge,
    /// A place that is taken behind a record that may have been purged makes a shared append look for itself again.
    TakenBehindPurged,
    /// A record carries the latest expiry of its session, not its own.
    LatestExpiry,
    /// A record that outlives its session's entry raises that with itself.
    Raise,
    /// A session all of whose records have expired starts again.
    ExpiredStartsAnew,
    /// A new entry is later than the one that its session had before.
    EntryIsNew,
    /// A title replaces only what was read.
    PatchAsRead,
    /// An entry whose session may have expired is shown only if the session says so.
    Verify,
    /// What changes in the directory changes with the record, in one transaction.
    #[cfg(test)]
    OneTransaction,
    /// A delete of a session that is not there leaves a record for 25 hours.
    #[cfg(test)]
    DeleteBlocks,
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) fn new(table: T, clock: C, settings: Settings) -> Self {
        Self {
            table,
            clock,
            settings,
            tails: cached_tail::CachedTails::default(),
            seen: seen::SeenIds::default(),
            queues: None,
            #[cfg(test)]
            broken: Default::default(),
        }
    }

    /// The same, with appends to one session that go one after another.
    pub(crate) fn queued(mut self, queues: Queues) -> Self {
        self.queues = Some(queues);
        self
    }

    /// Whether the protocol keeps this rule: always, outside of the simulation and the tests that take one out.
    fn keeps(&self, rule: Rule) -> bool {
        #[cfg(all(feature = "torture", unix))]
        if chat_memory_core::torture::is_out(&rule) {
            return false;
        }
        #[cfg(test)]
        if self.broken.contains(&rule) {
            return false;
        }
        let _ = rule;
        true
    }

    fn writable(&self) -> Result<(), Error> {
        if self.settings.read_only { Err(Error::read_only()) } else { Ok(()) }
    }

    fn retry(&self) -> Retry<'_, C> {
        Retry::new(&self.clock, self.settings.deadline_ms)
    }
}
