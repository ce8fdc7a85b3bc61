//! What a sweep of a whole table reports, in both layouts: what it erased, and the damage that it skipped.

use chat_memory_core::error::Error;
use chat_memory_core::store::Cost;

/// How many damaged records a sweep names; further ones are only counted.
const MOST_NAMED: usize = 20;

/// The result of a sweep of a whole table.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct TableSweepStats {
    /// Items read.
    pub items: u64,
    /// Sessions in which something was left to erase.
    pub sessions: u64,
    /// Records whose messages were erased.
    pub records: u64,
    /// Parts without a record that were deleted.
    pub parts: u64,
    /// Directory entries without a session that were deleted.
    pub entries: u64,
    /// Entries of the previous version that were upgraded to the current form.
    pub renewed: u64,
    /// What it cost.
    pub cost: Cost,
}

impl TableSweepStats {
    /// Returns the result, unless sessions could not be read: these are reported once all others are swept.
    pub(crate) fn unless(self, damaged: Damaged) -> Result<Self, Error> {
        damaged.none_or(format_args!(
            "{} of {} erased, {} without a record and {} of the directory without a session deleted, but not all could be read",
            counted(self.records, "record"),
            counted(self.sessions, "session"),
            counted(self.parts, "part"),
            counted(self.entries, "entry"),
        ))?;
        Ok(self)
    }
}

fn counted(n: u64, what: &str) -> String {
    match (n, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (n, Some(stem)) => format!("{n} {stem}ies"),
        (n, None) => format!("{n} {what}s"),
    }
}

/// The damage that a sweep found and skipped.
#[derive(Debug, Default)]
pub(crate) struct Damaged {
    named: Vec<Error>,
    pub(crate) count: usize,
}

impl Damaged {
    /// Returns the result, or `None` for stored data that cannot be read; that error is kept for later. Any other error ends the
    /// sweep.
    pub(crate) fn pass<R>(&mut self, result: Result<R, Error>) -> Result<Option<R>, Error> {
        match result {
            Err(error) if error.is_corrupt() || error.is_unsupported() => {
                self.count += 1;
                if self.named.len() < MOST_NAMED {
                    self.named.push(error);
                }
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Fails with the damage, if there was any; `done` describes what was done nevertheless.
    pub(crate) fn none_or(self, done: impl std::fmt::Display) -> Result<(), Error> {
        let Some(first) = self.named.first() else { return Ok(()) };
        let said: Vec<String> = self.named.iter().map(ToString::to_string).collect();
        let more = match self.count - self.named.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Err(Error::new(first.kind(), format!("{done}: {}{more}", said.join("; "))))
    }
}
