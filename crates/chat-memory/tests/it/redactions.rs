//! Redactions on DynamoDB: what is left of a text in the items.
#![cfg(feature = "dynamodb")]

use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::store::dynamodb::{DynamoDbStore, Roll};
use chat_memory::store::{ChatStore, Load, Redaction};
use chat_memory::{Append, Message, SessionId};
use chat_memory_testkit::{Fault, FaultProxy, Request, dynamodb_endpoint};

use crate::dynamodb::{Raw, Stored, direct, noise, open, session};

/// Whether a text is in an item: as it is, or in a zstd frame.
fn holds(item: &Stored, what: &str) -> bool {
    fn in_value(value: &AttributeValue, what: &str) -> bool {
        match value {
            AttributeValue::S(text) => text.contains(what),
            AttributeValue::B(bytes) => {
                // A mark has a byte before its frame.
                let frames =
                    [bytes.as_ref(), bytes.as_ref().get(1..).unwrap_or_default(), bytes.as_ref().get(24..).unwrap_or_default()];
                let mut texts = frames.iter().filter_map(|frame| zstd::decode_all(*frame).ok());
                texts.any(|text| String::from_utf8_lossy(&text).contains(what))
                    || String::from_utf8_lossy(bytes.as_ref()).contains(what)
            }
            AttributeValue::L(list) => list.iter().any(|value| in_value(value, what)),
            AttributeValue::M(fields) => fields.values().any(|value| in_value(value, what)),
            _ => false,
        }
    }
    item.values().any(|value| in_value(value, what))
}

async fn scan(table: &str) -> Vec<Stored> {
    let pages = crate::dynamodb::client().scan().table_name(table).consistent_read(true).into_paginator().items().send();
    pages.collect::<Result<_, _>>().await.expect("the items of a table")
}

async fn texts(store: &DynamoDbStore, session: &SessionId) -> Vec<String> {
    store.load(session, &Load::all()).await.expect("a load").messages().map(Message::text).collect()
}

#[tokio::test]
async fn redacted_text_is_in_no_item() {
    let (store, session) = (direct().await, session("redact"));
    let raw = Raw::of(&session).await;
    // In parts since it starts the session, as it is, compressed, and in parts since it is large.
    let sizes = [5_000, 20, 5_000, 900_000];
    for (seed, size) in (0..).zip(sizes) {
        let text = if size == 20 { "word".to_owned() } else { noise(size, seed) };
        store.append(&session, &Append::new([Message::user(format!("mysecret {text}"))])).await.expect("an append");
    }
    for seq in 0..4 {
        let redacted = store.redact(&session, seq, &Redaction::new()).await.expect("a redaction");
        println!("record {seq}: {}", redacted.cost);
        let record = raw.record(seq).await;
        assert!(!record.contains_key("parts") && !record.contains_key("old_parts") && record.contains_key("rev"), "{record:?}");
    }
    let items = raw.items().await;
    assert_eq!(items.len(), 4, "parts are left");
    assert!(!items.iter().any(|item| holds(item, "mysecret")));
    assert_eq!(texts(&direct().await, &session).await, ["[redacted]"; 4]);
    store.clear(&session).await.expect("a clear");
    assert!(raw.items().await.iter().all(|item| !item.contains_key("messages")));
}

#[tokio::test]
async fn parts_left_by_a_redaction_that_was_cut_off_are_erased() {
    for by_sweep in [false, true] {
        let (store, session) = (direct().await, session("redact-cut-off"));
        let raw = Raw::of(&session).await;
        let turn = [Message::user(format!("mysecret {}", noise(900_000, 1))), Message::assistant(noise(900_000, 2))];
        store.append(&session, &Append::new(turn)).await.expect("an append");
        let parts = raw.starting("p#").await.len();
        // The parts of the old messages cannot be deleted.
        let proxy = FaultProxy::start(&dynamodb_endpoint(), |request: &Request| {
            if request.operation == "DeleteItem" {
                Fault::Answer(chat_memory_testkit::Answer::access_denied("dynamodb:DeleteItem", "chats"))
            } else {
                Fault::Pass
            }
        });
        let cut_off = open(&proxy.url()).await.expect("good options");
        let error = cut_off.redact(&session, 0, &Redaction::new().message(0)).await.expect_err("a denial");
        assert!(error.is_access_denied() && error.to_string().contains("repeat"), "{error}");
        assert!(raw.starting("p#").await.len() > parts, "the old parts are still there");
        assert_eq!(texts(&store, &session).await[0], "[redacted]");
        if by_sweep {
            store.clear(&session).await.expect("a clear");
            assert_eq!(raw.starting("p#").await.len(), 0);
            continue;
        }
        let again = store.redact(&session, 0, &Redaction::new().message(0)).await.expect("a redaction");
        assert!(!again.changed);
        assert!(raw.starting("p#").await.len() < parts && !raw.record(0).await.contains_key("old_parts"));
        assert_eq!(texts(&direct().await, &session).await[0], "[redacted]");
    }
}

