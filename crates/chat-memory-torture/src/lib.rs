//! Runs random schedules of many processes on one store, under faults, and checks the resulting history against the store's
//! promises.
//!
//! A [`Plan`] is everything that a seed determines: the store, the processes and what they do, the network's faults, who is
//! killed and stopped when, and how time passes. [`run`] executes it: the processes are this program again ([`worker`]), and each
//! records its requests and their responses ([`history`]). Then [`check`] reads it all. It knows the promises and nothing about
//! how they are kept.
//!
//! The same seed gives the same plan. How the processes interleave depends on the machine, so a failure may need a few runs to
//! recur; its history is kept and can be checked again.

pub mod check;
mod environment;
pub mod history;
pub mod op;
pub mod plan;
pub mod run;
pub mod scenarios;
pub mod worker;

pub use plan::{Plan, Store};
pub use scenarios::Scenario;

/// The result of a test; the error is one sentence.
pub type Result<T = ()> = std::result::Result<T, String>;

/// Returns the microseconds of the machine's monotonic clock, which is the same for all processes.
pub fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec / 1000).unwrap_or(0)
}
