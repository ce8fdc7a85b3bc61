//! Plans: everything that a seed determines.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chat_memory_testkit::Seeded;

use crate::scenarios::Scenario;
use crate::worker::Workload;

/// A store, or a layout of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// DynamoDB, one item per record.
    Turns,
    /// DynamoDB, a session in one item, in the form of LangChain.js and Flowise.
    ListJs,
    /// DynamoDB, a session in one item, in the form of LangChain Python.
    ListPython,
    /// A SQLite file.
    Sqlite,
    /// One process's memory.
    Memory,
}

impl Store {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Turns, Self::ListJs, Self::ListPython, Self::Sqlite, Self::Memory];

    /// Whether it is on DynamoDB.
    pub fn is_remote(self) -> bool {
        matches!(self, Self::Turns | Self::ListJs | Self::ListPython)
    }

    /// Whether a session is one item.
    pub fn is_list(self) -> bool {
        matches!(self, Self::ListJs | Self::ListPython)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turns => "turns",
            Self::ListJs => "list-js",
            Self::ListPython => "list-python",
            Self::Sqlite => "sqlite",
            Self::Memory => "memory",
        })
    }
}

impl FromStr for Store {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(|store| store.to_string()).join(", ");
        Self::ALL
            .into_iter()
            .find(|store| store.to_string() == name)
            .ok_or_else(|| format!("there is {}, and no {name:?}", names()))
    }
}

/// How long a client waits for a response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_millis(600);

/// A complete schedule.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed that it was made from.
    pub seed: u64,
    /// The store.
    pub store: Store,
    /// How many processes there are at a time.
    pub processes: usize,
    /// How many tasks share a store in each.
    pub tasks: usize,
    /// How many operations each task performs.
    pub steps: usize,
    /// How many sessions there are.
    pub sessions: usize,
    /// How long records are kept at least, in seconds.
    pub retention_s: Option<u64>,
    /// Whether the processes' retentions differ: some keep records longer, some forever.
    pub retentions_differ: bool,
    /// How far off each process's clock is, in milliseconds.
    pub wrong_by_ms: Vec<i64>,
    /// Whether the service refuses requests signed at a wrong time, as AWS does.
    pub checks_clocks: bool,
    /// The size at which lists are rolled, in bytes.
    pub roll_bytes: usize,
    /// The network's faults.
    pub faults: Seeded,
    /// What is done to the processes, and when: in milliseconds after the previous act.
    pub acts: Vec<(u64, Act)>,
    /// What the tasks do, and how often.
    pub workload: Workload,
    /// A rule of the protocol that is disabled.
    pub without: Option<String>,
}

/// An external event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// Time passes for all at once, by this many milliseconds.
    Pass(i64),
    /// A process is killed; another starts in its place.
    Kill(usize),
    /// A process is suspended for this many milliseconds, while time passes.
    Stop(usize, u64, i64),
    /// A process is suspended from here on.
    Freeze(usize),
    /// It resumes.
    Thaw(usize),
    /// What has expired is purged, each item with this chance out of 100.
    Purge(u8),
}

const MINUTE_MS: i64 = 60_000;
const HOUR_S: u64 = 60 * 60;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;

impl Plan {
    /// The plan of a seed without this rule: one that exercises the rule, if that is rare otherwise.
    pub fn without(rule: &str, seed: u64, store: Store) -> Self {
        let plan = match Scenario::of(rule).filter(|scenario| scenario.is_of(store)) {
            Some(scenario) => Self::leading_to(scenario, seed, store),
            None => Self::new(seed, store),
        };
        Self { without: Some(rule.to_owned()), ..plan }
    }

