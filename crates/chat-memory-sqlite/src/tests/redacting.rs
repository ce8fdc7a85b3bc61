//! What a redaction leaves in the file.

use super::*;
use chat_memory_core::store::{ChatStore, Load, Redaction, SearchQuery};

fn holds(folder: &Path, what: &str) -> bool {
    contents(folder).iter().any(|(_, bytes)| bytes.windows(what.len()).any(|w| w.eq_ignore_ascii_case(what.as_bytes())))
}

/// Long texts have pages of their own, and the index others.
#[tokio::test]
async fn redacted_text_is_in_no_file() {
    for is_indexed in [false, true] {
        let (folder, path) = folder();
        let store = SqliteStore::open(&path).await.expect("a new file");
        if is_indexed {
            store.build_search_index(&mut |_, _| ()).await.expect("an index");
        }
        let session = session("trip");
        for n in 0..20 {
            let long = "harmless ".repeat(900);
            let text = if n == 7 { format!("wholesecret {long} secretpart") } else { format!("keep{n} {long}") };
            store.append(&session, &saying(&text)).await.expect("an append");
        }
        assert!(holds(folder.path(), "wholesecret") && holds(folder.path(), "secretpart"));
        let redacted = store.redact(&session, 7, &Redaction::new()).await.expect("a redaction");
        assert!(redacted.changed && redacted.entries == 1, "{redacted:?}");
        for part in ["wholesecret", "secretpart"] {
            assert!(!holds(folder.path(), part), "indexed: {is_indexed}");
        }
        assert!(holds(folder.path(), "keep6") && holds(folder.path(), "keep8"));
        let found = async |words: &str| {
            let page = store.search(&SearchQuery::new(words)).await.expect("a search");
            assert_eq!(page.indexed, is_indexed);
            page.hits.len()
        };
        assert_eq!((found("wholesecret").await, found("keep8").await, found("redacted").await), (0, 1, 1));
    }
}

/// A record that the index does not cover yet is added once, when the index is built.
#[tokio::test]
async fn record_is_redacted_while_the_index_is_built() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    let session = session("trip");
    for n in 0..3 {
        store.append(&session, &saying(&format!("word{n}"))).await.expect("an append");
    }
    store.0.write(crate::search::index::create).await.expect("an index without content");
    store.redact(&session, 1, &Redaction::new()).await.expect("a redaction");
    store.build_search_index(&mut |_, _| ()).await.expect("an index");
    let db = rusqlite::Connection::open(&path).expect("the file");
    db.execute_batch("INSERT INTO search (search) VALUES ('integrity-check')").expect("an intact index");
    let rows: i64 = db.query_row("SELECT count(*) FROM search_docsize", [], |row| row.get(0)).expect("a count");
    assert_eq!(rows, 3);
}

/// What another process may still read cannot be erased: the redaction says so, and a repeat does it.
#[tokio::test]
async fn redaction_says_that_a_reader_keeps_the_old_text() {
    let (folder, path) = folder();
    let store = SqliteStore::builder(&path).busy_timeout(std::time::Duration::from_millis(30)).open().await.expect("a new file");
    let session = session("trip");
    store.append(&session, &saying("wholesecret")).await.expect("an append");
    let reader = rusqlite::Connection::open(&path).expect("the file");
    reader.execute_batch("BEGIN").expect("a transaction");
    let _: i64 = reader.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).expect("a count");

    let error = store.redact(&session, 0, &Redaction::new()).await.expect_err("it is read");
    assert!(error.is_contended() && error.to_string().contains("repeat the redaction"), "{error}");
    assert!(store.load(&session, &Load::all()).await.expect("a load").messages().all(|message| message.text() == "[redacted]"));
    drop(reader);
    assert!(!store.redact(&session, 0, &Redaction::new()).await.expect("a repeat").changed);
    assert!(!holds(folder.path(), "wholesecret"));
}

#[tokio::test]
async fn read_only_store_refuses_to_redact() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    let session = session("trip");
    store.append(&session, &saying("word")).await.expect("an append");
    let reader = SqliteStore::builder(&path).read_only(true).open().await.expect("the file");
    let error = reader.redact(&session, 0, &Redaction::new()).await.expect_err("a refusal");
    assert!(error.is_read_only(), "{error}");
}
