//! Costs of operations on DynamoDB Local: as reported by the store and as counted by a proxy.
#![cfg(feature = "dynamodb")]

use std::ops::Range;
use std::sync::Arc;

use crate::dynamodb::{direct, noise, open, session, turn};
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::store::{Append, ChatStore, Cost, Load};
use chat_memory::{ChatStoreExt, Message, Role, SessionId};
use chat_memory_testkit::{
    Conversation, Fault, FaultProxy, Request, conversations_path, dynamodb_endpoint, sample_path, shared_conversations,
};

/// A proxy that only counts.
fn counting() -> FaultProxy {
    FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass)
}

/// Counts the puts through the proxy whose sort key has this prefix.
fn puts(proxy: &FaultProxy, prefix: &str) -> usize {
    let under = |request: &Request| {
        let sort_key = request.body["Item"]["sk"]["S"].as_str();
        request.operation == "PutItem" && sort_key.is_some_and(|sort_key| sort_key.starts_with(prefix))
    };
    proxy.requests().iter().filter(|recorded| under(&recorded.request)).count()
}

fn total(proxy: &FaultProxy) -> u64 {
    proxy.counts().values().sum()
}

async fn append(store: &DynamoDbStore, session: &SessionId, messages: impl IntoIterator<Item = Message>) -> Cost {
    store.append(session, &Append::new(messages)).await.expect("an append").cost
}

async fn load(store: &DynamoDbStore, session: &SessionId, load: &Load) -> (Vec<Message>, Cost) {
    let history = store.load(session, load).await.expect("a load");
    let cost = history.cost;
    (history.into_messages(), cost)
}

#[tokio::test]
async fn turn_and_window_cost_the_same_at_any_length() {
    const TURNS: usize = 1_000;
    let (proxy, session) = (counting(), session("costs"));
    let store = open(&proxy.url()).await.expect("good options");

    // The first turn: a read of the tail, then the record and its directory entry in one transaction.
    let first = append(&store, &session, turn(1, 300)).await;
    println!("turn 1: {first}");
    assert_eq!((first.requests, first.write_units), (2, 4.0));
    // DynamoDB Local charges nothing for a read that finds nothing.
    assert!(first.read_units <= 1.0, "{first}");
    assert_eq!((proxy.count("Query"), proxy.count("TransactWriteItems"), total(&proxy)), (1, 1, 2));

    for n in 2..=TURNS {
        proxy.forget();
        let cost = append(&store, &session, turn(n, 300)).await;
        assert_eq!((cost.requests, cost.read_units, cost.write_units), (1, 0.0, 1.0), "turn {n}");
        assert_eq!((puts(&proxy, "t#"), total(&proxy)), (1, 1), "turn {n}");
        if n == 100 || n == TURNS {
            println!("turn {n}: {cost}");
        }
    }

    // Another process's handle, which has no cached state of the session.
    let reader = open(&proxy.url()).await.expect("good options");
    proxy.forget();
    let (window, strong) = load(&reader, &session, &Load::last(20)).await;
    println!("the last 20 messages of {TURNS} turns: {strong}");
    assert_eq!((strong.requests, total(&proxy), strong.write_units), (1, 1, 0.0));
    assert!(strong.read_units <= 3.0, "{strong}");
    let newest: Vec<_> = (TURNS - 9..=TURNS).flat_map(|n| turn(n, 300)).collect();
    assert!(window.ends_with(&newest), "it returns whole records, and at least what was asked for");

    let (_, eventual) = load(&reader, &session, &Load::last(20).eventually_consistent()).await;
    println!("… eventually consistent: {eventual}");
    assert_eq!((eventual.requests, eventual.read_units), (1, strong.read_units / 2.0));

    // That handle's first append knows the tail from its load.
    proxy.forget();
    let warmed = append(&reader, &session, turn(TURNS + 1, 300)).await;
    assert_eq!((warmed.requests, warmed.write_units, total(&proxy)), (1, 1.0, 1));

    // A handle that has read nothing reads the tail first.
    let cold = append(&open(&proxy.url()).await.expect("good options"), &session, turn(TURNS + 2, 300)).await;
    println!("a cold append: {cold}");
    assert_eq!((cold.requests, cold.write_units), (2, 1.0));
    assert!(cold.read_units <= 1.0, "{cold}");

    let (all, whole) = load(&reader, &session, &Load::all()).await;
    println!("all {} messages: {whole}", all.len());
    assert_eq!(all, (1..=TURNS + 2).flat_map(|n| turn(n, 300)).collect::<Vec<_>>());
    // 4 KB per unit, rounded up once per page.
    assert!(whole.read_units <= (whole.bytes as f64 / 4096.0).ceil() + whole.requests as f64, "{whole}");
    let (_, half) = load(&reader, &session, &Load::all().eventually_consistent()).await;
    assert_eq!((half.requests, half.read_units), (whole.requests, whole.read_units / 2.0));
}

