//! Nothing in a Flowise or LangChain table is hidden: key pairs, other attributes, unusual ids, unusual fields.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::store::Load;
use chat_memory::store::dynamodb::admin::{Admin, Severity, Subject};
use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, Layout, Options, Roll};
use chat_memory::{Append, ChatStore, Message, Namespace, Role, SessionId};
use chat_memory_testkit::{Fault, FaultProxy, Request, dynamodb_endpoint};

use crate::list_layout::{all, element, fixture, restored};

type Item = HashMap<String, AttributeValue>;

fn s(text: &str) -> AttributeValue {
    crate::dynamodb::s(text)
}

fn js(kind: &str, text: &str) -> AttributeValue {
    element(&[("type", s(kind)), ("text", s(text)), ("additional_kwargs", s("{}"))])
}

fn python(kind: &str, text: &str) -> AttributeValue {
    let data = element(&[("content", s(text)), ("type", s(kind)), ("additional_kwargs", element(&[]))]);
    element(&[("type", s(kind)), ("data", data)])
}

/// Puts an item with these attributes.
async fn put(table: &str, attributes: &[(&str, AttributeValue)]) {
    let mut put = crate::dynamodb::client().put_item().table_name(table);
    for (name, value) in attributes {
        put = put.item(*name, value.clone());
    }
    put.send().await.expect("an item");
}

/// Returns the item with these keys, as it is stored.
async fn get(table: &str, keys: &[(&str, &str)]) -> Option<Item> {
    let mut get = crate::dynamodb::client().get_item().table_name(table).consistent_read(true);
    for (name, value) in keys {
        get = get.key(*name, s(value));
    }
    get.send().await.expect("an answer").item
}

async fn scan(table: &str) -> Vec<Item> {
    crate::dynamodb::client()
        .scan()
        .table_name(table)
        .consistent_read(true)
        .send()
        .await
        .expect("a scan")
        .items
        .unwrap_or_default()
}

/// Returns all ids and warnings of a listing.
async fn listed(store: &DynamoDbStore) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut ids, mut warnings, mut after) = (BTreeSet::new(), BTreeSet::new(), None);
    loop {
        let page = store.list_all_sessions(after.as_deref()).await.expect("a listing");
        for info in page.sessions {
            assert!(ids.insert(info.id.to_string()), "{} is listed twice", info.id);
        }
        warnings.extend(page.warnings);
        after = page.next;
        if after.is_none() {
            return (ids, warnings);
        }
    }
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn id(text: &str) -> SessionId {
    SessionId::stored(text).expect("an id")
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::text).collect()
}

async fn open(table: &str, with: impl FnOnce(Options) -> Options) -> DynamoDbStore {
    DynamoDbStore::open(with(crate::dynamodb::options(table, &dynamodb_endpoint()))).await.expect("good options")
}

