//! How long an operation goes on, and how it waits between requests that failed.

use super::table::{Clock, Fault};
use crate::error::Error;
use crate::store::position::Moment;

/// How long an operation goes on repeating requests that fail, and how it waits between them.
pub(crate) struct Patience<'a, C> {
    clock: &'a C,
    started: Moment,
    pub(crate) deadline_ms: u64,
    faults: u32,
}

/// The first wait after a fault, and the longest. DynamoDB's throttling passes within a second as a rule.
const FIRST_WAIT_MS: f64 = 50.0;
const LONGEST_WAIT_MS: f64 = 2_000.0;

impl<'a, C: Clock> Patience<'a, C> {
    pub(crate) fn new(clock: &'a C, deadline_ms: u64) -> Self {
        Self { clock, started: clock.now(), deadline_ms, faults: 0 }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.started.age_ms(self.clock.now()) >= self.deadline_ms
    }

    /// Waits after a fault, or gives its error back when it is time to give up.
    pub(crate) async fn after(&mut self, fault: Fault) -> Result<(), Error> {
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
    pub(crate) async fn wait(&self, most_ms: f64) {
        self.clock.sleep((self.clock.random() * most_ms) as u64).await;
    }
}

/// Repeats a request that reads, or one that does no harm when it is carried out twice, until it succeeds or patience ends.
macro_rules! persist {
    ($patience:ident, $request:expr) => {
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
