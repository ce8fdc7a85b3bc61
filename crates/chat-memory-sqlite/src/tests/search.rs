//! The search index: what it finds, what it leaves behind, and how it is built.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::search::index::{self, State};
use chat_memory_core::backend::search_by_reading;
use chat_memory_core::store::{ChatStoreExt as _, SearchHit, SearchPage, SearchQuery, SearchScope};
use chat_memory_core::{Entry, Owner};

async fn indexed(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(path).await.expect("the file");
    store.build_search_index(&mut |_, _| ()).await.expect("an index");
    store
}

async fn hits(store: &SqliteStore, query: &SearchQuery) -> Vec<SearchHit> {
    let (mut hits, mut query) = (Vec::new(), query.clone());
    loop {
        let page = store.search(&query).await.expect("a search");
        assert!(page.indexed && page.warnings.is_empty(), "{page:?}");
        hits.extend(page.hits);
        match page.next {
            Some(next) => query = query.after(next),
            None => return hits,
        }
    }
}

/// The messages found, as texts.
async fn found(store: &SqliteStore, words: &str) -> Vec<String> {
    let mut texts: Vec<_> = hits(store, &SearchQuery::new(words)).await.into_iter().map(|hit| hit.snippet.text).collect();
    texts.sort();
    texts
}

/// What a store holds in its index: the number of rows.
fn rows(path: &Path) -> i64 {
    let db = Connection::open(path).expect("the file");
    db.execute_batch("INSERT INTO search (search) VALUES ('integrity-check')").expect("an intact index");
    db.query_row("SELECT count(*) FROM search_docsize", [], |row| row.get(0)).expect("a count")
}

fn holds(folder: &Path, what: &str) -> bool {
    contents(folder).iter().any(|(_, bytes)| bytes.windows(what.len()).any(|w| w.eq_ignore_ascii_case(what.as_bytes())))
}

