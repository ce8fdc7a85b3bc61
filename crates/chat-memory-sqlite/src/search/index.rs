//! The search index: its tables and triggers, and how it is built for what the file has already. docs/formats.md describes them.
//!
//! Triggers keep the index in the transaction of each write, so every program that writes to the file keeps it, also an older
//! one. They use only what SQLite itself can do.

use rusqlite::{Connection, params};

use crate::failure::Failure;
use crate::log::Transaction;

/// What one step of building the index covers at most: records, and bytes of JSON before it ends.
const RECORDS: u64 = 256;
const BYTES: u64 = 2_000_000;

/// The searchable text of a record: at least that of its messages. A hit is checked against the record itself.
macro_rules! text_of {
    ($messages:expr) => {
        concat!(
            "(SELECT group_concat(atom, char(10)) FROM json_tree(",
            $messages,
            ") WHERE type = 'text' AND key IN ('content', 'text'))"
        )
    };
}

/// A damaged record has no text, and its session can still be cleared.
macro_rules! valid {
    ($messages:literal) => {
        concat!("CASE WHEN json_valid(", $messages, ") THEN ", $messages, " ELSE '[]' END")
    };
}

/// Removes the text of a record that is erased, if it was indexed.
macro_rules! erase {
    () => {
        concat!(
            "BEGIN INSERT INTO search (search, rowid, text) SELECT 'delete', OLD.session << 32 | OLD.seq, text FROM (SELECT ",
            text_of!(valid!("OLD.messages")),
            " AS text) WHERE text IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM unsearched WHERE session = OLD.session AND first <= OLD.seq AND next > OLD.seq); END;"
        )
    };
}

/// The index has no copy of the text (`content=''`). With secure-delete, what is erased is not left in it.
const CREATE: &str = concat!(
    "CREATE VIRTUAL TABLE search USING fts5(text, content='', tokenize='unicode61 remove_diacritics 2');
     INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
     CREATE TABLE unsearched (session INTEGER PRIMARY KEY, first INTEGER NOT NULL, next INTEGER NOT NULL) STRICT;
     INSERT INTO unsearched SELECT session, min(seq), max(seq) + 1 FROM records GROUP BY session;
     CREATE INDEX rewinds ON records (session, seq, rewind) WHERE rewind IS NOT NULL;
     CREATE TRIGGER search_added AFTER INSERT ON records WHEN NEW.messages <> '[]' AND NEW.seq < 4294967296 AND NEW.session < 2147483648
     BEGIN INSERT INTO search (rowid, text) SELECT NEW.session << 32 | NEW.seq, text FROM (SELECT ",
    text_of!("NEW.messages"),
    " AS text) WHERE text IS NOT NULL; END;
     CREATE TRIGGER search_erased AFTER UPDATE OF messages ON records WHEN OLD.messages <> '[]' AND NEW.messages IS NULL
     AND OLD.seq < 4294967296 AND OLD.session < 2147483648 ",
    erase!(),
    "CREATE TRIGGER search_deleted AFTER DELETE ON records WHEN OLD.messages <> '[]' AND OLD.seq < 4294967296 AND OLD.session < 2147483648 ",
    erase!()
);

const DROP: &str =
    "DROP TRIGGER IF EXISTS search_added; DROP TRIGGER IF EXISTS search_erased; DROP TRIGGER IF EXISTS search_deleted;
    DROP INDEX IF EXISTS rewinds; DROP TABLE IF EXISTS unsearched; DROP TABLE IF EXISTS search;";

const ADD: &str = concat!(
    "INSERT INTO search (rowid, text) SELECT session << 32 | seq, text FROM (SELECT session, seq, ",
    text_of!(valid!("r.messages")),
    " AS text FROM records r WHERE session = ?1 AND seq >= ?2 AND seq < ?3 AND messages <> '[]'
     AND seq < 4294967296 AND session < 2147483648) WHERE text IS NOT NULL"
);

/// Whether the file has an index, and whether it covers everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    Incomplete,
    Complete,
}

pub(crate) fn state(db: &Connection) -> rusqlite::Result<State> {
    let there = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'unsearched'";
    if !db.prepare_cached(there)?.exists([])? {
        return Ok(State::Absent);
    }
    let is_left = db.prepare_cached("SELECT 1 FROM unsearched LIMIT 1")?.exists([])?;
    Ok(if is_left { State::Incomplete } else { State::Complete })
}

/// Creates the index unless there is one. What is written from now on is indexed at once. Returns how many records are left to add.
pub(crate) fn create(db: &Connection) -> Result<u64, Failure> {
    let transaction = Transaction::to_write(db)?;
    if state(db)? == State::Absent {
        db.execute_batch(CREATE)?;
    }
    let left = db.query_row("SELECT ifnull(sum(next - first), 0) FROM unsearched", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(left)
}

/// Adds the next records to the index. Returns how many it passed: 0 if none were left.
pub(crate) fn build_a_little(db: &Connection) -> Result<u64, Failure> {
    let transaction = Transaction::to_write(db)?;
    if state(db)? != State::Incomplete {
        return Ok(0);
    }
    let (mut passed, mut bytes) = (0, 0);
    while passed < RECORDS && bytes < BYTES {
        let next = db
            .prepare_cached("SELECT session, first, next FROM unsearched ORDER BY session LIMIT 1")?
            .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?, row.get::<_, u64>(2)?)));
        let (session, first, next) = match next {
            Ok(next) => next,
            Err(rusqlite::Error::QueryReturnedNoRows) => break,
            Err(error) => return Err(error.into()),
        };
        let (mut to, limit) = (first, next.min(first.saturating_add(RECORDS - passed)));
        // Its length is known without reading it.
        let mut sizes = db.prepare_cached(
            "SELECT seq, ifnull(octet_length(messages), 0) FROM records WHERE session = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq",
        )?;
        let mut sizes = sizes.query(params![session, first, limit])?;
        while let Some(row) = sizes.next()? {
            to = row.get::<_, u64>(0)? + 1;
            bytes += row.get::<_, u64>(1)?;
            if bytes >= BYTES {
                break;
            }
        }
        // What is no longer there was purged.
        let to = if bytes >= BYTES { to } else { limit };
        db.prepare_cached(ADD)?.execute(params![session, first, to])?;
        if to < next {
            db.prepare_cached("UPDATE unsearched SET first = ?2 WHERE session = ?1")?.execute(params![session, to])?;
        } else {
            db.prepare_cached("DELETE FROM unsearched WHERE session = ?1")?.execute([session])?;
        }
        passed += to - first;
    }
    transaction.commit()?;
    Ok(passed)
}

/// Adds a record whose text was removed, unless the index does not cover it yet. The caller has begun the transaction.
pub(crate) fn add(db: &Connection, session: i64, seq: i64) -> rusqlite::Result<()> {
    if state(db)? == State::Absent {
        return Ok(());
    }
    let is_left = db
        .prepare_cached("SELECT 1 FROM unsearched WHERE session = ?1 AND first <= ?2 AND next > ?2")?
        .exists(params![session, seq])?;
    if !is_left {
        db.prepare_cached(ADD)?.execute(params![session, seq, seq + 1])?;
    }
    Ok(())
}

/// Removes the index. Returns whether there was one.
pub(crate) fn remove(db: &Connection) -> Result<bool, Failure> {
    let transaction = Transaction::to_write(db)?;
    let there = state(db)? != State::Absent;
    if there {
        db.execute_batch(DROP)?;
    }
    transaction.commit()?;
    Ok(there)
}
