//! Costs of the `list` layout on DynamoDB Local. docs/benchmarks.md has LangChain.js's.
#![cfg(feature = "dynamodb")]

use crate::dynamodb::{options, turn};
use crate::list::new_table;
use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, Layout, Options, Roll};
use chat_memory::store::{Append, ChatStore, Cost, Load};
use chat_memory::{Message, SessionId};
use chat_memory_testkit::{Fault, FaultProxy, Request, conversations_path, dynamodb_endpoint, sample_path, shared_conversations};

/// Options as the npm package gives them for a table of LangChain.js's.
fn as_node(table: &str, endpoint: &str) -> Options {
    let mut options = options(table, endpoint).with_dialect(Dialect::Js);
    options.partition_key = Some("id".to_owned());
    options
}

async fn open(table: &str, roll: Roll) -> DynamoDbStore {
    DynamoDbStore::open(as_node(table, &dynamodb_endpoint()).with_roll(roll)).await.expect("good options")
}

async fn append(store: &DynamoDbStore, session: &SessionId, messages: impl IntoIterator<Item = Message>) -> Cost {
    store.append(session, &Append::new(messages)).await.expect("an append").cost
}

/// A session whose id is a UUID.
fn session(n: u128) -> SessionId {
    SessionId::new(uuid::Uuid::from_u128(n).to_string()).expect("an id")
}

#[tokio::test]
async fn first_append_of_a_process_takes_two_requests() {
    let table = new_table("id", None).await;
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
    for (session, what) in [(session(1), "a new session"), (session(1), "an existing one")] {
        proxy.forget();
        let fresh = DynamoDbStore::open(as_node(&table, &proxy.url())).await.expect("good options");
        let cost = append(&fresh, &session, turn(1, 300)).await;
        assert_eq!((cost.requests, proxy.counts().values().sum::<u64>()), (2, 2), "{what}: {:?}", proxy.counts());
        // What the options suggest is confirmed by the table, and nothing is remembered twice.
        assert_eq!(fresh.layout().await.expect("a layout"), Layout::List, "{what}");
        proxy.forget();
        append(&fresh, &session, turn(2, 300)).await;
        assert_eq!(proxy.counts().values().sum::<u64>(), 1, "{what}: {:?}", proxy.counts());
    }
    // The same options for a table with a sort key: the first request is refused, and the table is asked.
    let table = new_table("id", Some("sk")).await;
    let store = DynamoDbStore::open(as_node(&table, &proxy.url())).await.expect("good options");
    let pair = SessionId::new("a/b").expect("an id");
    append(&store, &pair, turn(1, 300)).await;
    assert_eq!(store.load(&pair, &Load::all()).await.expect("a load").into_messages(), turn(1, 300));
}

/// What these turns cost in dollars a million, at $0.625 a million write units and $0.125 a million read units.
fn dollars(cost: Cost, turns: u32) -> f64 {
    (cost.write_units * 0.625 + cost.read_units * 0.125) / f64::from(turns)
}

#[tokio::test]
async fn turns_are_cheaper_than_they_were() {
    let table = new_table("id", None).await;
    for (roll, ten, hundred, dearest) in [(Roll::At(64_000), 2.9, 20.9, 80.0), (Roll::At(8_000), 2.9, 4.9, 12.0)] {
        let store = open(&table, roll).await;
        let session = SessionId::new(uuid::Uuid::new_v4().to_string()).expect("an id");
        let (mut of_all, mut most) = (Cost::default(), 0.0_f64);
        for n in 1..=100 {
            let cost = append(&store, &session, turn(n, 300)).await;
            most = most.max(cost.write_units);
            of_all += cost;
            of_all += store.load(&session, &Load::last(20)).await.expect("a load").cost;
            if n == 10 {
                println!("{roll}: ten turns, each with a load of 20: {of_all}, ${:.2}", dollars(of_all, 10));
                assert!(dollars(of_all, 10) <= ten, "{of_all}");
            }
        }
        println!("{roll}: a hundred turns: {of_all}, ${:.2}; the dearest {most}", dollars(of_all, 100));
        assert!(dollars(of_all, 100) <= hundred && most <= dearest, "{of_all}");
    }
}

#[tokio::test]
async fn page_from_the_middle_costs_the_same_at_any_length() {
    const TURNS: usize = 1_000;
    let table = new_table("id", None).await;
    for (roll, units, id) in [(Roll::At(64_000), 16.0, 3), (Roll::At(8_000), 8.0, 4)] {
        let (store, session) = (open(&table, roll).await, session(id));
        for n in 0..TURNS {
            append(&store, &session, turn(n, 300)).await;
        }
        let mut page = store.load(&session, &Load::last(20)).await.expect("a load");
        let mut shown = vec![page.messages().cloned().collect::<Vec<_>>()];
        let (mut requests, mut read_units) = (0, 0.0_f64);
        while let Some(older) = page.older() {
            page = store.load(&session, &Load::last(20).before(older)).await.expect("a page");
            shown.push(page.messages().cloned().collect());
            requests = requests.max(page.cost.requests);
            read_units = read_units.max(page.cost.read_units);
        }
        println!("{roll}: {TURNS} turns in {} pages: {requests} requests, {read_units} read units at most", shown.len());
        assert!(requests <= 3 && read_units <= units, "{roll}: {requests}, {read_units}");
        let all: Vec<Message> = shown.into_iter().rev().flatten().collect();
        assert_eq!(all, (0..TURNS).flat_map(|n| turn(n, 300)).collect::<Vec<_>>(), "{roll}");
    }
}

#[tokio::test]
async fn real_conversations_cost_less_than_langchain_js() {
    let table = new_table("id", None).await;
    for (roll, most) in [(Roll::At(64_000), 8_524.0), (Roll::At(8_000), 7_000.0)] {
        let store = open(&table, roll).await;
        let mut real = Cost::default();
        for conversation in shared_conversations() {
            let session = SessionId::new(uuid::Uuid::new_v4().to_string()).expect("an id");
            for turn in conversation.turns() {
                real += append(&store, &session, turn.iter().cloned()).await;
            }
            let read = store.load(&session, &Load::all()).await.expect("a load").into_messages();
            assert_eq!(read, conversation.messages);
        }
        let is_real = conversations_path() != sample_path();
        println!("{roll}: conversations (real: {is_real}): {real}");
        assert!(!is_real || real.write_units <= most, "{roll}: {real}");
    }
}
