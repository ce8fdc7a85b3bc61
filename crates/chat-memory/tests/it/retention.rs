//! Retention on DynamoDB Local, what purges leave, and damaged items.
#![cfg(feature = "dynamodb")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dynamodb::{Raw, direct, n, noise, number, options, s, session, table};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::store::dynamodb::{DynamoDbStore, FORMAT_VERSION};
use chat_memory::store::{Append, ChatStore, Load};
use chat_memory::{Error, ErrorKind, Message, SessionId, Timestamp};
use chat_memory_testkit::dynamodb_endpoint;

const DAY_S: i64 = 24 * 60 * 60;

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// A store that keeps records for 30 days.
async fn keeping() -> DynamoDbStore {
    let options = options(table().await, &dynamodb_endpoint()).with_retention(Duration::from_secs(30 * DAY_S as u64));
    DynamoDbStore::open(options).await.expect("good options")
}

/// Appends n messages, `0`, `1` and so on, one per record.
async fn fill(store: &DynamoDbStore, session: &SessionId, records: usize) {
    for n in 0..records {
        store.append(session, &Append::new([Message::user(n.to_string())])).await.expect("an append");
    }
}

async fn texts(session: &SessionId) -> Vec<String> {
    let history = direct().await.load(session, &Load::all()).await.expect("a load");
    history.messages().map(Message::text).collect()
}

async fn refused(session: &SessionId) -> Error {
    direct().await.load(session, &Load::all()).await.expect_err("it cannot be read")
}

#[tokio::test]
async fn records_carry_their_expiry_and_a_ttl_one_day_later() {
    let (store, session) = (keeping().await, session("expiry"));
    let before = now_s();
    fill(&store, &session, 2).await;
    store.append(&session, &Append::new([Message::user(noise(1_000_000, 1))])).await.expect("an append");
    let raw = Raw::of(&session).await;
    for seq in 0..3 {
        let item = raw.record(seq).await;
        let expires = number(&item, "expires_at");
        assert!((before + 30 * DAY_S..=now_s() + 30 * DAY_S).contains(&expires), "{expires}");
        assert_eq!(number(&item, "ttl"), expires + DAY_S);
    }
    // The parts expire a day after the record that they belong to.
    let head = number(&raw.record(2).await, "ttl");
    let parts = raw.starting("p#").await;
    assert!(!parts.is_empty());
    assert!(parts.iter().all(|part| number(part, "ttl") >= head + DAY_S));

    // A clear stays, what it hid expires; without a retention nothing expires.
    store.clear(&session).await.expect("a clear");
    assert!(!raw.record(3).await.contains_key("expires_at") && !raw.record(3).await.contains_key("ttl"));
    let stub = raw.record(0).await;
    assert!(number(&stub, "expires_at") <= now_s() && number(&stub, "ttl") > now_s(), "{stub:?}");
    fill(&direct().await, &session, 1).await;
    assert!(!raw.record(4).await.contains_key("ttl"));
}

#[tokio::test]
async fn expired_records_are_hidden_and_purgeable_in_any_order() {
    let (store, session) = (keeping().await, session("expired"));
    fill(&store, &session, 6).await;
    let raw = Raw::of(&session).await;
    for seq in 0..4 {
        raw.set(seq, "expires_at", n(now_s() - 3 * DAY_S)).await;
        // Written long before.
        raw.set(seq, "created_at", n((now_s() - 33 * DAY_S) * 1000)).await;
        raw.set(seq, "began", n((now_s() - 33 * DAY_S) * 1000)).await;
    }
    for seq in 4..6 {
        raw.set(seq, "began", n((now_s() - 33 * DAY_S) * 1000)).await;
    }
    assert_eq!(texts(&session).await, ["4", "5"], "hidden at once");
    for (purged, what) in [(2, "in the middle"), (0, "at the bottom"), (3, "at the edge"), (1, "the last")] {
        raw.delete(purged).await;
        assert_eq!(texts(&session).await, ["4", "5"], "{what}");
        let window = direct().await.load(&session, &Load::last(100)).await.expect("a load");
        assert_eq!(window.records.len(), 2);
    }
    // The log continues where it was, even from a handle without cached state.
    let appended = direct().await.append(&session, &Append::new([Message::user("6")])).await.expect("an append");
    assert_eq!(appended.seq, 6);
    assert_eq!(texts(&session).await, ["4", "5", "6"]);
}

