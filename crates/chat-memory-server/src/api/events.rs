//! New records of a session, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chat_memory::SessionId;
use chat_memory::store::{ChatStore as _, Load, Position, Record};
use chat_memory::wire::Format;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::Instrument as _;
use utoipa::{IntoParams, ToSchema};

use super::errors::{OfStore, OfValues};
use super::extract::{Params, Session};
use super::parameters::{LastEventHeader, SessionPath};
use super::types::{RecordInfo, WireFormat};
use crate::auth::{Access, MayRead};
use crate::memory::{Held, SMALL};
use crate::problem::Problem;
use crate::service::Service;

/// How often an idle stream sends a comment, so that no proxy closes it.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How often the key of an idle stream is checked.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How long a client waits before it reconnects.
const RETRY: Duration = Duration::from_secs(1);

/// The longest pause of a stream after a failed read of the store.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many events may be queued for a client.
const WAITING: usize = 1;

/// How long a client may read nothing before its queued events are dropped, and before it is disconnected.
const GRACE: Duration = Duration::from_secs(1);
const STALLED: Duration = Duration::from_secs(30);

/// How long a log certainly continues from a position: a record lives for at least an hour.
const SURE_FOR_MS: i64 = 3_600_000;

/// Where to start.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// A position, as any answer has it, or `start`; without it, and without a Last-Event-ID, what is new from now on
    #[param(nullable = false, example = "start")]
    after: Option<String>,
    /// The form of the messages
    #[param(inline, default = json!("openai"))]
    #[serde(default)]
    format: WireFormat,
}

/// What an event of a record says.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventBody {
    /// What is known of the record
    #[serde(flatten)]
    pub record: RecordInfo,
    /// The record's messages
    #[serde(rename = "content")]
    #[schema(value_type = Vec<super::message::ChatMessage>)]
    pub messages: Vec<Value>,
}

/// New records as they come
///
/// Server-sent events. Each `record` event is a record: its data has `seq`, `created_at`, `content` (the messages), and `rewind: k` where
/// it takes back every record from k on (a clear is one without messages and with `rewind: 0`). Its id is the position behind it: a client that reconnects with
/// `Last-Event-ID` misses nothing. A `reset` event says that the session started again: discard all of it. What this
/// process writes comes at once, what others write within a second or so, at half a read unit per look. The stream ends when the service stops;
/// reconnect.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/events", tag = "messages", operation_id = "events",
    params(SessionPath, EventParams, LastEventHeader),
    responses((status = 200, description = "Events, without an end; the data of each `record` is an `EventBody`", body = String,
        content_type = "text/event-stream"), OfStore, OfValues),
    security(("key" = []))
)]
pub async fn events(
    State(service): State<Service>,
    MayRead(access): MayRead,
    Session(session): Session,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::from(params.format);
    let write = move |record: &Record| {
        let body = EventBody {
            record: RecordInfo::from(record),
            messages: record.messages.iter().map(|message| format.write(message)).collect(),
        };
        // A record of JSON is JSON.
        serde_json::to_string(&body).unwrap_or_default()
    };
    stream_of(&service, access, session, headers.get("last-event-id"), params.after.as_deref(), write).await
}

/// Streams a session's records from the client's position, each formatted by `write`.
pub(crate) async fn stream_of(
    service: &Service,
    access: Access,
    session: SessionId,
    last_event: Option<&HeaderValue>,
    after: Option<&str>,
    write: impl Fn(&Record) -> String + Send + Sync + 'static,
) -> Result<Response, Problem> {
    if !service.options().streaming {
        let detail = "this service sends each answer whole, so it has no streams of events; ask for what is new with the messages' `after`";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "unsupported", detail));
    }
    let wrong = |what: &str| {
        Problem::bad_request(format!("{what} takes a position, as an event's id or an answer's \"position\" gives it"))
    };
    let last_event =
        last_event.map(|id| id.to_str().map_err(|_| wrong("Last-Event-ID"))).transpose()?.filter(|id| !id.is_empty());
    let mut seen = match (last_event, after) {
        (Some(id), _) => Some(id.parse().map_err(|_| wrong("Last-Event-ID"))?),
        (None, Some("start")) => Some(Position::new(0, None, 0)),
        (None, Some(position)) => Some(position.parse().map_err(|_| wrong("after"))?),
        (None, None) => None,
    };
    if seen.is_none() {
        let now = access.store.load(&session, &Load::last(0)).await.map_err(|e| access.problem(&e))?;
        seen = Some(now.position);
    }
    let seen = seen.unwrap_or_else(|| Position::new(0, None, 0));
    let open = service.streams().open(access.key.as_ref().map(|key| key.id.as_str()))?;
    let watched = service.watch().watch(access.namespace.as_ref(), &session, access.store.clone());
    let mut changes = watched.changes();
    // The first look finds what was written before the watching began.
    changes.mark_changed();
    // A client's position may belong to a deleted log that was replaced by another.
    let follower =
        Follower { service: service.clone(), access, session, seen, is_sure: false, changes, failures: 0, _watched: watched };
    let counted = service.metrics().stream();
    let (to, events) = mpsc::channel(WAITING);
    let following = tokio::spawn(follow(follower, to, write).in_current_span());
    // The task ends with the response body.
    let following = AbortOnDrop(following.abort_handle());
    let stopped = service.clone();
    let first = stream::once(async { Ok(Event::default().retry(RETRY).comment("connected")) });
    let events = stream::unfold((events, Held::default()), |(mut events, last)| async move {
        // The last event has reached its client, or nearly.
        drop(last);
        events.recv().await.map(|(event, held)| (event, (events, held)))
    });
    let events = events.map(move |event| {
        let _open = (&open, &counted, &following);
        Ok::<_, Infallible>(event)
    });
    let events = first.chain(events.take_until(async move { stopped.stopped().await }));
    let alive = KeepAlive::new().interval(ALIVE_EVERY);
    let no_store = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Otherwise reverse proxies would hold back events until a buffer is full.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((no_store, Sse::new(events).keep_alive(alive)).into_response())
}

