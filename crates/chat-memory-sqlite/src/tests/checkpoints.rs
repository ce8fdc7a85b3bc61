//! The table of checkpoints: its rows, when it is created, and what is erased.

use std::time::Duration;

use super::*;
use chat_memory_core::checkpoints::{CheckpointOptions, Condition, NewCheckpoint, Put, Row, RowPage, RowRange, Rows, Typed};
use chat_memory_core::store::Cost;
use chat_memory_core::{Error, ErrorKind};

use crate::checkpoints::SqliteRows;

fn row(sort: &str, body: &[u8]) -> Row {
    Row { sort: sort.to_owned(), body: body.to_vec(), purge_at: None }
}

async fn put(rows: &SqliteRows, partition: &str, row: &Row, condition: Condition) -> Result<Put, Error> {
    rows.put(partition, row, condition, &mut Cost::default()).await
}

async fn page(rows: &SqliteRows, partition: &str, range: &RowRange) -> RowPage {
    rows.page(partition, range, &mut Cost::default()).await.expect("a page")
}

fn range(from: &str, to: &str) -> RowRange {
    RowRange { from: from.to_owned(), to: to.to_owned(), descending: false, limit: None }
}

fn sorts(page: &RowPage) -> Vec<&str> {
    page.rows.iter().map(|row| row.sort.as_str()).collect()
}

fn checkpoint(id: &str, parent: Option<&str>, text: &str) -> NewCheckpoint {
    let json = |text: &str| Typed::new("json", text);
    NewCheckpoint::new(id, parent.map(str::to_owned), json(text), json("{}"))
}

fn tables(path: &Path) -> Vec<String> {
    let db = Connection::open(path).expect("the file");
    let mut query = db.prepare("SELECT name FROM sqlite_schema ORDER BY name").expect("a query");
    query.query_map([], |row| row.get(0)).expect("a query").collect::<Result<_, _>>().expect("the names")
}

#[tokio::test]
async fn row_is_put_on_its_condition() {
    let (_folder, path) = folder();
    let rows = SqliteStore::open(&path).await.expect("a new file").rows();
    let other = SqliteStore::open(&path).await.expect("the file").rows();
    let [a, b] = [row("s", b"a"), Row { purge_at: Some(Timestamp::from_secs(7_000_000_000)), ..row("s", &[0, 1, 255]) }];
    let mut cost = Cost::default();
    assert_eq!(rows.put("p", &a, Condition::Absent, &mut cost).await.expect("a put"), Put::Done);
    assert_eq!(other.put("p", &b, Condition::Absent, &mut cost).await.expect("a put"), Put::Taken(a.clone()));
    assert_eq!((cost.requests, cost.bytes), (2, 2));
    assert_eq!(put(&other, "q", &b, Condition::Absent).await.expect("another partition"), Put::Done);
    assert_eq!(put(&other, "p", &b, Condition::None).await.expect("a replacement"), Put::Done);
    assert_eq!(page(&rows, "p", &range("", "t")).await.rows, [b]);
    let mut cost = Cost::default();
    rows.delete("p", &["s".into(), "nothing".into()], &mut cost).await.expect("a delete");
    assert_eq!(cost.requests, 1);
    assert_eq!(page(&other, "p", &range("", "t")).await.rows, []);
    assert_eq!(page(&other, "q", &range("", "t")).await.rows.len(), 1);
}

#[tokio::test]
async fn ranges_are_in_the_order_of_bytes_and_end_at_their_limits() {
    let (_folder, path) = folder();
    let rows = SqliteStore::open(&path).await.expect("a new file").rows();
    let keys = ["a", "a#", "a#b", "a\u{e9}", "b", "b\u{ffff}", "b\u{1f600}", "c"];
    for sort in keys.iter().rev() {
        put(&rows, "p", &row(sort, sort.as_bytes()), Condition::Absent).await.expect("a put");
    }
    put(&rows, "p2", &row("a", b""), Condition::Absent).await.expect("a put");
    assert_eq!(sorts(&page(&rows, "p", &range("", "\u{10ffff}")).await), keys);
    assert_eq!(sorts(&page(&rows, "p", &range("a", "a#")).await), ["a", "a#"]);
    assert_eq!(sorts(&page(&rows, "p", &range("a\0", "a\u{10ffff}")).await), ["a#", "a#b", "a\u{e9}"]);
    assert_eq!(sorts(&page(&rows, "p", &range("b", "a")).await), [""; 0]);
    let down = RowRange { descending: true, limit: Some(2), ..range("b", "b\u{10ffff}") };
    let last = page(&rows, "p", &down).await;
    assert_eq!((sorts(&last), last.more), (vec!["b\u{1f600}", "b\u{ffff}"], true));
    let rest = page(&rows, "p", &RowRange { to: "b\u{fffe}".into(), ..down }).await;
    assert_eq!((sorts(&rest), rest.more), (vec!["b"], false));
    let exact = page(&rows, "p", &RowRange { limit: Some(8), ..range("", "z") }).await;
    assert_eq!((exact.rows.len(), exact.more), (8, false));
    // Large rows end a page early.
    for n in 0..15 {
        put(&rows, "large", &row(&format!("{n:02}"), &vec![n; 380_000]), Condition::None).await.expect("a put");
    }
    let first = page(&rows, "large", &range("", "z")).await;
    assert_eq!((first.rows.len(), first.more), (11, true));
    let second = page(&rows, "large", &range("10\0", "z")).await;
    assert_eq!((sorts(&second), second.more), (vec!["11", "12", "13", "14"], false));
}

