//! Checkpoints in a table of DynamoDB Local: the conformance suite, what a put costs, what is stored, lost answers, and that sessions
//! and threads do not meet.
#![cfg(feature = "dynamodb")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::dynamodb::{Raw, direct, new_table, noise, options, session, table};
use crate::thread::{id, json, newest, put, saying};
use chat_memory::checkpoints::{self, CheckpointOptions, CheckpointStore, Write};
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::{Append, ChatStore};
use chat_memory::{Error, ErrorKind, Message, Namespace, SessionId};
use chat_memory_testkit::{Fault, FaultProxy, Request, dynamodb_endpoint};

fn at_once() -> CheckpointOptions {
    CheckpointOptions::default().with_window(Duration::ZERO)
}

/// A store that remembers nothing, as in a new process.
async fn fresh() -> CheckpointStore {
    direct().await.checkpoints(at_once())
}

async fn ids(store: &CheckpointStore, thread: &SessionId) -> Vec<String> {
    let listed = store.list(thread, "", None, 1_000).await.expect("it can be listed").value;
    listed.into_iter().map(|checkpoint| checkpoint.id).collect()
}

/// Puts checkpoints from 1 on, each of which adds some text. Returns the text.
async fn grown(store: &CheckpointStore, thread: &SessionId, count: usize, bytes: usize) -> String {
    let mut text = String::new();
    for n in 1..=count {
        text.push_str(&noise(bytes, n as u64));
        let mut new = saying(n, (n > 1).then(|| n - 1), &text);
        new.run_id = Some(format!("run-{}", n / 10));
        put(store, thread, new).await.expect("it can be put");
    }
    text
}

#[cfg(feature = "conformance")]
mod conformance {
    use crate::dynamodb::direct;
    use chat_memory::checkpoints::conformance::Table;

    /// Each store has a client of its own.
    fn table() -> Table {
        Table::new(|options| async { Ok(direct().await.checkpoints(options)) })
    }

    chat_memory::checkpoint_conformance_tests! { table: table() }
}

#[tokio::test]
async fn warm_put_costs_one_unit_at_any_length() {
    let (store, thread) = (fresh().await, session("checkpoint-costs"));
    let mut text = String::new();
    let mut average = 0.0;
    for n in 1..=400 {
        text.push_str(&noise(300, n as u64));
        text.push_str(&noise(300, 10_000 + n as u64));
        let cost = put(&store, &thread, saying(n, (n > 1).then(|| n - 1), &text)).await.expect("it can be put");
        average += cost.write_units / 400.0;
        // The first one reads that there is nothing before it. Some write a base.
        let reads = u64::from(n == 1);
        if [1, 100, 400].contains(&n) {
            assert_eq!((cost.requests, cost.read_units, cost.write_units), (1 + reads, 0.0, 1.0), "{n}: {cost}");
        }
        assert_eq!(cost.read_units, 0.0, "{n}: {cost}");
    }
    println!("a put: {average:.2} write units on average");
    assert!(average < 2.5, "{average}");
    for store in [&store, &fresh().await] {
        let loaded = store.load(&thread, "", None).await.expect("it can be loaded");
        println!("a load at 400: {}", loaded.cost);
        assert_eq!(loaded.value.expect("it is there").values["messages"], json(text.clone()));
    }
    // Noise of six bits a letter: 240 KB of text in 180 KB, and a tail.
    let cold = fresh().await.load(&thread, "", None).await.expect("it can be loaded").cost;
    assert!(cold.requests <= 4 && cold.read_units < 60.0, "{cold}");
}

#[tokio::test]
async fn text_that_is_no_position_among_threads_is_refused() {
    let Err(error) = fresh().await.threads(Some("?")).await else { panic!("that is no position") };
    assert!(error.is_invalid(), "{error}");
}

