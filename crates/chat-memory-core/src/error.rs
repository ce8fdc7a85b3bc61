//! The error type of this library: opaque, with a [kind](ErrorKind), a one-sentence message (what failed, where, the remedy), and
//! what a caller needs to continue (a [`Ticket`], the actual [`Position`]).

use std::error::Error as StdError;
use std::fmt;

use crate::session::SessionId;
use crate::store::{Position, Ticket};

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The table, file, directory or record does not exist.
    NotFound,
    /// The log is not at the expected [`Position`]; nothing was written. [`Error::actual`] returns where it is.
    Conflict,
    /// The outcome of the append is unknown. With [`Error::ticket`], any process can determine it and finish the append.
    InDoubt,
    /// An idempotency key was used before with another body.
    KeyReused,
    /// More bytes than the store accepts.
    TooLarge,
    /// The request is invalid; retrying cannot help.
    Invalid,
    /// The credentials are missing, refused or expired, or lack a permission.
    AccessDenied,
    /// The service throttled the request. Nothing was written.
    Throttled,
    /// Other writers to the same session prevented this write until its deadline. Nothing was written.
    Contended,
    /// The service or the disk could not be reached, or not in time. Nothing was written.
    Unavailable,
    /// Stored data cannot be read.
    Corrupt,
    /// The store does not support this (see its capabilities), or the data was written by a newer version.
    Unsupported,
    /// The store was opened read-only.
    ReadOnly,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: &[Self] = &[
        Self::NotFound,
        Self::Conflict,
        Self::InDoubt,
        Self::KeyReused,
        Self::TooLarge,
        Self::Invalid,
        Self::AccessDenied,
        Self::Throttled,
        Self::Contended,
        Self::Unavailable,
        Self::Corrupt,
        Self::Unsupported,
        Self::ReadOnly,
    ];

    /// Returns the kind's name, such as `in_doubt`: in JSON, in metrics and in other languages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::InDoubt => "in_doubt",
            Self::KeyReused => "key_reused",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::AccessDenied => "access_denied",
            Self::Throttled => "throttled",
            Self::Contended => "contended",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::ReadOnly => "read_only",
        }
    }
}

/// Why an operation failed. [`Error::kind`] and the `is_…` methods tell how to handle it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    ticket: Option<Ticket>,
    actual: Option<Position>,
    missing_record: Option<u64>,
}

impl Error {
    /// Creates an error of this kind. The message is one sentence without a full stop: what failed, where, the remedy.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None, ticket: None, actual: None, missing_record: None }))
    }

    /// Returned for any write to a read-only store.
    pub fn read_only() -> Self {
        Self::new(ErrorKind::ReadOnly, "write refused: the store is read-only; open it without read_only")
    }

    /// Creates an error of kind [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Creates an error of kind [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Creates a conflict: the log is at `actual`.
    pub fn conflict(actual: Position) -> Self {
        let mut error = Self::new(
            ErrorKind::Conflict,
            format!("the session was modified since it was read (now at position {actual}): reload it and retry"),
        );
        error.0.actual = Some(actual);
        error
    }

    /// Creates a conflict: the session that a fork was to create has messages, or is listed, and is at `actual`.
    pub(crate) fn taken(session: &SessionId, actual: Position) -> Self {
        let mut error = Self::new(
            ErrorKind::Conflict,
            format!("cannot fork into session {:?}: it already exists; give an id that no session has", session.as_str()),
        );
        error.0.actual = Some(actual);
        error
    }

    /// Creates the error for a record that does not exist, or whose messages were erased.
    pub(crate) fn no_record(seq: u64, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::NotFound, message);
        error.0.missing_record = Some(seq);
        error
    }

    /// Creates the error for an append whose outcome is unknown.
    pub fn in_doubt(ticket: Ticket, why: impl fmt::Display) -> Self {
        let mut error = Self::new(
            ErrorKind::InDoubt,
            format!("append outcome unknown ({why}): retry with the ticket {ticket}; it is never stored twice"),
        );
        error.0.ticket = Some(ticket);
        error
    }

    /// Adapts the error to a clear or a delete, which is repeated without a ticket; `what` is the participle, such as "deleted".
    pub fn of_repeatable(self, what: &str) -> Self {
        if !self.is_in_doubt() {
            return self;
        }
        let why = self.0.source.as_ref().map_or_else(|| "no answer".to_owned(), ToString::to_string);
        let error =
            Self::new(self.kind(), format!("outcome unknown ({why}): the session may have been {what}; it is safe to retry"));
        error.with_source(self)
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts what was being done in front of the message.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the ticket of an append whose outcome is unknown.
    pub fn ticket(&self) -> Option<&Ticket> {
        self.0.ticket.as_ref()
    }

    /// For a conflict, returns where the log is.
    pub fn actual(&self) -> Option<&Position> {
        self.0.actual.as_ref()
    }

    /// If a record does not exist, or its messages were erased, returns its number: the store itself is there.
    pub fn missing_record(&self) -> Option<u64> {
        self.0.missing_record
    }

    /// Whether the same call may succeed later, unchanged. False for an append whose outcome is unknown: repeat that with its
    /// ticket.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Throttled | ErrorKind::Contended | ErrorKind::Unavailable)
    }

    /// Whether the table, file, directory or record does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// Whether the log was not at the expected position.
    pub fn is_conflict(&self) -> bool {
        self.0.kind == ErrorKind::Conflict
    }

    /// Whether the outcome of an append is unknown.
    pub fn is_in_doubt(&self) -> bool {
        self.0.kind == ErrorKind::InDoubt
    }

    /// Whether an idempotency key was used before with another body.
    pub fn is_key_reused(&self) -> bool {
        self.0.kind == ErrorKind::KeyReused
    }

    /// Whether there were more bytes than the store accepts.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == ErrorKind::TooLarge
    }

    /// Whether the request is invalid.
    pub fn is_invalid(&self) -> bool {
        self.0.kind == ErrorKind::Invalid
    }

    /// Whether credentials or permissions are the cause.
    pub fn is_access_denied(&self) -> bool {
        self.0.kind == ErrorKind::AccessDenied
    }

    /// Whether the service throttled the request.
    pub fn is_throttled(&self) -> bool {
        self.0.kind == ErrorKind::Throttled
    }

    /// Whether other writers to the same session prevented this write until its deadline.
    pub fn is_contended(&self) -> bool {
        self.0.kind == ErrorKind::Contended
    }

    /// Whether the service or the disk could not be reached.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }

    /// Whether stored data cannot be read.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == ErrorKind::Corrupt
    }

    /// Whether the store does not support the operation.
    pub fn is_unsupported(&self) -> bool {
        self.0.kind == ErrorKind::Unsupported
    }

    /// Whether the store was opened read-only.
    pub fn is_read_only(&self) -> bool {
        self.0.kind == ErrorKind::ReadOnly
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<crate::message::MessageError> for Error {
    fn from(error: crate::message::MessageError) -> Self {
        Self::invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let names: HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        for (kind, name) in ErrorKind::ALL.iter().map(|kind| (format!("{kind:?}").to_lowercase(), kind.as_str())) {
            assert_eq!(kind, name.replace('_', ""));
        }
    }
}
