//! A few schedules of each store; `cargo xtask torture` runs any number.

use std::path::Path;

use chat_memory_torture::check::{Contract, Counts, check};
use chat_memory_torture::{Plan, Store, run};

fn schedules_hold(store: Store, seeds: std::ops::Range<u64>) {
    plans_hold(store, seeds, |plan| plan);
}

/// All at once: a schedule mostly waits.
fn plans_hold(store: Store, seeds: std::ops::Range<u64>, with: impl Fn(Plan) -> Plan + Sync) {
    let with = &with;
    let holds = move |seed: u64| -> Counts {
        let plan = with(Plan::new(seed, store));
        let history =
            run::run(Path::new(env!("CARGO_BIN_EXE_torture")), &plan).unwrap_or_else(|e| panic!("{store}, seed {seed}: {e}"));
        check(&history, Contract::of(&plan)).unwrap_or_else(|why| {
            panic!(
                "{store}, seed {seed}: {why}; `cargo xtask torture --store {store} --seed {seed} --schedules 1` keeps its history"
            )
        })
    };
    let sum = std::thread::scope(|threads| {
        let all: Vec<_> = seeds.clone().map(|seed| threads.spawn(move || holds(seed))).collect();
        let mut sum = Counts::default();
        all.into_iter().for_each(|one| sum += one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        sum
    });
    println!("{} schedules of {store} hold: {} appends, {} loads", seeds.count(), sum.landed, sum.loads);
    assert!(sum.landed > 0 && sum.loads > 0, "nothing was done");
}

#[test]
fn schedules_hold_on_dynamodb() {
    schedules_hold(Store::Turns, 0..4);
}

#[test]
fn schedules_hold_on_a_langchain_js_table() {
    schedules_hold(Store::ListJs, 0..2);
}

#[test]
fn schedules_hold_on_a_langchain_python_table() {
    schedules_hold(Store::ListPython, 0..2);
}

/// AWS refuses such clocks; another service at the endpoint may accept them.
#[test]
fn schedules_hold_with_clocks_wrong_by_hours() {
    std::thread::scope(|threads| {
        for store in [Store::Turns, Store::ListJs, Store::ListPython] {
            threads.spawn(move || plans_hold(store, 100..101, Plan::with_clocks_wrong_by_hours));
        }
    });
}

#[test]
fn schedules_hold_on_sqlite() {
    schedules_hold(Store::Sqlite, 0..6);
}

#[test]
fn in_memory() {
    schedules_hold(Store::Memory, 0..4);
}
