//! The lengths of time that the guarantees rest on. They depend on each other: the assertions at the end stop a change to one of them
//! alone. [`KEY_LIFETIME`], [`Ticket::LIFETIME`] and [`PageCursor::LEAPS_FOR`] are promises to users, so the core has them.

use std::time::Duration;

use chat_memory_core::store::{KEY_LIFETIME, PageCursor, Ticket};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The largest difference between two writers' clocks: records' times come from several.
pub(crate) const CLOCK_SKEW: Duration = HOUR;

/// The shortest retention.
pub(crate) const MIN_RETENTION: Duration = HOUR;

/// How long DynamoDB keeps an item after it is hidden. TTL purges in no order, and a reader must never see a gap next to a record
/// that lives a few hours longer.
pub(crate) const PURGED_AFTER: Duration = DAY;

/// No record is purged before this age. The rule is [`PURGED_AFTER`] after it was written or swept; clocks may differ by hours.
pub(crate) const PURGED_AT_AGE: Duration = Duration::from_hours(12);

/// How long a load may take from its first page to its last. A day later, the numbers that it saw may belong to another log.
pub(crate) const LONGEST_LOAD: Duration = Duration::from_hours(12);

/// The maximum age of an expected position. A record lives at least an hour and is purged a day after that at the earliest.
pub(crate) const POSITION_LIFETIME: Duration = DAY;

/// The maximum age of a cached tail for a plain put. AWS documents that a signed request is refused after this time at the latest,
/// so no request of ours arrives later either.
pub(crate) const FRESH: Duration = Duration::from_mins(15);

/// How far the last record must be from being purged for a plain put after it.
pub(crate) const SOLID: Duration = HOUR;

/// How long a process keeps the id of an append, compared with its newest: a key's lifetime, by clocks that differ.
pub(crate) const RECENT_IDS: Duration = sum(KEY_LIFETIME, sum(CLOCK_SKEW, CLOCK_SKEW));

/// The maximum time that an entry may be listed beyond its session's known life; a tenth of the retention if that is less.
pub(crate) const ENTRY_MARGIN: Duration = Duration::from_hours(23);

/// How long DynamoDB keeps an entry after it is hidden.
pub(crate) const ENTRY_PURGED_AFTER: Duration = HOUR;

/// How long the record of a delete of nothing lives.
pub(crate) const BLOCKS: Duration = HOUR;

/// The minimum interval between writes of a session's last activity, in milliseconds.
pub(crate) const ACTIVITY_MS: i64 = 60 * 60 * 1000;

/// How long the `list` layout must recognise a repeat after the original append was rewound or cleared.
pub(crate) const REMEMBERED: Duration = DAY;

/// The age at which parts without a record, and directory entries without a session, count as abandoned. No append takes that long.
pub(crate) const ABANDONED: Duration = DAY;

/// The same for unreferenced side items of the `list` layout, which a repeat may still need for a day.
pub(crate) const SIDE_ITEMS_ABANDONED: Duration = sum(REMEMBERED, ABANDONED);

const fn sum(a: Duration, b: Duration) -> Duration {
    a.saturating_add(b)
}

const fn fits(short: Duration, long: Duration) -> bool {
    short.as_millis() <= long.as_millis()
}

const _: () = {
    // Keys, tickets and cursors outlive no stub that they are looked up by.
    assert!(fits(KEY_LIFETIME, PURGED_AFTER) && fits(KEY_LIFETIME, REMEMBERED));
    assert!(fits(Ticket::LIFETIME, PURGED_AFTER) && fits(Ticket::LIFETIME, REMEMBERED));
    assert!(fits(PageCursor::LEAPS_FOR, PURGED_AFTER));
    // What was written after a position is still there while the position is good, by any writer's clock; so is the record of a delete.
    assert!(fits(sum(POSITION_LIFETIME, CLOCK_SKEW), sum(MIN_RETENTION, PURGED_AFTER)));
    assert!(fits(sum(POSITION_LIFETIME, CLOCK_SKEW), sum(BLOCKS, PURGED_AFTER)));
    // An entry is purged no later than the last record of its session.
    assert!(fits(sum(ENTRY_MARGIN, ENTRY_PURGED_AFTER), PURGED_AFTER));
    // A put that was planned on a cached tail, and arrives as late as its signature allows, still lands after a record that is there.
    assert!(fits(sum(FRESH, FRESH), SOLID));
    // A load ends before what it has seen can be purged.
    assert!(fits(sum(LONGEST_LOAD, CLOCK_SKEW), PURGED_AFTER));
    assert!(fits(sum(PURGED_AT_AGE, CLOCK_SKEW), PURGED_AFTER));
};
