//! Writing to a session: append and clear.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chat_memory::backend::{check_record_metadata, check_title};
use chat_memory::store::{Append, Appended, AppendedNew, Position};
use chat_memory::wire::Format;
use chat_memory::{Entry, Message, Owner, SessionId};
use serde_json::{Map, Value};

use super::errors::{OfBody, OfKey, OfMatch, OfStore, OfValues};
use super::parameters::{IfMatchHeader, KeyHeader, SessionPath};
use super::read::tagged;
use super::types::{AppendBody, AppendedBody, ClearedBody, FormatParam};
use crate::auth::{Access, MayWrite};
use crate::extract::{IfMatch, JsonBody, Key, NoParams, Params, Session};
use crate::memory::Held;
use crate::operations::{self, Cleared};
use crate::problem::Problem;
use crate::time::Time;

/// Set on the response to a repeated key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Append messages
///
/// They are stored as one record, whole or not at all; other entries than messages under `entries`. A session starts with its first record. With an `Idempotency-Key` it is safe to repeat
/// until an answer comes.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/messages", tag = "messages", operation_id = "appendMessages",
    params(SessionPath, FormatParam, KeyHeader, IfMatchHeader),
    request_body = AppendBody,
    responses((status = 200, description = "Nothing was new, with `only_new`", body = AppendedBody,
        headers(("ETag" = String, description = "The session's position"))),
        (status = 201, description = "Stored; or, for a repeated key, what the first request stored", body = AppendedBody,
        headers(("ETag" = String, description = "The position behind the record"),
            ("Idempotent-Replayed" = String, description = "`true` where an earlier request with this key had stored it"))),
        OfStore, OfBody, OfValues, OfKey, OfMatch),
    security(("key" = []))
)]
pub async fn append(
    MayWrite(access): MayWrite,
    Session(session): Session,
    Params(FormatParam { format }): Params<FormatParam>,
    key: Option<Key>,
    expected: Option<IfMatch>,
    JsonBody(body, held): JsonBody<AppendBody>,
) -> Result<Response, Problem> {
    let entries: Vec<Entry> = match (body.messages, body.entries) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("give messages or entries, but not both")),
        (None, Some(entries)) if entries.is_empty() => {
            return Err(Problem::invalid("empty append: give at least one entry").at("/entries"));
        }
        (None, Some(entries)) => entries_of(entries)?,
        (values, None) => messages(values.unwrap_or_default(), format)?.into_iter().map(Entry::from).collect(),
    };
    if entries.is_empty() {
        return Err(Problem::invalid("empty append: give at least one message").at("/messages"));
    }
    let mut append = Append::new(entries);
    if let Some(metadata) = body.metadata {
        at("/metadata", check_record_metadata(&metadata))?;
        append = append.with_metadata(metadata);
    }
    if let Some(owner) = body.owner {
        append = append.with_owner(at("/owner", Owner::new(owner))?);
    }
    if let Some(title) = body.title {
        at("/title", check_title(&title))?;
        append = append.with_title(title);
    }
    append = match (key, body.ticket) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("give an Idempotency-Key or a ticket, but not both")),
        (_, Some(ticket)) => append.with_ticket(at("/ticket", ticket.parse())?),
        (Some(Key(key)), None) => append.with_key(key),
        (None, None) => append,
    };
    if let Some(IfMatch(position)) = expected {
        append = append.with_expected(position);
    }
    if body.only_new {
        return append_new(&access, &session, append, held).await;
    }
    let appended = operations::append(&access, &session, append, held).await?;
    let position = position(&appended);
    let body = AppendedBody {
        session: session.to_string(),
        seq: Some(appended.seq),
        new: None,
        next: appended.seq + 1,
        position: position.to_string(),
        created_at: Time::of(appended.created_at),
        cost: appended.cost,
    };
    Ok((StatusCode::CREATED, tagged(&position)?, replayed(appended.repeated), Json(body)).into_response())
}

