//! Entries that are not messages, and the version of the file that has them.

use super::*;
use chat_memory_core::Entry;
use chat_memory_core::store::Position;
use serde_json::{Value, json};

fn version(path: &Path) -> i32 {
    Connection::open(path).expect("the file").pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
}

fn entry(value: Value) -> Entry {
    Entry::from_value(value).expect("an object")
}

async fn entries(store: &SqliteStore, id: &str) -> Vec<Entry> {
    store.load(&session(id), &Load::all()).await.expect("a load").into_entries()
}

#[tokio::test]
async fn a_file_of_format_3_is_read_and_goes_on() {
    for read_only in [true, false] {
        let (_folder, path) = folder();
        change(&path, include_str!("../../testdata/sqlite-format-3.sql"));
        change(&path, "PRAGMA journal_mode = wal");
        let store = SqliteStore::builder(&path).read_only(read_only).open().await.expect("a file of this version");
        let question = json!({"role": "user", "content": "Wie warm ist es?"});
        let line = json!({"parentUuid": null, "type": "user", "message": question, "uuid": "u-1", "n": [1, 1.0, u64::MAX]});
        let answer = json!({"role": "assistant", "content": "21 °C."});
        let summary = json!({"type": "summary", "summary": "Wetter", "id": "s-1"});
        assert_eq!(entries(&store, "mixed").await, [question, line, answer, summary].map(entry));
        assert_eq!(texts(&store, "mixed").await, ["Wie warm ist es?", "21 °C."]);
        let history = store.load(&session("mixed"), &Load::all()).await.expect("a load");
        assert_eq!(
            history.records[1].sent_at,
            [Some(1_795_390_703_102), None, Some(1_795_390_703_152)].map(|at| at.map(Timestamp::from_millis))
        );
        assert_eq!(texts(&store, "plain").await, ["plain"]);
        if !read_only {
            assert_eq!(say(&store, "mixed", "Und morgen?").await, 2);
        }
        assert_eq!(version(&path), 3);
    }
}

#[tokio::test]
async fn the_first_other_entry_raises_the_version_in_its_transaction() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    say(&store, "s", "a message").await;
    assert_eq!(version(&path), 2, "programs that know only messages read it");
    let other = entry(json!({"type": "summary", "summary": "…"}));
    let append = Append::new([other.clone()]).with_expected(Position::new(7, None, Timestamp::UNIX_EPOCH));
    assert!(store.append(&session("s"), &append).await.expect_err("another position").is_conflict());
    assert_eq!(version(&path), 2, "nothing was written");
    let reader = SqliteStore::open(&path).await.expect("another handle");
    assert_eq!(texts(&reader, "s").await, ["a message"]);
    store.append(&session("s"), &Append::new([other.clone()])).await.expect("an append");
    assert_eq!(version(&path), 3);
    assert_eq!(entries(&reader, "s").await, [Message::user("a message").into(), other.clone()]);
    drop((store, reader));
    assert_eq!(entries(&SqliteStore::open(&path).await.expect("the file"), "s").await.len(), 2);
    // In a file of messages, anything else is damage.
    change(&path, "PRAGMA user_version = 2");
    let store = SqliteStore::open(&path).await.expect("the file");
    let error = store.load(&session("s"), &Load::all()).await.expect_err("no message");
    assert!(error.is_corrupt() && error.to_string().contains("record 1"), "{error}");
    store.append(&session("t"), &Append::new([other])).await.expect("an append");
    assert_eq!(version(&path), 3);
}

#[tokio::test]
async fn a_file_of_format_1_takes_other_entries_once_it_is_upgraded() {
    let (_folder, path) = folder();
    change(&path, include_str!("../../testdata/sqlite-format-1.sql"));
    let store = SqliteStore::open(&path).await.expect("an older file");
    assert_eq!(version(&path), 2);
    store.append(&session("kept"), &Append::new([entry(json!({"n": 1}))])).await.expect("an append");
    assert_eq!((version(&path), entries(&store, "kept").await.len()), (3, 4));
}
