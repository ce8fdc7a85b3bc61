//! What sweeps and expiry erase, with the time set by the tests.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::*;
use crate::log::{self, Landed, NewRecord};
use crate::{listing, sweep};
use chat_memory_core::store::{History, Load, SessionQuery};

/// What has expired is hidden from lists, except from one that asks for it, so that it can be deleted.
#[tokio::test]
async fn expired_session_is_listed_when_asked_for() {
    let mut log = Timed::new(Some(60)).await;
    log.say("gone");
    log.now_s += 3_600;
    let listed = |now| listing::page(&log.db, &SessionQuery::unowned(), None, now).expect("a list").sessions.len();
    assert_eq!((listed(log.now()), listed(Timestamp::MIN)), (0, 1));
}

/// SQLite does not wait for another connection that empties the write-ahead log: here both do so while a third one writes.
#[test]
fn two_connections_empty_the_log_at_once() {
    let (_folder, path) = folder();
    let open = || Connection::open(&path).expect("the file");
    let writer = open();
    writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); BEGIN IMMEDIATE").expect("a transaction");
    let emptying = [open(), open()].map(|db| std::thread::spawn(move || sweep::empty_log_of_writes(&db)));
    // Long enough that the second one meets the first, on a machine that is not busy.
    std::thread::sleep(Duration::from_millis(50));
    writer.execute_batch("COMMIT").expect("a commit");
    for thread in emptying {
        assert!(thread.join().expect("no panic").expect("no error"), "not emptied");
    }
}

pub(super) const DAY_S: i64 = 24 * 60 * 60;

/// A log, and a clock that stands still until it is set.
pub(super) struct Timed {
    pub(super) db: Connection,
    pub(super) now_s: i64,
    pub(super) retention_s: Option<u64>,
    _folder: TempDir,
}

impl Timed {
    pub(super) async fn new(retention_s: Option<u64>) -> Self {
        let (folder, path) = folder();
        drop(SqliteStore::open(&path).await.expect("a new file"));
        Self { db: Connection::open(&path).expect("the file"), now_s: 1_000_000, retention_s, _folder: folder }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.now_s)
    }

    pub(super) fn append(&self, append: &Append) -> Landed {
        let now = self.now();
        let new = NewRecord::of(&session("s"), append, false, now).expect("a record");
        let transaction = log::Transaction::to_write(&self.db).expect("no one else writes");
        let expires_at = append.expires_at(now, self.retention_s.map(Duration::from_secs));
        let landed = log::append_within(&self.db, &new, now, expires_at).expect("an append");
        transaction.commit().expect("a commit");
        landed
    }

    pub(super) fn say(&self, text: &str) -> u64 {
        match self.append(&saying(text)) {
            Landed::New { seq, .. } => seq,
            _ => panic!("a new append that was there already"),
        }
    }

    pub(super) fn load(&self) -> History {
        log::load(&self.db, "s", &Load::all(), self.now()).expect("a load")
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let history = self.load();
        assert!(history.complete);
        history.messages().map(Message::text).collect()
    }

    pub(super) fn purge(&self) -> u64 {
        let mut purged = 0;
        loop {
            match sweep::purge(&self.db, self.now()).expect("a purge") {
                0 => return purged,
                n => purged += n,
            }
        }
    }

    fn sweep(&self) -> u64 {
        let mut swept = 0;
        loop {
            let step = sweep::sweep(&self.db, "s", self.now()).expect("a sweep");
            swept += step.records;
            if step.done {
                return swept;
            }
        }
    }

    fn rows(&self) -> u64 {
        self.db.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).expect("a count")
    }

    fn is_listed(&self) -> bool {
        let sql = "SELECT 1 FROM sessions WHERE created_at IS NOT NULL";
        self.db.query_row(sql, [], |_| Ok(())).optional().expect("a query").is_some()
    }
}

