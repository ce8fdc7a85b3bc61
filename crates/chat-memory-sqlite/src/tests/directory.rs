//! The directory: what has expired is not listed, whoever wrote it, and a delete of nothing writes nothing.

use std::time::Duration;

use rusqlite::Connection;

use super::erasing::{DAY_S, Timed};
use super::*;
use crate::listing;
use chat_memory_core::Owner;
use chat_memory_core::store::{SessionInfo, SessionQuery, SessionUpdate};

const HOUR_S: u64 = 60 * 60;

impl Timed {
    /// Returns the owner's session as listed, and checks that all lists agree.
    fn listed(&self, owner: Option<&str>) -> Option<SessionInfo> {
        let (now, owner) = (self.now(), owner.map(|owner| Owner::new(owner).expect("a name")));
        let known = listing::session(&self.db, &session("s"), now).expect("a look");
        for query in [owner.clone().map_or_else(SessionQuery::unowned, SessionQuery::of), SessionQuery::of_any_owner()] {
            for query in [query.clone(), query.recent()] {
                let page = listing::page(&self.db, &query, None, now).expect("a page");
                assert_eq!(page.sessions, Vec::from_iter(known.clone().filter(|info| query.includes(info))), "{query:?}");
            }
        }
        assert_eq!(listing::every(&self.db, 10, None, now).expect("all").sessions, Vec::from_iter(known.clone()));
        known
    }

    fn pass(&mut self, seconds: u64) {
        self.now_s += i64::try_from(seconds).expect("not long");
    }
}

#[tokio::test]
async fn session_stays_listed_until_its_last_message_expires() {
    // Each writer's retention, one after the other, an hour apart; and for how many hours from the first the session is listed.
    for (retentions, hours) in [
        (&[None, Some(1)][..], None),
        (&[Some(1), None], None),
        (&[Some(30), Some(1)], Some(30)),
        (&[Some(2), Some(30), Some(1)], Some(31)),
        (&[Some(2), Some(2)], Some(3)),
    ] {
        let mut log = Timed::new(None).await;
        let began = log.now_s;
        for retention in retentions {
            log.retention_s = retention.map(|hours| hours * HOUR_S);
            log.append(&saying("x").with_title("T"));
            log.pass(HOUR_S);
        }
        for hour in retentions.len() as u64..80 {
            log.now_s = began + i64::try_from(hour * HOUR_S).expect("not long");
            let is_listed = log.listed(None).is_some();
            assert_eq!(is_listed, hours.is_none_or(|hours| hour < hours), "{retentions:?} after {hour} hours");
            assert!(is_listed || log.texts().is_empty(), "{retentions:?} after {hour} hours");
            log.purge();
            assert_eq!(log.listed(None).is_some(), is_listed, "a purge changes no list ({retentions:?} after {hour} hours)");
        }
    }
}

#[tokio::test]
async fn append_after_expiry_starts_a_new_session() {
    for purged in [false, true] {
        let mut log = Timed::new(Some(HOUR_S)).await;
        log.append(&saying("old").with_title("Old").with_owner(Owner::new("ada").expect("a name")));
        let described = SessionUpdate::default().with_metadata(serde_json::Map::new());
        listing::update(&log.db, &session("s"), &described, log.now()).expect("an update").expect("a session");
        log.now_s += if purged { 2 * DAY_S } else { 3600 };
        if purged {
            log.purge();
            let texts = log.db.query_row("SELECT count(*) FROM sessions WHERE title IS NOT NULL", [], |row| row.get::<_, i64>(0));
            assert_eq!(texts.expect("a count"), 0, "the title is erased with its session");
        }
        assert_eq!(log.listed(Some("ada")), None);
        let titled = SessionUpdate::default().with_title("New".to_owned());
        assert_eq!(listing::update(&log.db, &session("s"), &titled, log.now()).expect("an update"), None);
        log.append(&saying("new").with_owner(Owner::new("bob").expect("a name")));
        let info = log.listed(Some("bob")).expect("it is listed");
        assert_eq!((info.title, info.metadata, info.created_at), (None, None, log.now()));
        assert_eq!(log.listed(Some("ada")).and_then(|info| info.owner), Some(Owner::new("bob").expect("a name")));
        assert_eq!(log.texts(), ["new"]);
    }
}

#[tokio::test]
async fn clock_set_back_never_lowers_last_activity() {
    let mut log = Timed::new(None).await;
    log.say("x");
    let first = log.now();
    log.now_s -= 1_000;
    log.say("y");
    assert_eq!(log.listed(None).and_then(|info| info.last_at), Some(first));
}

