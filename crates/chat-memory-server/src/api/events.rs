//! New records of a session, as server-sent events.

use axum::http::HeaderMap;
use axum::response::Response;
use chat_memory::store::Record;
use chat_memory::wire::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::errors::{OfStore, OfValues};
use super::parameters::{LastEventHeader, SessionPath};
use super::types::{RecordInfo, WireFormat};
use crate::auth::MayRead;
use crate::extract::{Params, Session};
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
    MayRead(access): MayRead,
    Session(session): Session,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let write = move |record: &Record| {
        let written = params.format.write_placed(&record.messages().cloned().collect::<Vec<_>>());
        let body = EventBody {
            record: RecordInfo::from(record).written(written.iter().map(|(place, _)| *place)),
            messages: written.into_iter().map(|(_, value)| value).collect(),
        };
        // A record of JSON is JSON.
        serde_json::to_string(&body).unwrap_or_default()
    };
    sse::events(access, session, &headers, params.after.as_deref(), write).await
}