#[tokio::test]
async fn expired_records_are_hidden_at_once_and_erased_a_day_later() {
    let mut log = Timed::new(Some(100)).await;
    for n in 0..5 {
        log.say(&n.to_string());
        log.now_s += 10;
    }
    assert_eq!(log.texts().len(), 5);
    log.now_s = 1_000_000 + 100;
    assert_eq!(log.texts(), ["1", "2", "3", "4"]);
    assert_eq!((log.purge(), log.rows()), (0, 5), "a key is still recognised for a day");
    log.now_s += 15 + DAY_S;
    assert_eq!(log.texts(), Vec::<String>::new());
    assert_eq!((log.purge(), log.rows()), (2, 3));
    assert_eq!(log.say("5"), 5);
    assert_eq!(log.texts(), ["5"]);
    log.now_s += 2 * DAY_S;
    assert_eq!((log.purge(), log.rows()), (4, 1), "the newest stays as a stub");
    assert!(!log.is_listed(), "an empty session is not listed");
    assert_eq!(log.texts(), Vec::<String>::new());
    assert_eq!(log.load().position.next(), 6);
    assert_eq!(log.say("6"), 6, "no number is used twice");
    assert!(log.is_listed());
    assert_eq!(log.texts(), ["6"]);
}

#[tokio::test]
async fn expired_rewind_still_hides_its_records() {
    let mut log = Timed::new(None).await;
    log.say("0");
    log.say("1");
    log.retention_s = Some(100);
    let rewind = Append::rewind(&log.load(), 1, [Message::user("edit")]).expect("record 1 is in view");
    log.append(&rewind);
    log.say("3");
    assert_eq!(log.texts(), ["0", "edit", "3"]);
    log.now_s += 3 * DAY_S;
    // What the rewind hides has no expiry, so the rewind has none either.
    assert_eq!(log.texts(), ["0", "edit"]);
    log.purge();
    assert_eq!(log.texts(), ["0", "edit"]);

    // A rewind that hides expiring records stays in force as a dead stub, below records that live longer.
    let mut log = Timed::new(Some(100)).await;
    log.say("0");
    let rewind = Append::rewind(&log.load(), 0, [Message::user("edit")]).expect("record 0 is in view");
    log.append(&rewind);
    log.retention_s = None;
    log.say("2");
    log.now_s += 3 * DAY_S;
    assert_eq!(log.texts(), ["2"]);
    log.purge();
    assert_eq!((log.texts(), log.rows()), (vec!["2".to_owned()], 1));
}

#[tokio::test]
async fn purged_records_among_live_ones_remain_as_stubs() {
    let mut log = Timed::new(None).await;
    log.say("forever");
    log.retention_s = Some(100);
    for n in 1..4 {
        log.say(&n.to_string());
    }
    log.retention_s = None;
    log.say("forever, too");
    log.now_s += 2 * DAY_S;
    assert_eq!((log.purge(), log.rows()), (3, 5), "as stubs");
    assert_eq!(log.texts(), ["forever", "forever, too"]);
    assert_eq!(log.purge(), 0);
    log.append(&Append::clear());
    log.sweep();
    log.now_s += 2 * DAY_S;
    log.purge();
    assert_eq!((log.texts().len(), log.rows()), (0, 1), "then only the clear is left");
}

#[tokio::test]
async fn stub_recognises_its_key_for_a_day_then_is_purged() {
    let mut log = Timed::new(None).await;
    let keyed = saying("gone").with_key("k");
    assert!(matches!(log.append(&keyed), Landed::New { seq: 0, .. }));
    for n in 1..200 {
        log.say(&n.to_string());
    }
    log.append(&Append::clear());
    assert_eq!(log.sweep(), 200, "in steps");
    assert_eq!((log.sweep(), log.rows()), (0, 201));
    log.now_s += DAY_S - 1;
    assert_eq!(log.purge(), 0);
    assert!(matches!(log.append(&keyed), Landed::Earlier(stored) if stored.record.seq == 0 && !stored.messages_left));
    log.now_s += 1;
    assert_eq!((log.purge(), log.rows()), (200, 1), "the clear stays");
    assert_eq!(log.load().records.len(), 1);
    assert!(matches!(log.append(&keyed), Landed::New { seq: 201, .. }), "a day later, the key is free again");
    assert_eq!(log.texts(), ["gone"]);
}

