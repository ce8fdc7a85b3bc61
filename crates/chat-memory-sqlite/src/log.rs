//! A session's log in the file: appends and loads.

use std::fmt::Display;
use std::time::Duration;

use rusqlite::{Connection, Row, params};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::schema;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{Append, AppendId, Cost, Expiry, History, Identity, KEY_LIFETIME, Load, Position, Record, Walk};
use chat_memory_core::{Entry, SessionId, Timestamp};

/// How long a record stays in the file after its expiry, and a stub after its sweep, so that their keys and tickets are still
/// recognised.
pub(super) const STAYS: Duration = Duration::from_hours(24);

/// A transaction, rolled back if dropped before its commit. Its statements are prepared once per connection.
pub(super) struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    pub(super) fn to_write(db: &'c Connection) -> rusqlite::Result<Self> {
        db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(db))
    }

    pub(super) fn to_read(db: &'c Connection) -> rusqlite::Result<Self> {
        db.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(db))
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // If this fails, SQLite rolls back when the connection is closed, which happens after every error.
            let _ = self.0.prepare_cached("ROLLBACK").and_then(|mut statement| statement.execute([]));
        }
    }
}

/// An append, ready to be written.
pub(super) struct NewRecord {
    session: String,
    identity: Identity,
    append_id: AppendId,
    expected: Option<Position>,
    rewind: Option<u64>,
    body: NewBody,
    /// The records that follow it in the same transaction.
    more: Vec<NewBody>,
    owner: Option<String>,
    title: Option<String>,
    session_metadata: Option<String>,
    /// When the session counts as started, if this append starts it.
    starts_at: Timestamp,
    active_at: Timestamp,
    /// Whether the session is deleted: removed from the directory, if there is anything to delete.
    deletes: bool,
}

/// What a new record holds.
struct NewBody {
    metadata: Option<String>,
    messages: String,
    has_other_entries: bool,
    /// When each entry was sent, as JSON; `None` if not given.
    sent_at: Option<String>,
}

impl NewBody {
    fn of(append: &Append) -> Result<Self, Error> {
        Ok(Self {
            metadata: append.metadata().map(to_json).transpose()?,
            messages: to_json(&append.entries())?,
            has_other_entries: append.entries().iter().any(|entry| entry.as_message().is_none()),
            sent_at: Some(append.times()).filter(|times| !times.is_empty()).map(|times| to_json(&times)).transpose()?,
        })
    }

    fn bytes(&self) -> usize {
        self.messages.len() + self.metadata.as_ref().map_or(0, String::len)
    }
}

impl NewRecord {
    pub(super) fn of(session: &SessionId, append: &Append, deletes: bool, now: Timestamp) -> Result<Self, Error> {
        Ok(Self {
            session: session.to_string(),
            identity: append.identity().clone(),
            append_id: append.id_in(session),
            expected: append.expected().cloned(),
            rewind: append.rewinds_to(),
            body: NewBody::of(append)?,
            more: Vec::new(),
            owner: append.owner().map(ToString::to_string),
            title: append.title().map(str::to_owned),
            session_metadata: append.session_metadata().map(to_json).transpose()?,
            starts_at: append.starts_at(now),
            active_at: append.active_at(now),
            deletes,
        })
    }

    /// Adds the records that follow it in the same transaction.
    pub(super) fn with(mut self, more: &[Append], now: Timestamp) -> Result<Self, Error> {
        self.more = more.iter().map(NewBody::of).collect::<Result<_, _>>()?;
        self.active_at = more.iter().map(|append| append.active_at(now)).fold(self.active_at, Timestamp::max);
        Ok(self)
    }

    /// How many records follow the first.
    pub(super) fn following(&self) -> u64 {
        self.more.len() as u64
    }

    fn bodies(&self) -> impl Iterator<Item = &NewBody> {
        std::iter::once(&self.body).chain(&self.more)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bodies().map(NewBody::bytes).sum()
    }

    pub(super) fn check_size(&self, limit: usize) -> Result<(), Error> {
        let bytes = self.bodies().map(NewBody::bytes).max().unwrap_or_default();
        if bytes <= limit {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "append too large: {bytes} bytes of JSON, and the limit is {limit} (max_record in the store URL); split it or raise the limit"
            ),
        ))
    }
}

/// The room for a usual turn's JSON, which would otherwise grow in steps while it is written.
const USUAL_BYTES: usize = 1024;

/// Writes our own values as JSON, which cannot fail.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Error> {
    let not_written = |why: &dyn Display| Error::invalid(format!("the messages cannot be written as JSON ({why})"));
    let mut json = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut json, value).map_err(|e| not_written(&e))?;
    String::from_utf8(json).map_err(|e| not_written(&e))
}

