//! Tables shared with the original clients, on DynamoDB Local: we read what they write unchanged, they read what we write as far
//! as their form can hold it, and both take turns on one session. `cargo xtask test peers` installs the originals and runs this.
#![cfg(feature = "dynamodb")]

#[path = "it/dynamodb/mod.rs"]
mod dynamodb;
#[path = "it/list/mod.rs"]
mod list;

use std::sync::Arc;

use chat_memory::store::Load;
use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, Roll};
use chat_memory::wire::{langchain, openai};
use chat_memory::{Append, ChatStore, Message, SessionId, ToolCall};
use chat_memory_testkit::peers::{Kind, Peer};
use chat_memory_testkit::{FaultProxy, Seeded, dynamodb_endpoint, shared_conversations};
use serde_json::{Value, json};

fn peer(kind: Kind) -> Peer {
    Peer::start(kind, &dynamodb_endpoint())
}

async fn store(table: &str, dialect: Option<Dialect>) -> DynamoDbStore {
    let with = |options: chat_memory::store::dynamodb::Options| match dialect {
        Some(dialect) => options.with_dialect(dialect),
        None => options,
    };
    list::open(table.to_owned(), with).await.expect("a store")
}

async fn all(store: &DynamoDbStore, session: &SessionId) -> Vec<Message> {
    store.load(session, &Load::all()).await.expect("a load").into_messages()
}

/// Who says what: what every form can hold.
fn said(messages: &[Message]) -> Vec<(String, String)> {
    messages.iter().map(|message| (message.role.to_string(), message.text())).collect()
}

fn said_by(stored: &[Value]) -> Vec<(String, String)> {
    let message = |value: &Value| langchain::from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"));
    said(&stored.iter().map(message).collect::<Vec<_>>())
}

/// What a JavaScript original sees of a conversation: no tool results, and no message that only calls.
fn shown_to_js(messages: &[Message]) -> Vec<(String, String)> {
    let is_shown = |message: &&Message| {
        message.role != chat_memory::Role::Tool && (message.tool_calls.is_empty() || !message.text().is_empty())
    };
    said(&messages.iter().filter(is_shown).cloned().collect::<Vec<_>>())
}