    /// The plan of a seed.
    pub fn new(seed: u64, store: Store) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ store as u64);
        // A list expires as a whole, including what identifies repeats, so it is kept for longer than keys are valid.
        let kept_s = if store.is_list() { 25 * HOUR_S..30 * HOUR_S } else { HOUR_S..2 * HOUR_S };
        let retention_s = (rng.u8(0..5) < 2).then(|| rng.u64(kept_s));
        let processes = if store == Store::Memory { 1 } else { rng.usize(2..5) };
        // AWS accepts what was signed within minutes; with a retention, expiry is compared to the second.
        let wrong = if retention_s.is_some() { 20_000 } else { 2 * MINUTE_MS };
        let acts = rng.usize(0..10);
        let mut plan = Self {
            seed,
            store,
            processes,
            tasks: if store == Store::Memory { 6 } else { rng.usize(1..4) },
            // A step on a file takes a tenth of one over the network, and the acts must coincide with the steps.
            steps: if store.is_remote() { rng.usize(10..40) } else { rng.usize(50..200) },
            sessions: rng.usize(1..3),
            retention_s,
            // A list expires as a whole, by its last writer's retention.
            retentions_differ: !store.is_list() && rng.bool(),
            wrong_by_ms: (0..processes).map(|_| if store.is_remote() { rng.i64(-wrong..wrong) } else { 0 }).collect(),
            checks_clocks: true,
            roll_bytes: rng.usize(4_000..20_000),
            faults: faults(&mut rng, seed),
            acts: Vec::new(),
            workload: Workload::ALL,
            without: None,
        };
        plan.acts = (0..acts).map(|_| (rng.u64(20..250), plan.act(&mut rng))).collect();
        plan
    }

    /// Sets the processes' clocks wrong by hours, with a service that accepts that. Nothing is then repeated with keys and
    /// tickets: these are found by time, and only promised where clocks differ by an hour at most. Nothing expires either.
    #[must_use]
    pub fn with_clocks_wrong_by_hours(mut self) -> Self {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0x3_0000_0000);
        self.wrong_by_ms.iter_mut().for_each(|wrong| *wrong = rng.i64(-3 * HOUR_MS..=3 * HOUR_MS));
        (self.checks_clocks, self.retention_s) = (false, None);
        self.acts.retain(|(_, act)| !matches!(act, Act::Purge(_)));
        self
    }

    /// Returns how long the process at this place keeps records.
    pub fn retention_of(&self, place: usize) -> Option<u64> {
        let kept = self.retention_s?;
        match place % 3 {
            1 if self.retentions_differ => Some(kept * 20),
            2 if self.retentions_differ => None,
            _ => Some(kept),
        }
    }

    fn act(&self, rng: &mut fastrand::Rng) -> Act {
        let retained = self.retention_s.is_some();
        let time = |rng: &mut fastrand::Rng| match rng.u8(0..4) {
            0 => rng.i64(0..MINUTE_MS),
            1 => rng.i64(0..20 * MINUTE_MS),
            // Around the length of a retention, and the purge after it.
            _ if retained && self.store.is_list() => [12, 24, 26, 28, 31][rng.usize(..5)] * HOUR_MS + rng.i64(0..HOUR_MS),
            _ if retained => {
                [HOUR_MS, 2 * HOUR_MS, 23 * HOUR_MS, 25 * HOUR_MS, 26 * HOUR_MS][rng.usize(..5)]
                    + rng.i64(-20 * MINUTE_MS..20 * MINUTE_MS)
            }
            _ => rng.i64(0..30 * HOUR_MS),
        };
        match rng.u8(0..10) {
            0..=3 => Act::Pass(time(rng)),
            4..=5 if self.store != Store::Memory => Act::Kill(rng.usize(..self.processes)),
            6..=7 if self.store != Store::Memory => Act::Stop(rng.usize(..self.processes), rng.u64(10..300), time(rng)),
            8..=9 if retained && self.store.is_remote() => Act::Purge([100, 60][rng.usize(..2)]),
            _ => Act::Pass(rng.i64(0..20 * MINUTE_MS)),
        }
    }
}

fn faults(rng: &mut fastrand::Rng, seed: u64) -> Seeded {
    let few = Seeded { delay: Duration::from_millis(rng.u64(1..60)), hold: REQUEST_TIMEOUT * 3 / 2, ..Seeded::new(seed) };
    match rng.u8(0..4) {
        0 => few,
        1 => Seeded {
            drop_requests: 0.02,
            drop_answers: 0.04,
            duplicates: 0.03,
            throttles: 0.02,
            errors: 0.02,
            delays: 0.08,
            resets: 0.02,
            truncations: 0.01,
            conflicts: 0.02,
            refusals: 0.01,
            ..few
        },
        2 => Seeded {
            drop_requests: 0.06,
            drop_answers: 0.12,
            duplicates: 0.1,
            throttles: 0.03,
            errors: 0.08,
            delays: 0.08,
            resets: 0.1,
            truncations: 0.05,
            conflicts: 0.05,
            ..few
        },
        // Writes that arrive after everyone stopped waiting for them.
        _ => Seeded { holds: 0.06, drop_answers: 0.1, duplicates: 0.1, errors: 0.05, ..few },
    }
}