/// The result of an append.
pub(super) enum Landed {
    New {
        seq: u64,
        append_id: AppendId,
        started: bool,
        bytes: u64,
    },
    Earlier(Stored),
    Conflict(Position),
    /// There was nothing to delete, and nothing was written.
    Nothing,
}

/// A stored record, or what is left of it.
pub(super) struct Stored {
    pub(super) record: Record,
    cleared: bool,
    /// Whether it was erased because it had expired, by the clock of the process that erased it.
    purged: bool,
    /// Whether its messages still exist.
    pub(super) messages_left: bool,
    pub(super) bytes: u64,
}

/// The columns of a record, in the order that [`stored`] reads them.
macro_rules! columns {
    () => {
        "seq, append_id, created_at, expires_at, rewind, cleared_by, metadata, messages, purge_at, sent_at"
    };
}

/// A session's row, and the last record of its log.
pub(super) const HEAD: &str = "SELECT s.key, s.created_at IS NOT NULL, s.first, r.seq, r.append_id, s.expires_at
     FROM sessions s LEFT JOIN records r ON r.session = s.key WHERE s.id = ?1 ORDER BY r.seq DESC LIMIT 1";

/// Whether a session still has messages that no clear has hidden, expired or not.
pub(super) const IS_LEFT: &str = "SELECT 1 FROM records WHERE session = ?1
     AND seq >= ifnull((SELECT max(seq) FROM records WHERE session = ?1 AND rewind = 0), 0) AND messages <> '[]' LIMIT 1";

pub(super) const BACKWARDS_FROM: &str =
    concat!("SELECT ", columns!(), " FROM records WHERE session = ?1 AND seq <= ?2 ORDER BY seq DESC");

pub(super) const BY_KEY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM records WHERE session = ?1 AND append_id = ?2 AND created_at > ?3 ORDER BY seq DESC LIMIT 1"
);

pub(super) const BY_TICKET: &str =
    concat!("SELECT ", columns!(), " FROM records WHERE session = ?1 AND append_id = ?2 AND seq >= ?3 ORDER BY seq LIMIT 1");

/// The result of [`HEAD`].
struct Head {
    key: i64,
    /// Whether it has a directory entry, even if its records have expired.
    listed: bool,
    lasts: Expiry,
    /// The lowest number still in the file.
    first: u64,
    newest: Option<(u64, AppendId)>,
}

fn head(db: &Connection, session: &str) -> Result<Option<Head>, Failure> {
    let mut query = db.prepare_cached(HEAD)?;
    let mut rows = query.query([session])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let read = || {
        let newest = match row.get::<_, Option<u64>>(3)? {
            Some(seq) => Some((seq, AppendId::from_bytes(row.get(4)?))),
            None => None,
        };
        let lasts = Expiry::of(row.get::<_, Option<_>>(5)?.map(Timestamp::from_secs));
        Ok(Head { key: row.get(0)?, listed: row.get(1)?, lasts, first: row.get(2)?, newest })
    };
    read().map(Some).map_err(|e: rusqlite::Error| damaged_session(session, &e))
}

