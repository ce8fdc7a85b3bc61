//! Plans that lead to a rare scenario. Some rules of the protocol are for rare events: a load that a sweep overtakes between two
//! of its pages, a writer that comes back after days. A plan here does little else, so that a few of them reveal the missing rule
//! when it is disabled.

use chat_memory_testkit::Seeded;

use crate::plan::{Act, HOUR_MS, Plan, REQUEST_TIMEOUT, Store};
use crate::worker::Workload;

/// The rare scenarios, each named after the rule that it needs. Any plan reveals whether one of the other rules is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A load of several pages, with a clear and its sweep between two of them.
    StubNamesClear,
    /// A writer that is suspended for a day, while the newest record that it knows is erased and then purged.
    CachedTailAge,
    /// An append in flight, while the record before it is purged and another writer finds the session empty.
    CheckBefore,
    /// Appends that arrive late or whose responses are lost, and lists that are cleared and rolled all the time.
    Generation,
    /// The same, with several tasks in each process, which share what they know of the list.
    OwnGeneration,
    /// A load that finds its segments erased.
    LookAgain,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::StubNamesClear, Self::CachedTailAge, Self::CheckBefore, Self::Generation, Self::OwnGeneration, Self::LookAgain];

    /// Returns the scenario for a rule.
    pub fn of(rule: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| format!("{scenario:?}") == rule)
    }

    /// Whether it can occur on this store.
    pub fn is_of(self, store: Store) -> bool {
        match self {
            Self::StubNamesClear | Self::CachedTailAge | Self::CheckBefore => store == Store::Turns,
            Self::Generation | Self::OwnGeneration | Self::LookAgain => store.is_list(),
        }
    }
}

impl Plan {
    /// The plan of a seed that leads to this scenario.
    pub fn leading_to(scenario: Scenario, seed: u64, store: Store) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ (scenario as u64) << 56);
        let plain = Self {
            processes: 3,
            tasks: 1,
            steps: 60,
            sessions: 1,
            retention_s: None,
            retentions_differ: false,
            wrong_by_ms: vec![0; 3],
            faults: Seeded { hold: REQUEST_TIMEOUT * 3 / 2, ..Seeded::new(seed) },
            acts: Vec::new(),
            ..Self::new(seed, store)
        };
        let faults = plain.faults.clone();
        match scenario {
            Scenario::StubNamesClear => Self {
                workload: Workload { adds: 60, replaces: 6, loads: 34, large: 300_000, ..Workload::NONE },
                acts: (0..12).flat_map(|_| overtaken(rng.u64(50..200))).collect(),
                ..plain
            },
            Scenario::CachedTailAge => Self {
                processes: 2,
                steps: 120,
                workload: Workload { adds: 60, replaces: 25, loads: 15, pause_ms: 15, ..Workload::NONE },
                acts: (0..6).flat_map(|_| gone_for_a_day(rng.u64(100..400))).collect(),
                ..plain
            },
            Scenario::CheckBefore => Self {
                processes: 2,
                steps: 120,
                retention_s: Some(3_600),
                workload: Workload { adds: 90, loads: 10, pause_ms: 15, ..Workload::NONE },
                faults: Seeded { holds: 0.5, only: of(&["PutItem", "TransactWriteItems"]), ..faults },
                acts: (0..5).flat_map(|_| purged_under_a_write(rng.u64(20..80))).collect(),
                ..plain
            },
            Scenario::Generation | Scenario::OwnGeneration => Self {
                tasks: if scenario == Scenario::Generation { 1 } else { 4 },
                steps: 40,
                roll_bytes: 4_000,
                workload: Workload { adds: 60, repeats: 10, rewinds: 8, replaces: 8, loads: 14, ..Workload::NONE },
                faults: Seeded { holds: 0.1, drop_answers: 0.2, duplicates: 0.05, only: of(&["UpdateItem"]), ..faults },
                ..plain
            },
            Scenario::LookAgain => Self {
                roll_bytes: 4_000,
                workload: Workload { adds: 60, replaces: 6, loads: 34, large: 2_500, ..Workload::NONE },
                acts: (0..12).flat_map(|_| overtaken(rng.u64(50..200))).collect(),
                ..plain
            },
        }
    }
}

fn of(operations: &[&str]) -> Vec<String> {
    operations.iter().map(|name| (*name).to_owned()).collect()
}

/// The first process is suspended, possibly in the middle of a load, while the others clear.
fn overtaken(after_ms: u64) -> [(u64, Act); 2] {
    [(after_ms, Act::Freeze(0)), (500, Act::Thaw(0))]
}

/// The first process misses about two clears, their sweeps, and the purge of the stubs that these left.
fn gone_for_a_day(others_ms: u64) -> [(u64, Act); 4] {
    [(150, Act::Freeze(0)), (others_ms, Act::Pass(30 * HOUR_MS)), (0, Act::Purge(100)), (0, Act::Thaw(0))]
}

/// The first process's append after the newest record is in flight, or held, when that record is purged. Then the second comes
/// back.
fn purged_under_a_write(writes_ms: u64) -> [(u64, Act); 9] {
    // A retention of an hour, and the day after it.
    let nearly = 25 * HOUR_MS - 20_000;
    [
        (200, Act::Freeze(1)),
        (0, Act::Freeze(0)),
        // What is in flight arrives first: the service would refuse a request that was signed a day ago.
        (1_200, Act::Pass(nearly)),
        (0, Act::Thaw(0)),
        (writes_ms, Act::Freeze(0)),
        (0, Act::Pass(60_000)),
        (0, Act::Purge(100)),
        (0, Act::Thaw(1)),
        (300, Act::Thaw(0)),
    ]
}
