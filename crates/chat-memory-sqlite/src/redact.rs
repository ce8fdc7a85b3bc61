//! Redacts a record: its text is replaced in its row and in the search index, in one transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::log::{self, Transaction};
use super::search::index;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{Cost, Redacted, Redaction};
use chat_memory_core::{SessionId, Timestamp};

/// Redacts a record, unless nothing changes or it is a dry run. Its row keeps everything but the messages.
pub(super) fn redact(
    db: &Connection,
    session: &SessionId,
    seq: u64,
    redaction: &Redaction,
    limit: usize,
    now: Timestamp,
) -> Result<Redacted, Failure> {
    let transaction = Transaction::to_write(db)?;
    let missing = || Failure::Final(Redaction::missing(session, seq));
    let key: Option<i64> = db
        .prepare_cached("SELECT key FROM sessions WHERE id = ?1")?
        .query_row([session.as_str()], |row| row.get(0))
        .optional()?;
    let key = key.ok_or_else(missing)?;
    // Beyond SQLite's integers there is no record.
    let number = i64::try_from(seq).map_err(|_| missing())?;
    let Some((record, bytes)) = log::record(db, key, seq, session.as_str())? else {
        let is_left = db.prepare_cached("SELECT 1 FROM records WHERE session = ?1 AND seq = ?2")?.exists(params![key, number])?;
        return Err(if is_left { Redaction::erased(session, seq).into() } else { missing() });
    };
    let redacted = redaction.apply(session, record, now)?.with_cost(Cost::new(1, bytes));
    if !redacted.changed || redaction.is_dry_run() {
        return Ok(redacted);
    }
    let messages = log::to_json(&redacted.after.entries)?;
    if messages.len() > limit {
        let why = format!("the record would have {} bytes of JSON, and the limit is {limit}", messages.len());
        let why = format!("cannot redact record {seq} of session {:?}: {why}; give a shorter replacement", session.as_str());
        return Err(Error::new(ErrorKind::TooLarge, why).into());
    }
    // The index's trigger removes the text of a row whose messages become NULL, also where an earlier program created it.
    db.prepare_cached("UPDATE records SET messages = NULL WHERE session = ?1 AND seq = ?2")?.execute(params![key, number])?;
    db.prepare_cached("UPDATE records SET messages = ?3 WHERE session = ?1 AND seq = ?2")?
        .execute(params![key, number, messages])?;
    index::add(db, key, number)?;
    transaction.commit()?;
    Ok(redacted)
}
