//! A full disk, a locked file, damage.

use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use super::*;
use crate::{checkpoints, listing, log, sweep};
use chat_memory_core::Error;
use chat_memory_core::checkpoints::Rows as _;
use chat_memory_core::store::{Appended, Cost};

#[tokio::test]
async fn full_disk_refuses_writes_and_keeps_stored_data() {
    let (_folder, path) = folder();
    let store = SqliteStore::builder(&path).max_pages(60).open().await.expect("a new file");
    let id = session("s");
    let mut landed = Vec::new();
    let error = loop {
        let text = format!("{} {}", landed.len(), "x".repeat(10_000));
        match store.append(&id, &saying(&text)).await {
            Ok(appended) => {
                assert_eq!(appended.seq, landed.len() as u64);
                landed.push(text);
            }
            Err(e) => break e,
        }
        assert!(landed.len() < 100, "the disk was never full");
    };
    assert!(landed.len() > 5);
    assert!(error.is_unavailable() && error.is_retryable() && error.ticket().is_none(), "{error:?}");
    assert!(error.to_string().contains("no space left"), "{error}");
    assert_eq!(texts(&store, "s").await, landed, "reading still works");
    // A short append may still fit; the long one still does not, and nothing of it is stored.
    assert!(store.append(&id, &saying(&"y".repeat(10_000))).await.is_err());
    drop(store);

    // With more space, the store continues where it was.
    let store = SqliteStore::open(&path).await.expect("the same file");
    assert_eq!(texts(&store, "s").await, landed);
    assert_eq!(say(&store, "s", "after").await, landed.len() as u64);
}

#[tokio::test]
async fn file_created_on_a_full_disk_is_usable_later() {
    let (_folder, path) = folder();
    let store = SqliteStore::builder(&path).max_pages(11).open().await.expect("the tables fit");
    let error = store.append(&session("s"), &saying(&"x".repeat(100_000))).await.expect_err("it does not fit");
    assert!(error.is_unavailable(), "{error}");
    assert!(texts(&store, "s").await.is_empty());
    drop(store);
    assert_eq!(say(&SqliteStore::open(&path).await.expect("the file"), "s", "x").await, 0);
}

#[tokio::test]
async fn locked_file_is_reported_and_stays_readable() {
    let (_folder, path) = folder();
    let store = SqliteStore::builder(&path).busy_timeout(Duration::from_millis(30)).open().await.expect("a new file");
    say(&store, "s", "a").await;
    let other = Connection::open(&path).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let error = store.append(&session("s"), &saying("b")).await.expect_err("it is locked");
    assert!(error.is_unavailable() && error.is_retryable() && error.to_string().contains("locked"), "{error}");
    assert_eq!(texts(&store, "s").await, ["a"]);
    other.execute_batch("ROLLBACK").expect("the lock is released");
    assert_eq!(say(&store, "s", "b").await, 1, "nothing was written before");
}

/// Blocks the store's writer until the returned sender is used; returns once it is blocked.
async fn hold(store: &SqliteStore) -> std::sync::mpsc::Sender<()> {
    let (go, wait) = std::sync::mpsc::channel();
    let (held, holding) = tokio::sync::oneshot::channel();
    let database = std::sync::Arc::clone(&store.0);
    tokio::spawn(async move {
        let holding = move |_: &Connection| {
            let _ = held.send(());
            wait.recv().map_err(|e| chat_memory_core::Error::invalid(e.to_string()).into())
        };
        database.write(holding).await
    });
    holding.await.expect("the writer runs it");
    go
}

/// Appends all of these to one session while the writer is blocked, so that they form one batch; returns the results.
async fn at_once(store: &SqliteStore, appends: impl IntoIterator<Item = Append>) -> Vec<Result<Appended, Error>> {
    let go = hold(store).await;
    let tasks: Vec<_> = appends
        .into_iter()
        .map(|append| {
            let store = store.clone();
            tokio::spawn(async move { store.append(&session("s"), &append).await })
        })
        .collect();
    while store.0.batches.len() < tasks.len() {
        tokio::task::yield_now().await;
    }
    go.send(()).expect("the writer waits");
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no panic"));
    }
    results
}

