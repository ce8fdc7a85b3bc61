//! Runs the protocol on a simulated table, alongside a writer of each original. Schedules are random, and each is reproducible by
//! its seed.
//!
//! `CHAT_MEMORY_SIM_SEED=17 cargo test -p chat-memory-dynamodb list::sim` runs one schedule; `CHAT_MEMORY_SIM_SCHEDULES` sets how
//! many the long test runs.

mod actors;
mod originals;
mod world;

use crate::common::timing::CLOCK_SKEW;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::{Actor, Notes, Op, Seen};
use world::{Client, World, texts};

use super::element::Dialect;
use super::{Ids, Lists, Rule, Settings, Sort};
use crate::common::names::Partitions;
use crate::common::sessions::Common;
use crate::table::sim::{Faults, Process, all_hold, drive, each_breaks, is_shown, race};
use chat_memory_core::SessionId;

/// Runs the schedule of a seed, optionally with one rule of the protocol taken out.
fn run(seed: u64, broken: Option<Rule>) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let dialect = if rng.bool() { Dialect::Js } else { Dialect::Python };
    let faults = Faults::of(&mut rng, seed % 8 == 7);
    let partitions = Partitions::new(None);
    let deadline = Duration::from_secs(30);
    let common = Common { partitions, retention: None, eventual: false, read_only: false, deadline };
    let settings = Settings {
        ids: Ids { partitions: common.partitions.clone(), sort: Sort::None },
        lists: Lists::usual(),
        dialect: Some(dialect),
        partition_key: "id".to_owned(),
        ttl_attribute: None,
        roll_bytes: (rng.u32(0..5) > 0).then(|| rng.usize(900..2_500)),
        record_bytes: 1_000_000,
        item_bytes: 6_000,
    };
    let session = SessionId::new("s").map_err(|e| e.to_string())?;
    let (clients, originals) = (rng.usize(1..4), rng.usize(0..2));
    // Keys and tickets work if clocks differ by at most an hour; everything else works whatever the clocks say.
    let allowed_ms = CLOCK_SKEW.as_millis() as i64;
    let (wrong_by_ms, repeats) = match rng.u32(0..4) {
        0 => (0, true),
        1 | 2 => (allowed_ms / 2, true),
        _ => (3 * allowed_ms, false),
    };
    let skew_ms = (0..clients).map(|_| rng.i64(-wrong_by_ms..=wrong_by_ms)).collect();
    let world = Arc::new(Mutex::new(World::of(rng.fork(), faults, skew_ms, &settings, &session)));
    let notes = Arc::new(Mutex::new(Notes::default()));
    // The originals, and whoever reads at the end, have the table's time.
    let client = Client { world, number: clients };
    let start = |number: usize| -> Process {
        let notes = Arc::clone(&notes);
        let client = Client { number, ..client.clone() };
        let actor = Actor {
            client,
            notes,
            session: session.clone(),
            common: common.clone(),
            settings: settings.clone(),
            broken,
            repeats,
        };
        if number < clients { Box::pin(actor.live()) } else { Box::pin(actor.live_as_original(dialect)) }
    };
    let (steps, jumps) = (rng.u32(60..400), rng.u32(0..30));
    race(&mut rng, &client.world, (clients + originals, steps), start, |rng, _| {
        let jump = rng.u32(0..1000) < jumps;
        if jump { rng.i64(0..20 * 60_000) } else { rng.i64(0..200) }
    });
    let last = Actor {
        client: client.clone(),
        notes: Arc::clone(&notes),
        session: session.clone(),
        common: common.clone(),
        settings,
        broken,
        repeats,
    };
    drive(last.load_once());
    if is_shown() {
        client.world().events.iter().for_each(|event| eprintln!("{event:?}"));
        eprintln!("{:?}", client.world().landings);
    }
    let (world, notes) = (client.world(), notes.lock().expect("no schedule panics while it holds the notes"));
    check(&world, &notes)
}

