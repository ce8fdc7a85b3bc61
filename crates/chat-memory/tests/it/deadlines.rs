//! Every operation ends by its deadline, whichever of its requests are throttled until then, with an error that reports it and
//! nothing half-written.
#![cfg(feature = "dynamodb")]

use std::time::Duration;

use crate::dynamodb::{noise, options, session};
use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, MIN_ROLL_BYTES, Options, Roll};
use chat_memory::store::{Append, ChatStore, Load, SessionQuery, SessionUpdate};
use chat_memory::{Error, ErrorKind, Message, SessionId};
use chat_memory_testkit::{Answer, Fault, FaultProxy, Request, dynamodb_endpoint};

/// Long enough for an unhindered request on a busy machine.
const DEADLINE: Duration = Duration::from_millis(900);
/// With such a deadline for each of a handful of steps, anything that takes longer than this never ends.
const FOR_GOOD: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Append,
    AppendInParts,
    Load,
    LoadTheLast,
    Sessions,
    ListAllSessions,
    Session,
    Update,
    Clear,
    Delete,
    Sweep,
    SweepTable,
}

impl Operation {
    const ALL: [Self; 12] = [
        Self::Append,
        Self::AppendInParts,
        Self::Load,
        Self::LoadTheLast,
        Self::Sessions,
        Self::ListAllSessions,
        Self::Session,
        Self::Update,
        Self::Clear,
        Self::Delete,
        Self::Sweep,
        Self::SweepTable,
    ];

    fn clears(self) -> bool {
        matches!(self, Self::Clear | Self::Delete)
    }

    fn erases(self) -> bool {
        self.clears() || matches!(self, Self::Sweep | Self::SweepTable)
    }

    async fn carry_out(self, store: &DynamoDbStore, session: &SessionId) -> Result<(), Error> {
        match self {
            Self::Append => store.append(session, &Append::new([Message::user(ours())])).await.map(drop),
            Self::AppendInParts => store.append(session, &Append::new([Message::user(long())])).await.map(drop),
            Self::Load => store.load(session, &Load::all()).await.map(drop),
            Self::LoadTheLast => store.load(session, &Load::last(2)).await.map(drop),
            Self::Sessions => store.sessions(&SessionQuery::unowned()).await.map(drop),
            Self::ListAllSessions => store.list_all_sessions(None).await.map(drop),
            Self::Session => store.session(session).await.map(drop),
            Self::Update => {
                let update = SessionUpdate::default().with_title("a title".to_owned());
                store.update_session(session, &update).await.map(drop)
            }
            Self::Clear => store.clear(session).await.map(drop),
            Self::Delete => store.delete(session).await.map(drop),
            Self::Sweep => store.sweep(session).await.map(drop),
            Self::SweepTable => store.sweep_table(&mut |_| {}).await.map(drop),
        }
    }
}

/// The text to append: together with what is stored, more than the smallest item that rolls.
fn ours() -> String {
    noise(3_000, 5)
}

/// More than fits an item.
fn long() -> String {
    noise(450_000, 5)
}

async fn messages(store: &DynamoDbStore, session: &SessionId) -> Vec<String> {
    store.load(session, &Load::all()).await.expect("a load").messages().map(Message::text).collect()
}

/// Throttles all requests of this kind, or of every kind for `None`.
fn throttled(kind: Option<String>) -> FaultProxy {
    FaultProxy::start(&dynamodb_endpoint(), move |request: &Request| match &kind {
        Some(kind) if *kind != request.operation => Fault::Pass,
        _ => Fault::Answer(Answer::throttling()),
    })
}