#[tokio::test]
async fn waiting_appends_share_a_transaction_but_fail_separately() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    say(&store, "s", "first").await;
    let position = store.load(&session("s"), &Load::all()).await.expect("a load").position;
    let stale =
        chat_memory_core::store::Ticket::new(chat_memory_core::store::AppendId::random(), 0).tried_at(Timestamp::UNIX_EPOCH);
    let appends = [
        saying("plain"),
        saying("of a key").with_key("k"),
        saying("of a key").with_key("k"),
        saying("another body").with_key("k"),
        saying("too late").with_expected(position),
        saying("too old").with_ticket(stale),
        saying("plain"),
    ];
    let before = store.0.batches.count.load(std::sync::atomic::Ordering::SeqCst);
    let results = at_once(&store, appends).await;
    let seqs: Vec<_> =
        results.iter().map(|result| result.as_ref().map(|appended| (appended.seq, appended.repeated)).ok()).collect();
    assert_eq!(seqs, [Some((1, false)), Some((2, false)), Some((2, true)), None, None, None, Some((3, false))]);
    let error = |n: usize| results[n].as_ref().expect_err("refused");
    assert!(error(3).is_key_reused() && error(4).is_conflict() && error(5).is_invalid());
    assert_eq!(store.0.batches.count.load(std::sync::atomic::Ordering::SeqCst) - before, 1, "batches");
    assert_eq!(texts(&store, "s").await, ["first", "plain", "of a key", "plain"]);
}

#[tokio::test]
async fn appends_of_an_oversized_batch_are_retried_alone() {
    let (_folder, path) = folder();
    let store = SqliteStore::builder(&path).max_pages(40).open().await.expect("a new file");
    say(&store, "s", "first").await;
    let appends = [10, 900_000, 10].map(|bytes| saying(&"x".repeat(bytes)));
    let landed: Vec<_> = at_once(&store, appends).await.into_iter().map(|result| result.map_err(|e| e.to_string())).collect();
    assert!(landed[0].is_ok() && landed[2].is_ok(), "{landed:?}");
    assert!(landed[1].as_ref().is_err_and(|e| e.contains("no space left")), "{landed:?}");
    assert_eq!(texts(&store, "s").await.len(), 3);
}

/// A batch of appends whose commit fails after it may have reached the disk.
#[tokio::test]
async fn repeat_in_a_failed_batch_is_in_doubt_like_its_first_attempt() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    let keyed = |key: &str| saying("of a key").with_key(key);
    store.append(&session("s"), &keyed("before")).await.expect("an append");
    let position = store.load(&session("s"), &Load::all()).await.expect("a load").position;
    // Each append violates a constraint that SQLite checks at commit.
    let breaks =
        "PRAGMA foreign_keys = ON; CREATE TABLE p (n PRIMARY KEY); CREATE TABLE c (n REFERENCES p DEFERRABLE INITIALLY DEFERRED);
        CREATE TEMP TRIGGER t AFTER INSERT ON records BEGIN INSERT INTO c VALUES (1); END";
    store.0.write(|db| Ok(db.execute_batch(breaks)?)).await.expect("a rule");
    let appends = [keyed("k"), keyed("k"), keyed("before"), saying("too late").with_expected(position), saying("plain")];
    let results = at_once(&store, appends).await;
    let ticket =
        |n: usize| *results[n].as_ref().expect_err("an unknown outcome").ticket().unwrap_or_else(|| panic!("{:?}", results[n]));
    assert_eq!((ticket(0).append_id(), ticket(0).lowest(), ticket(1).lowest()), (ticket(1).append_id(), 1, 1));
    assert_eq!(ticket(4).lowest(), 2);
    assert!(results[2].as_ref().is_ok_and(|appended| appended.repeated && appended.seq == 0), "{:?}", results[2]);
    let error = results[3].as_ref().expect_err("it expected the position of an append whose outcome is unknown");
    assert!(error.ticket().is_none() && !error.is_conflict(), "{error:?}");

    change(&path, "DROP TABLE c; DROP TABLE p");
    let again = store.append(&session("s"), &keyed("k").with_ticket(ticket(1))).await.expect("the ticket settles it");
    assert_eq!((again.seq, again.repeated), (1, false));
    assert!(store.append(&session("s"), &keyed("k")).await.expect("its key as well").repeated);
    assert_eq!(texts(&store, "s").await, ["of a key", "of a key"]);
}

