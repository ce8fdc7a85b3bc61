//! Plans that lead to a meeting. Some rules of the protocols are for what happens rarely: a load that a sweep overtakes between two of
//! its pages, a writer that comes back after days. A plan here does little else, so a few of them miss the rule where it is taken out.

use chat_memory_testkit::Seeded;

use crate::plan::{Act, HOUR_MS, Plan, REQUEST_TIMEOUT, Store};
use crate::worker::Habits;

/// What is led to, each by the rule that it is about. The other rules are missed in a plan like any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// A load of several pages, and a clear with its sweep between two of them.
    StubNamesClear,
    /// A writer that stands still for a day, while what it believes to be the newest record is erased, and then purged.
    CachedTailAge,
    /// An append on its way, while the record before it is purged and another writer finds the session empty.
    CheckBefore,
    /// Appends that come late or whose answers are lost, and lists that are cleared and rolled all the time.
    Generation,
    /// The same, with several tasks in each process, which tell each other what they know of the list.
    OwnGeneration,
    /// A load that finds its segments erased.
    LookAgain,
}

impl Meeting {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::StubNamesClear, Self::CachedTailAge, Self::CheckBefore, Self::Generation, Self::OwnGeneration, Self::LookAgain];

    /// The meeting that a rule is about.
    pub fn of(rule: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|meeting| format!("{meeting:?}") == rule)
    }

    /// Whether there can be such a thing on this store.
    pub fn is_of(self, store: Store) -> bool {
        match self {
            Self::StubNamesClear | Self::CachedTailAge | Self::CheckBefore => store == Store::Turns,
            Self::Generation | Self::OwnGeneration | Self::LookAgain => store.is_list(),
        }
    }
}

impl Plan {
    /// The plan of a seed that leads to this meeting.
    pub fn leading_to(meeting: Meeting, seed: u64, store: Store) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ (meeting as u64) << 56);
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
        match meeting {
            Meeting::StubNamesClear => Self {
                habits: Habits { adds: 60, replaces: 6, loads: 34, large: 300_000, ..Habits::NONE },
                acts: (0..12).flat_map(|_| overtaken(rng.u64(50..200))).collect(),
                ..plain
            },
            Meeting::CachedTailAge => Self {
                processes: 2,
                steps: 120,
                habits: Habits { adds: 60, replaces: 25, loads: 15, pause_ms: 15, ..Habits::NONE },
                acts: (0..6).flat_map(|_| gone_for_a_day(rng.u64(100..400))).collect(),
                ..plain
            },
            Meeting::CheckBefore => Self {
                processes: 2,
                steps: 120,
                retention_s: Some(3_600),
                habits: Habits { adds: 90, loads: 10, pause_ms: 15, ..Habits::NONE },
                faults: Seeded { holds: 0.5, only: of(&["PutItem", "TransactWriteItems"]), ..faults },
                acts: (0..5).flat_map(|_| purged_under_a_write(rng.u64(20..80))).collect(),
                ..plain
            },
            Meeting::Generation | Meeting::OwnGeneration => Self {
                tasks: if meeting == Meeting::Generation { 1 } else { 4 },
                steps: 40,
                roll_bytes: 4_000,
                habits: Habits { adds: 60, repeats: 10, rewinds: 8, replaces: 8, loads: 14, ..Habits::NONE },
                faults: Seeded { holds: 0.1, drop_answers: 0.2, duplicates: 0.05, only: of(&["UpdateItem"]), ..faults },
                ..plain
            },
            Meeting::LookAgain => Self {
                roll_bytes: 4_000,
                habits: Habits { adds: 60, replaces: 6, loads: 34, large: 2_500, ..Habits::NONE },
                acts: (0..12).flat_map(|_| overtaken(rng.u64(50..200))).collect(),
                ..plain
            },
        }
    }
}

fn of(operations: &[&str]) -> Vec<String> {
    operations.iter().map(|name| (*name).to_owned()).collect()
}

/// The first process stands still, in the middle of a load if it meets it so, while the others clear.
fn overtaken(after_ms: u64) -> [(u64, Act); 2] {
    [(after_ms, Act::Freeze(0)), (500, Act::Thaw(0))]
}

/// The first process misses two clears or so, their sweeps, and the purge of the stubs that these left.
fn gone_for_a_day(others_ms: u64) -> [(u64, Act); 4] {
    [(150, Act::Freeze(0)), (others_ms, Act::Pass(30 * HOUR_MS)), (0, Act::Purge(100)), (0, Act::Thaw(0))]
}

/// The first process's append behind the newest record is on its way, or held, when that record is purged. Then the second comes back.
fn purged_under_a_write(writes_ms: u64) -> [(u64, Act); 9] {
    // A retention of an hour, and the day after it.
    let nearly = 25 * HOUR_MS - 20_000;
    [
        (200, Act::Freeze(1)),
        (0, Act::Freeze(0)),
        // What is on its way arrives first: the service would take no request that was signed a day ago.
        (1_200, Act::Pass(nearly)),
        (0, Act::Thaw(0)),
        (writes_ms, Act::Freeze(0)),
        (0, Act::Pass(60_000)),
        (0, Act::Purge(100)),
        (0, Act::Thaw(1)),
        (300, Act::Thaw(0)),
    ]
}
