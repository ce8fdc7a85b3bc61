//! The `turns` layout: damages each attribute of each kind of item in every way.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::store::Load;
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::{Append, ChatStore, Message, SessionId};
use chat_memory_testkit::dynamodb_endpoint;
use serde_json::{Map, json};
use tokio::task::JoinSet;

use super::table::Whole;
use super::values::{Damage, damages, some};
use super::{Shown, Tally, examine, shown};
use crate::dynamodb::{Stored, n, new_table, noise, options, text};

/// Every attribute of the format, and an unknown one.
const ATTRIBUTES: [&str; 20] = [
    "v",
    "append_id",
    "created_at",
    "expires_at",
    "ttl",
    "rewind",
    "metadata",
    "messages",
    "codec",
    "parts",
    "parts_id",
    "data",
    "cleared_by",
    "began",
    "owner",
    "after_expiring",
    "title",
    "ended",
    "sent_at",
    "unknown",
];

/// A record in [`written`]: its number, the number that it rewinds to, and its content.
pub type Kept = (u64, Option<u64>, Option<Map<String, serde_json::Value>>, Vec<Message>);

pub struct Log {
    pub whole: Whole,
    pub session: SessionId,
    pub records: Vec<Kept>,
}

/// Returns what a load shows of a log when its rewinds are followed from its end.
pub fn view(records: &[Kept], hidden: Option<u64>) -> Vec<Shown> {
    let mut shown = Vec::new();
    let mut below = u64::MAX;
    for (seq, rewind, metadata, messages) in records.iter().rev() {
        if *seq < below {
            if hidden != Some(*seq) {
                shown.push((*seq, metadata.clone(), messages.clone()));
            }
            below = rewind.unwrap_or(*seq);
        }
    }
    shown.reverse();
    shown
}

pub async fn store(table: &str) -> DynamoDbStore {
    DynamoDbStore::open(options(table, &dynamodb_endpoint())).await.expect("good options")
}

/// A log with records of every kind, in a table of its own: whole ones, a compressed one, rewinds, one in parts if `large`, and
/// stubs below a clear if `cleared`.
pub async fn written(large: bool, cleared: bool) -> Log {
    let table = new_table().await;
    let store = store(&table).await;
    let session = SessionId::new("the session").expect("a good id");
    let said = |text: &str| vec![Message::user(text), Message::assistant(format!("{text}, indeed"))];
    let mut records: Vec<Kept> = Vec::new();
    let mut appends = Vec::new();
    if cleared {
        put(&store, &session, &mut records, Append::new(said("erased"))).await;
        put(&store, &session, &mut records, Append::new([Message::user(noise(500_000, 3))])).await;
        put(&store, &session, &mut records, Append::clear()).await;
        store.sweep(&session).await.expect("a sweep");
        records.drain(..2);
    }
    let trace = json!({"trace": 7}).as_object().cloned().expect("an object");
    appends.push(Append::new(said("first")).with_metadata(trace));
    appends.push(Append::new(said(&"compressed ".repeat(400))));
    if large {
        appends.push(Append::new([Message::user(noise(900_000, 7))]));
    }
    appends.push(Append::new(said("taken back")));
    for append in appends {
        put(&store, &session, &mut records, append).await;
    }
    let history = store.load(&session, &Load::all()).await.expect("a load");
    let to = history.position.next() - 1;
    put(&store, &session, &mut records, Append::rewind(&history, to, said("instead")).expect("a rewind")).await;
    put(&store, &session, &mut records, Append::new(said("last"))).await;
    let whole = Whole::of(table, &["session_id", "sk"]).await;
    let all = shown(&store, &session, &Load::all(), "nothing").await.expect("a whole log");
    assert_eq!(all, view(&records, None));
    Log { whole, session, records }
}

