//! Several processes write to one session in DynamoDB at once, over a good network and a bad one.
//!
//! Each process is this test binary, started again with a role.
#![cfg(feature = "dynamodb")]

use std::collections::HashMap;
use std::process::Child;

use crate::dynamodb::{direct, options, session, table};
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::store::{Append, Appended, ChatStore, Load};
use chat_memory::{Error, Message, SessionId};
use chat_memory_testkit::children::{self, pair, said, say};
use chat_memory_testkit::{FaultProxy, Seeded, dynamodb_endpoint};

const ENDPOINT: &str = "CHAT_MEMORY_TEST_ENDPOINT";
const TABLE: &str = "CHAT_MEMORY_TEST_TABLE";
const SESSION: &str = "CHAT_MEMORY_TEST_SESSION";

const WRITERS: usize = 8;
const TURNS: usize = 50;

/// A question and its answer, as writer `who` appends them.
fn turn(who: &str, n: usize) -> Append {
    Append::new([Message::user(format!("{who}/{n}/q")), Message::assistant(format!("{who}/{n}/a"))])
}

/// Appends as an application should: repeats an append in doubt with its ticket until the outcome is known.
async fn settle(store: &DynamoDbStore, session: &SessionId, append: Append) -> Result<Appended, Error> {
    let mut result = store.append(session, &append).await;
    while let Err(error) = &result
        && let Some(ticket) = error.ticket()
    {
        eprintln!("in doubt: {error}");
        result = store.append(session, &append.clone().with_ticket(*ticket)).await;
    }
    result
}

/// Runs a process; the other tests start it. By hand, without a role, it does nothing.
#[test]
#[ignore = "the other tests run it, in processes of their own"]
fn role() {
    let Some(who) = children::role() else { return println!("no role was given") };
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is given with the role"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = DynamoDbStore::open(options(&given(TABLE), &given(ENDPOINT))).await.expect("good options");
        let session = SessionId::new(given(SESSION)).expect("a good id");
        for n in 0..TURNS {
            let appended = settle(&store, &session, turn(&who, n)).await.expect("an append");
            say(format_args!("{n} {}", appended.seq));
        }
    });
}

async fn eight_processes(endpoint: &str, test: &str) {
    let (table, session) = (table().await, session(test));
    let start = |who: usize| {
        let mut command = children::start(module_path!(), &children::this_program(), &who.to_string());
        command.env(ENDPOINT, endpoint).env(TABLE, table).env(SESSION, session.as_str()).spawn().expect("a process")
    };
    let children: Vec<Child> = (0..WRITERS).map(start).collect();
    let mut told = HashMap::new();
    for (who, mut child) in children.into_iter().enumerate() {
        for said in said(&mut child) {
            let (n, seq) = pair(&said);
            assert_eq!(told.insert(seq, (who, n)), None, "the number {seq} was used twice");
        }
        assert!(child.wait().expect("its end").success(), "process {who} failed");
    }
    let history = direct().await.load(&session, &Load::all()).await.expect("a load");
    assert_eq!((history.records.len(), told.len()), (WRITERS * TURNS, WRITERS * TURNS));
    let mut next = [0; WRITERS];
    for (place, record) in history.records.iter().enumerate() {
        assert_eq!(record.seq, place as u64);
        let (who, n) = told[&record.seq];
        assert_eq!(record.entries, turn(&who.to_string(), n).entries(), "record {place}");
        assert_eq!(n, next[who], "process {who}'s own turns are out of order");
        next[who] += 1;
    }
}

#[tokio::test]
async fn eight_processes_lose_and_duplicate_nothing() {
    eight_processes(&dynamodb_endpoint(), "processes").await;
}

#[tokio::test]
async fn eight_processes_lose_nothing_over_a_lossy_network() {
    let plan = Seeded { drop_answers: 0.2, drop_requests: 0.05, ..Seeded::new(41) };
    let proxy = FaultProxy::start(&dynamodb_endpoint(), plan);
    eight_processes(&proxy.url(), "processes-faults").await;
    let lost = proxy.requests().iter().filter(|recorded| !matches!(recorded.fault, chat_memory_testkit::Fault::Pass)).count();
    println!("{} requests, {lost} of which were lost or not answered", proxy.requests().len());
    assert!(lost > WRITERS * TURNS / 10, "the network was not bad enough: {lost}");
}
