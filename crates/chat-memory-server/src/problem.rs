//! Errors as problem documents (RFC 9457).

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chat_memory::{Error, ErrorKind};
use serde_json::{Map, Value, json};

use crate::metrics::Operation;

/// The content type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The detail for an unknown path.
pub const NO_SUCH_PATH: &str = "unknown path: /openapi.json describes all paths";

/// The detail for a method that a path does not support.
pub const NO_SUCH_METHOD: &str = "method not allowed on this path: the Allow header lists those that are";

/// An error response: a status, a sentence, and what a client needs to continue.
///
/// Its response carries it as an extension, so that the console can show it as a page.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    /// The detail for someone at the console, where that is another.
    in_console: Option<String>,
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Who reads the sentence about a store's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The operator of the service, who may see everything.
    Operator,
    /// A client, who must not see names of files, tables and other namespaces.
    Client,
}

impl Problem {
    /// A problem of this kind, in one or two sentences.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let (detail, in_console) = (detail.into(), None);
        Self(Box::new(Inner { status, kind, detail, in_console, more: Map::new(), headers: Vec::new() }))
    }

    /// A malformed request.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// A well-formed request for something impossible.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// A request without a key, or with an unknown one.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"chat-memory\"");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).header(header::WWW_AUTHENTICATE, challenge)
    }

    /// A request that its key does not permit.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// A write to a read-only store.
    pub(crate) fn read_only() -> Self {
        Self::forbidden("write refused: the service was started with a read-only store")
    }

    /// Something that does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// A failure of the service itself.
    pub(crate) fn internal() -> Self {
        let detail = "internal error: see the service's log under this request's id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// More bytes than the limit.
    pub fn too_large(limit: usize, what: &str) -> Self {
        let detail = format!("{what} is limited to {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).with("limit", limit)
    }

    /// A request to be repeated after this many seconds.
    pub fn later(status: StatusCode, kind: &'static str, seconds: u32, detail: impl Into<String>) -> Self {
        Self::new(status, kind, detail).header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds a member to the usual ones.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// Names the place of the invalid value, as a JSON pointer.
    #[must_use]
    pub fn at(mut self, pointer: &str) -> Self {
        self.0.detail += &format!(" (at {pointer:?})");
        self.with("pointer", pointer)
    }

    /// Sets another detail for someone at the console, who has no request to change.
    #[must_use]
    pub(crate) fn in_console(mut self, detail: impl Into<String>) -> Self {
        self.0.in_console = Some(detail.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The kind of problem, as its document's type names it.
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// The detail.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The detail for someone at the console.
    pub(crate) fn detail_in_console(&self) -> &str {
        self.0.in_console.as_deref().unwrap_or_else(|| self.detail())
    }

    /// A store that could not be opened: whatever the reason, it is not the request.
    pub fn unopened(error: &Error, reader: Reader) -> Self {
        let detail = match reader {
            Reader::Operator => format!("the store cannot be opened: {error}"),
            Reader::Client => "the store cannot be opened: see the service's log".to_owned(),
        };
        Self::later(StatusCode::SERVICE_UNAVAILABLE, "unavailable", 5, detail)
    }

    /// Converts a store's error for this reader. The operation decides how to continue.
    pub fn of(error: &Error, reader: Reader, operation: Operation) -> Self {
        let said = || format!("{error}");
        let hidden = |what: &str| match reader {
            Reader::Operator => said(),
            Reader::Client => format!("{what}; see the service's log under this request's id"),
        };
        match error.kind() {
            ErrorKind::Conflict => {
                let problem = Self::new(StatusCode::PRECONDITION_FAILED, "conflict", said());
                let Some(actual) = error.actual().map(ToString::to_string) else { return problem };
                let tag = HeaderValue::from_str(&format!("\"{actual}\""));
                let problem = problem.with("actual", actual);
                tag.map_or_else(|_| Self::bad_request("no tag"), |tag| problem.header(header::ETAG, tag))
            }
            ErrorKind::InDoubt => {
                let next = match operation {
                    // A key or a ticket makes it safe to repeat.
                    Operation::Append => {
                        "repeat the request with the same Idempotency-Key, or with this ticket in its body; it is never stored twice"
                    }
                    // Repeating it rewinds again.
                    Operation::Rewind => "read the session again, and check whether the rewind is still needed",
                    _ => "repeat the request, with its Idempotency-Key if it had one",
                };
                let detail = format!("outcome unknown: the store did not answer, so this may have been stored; {next}");
                let problem = Self::later(StatusCode::SERVICE_UNAVAILABLE, "in-doubt", 1, detail);
                error
                    .ticket()
                    .filter(|_| operation == Operation::Append)
                    .map(ToString::to_string)
                    .into_iter()
                    .fold(problem, |problem, ticket| problem.with("ticket", ticket))
            }
            ErrorKind::KeyReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", said()),
            ErrorKind::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", said()),
            ErrorKind::Invalid => Self::invalid(said()),
            ErrorKind::Throttled => {
                let detail = hidden("the store is throttled: retry later");
                Self::later(StatusCode::TOO_MANY_REQUESTS, "throttled", 1, detail)
            }
            // It names only the session that was requested.
            ErrorKind::Contended => Self::later(StatusCode::SERVICE_UNAVAILABLE, "contended", 1, said()),
            ErrorKind::ReadOnly => Self::read_only(),
            ErrorKind::Unsupported => {
                Self::new(StatusCode::NOT_IMPLEMENTED, "unsupported", hidden("not supported by this service's store"))
            }
            ErrorKind::Corrupt => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "corrupt", hidden("the stored session cannot be read"))
            }
            // For the operator to fix, not the client: a missing table, or refused credentials.
            _ => Self::later(StatusCode::SERVICE_UNAVAILABLE, "unavailable", 5, hidden("the store is unavailable")),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let problem = self.clone();
        let Inner { status, kind, detail, in_console: _, more, headers } = *self.0;
        let mut document = Map::new();
        document.insert("type".into(), format!("urn:chat-memory:problem:{kind}").into());
        document.insert("title".into(), status.canonical_reason().unwrap_or(kind).into());
        document.insert("status".into(), json!(status.as_u16()));
        document.insert("detail".into(), detail.into());
        document.extend(more);
        let mut response = (status, Json(Value::Object(document))).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response.headers_mut().extend(headers);
        response.extensions_mut().insert(problem);
        response
    }
}

/// Turns plain-text errors, as axum and other libraries send them, into problem documents; leaves other responses unchanged.
pub fn as_document(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_plain = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_plain || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (kind, detail) = match status {
        StatusCode::NOT_FOUND => ("not-found", NO_SUCH_PATH),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", NO_SUCH_METHOD),
        status if status.is_client_error() => ("bad-request", "invalid request"),
        _ => ("internal", "internal error: see the service's log under this request's id"),
    };
    let mut document = Problem::new(status, kind, detail).into_response();
    for (name, value) in response.headers() {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            document.headers_mut().insert(name.clone(), value.clone());
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_errors_hide_operator_names() {
        for kind in
            [ErrorKind::NotFound, ErrorKind::AccessDenied, ErrorKind::Unavailable, ErrorKind::Corrupt, ErrorKind::Throttled]
        {
            let error = Error::new(kind, "the table secret-table in /secret/path is not there");
            assert!(!Problem::of(&error, Reader::Client, Operation::Load).detail().contains("secret"), "{kind:?}");
            assert!(Problem::of(&error, Reader::Operator, Operation::Load).detail().contains("secret-table"), "{kind:?}");
        }
    }

    #[test]
    fn in_doubt_problem_explains_the_next_step() {
        let said = |operation| Problem::of(&Error::new(ErrorKind::InDoubt, "no"), Reader::Client, operation).detail().to_owned();
        assert!(said(Operation::Append).contains("ticket in its body"));
        assert!(said(Operation::Rewind).contains("read the session again") && !said(Operation::Rewind).contains("ticket"));
        assert!(said(Operation::Load).contains("repeat the request") && !said(Operation::Load).contains("ticket"));
    }

    #[test]
    fn each_kind_of_error_has_a_status_and_a_type() {
        for kind in ErrorKind::ALL {
            let (status, name) = match kind {
                ErrorKind::Conflict => (412, "conflict"),
                ErrorKind::InDoubt => (503, "in-doubt"),
                ErrorKind::KeyReused => (422, "key-reused"),
                ErrorKind::TooLarge => (413, "too-large"),
                ErrorKind::Invalid => (422, "invalid"),
                ErrorKind::Throttled => (429, "throttled"),
                ErrorKind::Contended => (503, "contended"),
                ErrorKind::Corrupt => (500, "corrupt"),
                ErrorKind::Unsupported => (501, "unsupported"),
                ErrorKind::ReadOnly => (403, "forbidden"),
                // Those of the operator.
                ErrorKind::NotFound | ErrorKind::AccessDenied | ErrorKind::Unavailable => (503, "unavailable"),
                other => panic!("{other:?} has no status"),
            };
            let problem = Problem::of(&Error::new(*kind, "no"), Reader::Client, Operation::Load);
            assert_eq!((problem.status().as_u16(), problem.kind()), (status, name), "{kind:?}");
            let own = !matches!(name, "unavailable" | "forbidden");
            assert!(!own || name == kind.as_str().replace('_', "-"), "the type is the kind's name, with hyphens: {name}");
        }
    }

    #[test]
    fn retryable_problems_have_a_retry_after() {
        for kind in [ErrorKind::Throttled, ErrorKind::Unavailable, ErrorKind::InDoubt] {
            let response = Problem::of(&Error::new(kind, "no"), Reader::Client, Operation::Load).into_response();
            assert!(response.headers().contains_key(header::RETRY_AFTER), "{kind:?}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
        }
    }
}
