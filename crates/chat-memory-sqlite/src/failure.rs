//! Maps SQLite's errors to ours.

use rusqlite::ErrorCode;

use super::batch::copy;
use super::options::Options;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Ticket;

/// Why work on the file failed, before the caller and the file to report are known.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    /// A record cannot be read, or is missing.
    Record {
        session: String,
        seq: u64,
        why: String,
    },
    /// The error as the caller gets it.
    Final(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    /// Whether another process holds the file's lock.
    pub(super) fn is_lock(&self) -> bool {
        let code = if let Self::Sqlite(error) = self { error.sqlite_error_code() } else { None };
        matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed))
    }

    /// Copies the failure for another caller of the same batch.
    pub(super) fn copy(&self) -> Self {
        match self {
            Self::Sqlite(error) => Self::Sqlite(copy(error)),
            Self::Record { session, seq, why } => Self::Record { session: session.clone(), seq: *seq, why: why.clone() },
            Self::Final(error) => Self::Final(Error::new(error.kind(), error.to_string())),
        }
    }

    /// Returns the error for the file that was opened with these options.
    pub(super) fn at(self, options: &Options) -> Error {
        let path = &options.path;
        match self {
            Self::Sqlite(error) => explained(error, options),
            Self::Record { session, seq, why } => Error::corrupt(format!(
                "record {seq} of session {session:?} in {} {why}; restore the file from a backup, or clear the session to \
                 continue without its records",
                path.display()
            )),
            Self::Final(error) => error,
        }
    }
}

/// Returns the error of a failed `COMMIT`, for the append with this ticket. After an I/O error the whole transaction may
/// nevertheless be in the write-ahead log and be restored when the file is next recovered. Without a lock or without space, its
/// last page was never written.
pub(super) fn commit_failed(error: rusqlite::Error, ticket: Ticket) -> Failure {
    if never_written(&error) {
        return Failure::Sqlite(error);
    }
    Failure::Final(Error::in_doubt(ticket, &error).with_source(error))
}

/// Returns the error of a failed `COMMIT` of something that is safe to write again, such as a checkpoint. See [`commit_failed`].
pub(super) fn commit_outcome_unknown(error: rusqlite::Error, what: &str) -> Failure {
    if never_written(&error) {
        return Failure::Sqlite(error);
    }
    let sentence = format!("{what} outcome unknown ({error}): it may be stored; put it again, it is never stored twice");
    Failure::Final(Error::new(ErrorKind::InDoubt, sentence).with_source(error))
}

/// Whether nothing of a transaction whose `COMMIT` failed can have reached the disk.
fn never_written(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull))
}

fn explained(error: rusqlite::Error, options: &Options) -> Error {
    let path = options.path.display();
    let (kind, sentence) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => (
            ErrorKind::Unavailable,
            format!("database locked: another process held {path} until the busy timeout; retry, or raise the timeout"),
        ),
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::Unavailable, format!("disk full: no space left for {path}, and nothing was written; free some and retry"))
        }
        Some(ErrorCode::SystemIoFailure) => {
            (ErrorKind::Unavailable, format!("disk I/O failed for {path} ({error}); check the disk's health, then retry"))
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) if options.read_only => (
            ErrorKind::AccessDenied,
            format!(
                "cannot read {path}: even for reading, SQLite needs the files -wal and -shm next to it; make its folder \
                 writable, or read a copy elsewhere"
            ),
        ),
        Some(ErrorCode::CannotOpen) => (
            ErrorKind::AccessDenied,
            format!("cannot open {path}, or the files -wal and -shm next to it; make its folder writable"),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => (
            ErrorKind::AccessDenied,
            format!(
                "cannot write {path}: it is not writable; make the file and its folder writable; or, if only the file is not, open it read-only"
            ),
        ),
        Some(ErrorCode::TooBig) => (ErrorKind::TooLarge, format!("record too large for {path} ({error}); split the append")),
        Some(ErrorCode::OutOfMemory) => {
            (ErrorKind::Unavailable, format!("out of memory while using {path}; free some and retry"))
        }
        Some(ErrorCode::NotADatabase) => (ErrorKind::Invalid, not_ours(&path, "SQLite cannot read it as a database")),
        _ => (
            ErrorKind::Corrupt,
            format!(
                "{path} is damaged ({error}); restore it from a backup, or save what can be read with: sqlite3 FILE .recover"
            ),
        ),
    };
    Error::new(kind, sentence).with_source(error)
}

/// The error text for a file that is not a chat memory.
pub(super) fn not_ours(path: &dyn std::fmt::Display, why: &str) -> String {
    format!("{path} is not a chat memory ({why}); it was left unchanged, name another file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_memory_core::store::AppendId;

    fn failure(extended_code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(extended_code), None)
    }

    #[test]
    fn commit_is_in_doubt_only_if_it_may_have_reached_the_disk() {
        use rusqlite::ffi::{SQLITE_BUSY, SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE};
        let ticket = Ticket::new(AppendId::random(), 7);
        let of = |code| commit_failed(failure(code), ticket).at(&Options::new("chat.db".into()));
        for code in [SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE] {
            let error = of(code);
            assert!(error.is_in_doubt() && error.ticket() == Some(&ticket) && !error.is_retryable(), "{error}");
        }
        for code in [SQLITE_BUSY, SQLITE_FULL] {
            let error = of(code);
            assert!(error.is_unavailable() && error.is_retryable() && error.ticket().is_none(), "{error}");
        }
    }

    #[test]
    fn every_error_names_the_file() {
        for code in 1..=26 {
            let error = Failure::from(failure(code)).at(&Options::new("/x/chat.db".into()));
            assert!(error.to_string().contains("/x/chat.db"), "{code}: {error}");
        }
    }
}