/// Appends the entries that are new, by their ids.
async fn append_new(access: &Access, session: &SessionId, append: Append, held: Held) -> Result<Response, Problem> {
    let appended = operations::append_new(access, session, append, held).await;
    let AppendedNew { new, appended, position, cost, .. } = about(Some("/only_new"), appended)?;
    let body = AppendedBody {
        session: session.to_string(),
        seq: appended.as_ref().map(|appended| appended.seq),
        new: Some(new),
        next: position.next(),
        position: position.to_string(),
        created_at: appended.as_ref().and_then(|appended| Time::of(appended.created_at)),
        cost,
    };
    let status = if appended.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(&position)?, Json(body)).into_response())
}

pub(super) fn replayed(repeated: bool) -> Option<[(HeaderName, HeaderValue); 1]> {
    repeated.then_some([(REPLAYED, HeaderValue::from_static("true"))])
}

/// The position after the appended record, the same for every repeat.
fn position(appended: &Appended) -> Position {
    Position::new(
        appended.seq + 1,
        appended.position.last().filter(|_| appended.position.next() == appended.seq + 1),
        appended.created_at,
    )
}

/// Parses the messages of a body.
pub(super) fn messages(values: Vec<Value>, format: Format) -> Result<Vec<Message>, Problem> {
    let pointer = |place: usize| format!("/messages/{place}");
    let read = format.read_placed(values);
    let read = read.or_else(|e| at(&pointer(e.place().unwrap_or_default()), Err(e.reason())))?;
    let check = |(place, message): (usize, Message)| at(&pointer(place), message.check().map(|()| message));
    read.into_iter().map(check).collect()
}

/// Reads the entries of a body.
fn entries_of(values: Vec<Map<String, Value>>) -> Result<Vec<Entry>, Problem> {
    let read = |(place, fields)| {
        let entry = Entry::from_object(fields);
        at(&format!("/entries/{place}"), entry.check().map(|()| entry))
    };
    values.into_iter().enumerate().map(read).collect()
}

/// Names the value of the body that a refused operation is about, if its values were the cause.
pub(super) fn about<T>(pointer: Option<&str>, done: Result<T, Problem>) -> Result<T, Problem> {
    done.map_err(|problem| match pointer {
        Some(pointer) if problem.kind() == "invalid" => problem.at(pointer),
        _ => problem,
    })
}

/// Describes an invalid part of a body, with its place.
pub(super) fn at<T>(pointer: &str, part: Result<T, impl std::fmt::Display>) -> Result<T, Problem> {
    part.map_err(|e| Problem::invalid(e.to_string()).at(pointer))
}

/// Clear a session
///
/// From that instant nothing before it is shown, to anyone. Then what it held is erased from the store, which takes about as long as the writing
/// took; if that is interrupted, the next clear continues. The session stays listed.
#[utoipa::path(
    delete, path = "/v1/sessions/{session}/messages", tag = "messages", operation_id = "clearMessages",
    params(SessionPath, KeyHeader, IfMatchHeader),
    responses((status = 200, description = "Cleared; a repeat with the same key clears nothing that came after", body = ClearedBody,
        headers(("ETag" = String, description = "The position behind the clear"),
            ("Idempotent-Replayed" = String, description = "`true` where an earlier request with this key had cleared it"))),
        OfStore, OfValues, OfKey, OfMatch),
    security(("key" = []))
)]
pub async fn clear(
    MayWrite(access): MayWrite,
    Session(session): Session,
    Params(NoParams {}): Params<NoParams>,
    key: Option<Key>,
    expected: Option<IfMatch>,
) -> Result<Response, Problem> {
    let mut clear = Append::clear();
    if let Some(Key(key)) = key {
        clear = clear.with_key(key);
    }
    if let Some(IfMatch(position)) = expected {
        clear = clear.with_expected(position);
    }
    let Cleared { appended, erased, cost } = operations::clear(&access, &session, clear).await?;
    let position = position(&appended);
    let body = ClearedBody { session: session.to_string(), seq: appended.seq, position: position.to_string(), erased, cost };
    Ok((tagged(&position)?, replayed(appended.repeated), Json(body)).into_response())
}
