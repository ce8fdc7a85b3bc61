//! Creates the tables, and checks whether a file is ours. docs/formats.md describes each column.

use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::failure::{Failure, not_ours};
use chat_memory_core::error::{Error, ErrorKind};

/// The highest version of the file format, stored as `user_version`. A file with a higher version is refused.
pub const FORMAT_VERSION: i32 = 3;

/// The version of a file in which all entries are messages. The first other entry raises it to [`FORMAT_VERSION`].
const MESSAGES_VERSION: i32 = 2;

/// "CMem", the file's `application_id`: distinguishes our SQLite files from others.
const APPLICATION_ID: i32 = 0x434d_656d;

/// The offset of the application id in SQLite's file header, big-endian.
const APPLICATION_ID_AT: usize = 68;
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Records have a rowid: SQLite stores large rows best in a tree without them in its inner pages. The index of append ids costs
/// one more page per append, and makes looking for a repeat cheap at any length of the session.
const TABLES: &str = "
CREATE TABLE sessions (
    key        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    first      INTEGER NOT NULL DEFAULT 0,
    swept      INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER,
    owner      TEXT,
    title      TEXT,
    metadata   TEXT,
    last_at    INTEGER,
    expires_at INTEGER
) STRICT;
CREATE INDEX directory ON sessions (owner, created_at, id) WHERE created_at IS NOT NULL;
CREATE INDEX recent ON sessions (owner, last_at, id) WHERE created_at IS NOT NULL;

CREATE TABLE records (
    session    INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    append_id  BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    purge_at   INTEGER,
    rewind     INTEGER,
    cleared_by INTEGER,
    metadata   TEXT,
    messages   TEXT,
    sent_at    TEXT,
    PRIMARY KEY (session, seq)
) STRICT;
CREATE INDEX appends ON records (session, append_id);
CREATE INDEX clears ON records (session, seq) WHERE rewind = 0;
CREATE INDEX purges ON records (purge_at) WHERE purge_at IS NOT NULL;
";

const CHECKPOINTS: &str = "
CREATE TABLE checkpoints (
    partition TEXT NOT NULL,
    sort      TEXT NOT NULL,
    body      BLOB NOT NULL,
    purge_at  INTEGER,
    PRIMARY KEY (partition, sort)
) STRICT, WITHOUT ROWID;
CREATE INDEX checkpoint_purges ON checkpoints (purge_at) WHERE purge_at IS NOT NULL;
";

/// For a listed session in a version 1 file, which does not store it: when it was last written to.
macro_rules! last_at {
    () => {
        "(SELECT created_at FROM records WHERE session = sessions.key ORDER BY seq DESC LIMIT 1)"
    };
}

/// For a listed session in a version 1 file, which does not store it: when the last of its records expires; NULL for never. Swept
/// records do not count, nor does the clear that deleted an earlier session with the same id.
macro_rules! expires_at {
    () => {
        "(SELECT CASE WHEN count(*) = count(expires_at) THEN max(expires_at) END FROM records WHERE session = sessions.key
          AND cleared_by IS NULL AND NOT (rewind = 0 AND messages = '[]' AND created_at < sessions.created_at))"
    };
}

const UPGRADE_FROM_1: &str = concat!(
    "ALTER TABLE records ADD COLUMN sent_at TEXT;
     ALTER TABLE sessions ADD COLUMN last_at INTEGER;
     ALTER TABLE sessions ADD COLUMN expires_at INTEGER;
     UPDATE sessions SET last_at = ",
    last_at!(),
    ", expires_at = ",
    expires_at!(),
    " WHERE created_at IS NOT NULL;
     CREATE INDEX recent ON sessions (owner, last_at, id) WHERE created_at IS NOT NULL;"
);

/// Shows the tables of a version 1 file in the form of version 2: a temporary view takes precedence over a table of the same
/// name.
const VIEW_OF_1: &str = concat!(
    "CREATE TEMP VIEW sessions AS SELECT key, id, first, swept, created_at, owner, title, metadata, ",
    last_at!(),
    " AS last_at, ",
    expires_at!(),
    " AS expires_at FROM main.sessions;
     CREATE TEMP VIEW records AS SELECT session, seq, append_id, created_at, expires_at, purge_at, rewind, cleared_by, metadata, messages,
     NULL AS sent_at FROM main.records;"
);

