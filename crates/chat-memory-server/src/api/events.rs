//! The records of a session: new ones as server-sent events, and all of them as JSON lines.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chat_memory::Entry;
use chat_memory::store::Record;
use chat_memory::wire::{Format, WrittenEntry};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::errors::{OfStore, OfValues};
use super::parameters::{LastEventHeader, SessionPath};
use super::read::{Entries, Order};
use super::types::{RecordInfo, WireFormat};
use crate::auth::MayRead;
use crate::extract::{Params, Session};
use crate::operations;
use crate::problem::Problem;
use crate::sse;

/// Where to start.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// A position, as any answer has it, or `start`; without it, and without a Last-Event-ID, what is new from now on
    #[param(nullable = false, example = "start")]
    after: Option<String>,
    /// The form of the messages
    #[param(inline, value_type = WireFormat, default = json!("openai"))]
    #[serde(default)]
    format: Format,
}

/// A record, as an event's data or as a line
#[derive(Debug, Serialize, ToSchema)]
pub struct EventBody {
    /// What is known of the record
    #[serde(flatten)]
    pub record: RecordInfo,
    /// The record's messages; with `entries=all` also other entries, as they are
    #[serde(rename = "content")]
    #[schema(value_type = Vec<super::message::ChatMessage>)]
    pub messages: Vec<WrittenEntry>,
}

impl EventBody {
    /// Writes a record's messages, or all its entries.
    fn of(record: &Record, wanted: Entries, format: Format) -> Self {
        let is_wanted = |entry: &Entry| wanted == Entries::All || entry.as_message().is_some();
        let entries = record.entries.iter().zip(record.entry_times()).filter(|(entry, _)| is_wanted(entry));
        let entries: Vec<_> = entries.collect();
        let info = RecordInfo::of_some(record, &entries);
        let written = format.write_entries(entries.into_iter().map(|(entry, _)| entry.clone()).collect());
        Self {
            record: info.written(written.iter().map(|(place, _)| *place)),
            messages: written.into_iter().map(|(_, entry)| entry).collect(),
        }
    }

    /// A record of JSON is JSON.
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
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
    MayRead(access): MayRead,
    Session(session): Session,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let write = move |record: &Record| EventBody::of(record, Entries::Messages, params.format).to_json();
    sse::events(access, session, &headers, params.after.as_deref(), write).await
}

/// What to write of each record.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordsParams {
    /// The order of the records: oldest first (asc) or newest first (desc)
    #[param(inline, default = json!("asc"))]
    #[serde(default)]
    order: Order,
    /// The form of the messages
    #[param(inline, value_type = WireFormat, default = json!("openai"))]
    #[serde(default)]
    format: Format,
    /// What to return: messages only, or all entries, those that are not messages as they are
    #[param(inline, default = json!("messages"))]
    #[serde(default)]
    entries: Entries,
}

/// Read all of a session as JSON lines
///
/// One record per line, as an event of `/events` has it, for a session of any length: the service holds some 2,000 messages of it at most. What is
/// appended meanwhile does not come. Oldest first, a session of more than some 2,000 messages is read almost twice, since later records may hide earlier
/// ones; `order=desc` reads only what the client takes. A response that breaks off, without the end of its chunks, is not whole.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/records", tag = "messages", operation_id = "readRecords",
    params(SessionPath, RecordsParams),
    responses((status = 200, description = "The records; each line is an `EventBody`", body = String, content_type = "application/x-ndjson"),
        OfStore, OfValues),
    security(("key" = []))
)]
pub async fn records(
    MayRead(access): MayRead,
    Session(session): Session,
    Params(RecordsParams { order, format, entries }): Params<RecordsParams>,
) -> Result<Response, Problem> {
    let write = move |record: &Record| (EventBody::of(record, entries, format).to_json() + "\n").into_bytes();
    let lines = operations::records(&access, &session, order == Order::Desc, write).await?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(([kind], Body::from_stream(lines)).into_response())
}
