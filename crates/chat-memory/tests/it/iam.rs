//! Compares the permissions in `iam::policy` with the requests that the store actually sends: none missing, none extra.
#![cfg(all(feature = "conformance", feature = "dynamodb"))]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dynamodb::{Raw, direct, n, options, session, table};
use chat_memory::conformance::Suite;
use chat_memory::store::dynamodb::iam::{Use, policy};
use chat_memory::store::dynamodb::{DynamoDbStore, Layout, Options, Roll};
use chat_memory::store::{Append, ChatStore, Load, SessionQuery};
use chat_memory::{Message, Namespace};
use chat_memory_testkit::{Fault, FaultProxy, Request, dynamodb_endpoint};

/// Returns the actions that IAM must allow for these operations. (A transaction has no action of its own.)
fn needed(operations: BTreeSet<String>) -> BTreeSet<String> {
    let actions = operations.iter().flat_map(|operation| match operation.as_str() {
        "TransactWriteItems" => vec!["ConditionCheckItem", "PutItem"],
        plain => vec![plain],
    });
    actions.map(|action| format!("dynamodb:{action}")).collect()
}

/// Returns the actions that the policy grants to sessions.
fn granted(options: &Options) -> BTreeSet<String> {
    granted_for(options, &[Use::Sessions])
}

fn granted_for(options: &Options, uses: &[Use]) -> BTreeSet<String> {
    let policy = policy(options, uses, None);
    let statements = policy["Statement"].as_array().expect("a list of statements");
    let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().expect("a list of actions"));
    actions.map(|action| action.as_str().expect("a string").to_owned()).collect()
}

/// Returns the partition keys that a request names.
fn partitions(request: &Request) -> Vec<&str> {
    let body = &request.body;
    let actions = body["TransactItems"].as_array().into_iter().flatten();
    let in_transaction = actions.flat_map(|action| [&action["Put"]["Item"], &action["ConditionCheck"]["Key"]]);
    let places = [&body["Item"], &body["Key"], &body["ExclusiveStartKey"]].into_iter().chain(in_transaction);
    let keys = places.filter_map(|place| place["session_id"]["S"].as_str());
    // A query names its partition first.
    let queried =
        body["KeyConditionExpression"].as_str().and_then(|condition| condition.split(' ').find(|word| word.starts_with(':')));
    keys.chain(queried.and_then(|value| body["ExpressionAttributeValues"][value]["S"].as_str())).collect()
}

/// Runs the suite on a store with these options and returns the operations that it sent.
async fn operations_of_the_suite(options: Options) -> BTreeSet<String> {
    let handles: Arc<Mutex<Vec<DynamoDbStore>>> = Arc::default();
    let opened = Arc::clone(&handles);
    let suite = Suite::new(move || {
        let (options, opened) = (options.clone(), Arc::clone(&opened));
        async move {
            let store = DynamoDbStore::open(options).await?;
            opened.lock().expect("no panic").push(store.clone());
            Ok(store)
        }
    });
    crate::dynamodb::run(&suite, Suite::cases()).await;
    handles.lock().expect("no panic").iter().flat_map(DynamoDbStore::operations).collect()
}

