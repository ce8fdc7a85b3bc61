//! Erasing: what clears hid, and what is past its time.

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::log::{STAYS_S, Transaction, damaged_record, damaged_session, unlist};

/// Records erased per transaction, so that other writers need not wait long.
const PER_STEP: u64 = 64;

pub(super) const NEWEST_CLEAR: &str = "SELECT max(seq) FROM records WHERE session = ?1 AND rewind = 0";

pub(super) const BEFORE: &str = "SELECT 1 FROM records WHERE session = ?1 AND seq = ?2 - 1";

pub(super) const TAKEN_BACK: &str = "SELECT 1 FROM records WHERE session = ?1 AND seq > ?2 AND rewind > 0 AND rewind <= ?2";

pub(super) const NEXT_ROW: &str = "SELECT min(seq) FROM records WHERE session = ?1 AND seq >= ?2";

pub(super) const IS_DUE: &str = "SELECT 1 FROM records WHERE purge_at <= ?1 LIMIT 1";

/// What one step of a sweep did.
pub(super) struct Step {
    pub(super) records: u64,
    pub(super) done: bool,
}

/// Sweeps the next few records below the session's newest clear: each becomes a stub that keeps its append id.
pub(super) fn sweep(db: &Connection, session: &str, now_ms: i64) -> Result<Step, Failure> {
    let transaction = Transaction::to_write(db)?;
    // What SQLite itself meets is said of the file, a value that cannot be of the session.
    let damaged = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(_) => error.into(),
        None => damaged_session(session, &error),
    };
    let found = db
        .prepare_cached("SELECT key, max(first, swept) FROM sessions WHERE id = ?1")?
        .query_row([session], |row| Ok((row.get::<_, i64>(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0))))
        .optional()
        .map_err(damaged)?;
    let Some((key, from)) = found else { return Ok(Step { records: 0, done: true }) };
    let clear: Option<u64> = db.prepare_cached(NEWEST_CLEAR)?.query_row([key], |row| row.get(0)).map_err(damaged)?;
    let Some(clear) = clear.filter(|clear| *clear > from) else { return Ok(Step { records: 0, done: true }) };
    // What is swept is lost, so a record that cannot be a clear clears nothing: one whose number does not follow, or that was taken back.
    let is_there = db.prepare_cached(BEFORE)?.exists(params![key, clear])?;
    let is_taken_back = db.prepare_cached(TAKEN_BACK)?.exists(params![key, clear])?;
    if !is_there || is_taken_back {
        let why = if is_there { "a later one takes it back" } else { "the record before it is missing" };
        return Err(damaged_record(session, clear, &format_args!("it is a clear, but {why}; nothing was swept")));
    }
    // Over a gap at once: between numbers that cannot be there may be too many steps.
    let next: Option<u64> = db.prepare_cached(NEXT_ROW)?.query_row(params![key, from], |row| row.get(0)).map_err(damaged)?;
    let from = next.map_or(clear, |next| next.min(clear));
    let to = clear.min(from + PER_STEP);
    let records = db
        .prepare_cached(
            "UPDATE records SET messages = NULL, metadata = NULL, sent_at = NULL, rewind = NULL, expires_at = NULL, cleared_by = ?4, purge_at = ?5
             WHERE session = ?1 AND seq >= ?2 AND seq < ?3 AND messages IS NOT NULL",
        )?
        .execute(params![key, from, to, clear, now_ms.div_euclid(1000) + STAYS_S])?;
    db.prepare_cached("UPDATE sessions SET swept = ?2 WHERE key = ?1")?.execute(params![key, to])?;
    transaction.commit()?;
    Ok(Step { records: records as u64, done: to == clear })
}

/// Empties the write-ahead log, which still holds what was erased from the file. Where another process is reading at
/// the moment, old pages stay in it until they are overwritten or the last process closes the file.
pub(super) fn empty_log_of_writes(db: &Connection) -> Result<(), Failure> {
    let is_busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if is_busy {
        tracing::debug!("the write-ahead log is in use and was not emptied");
    }
    Ok(())
}

/// Erases a few of the records that are past their time, from the write-ahead log as well, and returns how many.
pub(super) fn purge_a_little(db: &Connection, now_ms: i64) -> Result<u64, Failure> {
    let purged = purge(db, now_ms)?;
    if purged > 0 {
        empty_log_of_writes(db)?;
    }
    Ok(purged)
}

/// Erases a few of the records that are past their time, and returns how many: 0 when there are none left.
///
/// A record in the middle of its log becomes a dead stub (no messages, no time to go) that keeps its place and its rewind;
/// the dead ones at the log's beginning go for good. The newest stays, so that no number is ever given twice.
pub(super) fn purge(db: &Connection, now_ms: i64) -> Result<u64, Failure> {
    let now_s = now_ms.div_euclid(1000);
    // Mostly there is nothing to do, and this needs no lock.
    let due = db.prepare_cached(IS_DUE)?.query_row([now_s], |_| Ok(())).optional()?;
    if due.is_none() {
        return Ok(0);
    }
    let transaction = Transaction::to_write(db)?;
    let mut sessions: Vec<i64> = db
        .prepare_cached(
            "UPDATE records SET messages = NULL, metadata = NULL, sent_at = NULL, purge_at = NULL
             WHERE rowid IN (SELECT rowid FROM records WHERE purge_at <= ?1 ORDER BY purge_at LIMIT ?2) RETURNING session",
        )?
        .query_map(params![now_s, PER_STEP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let purged = sessions.len() as u64;
    sessions.sort_unstable();
    sessions.dedup();
    for key in sessions {
        drop_dead(db, key, now_s)?;
    }
    transaction.commit()?;
    Ok(purged)
}

/// Deletes the dead records at the beginning of a log, but for the newest. A session whose records have all expired leaves the directory.
fn drop_dead(db: &Connection, key: i64, now_s: i64) -> Result<(), Failure> {
    let newest: u64 = db.prepare_cached("SELECT max(seq) FROM records WHERE session = ?1")?.query_row([key], |row| row.get(0))?;
    let first_alive: Option<u64> = db
        .prepare_cached(
            "SELECT seq FROM records WHERE session = ?1 AND (messages IS NOT NULL OR purge_at IS NOT NULL) ORDER BY seq LIMIT 1",
        )?
        .query_row([key], |row| row.get(0))
        .optional()?;
    let first = first_alive.unwrap_or(newest);
    db.prepare_cached("DELETE FROM records WHERE session = ?1 AND seq < ?2")?.execute(params![key, first])?;
    db.prepare_cached("UPDATE sessions SET first = ?2 WHERE key = ?1")?.execute(params![key, first])?;
    let is_over = db.prepare_cached("SELECT 1 FROM sessions WHERE key = ?1 AND expires_at <= ?2")?.exists(params![key, now_s])?;
    if is_over {
        unlist(db, key)?;
    }
    Ok(())
}