#[tokio::test]
async fn cleared_data_is_in_no_file() {
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    let secret = |n: usize| format!("the secret number {n} {}", "of many ".repeat(n * 40));
    for n in 0..30 {
        let metadata = serde_json::Map::from_iter([("note".to_owned(), "the secret note".into())]);
        store.append(&session("s"), &saying(&secret(n)).with_metadata(metadata)).await.expect("an append");
        say(&store, "other", &format!("kept {n}")).await;
    }
    let holds =
        |what: &str| contents(folder.path()).iter().any(|(_, bytes)| bytes.windows(what.len()).any(|w| w == what.as_bytes()));
    assert!(holds("the secret number 29") && holds("the secret note"));
    store.clear(&session("s")).await.expect("a clear");
    assert!(!holds("the secret number") && !holds("the secret note"), "in the file, or in its log");
    assert!(holds("kept 29"));
    assert_eq!(texts(&store, "other").await.len(), 30);
}

/// In each of the ways in which expired data is erased.
#[tokio::test]
async fn expired_data_is_in_no_file() {
    for way in ["purge", "open", "appends"] {
        let (folder, path) = folder();
        let builder = SqliteStore::builder(&path).retention(std::time::Duration::from_secs(3_600));
        let store = builder.clone().open().await.expect("a new file");
        for n in 0..30 {
            say(&store, "s", &format!("the secret number {n} {}", "of many ".repeat(n * 40))).await;
        }
        let kept = SqliteStore::open(&path).await.expect("the file, without a retention");
        say(&kept, "s", "kept").await;
        let holds =
            |what: &str| contents(folder.path()).iter().any(|(_, bytes)| bytes.windows(what.len()).any(|w| w == what.as_bytes()));
        assert!(holds("the secret number 29"));
        // As if they had been written two days before.
        change(
            &path,
            "UPDATE records SET expires_at = expires_at - 172800, purge_at = purge_at - 172800 WHERE purge_at IS NOT NULL",
        );
        match way {
            "purge" => assert_eq!(store.purge().await.expect("a purge").records, 30),
            "open" => drop(builder.open().await.expect("the file")),
            _ => {
                for n in 0..64 {
                    say(&kept, "other", &n.to_string()).await;
                }
            }
        }
        assert!(!holds("the secret number"), "in the file, or in its log, after {way}");
        assert!(holds("kept"));
        assert_eq!(texts(&kept, "s").await, ["kept"]);
    }
}

#[tokio::test]
async fn concurrent_append_and_delete_agree_on_the_listing() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    for _ in 0..20 {
        let (deleting, appending) = (store.clone(), store.clone());
        let (deleted, appended) = tokio::join!(
            tokio::spawn(async move { deleting.delete(&session("s")).await }),
            tokio::spawn(async move { appending.append(&session("s"), &saying("x")).await }),
        );
        deleted.expect("no panic").expect("a delete");
        appended.expect("no panic").expect("an append");
        let left = !texts(&store, "s").await.is_empty();
        assert_eq!(store.session(&session("s")).await.expect("a look").is_some(), left);
    }
}

/// The rows that docs/formats.md describes.
#[tokio::test]
async fn file_matches_the_documented_format() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    let turn = Append::new([Message::user("What is 2 + 2?"), Message::assistant("4.")]);
    store.append(&session("s"), &turn.with_title("Sums")).await.expect("an append");
    store.append(&session("s"), &Append::clear()).await.expect("a clear");
    let db = Connection::open(&path).expect("the file");
    let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, String>(0)).expect(sql);
    assert_eq!(
        one("SELECT messages FROM records WHERE seq = 0"),
        r#"[{"role":"user","content":"What is 2 + 2?"},{"role":"assistant","content":"4."}]"#
    );
    assert_eq!(one("SELECT messages || rewind FROM records WHERE seq = 1"), "[]0");
    assert_eq!(one("SELECT id || ' ' || title FROM sessions"), "s Sums");
    assert_eq!(one("SELECT hex(application_id) FROM pragma_application_id"), one("SELECT hex(1129145709)"));
    store.sweep(&session("s")).await.expect("a sweep");
    assert_eq!(one("SELECT cleared_by || coalesce(messages, ' stub') FROM records WHERE seq = 0"), "1 stub");
    assert_eq!(one("PRAGMA integrity_check"), "ok");
}

#[tokio::test]
async fn records_purged_by_a_fast_clock_are_not_corruption() {
    let mut log = Timed::new(Some(DAY_S.unsigned_abs())).await;
    log.say("first");
    log.say("second");
    log.now_s += 10 * DAY_S;
    assert_eq!(log.purge(), 2);
    log.now_s -= 10 * DAY_S;
    log.say("third");
    assert_eq!(log.texts(), ["third"]);
}
