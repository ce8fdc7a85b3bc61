//! Items written by the first version of format 1 are readable by every later version. `testdata/format-1.json` is a scan of a
//! table on DynamoDB Local and never changes. A new format gets its own file next to it.
#![cfg(feature = "dynamodb")]

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use chat_memory::store::dynamodb::admin::{Admin, Subject};
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::{Append, Load, SessionQuery};
use chat_memory::{ChatStore, Message, Owner, SessionId};
use chat_memory_testkit::{client, dynamodb_endpoint, table_name};
use serde_json::{Value, json};

/// Converts a value in DynamoDB's own JSON.
pub fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().and_then(|typed| typed.iter().next()).expect("a typed value");
    let text = || value.as_str().expect("a string").to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "B" => AttributeValue::B(Blob::new(base64::engine::general_purpose::STANDARD.decode(text()).expect("base64"))),
        "BS" => {
            let bytes = |value: &Value| attribute(&json!({ "B": value })).as_b().expect("bytes").clone();
            AttributeValue::Bs(value.as_array().expect("a set").iter().map(bytes).collect())
        }
        "M" => {
            let fields = value.as_object().expect("a map").iter();
            AttributeValue::M(fields.map(|(name, value)| (name.clone(), attribute(value))).collect())
        }
        "L" => AttributeValue::L(value.as_array().expect("a list").iter().map(attribute).collect()),
        "NULL" => AttributeValue::Null(true),
        "BOOL" => AttributeValue::Bool(value.as_bool().expect("a boolean")),
        other => panic!("the fixture has no {other}"),
    }
}

async fn restored() -> (DynamoDbStore, Options) {
    restored_from(include_str!("../../testdata/format-1.json")).await
}

/// Writes the items of a sample into a new table.
pub async fn restored_from(sample: &str) -> (DynamoDbStore, Options) {
    let options = crate::dynamodb::options(&table_name("format-1"), &dynamodb_endpoint());
    Admin::open(&options).await.expect("good options").create_table().await.expect("a table");
    let items: Vec<HashMap<String, Value>> = serde_json::from_str(sample).expect("JSON");
    for item in items {
        let item = item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
        client().put_item().table_name(&options.table).set_item(Some(item)).send().await.expect("a put");
    }
    (DynamoDbStore::open(options.clone()).await.expect("good options"), options)
}

fn session(id: &str) -> SessionId {
    SessionId::new(id).expect("a good id")
}

#[tokio::test]
async fn format_1_table_is_readable_and_writable() {
    let (store, _) = restored().await;
    let history = store.load(&session("live"), &Load::all()).await.expect("a readable session");
    let expected = [
        json!({ "role": "user", "content": "Wie warm ist es in Zürich? 🌦", "name": "ada" }),
        json!({
            "role": "assistant",
            "content": null,
            "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "get_weather", "arguments": "{\"city\": \"Zürich\"}" } },
            ],
            "score": 1.0,
            "n": u64::MAX,
        }),
        json!({ "role": "tool", "tool_call_id": "call_1", "content": "21 °C" }),
        json!({ "role": "assistant", "content": "Es sind 21 °C. ".repeat(200) }),
    ];
    let messages: Vec<Value> = history.messages().map(Message::to_value).collect();
    assert_eq!(messages, expected);
    let seqs: Vec<u64> = history.records.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, [0, 1, 3], "record 3 took record 2 back");
    assert_eq!(history.records[0].metadata, json!({ "trace": "t-1", "cost": 0.25 }).as_object().cloned());

    let listed = store.sessions(&SessionQuery::of(Owner::new("ada").expect("a name"))).await.expect("a list");
    assert_eq!(listed.sessions.iter().map(|info| info.title.as_deref()).collect::<Vec<_>>(), [Some("Wetter")]);

    let next = Append::new([Message::user("Und morgen?")]).with_expected(history.position);
    assert_eq!(store.append(&session("live"), &next).await.expect("it continues").seq, 4);
}

#[tokio::test]
async fn cleared_and_expired_format_1_data_stays_hidden() {
    let (store, _) = restored().await;
    for id in ["cleared", "kept"] {
        let history = store.load(&session(id), &Load::all()).await.expect("a readable session");
        assert!(history.is_empty(), "{id}");
    }
    let nobody = store.sessions(&SessionQuery::unowned()).await.expect("a list");
    assert_eq!(nobody.sessions.iter().map(|info| info.id.as_str()).collect::<Vec<_>>(), ["cleared"], "\"kept\" has expired");
}

/// Returns a session's directory entry, as it is stored.
async fn entry_of(options: &Options, id: &str) -> HashMap<String, AttributeValue> {
    let items = client().scan().table_name(&options.table).send().await.expect("a scan").items.unwrap_or_default();
    let is_it = |item: &HashMap<String, AttributeValue>| item["sk"].as_s().is_ok_and(|sk| sk.ends_with(&format!("#{id}")));
    items.into_iter().find(is_it).expect("an entry")
}