#[tokio::test]
async fn each_key_pair_is_a_session() {
    let table = crate::list::new_table("UserId", Some("SessionId")).await;
    let pairs = [("ada", "s1"), ("ada", "s2"), ("bob", "s1"), ("a/b~c", "x/y")];
    for (user, session) in pairs {
        let list = AttributeValue::L(vec![python("human", &format!("{user} {session}"))]);
        put(&table, &[("UserId", s(user)), ("SessionId", s(session)), ("History", list)]).await;
    }
    let want = set(&["ada/s1", "ada/s2", "bob/s1", "a~1b~0c/x/y"]);
    // With no settings, with the keys set, and with the layout set.
    let said: [fn(Options) -> Options; 3] = [
        |options| options,
        |options| options.with_keys("UserId", "SessionId"),
        |options| options.with_keys("UserId", "SessionId").with_layout(Layout::List),
    ];
    for with in said {
        let store = open(&table, with).await;
        // Whichever operation finds it out.
        assert_eq!(texts(&all(&store, &id("bob/s1")).await), ["bob s1"]);
        assert_eq!(listed(&store).await, (want.clone(), BTreeSet::new()));
        assert_eq!(listed(&open(&table, with).await).await.0, want);
        assert_eq!(texts(&all(&store, &id("a~1b~0c/x/y")).await), ["a/b~c x/y"]);
        let error = store.load(&id("ada"), &Load::all()).await.expect_err("half a name");
        assert!(error.is_invalid() && error.to_string().contains("PARTITION/SORT"), "{error}");
    }
    let store = open(&table, |options| options.with_roll(Roll::At(4_000))).await;
    for n in 0..8 {
        for session in ["ada/s1", "ada/new"] {
            store.append(&id(session), &Append::new(crate::dynamodb::turn(n, 400))).await.expect("an append");
        }
    }
    assert_eq!((all(&store, &id("ada/s1")).await.len(), all(&store, &id("ada/new")).await.len()), (17, 16));
    assert_eq!(texts(&all(&store, &id("ada/s2")).await), ["ada s2"], "another of the same partition");
    let begun = get(&table, &[("UserId", "ada"), ("SessionId", "new")]).await.expect("the item");
    assert!(begun.contains_key("History") && !begun.contains_key("messages"), "{begun:?}");
    let all_of_it = set(&["ada/s1", "ada/s2", "bob/s1", "a~1b~0c/x/y", "ada/new"]);
    assert_eq!(listed(&store).await.0, all_of_it, "older parts are no sessions");
    // Further items of the two sessions in one partition belong to one of them each.
    store.delete(&id("ada/s1")).await.expect("a delete");
    store.sweep_table(&mut |_| ()).await.expect("a sweep");
    assert_eq!(all(&store, &id("ada/new")).await.len(), 16);
    assert!(all(&store, &id("ada/s1")).await.is_empty());
    let findings = Admin::open(&crate::dynamodb::options(&table, &dynamodb_endpoint())).await.expect("options").check().await;
    assert!(findings.iter().all(|finding| finding.severity < Severity::Warning), "{findings:?}");
    let keys = findings.iter().find(|finding| finding.subject == Subject::Keys).expect("a finding");
    assert!(keys.what.contains("each pair of keys is a session"), "{keys}");
}

#[tokio::test]
async fn langchain_js_sort_key_forms_a_key_pair() {
    let (table, sessions) = restored(&fixture("langchainjs-1.1.29.json")["tableWithSortKeyOption"], "messages").await;
    let store = open(&table, |options| options).await;
    let want: BTreeSet<String> = sessions.iter().map(|(id, _)| format!("{id}/sk")).collect();
    assert_eq!(listed(&store).await.0, want);
    // An id with a slash that is not meant as a pair is no empty session.
    put(&table, &[("id", s("user/42")), ("sk", s("sk")), ("messages", AttributeValue::L(vec![js("human", "hello")]))]).await;
    let append = store.append(&id("user/42"), &Append::new([Message::user("x")])).await.expect_err("ambiguous");
    for error in [append, store.load(&id("user/42"), &Load::all()).await.expect_err("ambiguous")] {
        assert!(error.is_invalid() && error.to_string().contains("sort_value=sk"), "{error}");
        assert!(error.to_string().contains("user~142/sk"), "{error}");
    }
    assert_eq!(texts(&all(&store, &id("user~142/sk")).await), ["hello"]);
}

#[tokio::test]
async fn turns_table_with_custom_keys_keeps_its_layout() {
    let name = chat_memory_testkit::table_name("chat-memory");
    let options = crate::dynamodb::options(&name, &dynamodb_endpoint()).with_keys("pk", "range");
    Admin::open(&options).await.expect("options").create_table().await.expect("a table");
    let store = DynamoDbStore::open(options).await.expect("a store");
    let session = crate::dynamodb::session("ours");
    store.append(&session, &Append::new([Message::user("x")])).await.expect("an append");
    assert_eq!(store.layout().await.expect("a layout"), Layout::Turns);
    assert_eq!(listed(&store).await, (BTreeSet::from([session.to_string()]), BTreeSet::new()));
    // What an original client adds is reported.
    put(&name, &[("pk", s("ada")), ("range", s("s1")), ("History", AttributeValue::L(vec![python("human", "x")]))]).await;
    let store = open(&name, |options| options.with_keys("pk", "range")).await;
    let (ids, warnings) = listed(&store).await;
    assert_eq!(ids.len(), 1);
    assert!(warnings.iter().any(|warning| warning.contains("layout=list")), "{warnings:?}");
}