/// Text with words of its own for each number, so that the index has many pages. FTS5 stores a word without the beginning that it shares with
/// the one before it, so half of them begin otherwise; the others are in what separates its pages.
fn secret(n: usize) -> String {
    let letters = |n: usize| [n % 26, n / 26 % 26, n / 676 % 26].map(|n| char::from(b'a' + u8::try_from(n).expect("a letter")));
    let words = (0..60).map(|k| {
        let own = letters(n * 97 + k * 31).iter().collect::<String>();
        if k % 2 == 0 { format!("{own}secretword{k}") } else { format!("secretword{own}{k}") }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// In each of the ways in which text is erased.
#[tokio::test]
async fn erased_text_is_not_left_in_the_index() {
    for way in ["clear", "delete", "purge", "delete, indexed later", "remove the index", "clear without secure-delete"] {
        let (folder, path) = folder();
        let retention = Duration::from_secs(3_600);
        let store = SqliteStore::builder(&path).retention(retention).open().await.expect("a new file");
        let kept = SqliteStore::open(&path).await.expect("the file, without a retention");
        if way != "delete, indexed later" {
            store.build_search_index(&mut |_, _| ()).await.expect("an index");
        }
        for n in 0..150 {
            say(&store, "s", &secret(n)).await;
            say(&kept, "other", &format!("kept {n}")).await;
        }
        store.build_search_index(&mut |_, _| ()).await.expect("an index");
        assert!(holds(folder.path(), "secretword") && rows(&path) == 300);
        assert_eq!(hits(&store, &SearchQuery::new("kept").limit(1_000)).await.len(), 150);
        match way {
            "clear without secure-delete" => {
                change(&path, "INSERT INTO search (search, rank) VALUES ('secure-delete', 0)");
                store.clear(&session("s")).await.expect("a clear");
                assert!(holds(folder.path(), "secretword"), "what this test looks for can be there");
                continue;
            }
            "clear" => drop(store.clear(&session("s")).await.expect("a clear")),
            "purge" => {
                change(
                    &path,
                    "UPDATE records SET expires_at = expires_at - 172800, purge_at = purge_at - 172800 WHERE purge_at IS NOT NULL",
                );
                store.purge().await.expect("a purge");
            }
            "remove the index" => {
                assert!(store.remove_search_index().await.expect("removed"));
                assert!(!store.remove_search_index().await.expect("nothing to remove"));
                store.clear(&session("s")).await.expect("a clear");
                assert!(!holds(folder.path(), "secretword"), "after {way}");
                continue;
            }
            _ => drop(store.delete(&session("s")).await.expect("a delete")),
        }
        assert_eq!(rows(&path), 150, "after {way}");
        assert!(!holds(folder.path(), "secretword"), "in the file, or in its log, after {way}");
        assert_eq!(hits(&store, &SearchQuery::new("kept").limit(1_000)).await.len(), 150, "after {way}");
        assert!(found(&store, "aaasecretword0").await.is_empty());
    }
}

#[tokio::test]
async fn best_hits_come_first_and_the_newest_among_equals() {
    let (_folder, path) = folder();
    let store = indexed(&path).await;
    for text in ["apple pie, and pears", "apple", "the pie of pears and plums", "apple", "nothing"] {
        say(&store, "s", text).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    store.append(&session("apple"), &saying("x").with_title("Fruit")).await.expect("an append");
    let hits = hits(&store, &SearchQuery::new("apple")).await;
    let places: Vec<_> = hits.iter().map(|hit| hit.message.map(|message| message.seq)).collect();
    assert_eq!(places, [None, Some(3), Some(1), Some(0)], "the session first, then the shortest texts, the newest first");
}

#[tokio::test]
async fn index_is_built_in_steps_while_others_write() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    for n in 0..700 {
        say(&store, &format!("s{}", n % 3), &format!("before {n}")).await;
    }
    say(&store, "gone", "before gone").await;
    let other = SqliteStore::open(&path).await.expect("the file");
    // Another process begins, and is killed after one step.
    let db = Connection::open(&path).expect("the file");
    assert_eq!(index::create(&db).expect("tables"), 701);
    assert_eq!(index::create(&db).expect("there already"), 701);
    assert!(index::build_a_little(&db).expect("a step") >= 256);
    assert_eq!(index::state(&db).expect("a state"), State::Incomplete);
    let page = store.search(&SearchQuery::new("before").limit(1_000)).await.expect("a search");
    assert!(!page.indexed && page.hits.len() == 701, "until it is complete, the sessions are read");

    // What is written and erased meanwhile, of what is indexed already and of what is not.
    say(&other, "s0", "before and after").await;
    other.clear(&session("s1")).await.expect("a clear");
    other.delete(&session("gone")).await.expect("a delete");
    say(&other, "gone", "before gone again").await;
    let mut steps = Vec::new();
    store.build_search_index(&mut |done, all| steps.push((done, all))).await.expect("the rest");
    assert!(steps.len() > 1 && steps.is_sorted() && steps.last().is_some_and(|(done, all)| done == all), "{steps:?}");
    let indexed = hits(&store, &SearchQuery::new("before").limit(1_000)).await;
    assert_eq!(indexed.len(), 701 - 233 + 1);
    // Nothing is left to do.
    let mut steps = Vec::new();
    store.build_search_index(&mut |done, all| steps.push((done, all))).await.expect("complete");
    assert_eq!(steps, [(0, 0)]);
    other.delete(&session("s0")).await.expect("a delete");
    other.delete(&session("s2")).await.expect("a delete");
    other.delete(&session("gone")).await.expect("a delete");
    assert_eq!(rows(&path), 0, "what was indexed is removed once, and what was not never");
}

/// An earlier release knows nothing of the index: its statements are those of any other writer.
#[tokio::test]
async fn statements_of_earlier_releases_keep_the_index() {
    let (_folder, path) = folder();
    let store = indexed(&path).await;
    say(&store, "s", "one").await;
    let record = "INSERT INTO records (session, seq, append_id, created_at, messages) VALUES (1, 1, x'00000000000000000000000000000001', 5,
         '[{\"role\":\"user\",\"content\":\"written long ago\"}]')";
    change(&path, record);
    assert_eq!(found(&store, "long").await, ["written long ago"]);
    change(&path, "UPDATE records SET messages = NULL, cleared_by = 2 WHERE seq = 1; DELETE FROM records WHERE seq = 1");
    assert_eq!((found(&store, "long").await.len(), rows(&path)), (0, 1));
    let version: i32 =
        Connection::open(&path).expect("the file").pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    assert_eq!(version, 2, "what they may ignore does not raise the version");
}

#[tokio::test]
async fn expired_messages_are_not_found() {
    let (_folder, path) = folder();
    let store = SqliteStore::builder(&path).retention(Duration::from_secs(3_600)).open().await.expect("a new file");
    store.build_search_index(&mut |_, _| ()).await.expect("an index");
    say(&store, "s", "expired word").await;
    say(&SqliteStore::open(&path).await.expect("the file"), "s", "kept word").await;
    assert_eq!(found(&store, "word").await, ["expired word", "kept word"]);
    change(&path, "UPDATE records SET expires_at = expires_at - 7200 WHERE expires_at IS NOT NULL");
    assert_eq!((found(&store, "word").await, rows(&path)), (vec!["kept word".to_owned()], 2), "though it is not purged yet");
}

#[tokio::test]
async fn damaged_records_are_named_and_hide_nothing_else() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    for n in 0..3 {
        say(&store, "s", &format!("word {n}")).await;
    }
    change(&path, "UPDATE records SET messages = 'no JSON word' WHERE seq = 1");
    store.build_search_index(&mut |_, _| ()).await.expect("an index of the rest");
    assert_eq!(found(&store, "word").await, ["word 0", "word 2"]);
    change(&path, "UPDATE records SET messages = '[7]' WHERE seq = 2");
    let page = store.search(&SearchQuery::new("word")).await.expect("a search");
    assert_eq!((page.hits.len(), page.warnings.len()), (1, 1), "{page:?}");
    assert!(page.warnings[0].contains("record 2 of session \"s\" was not searched"), "{page:?}");
    store.clear(&session("s")).await.expect("a clear erases them all the same");
}

#[tokio::test]
async fn read_only_store_searches_and_builds_nothing() {
    let (_folder, path) = folder();
    say(&indexed(&path).await, "s", "a word").await;
    let store = SqliteStore::builder(&path).read_only(true).open().await.expect("the file");
    assert_eq!(found(&store, "word").await, ["a word"]);
    assert!(store.build_search_index(&mut |_, _| ()).await.expect_err("refused").is_read_only());
    assert!(store.remove_search_index().await.expect_err("refused").is_read_only());
}

/// Random sessions, with everything that hides records. The index finds what reading the sessions finds.
#[tokio::test]
async fn index_finds_what_reading_finds() {
    let words = ["apple", "Äpfel", "pear", "PEAR-tree", "plum", "日本語", "don't", "x\u{0}y", "ё", "\"quoted\""];
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (_folder, path) = folder();
        let store = SqliteStore::open(&path).await.expect("a new file");
        for step in 0..120 {
            if step == 60 {
                store.build_search_index(&mut |_, _| ()).await.expect("an index");
            }
            let id = session(["a", "b", "plum tree"][random.usize(..3)]);
            let text: Vec<&str> = (0..random.usize(1..5)).map(|_| words[random.usize(..words.len())]).collect();
            let text = text.join(" ");
            let history = store.load(&id, &Load::all()).await.expect("a load");
            let line = serde_json::json!({"type": "line", "message": {"content": [{"text": text}]}});
            let entry = Entry::from_value(line);
            let append = match random.u8(..12) {
                0 => Append::clear(),
                1 | 2 if !history.records.is_empty() => {
                    let to = history.records[random.usize(..history.records.len())].seq;
                    Append::rewind(&history, to, [Message::user(text)]).expect("a record in view")
                }
                3 => {
                    store.delete(&id).await.expect("a delete");
                    continue;
                }
                4 => {
                    store.sweep(&id).await.expect("a sweep");
                    continue;
                }
                5 => Append::new([entry.expect("an entry")]),
                _ => Append::new([Message::user(text), Message::assistant("pear")]),
            };
            store.append_with_retry(&id, append.with_owner(Owner::new("ada").expect("an owner"))).await.expect("an append");
        }
        for search in ["apple", "apfel", "pear", "pear tree", "pl", "don t", "x y", "y", "ё", "quoted plum", "ada", "tree"] {
            for scope in [SearchScope::All, SearchScope::Session(session("a")), SearchScope::Unowned] {
                let query = SearchQuery::new(search).within(scope).limit(1_000);
                let read: SearchPage = search_by_reading(&store, &query).await.expect("reading");
                let set = |hits: &[SearchHit]| hits.iter().map(|hit| format!("{hit:?}")).collect::<BTreeSet<_>>();
                let small = hits(&store, &query.clone().limit(3)).await;
                assert_eq!(set(&small), set(&read.hits), "{search} {:?}, seed {seed}", query.scope);
                assert_eq!(small.len(), read.hits.len(), "each once");
            }
        }
        rows(&path);
    }
}