/// Returns what a check of the table reports about its items.
async fn said_of_items(options: &Options) -> Option<String> {
    let findings = Admin::open(options).await.expect("good options").check().await;
    findings.into_iter().find(|finding| finding.subject == Subject::Items).map(|finding| finding.to_string())
}

async fn listed(store: &DynamoDbStore) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for query in [SessionQuery::of(Owner::new("ada").expect("a name")), SessionQuery::unowned()] {
        let page = store.sessions(&query).await.expect("a list");
        found.extend(page.sessions.into_iter().map(|info| (info.id.to_string(), info.title)));
    }
    found
}

#[tokio::test]
async fn append_upgrades_the_directory_entry_of_its_session() {
    let (store, options) = restored().await;
    assert!(!entry_of(&options, "live").await.contains_key("sure_until"));
    store.append(&session("live"), &Append::new([Message::user("x")])).await.expect("it continues");
    let entry = entry_of(&options, "live").await;
    assert_eq!(entry["sure_until"], AttributeValue::N("0".to_owned()), "it never expires");
    assert_eq!(entry["title"], AttributeValue::S("Wetter".to_owned()));
    // Writing with a retention now does not shorten it.
    let short = DynamoDbStore::open(options.clone().with_retention(Duration::from_secs(3_600))).await.expect("good options");
    short.append(&session("live"), &Append::new([Message::user("y")])).await.expect("it continues");
    let entry = entry_of(&options, "live").await;
    assert_eq!((&entry["sure_until"], entry.get("expires_at")), (&AttributeValue::N("0".to_owned()), None));
}

#[tokio::test]
async fn table_sweep_upgrades_all_directory_entries() {
    let (store, options) = restored().await;
    let before = listed(&store).await;
    let hint = said_of_items(&options).await.expect("a hint");
    assert!(hint.starts_with("hint: the directory has entries of an older version"), "{hint}");
    assert!(hint.ends_with("; chat-memory table sweep"), "{hint}");
    let swept = store.sweep_table(&mut |_| ()).await.expect("a sweep");
    // The entry of "kept", which has expired, may have been purged by now.
    assert!(swept.renewed >= 2 && swept.entries == 0, "{swept:?}");
    assert_eq!(said_of_items(&options).await, None);
    for id in ["live", "cleared"] {
        assert!(entry_of(&options, id).await.contains_key("sure_until"), "{id}");
    }
    assert_eq!(listed(&store).await, before);
    assert_eq!(store.sweep_table(&mut |_| ()).await.expect("a sweep").renewed, 0, "there is nothing left to do");
}

#[tokio::test]
async fn unreadable_directory_entry_is_reported_and_blocks_nothing() {
    let (store, options) = restored().await;
    let before = listed(&store).await;
    let number = |n: &str| AttributeValue::N(n.to_owned());
    let place = |sk: &str| [("session_id", AttributeValue::S("dir##3".into())), ("sk", AttributeValue::S(sk.into()))];
    for (sk, version) in [("d#17#bad", "1"), ("d#1790000000000#newer", "3")] {
        let item = place(sk).into_iter().chain([("v", number(version))]).map(|(name, value)| (name.to_owned(), value)).collect();
        client().put_item().table_name(&options.table).set_item(Some(item)).send().await.expect("a put");
    }
    assert_eq!(listed(&store).await, before);
    let page = store.sessions(&SessionQuery::unowned()).await.expect("a list");
    for sk in ["d#17#bad", "d#1790000000000#newer"] {
        assert!(page.warnings.iter().any(|warning| warning.contains(sk)), "{:?}", page.warnings);
    }
    // A session whose own entry is unreadable is listed without that entry's contents.
    let mut own = entry_of(&options, "live").await;
    own.insert("v".to_owned(), number("3"));
    client().put_item().table_name(&options.table).set_item(Some(own)).send().await.expect("a put");
    let mut bare = before.clone();
    bare.iter_mut().filter(|(id, _)| id == "live").for_each(|(_, title)| *title = None);
    assert_eq!(listed(&store).await, bare);
    let every = store.list_all_sessions(None).await.expect("a list");
    assert_eq!((every.sessions.len(), every.warnings.len()), (before.len(), 3), "{:?}", every.warnings);
    let warning = said_of_items(&options).await.expect("a warning");
    assert!(warning.starts_with("warning: ") && (warning.contains("d#1")), "{warning}");
    let error = store.sweep_table(&mut |_| ()).await.expect_err("three entries that cannot be read").to_string();
    for sk in ["d#17#bad", "d#1790000000000#newer", "#live"] {
        assert!(error.contains(sk), "{error}");
    }
    let left = client().scan().table_name(&options.table).send().await.expect("a scan").items.unwrap_or_default();
    let is_there = |sk: &str| left.iter().any(|item| item["sk"] == AttributeValue::S(sk.to_owned()));
    assert!(is_there("d#17#bad") && is_there("d#1790000000000#newer"), "they may be a newer version's");
}
