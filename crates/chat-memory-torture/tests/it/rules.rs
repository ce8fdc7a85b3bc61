//! Disabling a rule of the protocol must be noticed: the checker finds what the rule is for, on a real table.
//!
//! For rules about rare scenarios, [`chat_memory_torture::scenarios`] makes plans that lead there. Those of `StubNamesClear` and
//! `LookAgain` depend on the speed of the machine, and those of `CheckBefore`, `CachedTailAge` and `OwnGeneration` may take a
//! minute or two, so they are left to long runs, such as `cargo xtask torture --store turns --without CheckBefore`. The
//! simulations also look for all of them, in a hundred thousand schedules without a network.

use std::path::Path;
use std::sync::Mutex;

use chat_memory_torture::check::{Contract, check};
use chat_memory_torture::{Plan, Scenario, Store, run};

/// One of this many schedules breaks a promise; for most rules, the first or second does.
const SCHEDULES: u64 = 30;

fn first_broken(store: Store, rule: &str, schedules: u64) -> Option<(u64, String)> {
    (1..=schedules).find_map(|seed| broken(&Plan::without(rule, seed, store)).map(|why| (seed, why)))
}

/// Returns the promise that a plan breaks.
fn broken(plan: &Plan) -> Option<String> {
    let history = run::run(Path::new(env!("CARGO_BIN_EXE_torture")), plan);
    let history = history.unwrap_or_else(|e| panic!("{}, seed {}: {e}", plan.store, plan.seed));
    check(&history, Contract::of(plan)).err()
}

/// What is found without a rule must not be found without a rule that does not exist.
#[test]
fn same_schedules_hold_with_all_rules() {
    for store in [Store::Turns, Store::ListJs] {
        assert_eq!(first_broken(store, "NoRule", 1), None);
        let meetings = [Scenario::CachedTailAge, Scenario::Generation];
        for scenario in meetings.into_iter().filter(|scenario| scenario.is_of(store)) {
            assert_eq!(broken(&Plan::leading_to(scenario, 1, store)), None, "{scenario:?}");
        }
    }
}

/// The longest first.
const RULES: [(Store, &str); 10] = [
    (Store::ListJs, "Generation"),
    (Store::ListJs, "Once"),
    (Store::ListJs, "WholeList"),
    (Store::ListJs, "LookBack"),
    (Store::ListJs, "Gone"),
    (Store::Turns, "Stub"),
    (Store::Turns, "IdCheck"),
    (Store::Turns, "RewindPosition"),
    (Store::Turns, "Ticket"),
    (Store::Turns, "SeenToTheEnd"),
];

/// Several at a time: a schedule mostly waits.
#[test]
fn each_removed_rule_breaks_a_schedule() {
    const AT_ONCE: usize = 5;
    let rules = Mutex::new(RULES.into_iter());
    let next = || rules.lock().expect("no panic").next();
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                while let Some((store, rule)) = next() {
                    let found = first_broken(store, rule, SCHEDULES);
                    let (seed, why) = found.unwrap_or_else(|| panic!("{SCHEDULES} schedules of {store} hold without {rule}"));
                    println!("without {rule}, {store}, seed {seed}: {why}");
                }
            });
        }
    });
}
