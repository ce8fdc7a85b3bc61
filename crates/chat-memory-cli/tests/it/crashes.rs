//! `import` and `migrate`, killed with SIGKILL during each of their requests in turn.
//!
//! Wherever they are killed, each conversation is stored up to the end of one of its turns, and running the same command again adds
//! the rest without duplicates. The tests print the number of kills: some 160 in all, one more or less depending on the order in
//! which concurrent sessions are served.
#![cfg(unix)]

use std::process::Stdio;

use crate::common::Place;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::url::StoreUrl;
use chat_memory::store::{Append, ChatStore, Load, Record};
use chat_memory::{Message, Owner, SessionId};
use chat_memory_testkit::crash::{Cut, Fate, cut};
use chat_memory_testkit::{credentials_env, dynamodb_endpoint, table_name};
use serde_json::{Value, json};

const SESSIONS: usize = 2;
const TURNS: usize = 3;

/// Turn `n` of a session.
fn turn(session: usize, n: usize) -> [Message; 2] {
    [Message::user(format!("{session}/{n}?")), Message::assistant(format!("{session}/{n}!"))]
}

/// The content of a complete session.
fn whole(session: usize) -> Vec<Message> {
    (0..TURNS).flat_map(|n| turn(session, n)).collect()
}

fn url(table: &str, endpoint: &str, more: &str) -> String {
    format!("dynamodb://{table}?region=us-east-1&endpoint={endpoint}{more}")
}

fn parsed(url: &str) -> Options {
    url.parse::<StoreUrl>().expect("a store URL").dynamodb().expect("a table")
}

/// DynamoDB Local accepts any credentials, and the tester's settings must not affect the tests.
async fn open(url: &str) -> DynamoDbStore {
    let credentials = chat_memory::store::dynamodb::Credentials::new("local", "local");
    DynamoDbStore::open(parsed(url).with_credentials(credentials)).await.expect("good options")
}

/// A new table.
async fn table(more: &str) -> String {
    let name = table_name("crashes");
    let credentials = chat_memory::store::dynamodb::Credentials::new("local", "local");
    let options = parsed(&url(&name, &dynamodb_endpoint(), more)).with_credentials(credentials);
    Admin::open(&options).await.expect("good options").create_table().await.expect("a new table");
    name
}

fn place() -> Place {
    credentials_env().into_iter().fold(Place::at(""), |place, (name, value)| place.with(name, value))
}

/// The number of a session's stored turns, checking that each is complete.
async fn turns_of(store: &DynamoDbStore, id: &str, session: usize, at: &str) -> usize {
    let history = store.load(&SessionId::new(id).expect("an id"), &Load::all()).await.expect("a load");
    let records: Vec<_> = history.records.into_iter().map(Record::into_messages).collect();
    let expected: Vec<_> = (0..records.len()).map(|n| turn(session, n).to_vec()).collect();
    assert!(records == expected && records.len() <= TURNS, "{at}: this is there of {id}: {records:?}");
    records.len()
}

/// Runs the program behind a proxy, and kills it.
fn cut_off(place: &Place, nth: u64, fate: Fate, arguments: impl FnOnce(&str) -> Vec<String>) -> Cut {
    let command = |endpoint: &str| {
        let mut command = place.command(arguments(endpoint));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    tokio::task::block_in_place(|| cut(&dynamodb_endpoint(), nth, fate, command, |_| ())).0
}

fn summary(place: &Place, arguments: &[String], at: &str) -> Value {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = tokio::task::block_in_place(|| place.run(&arguments));
    assert_eq!(ran.code, Some(0), "{at}: the next run failed: {}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{at}: {e}: {}", ran.out))
}

/// What to do at each kill: gets the numbers of the request and of the kill, and says what happens to the request.
async fn everywhere(what: &str, one: impl AsyncFn(u64, usize, Fate) -> Cut) {
    let (mut cuts, mut requests) = (0, Vec::new());
    for nth in 0.. {
        let lost = one(nth, cuts, Fate::Lost).await;
        let Some(request) = &lost.request else { break };
        requests.push(request.operation.clone());
        cuts += 1;
        if !lost.only_reads() {
            for fate in [Fate::Arrives, Fate::ArrivesLate] {
                one(nth, cuts, fate).await;
                cuts += 1;
            }
        }
    }
    assert!(requests.len() > SESSIONS * TURNS, "{what} was to make more requests: {requests:?}");
    println!("{what}: {} requests, {cuts} cuts: {}", requests.len(), requests.join(" "));
}