#[tokio::test]
async fn directory_entry_has_the_number_of_records_of_its_last_activity() {
    let (store, session) = (direct().await, session("numbers"));
    let records = async || {
        let info = direct().await.session(&session).await.expect("a look").expect("it is listed");
        assert_eq!(info.first_words, None, "messages are not in the directory");
        info.records
    };
    fill(&store, &session, 2).await;
    assert_eq!(records().await, Some(1), "nothing is written to the entry within the hour");
    store.delete(&session).await.expect("a delete");
    let long_ago = Timestamp::now() - Duration::from_hours(3);
    let again = Append::new([Message::user("again")]).started_at(long_ago);
    let seq = store.append(&session, &again).await.expect("an append").seq;
    assert_eq!((seq, records().await), (3, Some(1)), "the records of before the delete do not count");
    // Its first hour is over.
    let raw = Raw::of(&session).await;
    raw.set(seq, "created_at", n(long_ago.as_millis())).await;
    fill(&direct().await, &session, 1).await;
    assert_eq!(records().await, Some(2));

    // Where the numbers would cost a unit, they are left out, as in the entries of programs of before.
    let mut known = Vec::new();
    for bytes in (840..=960).step_by(8) {
        let session = crate::dynamodb::session("numbers");
        let titled = Append::new([Message::user("x")]).with_title("t".repeat(bytes));
        let units = store.append(&session, &titled).await.expect("an append").cost.write_units;
        let info = direct().await.session(&session).await.expect("a look").expect("it is listed");
        known.push((units, info.records));
    }
    known.dedup();
    let larger = known.pop();
    assert_eq!(known, [(4.0, Some(1)), (4.0, None)]);
    // The title alone takes another unit here.
    assert!(larger.is_some_and(|(units, records)| units > 4.0 && records == Some(1)), "{larger:?}");
}

#[tokio::test]
async fn missing_live_record_is_named() {
    for retention in [false, true] {
        let store = if retention { keeping().await } else { direct().await };
        for (deleted, which) in [(vec![2], "record 2 is"), (vec![1, 2], "records 1 to 2 are"), (vec![0], "record 0 is")] {
            let session = session("missing");
            fill(&store, &session, 5).await;
            let raw = Raw::of(&session).await;
            for seq in deleted {
                raw.delete(seq).await;
            }
            let error = refused(&session).await;
            let said = error.to_string();
            assert!(error.is_corrupt() && said.contains(which) && said.contains(session.as_str()), "{retention}: {said}");
            // A window that does not reach that far is whole.
            let window = direct().await.load(&session, &Load::last(1)).await.expect("a window");
            assert_eq!(window.messages().last(), Some(&Message::user("4")));
        }
    }
}