#[tokio::test]
async fn what_is_removed_is_gone_and_the_rest_is_whole() {
    let (store, thread) = (fresh().await, session("checkpoint-removals"));
    let text = grown(&store, &thread, 40, 4_000).await;
    let write = Write::new("t", "", -1, "__error__", json("secret"));
    store.put_writes(&thread, "", &id(40), "t", vec![write]).await.expect("it can be written");
    store.delete_runs(&thread, &["run-1".into(), "run-4".into()]).await.expect("they can be deleted");
    let left = fresh().await.list(&thread, "", None, 100).await.expect("it can be listed").value;
    let kept: Vec<usize> = (20..40).rev().chain((1..10).rev()).collect();
    assert_eq!(
        left.iter().map(|checkpoint| checkpoint.id.clone()).collect::<Vec<_>>(),
        kept.iter().copied().map(id).collect::<Vec<_>>()
    );
    for (checkpoint, n) in left.iter().zip(&kept) {
        assert_eq!(checkpoint.values["messages"].bytes, text.as_bytes()[..n * 4_000]);
    }
    let target = session("checkpoint-copy");
    store.copy_thread(&thread, &target).await.expect("it can be copied");
    store.prune(&thread).await.expect("it can be pruned");
    assert_eq!(ids(&fresh().await, &thread).await, [id(39)]);
    assert_eq!(
        newest(&fresh().await, &thread).await.expect("it is there").values["messages"].bytes,
        text.as_bytes()[..39 * 4_000]
    );
    assert_eq!(ids(&fresh().await, &target).await.len(), 29);
    put(&store, &thread, saying(41, Some(39), "on")).await.expect("it continues");

    let late = fresh().await;
    newest(&late, &thread).await.expect("it is there");
    store.delete_thread(&thread).await.expect("it can be deleted");
    assert_eq!(newest(&fresh().await, &thread).await, None);
    let error = put(&late, &thread, saying(42, Some(41), "late")).await.expect_err("it was deleted");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    // Only marks are left: ids, and no text.
    let left = Raw::at(format!("ckpt#{thread}")).await.items().await;
    assert!(!left.is_empty());
    for item in left {
        let sort = item["sk"].as_s().expect("a text");
        let body = item["body"].as_b().expect("bytes").as_ref();
        assert!(sort.starts_with("c#") && !sort.contains("#w#") && body.len() < 100 && item.contains_key("ttl"), "{sort}");
    }
    put(&late, &thread, saying(43, None, "from the start")).await.expect("it starts again");
    assert_eq!(newest(&fresh().await, &thread).await.expect("it is there").values["messages"], json("from the start"));
}

#[tokio::test]
async fn lost_answer_is_repeated_and_stored_once() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let thread = session("checkpoint-doubt");
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |request: &Request| {
        let is_put = request.operation == "PutItem";
        if is_put && SEEN.fetch_add(1, Ordering::Relaxed) < 2 { Fault::DropAnswer } else { Fault::Pass }
    });
    let store = DynamoDbStore::open(options(table().await, &proxy.url())).await.expect("good options").checkpoints(at_once());
    let cost = put(&store, &thread, saying(1, None, "a")).await.expect("it can be put");
    assert_eq!((proxy.count("PutItem"), cost.requests), (3, 4));
    assert_eq!(ids(&fresh().await, &thread).await, [id(1)]);

    // If the answers stay away, the outcome is unknown, and a repeat finds what was stored.
    let proxy =
        FaultProxy::start(
            &dynamodb_endpoint(),
            |request: &Request| {
                if request.operation == "PutItem" { Fault::DropAnswer } else { Fault::Pass }
            },
        );
    let brief = options(table().await, &proxy.url()).with_deadline(Duration::from_secs(1));
    let brief = brief.with_request_timeout(Duration::from_millis(500));
    let store = DynamoDbStore::open(brief).await.expect("good options").checkpoints(at_once());
    let error = put(&store, &thread, saying(2, Some(1), "b")).await.expect_err("no answer came");
    assert_eq!(error.kind(), ErrorKind::InDoubt, "{error}");
    assert!(error.to_string().contains("put it again"), "{error}");
    put(&fresh().await, &thread, saying(2, Some(1), "b")).await.expect("it is there");
    assert_eq!(ids(&fresh().await, &thread).await, [id(2), id(1)]);
}