fn with_tools() -> Vec<Message> {
    vec![
        Message::system("be brief"),
        Message::user("What is the weather in Paris? 🌦").with_name("alice").with_id("h-1"),
        Message::tool_calls([ToolCall::function("call_1", "get_weather", r#"{"city": "Paris", "days": 1.0}"#)]),
        Message::tool("call_1", "21 °C"),
        Message::assistant("It is 21 °C."),
        openai::from_value(json!({"role": "user", "content": [
            {"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]}))
        .expect("a message"),
        openai::from_value(json!({"role": "assistant", "content": "", "score": 1e300, "n": 1.0})).expect("a message"),
    ]
}

#[tokio::test]
async fn langchain_js_and_our_store_share_a_session() {
    let (mut js, table, none) = (peer(Kind::LangChainJs), list::new_table("id", None).await, json!({}));
    let session = dynamodb::session("js");
    let theirs = json!([
        {"type": "system", "data": {"content": "be brief"}},
        {"type": "human", "data": {"content": "hello 🌦", "additional_kwargs": {"lang": "en", "n": 1}}},
        {"type": "ai", "data": {"content": "", "additional_kwargs": {"tool_calls": [
            {"id": "call_9", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}}},
    ]);
    js.add(&table, session.as_str(), &none, &theirs).expect("an original's write");
    // Nothing is configured: the layout is detected from the table's keys and its items.
    let ours = store(&table, None).await;
    let read = all(&ours, &session).await;
    assert_eq!(said(&read)[..2], [("system".into(), "be brief".into()), ("user".into(), "hello 🌦".into())]);
    assert_eq!(read[1].extra["lang"], "en");
    assert_eq!(read[2].tool_calls[0].arguments(), Some("{\"a\":1}"));
    // Two rounds: we, they, we.
    let mut want = read;
    for round in 0..2 {
        let turn = with_tools();
        ours.append(&session, &Append::new(turn.clone())).await.expect("our write");
        want.extend(turn);
        let theirs =
            json!([{"type": "human", "data": {"content": format!("round {round}")}}, {"type": "ai", "data": {"content": "ok"}}]);
        js.add(&table, session.as_str(), &none, &theirs).expect("an original's write after ours");
        want.extend([Message::user(format!("round {round}")), Message::assistant("ok")]);
        assert_eq!(all(&store(&table, None).await, &session).await, want, "ours, exact, after round {round}");
    }
    // No tool message of ours makes it throw, and it sees all that its form can hold (it read its own call before).
    let seen = js.read(&table, session.as_str(), &none).expect("an original's read of what we wrote");
    let mut shown = shown_to_js(&want);
    shown.insert(2, ("assistant".into(), String::new()));
    assert_eq!(said_by(&seen), shown);
    js.clear(&table, session.as_str(), &none).expect("an original's clear");
    assert!(all(&ours, &session).await.is_empty(), "what an original clears is gone for us");
    ours.append(&session, &Append::new([Message::user("anew")])).await.expect("an append after an original's clear");
    assert_eq!(said_by(&js.read(&table, session.as_str(), &none).expect("a read")), [("user".into(), "anew".into())]);
}

#[tokio::test]
async fn langchain_js_sort_key_requires_its_setting() {
    let (mut js, table) = (peer(Kind::LangChainJs), list::new_table("id", Some("sk")).await);
    let (session, options) = (dynamodb::session("js-sk"), json!({"sortKey": "sk"}));
    js.add(&table, session.as_str(), &options, &json!([{"type": "human", "data": {"content": "hi"}}])).expect("a write");
    // Without the setting: an error that names it, never an empty history.
    let turns =
        DynamoDbStore::open(dynamodb::options(&table, &dynamodb_endpoint()).with_keys("id", "sk")).await.expect("good options");
    let error = turns.load(&session, &Load::all()).await.expect_err("an item of LangChain.js is there");
    assert!(error.to_string().contains("sort_value=sk"), "{error}");
    let error = turns.append(&session, &Append::new([Message::user("x")])).await.expect_err("an item of LangChain.js is there");
    assert!(error.to_string().contains("sort_value=sk"), "{error}");
    let ours = list::open(table.clone(), |options| options.with_sort_value("sk")).await.expect("a store");
    ours.append(&session, &Append::new([Message::assistant("yes")])).await.expect("our write");
    assert_eq!(said(&all(&ours, &session).await), [("user".into(), "hi".into()), ("assistant".into(), "yes".into())]);
    assert_eq!(js.read(&table, session.as_str(), &options).expect("a read").len(), 2);
}

#[tokio::test]
async fn flowise_and_our_store_share_a_session() {
    let (mut flowise, table, none) = (peer(Kind::Flowise), list::new_table("id", None).await, json!({}));
    let session = dynamodb::session("flowise");
    let turn = json!([{"text": "question", "type": "userMessage"}, {"text": "", "type": "apiMessage"}]);
    flowise.add(&table, session.as_str(), &none, &turn).expect("a write");
    let ours = store(&table, None).await;
    assert_eq!(all(&ours, &session).await, [Message::user("question"), Message::assistant("")]);
    ours.append(&session, &Append::new(with_tools())).await.expect("our write");
    flowise.add(&table, session.as_str(), &none, &turn).expect("a write after ours");
    let mut want = vec![Message::user("question"), Message::assistant("")];
    want.extend(with_tools());
    want.extend([Message::user("question"), Message::assistant("")]);
    assert_eq!(all(&ours, &session).await, want);
    let seen = flowise.read(&table, session.as_str(), &none).expect("an original's read of what we wrote");
    assert_eq!(said_by(&seen), shown_to_js(&want));
    flowise.clear(&table, session.as_str(), &none).expect("a clear");
    assert!(all(&ours, &session).await.is_empty());
}

#[tokio::test]
async fn langchain_python_and_our_store_share_a_session() {
    let (mut python, table, none) = (peer(Kind::LangChainPython), list::new_table("SessionId", None).await, json!({}));
    let session = dynamodb::session("python");
    let theirs = json!([
        {"type": "human", "data": {"content": "hello", "type": "human", "name": "alice", "id": "h-1"}},
        {"type": "ai", "data": {"content": "", "type": "ai", "tool_calls": [{"name": "f", "args": {"days": 2}, "id": "c", "type": "tool_call"}],
            "usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}},
        {"type": "tool", "data": {"content": "21C", "type": "tool", "tool_call_id": "c", "name": "f"}},
    ]);
    python.add(&table, session.as_str(), &none, &theirs).expect("an original's write");
    let ours = store(&table, None).await;
    let mut want = all(&ours, &session).await;
    assert_eq!(want[1].tool_calls[0].arguments(), Some("{\"days\":2}"));
    let by_them = python.read(&table, session.as_str(), &none).expect("a read");
    assert_eq!(want.iter().map(langchain::to_value).collect::<Vec<_>>(), by_them, "we read what they wrote unchanged");
    for round in 0..2 {
        ours.append(&session, &Append::new(with_tools())).await.expect("our write");
        want.extend(with_tools());
        let theirs = json!([{"type": "human", "data": {"content": format!("round {round}"), "type": "human"}}]);
        // It rewrites the whole list, including our elements.
        python.add(&table, session.as_str(), &none, &theirs).expect("an original's write after ours");
        want.push(Message::user(format!("round {round}")));
        assert_eq!(all(&store(&table, None).await, &session).await, want, "ours, exact, after round {round}");
    }
    let seen = python.read(&table, session.as_str(), &none).expect("an original's read of what we wrote");
    assert_eq!(said_by(&seen), said(&want), "its form holds tool messages, too");
    python.clear(&table, session.as_str(), &none).expect("a clear");
    assert!(all(&ours, &session).await.is_empty());
}

#[tokio::test]
async fn originals_see_the_newest_part_of_a_rolled_session() {
    for (kind, key, dialect) in [(Kind::LangChainJs, "id", Dialect::Js), (Kind::LangChainPython, "SessionId", Dialect::Python)] {
        let (mut peer, table, none) = (peer(kind), list::new_table(key, None).await, json!({}));
        let session = dynamodb::session("rolled");
        let ours =
            list::open(table.clone(), |options| options.with_dialect(dialect).with_roll(Roll::At(8_000))).await.expect("a store");
        for n in 0..60 {
            ours.append(&session, &Append::new(dynamodb::turn(n, 300))).await.expect("our write");
            if n % 20 == 19 {
                let theirs = json!([{"type": "human", "data": {"content": format!("theirs {n}"), "type": "human"}}]);
                peer.add(&table, session.as_str(), &none, &theirs).expect("an original's write");
            }
        }
        let whole = said(&all(&ours, &session).await);
        assert_eq!(whole.len(), 123, "{kind:?}");
        let seen = said_by(&peer.read(&table, session.as_str(), &none).expect("a read"));
        assert!(!seen.is_empty() && seen.len() < 60 && whole.ends_with(&seen), "{kind:?} sees {} messages", seen.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_and_one_original_lose_and_duplicate_nothing() {
    let plan = Seeded { drop_answers: 0.1, drop_requests: 0.05, ..Seeded::new(11) };
    let proxy = FaultProxy::start(&dynamodb_endpoint(), plan);
    for endpoint in [dynamodb_endpoint(), proxy.url()] {
        let table = list::new_table("id", None).await;
        let session = dynamodb::session("nine");
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let (table, session, endpoint) = (table.clone(), session.clone(), endpoint.clone());
            writers.spawn(async move {
                let store = list::open(table, |options| options.with_endpoint(&endpoint).with_roll(Roll::At(8_000)))
                    .await
                    .expect("a store");
                for n in 0..25 {
                    store.append(&session, &Append::new([Message::user(format!("ours {writer}/{n}"))])).await.expect("an append");
                }
            });
        }
        let (theirs, at) = (table.clone(), session.clone());
        let original = tokio::task::spawn_blocking(move || {
            let mut js = peer(Kind::LangChainJs);
            for n in 0..50 {
                let message = json!([{"type": "human", "data": {"content": format!("theirs {n}")}}]);
                js.add(&theirs, at.as_str(), &json!({}), &message).expect("an original's write");
            }
        });
        while let Some(done) = writers.join_next().await {
            done.expect("every append lands");
        }
        original.await.expect("the original writes on");
        let read: Vec<String> = all(&store(&table, None).await, &session).await.iter().map(Message::text).collect();
        let mut once = read.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!((read.len(), once.len()), (250, 250), "each message of anyone once, through {endpoint}");
        for writer in 0..8 {
            let own: Vec<_> = read.iter().filter(|text| text.starts_with(&format!("ours {writer}/"))).collect();
            let order: Vec<_> = (0..25).map(|n| format!("ours {writer}/{n}")).collect();
            assert!(own.iter().copied().eq(order.iter()), "the order of writer {writer}");
        }
    }
}

#[tokio::test]
async fn real_conversations_are_read_by_every_original() {
    let (mut js, mut python) = (peer(Kind::LangChainJs), peer(Kind::LangChainPython));
    let (js_table, py_table) = (list::new_table("id", None).await, list::new_table("SessionId", None).await);
    let ours = Arc::new([store(&js_table, Some(Dialect::Js)).await, store(&py_table, Some(Dialect::Python)).await]);
    for conversation in shared_conversations().into_iter().take(20) {
        let session = SessionId::new(&*conversation.id).expect("an id");
        for store in ours.iter() {
            store.append(&session, &Append::new(conversation.messages.clone())).await.expect("an append");
            assert_eq!(all(store, &session).await, conversation.messages, "exact for us");
        }
        let seen = js.read(&js_table, session.as_str(), &json!({})).expect("LangChain.js reads it");
        assert_eq!(said_by(&seen), shown_to_js(&conversation.messages));
        let seen = python.read(&py_table, session.as_str(), &json!({})).expect("LangChain Python reads it");
        assert_eq!(said_by(&seen), said(&conversation.messages));
    }
}
