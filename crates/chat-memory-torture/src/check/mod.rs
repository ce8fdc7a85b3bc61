//! The promises that every history must keep, whatever happened in it.

mod appends;
mod known;
mod loads;

use std::ops::AddAssign;

use known::Known;
use serde::{Deserialize, Serialize};

use crate::history::Event;
use crate::{Plan, Result};

/// What a store promises beyond what all stores do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Records expire, so what is missing may have been purged.
    pub retained: bool,
    /// A load returns rewinds even if they have no messages, so that a view explains itself.
    pub shows_rewinds: bool,
    /// A session expires as a whole, this many seconds after its last append; an older part of it may expire earlier, this long
    /// after it was written.
    pub session_s: Option<i64>,
}

impl Contract {
    /// What a plan's store promises.
    pub fn of(plan: &Plan) -> Self {
        let session_s = plan.retention_s.filter(|_| plan.store.is_list()).and_then(|kept| i64::try_from(kept).ok());
        Self { retained: plan.retention_s.is_some(), shows_rewinds: !plan.store.is_list(), session_s }
    }
}

/// What a history contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts of appends.
    pub tries: usize,
    /// Appends known to be stored.
    pub landed: usize,
    /// Attempts that ended in doubt, or not at all.
    pub in_doubt: usize,
    /// Refused positions.
    pub conflicts: usize,
    /// Loads.
    pub loads: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.tries += more.tries;
        self.landed += more.landed;
        self.in_doubt += more.in_doubt;
        self.conflicts += more.conflicts;
        self.loads += more.loads;
    }
}

/// Checks a history against the contract.
///
/// # Errors
/// The first violation.
pub fn check(history: &[Event], contract: Contract) -> Result<Counts> {
    for event in history {
        if let Event::Wrong { what, why, .. } = event {
            return Err(format!("{what} failed: {why}"));
        }
    }
    let known = Known::of(history, contract)?;
    appends::check(&known)?;
    loads::check(&known)?;
    Ok(known.counts())
}
