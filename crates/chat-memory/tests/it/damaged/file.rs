//! Damages each column of a SQLite file in every way that the file allows, as a program that ignores types could.

use std::path::{Path, PathBuf};

use chat_memory::store::Load;
use chat_memory::store::sqlite::SqliteStore;
use chat_memory::{Append, ChatStore, Message, SessionId};
use rusqlite::Connection;

use super::turns::{Kept, view};
use super::values::{deep, some};
use super::{Tally, examine, shown};

async fn written(path: &Path) -> (SessionId, Vec<Kept>) {
    let store = SqliteStore::open(path).await.expect("a new file");
    let session = SessionId::new("the session").expect("a good id");
    let mut records = Vec::new();
    let said = |text: &str| vec![Message::user(text), Message::assistant(format!("{text}, indeed"))];
    let mut put = async |append: Append| {
        let appended = store.append(&session, &append).await.expect("an append");
        records.push((appended.seq, append.rewinds_to(), append.metadata().cloned(), append.messages().cloned().collect()));
    };
    put(Append::new(said("erased"))).await;
    put(Append::clear()).await;
    store.sweep(&session).await.expect("a sweep");
    let trace = serde_json::json!({"trace": 7}).as_object().cloned().expect("an object");
    put(Append::new(said("first")).with_metadata(trace)).await;
    put(Append::new(said("taken back"))).await;
    let history = store.load(&session, &Load::all()).await.expect("a load");
    put(Append::rewind(&history, 3, said("instead")).expect("a rewind")).await;
    put(Append::new(said("last"))).await;
    records.remove(0);
    assert_eq!(shown(&store, &session, &Load::all(), "nothing").await.expect("a load"), view(&records, None));
    (session, records)
}

/// The replacement values, as SQL.
fn values() -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = [
        "NULL",
        "0",
        "1",
        "3",
        "-1",
        "1.5",
        "9223372036854775807",
        "-9223372036854775808",
        "1e300",
        "''",
        "'x'",
        "'1'",
        "x''",
        "x'00'",
        "x'07070707070707070707070707070707'",
        "zeroblob(1000000)",
        "CAST(x'ff' AS TEXT)",
        "'[]'",
        "'{}'",
        "'[1, null]'",
        r#"'[{"role":"robot"}]'"#,
        r#"'[{"role":"user","content":{}}]'"#,
        r#"'{"x": 1e999999999}'"#,
    ]
    .into_iter()
    .map(|value| (value.to_owned(), value.to_owned()))
    .collect();
    values.push(("deep JSON".to_owned(), format!("'{}'", deep(100_000))));
    values.push(("a large text".to_owned(), format!("'{}'", "x".repeat(1_000_000))));
    values
}

/// Removes SQLite's type checks from the file, to allow whatever a damaged disk or another program may leave.
fn unguarded(from: &Path, to: &Path) -> Connection {
    std::fs::copy(from, to).expect("a copy");
    let db = Connection::open(to).expect("the copy");
    db.execute_batch(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(replace(sql, ') STRICT', ')'), 'NOT NULL', '') WHERE type = 'table';
         PRAGMA writable_schema = RESET;",
    )
    .expect("a schema without types");
    db
}

const RECORDS: [&str; 8] = ["seq", "append_id", "created_at", "expires_at", "purge_at", "rewind", "cleared_by", "metadata"];
const SESSIONS: [&str; 8] = ["first", "swept", "created_at", "owner", "title", "metadata", "last_at", "expires_at"];

#[tokio::test(flavor = "multi_thread")]
async fn damaged_column_is_refused_or_harmless() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole: PathBuf = folder.path().join("whole.db");
    let (session, records) = written(&whole).await;
    let mut tally = Tally::default();
    let columns = RECORDS.iter().chain(&["messages"]).flat_map(|column| (0..=5).map(|seq| ("records", *column, seq)));
    let columns: Vec<_> = columns.chain(SESSIONS.iter().map(|column| ("sessions", *column, 0_u64))).collect();
    let cases = columns.into_iter().flat_map(|place| values().into_iter().map(move |value| (place, value)));
    for ((table, column, seq), (how, value)) in some(cases) {
        let what = format!("{how} as {column} of {table} {seq}");
        let path = folder.path().join("damaged.db");
        for file in ["damaged.db", "damaged.db-wal", "damaged.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(file));
        }
        let db = unguarded(&whole, &path);
        let which = if table == "records" { format!("WHERE seq = {seq}") } else { String::new() };
        // A value that cannot be stored next to the others is no damage.
        if db.execute(&format!("UPDATE {table} SET {column} = {value} {which}"), []).is_err() {
            continue;
        }
        drop(db);
        let mut allowed = vec![view(&records, None)];
        let at = records.iter().position(|record| record.0 == seq).filter(|_| table == "records");
        let number = value.trim_matches('\'').parse::<i64>().ok();
        if let Some(at) = at {
            let mut others = records.clone();
            match column {
                "expires_at" if number.is_some_and(|at| at < 2_000_000_000) => allowed.push(view(&records, Some(seq))),
                // The newest record can be missing unnoticed.
                "seq" if value == "NULL" && at + 1 == records.len() => {
                    others.pop();
                    allowed.push(view(&others, None));
                }
                // A rewind that hides much hides it from any number.
                "seq" => {
                    others[at].0 = number.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(seq);
                    others.sort_by_key(|record| record.0);
                    allowed.push(view(&others, None));
                }
                "rewind" => {
                    others[at].1 = number.and_then(|to| u64::try_from(to).ok());
                    allowed.push(view(&others, None));
                }
                "metadata" if ["NULL", "'{}'"].contains(&value.as_str()) => {
                    others[at].2 = (value != "NULL").then(serde_json::Map::new);
                    allowed.push(view(&others, None));
                }
                "messages" if value == "'[]'" && records[at].1.is_some() => {
                    others[at].3.clear();
                    allowed.push(view(&others, None));
                }
                _ => {}
            }
        }
        match SqliteStore::open(&path).await {
            Ok(store) => examine(&store, &session, &allowed, "", &what, &mut tally).await,
            Err(error) => assert!(error.is_corrupt(), "{what}: {error:?}"),
        }
    }
    tally.close("columns", 1_000, 200, 50);
}
