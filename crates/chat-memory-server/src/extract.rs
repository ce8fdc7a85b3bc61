//! Extractors for path, query, headers and body; their errors name the invalid place.

use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use chat_memory::store::Position;
use chat_memory::{Owner, SessionId, json};
use serde::de::DeserializeOwned;

use crate::memory::{Held, Memory, SMALL, estimate};
use crate::problem::Problem;
use crate::service::Service;

/// The deadline of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub tokio::time::Instant);

/// The session in the path.
#[derive(Debug)]
pub struct Session(pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id: String = in_path(parts, state, "session id").await?;
        SessionId::stored(id).map(Self).map_err(|e| Problem::bad_request(e.to_string()))
    }
}

/// The session in the path, and the number of one of its records.
#[derive(Debug)]
pub struct SessionRecord {
    /// The session.
    pub session: SessionId,
    /// The record's number.
    pub seq: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for SessionRecord {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (id, seq): (String, String) = in_path(parts, state, "session id or record number").await?;
        let session = SessionId::stored(id).map_err(|e| Problem::bad_request(e.to_string()))?;
        Ok(Self { session, seq: number_in_path("record number", &seq)? })
    }
}

/// The session in the path, the number of one of its records, and that of one of its messages.
#[derive(Debug)]
pub(crate) struct SessionMessage {
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
    pub(crate) n: usize,
}

impl<S: Send + Sync> FromRequestParts<S> for SessionMessage {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (id, seq, n): (String, String, String) = in_path(parts, state, "session id or number").await?;
        let session = SessionId::stored(id).map_err(|e| Problem::bad_request(e.to_string()))?;
        let (seq, n) = (number_in_path("record number", &seq)?, number_in_path("message number", &n)?);
        Ok(Self { session, seq, n })
    }
}

fn number_in_path<N: FromStr>(what: &str, text: &str) -> Result<N, Problem> {
    let wrong = |_| Problem::bad_request(format!("invalid {what} {text:?} in the path: expected a whole number from 0"));
    text.parse().map_err(wrong)
}

/// The owner in the path.
#[derive(Debug)]
pub struct OfOwner(pub Owner);

impl<S: Send + Sync> FromRequestParts<S> for OfOwner {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let owner: String = in_path(parts, state, "owner").await?;
        Owner::new(owner).map(Self).map_err(|e| Problem::bad_request(e.to_string()))
    }
}

/// LangGraph's thread in the path.
#[derive(Debug)]
pub struct Thread(pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for Thread {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        thread(in_path(parts, state, "thread id").await?).map(Self)
    }
}

/// LangGraph's thread in the path, and the id of one of its checkpoints.
#[derive(Debug)]
pub struct AtCheckpoint(pub SessionId, pub String);

impl<S: Send + Sync> FromRequestParts<S> for AtCheckpoint {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (id, checkpoint) = in_path(parts, state, "thread or checkpoint id").await?;
        Ok(Self(thread(id)?, checkpoint))
    }
}

fn thread(id: String) -> Result<SessionId, Problem> {
    SessionId::of_thread(id).map_err(|e| Problem::bad_request(e.to_string()))
}

/// The parameters of the path.
async fn in_path<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S, what: &str) -> Result<T, Problem> {
    let path = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
    // axum takes an escape that is none as it is.
    let path = path.ok().filter(|_| has_whole_escapes(parts.uri.path()));
    path.map(|Path(parameters)| parameters).ok_or_else(|| {
        let detail =
            format!("invalid {what} in the path: it is not percent-encoded UTF-8; write each % as % and two hexadecimal digits");
        Problem::bad_request(detail)
    })
}

/// Whether two hexadecimal digits follow each percent sign.
fn has_whole_escapes(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// A query without parameters. A write must not pass over one: it may have meant a trial.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// The query parameters.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(e) => {
                // The cause without axum's words around it. It names the parameter.
                let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
                Err(Problem::bad_request(format!("invalid query: {}", in_words(&cause))))
            }
        }
    }
}

/// Longer bodies are parsed on a thread of their own, so that other requests continue.
const READ_AT_ONCE: usize = 32 * 1024;

/// The longest body of a form without a text to store, such as a login.
pub(crate) const SHORT_BODY: usize = 8 * 1024;

/// How long such a body may take to arrive.
const SHORT_TIME: Duration = Duration::from_secs(10);

/// A request's JSON body.
pub trait RequestBody: DeserializeOwned {
    /// A short body of this shape, which an error shows to someone who sent another.
    const SHAPE: &'static str;
}

/// A JSON body, and the memory reserved for it until the request is done.
#[derive(Debug)]
pub struct JsonBody<T>(pub T, pub(crate) Held);

