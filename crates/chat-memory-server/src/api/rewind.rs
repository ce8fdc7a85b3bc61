//! Rewinding a session.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chat_memory::store::{Append, ChatStore as _, Cost, Load, Position};
use chat_memory::{Error, Message, SessionId};

use super::errors::{OfBody, OfMatch, OfStore, OfValues};
use super::extract::{IfMatch, JsonBody, Params, Session};
use super::parameters::{IfMatchHeader, SessionPath};
use super::read::tagged;
use super::types::{FormatParam, RewindBody, RewoundBody};
use super::write;
use crate::auth::{Access, MayWrite};
use crate::memory::Held;
use crate::problem::{Operation, Problem};
use crate::service::Service;

/// What to remove.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Back {
    /// The last n turns.
    Turns(usize),
    /// Every record from this number on.
    To(u64),
}

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
    State(service): State<Service>,
    MayWrite(access): MayWrite,
    Session(session): Session,
    Params(FormatParam { format }): Params<FormatParam>,
    expected: Option<IfMatch>,
    headers: HeaderMap,
    JsonBody(body, held): JsonBody<RewindBody>,
) -> Result<Response, Problem> {
    if headers.contains_key("idempotency-key") {
        let detail =
            "a rewind takes no Idempotency-Key; send If-Match with the session's position, and a repeat is refused with 412";
        return Err(Problem::bad_request(detail));
    }
    let back = match (body.turns, body.to) {
        (Some(0), None) => return Err(Problem::invalid("turns is 1 or more (at \"/turns\")").with("pointer", "/turns")),
        (Some(turns), None) => Back::Turns(turns),
        (None, Some(seq)) => Back::To(seq),
        _ => return Err(Problem::invalid("give one of turns and to").with("pointer", "")),
    };
    let messages = write::messages(body.messages, format.into())?;
    let done = take_back(&service, &access, &session, back, messages, expected.map(|IfMatch(position)| position), held).await?;
    let body = RewoundBody {
        session: session.to_string(),
        seq: done.seq,
        to: done.to,
        position: done.position.to_string(),
        cost: done.cost.into(),
    };
    Ok((tagged(&done.position)?, Json(body)).into_response())
}

/// What was removed.
#[derive(Debug)]
pub(crate) struct TakenBack {
    pub seq: Option<u64>,
    pub to: Option<u64>,
    pub position: Position,
    pub cost: Cost,
}

/// Rewinds if the session is at the expected position.
pub(crate) async fn take_back(
    service: &Service,
    access: &Access,
    session: &SessionId,
    back: Back,
    messages: Vec<Message>,
    expected: Option<Position>,
    held: Held,
) -> Result<TakenBack, Problem> {
    let load = match back {
        Back::Turns(turns) => Load::turns(turns),
        Back::To(seq) => Load::all().since(seq),
    };
    let history = access.store.load(session, &load).await.map_err(|e| access.problem(&e))?;
    if expected.is_some_and(|expected| expected != history.position) {
        return Err(access.problem(&Error::conflict(history.position)));
    }
    let replaces = !messages.is_empty();
    let append = match back {
        Back::Turns(turns) => Append::rewind_turns(&history, turns, messages).map_err(|e| access.problem(&e)),
        Back::To(seq) => write::at("/to", Append::rewind(&history, seq, messages)).map(Some),
    };
    let Some(append) = append? else {
        if replaces {
            let detail =
                "there is no turn to take back, so the messages have no place to take; append them instead (at \"/turns\")";
            return Err(Problem::invalid(detail).with("pointer", "/turns"));
        }
        return Ok(TakenBack { seq: None, to: None, position: history.position, cost: history.cost });
    };
    let to = append.rewinds_to();
    let appended = write::store(service, access, session, None, append, Operation::Rewind, held).await?;
    let mut cost = history.cost;
    cost += appended.cost;
    Ok(TakenBack { seq: Some(appended.seq), to, position: appended.position, cost })
}
