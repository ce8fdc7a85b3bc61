//! Appends whose requests and responses are lost, late or refused: each is stored once or not at all, and reports which.
#![cfg(feature = "dynamodb")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dynamodb::{Raw, client, direct, n, noise, options, session, table};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use chat_memory::store::dynamodb::{DynamoDbStore, Layout};
use chat_memory::store::{Append, ChatStore, Load, Ticket};
use chat_memory::{Error, ErrorKind, Message, SessionId};
use chat_memory_testkit::{Answer, Fault, FaultProxy, Gate, Request, dynamodb_endpoint, new_table, table_name};

/// Whether this writes a record: alone, or in a transaction as the first of a session.
fn is_record(request: &Request) -> bool {
    let item = match request.operation.as_str() {
        "PutItem" => &request.body["Item"],
        "TransactWriteItems" => &request.body["TransactItems"][0]["Put"]["Item"],
        _ => return false,
    };
    item["sk"]["S"].as_str().is_some_and(|key| key.starts_with("t#"))
}

/// A proxy that applies these faults to the puts of records, one after the other, and the last of them to all later ones.
fn proxy(faults: impl Into<Vec<Fault>>) -> FaultProxy {
    let faults = faults.into();
    let count = std::sync::atomic::AtomicUsize::new(0);
    FaultProxy::start(&dynamodb_endpoint(), move |request: &Request| {
        if !is_record(request) {
            return Fault::Pass;
        }
        let nth = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        faults[nth.min(faults.len() - 1)].clone()
    })
}

fn records_put(proxy: &FaultProxy) -> usize {
    proxy.requests().iter().filter(|recorded| is_record(&recorded.request)).count()
}

/// A store behind a proxy, with short timeouts.
async fn behind(proxy: &FaultProxy) -> DynamoDbStore {
    let options = options(table().await, &proxy.url());
    let options = options.with_request_timeout(Duration::from_millis(400)).with_deadline(Duration::from_millis(1_500));
    DynamoDbStore::open(options).await.expect("good options")
}

fn ours() -> Append {
    Append::new([Message::user("our question"), Message::assistant("our answer")])
}

async fn texts(session: &SessionId) -> Vec<String> {
    let history = direct().await.load(session, &Load::all()).await.expect("a load");
    history.messages().map(Message::text).collect()
}

const OURS: [&str; 2] = ["our question", "our answer"];

/// Returns the ticket of an append in doubt, after conversion to text and back.
fn ticket(error: &Error) -> Ticket {
    assert!(error.is_in_doubt() && !error.is_retryable(), "{error:?}");
    let text = error.ticket().expect("an append in doubt has a ticket").to_string();
    assert!(error.to_string().contains(&text), "{error}");
    text.parse().expect("our own text")
}

#[tokio::test]
async fn append_is_stored_once_when_its_first_answer_is_lost() {
    for fault in [Fault::DropAnswer, Fault::DropRequest, Fault::Duplicate, Fault::Repeat] {
        let (proxy, session) = (proxy([fault.clone(), Fault::Pass]), session("lost-once"));
        let appended = behind(&proxy).await.append(&session, &ours()).await.expect("an append");
        assert_eq!(appended.seq, 0);
        assert_eq!(texts(&session).await, OURS, "{fault:?}");
        let more = usize::from(matches!(fault, Fault::DropAnswer | Fault::DropRequest));
        assert_eq!(records_put(&proxy), 1 + more, "{fault:?}");
        // A lost request costs one more; a new session's first append reads the log first.
        assert_eq!(appended.cost.requests as usize, 2 + more, "{fault:?}");
    }
}

#[tokio::test]
async fn unanswered_append_is_found_by_its_ticket() {
    let (proxy, session) = (proxy([Fault::DropAnswer]), session("answers-lost"));
    let error = behind(&proxy).await.append(&session, &ours()).await.expect_err("no answer came");
    let ticket = ticket(&error);
    println!("after {} tries: {error}", records_put(&proxy));
    assert_eq!(texts(&session).await, OURS);
    // From another process, and more than once.
    for _ in 0..2 {
        let found = direct().await.append(&session, &ours().with_ticket(ticket)).await.expect("it is there");
        assert!(found.repeated && found.seq == 0);
    }
    assert_eq!(texts(&session).await, OURS);
}

