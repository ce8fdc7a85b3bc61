//! Forks and the sessions of an owner on DynamoDB Local: limits, costs, what a query sees of a transaction, and expired sessions.
#![cfg(feature = "dynamodb")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dynamodb::{Raw, direct, n, noise, open, options, session, table};
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::store::{Append, ChatStore, Fork, Load, SessionQuery};
use chat_memory::{ChatStoreExt, ErrorKind, Message, Owner, SessionId};
use chat_memory_testkit::{Fault, FaultProxy, Request, dynamodb_endpoint};

const DAY_S: i64 = 24 * 60 * 60;

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

async fn fill(store: &DynamoDbStore, session: &SessionId, records: usize) {
    for n in 0..records {
        store.append(session, &Append::new([Message::user(n.to_string())])).await.expect("an append");
    }
}

async fn texts(store: &DynamoDbStore, session: &SessionId) -> Vec<String> {
    store.load(session, &Load::all()).await.expect("a load").messages().map(Message::text).collect()
}

#[tokio::test]
async fn fork_has_up_to_97_records_and_a_longer_one_writes_nothing() {
    let (store, long, fork) = (direct().await, session("long"), session("fork"));
    fill(&store, &long, 98).await;
    let refused = store.fork(&long, &fork, &Fork::new()).await.expect_err("too many records for a transaction");
    assert!(refused.kind() == ErrorKind::TooLarge && refused.to_string().contains("97"), "{refused}");
    assert!(Raw::of(&fork).await.items().await.is_empty(), "a refused fork wrote something");
    let plan = store.plan_fork(&long, &fork, &Fork::new().up_to(96)).await.expect("a plan");
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
    let through = open(&proxy.url()).await.expect("good options");
    let forked = through.fork(&long, &fork, &Fork::new().up_to(96)).await.expect("a fork");
    assert_eq!((forked.records, plan.records), (97, 97));
    // Two units for each item of a transaction, the session's entry among them, as DynamoDB's documentation says. DynamoDB Local
    // reports 4 for every size, so its figure is not compared.
    assert_eq!(plan.write_units, Some(196.0));
    assert_eq!(proxy.counts()["TransactWriteItems"], 1);
    let want: Vec<String> = (0..97).map(|n| n.to_string()).collect();
    assert_eq!(texts(&direct().await, &fork).await, want);
    store.append(&fork, &Append::new([Message::user("next")])).await.expect("an append");
    assert_eq!(texts(&direct().await, &fork).await.len(), 98);
}

#[tokio::test]
async fn large_records_are_forked_in_parts_and_erased_with_them() {
    let (store, large, fork) = (direct().await, session("large"), session("fork"));
    let said: Vec<String> = [10, 900_000, 5_000, 2_000].iter().zip(1..).map(|(bytes, seed)| noise(*bytes, seed)).collect();
    for text in &said {
        store.append(&large, &Append::new([Message::user(text.clone())])).await.expect("an append");
    }
    let plan = store.plan_fork(&large, &fork, &Fork::new()).await.expect("a plan");
    let forked = store.fork(&large, &fork, &Fork::new()).await.expect("a fork");
    assert!(plan.write_units >= Some(forked.cost.write_units), "the estimate is too low: {plan:?}");
    store.delete(&large).await.expect("a delete");
    assert_eq!(texts(&direct().await, &fork).await, said);
    store.delete(&fork).await.expect("a delete");
    assert!(Raw::of(&fork).await.starting("p#").await.is_empty(), "parts are left");
}

/// What a query may see for a moment is made here for good: a record of a group is missing.
#[tokio::test]
async fn group_with_a_missing_record_is_read_again_and_then_reported() {
    let (store, source, fork) = (direct().await, session("source"), session("torn"));
    fill(&store, &source, 4).await;
    store.fork(&source, &fork, &Fork::new()).await.expect("a fork");
    let raw = Raw::of(&fork).await;
    raw.delete(2).await;
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
    let error = open(&proxy.url()).await.expect("options").load(&fork, &Load::all()).await.expect_err("a record is missing");
    assert!(error.is_corrupt() && error.to_string().contains("record 2 is missing"), "{error}");
    assert!(proxy.counts()["Query"] > 20, "it was not read again");
}

