//! Records larger than a DynamoDB item: they are loaded unchanged, are erased with their parts, and have a limit.
#![cfg(feature = "dynamodb")]

use crate::dynamodb::{Raw, direct, noise, open, options, session, table};
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::store::{Append, ChatStore, Load};
use chat_memory::{Message, SessionId};
use chat_memory_testkit::{Answer, Fault, FaultProxy, Request, dynamodb_endpoint};

const MB: usize = 1_000_000;

/// A message of 1 MB, then a turn of 3 MB; compressible to a few items at most, or incompressible.
fn appends(incompressible: bool) -> [Append; 2] {
    let text = |bytes, seed| {
        if incompressible {
            noise(bytes, seed)
        } else {
            format!("{seed}: the quick brown fox ").repeat(bytes / 21 + 1)[..bytes].to_owned()
        }
    };
    let turn = [Message::user(text(MB, 2)), Message::tool("call-1", text(MB, 3)), Message::assistant(text(MB, 4))];
    [Append::new([Message::user(text(MB, 1))]), Append::new(turn)]
}

async fn all(session: &SessionId) -> Vec<Message> {
    direct().await.load(session, &Load::all()).await.expect("a load").into_messages()
}

#[tokio::test]
async fn large_records_round_trip_and_are_swept_with_their_parts() {
    for incompressible in [false, true] {
        let (store, session) = (direct().await, session("large"));
        let raw = Raw::of(&session).await;
        let mut expected = Vec::new();
        for append in appends(incompressible) {
            let appended = store.append(&session, &append).await.expect("an append");
            println!("{} messages, incompressible {incompressible}: {}", append.entries().len(), appended.cost);
            expected.extend(append.messages().cloned());
        }
        let parts = raw.starting("p#").await.len();
        println!("incompressible {incompressible}: {parts} parts");
        assert_eq!(parts > 0, incompressible, "only records too large for an item have parts");
        // A window that ends in the middle of them, and everything.
        let newest = direct().await.load(&session, &Load::last(1)).await.expect("a load");
        println!("the newest record: {}", newest.cost);
        assert!(all(&session).await == expected, "what was loaded differs");

        store.clear(&session).await.expect("a clear");
        assert!(all(&session).await.is_empty());
        assert_eq!(raw.starting("p#").await.len(), 0, "parts without a record");
        for stub in raw.starting("t#").await.iter().take(2) {
            assert!(stub.contains_key("cleared_by") && !stub.contains_key("messages"), "{stub:?}");
        }
    }
}

#[tokio::test]
async fn deleted_session_leaves_no_parts() {
    let (store, session) = (direct().await, session("large-deleted"));
    store.append(&session, &appends(true)[0]).await.expect("an append");
    let raw = Raw::of(&session).await;
    assert!(!raw.starting("p#").await.is_empty());
    store.delete(&session).await.expect("a deletion");
    assert!(raw.starting("p#").await.is_empty() && all(&session).await.is_empty());
}

#[tokio::test]
async fn record_over_the_limit_is_refused_and_writes_nothing() {
    let small = options(table().await, &dynamodb_endpoint()).with_max_record_bytes(500_000);
    let small = DynamoDbStore::open(small).await.expect("good options");
    for (store, limit) in [(direct().await, 16_000_000), (small, 500_000)] {
        let session = session("over");
        let json = |text: &str| Message::user(text).to_value().to_string().len();
        // Letters that JSON does not escape.
        let text = "0123456789".repeat(limit / 10 + 1)[..limit - json("") + 1].to_owned();
        assert_eq!(json(&text), limit + 1);
        let error = store.append(&session, &Append::new([Message::user(text.as_str())])).await.expect_err("it is over the limit");
        assert!(error.is_too_large() && !error.is_retryable(), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(&limit.to_string()) && said.contains("max_record"), "{said}");
        assert!(Raw::of(&session).await.items().await.is_empty(), "nothing may be written");
        assert!(store.session(&session).await.expect("the directory").is_none(), "nor listed");

        // With a byte less, it fits.
        store.append(&session, &Append::new([Message::user(&text[1..])])).await.expect("it is at the limit");
        assert!(all(&session).await == [Message::user(&text[1..])]);
    }
}

#[tokio::test]
async fn refused_append_leaves_no_parts() {
    let (store, session) = (direct().await, session("large-refused"));
    let raw = Raw::of(&session).await;
    store.append(&session, &Append::new([Message::user("one")])).await.expect("an append");
    let stale = store.load(&session, &Load::all()).await.expect("a load").position;
    store.append(&session, &Append::new([Message::user("two")])).await.expect("an append");

    // Its position is outdated.
    let [large, _] = appends(true);
    let error = store.append(&session, &large.clone().with_expected(stale)).await.expect_err("a conflict");
    assert!(error.is_conflict(), "{error}");
    assert_eq!(raw.starting("p#").await.len(), 0, "parts of an append that was refused");

    // The record itself is denied after its parts were written.
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |request: &Request| {
        let is_record = request.body["Item"]["sk"]["S"].as_str().is_some_and(|key| key.starts_with("t#"));
        if is_record { Fault::Answer(Answer::access_denied("dynamodb:PutItem", "chats")) } else { Fault::Pass }
    });
    let error = open(&proxy.url()).await.expect("good options").append(&session, &large).await.expect_err("a denial");
    assert!(error.is_access_denied(), "{error}");
    assert_eq!(raw.starting("p#").await.len(), 0, "parts of an append that was denied");
    assert_eq!(all(&session).await, [Message::user("one"), Message::user("two")]);
}
