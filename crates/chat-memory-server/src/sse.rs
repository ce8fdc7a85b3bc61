//! New records of a session as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chat_memory::store::{Position, Record};
use chat_memory::{SessionId, Timestamp};
use futures_util::{StreamExt as _, stream};

use crate::auth::Access;
use crate::operations::{Update, follow};
use crate::problem::Problem;

/// How often an idle stream sends a comment, so that no proxy closes it.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How long a client waits before it reconnects.
const RETRY: Duration = Duration::from_secs(1);

/// Answers with a session's records after the position in the client's `Last-Event-ID` or in `after`, each formatted by `write`.
pub(crate) async fn events(
    access: Access,
    session: SessionId,
    headers: &HeaderMap,
    after: Option<&str>,
    write: impl Fn(&Record) -> String + Send + Sync + 'static,
) -> Result<Response, Problem> {
    if !access.service.options().streaming {
        let detail = "no event streams: this service sends each response whole; poll for new messages with `after`";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "unsupported", detail));
    }
    let wrong = |what: &str| {
        Problem::bad_request(format!("invalid {what}: expected a position, such as an event's id or a response's \"position\""))
    };
    let last_event = headers.get("last-event-id").map(|id| id.to_str().map_err(|_| wrong("Last-Event-ID"))).transpose()?;
    let seen = match (last_event.filter(|id| !id.is_empty()), after) {
        (Some(id), _) => Some(id.parse().map_err(|_| wrong("Last-Event-ID"))?),
        (None, Some("start")) => Some(Position::new(0, None, Timestamp::UNIX_EPOCH)),
        (None, Some(position)) => Some(position.parse().map_err(|_| wrong("after"))?),
        (None, None) => None,
    };
    let updates = follow(access, session, seen, write).await?.map(|update| match update {
        Update::Record { behind, text } => Event::default().event("record").id(behind.to_string()).data(text),
        Update::Reset => Event::default().event("reset").data("{}"),
    });
    let first = stream::once(async { Event::default().retry(RETRY).comment("connected") });
    let events = first.chain(updates).map(Ok::<_, Infallible>);
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Otherwise reverse proxies would hold back events until a buffer is full.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY))).into_response())
}
