//! What must hold of a history, whatever happened in it.

mod appends;
mod known;
mod loads;

use std::ops::AddAssign;

use known::Known;
use serde::{Deserialize, Serialize};

use crate::history::Event;
use crate::{Plan, Result};

/// What the store promises beyond what all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Records expire, so what is missing may have been purged.
    pub retained: bool,
    /// A load shows what takes back other records, also where it has no messages: so a view explains itself.
    pub shows_rewinds: bool,
    /// A session expires as a whole, so many seconds after its last append; an older part of it may go earlier, so long after it was written.
    pub session_s: Option<i64>,
}

impl Contract {
    /// What a plan's store promises.
    pub fn of(plan: &Plan) -> Self {
        let session_s = plan.retention_s.filter(|_| plan.store.is_list()).and_then(|kept| i64::try_from(kept).ok());
        Self { retained: plan.retention_s.is_some(), shows_rewinds: !plan.store.is_list(), session_s }
    }
}

/// What a history held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tries of appends.
    pub tries: usize,
    /// Appends that are known to have landed.
    pub landed: usize,
    /// Tries that ended in doubt, or not at all.
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

/// Holds a history against the contract.
///
/// # Errors
/// The first thing that does not fit.
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