/// A session with records to read and to hide; if the operation erases, also a record in parts.
async fn filled(store: &DynamoDbStore, operation: Operation) -> SessionId {
    let session = session("throttled");
    let append = async |append: Append| store.append(&session, &append).await.expect("an append");
    append(Append::new([Message::user("erased")])).await;
    if operation.erases() {
        append(Append::new([Message::user(noise(400_000, 3))])).await;
    }
    store.clear(&session).await.expect("a clear");
    append(Append::new([Message::user(noise(3_000, 1))])).await;
    let seen = store.load(&session, &Load::all()).await.expect("a load");
    append(Append::new([Message::user("taken back")])).await;
    let whole = store.load(&session, &Load::all()).await.expect("a load");
    append(Append::rewind(&whole, seen.position.next(), [Message::user("instead")]).expect("a rewind")).await;
    session
}

/// Runs one operation while requests of this kind are throttled, and checks the result.
async fn tried(options: Options, operation: Operation, kind: Option<String>) {
    let direct = DynamoDbStore::open(options.clone()).await.expect("good options");
    let session = filled(&direct, operation).await;
    let before = messages(&direct, &session).await;
    let proxy = throttled(kind.clone());
    let mut options = options.with_request_timeout(DEADLINE).with_deadline(DEADLINE);
    options.endpoint = Some(proxy.url());
    let store = DynamoDbStore::open(options).await.expect("good options");
    let case = format!("{operation:?}, {} throttled", kind.as_deref().unwrap_or("everything"));
    let outcome = tokio::time::timeout(FOR_GOOD, operation.carry_out(&store, &session)).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("{case}: it never ends"));
    match &outcome {
        Ok(()) => assert!(kind.is_some(), "{case}: it succeeded"),
        Err(error) => assert_eq!((error.kind(), error.is_in_doubt()), (ErrorKind::Throttled, false), "{case}: {error}"),
    }
    // Whatever it had written before it gave up must not harm existing data or the next attempt.
    if outcome.is_err() && !operation.clears() {
        assert_eq!(messages(&direct, &session).await, before, "{case}");
    }
    if outcome.is_err() {
        operation.carry_out(&direct, &session).await.unwrap_or_else(|e| panic!("{case}, and then unthrottled: {e}"));
    }
    let after = messages(&direct, &session).await;
    match operation {
        Operation::Append => assert_eq!(after, [&before[..], &[ours()]].concat(), "{case}"),
        Operation::AppendInParts => assert_eq!(after, [&before[..], &[long()]].concat(), "{case}"),
        _ if operation.clears() => assert!(after.is_empty(), "{case}: {after:?}"),
        _ => assert_eq!(after, before, "{case}"),
    }
}

/// Tries every kind of request that the operations send to a table.
async fn each_ends(table: impl AsyncFn() -> Options) {
    let options = table().await;
    let mut cases = Vec::new();
    for operation in Operation::ALL {
        // Finds the requests that it sends when unhindered, from a store without cached state.
        let store = DynamoDbStore::open(options.clone()).await.expect("good options");
        let session = filled(&store, operation).await;
        let fresh = DynamoDbStore::open(options.clone()).await.expect("good options");
        match operation.carry_out(&fresh, &session).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported => continue,
            Err(error) => panic!("{operation:?}: {error}"),
        }
        let kinds = fresh.operations();
        assert!(!kinds.is_empty(), "{operation:?} sends no requests");
        for kind in std::iter::once(None).chain(kinds.into_iter().map(Some)) {
            // A sweep of a table goes through every session in it.
            let options = if operation == Operation::SweepTable { table().await } else { options.clone() };
            cases.push((options, operation, kind));
        }
    }
    println!("{} cases", cases.len());
    crate::dynamodb::each(cases, 12, |(options, operation, kind)| tried(options, operation, kind)).await;
}

/// At least an hour, so that nothing expires in the meantime; with a retention, the store also requests the table's TTL settings.
fn keeping(table: &str) -> Options {
    options(table, &dynamodb_endpoint()).with_retention(Duration::from_secs(24 * 60 * 60))
}

#[tokio::test]
async fn operations_end_by_their_deadline_on_a_turns_table() {
    each_ends(async || keeping(&crate::dynamodb::new_table().await)).await;
}

