//! What the simulations of both layouts share: a scheduler, and a network with faults in front of a simulated table.

mod table;

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use chat_memory_core::error::{Error, ErrorKind};

pub(crate) use table::{Client, Watch, World, Write, number_in, updated};

use crate::table::Fault;
use table::Answer;

/// How long clients repeat keys; slightly less than their lifetime, since clocks differ.
pub(crate) const REPEATED_MS: i64 = 20 * 60 * 60 * 1000;

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

/// Sends a client's write, which may be lost, held, refused, doubled or left unanswered.
async fn deliver<W: Watch>(world: &Mutex<World<W>>, sent: (usize, Write)) -> Result<Answer, Fault> {
    let lock = || world.lock().expect("no schedule panics while it holds the world");
    let sent_ms = lock().now_ms;
    let mut again = false;
    let answer = loop {
        turn().await;
        let mut world = lock();
        let faults = world.faults;
        if world.now_ms - sent_ms > SIGNATURE_MS || world.chance(faults.lost_request) {
            break Err(unknown());
        }
        if !again && world.chance(faults.refused) {
            break Err(refused());
        }
        if world.chance(faults.late) {
            world.hold(sent_ms, sent);
            break Err(unknown());
        }
        if world.chance(faults.twice) {
            world.hold(sent_ms, sent.clone());
        }
        let answer = world.carry_out(sent.clone());
        if !again && faults.again > 0 && world.chance(faults.again) {
            again = true;
            continue;
        }
        break if world.chance(faults.lost_answer) { Err(unknown()) } else { Ok(answer) };
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
fn unknown() -> Fault {
    Fault { error: Error::new(ErrorKind::Unavailable, "no answer"), may_have_landed: true, retry: true }
}

/// The request was refused, and may be retried.
fn refused() -> Fault {
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

/// A client's process.
pub(crate) type Process = Pin<Box<dyn Future<Output = ()>>>;

/// Lets clients take turns for some number of steps, each after some time. `start` starts a client's process.
pub(crate) fn race<W: Watch>(
    rng: &mut fastrand::Rng,
    world: &Mutex<World<W>>,
    (clients, steps): (usize, u32),
    start: impl Fn(usize) -> Process,
    time_passes: impl Fn(&mut fastrand::Rng, &World<W>) -> i64,
) {
    let lock = || world.lock().expect("no schedule panics while it holds the world");
    let mut live: Vec<_> = (0..clients).map(&start).collect();
    for _ in 0..steps {
        {
            let mut world = lock();
            let ms = time_passes(rng, &world);
            world.pass(ms);
        }
        let number = rng.usize(..clients);
        let done = live[number].as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        // A process ends, or is killed at any point; another starts cold in its place.
        if done || rng.u32(0..150) == 0 {
            live[number] = start(number);
        }
    }
    drop(live);
    let mut world = lock();
    world.settle();
    world.faults = Faults::NONE;
}

/// Whether a client may get this error in a schedule that holds.
pub(crate) fn may_be(error: &Error) -> bool {
    let is_old_ticket = error.is_invalid() && error.to_string().starts_with("expired ticket");
    let passes = error.is_unavailable() || error.is_throttled() || error.is_contended();
    passes || error.is_in_doubt() || error.is_conflict() || is_old_ticket
}

/// Runs these schedules, or as many as `CHAT_MEMORY_SIM_SCHEDULES` says, or only that of `CHAT_MEMORY_SIM_SEED`. All must hold.
pub(crate) fn all_hold(schedules: u64, run: impl Fn(u64) -> Result<(), String> + Sync) {
    if let Some(seed) = number("CHAT_MEMORY_SIM_SEED") {
        return run(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let schedules = number("CHAT_MEMORY_SIM_SCHEDULES").unwrap_or(schedules);
    if let Some((seed, why)) = run_many(0, schedules, run) {
        panic!("CHAT_MEMORY_SIM_SEED={seed} shows it: {why}");
    }
    println!("{schedules} schedules hold");
}

/// Runs schedules without each of these rules (or only the one that `CHAT_MEMORY_SIM_WITHOUT` names) until one breaks. One must,
/// within `schedules`.
pub(crate) fn each_breaks<R: Copy + Debug + Sync>(
    rules: &[R],
    schedules: u64,
    run: impl Fn(u64, R) -> Result<(), String> + Sync,
) {
    let schedules = number("CHAT_MEMORY_SIM_SCHEDULES").unwrap_or(schedules);
    let only = std::env::var("CHAT_MEMORY_SIM_WITHOUT").ok();
    let wanted = |rule: &&R| only.as_ref().is_none_or(|only| format!("{rule:?}") == *only);
    let mut missed = Vec::new();
    for rule in rules.iter().filter(wanted) {
        match run_many(0, schedules, |seed| run(seed, *rule)) {
            Some((seed, why)) => println!("without {rule:?}, seed {seed}: {why}"),
            None => missed.push(rule),
        }
    }
    assert!(missed.is_empty(), "{schedules} schedules hold without {missed:?}: the simulation would not miss them");
}

/// Whether a schedule is to be printed as it runs.
pub(crate) fn is_shown() -> bool {
    number("CHAT_MEMORY_SIM_SEED").is_some()
}

/// Runs many schedules on all cores; returns a failure with its seed.
fn run_many(first: u64, count: u64, run: impl Fn(u64) -> Result<(), String> + Sync) -> Option<(u64, String)> {
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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number")))
}
