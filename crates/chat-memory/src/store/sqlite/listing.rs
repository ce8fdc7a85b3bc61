//! The directory: the listed sessions are the rows of `sessions` with a time.

use rusqlite::{Connection, Row, Rows, params};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::log::{Transaction, to_json};
use crate::error::Error;
use crate::session::{Owner, SessionId};
use crate::store::directory::Cursor;
use crate::store::{Receipt, SessionInfo, SessionPage, SessionUpdate};

pub(super) const PAGE: &str = "SELECT id, created_at, owner, title, metadata FROM sessions
     WHERE created_at IS NOT NULL AND owner IS ?1 AND (created_at, id) < (?2, ?3)
     ORDER BY created_at DESC, id DESC LIMIT ?4";

/// A page of the sessions of an owner, or of nobody, newest first.
pub(super) fn page(db: &Connection, owner: Option<&Owner>, limit: usize, after: Option<&Cursor>) -> Result<SessionPage, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX).min(i64::MAX - 1);
    let (before, id) = after.map_or((i64::MAX, ""), |cursor| (cursor.created_at, cursor.id.as_str()));
    let mut query = db.prepare_cached(PAGE)?;
    let rows = query.query(params![owner.map(Owner::as_str), before, id, limit + 1])?;
    page_of(rows, limit)
}

/// A page of the sessions of all owners, by their ids.
pub(super) fn every(db: &Connection, limit: usize, after: Option<&Cursor>) -> Result<SessionPage, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX).min(i64::MAX - 1);
    let mut query = db.prepare_cached(
        "SELECT id, created_at, owner, title, metadata FROM sessions WHERE created_at IS NOT NULL AND id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let rows = query.query(params![after.map_or("", |cursor| cursor.id.as_str()), limit + 1])?;
    page_of(rows, limit)
}

/// A page of at most `limit` sessions; one row more says that there is another page.
fn page_of(mut rows: Rows<'_>, limit: i64) -> Result<SessionPage, Failure> {
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        sessions.push(info(row)?);
    }
    let more = sessions.len() as i64 > limit;
    if more {
        sessions.pop();
    }
    let next = sessions.last().filter(|_| more).map(|info| Cursor::after(info).to_string());
    Ok(SessionPage { receipt: Receipt { requests: 1, ..Receipt::default() }, ..SessionPage::new(sessions, next) })
}

/// What is said of a listed session.
pub(super) fn session(db: &Connection, session: &SessionId) -> Result<Option<SessionInfo>, Failure> {
    let mut query = db
        .prepare_cached("SELECT id, created_at, owner, title, metadata FROM sessions WHERE id = ?1 AND created_at IS NOT NULL")?;
    let mut rows = query.query([session.as_str()])?;
    rows.next()?.map(info).transpose()
}

/// Changes what is said of a listed session.
pub(super) fn update(db: &Connection, id: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Failure> {
    let transaction = Transaction::to_write(db)?;
    let Some(mut info) = session(db, id)? else { return Ok(None) };
    if let Some(title) = &update.title {
        info.title.clone_from(title);
    }
    if let Some(metadata) = &update.metadata {
        info.metadata.clone_from(metadata);
    }
    let metadata = info.metadata.as_ref().map(to_json).transpose()?;
    db.prepare_cached("UPDATE sessions SET title = ?2, metadata = ?3 WHERE id = ?1")?.execute(params![
        id.as_str(),
        info.title,
        metadata
    ])?;
    transaction.commit()?;
    Ok(Some(info))
}

fn info(row: &Row<'_>) -> Result<SessionInfo, Failure> {
    let id: String = row.get(0)?;
    let damaged = |e: &dyn std::fmt::Display| {
        Error::corrupt(format!("what the directory says of session {id:?} cannot be read ({e}); restore the file from a backup"))
    };
    let owner: Option<String> = row.get(2).map_err(|e| damaged(&e))?;
    let metadata: Option<String> = row.get(4).map_err(|e| damaged(&e))?;
    Ok(SessionInfo {
        id: SessionId::new(id.as_str()).map_err(|e| damaged(&e))?,
        created_at: row.get(1).map_err(|e| damaged(&e))?,
        owner: owner.map(Owner::new).transpose().map_err(|e| damaged(&e))?,
        title: row.get(3).map_err(|e| damaged(&e))?,
        metadata: metadata.map(|text| serde_json::from_str::<Map<String, Value>>(&text)).transpose().map_err(|e| damaged(&e))?,
    })
}