/// Checks what must hold in every schedule.
fn check(world: &World, notes: &Notes) -> Result<(), String> {
    if let Some(error) = world.broken.iter().chain(&notes.errors).next() {
        return Err(error.clone());
    }
    let mut landings: HashMap<u64, Vec<&world::Landing>> = HashMap::new();
    for landing in &world.landings {
        landings.entry(landing.op).or_default().push(landing);
    }
    for op in &notes.ops {
        check_op(op, landings.get(&op.number).map_or(&[], Vec::as_slice), world)?;
    }
    notes.loads.iter().try_for_each(|seen| check_load(seen, world))
}

fn check_op(op: &Op, landings: &[&world::Landing], world: &World) -> Result<(), String> {
    let number = op.number;
    let is_within = |steps: &[u64], from, to| steps.iter().any(|step| (from..=to).contains(step));
    match (op.acked, landings.first()) {
        (Some(_), None) => return Err(format!("op {number} was acknowledged and never landed")),
        (Some(step), Some(first)) if first.step > step => return Err(format!("op {number} was acknowledged before it landed")),
        // LangChain Python wrote back an older list over it before the second copy was refused: it is not there any more.
        (None, Some(first)) if is_within(&world.overwrites, first.step, op.refused.unwrap_or(0)) => {}
        // After an original's clear, a delayed copy of a first request finds the session as it was before. Such a clear may also
        // remove the first of two copies, and the second is then refused.
        (None, Some(first)) if is_within(&world.original_clears, op.started, first.step.max(op.refused.unwrap_or(0))) => {}
        (None, Some(_)) if op.refused.is_some() && !op.was_repeated() => {
            return Err(format!("op {number} was refused and landed"));
        }
        _ => {}
    }
    // Whatever was written since the position was read must have been detected.
    match (op.expects, landings.first()) {
        (Some((from, to)), Some(first)) if !(from..=to).contains(&first.version) && !is_again(world, from, to, first) => {
            Err(format!("op {number} landed at version {}, though its position was read at {from} to {to}", first.version))
        }
        _ => Ok(()),
    }
}

/// Whether the session at this landing was as it was at one of these versions, with an original's clear in between. When empty it
/// is as it was before its first message, and a delayed copy of the first append may have arrived again. The two cannot be told
/// apart.
fn is_again(world: &World, from: usize, to: usize, landing: &world::Landing) -> bool {
    let event = |version: usize| &world.events[version - 1];
    let cleared = world.original_clears.iter().any(|step| (event(from).step..=landing.step).contains(step));
    cleared && (from..=to).any(|version| event(version).view == event(landing.version).view)
}

/// A load must show a state that the session had between its start and its end, or the newest part of one.
fn check_load(seen: &Seen, world: &World) -> Result<(), String> {
    if seen.murky {
        return Ok(());
    }
    let fits = |event: &world::Event| {
        let state = texts(&event.view);
        if seen.is_page {
            // What is older than something that its reader saw.
            return state.is_empty() && seen.texts.is_empty()
                || if seen.complete { state.starts_with(&seen.texts) } else { is_part(&seen.texts, &state) };
        }
        if seen.complete { state == seen.texts } else { state.ends_with(&seen.texts) }
    };
    let first = world.events.iter().rposition(|event| event.step < seen.started).unwrap_or(0);
    let states = &world.events[first..];
    if states.iter().take_while(|event| event.step <= seen.ended).any(fits) {
        return Ok(());
    }
    Err(format!("a load from {} to {} shows {:?} (complete: {})", seen.started, seen.ended, seen.texts, seen.complete))
}

/// Whether these texts follow one another there.
fn is_part(texts: &[String], all: &[String]) -> bool {
    texts.is_empty() || all.windows(texts.len()).any(|part| part == texts)
}

/// The contract holds under every simulated fault, alongside original writers of both kinds.
#[test]
fn schedules_hold() {
    all_hold(3_000, |seed| run(seed, None));
}

/// Every rule is needed: without it, some schedule breaks the contract.
#[test]
fn each_rule_is_needed() {
    let rules = [
        Rule::Once,
        Rule::Generation,
        Rule::WholeList,
        Rule::LookBack,
        Rule::Gone,
        Rule::LookAgain,
        Rule::OwnGeneration,
        Rule::SegmentFirst,
        Rule::SameChain,
    ];
    each_breaks(&rules, 50_000, |seed, rule| run(seed, Some(rule)));
}