#[tokio::test]
async fn partitions_come_in_pages() {
    let (_folder, path) = folder();
    let rows = SqliteStore::open(&path).await.expect("a new file").rows();
    let all = async |prefix: &str| {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let (some, next) = rows.partitions(prefix, after.as_deref(), &mut Cost::default()).await.expect("a page");
            found.extend(some);
            pages += 1;
            after = next;
            if after.is_none() {
                return (found, pages);
            }
        }
    };
    assert_eq!(all("ckpt#").await, (Vec::new(), 1));
    for partition in ["ckpt", "ckpu#", "ns#a#ckpt#t"] {
        put(&rows, partition, &row("s", b""), Condition::None).await.expect("a put");
    }
    let expected: Vec<String> = (0..2_000).map(|n| format!("ckpt#{n:04}")).collect();
    let db = Connection::open(&path).expect("the file");
    db.execute_batch("BEGIN").expect("a transaction");
    for (partition, sort) in expected.iter().flat_map(|partition| ["a", "b"].map(|sort| (partition, sort))) {
        db.execute("INSERT INTO checkpoints VALUES (?1, ?2, x'', NULL)", [partition, sort]).expect("a row");
    }
    db.execute_batch("COMMIT").expect("a commit");
    assert_eq!(all("ckpt#").await, (expected, 20));
    assert_eq!(all("ns#a#").await, (vec!["ns#a#ckpt#t".to_owned()], 1));
}

#[tokio::test]
async fn table_is_created_with_its_first_row_and_the_version_stays() {
    for (format, version) in [
        ("", 2),
        (include_str!("../../testdata/sqlite-format-1.sql"), 2),
        (include_str!("../../testdata/sqlite-format-3.sql"), 3),
    ] {
        let (_folder, path) = folder();
        change(&path, format);
        let store = SqliteStore::open(&path).await.expect("the file");
        say(&store, "s", "a message").await;
        let before = tables(&path);
        let thread = session("s");
        let checkpoints = store.checkpoints(CheckpointOptions::default());
        assert_eq!(checkpoints.load(&thread, "", None).await.expect("a load").value, None);
        assert_eq!(checkpoints.threads(None).await.expect("a list").value, (Vec::new(), None));
        checkpoints.delete_thread(&thread).await.expect("nothing to delete");
        store.rows().delete("p", &["s".into()], &mut Cost::default()).await.expect("nothing to delete");
        store.purge().await.expect("nothing to purge");
        assert_eq!(tables(&path), before, "nothing was put");
        checkpoints.put(&thread, "", checkpoint("1", None, "body")).await.expect("a put");
        let added: Vec<String> = tables(&path).into_iter().filter(|name| !before.contains(name)).collect();
        assert_eq!(added, ["checkpoint_purges", "checkpoints"]);
        let db = Connection::open(&path).expect("the file");
        assert_eq!(db.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0)).expect("a version"), version);
        assert_eq!(db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).expect("a check"), "ok");
        assert_eq!(texts(&store, "s").await, ["a message"], "sessions and threads do not meet");
        drop((store, checkpoints, db));
        let reopened = SqliteStore::open(&path).await.expect("the file").checkpoints(CheckpointOptions::default());
        assert_eq!(reopened.load(&thread, "", None).await.expect("a load").value.expect("it is there").id, "1");
    }
}

#[tokio::test]
async fn read_only_store_reads_checkpoints_and_refuses_to_put() {
    for format in ["", include_str!("../../testdata/sqlite-format-1.sql")] {
        let (_folder, path) = folder();
        change(&path, format);
        if format.is_empty() {
            drop(SqliteStore::open(&path).await.expect("a new file"));
        }
        let thread = session("s");
        let before = std::fs::read(&path).expect("the file");
        let reader = SqliteStore::builder(&path).read_only(true).open().await.expect("the file");
        let checkpoints = reader.checkpoints(CheckpointOptions::default());
        assert_eq!(checkpoints.load(&thread, "", None).await.expect("a load").value, None);
        let error = checkpoints.put(&thread, "", checkpoint("1", None, "body")).await.expect_err("it is read-only");
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
        drop((reader, checkpoints));
        assert!(std::fs::read(&path).expect("the file") == before, "the file is as it was");
        let writer = SqliteStore::open(&path).await.expect("the file").checkpoints(CheckpointOptions::default());
        writer.put(&thread, "", checkpoint("1", None, "body")).await.expect("a put");
        let reader = SqliteStore::builder(&path).read_only(true).open().await.expect("the file");
        let checkpoints = reader.checkpoints(CheckpointOptions::default());
        assert_eq!(checkpoints.load(&thread, "", None).await.expect("a load").value.expect("it is there").id, "1");
        let error = checkpoints.delete_thread(&thread).await.expect_err("it is read-only");
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    }
}