#[tokio::test]
async fn lost_append_is_stored_once_by_its_ticket() {
    let (proxy, session) = (proxy([Fault::DropRequest]), session("requests-lost"));
    let error = behind(&proxy).await.append(&session, &ours()).await.expect_err("no answer came");
    let ticket = ticket(&error);
    assert!(texts(&session).await.is_empty());
    for repeated in [false, true] {
        let landed = direct().await.append(&session, &ours().with_ticket(ticket)).await.expect("an append");
        assert_eq!((landed.repeated, landed.seq), (repeated, 0));
    }
    assert_eq!(texts(&session).await, OURS);
    assert!(direct().await.session(&session).await.expect("the directory").is_some(), "a session with messages is listed");
}

#[tokio::test]
async fn write_arriving_after_its_repeat_is_stored_once() {
    let (gate, session) = (Gate::new(), session("late"));
    let proxy = proxy([Fault::Hold(gate.clone()), Fault::Pass]);
    let appended = behind(&proxy).await.append(&session, &ours()).await.expect("an append");
    assert_eq!((appended.seq, records_put(&proxy)), (0, 2));
    gate.open();
    proxy.idle().await;
    let late = &proxy.requests().into_iter().find(|recorded| is_record(&recorded.request)).expect("the first put");
    assert_eq!(late.statuses, [400], "it arrived and was refused");
    assert_eq!(texts(&session).await, OURS);
}

#[tokio::test]
async fn write_arriving_after_its_ticket_was_used_is_stored_once() {
    // With and without other writers in the meantime; the ticket is used before or after the late writes arrive.
    for (others, late) in [(false, true), (true, true), (false, false), (true, false)] {
        let (gate, session) = (Gate::new(), session("late-ticket"));
        let proxy = proxy([Fault::Hold(gate.clone())]);
        let error = behind(&proxy).await.append(&session, &ours()).await.expect_err("no answer came");
        let ticket = ticket(&error);
        let mut expected = OURS.to_vec();
        if others {
            direct().await.append(&session, &Append::new([Message::user("another's")])).await.expect("an append");
            expected.insert(0, "another's");
        }
        if !late {
            gate.open();
            proxy.idle().await;
        }
        let landed = direct().await.append(&session, &ours().with_ticket(ticket)).await.expect("an append");
        assert_eq!((landed.repeated, landed.seq), (!late && !others, u64::from(others)));
        gate.open();
        proxy.idle().await;
        assert_eq!(texts(&session).await, expected, "others {others}, late {late}");
    }
}

#[tokio::test]
async fn transient_errors_are_retried() {
    let answers = [
        Answer::throttling(),
        Answer::provisioned_throughput_exceeded(),
        Answer::request_limit_exceeded(),
        Answer::transaction_conflict(),
        Answer::internal_server_error(),
        Answer::internal_server_error().although_done(),
        Answer::service_unavailable(),
        Answer::broken_gateway(),
    ];
    for answer in answers {
        let (proxy, session) = (proxy([Fault::Answer(answer.clone()), Fault::Pass]), session("passing"));
        behind(&proxy).await.append(&session, &ours()).await.unwrap_or_else(|e| panic!("{answer:?}: {e}"));
        assert_eq!(records_put(&proxy), 2, "{answer:?}");
        assert_eq!(texts(&session).await, OURS, "{answer:?}");
    }
}

#[tokio::test]
async fn endless_throttling_is_reported_and_writes_nothing() {
    let (proxy, session) = (proxy([Fault::Answer(Answer::throttling())]), session("throttled"));
    let error = behind(&proxy).await.append(&session, &ours()).await.expect_err("it never passes");
    assert!(error.is_throttled() && error.is_retryable() && error.ticket().is_none(), "{error:?}");
    assert!(error.to_string().contains("slow down"), "{error}");
    assert!(Raw::of(&session).await.items().await.is_empty());
    assert!(direct().await.session(&session).await.expect("the directory").is_none());
}