#[tokio::test]
async fn cancelled_append_does_not_block_the_store() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    for _ in 0..10 {
        let (id, append) = (session("s"), saying("given up"));
        let _ = tokio::time::timeout(Duration::ZERO, store.append(&id, &append)).await;
    }
    let seq = say(&store, "s", "last").await;
    let texts = texts(&store, "s").await;
    assert_eq!(texts.len() as u64, seq + 1, "the stored ones, each once, and the last");
    assert_eq!(texts.last().map(String::as_str), Some("last"));
}

#[tokio::test]
async fn oversized_record_is_refused() {
    let (_folder, path) = folder();
    let store = SqliteStore::builder(&path).max_record_bytes(1_000).open().await.expect("a new file");
    let error = store.append(&session("s"), &saying(&"x".repeat(1_000))).await.expect_err("too large");
    assert!(error.is_too_large() && error.to_string().contains("the limit is 1000"), "{error}");
    assert_eq!(say(&store, "s", "small").await, 0, "nothing was written");
}

#[tokio::test]
async fn missing_record_is_reported_as_corruption() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    for n in 0..6 {
        say(&store, "s", &n.to_string()).await;
    }
    for (seq, window) in [(3, 3), (0, 6)] {
        change(&path, &format!("UPDATE records SET seq = seq + 1000000, session = -1 WHERE seq = {seq}"));
        let error = store.load(&session("s"), &Load::all()).await.expect_err("a gap");
        assert!(error.is_corrupt() && error.to_string().contains(&format!("record {seq} of session \"s\"")), "{error}");
        assert!(store.load(&session("s"), &Load::last(6 - seq as usize - 1)).await.is_ok(), "a window above it is whole");
        assert!(store.load(&session("s"), &Load::last(window)).await.is_err(), "a window that needs it");
        change(&path, "UPDATE records SET seq = seq - 1000000, session = 1 WHERE session = -1");
    }
    change(&path, "DELETE FROM records");
    let error = store.load(&session("s"), &Load::all()).await.expect_err("no records at all");
    assert!(error.is_corrupt(), "{error}");
}

#[tokio::test]
async fn unreadable_record_is_named() {
    for damage in [
        "messages = '[{\"role\":'",
        "messages = '[{\"role\":\"robot\"}]'",
        "metadata = 'x'",
        "append_id = x'00'",
        "messages = CAST(x'ff' AS TEXT)",
    ] {
        let (_folder, path) = folder();
        let store = SqliteStore::open(&path).await.expect("a new file");
        say(&store, "s", "a").await;
        say(&store, "s", "b").await;
        change(&path, &format!("UPDATE records SET {damage} WHERE seq = 0"));
        let error = store.load(&session("s"), &Load::all()).await.expect_err(damage);
        assert!(error.is_corrupt(), "{damage}: {error:?}");
        let said = error.to_string();
        assert!(said.contains("record 0 of session \"s\"") && said.contains("chat.db"), "{damage}: {said}");
        assert_eq!(store.load(&session("s"), &Load::last(1)).await.expect("the other record").records.len(), 1);
    }
}