async fn import(layout: &str) {
    let (place, table) = (place(), table(layout).await);
    let lines: Vec<String> = (0..SESSIONS)
        .map(|session| {
            let messages: Vec<Value> = whole(session).iter().map(Message::to_value).collect();
            let mut line = json!({"id": session.to_string(), "messages": messages});
            if layout.is_empty() {
                // A list cannot hold these.
                (line["owner"], line["title"], line["metadata"]) = ("ann".into(), "T".into(), json!({"k": 1}));
            }
            line.to_string()
        })
        .collect();
    let file = place.file("all.jsonl", lines.join("\n"));
    let direct = url(&table, &dynamodb_endpoint(), layout);
    let store = open(&direct).await;
    everywhere(&format!("import{layout}"), async |nth, number, fate| {
        let at = format!("an import cut off at request {nth}, which {fate:?}");
        let prefix = format!("{number}/");
        let arguments = |store: &str| ["--store", store, "--json", "import", &file, "--id-prefix", &prefix].map(str::to_owned);
        let cut = cut_off(&place, nth, fate, |endpoint| arguments(&url(&table, endpoint, layout)).to_vec());
        cut.next_run().await;
        let mut there = 0;
        for session in 0..SESSIONS {
            there += turns_of(&store, &format!("{prefix}{session}"), session, &at).await;
        }
        let next = summary(&place, &arguments(&direct), &at);
        assert_eq!(next["turns"], SESSIONS * TURNS - there, "{at}: {next}");
        cut.over().await;
        for session in 0..SESSIONS {
            let id = format!("{prefix}{session}");
            assert_eq!(turns_of(&store, &id, session, &at).await, TURNS, "{at}");
            if layout.is_empty() {
                let info = store.session(&SessionId::new(id).expect("an id")).await.expect("the directory");
                let info = info.unwrap_or_else(|| panic!("{at}: it is not listed"));
                assert!(info.title.as_deref() == Some("T") && info.metadata.is_some(), "{at}: {info:?}");
            }
        }
        assert_eq!(summary(&place, &arguments(&direct), &at)["turns"], 0, "{at}: all is there");
        cut
    })
    .await;
}

async fn migrate(from: &str, to: &str) {
    let (place, source) = (place(), table(from).await);
    let store = open(&url(&source, &dynamodb_endpoint(), from)).await;
    for session in 0..SESSIONS {
        let id = SessionId::new(session.to_string()).expect("an id");
        for n in 0..TURNS {
            let append = Append::new(turn(session, n)).with_owner(Owner::new("ann").expect("an owner")).with_title("T");
            store.append(&id, &append).await.expect("an append");
        }
    }
    everywhere(&format!("migrate from {from} to {to}"), async |nth, _, fate| {
        let at = format!("a copy cut off at request {nth}, which {fate:?}");
        let target = table(to).await;
        let arguments = |endpoint: &str| {
            let (from, to) = (url(&source, endpoint, from), url(&target, endpoint, to));
            ["--json", "migrate", "--from", &from, "--to", &to, "--verify"].map(str::to_owned).to_vec()
        };
        let cut = cut_off(&place, nth, fate, arguments);
        cut.next_run().await;
        let copy = open(&url(&target, &dynamodb_endpoint(), to)).await;
        let mut there = 0;
        for session in 0..SESSIONS {
            there += turns_of(&copy, &session.to_string(), session, &at).await;
        }
        let next = summary(&place, &arguments(&dynamodb_endpoint()), &at);
        assert_eq!((&next["appends"], &next["messages_there"]), (&json!(SESSIONS * TURNS - there), &json!(2 * there)), "{at}");
        cut.over().await;
        for session in 0..SESSIONS {
            assert_eq!(turns_of(&copy, &session.to_string(), session, &at).await, TURNS, "{at}");
            // The source is only read.
            assert_eq!(turns_of(&store, &session.to_string(), session, &at).await, TURNS, "{at}");
        }
        assert_eq!(summary(&place, &arguments(&dynamodb_endpoint()), &at)["appends"], 0, "{at}: all is there");
        cut
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_killed_at_any_request_resumes() {
    import("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_into_a_list_killed_at_any_request_resumes() {
    import("&layout=list").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_killed_at_any_request_resumes() {
    migrate("&layout=list&partition_key=id", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_into_a_list_killed_at_any_request_resumes() {
    migrate("", "&layout=list&partition_key=id").await;
}
