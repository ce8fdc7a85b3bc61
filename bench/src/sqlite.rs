//! The SQLite store compared with bare rusqlite: the same statements with the same pragmas, on a file that the library created.
//!
//! The raw side is one connection on the calling thread with prepared statements: what a program that needs no more would write. It
//! gets the messages as JSON text and builds none.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_memory::store::sqlite::SqliteStore;
use chat_memory::store::{ChatStore as _, Load};
use chat_memory::{Message, SessionId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};
use serde_json::Value;

use crate::Result;
use crate::measure::{Comparison, Ratio, Rounds, alternate};
use crate::turns::{LOADED_TURNS, WINDOW, turn};

/// The comparisons: an append and a window's load, with bare rusqlite as one writes it, and with the setting by which SQLite does not
/// compile a prepared statement again whenever other values are bound (QPSG), which the library sets.
pub async fn compare(rounds: Rounds) -> Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for qpsg in [false, true] {
        let [append, load, parsed] = against(rounds, qpsg).await?;
        let [statements, unparsed, values] = if qpsg {
            ["the same, with QPSG", "the same, with QPSG, text not parsed", "the same, with QPSG, its JSON parsed by serde_json"]
        } else {
            [
                "the same statements on bare rusqlite",
                "the same statements on bare rusqlite, text not parsed",
                "the same, its JSON parsed by serde_json",
            ]
        };
        let line = |library, raw, aim, ratio| Comparison { library, raw, aim: Some(aim), ratio };
        comparisons.extend([
            line("SQLite: append a turn", statements, 1.3, append),
            line("SQLite: load a window", unparsed, 1.3, load),
            line("SQLite: load a window", values, 1.15, parsed),
        ]);
    }
    Ok(comparisons)
}

/// The ratios of an append, a load and a load with its JSON parsed.
async fn against(rounds: Rounds, qpsg: bool) -> Result<[Ratio; 3]> {
    let folder = tempfile::tempdir()?;
    let session = SessionId::new("bench")?;

    // Each side has its own file; the library created both and started the session in both.
    let ours = SqliteStore::open(folder.path().join("library.db")).await?;
    let theirs = SqliteStore::open(folder.path().join("raw.db")).await?;
    for store in [&ours, &theirs] {
        store.append(&session, &turn(0)).await?;
    }
    let raw = Raw::open(theirs.path(), qpsg)?;
    let name = session.as_str();
    for number in 1..LOADED_TURNS {
        ours.append(&session, &turn(number)).await?;
        raw.append(name, &texts(number))?;
    }
    check_equal(&ours, &theirs, &raw, &session).await?;

    let load = Load::last(WINDOW);
    let read_library = async || {
        ours.load(&session, &load).await?;
        Ok(())
    };
    let load_ratio = alternate(rounds, read_library, async || raw.load(name).map(drop)).await?;
    let parsed_ratio = alternate(rounds, read_library, async || raw.load_parsed(name).map(drop)).await?;

    // Both are built before the clock starts: the library's messages, and the raw side's text.
    let mut turns = batch(rounds).map(turn).collect::<Vec<_>>().into_iter();
    let mut jsons = batch(rounds).map(texts).collect::<Vec<_>>().into_iter();
    let append_ratio = alternate(
        rounds,
        async || {
            let turn = turns.next().ok_or("more appends than turns")?;
            ours.append(&session, &turn).await?;
            Ok(())
        },
        async || raw.append(name, &jsons.next().ok_or("more appends than turns")?),
    )
    .await?;
    check_equal(&ours, &theirs, &raw, &session).await?;
    Ok([append_ratio, load_ratio, parsed_ratio])
}

/// The numbers of the turns that are appended while the clock runs, including the warm-up.
fn batch(rounds: Rounds) -> impl Iterator<Item = usize> {
    LOADED_TURNS..LOADED_TURNS + (rounds.pairs + 1) * rounds.operations
}

/// A turn's messages as the library stores them.
pub fn texts(number: usize) -> String {
    let messages: Vec<Value> = turn(number).messages().map(Message::to_value).collect();
    Value::Array(messages).to_string()
}