#[tokio::test]
async fn damaged_record_error_names_the_fault() {
    let text = |text: &str| AttributeValue::L(vec![s(text)]);
    let binary = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
    let frame = zstd::bulk::compress(br#"[{"role":"user","content":"hello"}]"#, 3).expect("a frame");
    let cases: Vec<(&str, Option<AttributeValue>, &str)> = vec![
        ("v", None, "a number and is nothing"),
        ("v", Some(s("1")), "a number and is something else"),
        ("append_id", None, "16 bytes of binary and is nothing"),
        ("append_id", Some(s("x")), "16 bytes of binary and is something else"),
        ("append_id", Some(binary(&[1; 15])), "16 bytes of binary"),
        ("created_at", None, "a number and is nothing"),
        ("created_at", Some(n("1.5")), "a whole number"),
        ("expires_at", Some(s("soon")), "a number"),
        ("began", Some(s("once")), "a number"),
        ("rewind", Some(n("-1")), "a whole number"),
        ("metadata", Some(s("[]")), "the JSON text of an object"),
        ("metadata", Some(n(1)), "a string"),
        ("messages", Some(s("hello")), "a list of strings"),
        ("messages", Some(AttributeValue::L(vec![n(1)])), "message 1"),
        ("messages", Some(text("{")), "is not JSON"),
        ("messages", Some(text(r#"{"role":"robot"}"#)), "is not a message"),
        ("messages", Some(binary(b"[")), "no JSON list"),
        ("codec", Some(s("lz4")), "\"zstd\" or absent"),
        ("parts", Some(s("2")), "a number"),
        ("parts", Some(n(2)), "parts"),
        ("cleared_by", Some(s("4")), "a number"),
    ];
    let check = async |session: &SessionId, name: &str, part: &str| {
        for load in [Load::all(), Load::all().eventually_consistent()] {
            let error = direct().await.load(session, &load).await.expect_err(name);
            let said = error.to_string();
            assert!(error.is_corrupt(), "{name}: {error:?}");
            assert!(said.contains("record 1 of") && said.contains(session.as_str()), "{name}: {said}");
            // "parts" without "parts_id" is reported by the missing one.
            assert!(said.contains(&format!("\"{name}")) && said.contains(part), "{name}: {said}");
        }
    };
    for (name, value, part) in cases {
        let session = session("damaged");
        fill(&direct().await, &session, 3).await;
        let raw = Raw::of(&session).await;
        match value {
            Some(value) => raw.set(1, name, value).await,
            None => raw.unset(1, name).await,
        }
        check(&session, name, part).await;
        // A window above it is whole, although a page may return more than was asked for.
        let window = direct().await.load(&session, &Load::last(1)).await.expect("a window");
        assert_eq!(window.into_messages(), [Message::user("2")], "{name}");
    }

    // zstd: no frame, half a frame, one whose content is not text, and one with other content.
    let text_of_none = zstd::bulk::compress(&[0xff, 0xfe], 3).expect("a frame");
    let no_list = zstd::bulk::compress(b"{}", 3).expect("a frame");
    let damaged = [
        (b"not a frame".to_vec(), "zstd frame"),
        (frame[..frame.len() - 5].to_vec(), "zstd frame"),
        (text_of_none, "not UTF-8"),
        (no_list, "no JSON list"),
    ];
    for (bytes, part) in damaged {
        let session = session("damaged-zstd");
        fill(&direct().await, &session, 3).await;
        let raw = Raw::of(&session).await;
        raw.set(1, "codec", s("zstd")).await;
        raw.set(1, "messages", binary(&bytes)).await;
        check(&session, "messages", part).await;
        raw.set(1, "messages", binary(&frame)).await;
        assert_eq!(texts(&session).await, ["0", "hello", "2"], "a good frame is read");
    }
}

#[tokio::test]
async fn decompression_bomb_is_refused() {
    let session = session("bomb");
    fill(&direct().await, &session, 2).await;
    let raw = Raw::of(&session).await;
    let bomb = zstd::bulk::compress(&vec![b' '; 60_000_000], 19).expect("a frame");
    raw.set(1, "codec", s("zstd")).await;
    raw.set(1, "messages", AttributeValue::B(Blob::new(bomb))).await;
    let error = refused(&session).await;
    assert!(error.is_corrupt() && error.to_string().contains("max_record"), "{error}");
}

#[tokio::test]
async fn missing_or_damaged_part_is_named() {
    let (store, session) = (direct().await, session("parts"));
    fill(&store, &session, 1).await;
    store.append(&session, &Append::new([Message::user(noise(1_000_000, 1))])).await.expect("an append");
    let raw = Raw::of(&session).await;
    let parts = raw.starting("p#").await;
    let mut damaged = parts[0].clone();
    damaged.insert("data".to_owned(), s("text"));
    raw.put(damaged).await;
    let error = refused(&session).await;
    assert!(error.is_corrupt() && error.to_string().contains("\"data\""), "{error}");
    raw.put(parts[0].clone()).await;
    assert_eq!(texts(&session).await.len(), 2);
    raw.delete_key(crate::dynamodb::text(&parts[1], "sk")).await;
    let error = refused(&session).await;
    let expected = format!("record 1 of {:?} has {} of its {} parts", session.as_str(), parts.len() - 1, parts.len());
    assert!(error.is_corrupt() && error.to_string().contains(&expected), "{error}");
}

#[tokio::test]
async fn newer_record_format_is_refused() {
    let session = session("newer");
    fill(&direct().await, &session, 3).await;
    let raw = Raw::of(&session).await;
    raw.set(1, "v", n(FORMAT_VERSION + 1)).await;
    let error = refused(&session).await;
    let said = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(said.contains("record 1 of") && said.contains(session.as_str()), "{said}");
    assert!(said.contains(&format!("format {}", FORMAT_VERSION + 1)) && said.contains("update chat-memory"), "{said}");
    // Nothing is written after an unreadable record.
    raw.set(2, "v", n(FORMAT_VERSION + 1)).await;
    let error = direct().await.append(&session, &Append::new([Message::user("3")])).await.expect_err("its end is unreadable");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert_eq!(raw.starting("t#").await.len(), 3);
}

#[tokio::test]
async fn foreign_item_among_records_is_named() {
    let session = session("stranger");
    fill(&direct().await, &session, 1).await;
    let raw = Raw::of(&session).await;
    let mut stranger = raw.record(0).await;
    stranger.insert("sk".to_owned(), s("t#1"));
    raw.put(stranger).await;
    let error = refused(&session).await;
    assert!(error.is_corrupt() && error.to_string().contains("\"t#1\""), "{error}");
}
