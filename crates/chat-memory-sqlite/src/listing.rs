//! The directory: the listed sessions are the rows of `sessions` with a time, until their last record has expired.

use rusqlite::{Connection, OptionalExtension as _, Row, Rows, params};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::log::{Transaction, to_json};
use chat_memory_core::backend::{Cursor, first_words, numbers_in_view};
use chat_memory_core::error::Error;
use chat_memory_core::store::{Cost, SessionInfo, SessionOrder, SessionPage, SessionQuery, SessionUpdate};
use chat_memory_core::{Entry, Owner, SessionId, Timestamp};

/// The columns of a listed session, in the order that [`info`] reads them.
macro_rules! listed {
    () => {
        "SELECT id, created_at, owner, title, metadata, last_at, key FROM sessions
         WHERE created_at IS NOT NULL AND (expires_at IS NULL OR expires_at > ?1)"
    };
}

pub(super) const BY_START: &str =
    concat!(listed!(), " AND owner IS ?2 AND (created_at, id) < (?3, ?4) ORDER BY created_at DESC, id DESC LIMIT ?5");

pub(super) const BY_ACTIVITY: &str =
    concat!(listed!(), " AND owner IS ?2 AND (last_at, id) < (?3, ?4) ORDER BY last_at DESC, id DESC LIMIT ?5");

/// A page of all sessions, whoever owns them, in the order of this column. No index has them so: it would cost each append a page. The
/// table is scanned as it lies, since the indexes that there are lead to its rows in another order, and only keys are sorted.
macro_rules! of_any_owner {
    ($column:literal) => {
        concat!(
            "SELECT id, created_at, owner, title, metadata, last_at, key FROM sessions WHERE key IN (
                 SELECT key FROM sessions NOT INDEXED
                 WHERE created_at IS NOT NULL AND (expires_at IS NULL OR expires_at > ?1) AND (",
            $column,
            ", id) < (?2, ?3) ORDER BY ",
            $column,
            " DESC, id DESC LIMIT ?4) ORDER BY ",
            $column,
            " DESC, id DESC"
        )
    };
}

pub(super) const ALL_BY_START: &str = of_any_owner!("created_at");

pub(super) const ALL_BY_ACTIVITY: &str = of_any_owner!("last_at");

/// A session's entry, by its number in the file.
pub(super) const BY_KEY: &str = concat!(listed!(), " AND key = ?2");

/// All sessions, those of an owner, or one, newest first, after the first few.
pub(super) const SEARCHED: &str = concat!(
    listed!(),
    " AND (?2 = 0 OR owner IS ?3) AND (?4 IS NULL OR id = ?4) ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?5"
);

const EVERY: &str = concat!(listed!(), " AND id > ?2 ORDER BY id LIMIT ?3");

const ONE: &str = concat!(listed!(), " AND id = ?2");

/// The first and the last number that a session has in the file, and its last clear with whether that holds entries. Only the index is
/// read, and the row of the clear.
pub(super) const ENDS: &str = "SELECT
     (SELECT seq FROM records WHERE session = ?1 ORDER BY seq LIMIT 1),
     (SELECT seq FROM records WHERE session = ?1 ORDER BY seq DESC LIMIT 1),
     (SELECT 2 * seq + (ifnull(octet_length(messages), 0) > 2) FROM records WHERE session = ?1 AND rewind = 0 ORDER BY seq DESC LIMIT 1)
     FROM sessions WHERE key = ?1";

/// The first record from a number on that has not expired.
pub(super) const ALIVE: &str =
    "SELECT seq FROM records WHERE session = ?1 AND seq >= ?2 AND (expires_at IS NULL OR expires_at > ?3) ORDER BY seq LIMIT 1";

/// The records that take back, from a number on.
pub(super) const REWINDS: &str =
    "SELECT seq, rewind FROM records WHERE session = ?1 AND seq >= ?2 AND rewind IS NOT NULL ORDER BY seq";

/// The entries of a record that has any and has not expired; NULL if they are long.
pub(super) const SHORT: &str =
    "SELECT iif(octet_length(messages) <= ?4, messages, NULL) FROM records WHERE session = ?1 AND seq = ?2
     AND (expires_at IS NULL OR expires_at > ?3) AND octet_length(messages) > 2";

/// How many records a list looks through for rewinds, per session. Of a longer session it knows only that its very first record is in view.
const LOOKED_THROUGH: u64 = 500;

/// How many records it reads for the first words, and up to which size, in bytes.
const READ_FOR_WORDS: usize = 3;
const LONGEST_READ: i64 = 16 * 1024;

/// Returns a page of the sessions of an owner, of those without an owner, or of all, newest first.
pub(super) fn page(
    db: &Connection,
    query: &SessionQuery,
    after: Option<&Cursor>,
    now: Timestamp,
) -> Result<SessionPage, Failure> {
    let limit = i64::try_from(query.page_size()).unwrap_or(i64::MAX).min(i64::MAX - 1);
    let (before, id) = after.map_or((i64::MAX, ""), |cursor| (cursor.at.as_millis(), cursor.id.as_str()));
    let is_recent = query.order == SessionOrder::Recent;
    if query.any_owner {
        let mut listed = db.prepare_cached(if is_recent { ALL_BY_ACTIVITY } else { ALL_BY_START })?;
        let rows = listed.query(params![now.as_secs(), before, id, limit + 1])?;
        return page_of(db, rows, limit, query.order, now);
    }
    let mut listed = db.prepare_cached(if is_recent { BY_ACTIVITY } else { BY_START })?;
    let rows = listed.query(params![now.as_secs(), query.owner.as_ref().map(Owner::as_str), before, id, limit + 1])?;
    page_of(db, rows, limit, query.order, now)
}

/// Returns a page of all sessions, sorted by id.
pub(super) fn every(db: &Connection, limit: usize, after: Option<&Cursor>, now: Timestamp) -> Result<SessionPage, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX).min(i64::MAX - 1);
    let mut query = db.prepare_cached(EVERY)?;
    let rows = query.query(params![now.as_secs(), after.map_or("", |cursor| cursor.id.as_str()), limit + 1])?;
    page_of(db, rows, limit, SessionOrder::Started, now)
}