#[tokio::test]
async fn new_entries_cost_one_append_once_the_ids_are_known() {
    let (proxy, session) = (counting(), session("new entries"));
    let store: Arc<dyn ChatStore> = Arc::new(open(&proxy.url()).await.expect("good options"));
    let lines = |ids: Range<usize>| Append::new(ids.map(|id| Message::user(format!("{id} {:300}", "")).with_id(id.to_string())));
    for from in (0..200).step_by(20) {
        store.append(&session, &lines(from..from + 20)).await.expect("an append");
    }
    for (batch, new, requests, writes) in [
        // The session is read once.
        (197..203, 3, 2, 1),
        // Then a batch costs its append, or if nothing of it is new, a read of the last record.
        (200..206, 3, 1, 1),
        (206..209, 3, 1, 1),
        (190..209, 0, 1, 0),
        (0..210, 1, 1, 1),
    ] {
        proxy.forget();
        let what = format!("{batch:?}");
        let appended = store.append_new(&session, lines(batch)).await.expect("an append");
        println!("{what}: {}", appended.cost);
        assert_eq!(appended.new.iter().filter(|new| **new).count(), new, "{what}");
        assert_eq!((appended.cost.requests, total(&proxy), proxy.count("PutItem")), (requests, requests, writes), "{what}");
        assert!(requests > 1 || appended.cost.read_units <= 1.0, "{what}: {}", appended.cost);
    }
    // Another process has written in between: the append conflicts, for which the tail is read, and then what came since.
    let other = direct().await;
    other.append_new(&session, lines(205..212)).await.expect("an append");
    proxy.forget();
    let appended = store.append_new(&session, lines(209..214)).await.expect("an append");
    assert_eq!(appended.new, [false, false, false, true, true]);
    assert_eq!((proxy.count("PutItem"), proxy.count("Query")), (2, 2));
}

/// Splits into turns, with each system prompt as an append of its own: the most expensive way, since no append is below one unit.
fn turns_and_prompts(conversation: &Conversation) -> Vec<&[Message]> {
    let split = |turn| -> Vec<&[Message]> {
        let (prompts, rest) = split_prompts(turn);
        [prompts, rest].into_iter().filter(|part| !part.is_empty()).collect()
    };
    conversation.turns().flat_map(split).collect()
}

fn split_prompts(turn: &[Message]) -> (&[Message], &[Message]) {
    turn.split_at(turn.iter().take_while(|message| message.role == Role::System).count())
}

async fn import(conversations: &[Conversation], split: fn(&Conversation) -> Vec<&[Message]>, expected_appends: usize) {
    let is_real = conversations_path() != sample_path();
    let proxy = counting();
    let store = open(&proxy.url()).await.expect("good options");
    let (mut cost, mut later, mut appends) = (Cost::default(), 0.0, 0);
    let mut sessions = Vec::new();
    for conversation in conversations {
        let session = session(&conversation.id);
        for (place, turn) in split(conversation).into_iter().enumerate() {
            let of_turn = append(&store, &session, turn.iter().cloned()).await;
            // DynamoDB Local charges more than AWS's two units per KB for the larger items of a transaction, such as the first
            // record.
            later += if place == 0 { 0.0 } else { of_turn.write_units };
            cost += of_turn;
            appends += 1;
        }
        sessions.push(session);
    }
    let (records, starts, parts) = (puts(&proxy, "t#"), proxy.count("TransactWriteItems") as usize, puts(&proxy, "p#"));
    println!(
        "{} sessions, {appends} appends: {later} write units after the first of each, {starts} starts, {parts} parts; in all {cost}",
        sessions.len()
    );
    assert_eq!((records + starts, starts), (appends, conversations.len()));
    assert_eq!(cost.requests, total(&proxy));
    assert_eq!(cost.requests as usize, appends + parts + conversations.len(), "one read of each session's log");
    if is_real {
        assert_eq!((conversations.len(), appends), (100, expected_appends));
        assert!(later <= 1_150.0, "{later}");
    }

    let reader = direct().await;
    for (conversation, session) in conversations.iter().zip(&sessions) {
        assert_eq!(load(&reader, session, &Load::all()).await.0, conversation.messages, "{}", conversation.id);
    }
}

