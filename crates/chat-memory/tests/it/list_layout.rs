//! Tables as created by Flowise and LangChain: what the originals wrote is read completely, sessions have no length limit, bad
//! settings are named in errors.
#![cfg(feature = "dynamodb")]

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::store::Load;
use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, Layout, Options, Roll};
use chat_memory::{Append, ChatStore, ErrorKind, Message, Namespace, Role, SessionId};
use chat_memory_testkit::{Answer, Fault, FaultProxy, Request, dynamodb_endpoint};
use serde_json::Value;

/// What the originals wrote, as scanned: from the shared directory if it exists, otherwise our own small sample of the same
/// shapes.
pub fn fixture(name: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("CHAT_MEMORY_SHARED").map_or_else(|| root.join("../../../shared"), Into::into);
    let mut path = folder.join("fixtures").join(name);
    if !path.exists() {
        println!("{} is missing, so this runs on the small sample of that name", path.display());
        path = root.join("testdata/list").join(name);
    }
    serde_json::from_str(&std::fs::read_to_string(&path).expect("the fixture")).expect("JSON")
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().and_then(|fields| fields.iter().next()).expect("an attribute has a type");
    let text = || value.as_str().expect("a text").to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "BOOL" => AttributeValue::Bool(value.as_bool().expect("a boolean")),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(value.as_array().expect("a list").iter().map(attribute).collect()),
        "M" => AttributeValue::M(fields(value)),
        other => panic!("an attribute of type {other}"),
    }
}