/// Appends a record, unless an earlier attempt did, or the log is not at the expected position. The caller has begun the
/// transaction; after an error that is [final](Failure::Final), nothing of this append is in it.
pub(super) fn append_within(
    db: &Connection,
    new: &NewRecord,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<Landed, Failure> {
    let head = head(db, &new.session)?;
    if new.deletes && !is_there(db, head.as_ref())? {
        return Ok(Landed::Nothing);
    }
    if let Some(head) = &head
        && let Some(stored) = earlier(db, head.key, new, now)?
    {
        return Ok(Landed::Earlier(stored));
    }
    if let Identity::Ticket(ticket) = &new.identity {
        ticket.check_age(now).map_err(Failure::Final)?;
    }
    let newest = head.as_ref().and_then(|head| head.newest);
    let actual = Position::new(newest.map_or(0, |(seq, _)| seq + 1), newest.map(|(_, id)| id), now);
    if new.expected.as_ref().is_some_and(|expected| *expected != actual) {
        return Ok(Landed::Conflict(actual));
    }
    let expires_s = expires_at.map(Timestamp::as_secs);
    // A session whose records have all expired has ended: this starts another, with its own owner and title.
    let started = !head.as_ref().is_some_and(|head| head.listed && !head.lasts.is_over(now));
    let key = match &head {
        Some(head) => head.key,
        None => {
            db.prepare_cached("INSERT INTO sessions (id) VALUES (?1)")?.execute([&new.session])?;
            db.last_insert_rowid()
        }
    };
    if new.deletes {
        unlist(db, key)?;
    } else if started {
        db.prepare_cached(
            "UPDATE sessions SET created_at = ?2, last_at = ?3, expires_at = ?4, owner = ?5, title = ?6, metadata = ?7 WHERE key = ?1",
        )?
        .execute(params![
            key,
            new.starts_at.as_millis(),
            new.active_at.max(new.starts_at).as_millis(),
            expires_s,
            new.owner,
            new.title,
            new.session_metadata
        ])?;
    } else {
        // No expiry is NULL, and so is the maximum of NULL and any other value. A clock that is set back must not move a session
        // down, or two pages of a list would both show it.
        db.prepare_cached(
            "UPDATE sessions SET last_at = max(ifnull(last_at, ?2), ?2), expires_at = max(expires_at, ?3) WHERE key = ?1",
        )?
        .execute(params![key, new.active_at.as_millis(), expires_s])?;
    }
    let seq = actual.next();
    if i64::try_from(seq + new.following()).is_err() {
        return Err(damaged_session(&new.session, &format_args!("its last record is numbered {}", seq - 1)));
    }
    if new.bodies().any(|body| body.has_other_entries) {
        schema::allow_other_entries(db)?;
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO records (session, seq, append_id, created_at, expires_at, purge_at, rewind, metadata, sent_at, messages)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let purge_at = expires_at.map(|at| (at + STAYS).as_secs());
    for (n, body) in (0..).zip(new.bodies()) {
        insert.execute(params![
            key,
            seq + n,
            new.append_id.following(n).as_bytes(),
            now.as_millis(),
            expires_s,
            purge_at,
            new.rewind,
            body.metadata,
            body.sent_at,
            body.messages,
        ])?;
    }
    Ok(Landed::New { seq, append_id: new.append_id, started, bytes: new.bytes() as u64 })
}

/// Whether there is anything of a session to delete: its directory entry, or messages, expired or not.
fn is_there(db: &Connection, head: Option<&Head>) -> rusqlite::Result<bool> {
    match head {
        None => Ok(false),
        Some(head) if head.listed => Ok(true),
        Some(head) => db.prepare_cached(IS_LEFT)?.exists([head.key]),
    }
}

/// Removes a session from the directory.
pub(super) fn unlist(db: &Connection, key: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE sessions SET created_at = NULL, last_at = NULL, expires_at = NULL, owner = NULL, title = NULL, metadata = NULL
         WHERE key = ?1",
    )?
    .execute([key])
    .map(drop)
}

/// Finds the record of an earlier attempt at the same append.
fn earlier(db: &Connection, key: i64, new: &NewRecord, now: Timestamp) -> Result<Option<Stored>, Failure> {
    let (sql, bound) = match &new.identity {
        Identity::New => return Ok(None),
        Identity::Key(_) => (BY_KEY, (now - KEY_LIFETIME).as_millis()),
        Identity::Ticket(ticket) => (BY_TICKET, i64::try_from(ticket.lowest()).unwrap_or(i64::MAX)),
    };
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(params![key, new.append_id.as_bytes(), bound])?;
    rows.next()?.map(|row| stored(db, row, &new.session)).transpose()
}

/// Loads the newest part of a session's view.
pub(super) fn load(db: &Connection, session: &str, load: &Load, now: Timestamp) -> Result<History, Failure> {
    let _transaction = Transaction::to_read(db)?;
    let mut cost = Cost::new(1, 0);
    let Some(Head { key, first, newest, .. }) = head(db, session)? else {
        return Ok(History::new(Vec::new(), true, Position::new(0, None, now)).with_cost(cost));
    };
    let missing = |seq| Failure::Record { session: session.to_owned(), seq, why: "is missing".to_owned() };
    let (newest, id) = newest.ok_or_else(|| missing(first))?;
    let position = Position::new(newest + 1, Some(id), now);
    let mut query = db.prepare_cached(BACKWARDS_FROM)?;
    let mut walk = Walk::new(load, Some(newest), now);
    // One pass over the rows per stretch without a rewind.
    while let Some(from) = walk.wants() {
        let mut rows = query.query(params![key, from])?;
        let mut next = from;
        while walk.wants() == Some(next) {
            let row = rows.next()?;
            if next < first {
                // The record here expired and was purged.
                if let Some(row) = row {
                    let seq = seq_of(row, session)?;
                    return Err(damaged_record(session, seq, &format_args!("the session begins after it, with record {first}")));
                }
                walk.end();
                break;
            }
            let mut stored = match row {
                Some(row) if seq_of(row, session)? == next => stored(db, row, session)?,
                _ => return Err(missing(next)),
            };
            if stored.purged {
                // Set by a clock that may have been ahead of this one. Its rewind still counts.
                stored.record.expires_at = stored.record.expires_at.map(|at| at.min(now));
            } else if !stored.messages_left && !stored.cleared {
                return Err(damaged_record(session, next, &"its messages are missing, though nothing erased them"));
            }
            cost.bytes += stored.bytes;
            if stored.cleared {
                walk.end()
            } else {
                walk.take(stored.record)
            }
            next = next.saturating_sub(1);
        }
    }
    let (records, complete) = walk.finish();
    Ok(History::new(records, complete, position).with_cost(cost))
}

/// Returns a record and its size in bytes, if its messages are still there.
pub(super) fn record(db: &Connection, key: i64, seq: u64, session: &str) -> Result<Option<(Record, u64)>, Failure> {
    let mut query = db.prepare_cached(BACKWARDS_FROM)?;
    let mut rows = query.query(params![key, seq])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let stored = stored(db, row, session)?;
    let is_it = stored.messages_left && stored.record.seq == seq;
    Ok(is_it.then_some((stored.record, stored.bytes)))
}

/// Reads a row with the columns of `columns!`.
fn stored(db: &Connection, row: &Row<'_>, session: &str) -> Result<Stored, Failure> {
    let seq = seq_of(row, session)?;
    let damaged = |e: &dyn std::fmt::Display| damaged_record(session, seq, e);
    let texts = |n| row.get_ref(n).and_then(|value| Ok(value.as_str_or_null()?)).map_err(|e| damaged(&e));
    let (metadata, messages, sent_at) = (texts(6)?, texts(7)?, texts(9)?);
    let append_id = AppendId::from_bytes(row.get(1).map_err(|e| damaged(&e))?);
    let mut read = Record::new(seq, append_id, row.get(2).map(Timestamp::from_millis).map_err(|e| damaged(&e))?);
    read.expires_at = row.get::<_, Option<_>>(3).map_err(|e| damaged(&e))?.map(Timestamp::from_secs);
    read.rewind = row.get(4).map_err(|e| damaged(&e))?;
    read.metadata = metadata.map(serde_json::from_str::<Map<String, Value>>).transpose().map_err(|e| damaged(&e))?;
    read.sent_at = sent_at.map(serde_json::from_str).transpose().map_err(|e| damaged(&e))?.unwrap_or_default();
    read.entries = messages.map(|text| read_entries(db, text)).transpose().map_err(|e| damaged(&e))?.unwrap_or_default();
    let cleared_by: Option<u64> = row.get(5).map_err(|e| damaged(&e))?;
    let purge_at: Option<i64> = row.get(8).map_err(|e| damaged(&e))?;
    if messages.is_some() && !read.sent_at.is_empty() && read.sent_at.len() != read.entries.len() {
        return Err(damaged(&format_args!("it has {} messages, but times for {}", read.entries.len(), read.sent_at.len())));
    }
    // Following it would loop forever.
    if read.rewind.is_some_and(|rewind| rewind > seq) {
        return Err(damaged(&"it rewinds to a later record"));
    }
    if read.is_stub() && messages.is_some() {
        return Err(damaged(&"it has neither messages nor a rewind"));
    }
    if cleared_by.is_some_and(|clear| clear <= seq) {
        return Err(damaged(&"it is marked as cleared by an earlier record"));
    }
    if cleared_by.is_some() && messages.is_some() {
        return Err(damaged(&"it is marked as cleared, but has messages"));
    }
    Ok(Stored {
        cleared: cleared_by.is_some(),
        purged: messages.is_none() && purge_at.is_none() && read.expires_at.is_some(),
        messages_left: messages.is_some(),
        bytes: (metadata.map_or(0, str::len) + messages.map_or(0, str::len)) as u64,
        record: read,
    })
}

/// Reads the number of a row with the columns of `columns!`.
fn seq_of(row: &Row<'_>, session: &str) -> Result<u64, Failure> {
    row.get(0).map_err(|e| damaged_session(session, &e))
}

/// The failure for an impossible value in a record's row.
pub(super) fn damaged_record(session: &str, seq: u64, why: &dyn std::fmt::Display) -> Failure {
    Failure::Record { session: session.to_owned(), seq, why: format!("cannot be read ({why})") }
}

/// The failure for an impossible value in a session's row.
pub(super) fn damaged_session(session: &str, why: &dyn std::fmt::Display) -> Failure {
    Error::corrupt(format!("session {session:?} cannot be read from the file ({why}); restore the file from a backup")).into()
}

/// Reads a record's entries. In a file of messages only, anything else is damage.
fn read_entries(db: &Connection, text: &str) -> Result<Vec<Entry>, String> {
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if let Some(other) = entries.iter().find(|entry| entry.as_message().is_none())
        && !schema::has_other_entries(db).map_err(|e| e.to_string())?
    {
        other.require_message().map_err(|e| e.to_string())?;
    }
    Ok(entries)
}
