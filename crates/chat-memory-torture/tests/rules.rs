//! Rules of the protocols are missed where they are taken out: the checker finds what they are for, on a real table.
//!
//! For rules that are about rare meetings, the plans lead to these: [`chat_memory_torture::seek`]. Those of `StubNamesClear` and `LookAgain`
//! hang on how quick the machine is, and those of `CheckBefore`, `CachedTailAge` and `OwnGeneration` may take a minute or two, so they are left
//! to the long form, such as `cargo xtask torture --store turns --without CheckBefore`. The simulations look for all of them too, in a
//! hundred thousand schedules without a network.

use std::path::Path;
use std::sync::Mutex;

use chat_memory_torture::check::{Contract, check};
use chat_memory_torture::{Meeting, Plan, Store, run};

/// Among so many schedules, one breaks a promise. Most rules are missed in the first or second.
const SCHEDULES: u64 = 30;

fn first_broken(store: Store, rule: &str, schedules: u64) -> Option<(u64, String)> {
    (1..=schedules).find_map(|seed| broken(&Plan::without(rule, seed, store)).map(|why| (seed, why)))
}

/// The promise that a plan breaks.
fn broken(plan: &Plan) -> Option<String> {
    let history = run::run(Path::new(env!("CARGO_BIN_EXE_torture")), plan);
    let history = history.unwrap_or_else(|e| panic!("{}, seed {}: {e}", plan.store, plan.seed));
    check(&history, Contract::of(plan)).err()
}

/// What is found without a rule is not found without a rule that there is not.
#[test]
fn the_same_schedules_hold_with_all_rules() {
    for store in [Store::Turns, Store::ListJs] {
        assert_eq!(first_broken(store, "NoRule", 1), None);
        let meetings = [Meeting::CachedTailAge, Meeting::Generation];
        for meeting in meetings.into_iter().filter(|meeting| meeting.is_of(store)) {
            assert_eq!(broken(&Plan::leading_to(meeting, 1, store)), None, "{meeting:?}");
        }
    }
}

/// Those first that take longest.
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

/// Several at a time: a schedule waits more than it works.
#[test]
fn each_rule_is_missed() {
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