#[tokio::test]
async fn layout_is_found_by_many_operations_at_once() {
    for keys in [["id", ""], ["id", "sk"]] {
        let [partition, sort] = keys;
        let table = crate::list::new_table(partition, Some(sort).filter(|sort| !sort.is_empty())).await;
        if !sort.is_empty() {
            put(&table, &[("id", s("there")), ("sk", s("sk")), ("messages", AttributeValue::L(vec![js("human", "x")]))]).await;
        }
        let store = open(&table, |options| options).await;
        let sessions: Vec<_> = (0..24).map(|n| if sort.is_empty() { format!("s{n}") } else { format!("s{n}/sk") }).collect();
        let appends = sessions.iter().map(|session| {
            let store = store.clone();
            let session = id(session);
            async move { store.append(&session, &Append::new([Message::user("x")])).await.map(drop) }
        });
        for appended in futures_util::future::join_all(appends).await {
            appended.expect("each append finds the layout");
        }
        let want: BTreeSet<String> = sessions.iter().cloned().chain((!sort.is_empty()).then(|| "there/sk".to_owned())).collect();
        assert_eq!(listed(&store).await.0, want);
    }
}

#[tokio::test]
async fn list_in_another_attribute_is_named() {
    for (name, dialect, message, remedy) in [
        ("chat", None, js("human", "hello"), "list_attribute=chat"),
        ("Chat", Some(Dialect::Python), python("human", "hello"), "dialect=python&list_attribute=Chat"),
    ] {
        let table = crate::list::new_table("id", None).await;
        let list = AttributeValue::L(vec![message]);
        put(&table, &[("id", s("there")), (name, list.clone())]).await;
        put(&table, &[("id", s("no session")), ("colour", s("red"))]).await;
        let store = open(&table, |options| options).await;
        let before = get(&table, &[("id", "there")]).await;
        let named = |error: &chat_memory::Error| {
            assert!(error.is_invalid() && error.to_string().contains(remedy), "{error}");
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        };
        named(&store.load(&id("there"), &Load::all()).await.expect_err("unread"));
        named(&store.append(&id("there"), &Append::new([Message::user("more")])).await.expect_err("a second list"));
        named(&store.clear(&id("there")).await.expect_err("a clear of what is not read"));
        assert_eq!(get(&table, &[("id", "there")]).await, before, "no second list");
        let (ids, warnings) = listed(&store).await;
        assert_eq!(ids, set(&["there"]));
        assert!(warnings.iter().any(|warning| warning.contains(remedy)), "{warnings:?}");
        let options = crate::dynamodb::options(&table, &dynamodb_endpoint());
        let findings = Admin::open(&options).await.expect("options").check().await;
        let items = findings.iter().find(|finding| finding.subject == Subject::Items).expect("a finding about items");
        assert!(items.severity == Severity::Error && items.to_string().contains(remedy), "{items}");
        // With the setting, it is read and continued in its own form.
        let store = open(&table, |options| {
            let options = options.with_list_attribute(name);
            dialect.map_or_else(|| options.clone(), |dialect| options.clone().with_dialect(dialect))
        })
        .await;
        store.append(&id("there"), &Append::new([Message::user("more")])).await.expect("an append");
        assert_eq!(texts(&all(&store, &id("there")).await), ["hello", "more"]);
        assert_eq!(listed(&store).await, (set(&["there"]), BTreeSet::new()));
        // A second list that was created in the same item before.
        put(&table, &[("id", s("two")), (name, list.clone()), ("messages", AttributeValue::L(vec![js("human", "x")]))]).await;
        let error = open(&table, |options| options).await.load(&id("two"), &Load::all()).await.expect_err("half of it");
        assert!(error.to_string().contains("list_attribute=messages or "), "{error}");
        let chosen = open(&table, |options| options.with_list_attribute("messages")).await;
        assert_eq!(texts(&all(&chosen, &id("two")).await), ["x"]);
    }
}

#[tokio::test]
async fn unread_message_like_attributes_are_named() {
    let table = crate::list::new_table("id", None).await;
    let openai = element(&[("role", s("user")), ("content", s("hello"))]);
    let file = element(&[("type", s("image")), ("content", s("…"))]);
    put(&table, &[("id", s("openai")), ("chat", AttributeValue::L(vec![openai]))]).await;
    let messages = AttributeValue::L(vec![js("human", "hello")]);
    put(&table, &[("id", s("good")), ("messages", messages), ("files", AttributeValue::L(vec![file]))]).await;
    let store = open(&table, |options| options).await;
    let error = store.load(&id("openai"), &Load::all()).await.expect_err("no empty history");
    assert!(error.to_string().contains("\"chat\""), "{error}");
    assert_eq!(texts(&all(&store, &id("good")).await), ["hello"], "the item's other attributes belong to the program");
    assert_eq!(listed(&store).await.0, set(&["good", "openai"]));
}

