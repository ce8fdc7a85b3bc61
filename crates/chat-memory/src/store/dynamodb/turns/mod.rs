//! The `turns` layout: one item a record. The protocol, over any [`Table`] and [`Clock`].
//!
//! docs/design.md says why it is so; the simulation in `sim/` takes each rule out in turn and shows what breaks.

mod append;
mod belief;
mod directory;
mod item;
mod load;
#[cfg(test)]
mod sim;
mod sweep;
mod sweep_table;

use std::collections::BTreeSet;

pub(crate) use item::Limits;
pub use sweep_table::TableSwept;

use super::names::Partitions;
use super::table::{Clock, Fault, Table};
use crate::error::{Error, ErrorKind};
use crate::store::position::Moment;

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
    beliefs: belief::Beliefs,
    broken: BTreeSet<Rule>,
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
    /// A put is made on a belief of 15 minutes at most.
    BeliefAge,
    /// A stub whose clear came after the load began makes the load start again.
    StubNamesClear,
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) fn new(table: T, clock: C, settings: Settings) -> Self {
        Self { table, clock, settings, beliefs: belief::Beliefs::default(), broken: BTreeSet::new() }
    }

    pub(crate) fn table(&self) -> &T {
        &self.table
    }

    /// Whether the protocol keeps this rule: always, outside of the simulation.
    fn keeps(&self, rule: Rule) -> bool {
        !self.broken.contains(&rule)
    }

    fn writable(&self) -> Result<(), Error> {
        if self.settings.read_only {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "the store is open for reading only (read_only); open it without to write",
            ));
        }
        Ok(())
    }

    fn patience(&self) -> Patience<'_, C> {
        Patience { clock: &self.clock, started: self.clock.now(), deadline_ms: self.settings.deadline_ms, faults: 0 }
    }
}

/// How long an operation goes on repeating requests that fail, and how it waits between them.
struct Patience<'a, C> {
    clock: &'a C,
    started: Moment,
    deadline_ms: u64,
    faults: u32,
}

/// The first wait after a fault, and the longest. DynamoDB's throttling passes within a second as a rule.
const FIRST_WAIT_MS: f64 = 50.0;
const LONGEST_WAIT_MS: f64 = 2_000.0;

impl<C: Clock> Patience<'_, C> {
    fn is_over(&self) -> bool {
        self.started.age_ms(self.clock.now()) >= self.deadline_ms
    }

    /// Waits after a fault, or gives its error back when it is time to give up.
    async fn after(&mut self, fault: Fault) -> Result<(), Error> {
        let repeat = fault.retry || fault.may_have_landed;
        if !repeat || self.is_over() {
            return Err(fault.error);
        }
        self.faults += 1;
        let most = (FIRST_WAIT_MS * 2_f64.powi(self.faults.min(10) as i32 - 1)).min(LONGEST_WAIT_MS);
        self.wait(most).await;
        // Now rather than at the next look at the clock, when nobody knows any more why it took so long.
        if self.is_over() { Err(fault.error) } else { Ok(()) }
    }

    /// Waits a random time below this, so that writers who met do not meet again.
    async fn wait(&self, most_ms: f64) {
        self.clock.sleep((self.clock.random() * most_ms) as u64).await;
    }
}

/// Repeats a request that reads, or one that does no harm when it is carried out twice, until it succeeds or patience ends.
macro_rules! persist {
    ($patience:expr, $request:expr) => {
        loop {
            match $request.await {
                Ok(answer) => break Ok(answer),
                Err(fault) => {
                    if let Err(error) = $patience.after(fault).await {
                        break Err(error);
                    }
                }
            }
        }
    };
}
pub(crate) use persist;