/// Covers what the suite's fresh sessions do not: a record that is about to be purged, so that the next is written in a
/// transaction with a check on it.
async fn operations_behind_a_record_that_expires(options: &Options) -> BTreeSet<String> {
    let session = session("iam-expiring");
    let expiring = options.clone().with_retention(Duration::from_secs(86_400));
    let expiring = DynamoDbStore::open(expiring).await.expect("good options");
    expiring.append(&session, &Append::new([Message::user("first")])).await.expect("an append");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let prefix = options.namespace.as_ref().map_or_else(String::new, |name| format!("ns#{name}#"));
    Raw::at(format!("{prefix}{}", session.as_str())).await.set(0, "expires_at", n(now - 84_600)).await;
    // Whether or not this configuration has a retention, the records of another one do.
    let store = DynamoDbStore::open(options.clone()).await.expect("good options");
    store.append(&session, &Append::new([Message::user("second")])).await.expect("an append");
    store.operations()
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_allows_exactly_what_is_sent_within_the_namespace() {
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
    let options = options(table().await, &proxy.url()).with_namespace(Namespace::new("tenant-7").expect("a good name"));
    let mut operations = operations_of_the_suite(options.clone()).await;
    println!("the suite sends {operations:?}");
    operations.extend(operations_behind_a_record_that_expires(&options).await);
    println!("with a record about to expire: {operations:?}");
    // The suite also lists all sessions.
    assert_eq!(needed(operations), granted_for(&options, &[Use::Sessions, Use::AllSessions]));

    let requests = proxy.requests();
    let mut found = 0;
    for recorded in &requests {
        let partitions = partitions(&recorded.request);
        if recorded.request.operation == "Scan" {
            // It scans the whole table, regardless of who owns the partitions.
            continue;
        }
        let about_items = !recorded.request.operation.starts_with("Describe");
        assert_eq!(partitions.is_empty(), !about_items, "{}", recorded.request.operation);
        for partition in &partitions {
            assert!(partition.starts_with("ns#tenant-7#"), "{partition:?} in {}", recorded.request.operation);
        }
        found += partitions.len();
    }
    println!("{found} partition keys in {} requests", requests.len());
}

#[tokio::test]
async fn policy_covers_what_is_sent_with_a_retention() {
    let options = options(table().await, &dynamodb_endpoint()).with_retention(Duration::from_secs(30 * 86_400));
    let store = DynamoDbStore::open(options.clone()).await.expect("good options");
    let session = session("iam-retention");
    store.append(&session, &Append::new([Message::user("first")])).await.expect("an append");
    let operations = store.operations();
    assert!(operations.contains("DescribeTimeToLive"), "{operations:?}");
    assert!(needed(operations).is_subset(&granted(&options)));
    assert!(needed(operations_behind_a_record_that_expires(&options).await).is_subset(&granted(&options)));
}

#[tokio::test]
async fn read_only_policy_allows_exactly_what_is_sent() {
    let session = session("iam-reader");
    direct().await.append(&session, &Append::new([Message::user("first")])).await.expect("an append");
    let options = options(table().await, &dynamodb_endpoint()).with_read_only(true);
    let reader = DynamoDbStore::open(options.clone()).await.expect("good options");
    assert_eq!(reader.load(&session, &Load::all()).await.expect("a load").records.len(), 1);
    assert!(reader.session(&session).await.expect("the directory").is_some());
    assert!(!reader.sessions(&SessionQuery::default()).await.expect("the directory").sessions.is_empty());
    assert_eq!(needed(reader.operations()), granted(&options));

    // Writes are refused before they are sent.
    for error in [
        reader.append(&session, &Append::new([Message::user("second")])).await.expect_err("it writes"),
        reader.clear(&session).await.expect_err("it writes"),
        reader.sweep(&session).await.expect_err("it writes"),
        reader.delete(&session).await.expect_err("it writes"),
    ] {
        assert!(error.is_read_only() && error.to_string().contains("read_only"), "{error}");
    }
    assert_eq!(needed(reader.operations()), granted(&options));
}

/// Makes every kind of write, on a session long enough to have been rolled.
async fn use_fully(store: &DynamoDbStore) {
    let session = session("iam-list");
    for turn in 0..12 {
        let append = Append::new([Message::user(format!("{turn} {}", "x".repeat(1_000)))]);
        store.append(&session, &append).await.expect("an append");
    }
    // Its parts are deleted by the sweep.
    let large = Append::new([Message::user("x".repeat(300_000))]);
    store.append(&session, &large).await.expect("an append");
    let history = store.load(&session, &Load::all()).await.expect("a load");
    let rewind = Append::rewind(&history, 2, None::<Message>).expect("a record that is there");
    store.append(&session, &rewind).await.expect("a rewind");
    store.sweep(&session).await.expect("a sweep");
    store.clear(&session).await.expect("a clear");
    store.delete(&session).await.expect("a delete");
    assert!(store.load(&session, &Load::all()).await.expect("a load").messages().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn list_layout_policy_allows_exactly_what_is_sent() {
    for (sort_key, namespace) in [(None, None), (None, Some("tenant-7")), (Some("kind"), Some("tenant-7"))] {
        let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
        let table = crate::list::new_table("id", sort_key).await;
        let mut asked = options(&table, &proxy.url()).with_layout(Layout::List).with_roll(Roll::At(4_000));
        asked.namespace = namespace.map(|name| Namespace::new(name).expect("a good name"));
        asked.sort_value = sort_key.map(str::to_owned);
        let mut told = asked.clone();
        (told.partition_key, told.sort_key) = (Some("id".to_owned()), sort_key.map(str::to_owned));
        for options in [asked, told] {
            let store = DynamoDbStore::open(options.clone()).await.expect("good options");
            use_fully(&store).await;
            assert_eq!(needed(store.operations()), granted(&options), "{options:?}");

            let everyone = DynamoDbStore::open(options.clone()).await.expect("good options");
            everyone.list_all_sessions(None).await.expect("a page");
            assert_eq!(needed(everyone.operations()), granted_for(&options, &[Use::AllSessions]), "{options:?}");

            let sweeper = DynamoDbStore::open(options.clone()).await.expect("good options");
            sweeper.sweep_table(&mut |_| ()).await.expect("a sweep");
            assert!(needed(sweeper.operations()).is_subset(&granted_for(&options, &[Use::TableSweep])), "{options:?}");

            let options = options.with_read_only(true);
            let reader = DynamoDbStore::open(options.clone()).await.expect("good options");
            reader.load(&session("iam-list"), &Load::all()).await.expect("a load");
            assert_eq!(needed(reader.operations()), granted(&options), "{options:?}");
        }
        for recorded in proxy.requests() {
            let key = &recorded.request.body["Key"]["id"]["S"];
            let key = key.as_str().or(recorded.request.body["Item"]["id"]["S"].as_str());
            let prefix = namespace.map(|name| format!("ns#{name}#")).unwrap_or_default();
            assert!(key.is_none_or(|key| key.starts_with(&prefix)), "{key:?} in {}", recorded.request.operation);
        }
    }
}