#[tokio::test]
async fn conflicting_or_unanswered_transaction_is_stored_once() {
    let session = session("transaction");
    let options = options(table().await, &dynamodb_endpoint()).with_retention(Duration::from_secs(86_400));
    let store = DynamoDbStore::open(options).await.expect("good options");
    store.append(&session, &Append::new([Message::user("it will be purged soon")])).await.expect("an append");
    // Expired 23 and a half hours ago, so it may be purged in half an hour: the next record is written in a transaction with a
    // check on it.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    Raw::of(&session).await.set(0, "expires_at", n(now - 84_600)).await;

    let canceled = |reasons: &[&str]| Fault::Answer(Answer::transaction_canceled(reasons));
    let faults = [canceled(&["None", "TransactionConflict"]), canceled(&["ThrottlingError", "None"]), Fault::DropAnswer];
    let proxy = FaultProxy::start(&dynamodb_endpoint(), move |request: &Request| match request.operation.as_str() {
        "TransactWriteItems" => faults.get(request.nth as usize).cloned().unwrap_or(Fault::Pass),
        _ => Fault::Pass,
    });
    let appended = behind(&proxy).await.append(&session, &ours()).await.expect("an append");
    assert_eq!((appended.seq, proxy.count("TransactWriteItems"), records_put(&proxy)), (1, 4, 4));
    println!("a transaction, refused twice and once unanswered: {}", appended.cost);
    assert_eq!(texts(&session).await, OURS);
}

#[tokio::test]
async fn refused_credentials_fail_at_once_and_write_nothing() {
    let answers = [
        (Answer::unrecognized_client(), "unknown access key"),
        (Answer::expired_token(), "have expired; get new ones"),
        (Answer::invalid_signature(), "the secret access key does not belong to the access key's id"),
        (Answer::skewed_clock(), "this machine's clock is wrong"),
        (Answer::access_denied("dynamodb:PutItem", "chats"), "lack the permission dynamodb:PutItem"),
    ];
    for (answer, part) in answers {
        let (refusal, session) = (Fault::Answer(answer.clone()), session("refused"));
        // From the first request on, and with credentials that become invalid in between.
        let at_once = FaultProxy::start(&dynamodb_endpoint(), move |_: &Request| refusal.clone());
        let later = proxy([Fault::Answer(answer)]);
        for proxy in [&at_once, &later] {
            let store = behind(proxy).await;
            let error = store.append(&session, &ours()).await.expect_err("a refusal");
            let said = error.to_string();
            assert!(error.is_access_denied() && error.ticket().is_none() && said.contains(part), "{error:?}");
            assert!(!said.contains("\"local\""), "{said}");
            assert!(Raw::of(&session).await.items().await.is_empty());
            assert!(direct().await.session(&session).await.expect("the directory").is_none(), "{part}");
        }
        assert_eq!(at_once.requests().len(), 1, "{part}: it is not tried again");
        assert_eq!(records_put(&later), 1, "{part}: it is not tried again");
        at_once.forget();
        let error = behind(&at_once).await.load(&session, &Load::all()).await.expect_err("a refusal");
        assert!(error.is_access_denied() && error.to_string().contains(part), "{error}");
        assert_eq!(at_once.requests().len(), 1, "{part}: it is not tried again");
    }
}

/// Returns the error of appending to a table and of loading from it, which must be the same.
async fn said(store: &DynamoDbStore, kind: ErrorKind) -> String {
    let session = session("nowhere");
    let append = store.append(&session, &ours()).await.expect_err("it cannot be written");
    let load = store.load(&session, &Load::all()).await.expect_err("it cannot be read");
    assert_eq!((append.kind(), load.kind()), (kind, kind), "{append:?}, {load:?}");
    assert_eq!(append.to_string(), load.to_string());
    println!("{append}");
    append.to_string()
}