/// What a writer pays for the index, in pages: the same 1,000 turns of some 600 bytes, each in a transaction of its own.
#[tokio::test]
async fn index_costs_a_few_pages_per_append() {
    let mut costs = Vec::new();
    for has_index in [false, true] {
        let (_folder, path) = folder();
        let store = SqliteStore::open(&path).await.expect("a new file");
        if has_index {
            store.build_search_index(&mut |_, _| ()).await.expect("an index");
        }
        drop(store);
        let db = Connection::open(&path).expect("the file");
        let number = |sql: &str, column: usize| db.query_row(sql, [], |row| row.get::<_, i64>(column)).expect(sql);
        number("PRAGMA wal_autocheckpoint = 0", 0);
        number("PRAGMA wal_checkpoint(TRUNCATE)", 0);
        let mut random = fastrand::Rng::with_seed(1);
        for turn in 0..1_000 {
            // Of 4,000 words, few of which are frequent, as in a language.
            let mut text = || (0..50).map(|_| format!("w{} ", (4_000.0 * random.f64().powi(4)) as u32)).collect::<String>();
            let append = Append::new([Message::user(text()), Message::assistant(text())]);
            let now = Timestamp::from_secs(1_700_000_000 + turn);
            let new = crate::log::NewRecord::of(&session("s"), &append, false, now).expect("a record");
            let transaction = crate::log::Transaction::to_write(&db).expect("no one else writes");
            assert!(crate::log::append_within(&db, &new, now, None).is_ok());
            transaction.commit().expect("a commit");
        }
        let frames = number("PRAGMA wal_checkpoint(PASSIVE)", 1);
        costs.push((frames, number("PRAGMA page_count", 0)));
    }
    let [(frames, pages), (indexed_frames, indexed_pages)] = costs[..] else { panic!("two files") };
    println!(
        "pages written: {frames}, with the index {indexed_frames}; pages of the file: {pages}, with the index {indexed_pages}"
    );
    assert!(indexed_frames > frames && indexed_pages > pages, "{costs:?}");
    assert!(indexed_frames < frames * 4 && indexed_pages < pages * 2, "{costs:?}");
}
