//! What the simulations of both layouts share: a scheduler, and a network with faults in front of a simulated table.

use std::future::{Future, poll_fn};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use chat_memory_core::error::{Error, ErrorKind};

use crate::table::Fault;

/// How long a signed request is valid: AWS refuses it afterwards.
pub(crate) const SIGNATURE_MS: i64 = 15 * 60 * 1000;

/// The likelihood of each fault, per 1,000 requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) lost_request: u32,
    pub(crate) lost_answer: u32,
    pub(crate) late: u32,
    pub(crate) twice: u32,
    /// An intermediary loses the response and resends the request, and the client gets the second response.
    pub(crate) again: u32,
    pub(crate) refused: u32,
}

impl Faults {
    /// No faults.
    pub(crate) const NONE: Self = Self { lost_request: 0, lost_answer: 0, late: 0, twice: 0, again: 0, refused: 0 };

    /// None, some or many, by chance. Writes are sent again in some schedules only: the others stay what they were, whose seeds tests
    /// name.
    pub(crate) fn of(rng: &mut fastrand::Rng, resends: bool) -> Self {
        let again = if resends { 150 } else { 0 };
        match rng.u32(0..3) {
            0 => Self::NONE,
            1 => Self { lost_request: 40, lost_answer: 80, late: 30, twice: 60, again, refused: 30 },
            _ => Self { lost_request: 150, lost_answer: 250, late: 150, twice: 150, again, refused: 100 },
        }
    }
}

/// A simulated table that writes reach over a network.
pub(crate) trait Network {
    type Write: Clone;
    type Answer;

    fn now_ms(&self) -> i64;

    fn faults(&self) -> Faults;

    fn rng(&mut self) -> &mut fastrand::Rng;

    /// Keeps a write that arrives at this time.
    fn hold(&mut self, due_ms: i64, write: Self::Write);

    fn carry_out(&mut self, write: Self::Write) -> Self::Answer;

    fn chance(&mut self, of_1000: u32) -> bool {
        self.rng().u32(0..1000) < of_1000
    }

    /// Keeps a write that was sent at this time until some moment while its signature is valid.
    fn hold_for_a_while(&mut self, sent_ms: i64, write: Self::Write) {
        let due = (sent_ms + self.rng().i64(0..=SIGNATURE_MS)).max(self.now_ms());
        self.hold(due, write);
    }
}

/// Sends a write, which may be lost, held, refused, doubled or left unanswered.
pub(crate) async fn deliver<N: Network>(network: &Mutex<N>, write: N::Write) -> Result<N::Answer, Fault> {
    let lock = || network.lock().expect("no schedule panics while it holds the network");
    let sent_ms = lock().now_ms();
    let mut again = false;
    let answer = loop {
        turn().await;
        let mut network = lock();
        let faults = network.faults();
        if network.now_ms() - sent_ms > SIGNATURE_MS || network.chance(faults.lost_request) {
            break Err(unknown());
        }
        if !again && network.chance(faults.refused) {
            break Err(refused());
        }
        if network.chance(faults.late) {
            network.hold_for_a_while(sent_ms, write);
            break Err(unknown());
        }
        if network.chance(faults.twice) {
            network.hold_for_a_while(sent_ms, write.clone());
        }
        let answer = network.carry_out(write.clone());
        if !again && faults.again > 0 && network.chance(faults.again) {
            again = true;
            continue;
        }
        break if network.chance(faults.lost_answer) { Err(unknown()) } else { Ok(answer) };
    };
    turn().await;
    answer
}

/// Yields, so that the simulation's scheduler can choose who runs next.
pub(crate) async fn turn() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A fault after which it is unknown whether the request arrived.
pub(crate) fn unknown() -> Fault {
    Fault { error: Error::new(ErrorKind::Unavailable, "no answer"), may_have_landed: true, retry: true }
}

/// The request was refused, and may be retried.
pub(crate) fn refused() -> Fault {
    Fault { error: Error::new(ErrorKind::Throttled, "slower"), may_have_landed: false, retry: true }
}

/// Drives a future that only needs polling.
pub(crate) fn drive<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// Runs many schedules on all cores; returns a failure with its seed.
pub(crate) fn run_many(first: u64, count: u64, run: impl Fn(u64) -> Result<(), String> + Sync) -> Option<(u64, String)> {
    let (next, failed) = (AtomicU64::new(first), Mutex::new(None::<(u64, String)>));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failed.lock().expect("not poisoned").is_some() {
                        return;
                    }
                    if let Err(why) = run(seed) {
                        failed.lock().expect("not poisoned").get_or_insert((seed, why));
                    }
                }
            });
        }
    });
    failed.into_inner().expect("not poisoned")
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number")))
}