#[tokio::test]
async fn importing_costs_little_more_than_one_unit_per_turn() {
    let conversations = shared_conversations();
    import(&conversations, |conversation| conversation.turns().collect(), 757).await;
    import(&conversations, turns_and_prompts, 857).await;
}

#[tokio::test]
async fn append_cost_follows_its_size() {
    let (store, session) = (direct().await, session("sizes"));
    append(&store, &session, [Message::user("first")]).await;
    // The size of an item apart from its message's JSON.
    let small = Message::user("second");
    let json = |message: &Message| message.to_value().to_string().len();
    let others = append(&store, &session, [small.clone()]).await.bytes as usize - json(&small);

    for (seed, bytes) in [1, 700, 1_100, 5_000, 40_000, 123_456, 390_000].into_iter().enumerate() {
        let words = "a quick brown fox jumps over the lazy dog; ".repeat(bytes / 43 + 1)[..bytes].to_owned();
        for (kind, text) in [("noise", noise(bytes, seed as u64)), ("words", words)] {
            let message = Message::user(text);
            // Numbers take a byte more or less as they grow.
            let uncompressed = (others + json(&message) + 8).div_ceil(1024) as f64;
            let cost = append(&store, &session, [message]).await;
            println!("{bytes} B of {kind}: {cost}; {uncompressed} units uncompressed");
            assert_eq!(cost.requests, 1);
            assert_eq!(cost.write_units, cost.bytes.div_ceil(1024) as f64, "{bytes} B of {kind}: {cost}");
            assert!(cost.write_units <= uncompressed, "{bytes} B of {kind}: {cost}");
            if kind == "words" && uncompressed > 2.0 {
                assert!(cost.write_units < uncompressed, "{bytes} B of words compress: {cost}");
            }
        }
    }
}

/// The most units that a page of a consistent read takes: 1 MB, plus the rest of the item at its end (150 KB here).
const A_PAGE: f64 = 256.0 + 37.0;

#[tokio::test]
async fn hidden_records_cost_at_most_one_page() {
    const TURNS: usize = 30;
    let (store, session) = (direct().await, session("hidden"));
    for n in 0..TURNS {
        append(&store, &session, [Message::user(noise(150_000, n as u64))]).await;
    }
    let history = store.load(&session, &Load::all()).await.expect("a load");
    let whole = history.cost;
    println!("{TURNS} records: {whole}");
    assert!(whole.requests > 3, "several pages: {whole}");

    // Removes all but the first two.
    store.append(&session, &Append::rewind(&history, 2, [Message::user("anew")]).expect("in view")).await.expect("a rewind");
    for (what, reach) in [("all", Load::all()), ("the last 2", Load::last(2))] {
        let (messages, cost) = load(&direct().await, &session, &reach).await;
        println!("{what} after a rewind: {cost}");
        assert_eq!(messages.last(), Some(&Message::user("anew")));
        assert!(cost.read_units <= A_PAGE + 2.0 * 37.0, "{what} after a rewind: {cost}");
    }

    // ClearOutcome, but not yet swept.
    store.append(&session, &Append::clear()).await.expect("a clear");
    for (what, reach) in [("all", Load::all()), ("the last 2", Load::last(2))] {
        let (messages, cost) = load(&direct().await, &session, &reach).await;
        println!("{what} after a clear: {cost}");
        assert_eq!((messages.len(), cost.requests), (0, 1));
        assert!(cost.read_units <= A_PAGE, "{what} after a clear: {cost}");
    }

    // Swept: only stubs remain.
    let swept = store.sweep(&session).await.expect("a sweep");
    println!("the sweep of {} records: {}", swept.records, swept.cost);
    assert_eq!(swept.records as usize, TURNS + 1);
    let (_, cost) = load(&direct().await, &session, &Load::all()).await;
    println!("all after the sweep: {cost}");
    assert!(cost.read_units <= 3.0, "{cost}");
}