#[tokio::test]
async fn lost_answers_of_a_redaction_do_no_harm() {
    let session = session("redact-lost");
    direct().await.append(&session, &Append::new([Message::user("mysecret"), Message::user("other")])).await.expect("an append");
    let proxy =
        FaultProxy::start(
            &dynamodb_endpoint(),
            |request: &Request| {
                if request.is("UpdateItem", 0) { Fault::DropAnswer } else { Fault::Pass }
            },
        );
    let store = open(&proxy.url()).await.expect("good options");
    let redacted = store.redact(&session, 0, &Redaction::new().message(0)).await.expect("a redaction");
    assert!(redacted.changed, "it landed, and says so");
    assert_eq!(texts(&direct().await, &session).await, ["[redacted]", "other"]);
}

#[tokio::test]
async fn redacted_text_is_in_no_item_of_a_list() {
    for python in [false, true] {
        let table = crate::list::new_table(if python { "SessionId" } else { "id" }, None).await;
        let rolls = |bytes| crate::list::open(table.clone(), move |options| options.with_roll(Roll::At(bytes)));
        let store = rolls(4_000).await.expect("a store");
        let session = session("redact-list");
        for n in 0..24 {
            let secret = if n % 6 == 1 { "mysecret" } else { "plain" };
            let pad = "a few words ".repeat(40);
            let large = if n == 13 { noise(500_000, 13) } else { String::new() };
            let turn = [Message::user(format!("{secret} {n} {pad}{large}")), Message::assistant(format!("answer {n}"))];
            store.append(&session, &Append::new(turn)).await.expect("an append");
        }
        let segments = scan(&table).await.len();
        assert!(segments > 3, "it was rolled: {segments}");
        // In the oldest segment, in the middle, in parts, and in the list.
        for seq in [1, 7, 13, 19] {
            let redacted = store.redact(&session, seq, &Redaction::new().message(0)).await.expect("a redaction");
            println!("record {seq}: {}", redacted.cost);
            assert!(redacted.changed && redacted.entries == 1);
        }
        let left = scan(&table).await;
        let holding: Vec<_> = left.iter().filter(|item| holds(item, "mysecret")).collect();
        assert!(holding.is_empty(), "{} of {} items", holding.len(), left.len());
        let reader = rolls(4_000).await.expect("a store");
        let read = texts(&reader, &session).await;
        assert_eq!(read.len(), 48);
        for (n, text) in read.iter().enumerate() {
            let is_redacted = n % 12 == 2;
            assert_eq!(text == "[redacted]", is_redacted, "message {n}: {}", &text[..text.len().min(20)]);
        }
        // Pages, keys and appends continue over the new segments.
        let newest = reader.load(&session, &Load::last(4)).await.expect("a load");
        let older = newest.older().expect("there is more");
        let page = reader.load(&session, &Load::all().before(older)).await.expect("a page");
        assert_eq!(page.messages().filter(|message| message.text() == "[redacted]").count(), 4);
        for n in 0..8 {
            store
                .append(&session, &Append::new([Message::user(format!("more {n} {}", "x ".repeat(400)))]))
                .await
                .expect("an append");
        }
        assert_eq!(texts(&reader, &session).await.len(), 56);
        store.sweep_table(&mut |_| ()).await.expect("a sweep");
        assert_eq!(texts(&reader, &session).await.len(), 56);
        assert!(!store.redact(&session, 7, &Redaction::new().message(0)).await.expect("a repeat").changed);
    }
}

#[tokio::test]
async fn element_of_an_original_keeps_its_id() {
    use std::collections::HashMap;
    for (key, list) in [("id", "messages"), ("SessionId", "History")] {
        let table = crate::list::new_table(key, None).await;
        let s = |text: &str| AttributeValue::S(text.to_owned());
        let element = |text: &str| {
            let fields = if list == "messages" {
                HashMap::from([("type".to_owned(), s("human")), ("text".to_owned(), s(text))])
            } else {
                let data = HashMap::from([("content".to_owned(), s(text)), ("type".to_owned(), s("human"))]);
                HashMap::from([("type".to_owned(), s("human")), ("data".to_owned(), AttributeValue::M(data))])
            };
            AttributeValue::M(fields)
        };
        let elements = ["one", "mysecret", "three"].map(element).to_vec();
        let put =
            crate::dynamodb::client().put_item().table_name(&table).item(key, s("trip")).item(list, AttributeValue::L(elements));
        put.send().await.expect("an item");
        let store = crate::list::open(table.clone(), |options| options).await.expect("a store");
        let session = SessionId::new("trip").expect("an id");
        let before = store.load(&session, &Load::all()).await.expect("a load");
        store.redact(&session, 1, &Redaction::new()).await.expect("a redaction");
        let after = store.load(&session, &Load::all()).await.expect("a load");
        assert_eq!(after.position, before.position);
        let ids =
            |history: &chat_memory::store::History| history.records.iter().map(|record| record.append_id).collect::<Vec<_>>();
        assert_eq!(ids(&after), ids(&before));
        assert_eq!(after.messages().map(Message::text).collect::<Vec<_>>(), ["one", "[redacted]", "three"]);
        assert_eq!(after.records[1].entry_times().collect::<Vec<_>>(), [None], "its time is unknown");
        assert!(!scan(&table).await.iter().any(|item| holds(item, "mysecret")));
        store.append(&session, &Append::new([Message::user("four")]).with_expected(before.position)).await.expect("an append");
        assert_eq!(texts(&store, &session).await.len(), 4);
    }
}