/// An event to send, the client's position after it, and its size in memory.
struct Found {
    event: Event,
    behind: Position,
    bytes: usize,
}

struct Follower {
    service: Service,
    access: Access,
    session: SessionId,
    /// The client's position.
    seen: Position,
    /// Whether the log is known to contain the record before that position.
    is_sure: bool,
    changes: tokio::sync::watch::Receiver<u64>,
    failures: u32,
    _watched: std::sync::Arc<crate::watch::Watched>,
}

impl Follower {
    /// Waits for a change and returns the new events; `None` if the stream must end.
    async fn next(&mut self, write: &(impl Fn(&Record) -> String + Sync)) -> Option<Vec<Found>> {
        // Checked even without changes, so that no stream of a revoked key stays open.
        loop {
            let change = tokio::time::timeout(ASK_EVERY, self.changes.changed()).await;
            if matches!(change, Ok(Err(_))) || self.is_revoked() {
                return None;
            }
            if change.is_ok() {
                break;
            }
        }
        Some(self.look(write).await)
    }

    /// Makes the next look read again from this position.
    fn go_back(&mut self, to: Position) {
        self.seen = to;
        self.is_sure = false;
        self.changes.mark_changed();
    }

    /// Whether the key that opened the stream was revoked or changed.
    fn is_revoked(&self) -> bool {
        let Some(key) = &self.access.key else { return false };
        let now = self.service.keys().and_then(|keys| keys.by_id(&key.id));
        now.is_none_or(|now| now != *key)
    }

    async fn look(&mut self, write: &(impl Fn(&Record) -> String + Sync)) -> Vec<Found> {
        let next = self.seen.next();
        // Reads the last record too, to check that it is still the same: numbers may start again after records expired.
        let is_sure = self.is_sure && jiff::Timestamp::now().as_millisecond().saturating_sub(self.seen.read_at()) < SURE_FOR_MS;
        let from = if is_sure { next } else { next.saturating_sub(1) };
        let service = self.service.clone();
        let permit = service.streams().reads().acquire().await;
        match self.access.store.load(&self.session, &Load::all().since(from)).await {
            Ok(history) => {
                self.failures = 0;
                if history.position == self.seen {
                    self.is_sure = true;
                    self.seen = history.position;
                    return Vec::new();
                }
                let last = history.records.iter().find(|record| record.seq.saturating_add(1) == next);
                let is_other = self.seen.last().zip(last).is_some_and(|(seen, last)| seen != last.append_id);
                if history.position.next() <= next || is_other {
                    // The numbers started again: the client has another log's records.
                    self.seen = Position::new(0, None, 0);
                    self.changes.mark_changed();
                    let event = Event::default().event("reset").data("{}");
                    return vec![Found { event, behind: self.seen.clone(), bytes: 0 }];
                }
                self.is_sure = true;
                self.seen = history.position.clone();
                let read = history.position.clone();
                let mut found = Vec::new();
                for record in history.records.into_iter().filter(|record| record.seq >= next) {
                    let (behind, text) = (super::behind(&record, &read), write(&record));
                    let bytes = text.len();
                    found.push(Found {
                        event: Event::default().event("record").id(behind.to_string()).data(text),
                        behind,
                        bytes,
                    });
                    if bytes > SMALL {
                        // Let other tasks run between two large events.
                        tokio::task::yield_now().await;
                    }
                }
                found
            }
            Err(error) => {
                tracing::warn!(%error, "a stream of events could not read its session; it tries again");
                self.failures += 1;
                drop(permit);
                tokio::time::sleep(Duration::from_millis(250 << self.failures.min(8)).min(LONGEST_PAUSE)).await;
                self.changes.mark_changed();
                Vec::new()
            }
        }
    }
}

/// Sends a follower's events as fast as its client reads them. If the client pauses, its queued events are dropped to free memory,
/// and read again once it continues. A client that reads nothing for long is disconnected.
async fn follow(
    mut follower: Follower,
    to: mpsc::Sender<(Event, Held)>,
    write: impl Fn(&Record) -> String + Send + Sync + 'static,
) {
    let service = follower.service.clone();
    let room = service.streams().found();
    // The size of the events that did not fit into memory.
    let mut needed = 0;
    loop {
        let before = follower.seen.clone();
        let mut held = room.hold(needed).await;
        let Some(found) = follower.next(&write).await else { return };
        let bytes = found.iter().map(|found| found.bytes).sum();
        if bytes > needed {
            drop(held);
            let Some(now) = room.try_hold(bytes) else {
                needed = bytes;
                follower.go_back(before);
                continue;
            };
            held = now;
        }
        needed = 0;
        let mut sent = before;
        for Found { event, behind, bytes } in found {
            let room = match tokio::time::timeout(GRACE, to.reserve()).await {
                Ok(room) => room.ok(),
                Err(_) => {
                    // The rest is read again from the client's position.
                    follower.go_back(sent);
                    break;
                }
            };
            let Some(room) = room else { return };
            room.send((event, held.split_off(bytes)));
            sent = behind;
        }
        drop(held);
        match tokio::time::timeout(STALLED, to.reserve()).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::info!("a stream of events was cut off: its client took nothing for {} s", STALLED.as_secs());
                return;
            }
        }
    }
}

/// Ends a task when it is dropped.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