async fn put(store: &DynamoDbStore, session: &SessionId, records: &mut Vec<Kept>, append: Append) {
    let appended = store.append(session, &append).await.expect("an append");
    records.push((appended.seq, append.rewinds_to(), append.metadata().cloned(), append.messages().cloned().collect()));
}

/// Returns the number of a record's item.
fn seq_of(item: &Stored) -> Option<u64> {
    text(item, "sk").strip_prefix("t#")?.parse().ok()
}

/// Returns the histories that an item damaged like this may mean: the damage may be another valid value.
fn allowed(log: &Log, item: &Stored, name: &str, value: Option<&AttributeValue>) -> Vec<Vec<Shown>> {
    let mut allowed = vec![view(&log.records, None)];
    let Some(at) = seq_of(item).and_then(|seq| log.records.iter().position(|record| record.0 == seq)) else { return allowed };
    let seq = log.records[at].0;
    let number = value.and_then(|value| value.as_n().ok()?.parse::<i64>().ok());
    let mut records = log.records.clone();
    match name {
        "expires_at" if number.is_some_and(|at| at < 2_000_000_000) => allowed.push(view(&log.records, Some(seq))),
        "rewind" => {
            records[at].1 = number.and_then(|to| u64::try_from(to).ok());
            allowed.push(view(&records, None));
        }
        "metadata" if value.is_none() => {
            records[at].2 = None;
            allowed.push(view(&records, None));
        }
        // A rewind may have no messages.
        "messages" if value.is_none() && records[at].1.is_some() => {
            records[at].3.clear();
            allowed.push(view(&records, None));
        }
        _ => {}
    }
    allowed
}

/// Items, each with the damaged attribute and the damage.
type Cases = std::sync::Mutex<Vec<(Stored, &'static str, Damage)>>;

async fn try_all(log: Log, cases: Arc<Cases>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let next = cases.lock().expect("no panic").pop();
        let Some((item, name, (how, value))) = next else { return tally };
        // Each log has its own ids and times.
        let item = log.whole.like(text(&item, "sk"));
        let allowed = allowed(&log, &item, name, value.as_ref());
        if !log.whole.damage(&item, name, value).await {
            continue;
        }
        let what = format!("{how} as {name:?} of {:?}", text(&item, "sk"));
        let names = seq_of(&item).map_or_else(|| "record ".to_owned(), |seq| format!("record {seq} of"));
        examine(&store(&log.whole.table).await, &log.session, &allowed, &names, &what, &mut tally).await;
        log.whole.mend().await;
    }
}

/// Damages each of the items that `chosen` selects, in copies of one log at once.
async fn damage_each(what: &str, copies: usize, large: bool, cleared: bool, chosen: fn(&Stored) -> bool) {
    let first = written(large, cleared).await;
    let mut cases = Vec::new();
    for item in first.whole.items().into_iter().filter(chosen) {
        for name in ATTRIBUTES {
            cases.extend(damages().into_iter().map(|damage| (item.clone(), name, damage)));
        }
    }
    let cases = Arc::new(std::sync::Mutex::new(some(cases).collect()));
    let mut workers = JoinSet::new();
    workers.spawn(try_all(first, Arc::clone(&cases)));
    for _ in 1..copies {
        workers.spawn(try_all(written(large, cleared).await, Arc::clone(&cases)));
    }
    let mut tally = Tally::default();
    while let Some(done) = workers.join_next().await {
        tally.add(&done.expect("no panic"));
    }
    tally.close(what, 500, 200, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_record_is_refused_or_whole() {
    damage_each("records", 4, false, false, |item| seq_of(item).is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_large_record_is_refused_or_whole() {
    damage_each("parts", 4, true, false, |item| text(item, "sk").starts_with("p#") || item.contains_key("parts")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_stub_or_clear_is_refused_or_harmless() {
    damage_each("stubs and clears", 4, false, true, |item| item.contains_key("cleared_by") || item.get("rewind") == Some(&n(0)))
        .await;
}
