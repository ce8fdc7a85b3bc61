//! What lists show of the records on DynamoDB Local: on `turns` what is read on demand, and its cost; in the `list` layout the first
//! elements that a scan brings.
#![cfg(feature = "dynamodb")]

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::backend::first_words;
use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, Options, Roll};
use chat_memory::store::{Append, ChatStore, Cost, Load, SessionInfo};
use chat_memory::{Entry, Message, SessionId};

use crate::dynamodb::{direct, noise, session, turn};
use crate::list_layout::{fixture, restored};

async fn say(store: &DynamoDbStore, session: &SessionId, text: impl Into<String>) {
    store.append(session, &Append::new([Message::user(text.into())])).await.expect("an append");
}

/// What is read of a listed session, by a store that knows nothing of it, and the cost.
async fn read(session: &SessionId) -> (SessionInfo, Cost) {
    let store = direct().await;
    let mut listed = [store.session(session).await.expect("a look").expect("it is listed")];
    let cost = store.read_contents(&mut listed).await.expect("the contents");
    let [info] = listed;
    (info, cost)
}

async fn shown(session: &SessionId) -> (Option<u64>, Option<String>) {
    let (info, _) = read(session).await;
    assert_eq!(info.records_exact, info.records.is_some());
    (info.records, info.first_words)
}

fn some(records: u64, words: &str) -> (Option<u64>, Option<String>) {
    (Some(records), Some(words.to_owned()))
}

#[tokio::test]
async fn contents_of_a_short_session_cost_about_a_unit_and_of_any_other_little() {
    let store = direct().await;
    let mut measured = Vec::new();
    for turns in [1, 3, 4, 12, 30, 200] {
        let session = session("contents");
        for n in 0..turns {
            store.append(&session, &Append::new(turn(n, 300))).await.expect("an append");
        }
        let (info, cost) = read(&session).await;
        assert_eq!((info.records, info.records_exact), (Some(turns as u64), true));
        assert_eq!(info.first_words.is_some(), turns <= 30, "{turns} turns");
        assert!(cost.read_units <= 10.0, "{turns} turns: {cost}");
        measured.push((turns, cost.requests, cost.read_units));
    }
    assert_eq!(measured, [(1, 1, 1.0), (3, 1, 1.0), (4, 1, 1.0), (12, 2, 3.0), (30, 3, 7.0), (200, 2, 2.0)]);
    // The first record of a session is in a part if it is large.
    let session = session("contents");
    store.append(&session, &Append::new([Message::user(format!("Large {}", noise(9_000, 1)))])).await.expect("an append");
    let (info, cost) = read(&session).await;
    assert!(info.first_words.is_some_and(|words| words.starts_with("Large")), "{cost}");
    // In several parts, it is not read.
    let session = crate::dynamodb::session("contents");
    store.append(&session, &Append::new([Message::user(noise(900_000, 1))])).await.expect("an append");
    let (info, cost) = read(&session).await;
    assert_eq!((info.records, info.first_words), (Some(1), None));
    assert_eq!((cost.requests, cost.read_units), (1, 1.0));
}

#[tokio::test]
async fn contents_follow_rewinds_clears_and_deletes() {
    let (store, session) = (direct().await, session("contents"));
    for text in ["First", "Second", "Third"] {
        say(&store, &session, text).await;
    }
    assert_eq!(shown(&session).await, some(3, "First"));
    let history = store.load(&session, &Load::all()).await.expect("a load");
    store
        .append(&session, &Append::rewind(&history, 1, [Message::user("Another second")]).expect("in view"))
        .await
        .expect("an append");
    assert_eq!(shown(&session).await, some(4, "First"), "what was taken back counts");
    let history = store.load(&session, &Load::all()).await.expect("a load");
    store.append(&session, &Append::rewind(&history, 0, [Message::user("Edited")]).expect("in view")).await.expect("an append");
    assert_eq!(shown(&session).await, some(1, "Edited"), "an edit of the first message is in place of all");
    store.clear(&session).await.expect("a clear");
    assert_eq!(shown(&session).await, (Some(0), None));
    say(&store, &session, "After").await;
    assert_eq!(shown(&session).await, some(1, "After"));

    // Long since the clear: the number is counted from there, by the stubs that it left.
    for n in 0..80 {
        say(&store, &session, noise(1_500, n)).await;
    }
    assert_eq!(shown(&session).await, (Some(81), None));
    store.clear(&session).await.expect("a clear");
    for n in 0..80 {
        say(&store, &session, noise(1_500, n)).await;
    }
    assert_eq!(shown(&session).await, (Some(80), None), "after two clears");
    store.delete(&session).await.expect("a delete");
    say(&store, &session, "New").await;
    assert_eq!(shown(&session).await, some(1, "New"));
    for n in 0..80 {
        say(&store, &session, noise(1_500, n)).await;
    }
    assert_eq!(shown(&session).await, (Some(81), None), "what was before the delete does not count");
}

