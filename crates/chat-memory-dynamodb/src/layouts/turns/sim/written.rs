//! Schedules that are too rare to occur by chance, written out. Each is run with one process stopped after every number of its
//! steps in turn. It must hold for all of them, and break for at least one without the rule that it is about.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::world::{Client, MAX_SKEW_MS, World};
use super::{Common, HOUR_MS, LIMITS, Rule, Turns, settings};
use crate::table::sim::{Faults, drive};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::message::Message;
use chat_memory_core::store::{Append, Appended};

/// More steps than any operation below takes.
const MOST_STEPS: usize = 60;

/// How many seeds each one is tried with: they decide when delayed writes arrive and how wrong the clocks are.
const CHANCES: u64 = 24;

const MINUTE_MS: i64 = 60 * 1000;

/// The default deadline of a schedule.
const DEADLINE_MS: i64 = MINUTE_MS / 2;

/// Two processes on one table, with the shortest retention.
struct Stage {
    one: Turns<Client, Client>,
    other: Turns<Client, Client>,
    client: Client,
    session: SessionId,
}

impl Stage {
    fn new(chance: u64, deadline_ms: i64, without: Option<Rule>) -> Self {
        const RETENTION_S: u64 = 3_600;
        let world = World::of(fastrand::Rng::with_seed(chance), Faults::NONE, vec![Some(RETENTION_S); 2]);
        let world = Arc::new(Mutex::new(world));
        let client = |number| Client { world: Arc::clone(&world), number };
        let process = |number| {
            let settings = Common { deadline: Duration::from_millis(deadline_ms as u64), ..settings(Some(RETENTION_S)) };
            let mut turns = Turns::new(client(number), client(number), settings, LIMITS);
            turns.broken.extend(without);
            turns
        };
        Self { one: process(0), other: process(1), client: client(0), session: SessionId::new("s").expect("an id") }
    }

    /// The other process appends.
    fn other_appends(&self, text: &str) {
        drive(self.other.append(&self.session, &said(text))).expect("nothing is in its way");
    }

    fn pass(&self, ms: i64) {
        self.client.world().pass(ms);
    }

    /// Lets time pass until everything written so far may be purged, though nothing is yet.
    fn until_due(&self) {
        self.client.world().now_ms += 25 * HOUR_MS + 2 * MAX_SKEW_MS;
    }

    /// Purges the records that are due, except the newest `left`.
    fn purge_all_but(&self, left: usize) {
        let mut world = self.client.world();
        let due = world.due();
        let records: Vec<_> = world.log(self.session.as_str()).map(|(key, _)| key.clone()).collect();
        for key in records[..records.len() - left].iter().filter(|key| due.contains(key)) {
            world.items.remove(key);
        }
    }

    /// The violation that the table detected, if any: a record that is not at the log's tail, one written twice, or one of a
    /// session that is over.
    fn verdict(&self) -> Result<(), String> {
        self.client.world().settle();
        self.client.world().broken.clone().map_or(Ok(()), Err)
    }
}

/// Runs `steps` steps of an operation, then something else, then the rest of the operation.
fn interrupted<A>(operation: impl Future<Output = A>, steps: usize, meanwhile: impl FnOnce()) -> A {
    let mut operation: Pin<Box<dyn Future<Output = A> + '_>> = Box::pin(operation);
    for _ in 0..steps {
        if let Poll::Ready(answer) = operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            meanwhile();
            return answer;
        }
    }
    meanwhile();
    drive(operation)
}

/// The schedule holds, and breaks without the rule.
fn needs(rule: Rule, deadline_ms: i64, schedule: impl Fn(&Stage, usize) -> Result<(), String>) {
    let run = |without: Option<Rule>| {
        (0..MOST_STEPS).flat_map(|steps| (0..CHANCES).map(move |chance| (steps, chance))).find_map(|(steps, chance)| {
            let stage = Stage::new(chance, deadline_ms, without);
            let result = schedule(&stage, steps).and_then(|()| stage.verdict());
            result.err().map(|why| format!("stopped after {steps} steps, by chance {chance}: {why}"))
        })
    };
    assert_eq!(run(None), None, "with all rules");
    let broken = run(Some(rule));
    println!("without {rule:?}: {broken:?}");
    assert!(broken.is_some(), "the schedule holds without {rule:?} too");
}

fn said(text: &str) -> Append {
    Append::new([Message::user(text)])
}

/// Accepts an append's failure only if it ran out of time or another came first.
fn may_fail(result: Result<Appended, Error>) -> Result<(), String> {
    match result {
        Err(error) if !(error.is_contended() || error.is_in_doubt() || error.is_unavailable() || error.is_conflict()) => {
            Err(error.to_string())
        }
        _ => Ok(()),
    }
}

/// A process that found the log empty and then stood still for a day, within its deadline, must not write the first record: by now
/// all others except the newest may have been purged.
#[test]
fn day_old_cached_tail_is_read_again() {
    needs(Rule::CachedTailAge, 48 * HOUR_MS, |stage, steps| {
        let large = said(&"x".repeat(800));
        may_fail(interrupted(stage.one.append(&stage.session, &large), steps, || {
            stage.other_appends("one");
            stage.pass(HOUR_MS / 2);
            stage.other_appends("two");
            stage.until_due();
            stage.purge_all_but(1);
        }))
    });
}

/// A process that stood still while writing must not continue a session that expired meanwhile.
#[test]
fn delayed_record_does_not_continue_an_expired_session() {
    needs(Rule::RecordAge, DEADLINE_MS, |stage, steps| {
        stage.other_appends("first");
        let lasts_ms = HOUR_MS - MINUTE_MS * 2;
        stage.pass(lasts_ms);
        let large = said(&"x".repeat(800));
        may_fail(interrupted(stage.one.append(&stage.session, &large), steps, || {
            stage.pass(14 * MINUTE_MS);
            stage.client.world().faults = Faults { late: 500, ..Faults::NONE };
        }))
    });
}

/// A shared append, made by another process under the same key, that finds its place taken searches for itself from the start of
/// the log: the log may have been purged and begun again with that append.
#[test]
fn taken_number_in_a_purged_log_restarts_the_search() {
    needs(Rule::TakenBehindPurged, DEADLINE_MS, |stage, steps| {
        stage.other_appends("first");
        stage.until_due();
        let shared = said("shared").with_key("key");
        may_fail(interrupted(stage.one.append(&stage.session, &shared), steps, || {
            stage.purge_all_but(0);
            drive(stage.other.append(&stage.session, &shared)).expect("nothing is in its way");
            stage.other_appends("next");
        }))
    });
}

/// An append that was in flight to a session without records must not arrive after that session's delete.
#[test]
fn delete_of_an_empty_session_blocks_late_appends() {
    needs(Rule::DeleteBlocks, DEADLINE_MS, |stage, _| {
        stage.client.world().faults = Faults { late: 1_000, ..Faults::NONE };
        may_fail(drive(stage.one.append(&stage.session, &said("late"))))?;
        stage.client.world().faults = Faults::NONE;
        let before = stage.client.world().journal.len();
        drive(stage.other.delete(&stage.session)).map_err(|e| e.to_string())?;
        let ended = stage.client.world().step;
        stage.client.world().settle();
        let world = stage.client.world();
        match world.journal[before..].iter().find(|made| made.step > ended) {
            Some(made) => Err(format!("record {} landed after the delete", made.seq)),
            None => Ok(()),
        }
    });
}