/// Returns a page of at most `limit` sessions; one row more means that there is another page.
fn page_of(db: &Connection, mut rows: Rows<'_>, limit: i64, order: SessionOrder, now: Timestamp) -> Result<SessionPage, Failure> {
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        sessions.push(info_with_contents(db, row, now)?);
    }
    let more = sessions.len() as i64 > limit;
    if more {
        sessions.pop();
    }
    let next = sessions.last().filter(|_| more).map(|info| Cursor::after(info, order).to_string());
    Ok(SessionPage::new(sessions, next).in_order(order).with_cost(Cost::new(1, 0)))
}

/// Returns a session's directory entry.
pub(super) fn session(db: &Connection, session: &SessionId, now: Timestamp) -> Result<Option<SessionInfo>, Failure> {
    let mut query = db.prepare_cached(ONE)?;
    let mut rows = query.query(params![now.as_secs(), session.as_str()])?;
    rows.next()?.map(|row| info_with_contents(db, row, now)).transpose()
}

/// Updates a session's directory entry.
pub(super) fn update(
    db: &Connection,
    id: &SessionId,
    update: &SessionUpdate,
    now: Timestamp,
) -> Result<Option<SessionInfo>, Failure> {
    let transaction = Transaction::to_write(db)?;
    let Some(mut info) = session(db, id, now)? else { return Ok(None) };
    update.apply(&mut info);
    let metadata = info.metadata.as_ref().map(to_json).transpose()?;
    db.prepare_cached("UPDATE sessions SET title = ?2, metadata = ?3 WHERE id = ?1")?.execute(params![
        id.as_str(),
        info.title,
        metadata
    ])?;
    transaction.commit()?;
    Ok(Some(info))
}