#[tokio::test]
async fn session_that_cannot_be_read_stays_as_listed() {
    let (store, session) = (direct().await, session("contents"));
    for text in ["First", "Second"] {
        say(&store, &session, text).await;
    }
    let raw = crate::dynamodb::Raw::of(&session).await;
    for broken in [0, 1] {
        raw.set(broken, "messages", AttributeValue::S("damaged".to_owned())).await;
    }
    let (info, _) = read(&session).await;
    assert_eq!((info.records, info.records_exact, info.first_words), (Some(1), false, None));
}

/// What a table of the `list` layout lists of its sessions: each id with its first words.
async fn words(store: &DynamoDbStore) -> Vec<(String, Option<String>)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_all_sessions(after.as_deref()).await.expect("a listing");
        found.extend(page.sessions.into_iter().map(|info| (info.id.to_string(), info.first_words)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn first_words_of_what_originals_wrote_are_listed() {
    for (name, list) in
        [("flowise-3.1.4.json", "messages"), ("langchainjs-1.1.29.json", "messages"), ("langchainpy-0.4.2.json", "History")]
    {
        let (table, sessions) = restored(&fixture(name)["table"], list).await;
        let store = crate::list::open(table, |options| options.with_read_only(true)).await.expect("a store");
        let mut want = Vec::new();
        for (session, _) in &sessions {
            let entries: Vec<Entry> = store.load(session, &Load::all()).await.expect("a load").into_entries();
            want.push((session.to_string(), first_words(entries.iter().take(3))));
        }
        want.sort();
        assert!(want.iter().any(|(_, words)| words.is_some()), "{name}");
        assert_eq!(words(&store).await, want, "{name}");
    }
}

#[tokio::test]
async fn first_words_of_a_list_are_those_in_view() {
    for dialect in [Dialect::Js, Dialect::Python] {
        let table = crate::list::new_table("id", None).await;
        let with = |options: Options| options.with_dialect(dialect).with_roll(Roll::At(20_000));
        let store = crate::list::open(table.clone(), with).await.expect("a store");
        let session = SessionId::new("s").expect("an id");
        let first = Append::new([Message::system("Be brief."), Message::user("Where\nto?"), Message::assistant("To Rome.")]);
        store.append(&session, &first).await.expect("an append");
        let listed = async || words(&store).await.pop().expect("a session").1;
        assert_eq!(listed().await.as_deref(), Some("Where to?"), "{dialect:?}");
        say(&store, &session, "And then?").await;
        assert_eq!(listed().await.as_deref(), Some("Where to?"));
        let history = store.load(&session, &Load::all()).await.expect("a load");
        let edit = Append::rewind(&history, 0, [Message::user("To Oslo?")]).expect("in view");
        store.append(&session, &edit).await.expect("an append");
        assert_eq!(listed().await.as_deref(), Some("To Oslo?"));
        let history = store.load(&session, &Load::all()).await.expect("a load");
        let back = Append::rewind(&history, history.records[0].seq, [Message::assistant("Hello")]).expect("in view");
        store.append(&session, &back).await.expect("an append");
        assert_eq!(listed().await, None, "it begins with an answer, and has no question");
        store.clear(&session).await.expect("a clear");
        assert_eq!(words(&store).await, [], "nothing is in view, so it is not listed");
        say(&store, &session, "Again").await;
        assert_eq!(listed().await.as_deref(), Some("Again"));
        // The older part moves to a segment.
        for n in 0..20 {
            say(&store, &session, format!("Later {n} {}", noise(2_000, n))).await;
        }
        assert_eq!(listed().await, None, "the first words are no longer in the item");
        // What is left of it after a rewind into the segment is again what is first.
        let history = store.load(&session, &Load::all()).await.expect("a load");
        let second = history.records.iter().filter(|record| !record.entries.is_empty()).nth(1).expect("a second record");
        let back = Append::rewind(&history, second.seq, None::<Message>).expect("in view");
        store.append(&session, &back).await.expect("an append");
        let first = store.load(&session, &Load::all()).await.expect("a load");
        assert_eq!(first.messages().map(Message::text).collect::<Vec<_>>(), ["Again"]);
        assert_eq!(listed().await.as_deref(), Some("Again"));
        store.delete(&session).await.expect("a delete");
        say(&store, &session, noise(900_000, 1)).await;
        assert_eq!(listed().await, None, "a large message is not in the item");
    }
}

#[tokio::test]
async fn first_words_of_an_expired_list_are_not_listed() {
    let table = crate::list::new_table("id", None).await;
    let keeping = |options: Options| options.with_retention(Duration::from_secs(30 * 86_400)).with_ttl_attribute("gone_at");
    let store = crate::list::open(table.clone(), keeping).await.expect("a store");
    let session = SessionId::new("s").expect("an id");
    say(&store, &session, "Secret").await;
    assert_eq!(words(&store).await, [("s".to_owned(), Some("Secret".to_owned()))]);
    let expire = crate::dynamodb::client().update_item().table_name(&table).key("id", AttributeValue::S("s".to_owned()));
    let expire = expire.update_expression("SET gone_at = :past");
    let expire = expire.expression_attribute_values(":past", AttributeValue::N("1000".to_owned()));
    expire.send().await.expect("an update");
    assert!(store.load(&session, &Load::all()).await.expect("a load").is_empty());
    assert_eq!(words(&store).await, [("s".to_owned(), None)]);
}