/// Checks that both files hold the same messages in the same number of records, and that the raw side loads the library's window.
async fn check_equal(ours: &SqliteStore, theirs: &SqliteStore, raw: &Raw, session: &SessionId) -> Result {
    let (ours_all, theirs_all) = (ours.load(session, &Load::all()).await?, theirs.load(session, &Load::all()).await?);
    if ours_all.records.len() != theirs_all.records.len() || !ours_all.messages().eq(theirs_all.messages()) {
        return Err("bare rusqlite did not write what the library writes; compare bench/src/sqlite.rs with the store".into());
    }
    let window = ours.load(session, &Load::last(WINDOW)).await?;
    let mut values = raw.load_parsed(session.as_str())?;
    values.reverse();
    let messages = values.into_iter().flatten().map(Message::from_value).collect::<std::result::Result<Vec<_>, _>>()?;
    if !window.messages().eq(&messages) {
        return Err("bare rusqlite did not load the window that the library loads; compare bench/src/sqlite.rs".into());
    }
    Ok(())
}

/// The raw side.
pub struct Raw {
    db: Connection,
}

const HEAD: &str = "SELECT s.key, s.created_at IS NOT NULL, s.first, r.seq, r.append_id FROM sessions s LEFT JOIN records r \
    ON r.session = s.key WHERE s.id = ?1 ORDER BY r.seq DESC LIMIT 1";
/// The list of sessions is sorted by last activity.
const ACTIVE: &str =
    "UPDATE sessions SET last_at = max(ifnull(last_at, ?2), ?2), expires_at = max(expires_at, NULL) WHERE key = ?1";
const INSERT: &str = "INSERT INTO records (session, seq, append_id, created_at, expires_at, purge_at, rewind, metadata, messages) \
    VALUES (?1, ?2, ?3, ?4, NULL, NULL, NULL, NULL, ?5)";
const RECORDS: &str = "SELECT seq, append_id, created_at, expires_at, rewind, cleared_by, metadata, messages FROM records \
    WHERE session = ?1 AND seq <= ?2 ORDER BY seq DESC";

impl Raw {
    pub fn open(path: &Path, qpsg: bool) -> Result<Self> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(Duration::from_secs(10))?;
        db.pragma_update(None, "synchronous", "FULL")?;
        if cfg!(target_os = "macos") {
            db.pragma_update(None, "fullfsync", true)?;
        }
        db.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, qpsg)?;
        Ok(Self { db })
    }

    fn head(&self, session: &str) -> Result<(i64, u64)> {
        let head = self.db.prepare_cached(HEAD)?.query_row([session], |row| {
            let (_listed, _first, _append_id): (bool, u64, [u8; 16]) = (row.get(1)?, row.get(2)?, row.get(4)?);
            Ok((row.get(0)?, row.get(3)?))
        });
        Ok(head?)
    }

    fn run(&self, sql: &str) -> Result {
        Ok(self.db.prepare_cached(sql)?.execute([]).map(drop)?)
    }

    pub fn append(&self, session: &str, messages: &str) -> Result {
        self.run("BEGIN IMMEDIATE")?;
        let (key, newest) = self.head(session)?;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let append_id = uuid::Uuid::new_v4().into_bytes();
        self.db.prepare_cached(ACTIVE)?.execute(params![key, now])?;
        self.db.prepare_cached(INSERT)?.execute(params![key, newest + 1, append_id, now, messages])?;
        self.run("COMMIT")
    }

    /// The texts of the newest records, newest first, until they contain the window's messages (two each).
    pub fn load(&self, session: &str) -> Result<Vec<String>> {
        self.run("BEGIN")?;
        let (key, newest) = self.head(session)?;
        let mut texts = Vec::new();
        {
            let mut query = self.db.prepare_cached(RECORDS)?;
            let mut rows = query.query(params![key, newest])?;
            while texts.len() * 2 < WINDOW {
                let Some(row) = rows.next()? else { break };
                let _: (u64, [u8; 16], i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let _: (Option<i64>, Option<u64>, Option<u64>) = (row.get(3)?, row.get(4)?, row.get(5)?);
                let _: Option<String> = row.get(6)?;
                texts.push(row.get(7)?);
            }
        }
        self.run("ROLLBACK")?;
        Ok(texts)
    }

    pub fn load_parsed(&self, session: &str) -> Result<Vec<Vec<Value>>> {
        let texts = self.load(session)?;
        Ok(texts.iter().map(|text| serde_json::from_str(text)).collect::<std::result::Result<_, _>>()?)
    }
}
