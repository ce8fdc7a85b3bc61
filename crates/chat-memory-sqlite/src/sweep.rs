//! Erases what clears have hidden and what has expired.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::checkpoints::DELETE as DELETE_CHECKPOINT;
use super::failure::Failure;
use super::log::{STAYS, Transaction, damaged_record, damaged_session, unlist};
use super::schema;
use chat_memory_core::Timestamp;

/// Records erased per transaction, so that other writers do not wait long.
const PER_STEP: u64 = 64;

/// The wait for another connection that is emptying the write-ahead log.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(2);

pub(super) const NEWEST_CLEAR: &str = "SELECT max(seq) FROM records WHERE session = ?1 AND rewind = 0";

pub(super) const BEFORE: &str = "SELECT 1 FROM records WHERE session = ?1 AND seq = ?2 - 1";

pub(super) const TAKEN_BACK: &str = "SELECT 1 FROM records WHERE session = ?1 AND seq > ?2 AND rewind > 0 AND rewind <= ?2";

pub(super) const NEXT_ROW: &str = "SELECT min(seq) FROM records WHERE session = ?1 AND seq >= ?2";

pub(super) const IS_DUE: &str = "SELECT 1 FROM records WHERE purge_at <= ?1 LIMIT 1";

pub(super) const DUE_CHECKPOINTS: &str = "SELECT partition, sort FROM checkpoints WHERE purge_at <= ?1 LIMIT ?2";

/// The result of one step of a sweep.
pub(super) struct Step {
    pub(super) records: u64,
    pub(super) done: bool,
}

/// Sweeps the next few records below the session's newest clear: each becomes a stub that keeps its append id.
pub(super) fn sweep(db: &Connection, session: &str, now: Timestamp) -> Result<Step, Failure> {
    let transaction = Transaction::to_write(db)?;
    // SQLite's own errors concern the file; an impossible value concerns the session.
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
    // Swept data is lost, so an implausible clear clears nothing: one whose number does not follow, or that was removed by a
    // rewind.
    let is_there = db.prepare_cached(BEFORE)?.exists(params![key, clear])?;
    let is_taken_back = db.prepare_cached(TAKEN_BACK)?.exists(params![key, clear])?;
    if !is_there || is_taken_back {
        let why = if is_there { "a later record removed it" } else { "the record before it is missing" };
        return Err(damaged_record(session, clear, &format_args!("it is a clear, but {why}; nothing was swept")));
    }
    // Skips a gap in one step: between impossible numbers there may be too many.
    let next: Option<u64> = db.prepare_cached(NEXT_ROW)?.query_row(params![key, from], |row| row.get(0)).map_err(damaged)?;
    let from = next.map_or(clear, |next| next.min(clear));
    let to = clear.min(from + PER_STEP);
    let records = db
        .prepare_cached(
            "UPDATE records SET messages = NULL, metadata = NULL, sent_at = NULL, rewind = NULL, expires_at = NULL, cleared_by = ?4, purge_at = ?5
             WHERE session = ?1 AND seq >= ?2 AND seq < ?3 AND messages IS NOT NULL",
        )?
        .execute(params![key, from, to, clear, (now + STAYS).as_secs()])?;
    db.prepare_cached("UPDATE sessions SET swept = ?2 WHERE key = ?1")?.execute(params![key, to])?;
    transaction.commit()?;
    Ok(Step { records: records as u64, done: to == clear })
}

/// Empties the write-ahead log, which still holds what was erased from the file. If another process is reading until the busy
/// timeout, old pages stay in it, or in the file, until they are overwritten or the last process closes the file. Returns whether it
/// was emptied.
pub(super) fn empty_log_of_writes(db: &Connection) -> Result<bool, Failure> {
    let timeout: u64 = db.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
    let (start, timeout) = (Instant::now(), Duration::from_millis(timeout));
    // SQLite waits for readers and writers itself, but not for another connection that is emptying the log: that one is soon done.
    while db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))? {
        if start.elapsed() >= timeout {
            tracing::debug!("the write-ahead log is in use and was not emptied");
            return Ok(false);
        }
        thread::sleep(BETWEEN_ATTEMPTS);
    }
    Ok(true)
}

/// Erases a few of the expired records, also from the write-ahead log, and returns how many.
pub(super) fn purge_a_little(db: &Connection, now: Timestamp) -> Result<u64, Failure> {
    let purged = purge(db, now)?;
    if purged > 0 {
        empty_log_of_writes(db)?;
    }
    Ok(purged)
}

/// Erases a few of the expired records and returns how many: 0 if none are left.
///
/// A record in the middle of its log becomes a dead stub (no messages, no expiry) that keeps its number and its rewind; dead
/// stubs at the start of the log are deleted. The newest record stays, so that no number is ever used twice.
pub(super) fn purge(db: &Connection, now: Timestamp) -> Result<u64, Failure> {
    Ok(purge_records(db, now)? + purge_checkpoints(db, now)?)
}

/// Deletes a few of the rows of checkpoints that may go, and returns how many.
fn purge_checkpoints(db: &Connection, now: Timestamp) -> Result<u64, Failure> {
    if !schema::has_checkpoints(db)? {
        return Ok(0);
    }
    let due = || -> rusqlite::Result<Vec<(String, String)>> {
        let mut query = db.prepare_cached(DUE_CHECKPOINTS)?;
        query.query_map(params![now.as_secs(), PER_STEP], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    if due()?.is_empty() {
        return Ok(0);
    }
    let transaction = Transaction::to_write(db)?;
    // Read again: another process may have deleted some, or put others in their place.
    let due = due()?;
    let mut delete = db.prepare_cached(DELETE_CHECKPOINT)?;
    for (partition, sort) in &due {
        delete.execute([partition, sort])?;
    }
    transaction.commit()?;
    Ok(due.len() as u64)
}

fn purge_records(db: &Connection, now: Timestamp) -> Result<u64, Failure> {
    // Usually there is nothing to do, and this needs no lock.
    let due = db.prepare_cached(IS_DUE)?.query_row([now.as_secs()], |_| Ok(())).optional()?;
    if due.is_none() {
        return Ok(0);
    }
    let transaction = Transaction::to_write(db)?;
    let mut sessions: Vec<i64> = db
        .prepare_cached(
            "UPDATE records SET messages = NULL, metadata = NULL, sent_at = NULL, purge_at = NULL
             WHERE rowid IN (SELECT rowid FROM records WHERE purge_at <= ?1 ORDER BY purge_at LIMIT ?2) RETURNING session",
        )?
        .query_map(params![now.as_secs(), PER_STEP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let purged = sessions.len() as u64;
    sessions.sort_unstable();
    sessions.dedup();
    for key in sessions {
        drop_dead(db, key, now)?;
    }
    transaction.commit()?;
    Ok(purged)
}

/// Deletes the dead records at the start of a log, except the newest. A session whose records have all expired leaves the
/// directory.
fn drop_dead(db: &Connection, key: i64, now: Timestamp) -> Result<(), Failure> {
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
    let is_over =
        db.prepare_cached("SELECT 1 FROM sessions WHERE key = ?1 AND expires_at <= ?2")?.exists(params![key, now.as_secs()])?;
    if is_over {
        unlist(db, key)?;
    }
    Ok(())
}