impl<T: RequestBody + Send + 'static> FromRequest<Service> for JsonBody<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, service: &Service) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let detail = "the body must be JSON: send it with `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", detail));
        }
        let (bytes, mut held) = bytes(request, service).await?;
        service.memory().for_reading(&mut held, estimate(&bytes)).await?;
        if bytes.len() <= READ_AT_ONCE {
            return read(&bytes).map(|body| Self(body, held));
        }
        let reading = tokio::task::spawn_blocking(move || read(&bytes));
        let body = reading.await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "reading a body failed");
            Err(Problem::internal())
        })?;
        Ok(Self(body, held))
    }
}

/// A short body with a short timeout, for requests that are not authenticated yet.
pub(crate) async fn short_bytes(request: Request, service: &Service) -> Result<Bytes, Problem> {
    let limit = SHORT_BODY.min(service.options().max_body);
    tokio::time::timeout(SHORT_TIME, collect(request, limit, None)).await.map_err(|_| late())?.map(|(bytes, _)| bytes)
}

/// A body within the service's limit, and the memory reserved for it.
pub(crate) async fn bytes(request: Request, service: &Service) -> Result<(Bytes, Held), Problem> {
    collect(request, service.options().max_body, Some(service.memory())).await
}

/// Reads a body of at most `limit` bytes, and reserves memory for it. A short body needs no reservation.
async fn collect(request: Request, limit: usize, memory: Option<&Memory>) -> Result<(Bytes, Held), Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let most = memory.map_or(limit, |memory| memory.longest().min(limit));
    if announced.is_some_and(|length| length > most as u64) {
        return Err(Problem::too_large(most, "a body"));
    }
    // Reserved before anything is read, so that no memory is used that the budget lacks.
    let announced = announced.map_or(0, |length| usize::try_from(length).unwrap_or(limit));
    let mut held = Held::default();
    if let Some(memory) = memory {
        memory.for_coming(&mut held, announced).await?;
    }
    let mut waited = announced > SMALL;
    let deadline = request.extensions().get::<Deadline>().copied();
    let mut body = Vec::with_capacity(announced);
    let mut stream = http_body_util::Limited::new(request.into_body(), limit);
    let collect = async {
        while let Some(frame) = http_body_util::BodyExt::frame(&mut stream).await {
            let frame = frame.map_err(|e| match e.is::<http_body_util::LengthLimitError>() {
                true => Problem::too_large(limit, "a body"),
                false => Problem::bad_request("incomplete body: the connection ended early; send it again"),
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > most {
                return Err(Problem::too_large(most, "a body"));
            }
            if let Some(memory) = memory.filter(|_| !waited && body.len() + data.len() > SMALL) {
                // The length is unknown.
                memory.for_coming(&mut held, most).await?;
                waited = true;
            }
            body.extend_from_slice(&data);
        }
        Ok(())
    };
    match deadline {
        Some(Deadline(deadline)) => tokio::time::timeout_at(deadline, collect).await.map_err(|_| late())??,
        None => collect.await?,
    }
    Ok((body.into(), held))
}

fn late() -> Problem {
    let detail = "request timed out: the body did not arrive in time, and nothing was written; send it again";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail)
}

/// Parses JSON; errors have the place: line and column of invalid JSON, or the pointer to an invalid value.
fn read<T: RequestBody>(bytes: &[u8]) -> Result<T, Problem> {
    let value = json::parse_document(bytes).map_err(|e| {
        let problem = Problem::bad_request(e.to_string()).with("line", e.line()).with("column", e.column());
        match e.byte() {
            Some(byte) => problem.with("byte", byte),
            None => problem,
        }
    })?;
    // Serde would accept an array for the fields in their order.
    if !value.is_object() {
        return Err(Problem::invalid(format!("invalid body: expected a JSON object such as {}", T::SHAPE)).at(""));
    }
    serde_path_to_error::deserialize(value).map_err(|e| {
        let pointer = pointer(e.path());
        Problem::invalid(in_words(&e.inner().to_string())).at(&pointer)
    })
}

/// Says in words what Serde and the standard library say in Rust's.
fn in_words(cause: &str) -> String {
    const NUMBER: &str = "expected a whole number from 0";
    const ENDS: [(&str, &str); 9] = [
        ("invalid digit found in string", NUMBER),
        ("cannot parse integer from empty string", NUMBER),
        ("number too large to fit in target type", NUMBER),
        ("expected usize", NUMBER),
        ("expected u64", NUMBER),
        ("expected u32", NUMBER),
        ("provided string was not `true` or `false`", "expected true or false"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
    ];
    let found = ENDS.iter().find_map(|(end, words)| Some((cause.strip_suffix(end)?, *words)));
    let (cause, words) = found.unwrap_or((cause, ""));
    let cause = match cause.strip_prefix("invalid type: ") {
        Some(rest) if rest.starts_with("map,") => format!("invalid type: object{}", &rest["map".len()..]),
        Some(rest) if rest.starts_with("sequence,") => format!("invalid type: list{}", &rest["sequence".len()..]),
        _ => cause.to_owned(),
    };
    cause + words
}

/// A JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}

/// The header of this name, which may occur at most once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (_, Some(_)) => Err(Problem::bad_request(format!("duplicate header {name}: send it once"))),
        (first, None) => Ok(first),
    }
}

