//! Kills a process with SIGKILL at each request of an operation, one after the other, on both DynamoDB layouts. The request in
//! flight is then lost, arrives, or arrives after the next run.
//!
//! Wherever the cut is: what was acknowledged is stored once, what was in flight is stored whole or not at all, the next run
//! continues, and leftovers are gone after a sweep of the table some days later. A read request is only lost. The tests print the
//! number of cuts: 130 on the first layout, 227 on the second.
//!
//! Each process is this test binary, started again with a role.
#![cfg(all(feature = "dynamodb", feature = "torture", unix))]

mod operations;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, Layout, Options, Roll};
use chat_memory::store::{ChatStore, Load, Record, SessionQuery};
use chat_memory::{Append, Message, SessionId, torture};
use chat_memory_testkit::children::{self, said, say};
use chat_memory_testkit::crash::{Fate, cut};
use chat_memory_testkit::{client, dynamodb_endpoint};
use operations::{Operation, Step, View, owner, turn};

const ENDPOINT: &str = "CHAT_MEMORY_TEST_ENDPOINT";
const TABLE: &str = "CHAT_MEMORY_TEST_TABLE";
const LAYOUT: &str = "CHAT_MEMORY_TEST_LAYOUT";
const SESSION: &str = "CHAT_MEMORY_TEST_SESSION";
const CLOCK: &str = "CHAT_MEMORY_TEST_CLOCK";

/// Long enough for leftovers to be old enough to be swept.
const LATER: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// A table and its layout.
#[derive(Debug)]
struct Place {
    table: String,
    layout: Layout,
    /// Only reads, so its caches cannot affect the test.
    reader: DynamoDbStore,
}

impl Place {
    async fn new(layout: Layout) -> Self {
        let table =
            if layout == Layout::List { crate::list::new_table("id", None).await } else { crate::dynamodb::new_table().await };
        let reader = options(&table, layout, &dynamodb_endpoint()).with_read_only(true);
        let reader = DynamoDbStore::open(reader).await.expect("good options");
        Self { table, layout, reader }
    }

    /// Opens a store of its own, without cached state.
    async fn open(&self) -> DynamoDbStore {
        DynamoDbStore::open(options(&self.table, self.layout, &dynamodb_endpoint())).await.expect("good options")
    }

    /// Builds the command that starts a process with a role on this table.
    fn start(&self, role: &str, endpoint: &str) -> Command {
        let mut command = children::start(module_path!(), &children::this_program(), role);
        command.env(ENDPOINT, endpoint).env(TABLE, &self.table).env(LAYOUT, self.layout.to_string());
        command.stderr(Stdio::inherit());
        command
    }

    async fn view(&self, session: &SessionId) -> View {
        let history = self.reader.load(session, &Load::all()).await.expect("a load");
        // A clear has a record of its own, without messages.
        history.records.into_iter().map(Record::into_messages).filter(|messages| !messages.is_empty()).collect()
    }

    /// Counts a session's entries in the directory.
    async fn entries(&self, session: &SessionId) -> usize {
        let query = SessionQuery::of(owner(session).expect("an owner"));
        self.reader.sessions(&query).await.expect("a listing").sessions.len()
    }

    /// Returns everything in the table with this session's id, as text.
    async fn items(&self, session: &SessionId) -> Vec<String> {
        let items = client().scan().table_name(&self.table).consistent_read(true).into_paginator().items().send();
        let items = items.collect::<Result<Vec<_>, _>>().await.expect("a scan");
        let texts = items.iter().filter(|item| {
            let mut keys = ["session_id", "sk", "id"].iter().filter_map(|key| item.get(*key)?.as_s().ok());
            keys.any(|key| key.contains(session.as_str()))
        });
        texts.map(|item| format!("{item:?}")).collect()
    }
}

fn options(table: &str, layout: Layout, endpoint: &str) -> Options {
    let options = crate::dynamodb::options(table, endpoint).with_layout(layout);
    if layout == Layout::List { options.with_dialect(Dialect::Js).with_roll(Roll::At(4_000)) } else { options }
}