/// Refuses a file that is clearly not ours by its first bytes, before SQLite touches it (opening someone else's database can
/// already create files next to it).
///
/// # Errors
/// Errors of reading the file; invalid.
pub(super) fn check_header(path: &Path) -> Result<(), Error> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let file = std::fs::File::open(path).map_err(|e| super::connect::unreachable_file(path, e))?;
    file.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(|e| super::connect::unreachable_file(path, e))?;
    // Empty, or all zeros: a file being created. SQLite respects its creator's lock and will check it.
    if header.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let why = if !header.starts_with(MAGIC) || header.len() < HEADER_BYTES {
        "it is not a SQLite database"
    } else if header[APPLICATION_ID_AT..][..4] != APPLICATION_ID.to_be_bytes() {
        "it is a SQLite database of another program"
    } else {
        return Ok(());
    };
    Err(Error::invalid(not_ours(&path.display(), why)))
}

/// Checks that the file is ours and of a known version. Returns `None` for an empty file.
pub(super) fn check(db: &Connection, path: &Path) -> Result<Option<i32>, Failure> {
    // All reads see one state: another process may be creating the tables right now.
    db.execute_batch("SAVEPOINT checking")?;
    let read = || {
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok::<_, rusqlite::Error>((pragma("application_id")?, pragma("user_version")?, tables))
    };
    let read = read();
    db.execute_batch("RELEASE checking")?;
    let (application_id, version, tables) = read?;
    if application_id == 0 && version == 0 && tables == 0 {
        return Ok(None);
    }
    if application_id != APPLICATION_ID {
        return Err(Error::invalid(not_ours(&path.display(), "it is a SQLite database of another program")).into());
    }
    if version > FORMAT_VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "cannot open {}: it has format version {version}, and this program supports versions up to {FORMAT_VERSION}; update chat-memory",
                path.display()
            ),
        )
        .into());
    }
    Ok(Some(version))
}

/// Creates the tables, unless another process has done so in the meantime.
///
/// This happens before the file is set to WAL mode, so that our file has our id in its header from its first commit on.
pub(super) fn create(db: &mut Connection, path: &Path) -> Result<(), Failure> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    if check(&transaction, path)?.is_none() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", MESSAGES_VERSION)?;
        transaction.execute_batch(TABLES)?;
    }
    Ok(transaction.commit()?)
}

/// Upgrades a file of an older version, unless another process has done so in the meantime. Programs of the older version then
/// refuse the file.
pub(super) fn upgrade(db: &mut Connection, path: &Path) -> Result<(), Failure> {
    if check(db, path)? != Some(1) {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if check(&transaction, path)? == Some(1) {
        transaction.execute_batch(UPGRADE_FROM_1)?;
        transaction.pragma_update(None, "user_version", MESSAGES_VERSION)?;
    }
    Ok(transaction.commit()?)
}

/// Whether the file may have entries that are not messages.
pub(super) fn has_other_entries(db: &Connection) -> rusqlite::Result<bool> {
    let version: i32 = db.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    Ok(version > MESSAGES_VERSION)
}

/// Raises the file's version, before the first entry is written that is not a message. Programs that know only messages then
/// refuse the file. The caller has begun the transaction.
pub(super) fn allow_other_entries(db: &Connection) -> rusqlite::Result<()> {
    if has_other_entries(db)? { Ok(()) } else { db.pragma_update(None, "user_version", FORMAT_VERSION) }
}

/// Whether the file has a table of checkpoints.
pub(super) fn has_checkpoints(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'checkpoints'")?.exists([])
}

/// Creates the table of checkpoints, before its first row is written. Programs that know nothing of it ignore it, so the file's
/// version stays. The caller has begun the transaction.
pub(super) fn allow_checkpoints(db: &Connection) -> rusqlite::Result<()> {
    if has_checkpoints(db)? { Ok(()) } else { db.execute_batch(CHECKPOINTS) }
}

/// Makes a file of an older version readable if it may not be changed or has no room.
pub(super) fn read_as_present(db: &Connection, version: i32) -> Result<(), Failure> {
    if version == 1 {
        db.execute_batch(VIEW_OF_1)?;
    }
    Ok(())
}
