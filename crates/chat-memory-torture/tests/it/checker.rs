//! Tests the checker itself: it finds a history that breaks a promise, whichever it is.

use chat_memory::Timestamp;
use chat_memory::store::{AppendId, Position};
use chat_memory_torture::check::{Contract, check};
use chat_memory_torture::history::{Event, Loaded, Outcome, Shown};
use chat_memory_torture::op::{Op, What};

const CONTRACT: Contract = Contract { retained: false, shows_rewinds: true, session_s: None };

/// The id of append `n`'s record.
fn id(n: u64) -> AppendId {
    AppendId::from_bytes(u128::from(n).to_be_bytes())
}

fn op(number: u64, what: What, expected: Option<Position>) -> Op {
    let expected = expected.map(|position| position.to_string());
    Op { number, session: "s".into(), what, messages: 1, length: 1, expected, keyed: false, first_tried: 0 }
}

fn tries(at: u64, op: Op) -> Event {
    Event::Tries { at, number: op.number, op, ticket: None }
}

fn tried(at: u64, number: u64, outcome: Outcome) -> Event {
    Event::Tried { at, number, clock: 0, outcome }
}

fn landed(seq: u64, number: u64) -> Outcome {
    Outcome::Appended { seq, id: id(number).to_string() }
}

/// A record that is append `number`.
fn shown(seq: u64, number: u64, rewind: Option<u64>) -> Shown {
    Shown { seq, id: id(number).to_string(), rewind, expires_at: None, messages: 1, op: Some(number), equal: true }
}

fn loaded(from: u64, to: u64, shown: Vec<Shown>, next: u64) -> Event {
    let last = shown.last().map(|shown| shown.id.clone());
    let (session, complete) = ("s".to_owned(), true);
    Event::Loaded(Loaded {
        from,
        to,
        clock_from: 0,
        clock_to: 0,
        session,
        messages: None,
        since: None,
        shown,
        complete,
        next,
        last,
    })
}

/// Two appends one after the other, a clear by a third, and a fourth at an expected position; a load after each.
fn good() -> Vec<Event> {
    vec![
        tries(10, op(0, What::Add, None)),
        tried(20, 0, landed(0, 0)),
        loaded(21, 29, vec![shown(0, 0, None)], 1),
        tries(30, op(1, What::Add, None)),
        tried(40, 1, landed(1, 1)),
        loaded(41, 49, vec![shown(0, 0, None), shown(1, 1, None)], 2),
        tries(50, op(2, What::ReplaceAll, None)),
        tried(60, 2, landed(2, 2)),
        loaded(61, 69, vec![shown(2, 2, Some(0))], 3),
        tries(70, op(3, What::Add, Some(Position::new(3, Some(id(2)), Timestamp::UNIX_EPOCH)))),
        tried(80, 3, landed(3, 3)),
        tries(72, op(4, What::Add, Some(Position::new(3, Some(id(2)), Timestamp::UNIX_EPOCH)))),
        tried(82, 4, Outcome::Conflict { next: Some(4) }),
        loaded(90, 99, vec![shown(2, 2, Some(0)), shown(3, 3, None)], 4),
    ]
}

#[test]
fn valid_history_passes() {
    let counts = check(&good(), CONTRACT).expect("it holds");
    assert_eq!((counts.tries, counts.landed, counts.conflicts, counts.loads), (5, 4, 1, 4));
}

/// Histories that each break a promise, with the checker's report.
fn broken() -> Vec<(&'static str, Vec<Event>)> {
    let with = |at: usize, event: Event| {
        let mut history = good();
        history[at] = event;
        history
    };
    // Only the first n events, the last of them replaced.
    let first = |count: usize, last: Event| {
        let mut history = with(count - 1, last);
        history.truncate(count);
        history
    };
    let and = |event: Event| {
        let mut history = good();
        history.push(event);
        history
    };
    vec![
        // Durable and whole.
        ("record 1 (append 1) is missing", with(5, loaded(41, 49, vec![shown(0, 0, None)], 2))),
        ("the log had 2 records before the request", with(5, loaded(41, 49, vec![shown(0, 0, None)], 1))),
        ("came back altered", with(5, loaded(41, 49, vec![shown(0, 0, None), Shown { equal: false, ..shown(1, 1, None) }], 2))),
        // Stored once.
        ("append 1 is record 1", with(13, loaded(90, 99, vec![shown(2, 2, Some(0)), shown(3, 3, None), shown(4, 1, None)], 5))),
        ("are both record 1", first(8, tried(60, 2, landed(1, 2)))),
        ("which was never made", with(2, loaded(21, 29, vec![shown(0, 77, None)], 1))),
        // One order, which is that of time.
        ("the log had 2 records before it started", {
            let mut history = good();
            history[3] = tries(50, op(1, What::Add, None));
            history[4] = tried(55, 1, landed(0, 1));
            history[1] = tried(20, 0, landed(1, 0));
            history.truncate(5);
            history.remove(2);
            history
        }),
        ("the log had 2 records before it started", with(2, loaded(21, 29, vec![shown(0, 0, None), shown(1, 1, None)], 2))),
        // No lost update.
        ("expected to be 3", first(11, tried(80, 3, landed(4, 3)))),
        ("expected Some", with(9, tries(70, op(3, What::Add, Some(Position::new(3, Some(id(1)), Timestamp::UNIX_EPOCH)))))),
        ("at exactly the position 3 that it expected", with(12, tried(75, 4, Outcome::Conflict { next: Some(3) }))),
        ("expected no position and got a conflict", with(11, tries(72, op(4, What::Add, None)))),
        ("was refused and landed", with(10, tried(80, 3, Outcome::NotWritten { why: "throttled".into() }))),
        // A clear is atomic.
        ("was removed by record 2", with(8, loaded(61, 69, vec![shown(1, 1, None), shown(2, 2, Some(0))], 3))),
        ("rewinds to None, and was written differently", with(8, loaded(61, 69, vec![shown(2, 2, None)], 3))),
        // A window returns what was asked for, and nothing that has expired.
        ("do not satisfy Some(5)", {
            let mut history = good();
            if let Event::Loaded(load) = &mut history[13] {
                (load.complete, load.messages) = (false, Some(5));
            }
            history
        }),
        ("had expired", with(2, loaded(21, 29, vec![Shown { expires_at: Some(-1), ..shown(0, 0, None) }], 1))),
        // Nothing fails without a reason.
        (
            "a load of s failed: a record is missing",
            and(Event::Wrong { at: 1, what: "a load of s".into(), why: "a record is missing".into() }),
        ),
    ]
}