/// Both tables as text, and SQLite's own count of what others wrote.
fn tables(db: &Connection) -> (Vec<String>, i64) {
    let mut rows = Vec::new();
    for sql in [
        "SELECT json_array(id, first, swept, created_at, owner, title, metadata, last_at, expires_at) FROM sessions",
        "SELECT json_array(session, seq, hex(append_id), created_at, expires_at, purge_at, rewind, cleared_by, metadata, messages, sent_at) FROM records",
    ] {
        let mut query = db.prepare(sql).expect("a statement");
        rows.extend(query.query_map([], |row| row.get::<_, String>(0)).expect("rows").map(|row| row.expect("a row")));
    }
    (rows, db.pragma_query_value(None, "data_version", |row| row.get(0)).expect("a version"))
}

#[tokio::test]
async fn delete_of_a_missing_session_writes_nothing() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    say(&store, "deleted", "x").await;
    assert!(store.delete(&session("deleted")).await.expect("a delete").existed);
    let db = Connection::open(&path).expect("the file");
    let before = tables(&db);
    for id in ["deleted", "never", "deleted", "never"] {
        let position = store.load(&session(id), &Load::all()).await.expect("a load").position;
        let deleted = store.delete(&session(id)).await.expect("a delete");
        assert_eq!((deleted.existed, deleted.records), (false, 0), "{id}");
        assert_eq!(store.load(&session(id), &Load::all()).await.expect("a load").position, position, "{id}");
    }
    assert_eq!(tables(&db), before);
}

#[tokio::test]
async fn delete_erases_expired_records_and_earlier_leftovers() {
    let (_folder, path) = folder();
    let store = SqliteStore::builder(&path).retention(Duration::from_secs(HOUR_S)).open().await.expect("a new file");
    for id in ["expired", "half-deleted"] {
        say(&store, id, "secret").await;
    }
    // One has expired; the other's delete was interrupted before its sweep.
    change(
        &path,
        "UPDATE records SET expires_at = 1 WHERE session = 1; UPDATE sessions SET expires_at = 1 WHERE key = 1;
         INSERT INTO records (session, seq, append_id, created_at, rewind, messages) VALUES (2, 1, zeroblob(16), 1, 0, '[]');
         UPDATE sessions SET created_at = NULL, title = NULL, last_at = NULL, expires_at = NULL WHERE key = 2;",
    );
    for id in ["expired", "half-deleted"] {
        let deleted = store.delete(&session(id)).await.expect("a delete");
        assert_eq!((deleted.existed, deleted.records), (false, 1), "{id}");
        assert_eq!(store.delete(&session(id)).await.expect("a delete").records, 0, "{id}");
    }
    let left: i64 = Connection::open(&path)
        .expect("the file")
        .query_row("SELECT count(*) FROM records WHERE messages LIKE '%secret%'", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn list_shows_records_and_first_words_in_view() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    let shown = async |id: &str| {
        let info = store.session(&session(id)).await.expect("a look").expect("it is listed");
        (info.records, info.first_words)
    };
    let some = |records: u64, words: &str| (Some(records), Some(words.to_owned()));
    store.append(&session("s"), &Append::new([Message::system("Be brief.")])).await.expect("an append");
    assert_eq!(shown("s").await, (Some(1), None));
    for text in ["First", "Second", "Third"] {
        say(&store, "s", text).await;
    }
    assert_eq!(shown("s").await, some(4, "First"));
    // An edit of the first question, and another of the edit.
    for words in ["Edited", "Edited again"] {
        let history = store.load(&session("s"), &Load::all()).await.expect("a load");
        let seq = history.records[1].seq;
        let edit = Append::rewind(&history, seq, [Message::user(words)]).expect("it is in view");
        store.append(&session("s"), &edit).await.expect("an edit");
        assert_eq!(shown("s").await.1.as_deref(), Some(words));
    }
    store.clear(&session("s")).await.expect("a clear");
    assert_eq!(shown("s").await, (Some(0), None));
    say(&store, "s", "On").await;
    assert_eq!(shown("s").await, some(1, "On"));
    store.append(&session("s"), &Append::replace_all([Message::user("Replaced")])).await.expect("an append");
    assert_eq!(shown("s").await, some(1, "Replaced"));
    store.delete(&session("s")).await.expect("a delete");
    say(&store, "s", "New").await;
    assert_eq!(shown("s").await, some(1, "New"));

    for text in ["one", "two"] {
        say(&store, "part", text).await;
    }
    change(&path, "UPDATE records SET expires_at = 1 WHERE seq = 0 AND session = (SELECT key FROM sessions WHERE id = 'part')");
    assert_eq!(shown("part").await, some(1, "two"), "what has expired does not count");

    // What a list would have to read much for is left out.
    let long = format!("Long {}", "x".repeat(20_000));
    say(&store, "long", &long).await;
    assert_eq!(shown("long").await, (Some(1), None));
    say(&store, "long", "Short").await;
    assert_eq!(shown("long").await, (Some(2), None), "words of a later record are not the first");
    say(&store, "many", "One of many").await;
    change(
        &path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
         INSERT INTO records (session, seq, append_id, created_at, messages)
         SELECT session, i, randomblob(16), created_at, messages FROM records, n
         WHERE session = (SELECT key FROM sessions WHERE id = 'many') AND seq = 0",
    );
    assert_eq!(shown("many").await, some(601, "One of many"), "the very first record is in view unless a clear hides it");
    store.clear(&session("many")).await.expect("a clear");
    assert_eq!(shown("many").await, (Some(0), None));
}

/// A file written by a program of format 1: by writers with and without a retention of an hour, all of which passed long ago.
fn of_format_1() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    change(&path, include_str!("../../testdata/sqlite-format-1.sql"));
    change(&path, "PRAGMA journal_mode = wal");
    (folder, path)
}

