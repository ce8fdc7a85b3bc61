//! Sessions of the `list` layout as the first version stored them: marks as text, segments not compressed.
//! `testdata/list/format-1.json` is a scan of two tables on DynamoDB Local, with what a load returned, and never changes.
#![cfg(feature = "dynamodb")]

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, Roll};
use chat_memory::store::{Append, History, Load};
use chat_memory::{ChatStore, Message, SessionId};
use serde_json::{Value, json};

use crate::dynamodb::{client, turn};
use crate::format_1::attribute;

/// What the sample says of a session's records.
fn shown(history: &History) -> Vec<Value> {
    let records = history.records.iter().map(|record| {
        json!({
            "seq": record.seq,
            "id": BASE64.encode(record.append_id.as_bytes()),
            "at": record.created_at,
            "metadata": record.metadata,
            "rewind": record.rewind,
            "messages": record.messages().map(Message::to_value).collect::<Vec<_>>(),
        })
    });
    records.collect()
}

/// Restores a session into a new table.
async fn restored(name: &str, dialect: Dialect) -> (DynamoDbStore, String, Vec<Value>) {
    let sample: Value = serde_json::from_str(include_str!("../../testdata/list/format-1.json")).expect("JSON");
    let table = crate::list::new_table("id", None).await;
    for item in sample[name]["items"].as_array().expect("items") {
        let item = item.as_object().expect("an item").iter().map(|(name, value)| (name.clone(), attribute(value)));
        client().put_item().table_name(&table).set_item(Some(item.collect())).send().await.expect("a put");
    }
    let with = |options: chat_memory::store::dynamodb::Options| options.with_dialect(dialect).with_roll(Roll::At(4_000));
    let store = crate::list::open(table.clone(), with).await.expect("a store");
    (store, table, sample[name]["records"].as_array().expect("records").clone())
}

/// The versions of the segments, and whether their lists are compressed.
async fn segments(table: &str, list: &str) -> Vec<(String, bool)> {
    let items: Vec<HashMap<String, AttributeValue>> =
        client().scan().table_name(table).send().await.expect("a scan").items.unwrap_or_default();
    let segments = items.into_iter().filter(|item| item.contains_key("v") && item.contains_key(list));
    segments.map(|item| (item["v"].as_n().expect("a version").clone(), item[list].is_b())).collect()
}

#[tokio::test]
async fn sessions_of_the_first_form_are_read_and_continued() {
    let session = SessionId::new("old").expect("an id");
    for (name, dialect, list) in [("js", Dialect::Js, "messages"), ("python", Dialect::Python, "History")] {
        let (store, table, mut expected) = restored(name, dialect).await;
        let history = store.load(&session, &Load::all()).await.expect("a load");
        assert_eq!(shown(&history), expected, "{name}");
        assert!(segments(&table, list).await.iter().all(|segment| *segment == ("1".to_owned(), false)), "{name}");

        // What is added is in the new form; what was stored stays as it is until it moves.
        for n in 8..20 {
            store.append(&session, &Append::new(turn(n, 500))).await.expect("an append");
        }
        let continued = shown(&store.load(&session, &Load::all()).await.expect("a load"));
        assert_eq!((continued.len(), &continued[..expected.len()]), (expected.len() + 12, &expected[..]), "{name}");
        let after = segments(&table, list).await;
        for form in [("2".to_owned(), true), ("1".to_owned(), false)] {
            assert!(after.contains(&form), "{name}: new segments are compressed, old ones stay: {after:?}");
        }

        // A rewind brings back the older part of the list out of a segment of the old form.
        let history = store.load(&session, &Load::all()).await.expect("a load");
        let rewind = Append::rewind(&history, history.records[3].seq, [Message::user("again")]).expect("in view");
        store.append(&session, &rewind).await.expect("a rewind");
        let rewound = shown(&store.load(&session, &Load::all()).await.expect("a load"));
        expected.truncate(3);
        assert_eq!((rewound.len(), &rewound[..3]), (4, &expected[..]), "{name}");
        store.clear(&session).await.expect("a clear and its sweep");
        assert!(store.load(&session, &Load::all()).await.expect("a load").is_empty(), "{name}");
    }
}

#[tokio::test]
async fn damaged_or_newer_segment_is_named() {
    let table = crate::list::new_table("id", None).await;
    let with = |options: chat_memory::store::dynamodb::Options| options.with_dialect(Dialect::Js).with_roll(Roll::At(8_000));
    let store = crate::list::open(table.clone(), with).await.expect("a store");
    let session = SessionId::new("damaged").expect("an id");
    for n in 0..12 {
        store.append(&session, &Append::new(turn(n, 500))).await.expect("an append");
    }
    let items = client().scan().table_name(&table).send().await.expect("a scan").items.unwrap_or_default();
    let segment = items.into_iter().find(|item| item.contains_key("v")).expect("a segment");
    let frame = segment["messages"].as_b().expect("a compressed list").clone().into_inner();
    let cut = aws_sdk_dynamodb::primitives::Blob::new(&frame[..frame.len() / 2]);
    for (name, value, said) in [
        ("messages", AttributeValue::B(cut), "zstd"),
        ("messages", AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new("no frame")), "zstd"),
        ("v", AttributeValue::N("3".to_owned()), "version 3, written by a newer chat-memory"),
        ("v", AttributeValue::N("1".to_owned()), "cannot be read"),
    ] {
        let mut damaged = segment.clone();
        damaged.insert(name.to_owned(), value);
        client().put_item().table_name(&table).set_item(Some(damaged)).send().await.expect("a put");
        let error = store.load(&session, &Load::all()).await.expect_err("a damaged segment");
        assert!(error.to_string().contains(said) && error.to_string().contains("damaged"), "{said}: {error}");
    }
    client().put_item().table_name(&table).set_item(Some(segment)).send().await.expect("a put");
    assert_eq!(store.load(&session, &Load::all()).await.expect("a load").records.len(), 12);
}