#[test]
fn each_broken_promise_is_found() {
    let said = |history: &[Event]| check(history, CONTRACT).map_or_else(|why| why, |_| "it holds".to_owned());
    let missed = broken().into_iter().map(|(found, history)| (found, said(&history)));
    let missed: Vec<_> = missed.filter(|(found, why)| !why.contains(found)).collect();
    assert!(missed.is_empty(), "the expected reports, and the actual ones: {missed:#?}");
}

#[test]
fn only_expired_records_may_be_missing() {
    let retained = Contract { retained: true, ..CONTRACT };
    let expiring = |seq, number, at| Shown { expires_at: Some(at), ..shown(seq, number, None) };
    let history = |clock_to: i64, later: Vec<Shown>| {
        let mut last = loaded(41, 49, later, 2);
        if let Event::Loaded(load) = &mut last {
            load.clock_to = clock_to;
        }
        let mut history = good();
        history.truncate(5);
        history[2] = loaded(21, 29, vec![expiring(0, 0, 100)], 1);
        history.push(last);
        history
    };
    check(&history(100_000, vec![expiring(1, 1, 200)]), retained).expect("record 0 has expired");
    let why = check(&history(99_999, vec![expiring(1, 1, 200)]), retained).expect_err("record 0 has not expired");
    assert!(why.contains("record 0 is missing, and has not expired"), "{why}");
}

/// A list does not return rewinds.
const LIST: Contract = Contract { shows_rewinds: false, ..CONTRACT };

fn deleted(from: u64, to: u64) -> [Event; 2] {
    let number = 100;
    [Event::Deletes { at: from, number, session: "s".into() }, Event::Deleted { at: to, number, clock: 0, settled: true }]
}

/// The second append, seen by no load; then other operations, and a load that does not return it.
fn unseen(others: impl IntoIterator<Item = Event>, clock_to: i64) -> Vec<Event> {
    let mut history = good();
    history.truncate(5);
    history.extend(others);
    let mut last = loaded(61, 69, vec![shown(0, 0, None)], 3);
    if let Event::Loaded(load) = &mut last {
        load.clock_to = clock_to;
    }
    history.push(last);
    history
}

#[test]
fn record_missing_from_a_list_needs_a_cause() {
    let missed =
        |others: Vec<Event>| check(&unseen(others, 0), LIST).is_err_and(|why| why.contains("record 1 (append 1) is missing"));
    let rewind = |at, to| tries(at, op(2, What::Rewind { to, hides_until: None }, None));
    assert!(missed(vec![]));
    assert!(missed(vec![rewind(50, 2)]), "it removes what comes later");
    let refused = Outcome::NotWritten { why: "it was too much".into() };
    assert!(missed(vec![rewind(50, 1), tried(60, 2, refused)]), "it was refused");
    assert!(missed(vec![rewind(70, 1)]), "it came later");
    assert!(missed(deleted(22, 25).into()), "it was over before");
    assert!(missed(deleted(70, 75).into()), "it came later");
    assert!(!missed(vec![rewind(50, 1)]), "it may have landed");
    assert!(!missed(vec![rewind(50, 1), tried(60, 2, landed(2, 2))]));
    assert!(!missed(deleted(50, 55).into()));
    assert!(!missed(deleted(50, 55)[..1].to_vec()), "it was killed, or is in doubt");
}

#[test]
fn session_expires_as_a_whole() {
    let kept = Contract { retained: true, session_s: Some(1_000), ..LIST };
    check(&unseen([], 1_000_000), kept).expect("it was written a thousand seconds ago");
    let why = check(&unseen([], 900_000), kept).expect_err("it was written 900 seconds ago");
    assert!(why.contains("record 1 (append 1) is missing"), "{why}");
    let mut history = good();
    if let Event::Loaded(load) = &mut history[13] {
        (load.clock_from, load.clock_to) = (1_100_000, 1_100_000);
    }
    let why = check(&history, kept).expect_err("nothing was written for that long");
    assert!(why.contains("record 2 had expired with its session"), "{why}");
}