#[tokio::test]
async fn sessions_and_threads_do_not_meet() {
    let name = new_table().await;
    let store = DynamoDbStore::open(options(&name, &dynamodb_endpoint())).await.expect("good options");
    let trip = SessionId::new("trip").expect("a good id");
    let acme = store.in_namespace(Namespace::new("acme").expect("a good name"));
    for store in [&store, &acme] {
        let checkpoints = store.checkpoints(at_once());
        grown(&checkpoints, &trip, 12, 4_000).await;
        checkpoints.prune(&trip).await.expect("it can be pruned");
        assert_eq!(store.load(&trip, &chat_memory::store::Load::all()).await.expect("a load").into_messages(), []);
    }
    assert_eq!(ids(&store.checkpoints(at_once()), &trip).await, [id(12)]);
    store.append(&trip, &Append::new([Message::user("Hi")])).await.expect("an append");
    let page = store.list_all_sessions(None).await.expect("a list");
    assert_eq!(page.sessions.iter().map(|info| info.id.as_str()).collect::<Vec<_>>(), ["trip"]);
    assert_eq!(page.warnings, [""; 0], "a thread of a namespace is none of its sessions");
    let swept = store.sweep_table(&mut |_| ()).await.expect("nothing is damaged");
    assert_eq!((swept.records, swept.parts, swept.entries), (0, 0, 0));
    let findings = Admin::open(&options(&name, &dynamodb_endpoint())).await.expect("good options").check().await;
    assert!(!findings.iter().any(|finding| finding.subject.as_str() == "items"), "{findings:?}");
    store.delete(&trip).await.expect("a delete");
    for store in [&store, &acme] {
        let checkpoints = store.checkpoints(at_once());
        assert_eq!(ids(&checkpoints, &trip).await, [id(12)]);
        assert_eq!(checkpoints.threads(None).await.expect("they can be listed").value.0, std::slice::from_ref(&trip));
    }
    let url = format!("dynamodb://{name}?region=us-east-1&endpoint={}&namespace=acme", dynamodb_endpoint());
    // Its credentials come from the environment, so it is only opened.
    checkpoints::open(&url, CheckpointOptions::default()).await.expect("a good URL");
}

#[tokio::test]
async fn retention_hides_checkpoints_and_sets_the_ttl_attribute() {
    let thread = session("checkpoint-retention");
    let kept = Duration::from_secs(7_200);
    let kept_store = || async {
        let options = options(table().await, &dynamodb_endpoint()).with_retention(kept);
        DynamoDbStore::open(options).await.expect("good options").checkpoints(at_once())
    };
    let store = kept_store().await;
    put(&store, &thread, saying(1, None, "a")).await.expect("it can be put");
    let there = newest(&kept_store().await, &thread).await.expect("it is there");
    let expires_at = there.expires_at.expect("it expires").as_secs();
    let items = Raw::at(format!("ckpt#{thread}")).await.items().await;
    let due: i64 = items[0]["ttl"].as_n().expect("a number").parse().expect("a number");
    let after = due - expires_at - (kept.as_secs() as i64 + 24 * 3_600);
    assert!((-2..=2).contains(&after), "{after}");
}

#[tokio::test]
async fn table_without_a_sort_key_has_no_checkpoints() {
    let thread = session("checkpoint-list");
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("give a table with a partition key and a sort key"), "{error}");
    };
    let list = crate::list::new_table("id", None).await;
    let store = DynamoDbStore::open(options(&list, &dynamodb_endpoint())).await.expect("good options").checkpoints(at_once());
    refused(store.load(&thread, "", None).await.expect_err("it has no sort key"));
    refused(put(&store, &thread, saying(1, None, "a")).await.expect_err("it has no sort key"));
    let said = options(table().await, &dynamodb_endpoint()).with_layout(chat_memory::store::dynamodb::Layout::List);
    let store = DynamoDbStore::open(said).await.expect("good options").checkpoints(at_once());
    refused(store.load(&thread, "", None).await.expect_err("it has the other layout"));
}

#[tokio::test]
async fn names_that_are_too_long_are_refused() {
    let (store, thread) = (fresh().await, session("checkpoint-names"));
    let long = "n".repeat(1_100);
    let error = store.put(&thread, &long, saying(1, None, "a")).await.expect_err("it is too long");
    assert!(error.kind() == ErrorKind::TooLarge && error.to_string().contains("give the namespace"), "{error}");
    let long = "n".repeat(900);
    store.put(&thread, &long, saying(1, None, "a")).await.expect("it can be put");
    assert!(store.load(&thread, &long, None).await.expect("it can be loaded").value.is_some());
    let thread = SessionId::new("x".repeat(1_000)).expect("a good id");
    put(&store, &thread, saying(1, None, "a")).await.expect("it can be put");
}