#[tokio::test]
async fn chosen_list_attribute_keeps_its_dialect() {
    let table = crate::list::new_table("chat_id", None).await;
    put(&table, &[("chat_id", s("a")), ("Chat", AttributeValue::L(vec![python("human", "hello")]))]).await;
    let store = open(&table, |options| options.with_list_attribute("Chat")).await;
    store.append(&id("a"), &Append::new([Message::assistant("hi")])).await.expect("an append");
    let item = get(&table, &[("chat_id", "a")]).await.expect("the item");
    let list = item["Chat"].as_l().expect("a list");
    assert!(list.iter().all(|element| element.as_m().expect("a map").contains_key("data")), "{list:?}");
}

#[tokio::test]
async fn unusual_ids_are_usable_and_hide_no_session() {
    let table = crate::list::new_table("id", None).await;
    let uuid = "1b0c74f2-9a3e-4d55-8c61-37ade01f92b8";
    let side = format!("segment#x#{uuid}");
    let long = "l".repeat(2_040);
    let odd = ["good1", "a\nb\u{1b}[31m", &long, "segment#x", &side, "segment#", "dir#ada#0", "ns#", "ns#x", "good2", " "];
    for session in odd {
        put(&table, &[("id", s(session)), ("messages", AttributeValue::L(vec![js("human", "hello")]))]).await;
    }
    let store = open(&table, |options| options.with_roll(Roll::At(4_000))).await;
    assert_eq!(listed(&store).await, (set(&odd), BTreeSet::new()));
    for session in odd {
        assert_eq!(texts(&all(&store, &id(session)).await), ["hello"], "{session:?}");
        for n in 0..8 {
            store.append(&id(session), &Append::new(crate::dynamodb::turn(n, 400))).await.expect(session);
        }
        assert_eq!(all(&store, &id(session)).await.len(), 17, "{session:?}");
    }
    assert_eq!(listed(&store).await.0, set(&odd), "older parts are no sessions");
    let rolled = scan(&table).await.len() - odd.len();
    assert!(rolled >= odd.len(), "each was rolled: {rolled}");
    // Their older parts are found through the lists that need them, and stay as long as they are needed.
    for mut item in scan(&table).await.into_iter().filter(|item| item.contains_key("v")) {
        item.insert("created_at".into(), AttributeValue::N("1600000000000".into()));
        crate::dynamodb::client().put_item().table_name(&table).set_item(Some(item)).send().await.expect("a put");
    }
    assert_eq!(store.sweep_table(&mut |_| ()).await.expect("a sweep").parts, 0);
    assert_eq!(all(&store, &id(&long)).await.len(), 17);
    store.delete(&id(&long)).await.expect("a delete");
    assert!(all(&store, &id(&long)).await.is_empty());
    let segment = scan(&table).await.into_iter().find(|item| item.contains_key("v")).expect("an older part");
    let segment = id(segment["id"].as_s().expect("a key"));
    for error in [
        store.load(&segment, &Load::all()).await.expect_err("no session"),
        store.append(&segment, &Append::new([Message::user("x")])).await.expect_err("no session"),
    ] {
        assert!(error.is_invalid() && error.to_string().contains("older part"), "{error}");
    }
    let error = store.load(&id("ns#acme#x"), &Load::all()).await.expect_err("another namespace's");
    assert!(error.is_invalid() && error.to_string().contains("namespace=acme"), "{error}");
    let error = store.append(&id(&"x".repeat(2_049)), &Append::new([Message::user("x")])).await.expect_err("too long");
    assert!(error.is_invalid() && error.to_string().contains("2048"), "{error}");
}

#[tokio::test]
async fn turns_layout_refuses_unusual_ids() {
    let store = crate::dynamodb::direct().await;
    for odd in ["a\nb", "ns#a#b", "dir#x", &"x".repeat(1_001)] {
        let append = store.append(&id(odd), &Append::new([Message::user("x")])).await.expect_err("refused");
        let load = store.load(&id(odd), &Load::all()).await.expect_err("refused");
        assert!(append.is_invalid() && load.is_invalid(), "{append} {load}");
    }
}

