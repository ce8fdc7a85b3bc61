//! Records of format 2 hold entries that are not messages. `testdata/format-2.json` was written by hand after docs/formats.md and
//! never changes.
#![cfg(feature = "dynamodb")]

use chat_memory::store::dynamodb::FORMAT_VERSION;
use chat_memory::store::{Append, Load, Record, SessionQuery};
use chat_memory::{ChatStore, Entry, Message, Owner, SessionId, Timestamp};
use serde_json::json;

use crate::dynamodb::{Raw, direct, number};
use crate::format_1::restored_from;

fn entry(value: &serde_json::Value) -> Entry {
    Entry::from_value(value.clone()).expect("an object")
}

#[tokio::test]
async fn records_with_other_entries_are_read_and_go_on() {
    let (store, _) = restored_from(include_str!("../../testdata/format-2.json")).await;
    let session = SessionId::new("mixed").expect("a good id");
    let history = store.load(&session, &Load::all()).await.expect("a readable session");
    let question = json!({"role": "user", "content": "Wie warm ist es in Zürich? 🌦"});
    let line = json!({"parentUuid": null, "type": "user", "message": question, "uuid": "u-1", "n": [1, 1.0, u64::MAX]});
    let answer = json!({"role": "assistant", "content": "Es sind 21 °C."});
    let summary = json!({"type": "summary", "summary": "Es wurde nach dem Wetter gefragt.", "id": "s-1"});
    let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAABo".repeat(100)});
    let expected = [vec![&question], vec![&line, &answer, &summary], vec![&reasoning, &answer], vec![&summary, &question]];
    let expected: Vec<Vec<Entry>> = expected.iter().map(|entries| entries.iter().map(|value| entry(value)).collect()).collect();
    assert_eq!(history.records.iter().map(|record| record.entries.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(
        history.records[1].sent_at,
        [Some(1_795_390_703_102), None, Some(1_795_390_703_152)].map(|at| at.map(Timestamp::from_millis))
    );
    assert_eq!(history.messages().count(), 4);
    let listed = store.sessions(&SessionQuery::of(Owner::new("ada").expect("a name"))).await.expect("a list");
    assert_eq!(listed.sessions[0].title.as_deref(), Some("Wetter"));

    let next = Append::new([entry(&summary)]).with_expected(history.position);
    assert_eq!(store.append(&session, &next).await.expect("it continues").seq, 4);
    store.clear(&session).await.expect("a clear and its sweep");
    assert!(store.load(&session, &Load::all()).await.expect("a load").is_empty());
}

#[tokio::test]
async fn only_a_record_with_another_entry_has_the_new_version() {
    let session = crate::dynamodb::session("versions");
    let store = direct().await;
    let summary = json!({"type": "summary", "text": "x".repeat(2_000)});
    let large = json!({"type": "file", "data": crate::dynamodb::noise(900_000, 2)});
    for entries in [vec![Message::user("a").into()], vec![Message::user("b").into(), entry(&summary)], vec![entry(&large)]] {
        store.append(&session, &Append::new(entries)).await.expect("an append");
    }
    let raw = Raw::of(&session).await;
    let versions = |items: &[_]| items.iter().map(|item| number(item, "v")).collect::<Vec<_>>();
    assert_eq!(versions(&raw.starting("t#").await), [1, FORMAT_VERSION as i64, FORMAT_VERSION as i64]);
    let parts = raw.starting("p#").await;
    assert!(parts.len() > 1 && versions(&parts).iter().all(|version| *version == 1), "{:?}", versions(&parts));
    // A reader that knows only messages refuses them, and would not misread them if they claimed to be of its version.
    raw.set(1, "v", crate::dynamodb::n(1)).await;
    let error = store.load(&session, &Load::all()).await.expect_err("no message");
    assert!(error.is_corrupt() && error.to_string().contains("record 1 of"), "{error}");
    raw.set(1, "v", crate::dynamodb::n(FORMAT_VERSION)).await;
    assert!(store.load(&session, &Load::all()).await.expect("a load").records.iter().any(Record::has_other_entries));
    store.clear(&session).await.expect("a clear");
    assert_eq!(versions(&raw.starting("t#").await), [1; 4], "a stub has no entries");
}
