//! Writers whose clocks are wrong by minutes and hours, each in its own process. AWS refuses them; where nothing does, they must
//! not lose, duplicate or reorder anything.
//!
//! Each process is this test binary, started again with a role.
#![cfg(all(feature = "dynamodb", feature = "torture", unix))]

use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::dynamodb::{Raw, direct, options, session, table};
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::store::{ChatStore, Load, SessionQuery};
use chat_memory::{Append, Message, SessionId, torture};
use chat_memory_testkit::children::{self, pair, said, say, this_program};
use chat_memory_testkit::{Fault, FaultProxy, Gate, Request, dynamodb_endpoint};

const ENDPOINT: &str = "CHAT_MEMORY_TEST_ENDPOINT";
const TABLE: &str = "CHAT_MEMORY_TEST_TABLE";
const SESSION: &str = "CHAT_MEMORY_TEST_SESSION";
const CLOCK: &str = "CHAT_MEMORY_TEST_CLOCK";
const WRONG_BY_S: &str = "CHAT_MEMORY_TEST_WRONG_BY_S";

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
/// How far off the clocks are. The extra half minute leaves whole minutes to assert on.
const WRONG_BY_S_ALL: [i64; 4] = [-3 * HOUR_S - 30, -20 * MINUTE_S - 30, 20 * MINUTE_S + 30, 3 * HOUR_S + 30];
const TURNS: usize = 12;
/// The shortest retention that a store accepts.
const RETENTION: Duration = Duration::from_secs(3_600);

/// Runs a process by its role; the other tests start it. By hand, without a role, it does nothing.
#[test]
#[ignore = "the other tests run it, in processes of their own"]
fn role() {
    let Some(role) = children::role() else { return println!("no role was given") };
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is given with the role"));
    let wrong_by_s: i64 = given(WRONG_BY_S).parse().expect("seconds");
    torture::lead_clocks(Path::new(&given(CLOCK)), wrong_by_s * 1_000).expect("a file that leads the clocks");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut options = options(&given(TABLE), &given(ENDPOINT));
        let (role, retained) = role.strip_suffix(" for an hour").map_or((role.as_str(), false), |role| (role, true));
        if retained {
            options = options.with_retention(RETENTION);
        }
        let store = DynamoDbStore::open(options).await.expect("good options");
        let session = SessionId::new(given(SESSION)).expect("a good id");
        if role == "read" {
            let history = store.load(&session, &Load::all()).await.expect("a load");
            history.messages().for_each(|message| say(message.text()));
            return;
        }
        if role == "clear" {
            store.clear(&session).await.expect("a clear");
            return;
        }
        let turns: usize = role.strip_prefix("write ").and_then(|turns| turns.parse().ok()).expect("a number of turns");
        for n in 0..turns {
            match store.append(&session, &turn(wrong_by_s, n)).await {
                Ok(appended) => say(format_args!("{n} {}", appended.seq)),
                Err(error) => say(format_args!("{:?}, in doubt: {}, {error}", error.kind(), error.is_in_doubt())),
            }
        }
    });
}

fn turn(wrong_by_s: i64, n: usize) -> Append {
    Append::new([Message::user(format!("{wrong_by_s}/{n}"))])
}

/// A clock file that does not shift the clocks yet.
fn clock() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), [0; torture::CLOCK_BYTES]).expect("a file");
    file
}

fn start(role: &str, endpoint: &str, table: &str, session: &SessionId, clock: &Path, wrong_by_s: i64) -> Child {
    let mut command = children::start(module_path!(), &this_program(), role);
    command.env(ENDPOINT, endpoint).env(TABLE, table).env(SESSION, session.as_str()).env(CLOCK, clock);
    command.env(WRONG_BY_S, wrong_by_s.to_string()).spawn().expect("a process")
}

fn end(mut child: Child) -> Vec<String> {
    let lines = said(&mut child).collect();
    assert!(child.wait().expect("its end").success(), "a process failed: {lines:?}");
    lines
}

#[tokio::test]
async fn writer_with_a_wrong_clock_is_refused_with_its_skew() {
    let clock = clock();
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
    proxy.check_clocks(Duration::from_secs(5 * 60));
    for (wrong_by_s, says) in WRONG_BY_S_ALL.into_iter().zip(["180 min behind", "20 min behind", "20 min ahead", "180 min ahead"])
    {
        let session = session("refused");
        let lines = end(start("write 1", &proxy.url(), table().await, &session, clock.path(), wrong_by_s));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.starts_with("AccessDenied, in doubt: false, ") && line.contains("this machine's clock is wrong"), "{line}");
        assert!(line.contains(says), "{says}: {line}");
        assert!(Raw::of(&session).await.items().await.is_empty(), "{wrong_by_s} s: something was written");
        let listed = direct().await.sessions(&SessionQuery::unowned()).await.expect("a listing").sessions;
        assert!(listed.iter().all(|info| info.id != session), "{wrong_by_s} s: it was listed");
    }
    // A writer whose clock is right to within minutes is accepted.
    let lines = end(start("write 1", &proxy.url(), table().await, &session("taken"), clock.path(), 2 * MINUTE_S));
    assert_eq!(lines, ["0 0"]);
}