/// Returns the lists that an item of the table has.
async fn lists(table: &str, key: &str, session: &str) -> Vec<&'static str> {
    let item = get(table, &[(key, session)]).await.expect("the item");
    ["messages", "History"].into_iter().filter(|name| item.contains_key(*name)).collect()
}

#[tokio::test]
async fn new_session_uses_the_dialect_of_the_table() {
    let begin = async |table: &str, session: &str| {
        open(table, |options| options).await.append(&id(session), &Append::new([Message::user("hello")])).await
    };
    // The key's name decides.
    let table = crate::list::new_table("SessionId", None).await;
    begin(&table, "new").await.expect("an append");
    assert_eq!(lists(&table, "SessionId", "new").await, ["History"]);
    // LangChain Python's clear deletes the item.
    let delete = crate::dynamodb::client().delete_item().table_name(&table).key("SessionId", s("new"));
    delete.send().await.expect("a delete");
    begin(&table, "new").await.expect("an append");
    assert_eq!(lists(&table, "SessionId", "new").await, ["History"]);
    let table = crate::list::new_table("id", None).await;
    begin(&table, "new").await.expect("an append");
    assert_eq!(lists(&table, "id", "new").await, ["messages"]);
    // Otherwise the other sessions decide; failing that, the setting is required.
    for (name, list) in [("History", python("human", "x")), ("messages", js("human", "x"))] {
        let table = crate::list::new_table("chat_id", None).await;
        let error = begin(&table, "new").await.expect_err("nothing tells");
        assert!(error.is_invalid() && error.to_string().contains("dialect=python"), "{error}");
        assert!(scan(&table).await.is_empty(), "nothing was written");
        put(&table, &[("chat_id", s("other")), (name, AttributeValue::L(vec![list]))]).await;
        begin(&table, "new").await.expect("an append");
        assert_eq!(lists(&table, "chat_id", "new").await, [name]);
    }
    let table = crate::list::new_table("chat_id", None).await;
    let store = open(&table, |options| options.with_dialect(Dialect::Python)).await;
    store.append(&id("new"), &Append::new([Message::user("hello")])).await.expect("an append");
    assert_eq!(lists(&table, "chat_id", "new").await, ["History"]);
}

#[tokio::test]
async fn dialect_option_does_not_change_a_turns_table() {
    let store = open(crate::dynamodb::table().await, |options| options.with_dialect(Dialect::Js)).await;
    let session = crate::dynamodb::session("ours");
    store.append(&session, &Append::new([Message::user("x")])).await.expect("an append");
    assert_eq!(store.layout().await.expect("a layout"), Layout::Turns);
}

#[tokio::test]
async fn foreign_element_fields_are_kept() {
    let table = crate::list::new_table("id", None).await;
    let n = |number: &str| AttributeValue::N(number.to_owned());
    let list = [
        element(&[("type", s("human")), ("text", s("a")), ("id", s("m1")), ("name", s("ada"))]),
        element(&[("type", s("ai")), ("text", s("b")), ("id", n("7")), ("tool_calls", s("none")), ("content", s("old"))]),
        element(&[("type", s("tool")), ("text", s("c")), ("tool_call_id", s("call_1")), ("role", s("tool"))]),
    ];
    put(&table, &[("id", s("odd")), ("messages", AttributeValue::L(list.into()))]).await;
    let store = open(&table, |options| options).await;
    let read = all(&store, &id("odd")).await;
    assert_eq!((read[0].id.as_deref(), read[0].name.as_deref()), (Some("m1"), Some("ada")));
    assert_eq!(read[1].extra["langchain"]["beside"], serde_json::json!({"id": 7, "tool_calls": "none", "content": "old"}));
    assert_eq!((read[2].role, read[2].tool_call_id.as_deref()), (Role::Tool, Some("call_1")));
    assert_eq!(read[2].extra["langchain"]["beside"], serde_json::json!({"role": "tool"}));
    assert_eq!(texts(&read), ["a", "b", "c"]);
    // They survive a rewrite and a copy to any store.
    store.append(&id("odd"), &Append::new([Message::user("more")])).await.expect("an append");
    let history = store.load(&id("odd"), &Load::all()).await.expect("a load");
    let rewind = Append::rewind(&history, 3, [Message::user("other")]).expect("in view");
    store.append(&id("odd"), &rewind).await.expect("a rewind");
    assert_eq!(all(&store, &id("odd")).await[..3], read[..]);
    store.append(&id("copy"), &Append::new(read.clone())).await.expect("an append");
    assert_eq!(all(&store, &id("copy")).await, read);
}