#[tokio::test]
async fn sweep_erases_nothing_because_of_an_impossible_clear() {
    for damage in ["UPDATE records SET seq = 9223372036854775807 WHERE seq = 1", "UPDATE records SET rewind = 0 WHERE seq = 2"] {
        let (_folder, path) = folder();
        let store = SqliteStore::open(&path).await.expect("a new file");
        let session = session("s");
        say(&store, "s", "a").await;
        store.append(&session, &Append::clear()).await.expect("a clear");
        say(&store, "s", "b").await;
        let history = store.load(&session, &Load::all()).await.expect("a load");
        let instead = Append::rewind(&history, 2, [Message::user("c")]).expect("record 2 is in view");
        store.append(&session, &instead).await.expect("a rewind");
        change(&path, damage);
        let error = store.sweep(&session).await.expect_err(damage);
        assert!(error.is_corrupt() && error.to_string().contains("nothing was swept"), "{damage}: {error:?}");
        let db = Connection::open(&path).expect("the file");
        let left: u64 = db.query_row("SELECT count(messages) FROM records", [], |row| row.get(0)).expect("a count");
        assert_eq!(left, 4, "{damage}");
    }
}

#[tokio::test]
async fn damaged_file_is_an_error_not_an_empty_history() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    for n in 0..40 {
        say(&store, "s", &format!("{n} {}", "x".repeat(3_000))).await;
    }
    drop(store);
    let length = std::fs::metadata(&path).expect("the file").len();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("the file");
    // All but the first page, which holds the header and the tables' names.
    file.seek(SeekFrom::Start(4096)).expect("a seek");
    file.write_all(&vec![0xA5; length as usize - 4096]).expect("the damage");
    drop(file);
    let error = match SqliteStore::open(&path).await {
        Err(error) => error,
        Ok(store) => store.load(&session("s"), &Load::all()).await.expect_err("a damaged file"),
    };
    assert!(error.is_corrupt(), "{error:?}");
    assert!(error.to_string().contains("chat.db"), "{error}");
}

/// Otherwise an append or a window would cost more, the longer the session or the more sessions there are.
#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    say(&store, "s", "x").await;
    let row = chat_memory_core::checkpoints::Row { sort: "s".to_owned(), body: Vec::new(), purge_at: None };
    let absent = chat_memory_core::checkpoints::Condition::Absent;
    store.rows().put("p", &row, absent, &mut Cost::default()).await.expect("a put");
    let db = Connection::open(&path).expect("the file");
    let of_logs = [log::HEAD, log::BACKWARDS_FROM, log::BY_KEY, log::BY_TICKET];
    let of_sweeps = [sweep::NEWEST_CLEAR, sweep::BEFORE, sweep::TAKEN_BACK, sweep::NEXT_ROW, sweep::IS_DUE];
    let of_checkpoints = [
        checkpoints::UP,
        checkpoints::DOWN,
        checkpoints::ONE,
        checkpoints::DELETE,
        checkpoints::REPLACE,
        checkpoints::NEXT_PARTITION,
        sweep::DUE_CHECKPOINTS,
    ];
    let of_lists = [listing::BY_START, listing::BY_ACTIVITY, listing::ENDS, listing::REWINDS, listing::SHORT, listing::ALIVE];
    for sql in of_logs.into_iter().chain(of_sweeps).chain(of_lists).chain(of_checkpoints) {
        let mut explained = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
        let nothing = vec![rusqlite::types::Null; explained.parameter_count()];
        let steps: Vec<String> = explained
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))
            .expect("its plan")
            .collect::<Result<_, _>>()
            .expect("its steps");
        let bad = steps.iter().any(|step| step.contains("SCAN") || step.contains("TEMP B-TREE"));
        assert!(!steps.is_empty() && !bad, "{sql}\n{steps:#?}");
    }
    // One list has no index: its table is scanned in the order in which it lies in the file.
    for sql in [listing::ALL_BY_START, listing::ALL_BY_ACTIVITY] {
        let mut explained = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
        let steps: Vec<String> =
            explained.query_map([1, 1, 1, 1], |row| row.get(3)).expect("its plan").collect::<Result<_, _>>().expect("its steps");
        let scans: Vec<_> = steps.iter().filter(|step| step.starts_with("SCAN")).collect();
        assert_eq!(scans, ["SCAN sessions"], "{sql}");
    }
}
