//! Rewinding a session.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::errors::{OfBody, OfMatch, OfStore, OfValues};
use super::parameters::{IfMatchHeader, SessionPath};
use super::read::tagged;
use super::types::{FormatParam, RewindBody, RewoundBody};
use super::write::messages;
use crate::auth::MayWrite;
use crate::extract::{IfMatch, JsonBody, Params, Session};
use crate::operations::{self, Back};
use crate::problem::Problem;

/// Take back the end of a session
///
/// The last turns, or every record from a number on, vanish from the view in one step, and `messages` take their place: how an answer is
/// regenerated, or a question edited. Send `If-Match`, so that a repeat whose first try was stored is refused with 412 and takes back nothing
/// more.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/rewind", tag = "messages", operation_id = "rewind",
    params(SessionPath, FormatParam, IfMatchHeader),
    request_body = RewindBody,
    responses((status = 200, description = "Taken back", body = RewoundBody, headers(("ETag" = String, description = "The position now"))),
        OfStore, OfBody, OfValues, OfMatch),
    security(("key" = []))
)]
pub async fn rewind(
    MayWrite(access): MayWrite,
    Session(session): Session,
    Params(FormatParam { format }): Params<FormatParam>,
    expected: Option<IfMatch>,
    headers: HeaderMap,
    JsonBody(body, held): JsonBody<RewindBody>,
) -> Result<Response, Problem> {
    if headers.contains_key("idempotency-key") {
        let detail = "a rewind has no Idempotency-Key: send If-Match with the session's position instead, and a repeat is refused with 412";
        return Err(Problem::bad_request(detail));
    }
    let back = match (body.turns, body.to) {
        (Some(0), None) => return Err(Problem::invalid("invalid turns: expected 1 or more").at("/turns")),
        (Some(turns), None) => Back::Turns(turns),
        (None, Some(seq)) => Back::To(seq),
        _ => return Err(Problem::invalid("give one of turns and to").with("pointer", "")),
    };
    let messages = messages(body.messages, format)?;
    let expected = expected.map(|IfMatch(position)| position);
    let done = operations::rewind(&access, &session, back, messages, expected, held).await?;
    let body = RewoundBody {
        session: session.to_string(),
        seq: done.seq,
        to: done.to,
        position: done.position.to_string(),
        cost: done.cost,
    };
    Ok((tagged(&done.position)?, Json(body)).into_response())
}
