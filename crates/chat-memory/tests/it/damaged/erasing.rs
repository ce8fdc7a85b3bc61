//! Damage blocks nothing: a session can be cleared despite a damaged record, and a table swept despite a damaged session.

use chat_memory::store::Load;
use chat_memory::{Append, ChatStore, Message, SessionId};

use super::turns::store;
use crate::dynamodb::{Raw, n, new_table, s, text};

fn session(id: &str) -> SessionId {
    SessionId::new(id).expect("a good id")
}

#[tokio::test]
async fn session_with_a_damaged_newest_record_can_be_cleared() {
    let table = new_table().await;
    let (raw, session) = (Raw::of_table(&table, "s"), session("s"));
    store(&table).await.append(&session, &Append::new([Message::user("first")])).await.expect("an append");
    store(&table).await.append(&session, &Append::new([Message::user("damaged")])).await.expect("an append");
    raw.set(1, "messages", s("no list of messages")).await;

    let fresh = store(&table).await;
    let error = fresh.load(&session, &Load::all()).await.expect_err("it cannot be read");
    assert!(error.is_corrupt() && error.to_string().contains("record 1 of"), "{error}");
    // It must not make an append fail either.
    let appended = fresh.append(&session, &Append::new([Message::user("third")])).await.expect("an append");
    assert_eq!(appended.seq, 2);
    let cleared = fresh.clear(&session).await.expect("a clear");
    assert_eq!(cleared.swept.records, 3, "unreadable records are erased like all others");
    let left = store(&table).await.load(&session, &Load::all()).await.expect("a load").into_messages();
    assert!(left.is_empty(), "{left:?}");
    for stub in raw.starting("t#").await.iter().take(3) {
        assert!(stub.contains_key("cleared_by") && !stub.contains_key("messages"), "{stub:?}");
    }
}

#[tokio::test]
async fn sweep_continues_past_an_unreadable_record() {
    let table = new_table().await;
    let (raw, session) = (Raw::of_table(&table, "s"), session("s"));
    let store = store(&table).await;
    for text in ["first", "damaged", "third"] {
        store.append(&session, &Append::new([Message::user(text)])).await.expect("an append");
    }
    store.append(&session, &Append::clear()).await.expect("a clear");
    raw.set(1, "append_id", s("no id")).await;
    let error = store.sweep(&session).await.expect_err("a record cannot be read");
    assert!(error.is_corrupt() && error.to_string().contains("record 1 of \"s\""), "{error}");
    let erased: Vec<bool> = raw.starting("t#").await.iter().map(|item| !item.contains_key("messages")).collect();
    assert_eq!(erased, [true, false, true, true]);
}

#[tokio::test]
async fn table_sweep_skips_a_damaged_session_and_continues() {
    let table = new_table().await;
    let store = store(&table).await;
    for id in ["a", "b", "c"] {
        store.append(&session(id), &Append::new([Message::user("first")])).await.expect("an append");
        store.append(&session(id), &Append::clear()).await.expect("a clear");
    }
    let damaged = Raw::of_table(&table, "b");
    damaged.set(1, "v", n(99)).await;
    let error = store.sweep_table(&mut |_| {}).await.expect_err("a session cannot be read");
    let said = error.to_string();
    assert!(error.is_unsupported() && said.contains("record 1 of \"b\"") && said.contains("2 records of 2 sessions"), "{said}");
    for (id, erased) in [("a", true), ("b", false), ("c", true)] {
        let first = Raw::of_table(&table, id).record(0).await;
        assert_eq!(!first.contains_key("messages"), erased, "{id}: {}", text(&first, "sk"));
    }
}
