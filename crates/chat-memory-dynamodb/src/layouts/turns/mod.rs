//! The `turns` layout: one item per record. The protocol runs on any [`Table`] and [`Clock`].
//!
//! docs/design.md gives the reasons; the simulation in `sim/` takes each rule out in turn and shows what breaks.

mod append;
mod cached_tail;
mod contents;
mod directory;
mod entry;
mod estimate;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod item;
mod listing;
mod load;
mod locate;
mod recent_ids;
mod redact;
#[cfg(test)]
mod sim;
mod sweep;
mod sweep_table;

use std::time::Duration;

pub use estimate::{RecordCost, cost_of};
pub(crate) use item::Limits;

use crate::common::names::Partitions;
use crate::common::retry::{Retry, retry};
use crate::common::sessions::{Protocol, Sessions};
use crate::table::Item;
use chat_memory_core::error::Error;
use chat_memory_core::store::Capabilities;

/// The capabilities of this layout: everything but one list of all owners' sessions, with sessions by last activity to the hour.
pub(crate) const CAPABILITIES: Capabilities =
    Capabilities::all().with_last_activity(Some(Duration::from_secs(60 * 60))).with_any_owner(false);

/// Whether this item is a directory entry in the current form (`true`) or the previous version's (`false`); `None` if it is no
/// entry.
pub(crate) fn is_entry_of_today(partitions: &Partitions, item: &Item) -> Option<Result<bool, Error>> {
    entry::entry_in(partitions, item).map(|read| read.map(|entry| !entry.is_before()))
}

/// The sessions of a table with one item per record.
pub(crate) type Turns<T, C> = Sessions<T, C, PerRecord>;

/// The protocol of this layout.
#[derive(Debug)]
pub(crate) enum PerRecord {}

impl Protocol for PerRecord {
    type Settings = Limits;
    type Known = Known;
    type Rule = Rule;
}

/// What a process remembers of the sessions that it read and wrote.
#[derive(Debug, Default)]
pub(crate) struct Known {
    tails: cached_tail::CachedTails,
    recent_ids: recent_ids::RecentIds,
}

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A sweep leaves a stub; without the rule it deletes.
    Stub,
    /// An existing item with our own id is our own append.
    IdCheck,
    /// A put after a record that may be purged soon is a transaction with a check of that record.
    CheckBefore,
    /// A rewind is refused if anyone wrote since the load that showed what it rewinds.
    RewindPosition,
    /// A repeat by key or ticket searches for its id.
    Ticket,
    /// A put relies on a cached tail of at most 15 minutes.
    CachedTailAge,
    /// The recent ids show that a key is new only if they reach the tail of the log.
    SeenToTheEnd,
    /// A load starts again if a stub's clear came after the load began.
    StubNamesClear,
    /// A record is put only within the operation's deadline after its time.
    RecordAge,
    /// A shared append whose place is taken after a record that may have been purged searches for itself again.
    TakenBehindPurged,
    /// A record carries the latest expiry of its session, not its own.
    LatestExpiry,
    /// A record that outlives its session's entry extends the entry along with itself.
    Raise,
    /// A session starts again once all of its records have expired.
    ExpiredStartsAnew,
    /// A new entry is later than the session's previous one.
    EntryIsNew,
    /// A title replaces only what was read.
    PatchAsRead,
    /// An entry whose session may have expired is listed only if the session confirms it.
    Verify,
    /// The directory changes together with the record, in one transaction.
    #[cfg(test)]
    OneTransaction,
    /// A delete of a session that does not exist leaves a record for 25 hours.
    #[cfg(test)]
    DeleteBlocks,
}