#[tokio::test]
async fn delete_of_nothing_writes_nothing_and_empty_items_are_swept() {
    let table = crate::list::new_table("id", None).await;
    let store = open(&table, |options| options).await;
    assert_eq!(store.delete(&id("never")).await.expect("a delete").records, 0);
    assert!(scan(&table).await.is_empty());
    store.append(&id("s"), &Append::new([Message::user("x")])).await.expect("an append");
    store.delete(&id("s")).await.expect("a delete");
    store.sweep_table(&mut |_| ()).await.expect("a sweep");
    let mut item = get(&table, &[("id", "s")]).await.expect("what identifies a repeat");
    // Simulates two days later: the note of the clear is old and swept.
    for item in scan(&table).await.into_iter().filter(|item| item.contains_key("v")) {
        let key = item["id"].clone();
        crate::dynamodb::client().delete_item().table_name(&table).key("id", key).send().await.expect("a delete");
    }
    let head: serde_json::Value = serde_json::from_str(item["chat_memory"].as_s().expect("a head")).expect("JSON");
    let mut head = head.as_object().expect("an object").clone();
    head["bare"][0]["at"] = 1_600_000_000_000_i64.into();
    head.shift_remove("gone");
    item.insert("chat_memory".into(), AttributeValue::S(serde_json::Value::Object(head).to_string()));
    crate::dynamodb::client().put_item().table_name(&table).set_item(Some(item)).send().await.expect("a put");
    let swept = store.sweep_table(&mut |_| ()).await.expect("a sweep");
    assert_eq!((swept.sessions, scan(&table).await.len()), (1, 0), "nothing is left");
    store.append(&id("s"), &Append::new([Message::user("again")])).await.expect("an append");
    assert_eq!(texts(&all(&store, &id("s")).await), ["again"]);
}

#[tokio::test]
async fn repeated_delete_writes_nothing_at_constant_cost() {
    let table = crate::list::new_table("id", None).await;
    let store = open(&table, |options| options).await;
    store.append(&id("s"), &Append::new([Message::user("x")])).await.expect("an append");
    assert!(store.delete(&id("s")).await.expect("a delete").existed);
    let left = scan(&table).await;
    let again = store.delete(&id("s")).await.expect("a delete");
    for _ in 0..3 {
        let last = store.delete(&id("s")).await.expect("a delete");
        assert_eq!((last.existed, last.records, last.cost.write_units), (false, 0, 0.0));
        assert_eq!(last.cost.requests, again.cost.requests);
    }
    assert_eq!(scan(&table).await, left);
}

#[tokio::test]
async fn sessions_in_namespaces_are_reported() {
    let table = crate::list::new_table("id", None).await;
    let store = open(&table, |options| options).await;
    store.append(&id("s"), &Append::new([Message::user("x")])).await.expect("an append");
    let of = open(&table, |options| options.with_namespace(Namespace::new("foo").expect("a name"))).await;
    of.append(&id("bar"), &Append::new([Message::user("y")])).await.expect("an append");
    let page = store.list_all_sessions(None).await.expect("a list");
    assert_eq!(page.sessions.len(), 1);
    assert!(page.warnings.iter().any(|warning| warning.contains("namespace=foo")), "{:?}", page.warnings);
    assert!(of.list_all_sessions(None).await.expect("a list").warnings.is_empty());
}

#[tokio::test]
async fn first_append_sends_only_necessary_requests() {
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
    let table = crate::list::new_table("id", None).await;
    let mut options = crate::dynamodb::options(&table, &proxy.url());
    // As in Flowise's node settings.
    options.partition_key = Some("id".to_owned());
    let store = DynamoDbStore::open(options.with_dialect(Dialect::Js)).await.expect("a store");
    store.append(&crate::dynamodb::session("first"), &Append::new([Message::user("x")])).await.expect("an append");
    let one_each = ["GetItem", "UpdateItem"].map(|name| (name.to_owned(), 1));
    assert_eq!(proxy.counts().into_iter().collect::<HashMap<_, _>>(), HashMap::from(one_each));
}
