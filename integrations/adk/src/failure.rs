//! Converts our errors to adk-rust's.

use adk_core::{AdkError, ErrorCategory, ErrorComponent};
use chat_memory::{Error, ErrorKind};

/// adk-rust's error for a store's. The message says what to do; after an append with an unknown outcome it names the ticket.
pub fn store(error: Error) -> AdkError {
    let (category, code) = match error.kind() {
        ErrorKind::NotFound => (ErrorCategory::Unavailable, "session.store_missing"),
        ErrorKind::Conflict | ErrorKind::Contended => (ErrorCategory::Unavailable, "session.contended"),
        ErrorKind::InDoubt => (ErrorCategory::Timeout, "session.in_doubt"),
        ErrorKind::TooLarge | ErrorKind::Invalid | ErrorKind::KeyReused => (ErrorCategory::InvalidInput, "session.invalid"),
        ErrorKind::AccessDenied => (ErrorCategory::Forbidden, "session.access_denied"),
        ErrorKind::Throttled => (ErrorCategory::RateLimited, "session.throttled"),
        ErrorKind::Unavailable => (ErrorCategory::Unavailable, "session.unavailable"),
        ErrorKind::Unsupported | ErrorKind::ReadOnly => (ErrorCategory::Unsupported, "session.unsupported"),
        _ => (ErrorCategory::Internal, "session.store"),
    };
    AdkError::new(ErrorComponent::Session, category, code, error.to_string()).with_source(error)
}

/// The error that adk-rust's contract demands if there is no such session.
pub fn not_found(app: &str, user: &str, session: &str) -> AdkError {
    let message = format!("session '{session}' was not found for app '{app}' and user '{user}'");
    AdkError::not_found(ErrorComponent::Session, "session.not_found", message)
}

/// An error that the caller made.
pub fn invalid(code: &'static str, message: String) -> AdkError {
    AdkError::new(ErrorComponent::Session, ErrorCategory::InvalidInput, code, message)
}