fn fields(value: &Value) -> HashMap<String, AttributeValue> {
    value.as_object().expect("a map").iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// Restores a table from a fixture; returns its name, and its sessions' message counts.
pub async fn restored(table: &Value, list: &str) -> (String, Vec<(SessionId, usize)>) {
    let key = |kind: &str| {
        let schema = table["KeySchema"].as_array().expect("keys");
        let key = schema.iter().find(|key| key["KeyType"] == kind)?;
        Some(key["AttributeName"].as_str().expect("a name").to_owned())
    };
    let partition = key("HASH").expect("a partition key");
    let name = crate::list::new_table(&partition, key("RANGE").as_deref()).await;
    let mut sessions = Vec::new();
    for item in table["Items"].as_array().expect("items") {
        let put = crate::dynamodb::client().put_item().table_name(&name).set_item(Some(fields(item)));
        put.send().await.expect("an item of the fixture");
        let id = item[&partition]["S"].as_str().expect("an id");
        sessions.push((SessionId::new(id).expect("an id"), item[list]["L"].as_array().expect("a list").len()));
    }
    (name, sessions)
}

pub async fn all(store: &DynamoDbStore, session: &SessionId) -> Vec<Message> {
    store.load(session, &Load::all()).await.expect("a load").into_messages()
}

#[tokio::test]
async fn sessions_written_by_originals_are_read_and_continued() {
    for (name, list) in
        [("flowise-3.1.4.json", "messages"), ("langchainjs-1.1.29.json", "messages"), ("langchainpy-0.4.2.json", "History")]
    {
        let file = fixture(name);
        let (table, sessions) = restored(&file["table"], list).await;
        // Read-only first, with no setting but the table.
        let reader = crate::list::open(table.clone(), |options| options.with_read_only(true)).await.expect("a store");
        assert_eq!(reader.layout().await.expect("a layout"), Layout::List);
        let writer = crate::list::open(table.clone(), |options| options).await.expect("a store");
        for (session, count) in &sessions {
            let before = all(&reader, session).await;
            assert_eq!(before.len(), *count, "{name}, {session}");
            let refused = reader.append(session, &Append::new([Message::user("x")])).await.expect_err("read only");
            assert!(refused.is_read_only(), "{refused}");
            writer.append(session, &Append::new([Message::user("more")])).await.expect("an append");
            let after = all(&reader, session).await;
            assert_eq!((&after[..before.len()], after[before.len()].text().as_str()), (&before[..], "more"), "{name}, {session}");
        }
        let page = reader.list_all_sessions(None).await.expect("a listing");
        let mut listed: Vec<_> = page.sessions.into_iter().map(|info| info.id).collect();
        listed.sort();
        let mut want: Vec<_> = sessions.into_iter().map(|(id, _)| id).collect();
        want.sort();
        assert_eq!(listed, want, "{name}");
    }
}

#[tokio::test]
async fn langchain_js_fixture_is_read_as_written() {
    let (table, sessions) = restored(&fixture("langchainjs-1.1.29.json")["table"], "messages").await;
    let store = crate::list::open(table, |options| options).await.expect("a store");
    let read = all(&store, &sessions[0].0).await;
    let roles: Vec<_> = read.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Assistant, Role::User]);
    assert_eq!(read[0], Message::system("be brief"), "a plain element is a plain message");
    assert_eq!(read[2].tool_calls[0].arguments(), Some(r#"{"city":"Paris"}"#));
    assert_eq!((read[3].text().as_str(), &read[3].tool_call_id), ("21C", &None), "the original throws on it");
    assert_eq!(read[5].extra["langchain"]["data"]["role"], "critic");
}

#[tokio::test]
async fn missing_sort_value_setting_is_named() {
    let file = fixture("langchainjs-1.1.29.json");
    let (table, sessions) = restored(&file["tableWithSortKeyOption"], "messages").await;
    let session = &sessions[0].0;
    let turns = DynamoDbStore::open(crate::dynamodb::options(&table, &dynamodb_endpoint()).with_keys("id", "sk"))
        .await
        .expect("good options");
    let error = turns.load(session, &Load::all()).await.expect_err("the table has another layout");
    assert!(error.is_invalid() && error.to_string().contains("sort_value=sk"), "{error}");
    let store = crate::list::open(table, |options| options.with_sort_value("sk")).await.expect("a store");
    assert_eq!(all(&store, session).await, [Message::user("with sortKey option")]);
    store.append(session, &Append::new([Message::assistant("yes")])).await.expect("an append");
    assert_eq!(all(&store, session).await.len(), 2);
}

#[tokio::test]
async fn store_without_a_namespace_lists_no_namespaced_sessions() {
    let table = crate::list::new_table("id", None).await;
    let plain = crate::list::open(table.clone(), |options| options).await.expect("a store");
    let acme = Namespace::new("acme").expect("a namespace");
    let acme = crate::list::open(table, |options| options.with_namespace(acme)).await.expect("a store");
    for (store, id) in [(&plain, "ours"), (&acme, "theirs")] {
        let session = SessionId::new(id).expect("an id");
        store.append(&session, &Append::new([Message::user("x")])).await.expect("an append");
    }
    for (store, id) in [(&plain, "ours"), (&acme, "theirs")] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = store.list_all_sessions(after.as_deref()).await.expect("a listing");
            listed.extend(page.sessions.into_iter().map(|info| info.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, [id]);
    }
}

/// Puts an item with this list.
async fn put(table: &str, session: &str, attributes: &[(&str, AttributeValue)]) {
    let mut put = crate::dynamodb::client().put_item().table_name(table).item("id", crate::dynamodb::s(session));
    for (name, value) in attributes {
        put = put.item(*name, value.clone());
    }
    put.send().await.expect("an item");
}

pub fn element(fields: &[(&str, AttributeValue)]) -> AttributeValue {
    AttributeValue::M(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

#[tokio::test]
async fn unreadable_element_error_names_the_message() {
    let table = crate::list::new_table("id", None).await;
    let store = crate::list::open(table.clone(), |options| options).await.expect("a store");
    let (s, good) = (crate::dynamodb::s, element(&[("type", crate::dynamodb::s("human")), ("text", crate::dynamodb::s("fine"))]));
    for (what, bad) in [
        ("is not a map", s("just text")),
        ("has no type", element(&[("text", s("who?"))])),
        ("unknown message type", element(&[("type", s("robot")), ("text", s("beep"))])),
        ("not JSON", element(&[("type", s("ai")), ("text", s("x")), ("additional_kwargs", s("{oops"))])),
        ("bytes", element(&[("type", s("ai")), ("text", AttributeValue::B(Blob::new([1])))])),
    ] {
        let session = crate::dynamodb::session("bad");
        put(&table, session.as_str(), &[("messages", AttributeValue::L(vec![good.clone(), bad]))]).await;
        let error = store.load(&session, &Load::all()).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(what) && error.to_string().contains(session.as_str()), "{what}: {error}");
        assert!(error.to_string().contains("message 1"), "{what}: {error}");
    }
    let session = crate::dynamodb::session("no-list");
    put(&table, session.as_str(), &[("messages", s("text"))]).await;
    let error = store.load(&session, &Load::all()).await.expect_err("no list");
    assert!(error.to_string().contains("list_attribute"), "{error}");
}

#[tokio::test]
async fn irregular_elements_of_originals_are_read() {
    let table = crate::list::new_table("id", None).await;
    let store = crate::list::open(table.clone(), |options| options).await.expect("a store");
    let (s, n) = (crate::dynamodb::s, |number: &str| AttributeValue::N(number.to_owned()));
    let kwargs = element(&[("lang", s("en")), ("score", n("0.5"))]);
    let js = [
        element(&[("type", s("human"))]),
        element(&[("type", s("ai")), ("text", s("a")), ("additional_kwargs", kwargs.clone())]),
        element(&[("type", s("human")), ("text", s("b")), ("extra", n("7"))]),
    ];
    let python =
        [element(&[("type", s("human")), ("data", element(&[("content", s("first")), ("additional_kwargs", s("{\"k\": 1}"))]))])];
    let session = crate::dynamodb::session("odd");
    // Both lists in one item: what LangChain Python wrote comes first.
    put(&table, session.as_str(), &[("messages", AttributeValue::L(js.into())), ("History", AttributeValue::L(python.into()))])
        .await;
    let read = all(&store, &session).await;
    assert_eq!(read.iter().map(Message::text).collect::<Vec<_>>(), ["first", "", "a", "b"]);
    assert_eq!((&read[0].extra["k"], &read[1].content, &read[2].extra["score"]), (&1.into(), &None, &0.5.into()));
    assert_eq!(read[3].extra["extra"], 7);
    store.append(&session, &Append::new([Message::user("on")])).await.expect("an append");
    let read = store.load(&session, &Load::all()).await.expect("a load");
    assert_eq!(read.messages().map(Message::text).collect::<Vec<_>>(), ["first", "", "a", "b", "on"]);
    let rewind = Append::rewind(&read, read.records[2].seq, [Message::user("edit")]).expect("in view");
    store.append(&session, &rewind).await.expect("a rewind over both lists");
    assert_eq!(all(&store, &session).await.iter().map(Message::text).collect::<Vec<_>>(), ["first", "", "edit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_cost_is_flat_beyond_the_rolling_size() {
    const TURNS: usize = 2_000;
    let table = crate::list::new_table("id", None).await;
    let store = crate::list::open(table.clone(), |options| options.with_roll(Roll::At(8_000))).await.expect("a store");
    let session = crate::dynamodb::session("long");
    let (mut units, mut by_part) = (0.0, Vec::new());
    for n in 0..TURNS {
        let [question, _] = crate::dynamodb::turn(n, 300);
        let [_, answer] = crate::dynamodb::turn(n, 1_500);
        let appended = store.append(&session, &Append::new([question, answer])).await.expect("no end");
        units += appended.cost.write_units;
        if n % 500 == 499 {
            by_part.push(units);
            units = 0.0;
        }
    }
    let per_turn: Vec<f64> = by_part.iter().map(|units| units / 500.0).collect();
    println!("write units per turn, by quarters of {TURNS} turns, rolled at 8 KB: {per_turn:?}");
    assert!(per_turn.iter().all(|units| *units <= 12.0), "{per_turn:?}");
    assert!(per_turn[3] <= per_turn[1] * 1.05, "flat past the rolling size: {per_turn:?}");
    let history = store.load(&session, &Load::all()).await.expect("a load");
    assert_eq!((history.messages().count(), history.complete), (2 * TURNS, true));
    let window = store.load(&session, &Load::last(2)).await.expect("a window");
    assert_eq!(window.cost.requests, 1, "the newest part is in the session's own item");
    // Clearing it leaves only what identifies a repeat.
    store.clear(&session).await.expect("a clear");
    assert!(all(&store, &session).await.is_empty());
}

#[tokio::test]
async fn first_append_reads_the_session_and_a_warm_one_is_one_request() {
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
    let table = crate::list::new_table("id", None).await;
    let store = crate::list::open(table, |options| options.with_endpoint(proxy.url())).await.expect("a store");
    let session = crate::dynamodb::session("warm");
    store.append(&session, &Append::new(crate::dynamodb::turn(0, 300))).await.expect("an append");
    let sent = ["GetItem", "UpdateItem", "PutItem", "DeleteItem"].map(|operation| proxy.count(operation));
    assert_eq!(sent, [1, 1, 0, 0], "permissions are found out when they are needed: {:?}", proxy.counts());
    proxy.forget();
    store.append(&session, &Append::new(crate::dynamodb::turn(1, 300))).await.expect("an append");
    assert_eq!((proxy.count("UpdateItem"), proxy.counts().values().sum::<u64>()), (1, 1), "a warm append");
}

#[tokio::test]
async fn page_after_an_originals_clear_shows_nothing_cleared() {
    let table = crate::list::new_table("id", None).await;
    let with = |options: Options| options.with_dialect(Dialect::Js).with_roll(Roll::At(4_000));
    let store = crate::list::open(table.clone(), with).await.expect("a store");
    let session = crate::dynamodb::session("cleared");
    for n in 0..20 {
        store.append(&session, &Append::new(crate::dynamodb::turn(n, 300))).await.expect("an append");
    }
    let newest = store.load(&session, &Load::last(24)).await.expect("a load");
    let older = newest.older().expect("there is more");
    assert!(older.place().is_some(), "the oldest record of the page is in a segment");
    let page = store.load(&session, &Load::last(2).before(older)).await.expect("a page");
    assert_eq!(page.messages().cloned().collect::<Vec<_>>(), crate::dynamodb::turn(7, 300));

    // The original deletes its item, and the session grows again beyond the page.
    let delete = crate::dynamodb::client().delete_item().table_name(&table).key("id", AttributeValue::S(session.to_string()));
    delete.send().await.expect("a delete");
    for n in 100..120 {
        store.append(&session, &Append::new(crate::dynamodb::turn(n, 300))).await.expect("an append");
    }
    let page = store.load(&session, &Load::last(2).before(older)).await.expect("a page");
    assert_eq!(page.messages().cloned().collect::<Vec<_>>(), crate::dynamodb::turn(107, 300));
}

#[tokio::test]
async fn append_lands_without_permission_to_roll() {
    let denied = |request: &Request| match request.operation.as_str() {
        "PutItem" => Fault::Answer(Answer::access_denied("dynamodb:PutItem", "chats")),
        _ => Fault::Pass,
    };
    let proxy = FaultProxy::start(&dynamodb_endpoint(), denied);
    let table = crate::list::new_table("id", None).await;
    let store = crate::list::open(table, |options| options.with_endpoint(proxy.url()).with_roll(Roll::At(4_000)));
    let (store, session) = (store.await.expect("a store"), crate::dynamodb::session("denied"));
    for n in 0..10 {
        store.append(&session, &Append::new(crate::dynamodb::turn(n, 300))).await.expect("an append");
    }
    assert_eq!(all(&store, &session).await.len(), 20);
    assert_eq!(proxy.count("PutItem"), 1, "a process asks once");
}

/// Returns an item of a list, raw.
async fn item(table: &str, session: &SessionId) -> HashMap<String, AttributeValue> {
    let get = crate::dynamodb::client().get_item().table_name(table).key("id", AttributeValue::S(session.to_string()));
    get.consistent_read(true).send().await.expect("an answer").item.unwrap_or_default()
}

#[tokio::test]
async fn retention_applies_to_the_session_and_appends_extend_it() {
    let table = crate::list::new_table("id", None).await;
    let keeping = |options: Options| options.with_retention(Duration::from_secs(30 * 86_400)).with_ttl_attribute("gone_at");
    let store = crate::list::open(table.clone(), keeping).await.expect("a store");
    let session = crate::dynamodb::session("retention");
    let now_s = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let expiry = async || {
        let item = item(&table, &session).await;
        item["gone_at"].as_n().expect("a time").parse::<u64>().expect("a number")
    };
    let before = now_s();
    store.append(&session, &Append::new([Message::user("first")])).await.expect("an append");
    assert!((before + 30 * 86_400..=now_s() + 30 * 86_400).contains(&expiry().await));

    // DynamoDB may take two days to purge what has expired: it is hidden at once, and an append starts again.
    let expire = crate::dynamodb::client().update_item().table_name(&table).key("id", AttributeValue::S(session.to_string()));
    let expire = expire.update_expression("SET gone_at = :past");
    let expire = expire.expression_attribute_values(":past", AttributeValue::N((now_s() - 60).to_string()));
    expire.send().await.expect("an update");
    assert!(all(&store, &session).await.is_empty());
    store.append(&session, &Append::new([Message::user("second")])).await.expect("an append");
    assert_eq!(all(&store, &session).await, [Message::user("second")]);
    assert!(expiry().await >= before + 30 * 86_400);
}

#[tokio::test]
async fn table_sweep_deletes_orphaned_items() {
    let table = crate::list::new_table("id", None).await;
    let store = crate::list::open(table.clone(), |options| options.with_roll(Roll::At(4_000))).await.expect("a store");
    let (kept, dropped) = (crate::dynamodb::session("kept"), crate::dynamodb::session("dropped"));
    for n in 0..12 {
        for session in [&kept, &dropped] {
            store.append(session, &Append::new(crate::dynamodb::turn(n, 500))).await.expect("an append");
        }
    }
    // An original client's clear deletes the item that it knows and leaves the older part of the session behind.
    let delete = crate::dynamodb::client().delete_item().table_name(&table).key("id", AttributeValue::S(dropped.to_string()));
    delete.send().await.expect("a delete");
    let orphans = async || {
        let scan = crate::dynamodb::client().scan().table_name(&table).send().await.expect("a scan").items.unwrap_or_default();
        let prefix = format!("segment#{dropped}#");
        scan.into_iter().filter(|item| item["id"].as_s().is_ok_and(|id| id.starts_with(&prefix))).collect::<Vec<_>>()
    };
    let left = orphans().await;
    assert!(!left.is_empty());
    // A recent one may still become visible through a write in flight.
    assert_eq!(store.sweep_table(&mut |_| ()).await.expect("a sweep").parts, 0);
    for mut old in left.clone() {
        old.insert("created_at".into(), AttributeValue::N("1600000000000".into()));
        crate::dynamodb::client().put_item().table_name(&table).set_item(Some(old)).send().await.expect("a put");
    }
    let before = all(&store, &kept).await;
    let swept = store.sweep_table(&mut |_| ()).await.expect("a sweep");
    assert_eq!((swept.parts, orphans().await.len()), (left.len() as u64, 0), "{swept:?}");
    assert_eq!(all(&store, &kept).await, before, "what a session refers to stays");
}

#[tokio::test]
async fn full_item_without_rolling_error_gives_the_remedy() {
    let table = crate::list::new_table("id", None).await;
    let store = crate::list::open(table.clone(), |options| options.with_roll(Roll::Off)).await.expect("a store");
    let session = crate::dynamodb::session("full");
    for n in 0..4 {
        store.append(&session, &Append::new([Message::user(crate::dynamodb::noise(95_000, n))])).await.expect("it fits");
    }
    let error =
        store.append(&session, &Append::new([Message::user(crate::dynamodb::noise(95_000, 9))])).await.expect_err("it is full");
    assert!(error.is_too_large() && error.to_string().contains("roll=off"), "{error}");
    // With rolling, the same session continues.
    let rolling = crate::list::open(table, |options| options).await.expect("a store");
    rolling
        .append(&session, &Append::new([Message::user(crate::dynamodb::noise(95_000, 9))]))
        .await
        .expect("its older part moves out");
    assert_eq!(all(&rolling, &session).await.len(), 5);
}

#[tokio::test]
async fn invalid_list_settings_are_named() {
    let table = crate::list::new_table("id", Some("sk")).await;
    for (what, result) in [
        (
            "partition_key=id",
            crate::list::open(table.clone(), |options| options.with_sort_value("x").with_keys("pk", "sk")).await,
        ),
        ("4000", crate::list::open(table.clone(), |options| options.with_roll(Roll::At(100))).await),
        ("turns", crate::list::open(table.clone(), |options| options.with_layout(Layout::Turns).with_dialect(Dialect::Js)).await),
    ] {
        match result {
            Err(error) => assert!(error.is_invalid() && error.to_string().contains(what), "{what}: {error}"),
            Ok(store) => {
                let session = crate::dynamodb::session("bad");
                let error = store.load(&session, &Load::all()).await.expect_err(what);
                assert!(error.is_invalid() && error.to_string().contains(what), "{what}: {error}");
            }
        }
    }
}
