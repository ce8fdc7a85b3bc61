//! Random schedules of many processes on one store, under faults; and a checker that holds the history which they leave against what
//! the store promises.
//!
//! A [`Plan`] is all that a seed says: the store, the processes and what they do, the network's faults, who is killed and stopped when,
//! and how time passes. [`run`] carries it out: the processes are this program again ([`worker`]), and each writes down what it asked
//! and what it was told ([`history`]). Then [`check`] reads it all. It knows the promises and nothing of how they are kept.
//!
//! The same seed gives the same plan. How the processes meet each other is the machine's affair, so a failure may need a few runs
//! to show again; its history is kept, and can be checked again.

pub mod check;
pub mod history;
pub mod op;
pub mod plan;
pub mod run;
pub mod seek;
mod stage;
pub mod worker;

pub use plan::{Plan, Store};
pub use seek::Meeting;

/// What a test reports: one sentence.
pub type Result<T = ()> = std::result::Result<T, String>;

/// Microseconds of the machine's monotonic clock, the same for all processes.
pub fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec / 1000).unwrap_or(0)
}