#[tokio::test]
async fn missing_table_is_named_with_its_region() {
    let missing = options("chat-memory-missing", &dynamodb_endpoint()).with_region("eu-west-3");
    let said = said(&DynamoDbStore::open(missing).await.expect("good options"), ErrorKind::NotFound).await;
    for part in ["\"chat-memory-missing\"", "eu-west-3", "chat-memory table create", "the region"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[tokio::test]
async fn unreachable_service_is_named_by_its_endpoint() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let nowhere = options("chats", &format!("http://127.0.0.1:{port}"));
    let nowhere = nowhere.with_request_timeout(Duration::from_millis(200)).with_deadline(Duration::from_millis(400));
    let said = said(&DynamoDbStore::open(nowhere).await.expect("good options"), ErrorKind::Unavailable).await;
    assert!(said.contains(&port.to_string()) && said.contains("check the network"), "{said}");
}

#[tokio::test]
async fn table_with_other_keys_error_gives_the_remedy() {
    let (string, number) = (ScalarAttributeType::S, ScalarAttributeType::N);
    let cases = [
        (vec![("session_id", string.clone())], ["no sort key", "leave layout=turns out"]),
        (vec![("SessionId", string.clone())], ["the `list` layout of Flowise", "chat-memory table create"]),
        (vec![("pk", string.clone()), ("range", string.clone())], ["partition_key=pk", "sort_key=range"]),
        (vec![("session_id", string.clone()), ("sk", number.clone())], ["\"sk\" (N)", "strings"]),
        (vec![("session_id", number), ("sk", string)], ["\"session_id\" (N)", "strings"]),
    ];
    for (keys, parts) in cases {
        let table = table_name("chat-memory-keys");
        let mut request = client().create_table().table_name(&table).billing_mode(BillingMode::PayPerRequest);
        for ((name, kind), place) in keys.into_iter().zip([KeyType::Hash, KeyType::Range]) {
            let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
            let element = KeySchemaElement::builder().attribute_name(name).key_type(place).build();
            request = request.attribute_definitions(definition.expect("whole")).key_schema(element.expect("whole"));
        }
        request.send().await.expect("a table on DynamoDB Local");
        // Without this, the table's key schema suggests the other layout.
        let options = options(&table, &dynamodb_endpoint()).with_layout(Layout::Turns);
        let store = DynamoDbStore::open(options).await.expect("good options");
        let said = said(&store, ErrorKind::Invalid).await;
        for part in parts {
            assert!(said.contains(part) && said.contains(&table), "{part:?} in {said}");
        }
    }
}

/// An intermediary sent the write twice and returned the second response, and the written record then cannot be read back.
#[tokio::test]
async fn duplicated_large_write_is_never_reported_as_not_written() {
    for keys in [&["session_id", "sk"] as &[&str], &["id"]] {
        let (table, session) = (new_table("twice", keys).await, session("twice"));
        let written = AtomicBool::new(false);
        let proxy = FaultProxy::start(&dynamodb_endpoint(), move |request: &Request| {
            let writes = is_record(request) || request.operation == "UpdateItem";
            match written.fetch_or(writes, Ordering::Relaxed) {
                false if writes => Fault::Repeat,
                true => Fault::Answer(Answer::internal_server_error()),
                false => Fault::Pass,
            }
        });
        let options = |endpoint: &str| {
            let options = options(&table, endpoint).with_request_timeout(Duration::from_millis(2_900));
            options.with_deadline(Duration::from_secs(3))
        };
        let direct = DynamoDbStore::open(options(&dynamodb_endpoint())).await.expect("good options");
        direct.append(&session, &ours()).await.expect("an append");
        let store = DynamoDbStore::open(options(&proxy.url())).await.expect("good options");
        let large = Append::new([Message::user(noise(600_000, 1))]).with_key("large");
        let error = store.append(&session, &large).await.expect_err("it cannot be read back");
        assert!(error.is_in_doubt(), "{keys:?}: {error:?}");
        let history = direct.load(&session, &Load::all()).await.expect("a load");
        assert_eq!(history.records.len(), 2, "{keys:?}");
        assert_eq!(history.records[1].entries, large.entries(), "{keys:?}: its parts are there");
        assert!(direct.append(&session, &large.with_ticket(ticket(&error))).await.expect("it is there").repeated);
    }
}