/// Reads a row with the columns of `listed!`, and what the session's records add to it.
pub(super) fn info_with_contents(db: &Connection, row: &Row<'_>, now: Timestamp) -> Result<SessionInfo, Failure> {
    let info = info(row)?;
    let key: i64 = row.get(6)?;
    // What is damaged in a log is reported by whoever loads it, and hides nothing of the list.
    let (records, words) = contents(db, key, now).unwrap_or_default();
    Ok(info.with_records(records).with_first_words(words))
}

/// Returns how many records a session has since its last clear, and its first words.
fn contents(db: &Connection, key: i64, now: Timestamp) -> rusqlite::Result<(Option<u64>, Option<String>)> {
    let mut ends = db.prepare_cached(ENDS)?;
    let read = |row: &Row<'_>| Ok((row.get::<_, Option<u64>>(0)?, row.get::<_, Option<u64>>(1)?, row.get::<_, Option<u64>>(2)?));
    let (Some(first), Some(last), clear) = ends.query_row([key], read)? else { return Ok((Some(0), None)) };
    // A clear that holds nothing is no record of the conversation.
    let from = clear.map_or(first, |clear| first.max(clear / 2 + u64::from(clear % 2 == 0)));
    let alive = db.prepare_cached(ALIVE)?.query_row(params![key, from, now.as_secs()], |row| row.get::<_, u64>(0)).optional()?;
    let Some(from) = alive else { return Ok((Some(0), None)) };
    let next = last + 1;
    let in_view = if next - from.min(next) <= LOOKED_THROUGH {
        let mut rewinds = db.prepare_cached(REWINDS)?;
        let rewinds = rewinds.query_map(params![key, from], |row| Ok((row.get(0)?, row.get(1)?)))?;
        numbers_in_view(from, next, &rewinds.collect::<rusqlite::Result<Vec<_>>>()?)
    } else {
        // Only a clear takes these back: the one that would be the last.
        Vec::from_iter((from == 0 || clear.is_some_and(|clear| clear == 2 * from + 1)).then_some(from))
    };
    let mut short = db.prepare_cached(SHORT)?;
    let mut read = 0;
    for seq in in_view {
        let mut rows = short.query(params![key, seq, now.as_secs(), LONGEST_READ])?;
        let Some(row) = rows.next()? else { continue };
        // What comes after a long one are not the first words.
        let Some(text) = row.get_ref(0)?.as_str_or_null()? else { break };
        let entries: Vec<Entry> = serde_json::from_str(text).unwrap_or_default();
        let words = first_words(&entries);
        read += 1;
        if words.is_some() || read >= READ_FOR_WORDS {
            return Ok((Some(next - from), words));
        }
    }
    Ok((Some(next - from.min(next)), None))
}

/// Reads a row with the columns of `listed!`.
pub(super) fn info(row: &Row<'_>) -> Result<SessionInfo, Failure> {
    let id: String = row.get(0)?;
    let damaged = |e: &dyn std::fmt::Display| {
        Error::corrupt(format!("the directory entry of session {id:?} cannot be read ({e}); restore the file from a backup"))
    };
    let owner: Option<String> = row.get(2).map_err(|e| damaged(&e))?;
    let metadata: Option<String> = row.get(4).map_err(|e| damaged(&e))?;
    let metadata = metadata.map(|text| serde_json::from_str::<Map<String, Value>>(&text)).transpose();
    let created_at = row.get(1).map(Timestamp::from_millis).map_err(|e| damaged(&e))?;
    let last_at = row.get::<_, Option<_>>(5).map_err(|e| damaged(&e))?.map(Timestamp::from_millis);
    Ok(SessionInfo::new(SessionId::new(id.as_str()).map_err(|e| damaged(&e))?, created_at)
        .with_owner(owner.map(Owner::new).transpose().map_err(|e| damaged(&e))?)
        .with_title(row.get(3).map_err(|e| damaged(&e))?)
        .with_metadata(metadata.map_err(|e| damaged(&e))?)
        .with_last_at(last_at))
}
