//! Redacting a record.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chat_memory::store::Redaction;
use utoipa::IntoParams;

use super::errors::{OfBody, OfListed, OfStore, OfValues};
use super::types::{RedactBody, RedactedBody};
use super::write::{about, at};
use crate::auth::MayReadOrWrite;
use crate::extract::{JsonBody, NoParams, Params, SessionRecord};
use crate::keys::Right;
use crate::operations;
use crate::problem::Problem;

/// The record in the path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it is only described")]
pub struct RecordPath {
    /// The session's id, percent-encoded
    #[param(min_length = 1, max_length = 1000, example = "trip")]
    session: String,
    /// The record's number, as `records` of the messages names it
    #[param(minimum = 0, example = 12)]
    seq: u64,
}

/// Redact a record
///
/// What one message of a record says, or all of them, is replaced: text, images, the arguments of tool calls and their results. The store does
/// not have it any more, whether the record is shown, taken back or cleared. The record keeps its number, its times and its metadata, and a
/// redacted message says when, in its field `redacted`. Repeating it changes nothing. Not covered: the session's title and metadata, forks of it,
/// and LangGraph's checkpoints.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/records/{seq}/redact", tag = "messages", operation_id = "redact",
    params(RecordPath),
    request_body = RedactBody,
    responses(
        (status = 200, description = "Redacted, or redacted before; with `dry_run`, what would change", body = RedactedBody),
        OfStore, OfBody, OfValues, OfListed),
    security(("key" = []))
)]
pub async fn redact(
    MayReadOrWrite(access): MayReadOrWrite,
    Params(NoParams {}): Params<NoParams>,
    SessionRecord { session, seq }: SessionRecord,
    headers: HeaderMap,
    JsonBody(body, held): JsonBody<RedactBody>,
) -> Result<Response, Problem> {
    if !body.dry_run {
        access.check(Right::Write)?;
    }
    for name in ["idempotency-key", "if-match"] {
        if headers.contains_key(name) {
            let detail = format!("a redaction takes no {name} header: it is safe to repeat without");
            return Err(Problem::bad_request(detail));
        }
    }
    let mut redaction = Redaction::new();
    if let Some(index) = body.message {
        redaction = redaction.message(index);
    }
    if let Some(text) = body.replacement {
        redaction = redaction.with_replacement(text);
        at("/replacement", redaction.check())?;
    }
    if body.dry_run {
        redaction = redaction.dry_run();
    }
    let done = operations::redact(&access, &session, seq, redaction, held).await;
    let done = about(body.message.map(|_| "/message"), done)?;
    let (changed, entries, cost) = (done.changed, done.entries, done.cost);
    Ok(Json(RedactedBody { session: session.to_string(), seq, changed, entries, cost }).into_response())
}