/// A store that keeps records for 30 days.
async fn keeping() -> DynamoDbStore {
    let options = options(table().await, &dynamodb_endpoint()).with_retention(Duration::from_secs(30 * DAY_S as u64));
    DynamoDbStore::open(options).await.expect("good options")
}

#[tokio::test]
async fn expired_sessions_of_an_owner_are_deleted() {
    let (store, ada) = (keeping().await, Owner::new(session("ada").to_string()).expect("a name"));
    let (alive, expired) = (session("alive"), session("expired"));
    for session in [&alive, &expired] {
        store.append(session, &Append::new([Message::user("0")]).with_owner(ada.clone())).await.expect("an append");
        store.append(session, &Append::new([Message::user("1")])).await.expect("an append");
    }
    let raw = Raw::of(&expired).await;
    for seq in 0..2 {
        for name in ["expires_at", "lasts_until", "listed_until"] {
            raw.set(seq, name, n(now_s() - 100)).await;
        }
    }
    for shard in 0..4 {
        let directory = Raw::at(format!("dir#{ada}#{shard}")).await;
        for mut entry in directory.items().await {
            if entry["sk"].as_s().is_ok_and(|sk| sk.ends_with(expired.as_str())) {
                entry.extend(["sure_until", "expires_at"].map(|name| (name.to_owned(), n(now_s() - 100))));
                directory.put(entry).await;
            }
        }
    }
    let store = keeping().await;
    let listed = async |query: SessionQuery| store.sessions(&query).await.expect("a list").sessions.len();
    assert_eq!(listed(SessionQuery::of(ada.clone())).await, 1, "an expired session is hidden");
    assert_eq!(listed(SessionQuery::of(ada.clone()).with_expired()).await, 2, "until it is asked for");
    let deleted = store.delete_owner(&ada, None, &mut |_| {}).await.expect("a deletion");
    assert_eq!((deleted.sessions, deleted.failed), (2, 0));
    assert_eq!(deleted.records, 4, "records that were erased");
    assert_eq!(listed(SessionQuery::of(ada.clone()).with_expired()).await, 0);
    for seq in 0..2 {
        assert!(!raw.record(seq).await.contains_key("messages"), "record {seq} is not erased");
    }
}

#[tokio::test]
async fn long_fork_of_a_list_moves_its_older_part_to_segments() {
    let name = crate::list::new_table("id", None).await;
    let open = async || crate::list::open(name.clone(), |options| options).await.expect("a table of the list layout");
    let (store, source, fork) = (open().await, session("source"), session("fork"));
    let said: Vec<String> = (0..300).map(|n| format!("{n} {}", noise(3_000, n))).collect();
    for text in &said {
        let turn = [Message::user(text.clone()), Message::assistant("yes")];
        store.append(&source, &Append::new(turn)).await.expect("an append");
    }
    let forked = store.fork(&source, &fork, &Fork::new()).await.expect("a fork of almost a megabyte");
    assert_eq!(forked.records, 300);
    let history = open().await.load(&fork, &Load::all()).await.expect("a load");
    assert_eq!(history.position, forked.position);
    let users: Vec<String> = history.messages().filter(|m| m.role == chat_memory::Role::User).map(Message::text).collect();
    assert_eq!(users, said);
    let last = open().await.load(&fork, &Load::last(4)).await.expect("a window");
    assert!(last.records.len() < 100, "a window reads the newest part alone");
    store.append(&fork, &Append::new([Message::user("next")])).await.expect("an append");
    store.delete(&source).await.expect("a delete");
    assert_eq!(open().await.load(&fork, &Load::all()).await.expect("a load").records.len(), 301);
}
