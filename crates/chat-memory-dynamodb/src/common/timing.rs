//! The lengths of time that the guarantees rest on. They depend on each other: the assertions at the end stop a change to one of them
//! alone. [`KEY_LIFETIME_MS`], [`Ticket::LIFETIME_MS`] and [`PageCursor::LEAPS_FOR_MS`] are promises to users, so the core has them.

use chat_memory_core::store::{KEY_LIFETIME_MS, PageCursor, Ticket};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The largest difference between two writers' clocks: records' times come from several.
pub(crate) const CLOCK_SKEW_MS: i64 = HOUR_MS;

/// The shortest retention, in seconds.
pub(crate) const MIN_RETENTION_S: u64 = 60 * 60;

/// How long DynamoDB keeps an item after it is hidden, in seconds. TTL purges in no order, and a reader must never see a gap next
/// to a record that lives a few hours longer.
pub(crate) const PURGED_AFTER_S: i64 = DAY_MS / 1000;

/// No record is purged before this age. The rule is [`PURGED_AFTER_S`] after it was written or swept; clocks may differ by hours.
pub(crate) const PURGED_AT_AGE_MS: i64 = 12 * HOUR_MS;

/// How long a load may take from its first page to its last. A day later, the numbers that it saw may belong to another log.
pub(crate) const LONGEST_LOAD_MS: u64 = 12 * HOUR_MS as u64;

/// The maximum age of an expected position. A record lives at least an hour and is purged a day after that at the earliest.
pub(crate) const POSITION_LIFETIME_MS: i64 = DAY_MS;

/// The maximum age of a cached tail for a plain put. AWS documents that a signed request is refused after this time at the latest,
/// so no request of ours arrives later either.
pub(crate) const FRESH_MS: u64 = 15 * 60 * 1000;

/// How far the last record must be from being purged for a plain put after it.
pub(crate) const SOLID_MS: i64 = HOUR_MS;

/// How long a process keeps the id of an append, compared with its newest: a key's lifetime, by clocks that differ.
pub(crate) const RECENT_IDS_MS: i64 = KEY_LIFETIME_MS + 2 * CLOCK_SKEW_MS;

/// The maximum time that an entry may be listed beyond its session's known life, in seconds; a tenth of the retention if that is less.
pub(crate) const ENTRY_MARGIN_S: i64 = 23 * HOUR_MS / 1000;

/// How long DynamoDB keeps an entry after it is hidden, in seconds.
pub(crate) const ENTRY_PURGED_AFTER_S: i64 = HOUR_MS / 1000;

/// How long the record of a delete of nothing lives, in seconds.
pub(crate) const BLOCKS_S: i64 = HOUR_MS / 1000;

/// The minimum interval between writes of a session's last activity, in milliseconds.
pub(crate) const ACTIVITY_MS: i64 = HOUR_MS;

/// How long the `list` layout must recognise a repeat after the original append was rewound or cleared.
pub(crate) const REMEMBERED_MS: i64 = DAY_MS;

/// The age at which parts without a record, and directory entries without a session, count as abandoned. No append takes that long.
pub(crate) const ABANDONED_MS: i64 = DAY_MS;

/// The same for unreferenced side items of the `list` layout, which a repeat may still need for a day.
pub(crate) const SIDE_ITEMS_ABANDONED_MS: i64 = REMEMBERED_MS + ABANDONED_MS;

const _: () = {
    // Keys, tickets and cursors outlive no stub that they are looked up by.
    assert!(KEY_LIFETIME_MS <= PURGED_AFTER_S * 1000 && KEY_LIFETIME_MS <= REMEMBERED_MS);
    assert!(Ticket::LIFETIME_MS <= PURGED_AFTER_S * 1000 && Ticket::LIFETIME_MS <= REMEMBERED_MS);
    assert!(PageCursor::LEAPS_FOR_MS <= PURGED_AFTER_S * 1000);
    // What was written after a position is still there while the position is good, by any writer's clock; so is the record of a delete.
    assert!(POSITION_LIFETIME_MS + CLOCK_SKEW_MS <= MIN_RETENTION_S as i64 * 1000 + PURGED_AFTER_S * 1000);
    assert!(POSITION_LIFETIME_MS + CLOCK_SKEW_MS <= (BLOCKS_S + PURGED_AFTER_S) * 1000);
    // An entry is purged no later than the last record of its session.
    assert!(ENTRY_MARGIN_S + ENTRY_PURGED_AFTER_S <= PURGED_AFTER_S);
    // A put that was planned on a cached tail, and arrives as late as its signature allows, still lands after a record that is there.
    assert!(2 * FRESH_MS as i64 <= SOLID_MS);
    // A load ends before what it has seen can be purged.
    assert!(LONGEST_LOAD_MS as i64 + CLOCK_SKEW_MS <= PURGED_AFTER_S * 1000);
    assert!(PURGED_AT_AGE_MS + CLOCK_SKEW_MS <= PURGED_AFTER_S * 1000);
};