/// Runs a process; the other tests start it. By hand, without a role, it does nothing.
#[test]
#[ignore = "the other tests run it, in processes of their own"]
fn role() {
    let Some(role) = children::role() else { return println!("no role was given") };
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is given with the role"));
    let options = options(&given(TABLE), if given(LAYOUT) == "list" { Layout::List } else { Layout::Turns }, &given(ENDPOINT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = DynamoDbStore::open(options).await.expect("good options");
        if role == "a sweep of the table, later" {
            torture::lead_clocks(Path::new(&given(CLOCK)), 0).expect("a file that leads the clocks");
            for _ in 0..2 {
                let swept = store.sweep_table(&mut |_| {}).await.expect("a sweep of the table");
                say(swept.sessions + swept.records + swept.parts + swept.entries);
            }
            return;
        }
        let session = SessionId::new(given(SESSION)).expect("a good id");
        let operation = operations::all().into_iter().find(|operation| operation.name == role).expect("an operation");
        for (done, step) in operation.steps.iter().enumerate() {
            step.run(&store, &session).await.expect("a step");
            say(done + 1);
        }
    });
}

/// The result of one cut.
struct Found {
    /// The request in flight; `None` if the process had ended.
    request: Option<String>,
    only_reads: bool,
    /// How many steps are visible.
    landed: usize,
    session: SessionId,
    view: View,
}

/// Cuts an operation off at its request number `nth` and checks the result.
async fn one(place: &Place, operation: &Operation, nth: u64, fate: Fate) -> Found {
    let session = crate::dynamodb::session("crash");
    let store = place.open().await;
    for step in &operation.before {
        step.run(&store, &session).await.expect("what was before");
    }
    let at = format!("{}, cut off at request {nth}, which {fate:?}", operation.name);
    let command = |endpoint: &str| {
        let mut command = place.start(operation.name, endpoint);
        command.env(SESSION, session.as_str());
        command
    };
    let (cut, lines) = tokio::task::block_in_place(|| cut(&dynamodb_endpoint(), nth, fate, command, said));
    let done: usize = lines.last().map_or(0, |line| line.parse().expect("a count"));
    cut.next_run().await;

    let found = place.view(&session).await;
    let landed = (done..=operation.steps.len().min(done + 1)).find(|steps| found == operation.after(*steps));
    let landed =
        landed.unwrap_or_else(|| panic!("{at}: {done} steps were acknowledged, but this is visible: {:?}", short(&found)));

    let mut expected = operation.after_next_run(done, &found);
    let store = place.open().await;
    for step in &operation.steps[done..] {
        step.run(&store, &session).await.unwrap_or_else(|e| panic!("{at}: the next run failed: {e}"));
    }
    cut.over().await;
    if fate == Fate::ArrivesLate && place.layout == Layout::List {
        expected = with_the_late_one(expected, operation.steps.get(done), &place.view(&session).await);
    }
    see(place, &session, &expected, &format!("{at}: after the next run")).await;
    finish(place, operation, &session, &at).await;
    let view = [expected, vec![turn(99, 100)]].concat();
    see(place, &session, &view, &format!("{at}: after one more append")).await;
    Found { only_reads: cut.only_reads(), request: cut.request.map(|request| request.operation), landed, session, view }
}

/// An append without a key is not recognised as a repeat: on a list, which has no numbers to claim, the first run's append is
/// stored next to the next run's.
fn with_the_late_one(mut expected: View, step: Option<&Step>, seen: &View) -> View {
    if let Some(Step::Append { n, bytes, keyed: false }) = step
        && seen.len() == expected.len() + 1
    {
        expected.push(turn(*n, *bytes));
    }
    expected
}

async fn see(place: &Place, session: &SessionId, expected: &View, at: &str) {
    let seen = place.view(session).await;
    assert!(seen == *expected, "{at} {:?} is visible instead of {:?}", short(&seen), short(expected));
}

/// The question of each turn.
fn short(view: &View) -> Vec<String> {
    view.iter().map(|turn| turn.first().map(Message::text).unwrap_or_default()).collect()
}