#[tokio::test]
async fn expired_rows_are_purged() {
    for way in ["purge", "open", "put", "append"] {
        let (_folder, path) = folder();
        let store = SqliteStore::builder(&path).retention(Duration::from_secs(3_600)).open().await.expect("a new file");
        let checkpoints = store.checkpoints(CheckpointOptions::default());
        let text = "the secret number is 23";
        for thread in 0..100 {
            let new = checkpoint("1", None, text);
            checkpoints.put(&session(&format!("t{thread}")), "", new).await.expect("a put");
        }
        let kept = SqliteStore::open(&path).await.expect("the file");
        let forever = kept.checkpoints(CheckpointOptions::default());
        forever.put(&session("kept"), "", checkpoint("1", None, "kept")).await.expect("a put");
        let db = Connection::open(&path).expect("the file");
        let count = || db.query_row("SELECT count(*) FROM checkpoints", [], |row| row.get::<_, u64>(0)).expect("a count");
        assert_eq!((store.purge().await.expect("nothing yet").records, count()), (0, 101));
        // They stay for twice their time and a day.
        let due = |seconds: i64| format!("UPDATE checkpoints SET purge_at = purge_at - {seconds} WHERE purge_at IS NOT NULL");
        db.execute_batch(&due(86_400 + 7_100)).expect("a change");
        assert_eq!(store.purge().await.expect("nothing yet").records, 0);
        db.execute_batch(&due(100)).expect("a change");
        match way {
            "purge" => assert_eq!(store.purge().await.expect("a purge").records, 100),
            "open" => drop(SqliteStore::open(&path).await.expect("the file")),
            "put" => {
                for n in 1..=128 {
                    let new = checkpoint(&format!("{n:03}"), (n > 1).then(|| format!("{:03}", n - 1)).as_deref(), "new");
                    forever.put(&session("new"), "", new).await.expect("a put");
                }
                forever.delete_thread(&session("new")).await.expect("a delete");
            }
            _ => {
                for n in 0..128 {
                    say(&kept, "other", &n.to_string()).await;
                }
            }
        }
        let left: u64 = db
            .query_row("SELECT count(*) FROM checkpoints WHERE partition LIKE 'ckpt#t%'", [], |row| row.get(0))
            .expect("a count");
        // Opening the file takes a few, as do appends and puts now and then.
        assert!(if way == "open" { left == 36 } else { left == 0 }, "{way}: {left}");
        assert_eq!(forever.load(&session("kept"), "", None).await.expect("a load").value.expect("it is there").id, "1");
    }
}

#[tokio::test]
async fn deleted_threads_leave_no_traces() {
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    let checkpoints = store.checkpoints(CheckpointOptions::default());
    let holds = |text: &str| {
        contents(folder.path()).iter().any(|(_, bytes)| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    // The rows are compressed, so their ids are what can be found.
    for n in 1..=20 {
        let (id, parent) = (format!("secret-{n:02}"), (n > 1).then(|| format!("secret-{:02}", n - 1)));
        let mut new = checkpoint(&id, parent.as_deref(), "body");
        new.run_id = Some("run-secret".into());
        checkpoints.put(&session("s"), "", new).await.expect("a put");
    }
    checkpoints.put(&session("kept"), "", checkpoint("kept-1", None, "body")).await.expect("a put");
    assert!(holds("run-secret"));
    checkpoints.delete_thread(&session("s")).await.expect("a delete");
    assert!(!holds("run-secret"), "in the file, or in its log");
    assert!(holds("kept-1"));
}

#[tokio::test]
async fn full_disk_and_lock_are_reported_and_nothing_is_put() {
    let (_folder, path) = folder();
    let store = SqliteStore::builder(&path).max_pages(30).open().await.expect("a new file");
    let rows = store.rows();
    let error = put(&rows, "p", &row("s", &[7; 200_000]), Condition::Absent).await.expect_err("there is no space");
    assert!(error.is_unavailable() && error.to_string().contains("no space left"), "{error}");
    assert_eq!(page(&rows, "p", &range("", "z")).await.rows, []);
    put(&rows, "p", &row("s", b"small"), Condition::Absent).await.expect("it fits");
    drop((store, rows));
    let store = SqliteStore::builder(&path).busy_timeout(Duration::from_millis(30)).open().await.expect("the file");
    let rows = store.rows();
    let other = Connection::open(&path).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let error = put(&rows, "p", &row("t", b"x"), Condition::Absent).await.expect_err("it is locked");
    assert!(error.is_unavailable() && error.to_string().contains("locked"), "{error}");
    assert_eq!(sorts(&page(&rows, "p", &range("", "z")).await), ["s"]);
    other.execute_batch("ROLLBACK").expect("the lock is released");
    put(&rows, "p", &row("t", b"x"), Condition::Absent).await.expect("it is free");
}