#[tokio::test]
async fn unchecked_wrong_clocks_keep_one_order_without_duplicates() {
    let (clock, session, table) = (clock(), session("wrong"), table().await);
    let all = [&[0], &WRONG_BY_S_ALL[..]].concat();
    let role = format!("write {TURNS}");
    let writers: Vec<_> =
        all.iter().map(|wrong| start(&role, &dynamodb_endpoint(), table, &session, clock.path(), *wrong)).collect();
    let told: Vec<Vec<(usize, u64)>> =
        writers.into_iter().map(|child| end(child).iter().map(|said| pair(said)).collect()).collect();
    let history = direct().await.load(&session, &Load::all()).await.expect("a load");
    assert_eq!(history.records.len(), all.len() * TURNS);
    for (wrong, told) in all.iter().zip(told) {
        assert!(told.windows(2).all(|two| two[0].1 < two[1].1), "{wrong} s: its own appends are out of order: {told:?}");
        for (n, seq) in told {
            let record = &history.records[usize::try_from(seq).expect("a number")];
            assert_eq!((record.seq, &record.entries[..]), (seq, turn(*wrong, n).entries()), "{wrong} s, turn {n}");
        }
    }
}

/// An append whose response is lost finds itself again, as far back as it may have been written, whatever the times of other
/// writers.
#[tokio::test]
async fn list_append_finds_itself_after_clears_by_slow_clocks() {
    let (clock, session, table) = (clock(), session("behind"), crate::list::new_table("id", None).await);
    let gate = Gate::new();
    let (held, count) = (gate.clone(), AtomicUsize::new(0));
    let is_ours = |request: &Request| request.operation == "UpdateItem" && request.body.to_string().contains("ours");
    let proxy = FaultProxy::start(&dynamodb_endpoint(), move |request: &Request| match is_ours(request) {
        // It is written and its response lost; its repeat is delayed for long.
        true => [Fault::DropAnswer, Fault::Hold(held.clone())][count.fetch_add(1, Ordering::Relaxed).min(1)].clone(),
        false => Fault::Pass,
    });
    let store = DynamoDbStore::open(options(&table, &proxy.url())).await.expect("good options");
    store.append(&session, &Append::new([Message::user("first")])).await.expect("an append");
    let (writer, at) = (store.clone(), session.clone());
    let appending = tokio::spawn(async move { writer.append(&at, &Append::new([Message::user("ours")])).await });
    while proxy.requests().iter().filter(|recorded| is_ours(&recorded.request)).count() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for role in ["clear", "write 1", "clear"] {
        end(start(role, &dynamodb_endpoint(), &table, &session, clock.path(), -3 * HOUR_S));
    }
    gate.open();
    let appended = appending.await.expect("no panic").expect("an append");
    assert_eq!(appended.seq, 1, "where it landed first");
    let history = store.load(&session, &Load::all()).await.expect("a load");
    assert!(history.is_empty(), "it was cleared, but is visible again: {history:?}");
}

/// Expiry is computed from the writer's clock and applied by the reader's; nothing else depends on clocks.
#[tokio::test]
async fn expiry_uses_the_writer_clock_then_the_reader_clock() {
    let (clock, session, table) = (clock(), session("retained"), table().await);
    let run = |role: &str, wrong_by_s| end(start(role, &dynamodb_endpoint(), table, &session, clock.path(), wrong_by_s));
    let order = [0, -3 * HOUR_S, 3 * HOUR_S, -20 * MINUTE_S, 20 * MINUTE_S];
    for (seq, wrong) in order.into_iter().enumerate() {
        assert_eq!(run("write 1 for an hour", wrong), [format!("0 {seq}")], "numbers continue, whatever has expired");
    }
    let of = |wrong: i64| format!("{wrong}/0");
    let seen = |by: i64| -> Vec<String> {
        // A record is visible to a clock that is less than an hour ahead of its writer's.
        order.into_iter().filter(|writer| by - writer < HOUR_S).map(of).collect()
    };
    for by in [0, -3 * HOUR_S, -20 * MINUTE_S, 20 * MINUTE_S, 3 * HOUR_S] {
        assert_eq!(run("read for an hour", by), seen(by), "by a clock that is {by} s ahead");
    }
}