#[tokio::test]
async fn operations_end_by_their_deadline_on_a_list_table() {
    each_ends(async || keeping(&crate::list::new_table("id", None).await)).await;
}

#[tokio::test]
async fn operations_end_by_their_deadline_on_a_rolling_list() {
    each_ends(async || {
        let table = crate::list::new_table("SessionId", None).await;
        keeping(&table).with_dialect(Dialect::Python).with_roll(Roll::At(MIN_ROLL_BYTES))
    })
    .await;
}

/// How many clients of one process append to one session, and how often.
const CLIENTS: usize = 64;
const EACH: usize = 4;

/// Appends with 64 clients of one process to one session: none is refused, each costs as much as alone, and clients that are
/// cancelled while waiting do not delay the others.
async fn clients_queue_up(table: &str) {
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |_: &Request| Fault::Pass);
    let store = DynamoDbStore::open(options(table, &proxy.url())).await.expect("good options");
    let session = session("crowd");
    store.append(&session, &Append::new([Message::user("first")])).await.expect("the session's start");
    proxy.forget();
    let clients = (0..CLIENTS).map(|client| {
        let (store, session) = (store.clone(), session.clone());
        tokio::spawn(async move {
            for n in 0..EACH {
                let append = Append::new([Message::user(format!("{client}/{n}"))]);
                if client % 8 == 7 {
                    // It is cancelled before its turn, or just then.
                    let _ = tokio::time::timeout(Duration::from_millis(n as u64), store.append(&session, &append)).await;
                } else {
                    store.append(&session, &append).await.unwrap_or_else(|e| panic!("client {client}: {e}"));
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("no append is refused");
    }
    let sent: u64 = proxy.counts().values().sum();
    let texts = messages(&store, &session).await;
    for client in (0..CLIENTS).filter(|client| client % 8 != 7) {
        let own: Vec<&String> = texts.iter().filter(|text| text.starts_with(&format!("{client}/"))).collect();
        assert_eq!(own, (0..EACH).map(|n| format!("{client}/{n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
    let appends = (CLIENTS * EACH) as f64;
    assert!(sent as f64 <= 1.1 * appends, "{sent} requests for {appends} appends");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_to_one_session_queue_up() {
    clients_queue_up(crate::dynamodb::table().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_to_one_list_queue_up() {
    clients_queue_up(&crate::list::new_table("id", None).await).await;
}

/// An append that does not get its turn in time has written nothing, and reports the reason.
#[tokio::test]
async fn append_that_never_got_its_turn_writes_nothing() {
    let table = crate::dynamodb::new_table().await;
    let direct = DynamoDbStore::open(options(&table, &dynamodb_endpoint())).await.expect("good options");
    let session = session("queue");
    direct.append(&session, &Append::new([Message::user("first")])).await.expect("the session's start");
    // The first append's request hangs until its deadline; the second came later and has its own deadline.
    let proxy = FaultProxy::start(&dynamodb_endpoint(), |request: &Request| match request.operation.as_str() {
        "PutItem" => Fault::Answer(Answer::throttling()),
        _ => Fault::Pass,
    });
    let options = options(&table, &proxy.url()).with_request_timeout(DEADLINE).with_deadline(DEADLINE);
    let store = DynamoDbStore::open(options).await.expect("good options");
    let (one, two) = (Append::new([Message::user("one")]), Append::new([Message::user("two")]));
    let (one, two) = tokio::join!(store.append(&session, &one), store.append(&session, &two));
    assert_eq!(one.expect_err("throttled").kind(), ErrorKind::Throttled);
    let error = two.expect_err("its turn came too late, or it was throttled itself");
    assert!(matches!(error.kind(), ErrorKind::Contended | ErrorKind::Throttled), "{error}");
    assert!(!error.is_in_doubt() && error.is_retryable(), "{error}");
    assert_eq!(messages(&direct, &session).await, ["first"]);
}