/// The `Idempotency-Key`.
#[derive(Debug)]
pub struct Key(pub String);

impl<S: Send + Sync> OptionalFromRequestParts<S> for Key {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let Some(header) = only(&parts.headers, "idempotency-key")? else { return Ok(None) };
        let text =
            std::str::from_utf8(header.as_bytes()).map_err(|_| Problem::bad_request("the Idempotency-Key is not UTF-8"))?;
        // The draft standard quotes it; most clients do not.
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let most = chat_memory::store::MAX_KEY_BYTES;
        if text.is_empty() || text.len() > most {
            return Err(Problem::bad_request(format!("an Idempotency-Key has 1 to {most} bytes; this one has {}", text.len())));
        }
        Ok(Some(Self(text.to_owned())))
    }
}

/// The position in `If-Match`.
#[derive(Debug)]
pub struct IfMatch(pub Position);

impl<S: Send + Sync> OptionalFromRequestParts<S> for IfMatch {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let Some(header) = only(&parts.headers, "if-match")? else { return Ok(None) };
        let position = header.to_str().ok().and_then(tag).and_then(|tag| tag.parse().ok());
        let wrong = || {
            Problem::bad_request(
                "invalid If-Match: expected one position, such as the ETag or the \"position\" of an earlier response",
            )
        };
        position.map(|position| Some(Self(position))).ok_or_else(wrong)
    }
}

/// Refuses `If-Match` for an operation that does not check positions: a condition must not be ignored silently.
#[derive(Debug)]
pub struct Unconditional;

impl<S: Send + Sync> FromRequestParts<S> for Unconditional {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if parts.headers.contains_key(header::IF_MATCH) {
            return Err(Problem::bad_request("If-Match is not supported here: only operations on a session's messages check it"));
        }
        Ok(Self)
    }
}

/// Whether `If-None-Match` contains this position.
pub(crate) fn none_match(headers: &HeaderMap) -> Option<Vec<Position>> {
    let header = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    Some(header.split(',').filter_map(|one| tag(one.trim())?.parse().ok()).collect())
}

/// An entity tag's text: quoted, weak, or bare.
fn tag(text: &str) -> Option<&str> {
    let text = text.strip_prefix("W/").unwrap_or(text);
    match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its errors are looked at")]
    struct Sample {
        list: Vec<Item>,
    }

    impl RequestBody for Sample {
        const SHAPE: &'static str = r#"{"list": [{"n": 1}]}"#;
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only its errors are looked at")]
    struct Item {
        n: u64,
    }

    #[test]
    fn json_errors_name_the_location() {
        let problem = |text: &str| read::<Sample>(text.as_bytes()).expect_err("wrong").detail().to_owned();
        assert!(problem("{\n\"list\": [,]}").contains("line 2, column 10: expected a value"), "{}", problem("{\n\"list\": [,]}"));
        assert!(problem(r#"{"list": [{"n": 1}, {"n": "x"}]}"#).contains("/list/1/n"));
        assert!(problem(r#"{"list": [], "lost": 1}"#).contains("lost"));
        assert!(problem(r#"{"list": [], "list": []}"#).contains("list"));
        assert!(
            read::<Sample>(b"{\"list\": \"\xff\"}")
                .expect_err("wrong")
                .detail()
                .contains("column 11: the byte 0xFF is not UTF-8")
        );
    }

    #[test]
    fn errors_do_not_name_types_of_rust() {
        for (cause, words) in [
            ("at: invalid digit found in string", "at: expected a whole number from 0"),
            ("all: provided string was not `true` or `false`", "all: expected true or false"),
            ("invalid value: integer `-1`, expected usize", "invalid value: integer `-1`, expected a whole number from 0"),
            ("invalid type: map, expected a sequence", "invalid type: object, expected a list"),
            ("invalid type: sequence, expected a map", "invalid type: list, expected an object"),
            ("unknown field `x`, expected `n`", "unknown field `x`, expected `n`"),
        ] {
            assert_eq!(in_words(cause), words);
        }
    }

    #[test]
    fn entity_tags_are_read_in_every_form() {
        for text in ["\"AQ\"", "W/\"AQ\"", "AQ"] {
            assert_eq!(tag(text), Some("AQ"));
        }
        assert_eq!(tag("\"AQ"), None);
    }
}
