//! Items that a first version of format 1 wrote are read by every later one. `testdata/format-1.json` is a scan of a table on
//! DynamoDB Local; it never changes. A new format brings a file of its own beside it.
#![cfg(feature = "dynamodb")]

mod dynamodb;

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client, Config};
use base64::Engine;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::{Append, Load, SessionQuery};
use chat_memory::{ChatStore, Message, Owner, SessionId};
use chat_memory_testkit::{dynamodb_endpoint, table_name};
use serde_json::{Value, json};

/// A value in DynamoDB's own JSON.
fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().and_then(|typed| typed.iter().next()).expect("a typed value");
    let text = || value.as_str().expect("a string").to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "B" => AttributeValue::B(Blob::new(base64::engine::general_purpose::STANDARD.decode(text()).expect("base64"))),
        "L" => AttributeValue::L(value.as_array().expect("a list").iter().map(attribute).collect()),
        other => panic!("the fixture has no {other}"),
    }
}

fn client() -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let credentials = aws_credential_types::Credentials::new("local", "local", None, None, "fixture");
    let config = Config::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("us-east-1"))
        .endpoint_url(dynamodb_endpoint())
        .credentials_provider(credentials)
        .http_client(http)
        .build();
    Client::from_conf(config)
}

async fn restored() -> (DynamoDbStore, Options) {
    let options = dynamodb::options(&table_name("format-1"), &dynamodb_endpoint());
    Admin::open(&options).await.expect("good options").create_table().await.expect("a table");
    let items: Vec<HashMap<String, Value>> = serde_json::from_str(include_str!("../testdata/format-1.json")).expect("JSON");
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
async fn a_table_of_format_1_is_read_and_goes_on() {
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

    let next = Append::new([Message::user("Und morgen?")]).expecting(history.position);
    assert_eq!(store.append(&session("live"), &next).await.expect("it goes on").seq, 4);
}

#[tokio::test]
async fn what_was_cleared_or_expired_in_format_1_stays_hidden() {
    let (store, _) = restored().await;
    for id in ["cleared", "kept"] {
        let history = store.load(&session(id), &Load::all()).await.expect("a readable session");
        assert!(history.is_empty(), "{id}");
    }
    let nobody = store.sessions(&SessionQuery::of_nobody()).await.expect("a list");
    assert_eq!(nobody.sessions.iter().map(|info| info.id.as_str()).collect::<Vec<_>>(), ["cleared"], "\"kept\" has expired");
}