#[tokio::test]
async fn format_1_file_is_read_and_upgraded() {
    for read_only in [true, false] {
        let (_folder, path) = of_format_1();
        // Larger than what is accepted today.
        let metadata = format!(r#"{{"x":"{}"}}"#, "x".repeat(100_000));
        change(&path, &format!("UPDATE sessions SET metadata = '{metadata}' WHERE id = 'kept'"));
        let store = SqliteStore::builder(&path).read_only(read_only).open().await.expect("an older file");
        let query = SessionQuery::of(Owner::new("ada").expect("a name"));
        let listed = async |query: &SessionQuery| {
            let page = store.sessions(query).await.expect("a page");
            page.sessions.into_iter().map(|info| info.id.to_string()).collect::<Vec<_>>()
        };
        // A session with only one hour's messages has ended; "again" was deleted and started again by such a writer.
        assert_eq!(listed(&query).await, ["lasting", "mixed", "kept"]);
        assert_eq!(listed(&query.clone().recent()).await, ["kept", "lasting", "mixed"]);
        assert_eq!(listed(&SessionQuery::unowned()).await, ["cleared"]);
        let all = listed(&SessionQuery::of_any_owner().recent()).await;
        assert_eq!(all.iter().filter(|id| *id != "cleared").collect::<Vec<_>>(), ["kept", "lasting", "mixed"]);
        let kept = store.session(&session("kept")).await.expect("a look").expect("a session");
        assert_eq!(
            (kept.created_at, kept.last_at),
            (Timestamp::from_millis(1_704_103_201_000), Some(Timestamp::from_millis(1_704_103_215_000)))
        );
        assert_eq!(kept.title.as_deref(), Some("Kept"));
        assert_eq!(kept.metadata.expect("metadata")["x"].as_str().map(str::len), Some(100_000));
        assert_eq!((kept.records, kept.first_words.as_deref()), (Some(3), Some("one")));
        assert_eq!(texts(&store, "kept").await, ["one", "two", "three"]);
        let history = store.load(&session("kept"), &Load::all()).await.expect("a load");
        assert_eq!(history.records[0].sent_at, []);
        assert_eq!(history.records[0].entry_times().collect::<Vec<_>>(), [Some(Timestamp::from_millis(1_704_103_201_000))]);
        assert_eq!(texts(&store, "mixed").await, ["kept"]);
        assert_eq!(store.session(&session("short")).await.expect("a look"), None);
        let version: i32 = Connection::open(&path)
            .expect("the file")
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .expect("a version");
        assert_eq!(version, if read_only { 1 } else { 2 });
        if !read_only {
            say(&store, "mixed", "more").await;
            assert_eq!(listed(&query.recent()).await, ["mixed", "kept", "lasting"]);
            assert!(store.append(&session("short"), &saying("x")).await.expect("an append").started);
            // On the first connection, and on those opened later.
            store
                .append(&session("kept"), &saying("four").sent_at([Some(Timestamp::from_millis(1_704_100_000_000))]))
                .await
                .expect("an append");
            drop(store);
            let store = SqliteStore::builder(&path).read_only(true).open().await.expect("a file of this version");
            let history = store.load(&session("kept"), &Load::all()).await.expect("a load");
            assert_eq!(history.records[3].sent_at, [Some(Timestamp::from_millis(1_704_100_000_000))]);
        }
    }
}

#[tokio::test]
async fn format_1_file_is_readable_on_a_full_disk() {
    let (_folder, path) = of_format_1();
    let pages: u32 =
        Connection::open(&path).expect("the file").pragma_query_value(None, "page_count", |row| row.get(0)).expect("a count");
    let store = SqliteStore::builder(&path).max_pages(pages).open().await.expect("an older file");
    assert_eq!(texts(&store, "kept").await, ["one", "two", "three"]);
    assert_eq!(store.list_all_sessions(None).await.expect("a page").sessions.len(), 4);
    let error = store.append(&session("kept"), &saying("four")).await.expect_err("no room");
    assert!(error.is_unavailable() && error.to_string().contains("no space left"), "{error}");
    assert_eq!(texts(&store, "kept").await, ["one", "two", "three"]);
    drop(store);
    let store = SqliteStore::open(&path).await.expect("room again");
    assert_eq!(say(&store, "kept", "four").await, 3);
}