/// Checks that what an operation had to erase is erased, that the directory is correct, and that the session continues.
async fn finish(place: &Place, operation: &Operation, session: &SessionId, at: &str) {
    let store = place.open().await;
    let has_directory = place.layout == Layout::Turns;
    let items = place.items(session).await;
    let holds = |what: &str| items.iter().any(|item| item.contains(what));
    if operation.steps.iter().any(|step| step.erases()) {
        for n in 0..operation.before.len() {
            assert!(!holds(&format!("what was {n}?")), "{at}: turn {n} is still in the table");
        }
        assert!(!holds("\"data\""), "{at}: a part is still in the table");
    }
    if operation.steps == [Step::Delete] && has_directory {
        assert_eq!(place.entries(session).await, 0, "{at}: it was deleted, but the directory has it");
        assert!(!holds("owner of"), "{at}: it was deleted, but the table has its owner: {items:#?}");
    }
    let after = Append::new(turn(99, 100)).with_owner(owner(session).expect("an owner"));
    store.append(session, &after).await.unwrap_or_else(|e| panic!("{at}: the session does not continue: {e}"));
    if has_directory {
        assert!(store.session(session).await.expect("the directory").is_some(), "{at}: it has messages, but is not listed");
    }
}

/// Cuts an operation off at every request and returns the results.
async fn everywhere(place: &Place, operation: &Operation) -> Vec<Found> {
    let (mut found, mut requests): (Vec<Found>, Vec<String>) = (Vec::new(), Vec::new());
    let mut before = 0;
    for nth in 0.. {
        let cut = one(place, operation, nth, Fate::Lost).await;
        assert_eq!(cut.landed, before, "{}: request {nth} undid or added something", operation.name);
        let (request, only_reads) = (cut.request.clone(), cut.only_reads);
        found.push(cut);
        let Some(request) = request else { break };
        // A read has no effect where it arrives.
        if !only_reads {
            let cut = one(place, operation, nth, Fate::Arrives).await;
            assert!((before..=before + 1).contains(&cut.landed), "{}: by request {nth}", operation.name);
            // The request has its effect whether its sender is alive or not.
            before = cut.landed;
            found.push(cut);
            found.push(one(place, operation, nth, Fate::ArrivesLate).await);
        }
        requests.push(request);
    }
    assert_eq!(before, operation.steps.len(), "{}", operation.name);
    println!("{}, {}: {} requests: {}", place.layout, operation.name, requests.len(), requests.join(" "));
    found
}

async fn crashes(layout: Layout) {
    let tasks: Vec<_> = operations::all()
        .into_iter()
        .map(|operation| {
            tokio::spawn(async move {
                // A new table, so that scanning all of it is short.
                let place = Place::new(layout).await;
                let found = everywhere(&place, &operation).await;
                later(&place).await;
                for one in &found {
                    let at = format!("{}: after the sweep of the table", operation.name);
                    see(&place, &one.session, &one.view, &at).await;
                    if layout == Layout::Turns {
                        assert_eq!(place.entries(&one.session).await, 1, "{at}: entries of a session");
                    }
                }
                found.iter().filter(|one| one.request.is_some()).count()
            })
        })
        .collect();
    let mut cuts = 0;
    for task in tasks {
        cuts += task.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
    }
    println!("{layout}: {cuts} cuts");
}

/// Sweeps the table later, twice: the second sweep finds nothing to do.
async fn later(place: &Place) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = folder.path().join("clock");
    let ahead_ms = i64::try_from(LATER.as_millis()).expect("a time");
    std::fs::write(&clock, ahead_ms.to_le_bytes()).expect("a file");
    let mut command = place.start("a sweep of the table, later", &dynamodb_endpoint());
    let mut child = command.env(CLOCK, &clock).spawn().expect("a process");
    let lines: Vec<String> = said(&mut child).collect();
    assert!(child.wait().expect("its end").success(), "the sweep of the table failed");
    println!("{}: the sweep of the table found {} things to do", place.layout, lines[0]);
    assert_eq!(lines[1], "0", "a sweep of the table leaves nothing to the next one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_at_any_request_is_survived_on_a_turns_table() {
    crashes(Layout::Turns).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_at_any_request_is_survived_on_a_langchain_js_table() {
    crashes(Layout::List).await;
}
