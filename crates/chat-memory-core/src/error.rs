//! The one error of this library: opaque, with a [kind](ErrorKind), one sentence that says what is wrong, where and what
//! to do, and what a caller needs to go on (a [`Ticket`], the actual [`Position`]).

use std::error::Error as StdError;
use std::fmt;

use crate::store::{Position, Ticket};

/// What went wrong, in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The table, the file or the folder is not there.
    NotFound,
    /// The log is not at the expected [`Position`]; nothing was written. [`Error::actual`] names where it is.
    Conflict,
    /// It is not known whether the append landed. [`Error::ticket`] lets any process find out and finish it.
    InDoubt,
    /// An idempotency key was used before, with another body.
    KeyReused,
    /// More bytes than the store takes.
    TooLarge,
    /// The request itself is wrong; repeating it cannot help.
    Invalid,
    /// The credentials are missing, refused, expired, or lack a permission.
    AccessDenied,
    /// The service refuses to go faster. Nothing was written.
    Throttled,
    /// Other writers to the same session kept this one from getting through in time. Nothing was written.
    Contended,
    /// The service or the disk could not be reached, in time or at all. Nothing was written.
    Unavailable,
    /// What is stored cannot be read.
    Corrupt,
    /// The store does not do this (see its capabilities), or a newer version wrote what is stored.
    Unsupported,
    /// The store was opened for reading only.
    ReadOnly,
}

/// Why an operation failed. [`Error::kind`] and the `is_…` methods say what can be done.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    ticket: Option<Ticket>,
    actual: Option<Position>,
}

impl Error {
    /// An error of this kind. The message is one sentence without a full stop: what is wrong, where, what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None, ticket: None, actual: None }))
    }

    /// What a store that is open for reading only says to everything that writes.
    pub fn read_only() -> Self {
        Self::new(ErrorKind::ReadOnly, "the store is open for reading only (read_only); open it without to write")
    }

    /// An error of the kind [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// An error of the kind [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A conflict: the log is at `actual`.
    pub fn conflict(actual: Position) -> Self {
        let mut error = Self::new(
            ErrorKind::Conflict,
            format!(
                "someone wrote to the session since it was read: it is at position {actual} now; read it again and decide anew"
            ),
        );
        error.0.actual = Some(actual);
        error
    }

    /// An append whose outcome is not known.
    pub fn in_doubt(ticket: Ticket, why: impl fmt::Display) -> Self {
        let mut error = Self::new(
            ErrorKind::InDoubt,
            format!(
                "it is not known whether the append landed ({why}); repeat it with the ticket {ticket}, which cannot double it"
            ),
        );
        error.0.ticket = Some(ticket);
        error
    }

    /// The same error of a clear or a delete, which is repeated without a ticket.
    pub fn of_repeatable(self, what: &str) -> Self {
        if !self.is_in_doubt() {
            return self;
        }
        let why = self.0.source.as_ref().map_or_else(|| "no answer".to_owned(), ToString::to_string);
        let error = Self::new(self.kind(), format!("it is not known whether the session was {what} ({why}); repeat it"));
        error.with_source(self)
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with what was being done in front.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// What went wrong, in general.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The ticket of an append in doubt.
    pub fn ticket(&self) -> Option<&Ticket> {
        self.0.ticket.as_ref()
    }

    /// Where the log is, for a conflict.
    pub fn actual(&self) -> Option<&Position> {
        self.0.actual.as_ref()
    }

    /// Whether the same call may succeed later, with nothing changed. An append in doubt is not to be repeated as it
    /// was but through its ticket, so this is false for it.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Throttled | ErrorKind::Contended | ErrorKind::Unavailable)
    }

    /// Whether the table, the file or the folder is not there.
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// Whether the log was not at the expected position.
    pub fn is_conflict(&self) -> bool {
        self.0.kind == ErrorKind::Conflict
    }

    /// Whether the outcome of an append is not known.
    pub fn is_in_doubt(&self) -> bool {
        self.0.kind == ErrorKind::InDoubt
    }

    /// Whether an idempotency key was used before with another body.
    pub fn is_key_reused(&self) -> bool {
        self.0.kind == ErrorKind::KeyReused
    }

    /// Whether there were more bytes than the store takes.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == ErrorKind::TooLarge
    }

    /// Whether the request itself is wrong.
    pub fn is_invalid(&self) -> bool {
        self.0.kind == ErrorKind::Invalid
    }

    /// Whether credentials or permissions are the trouble.
    pub fn is_access_denied(&self) -> bool {
        self.0.kind == ErrorKind::AccessDenied
    }

    /// Whether the service refuses to go faster.
    pub fn is_throttled(&self) -> bool {
        self.0.kind == ErrorKind::Throttled
    }

    /// Whether other writers to the same session kept this one from getting through in time.
    pub fn is_contended(&self) -> bool {
        self.0.kind == ErrorKind::Contended
    }

    /// Whether the service or the disk could not be reached.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }

    /// Whether what is stored cannot be read.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == ErrorKind::Corrupt
    }

    /// Whether the store does not do this.
    pub fn is_unsupported(&self) -> bool {
        self.0.kind == ErrorKind::Unsupported
    }

    /// Whether the store was opened for reading only.
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
