//! The tables, and whether a file is ours. docs/formats.md describes each column.

use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::failure::{Failure, not_ours};
use crate::error::{Error, ErrorKind};

/// The version of the file's format, its `user_version`. A file with a greater one is refused.
pub const FORMAT_VERSION: i32 = 1;

/// "CMem", the file's `application_id`: by it SQLite files that are ours are told from others.
const APPLICATION_ID: i32 = 0x434d_656d;

/// Where SQLite's file header holds the application id, big-endian.
const APPLICATION_ID_AT: usize = 68;
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Records have a rowid: SQLite keeps large rows best in a tree without them in its inner pages. The index of append ids costs an
/// append one page more, and makes looking for a repeat cheap at any length of the session.
const TABLES: &str = "
CREATE TABLE sessions (
    key        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    first      INTEGER NOT NULL DEFAULT 0,
    swept      INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER,
    owner      TEXT,
    title      TEXT,
    metadata   TEXT
) STRICT;
CREATE INDEX directory ON sessions (owner, created_at, id) WHERE created_at IS NOT NULL;

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

/// What files of earlier builds lack: the table, the column and its type. A column that an older program may leave out keeps the version,
/// so such a file stays readable and writable by it.
const ADDED_COLUMNS: [(&str, &str, &str); 1] = [("records", "sent_at", "TEXT")];

/// Refuses a file that is plainly not ours by its first bytes, before SQLite touches it (opening a database of
/// someone else's can already make files beside it).
///
/// # Errors
/// What reading the file meets, and invalid.
pub(super) fn check_header(path: &Path) -> Result<(), Error> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let file = std::fs::File::open(path).map_err(|e| super::connect::unreachable_file(path, e))?;
    file.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(|e| super::connect::unreachable_file(path, e))?;
    // No bytes, or zeros: a file that is being made. SQLite, who respects its maker's lock, will see.
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

/// Checks that the file is ours and of a version that we know. `None` for one that is empty.
pub(super) fn check(db: &Connection, path: &Path) -> Result<Option<i32>, Failure> {
    // All of one state: another process may be making the tables just now.
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
                "{} has format version {version}, and this program knows versions up to {FORMAT_VERSION}; use a newer chat-memory",
                path.display()
            ),
        )
        .into());
    }
    Ok(Some(version))
}

/// Makes the tables, unless another process did meanwhile.
///
/// It is done before the file is set to WAL, so that a file of ours bears our id in its header from its first commit on.
pub(super) fn create(db: &mut Connection, path: &Path) -> Result<(), Failure> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    if check(&transaction, path)?.is_none() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", FORMAT_VERSION)?;
        transaction.execute_batch(TABLES)?;
    }
    Ok(transaction.commit()?)
}

/// Adds the columns that a file of an earlier build lacks. One that may not be written, or has no room, is read as if they were there and
/// empty.
pub(super) fn add_columns(db: &Connection, read_only: bool) -> Result<(), Failure> {
    if missing_columns(db)?.is_empty() {
        return Ok(());
    }
    if !read_only {
        match add_missing(db) {
            Ok(()) => return Ok(()),
            // A full disk must not keep anyone from reading. The append that it stops opens another connection, which tries again.
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                tracing::warn!(error = ?e, "columns could not be added to a file of an earlier version");
            }
            Err(e) => return Err(e.into()),
        }
    }
    for (table, column, _) in missing_columns(db)? {
        db.execute_batch(&format!("CREATE TEMP VIEW {table} AS SELECT *, NULL AS {column} FROM main.{table}"))?;
    }
    Ok(())
}

fn add_missing(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let added = || {
        // Another process may have added them meanwhile.
        for (table, column, kind) in missing_columns(db)? {
            db.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind}"))?;
        }
        db.execute_batch("COMMIT")
    };
    added().inspect_err(|_| {
        // If this fails, SQLite takes it back when the connection is closed.
        let _ = db.execute_batch("ROLLBACK");
    })
}

fn missing_columns(db: &Connection) -> rusqlite::Result<Vec<(&'static str, &'static str, &'static str)>> {
    let mut missing = Vec::new();
    for added in ADDED_COLUMNS {
        let mut query = db.prepare("SELECT 1 FROM pragma_table_info(?1, 'main') WHERE name = ?2")?;
        if !query.exists([added.0, added.1])? {
            missing.push(added);
        }
    }
    Ok(missing)
}
