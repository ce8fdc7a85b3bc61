//! The request and response bodies of the API, as its OpenAPI document describes them.

use chat_memory::store::{self, Record, SessionInfo, SessionOrder};
use chat_memory::wire::{Format, WrittenEntry};
use chat_memory::{Entry, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::extract::RequestBody;
use crate::time::Time;

/// What an operation cost. SQLite has no units, and counts a transaction as a request.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it is only described: the library writes it")]
pub struct Cost {
    /// Requests to the store
    #[schema(example = 1)]
    requests: u64,
    /// DynamoDB's read capacity units
    read_units: f64,
    /// DynamoDB's write capacity units
    #[schema(example = 1.0)]
    write_units: f64,
    /// Bytes of records written and read, as they are stored
    bytes: u64,
}

/// The schema of a [`Format`]: the list of its names.
pub struct WireFormat;

impl utoipa::PartialSchema for WireFormat {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let forms: Vec<_> = Format::ALL.iter().map(|format| format!("`{format}`: {}", format.about())).collect();
        let names = Format::ALL.iter().map(|format| format.as_str());
        let schema = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
        schema.description(Some(forms.join("; "))).enum_values(Some(names)).into()
    }
}

impl ToSchema for WireFormat {}

/// The form of the messages in a body or an answer.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FormatParam {
    /// The form of the messages
    #[param(inline, value_type = WireFormat, default = json!("openai"))]
    #[serde(default)]
    pub format: Format,
}

/// Messages to append: one record, stored whole or not at all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendBody {
    /// The messages, oldest first; at least one
    #[schema(value_type = Vec<super::message::ChatMessage>, min_items = 1, nullable = false)]
    pub messages: Option<Vec<Value>>,
    /// In place of messages: any JSON objects, stored as they are. Those with the fields of a message in OpenAI's form are messages
    #[schema(value_type = Vec<Object>, min_items = 1, nullable = false)]
    pub entries: Option<Vec<Map<String, Value>>>,
    /// Append only those whose id (`id`, else `uuid`) the session does not have from the last 24 hours. Not together with an Idempotency-Key or a ticket
    #[serde(default)]
    #[schema(default = false)]
    pub only_new: bool,
    /// A small JSON object to keep with the record
    #[schema(example = json!({"model": "gpt-5"}))]
    pub metadata: Option<Map<String, Value>>,
    /// If this starts the session: whose it is
    #[schema(min_length = 1, max_length = 512, example = "ada")]
    pub owner: Option<String>,
    /// If this starts the session: its title
    #[schema(max_length = 1024, example = "May")]
    pub title: Option<String>,
    /// Finishes the same append, which ended in doubt with this ticket. Not together with an Idempotency-Key
    #[schema(pattern = r"^[A-Za-z0-9_-]+$")]
    pub ticket: Option<String>,
}

impl RequestBody for AppendBody {
    const SHAPE: &'static str = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
}

/// Where an append landed.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppendedBody {
    /// The session
    pub session: String,
    /// The record's number, from 0; null where nothing was new
    #[schema(required)]
    pub seq: Option<u64>,
    /// With `only_new`: for each message or entry whether it was new, and is stored now
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub new: Option<Vec<bool>>,
    /// The number that comes next
    pub next: u64,
    /// The position behind the record: what `If-Match` and `after` take
    pub position: String,
    /// When it was stored, in UTC; null where nothing was new
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub created_at: Option<Time>,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// What a clear did.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClearedBody {
    /// The session
    pub session: String,
    /// The number of the record that clears
    pub seq: u64,
    /// The position behind it
    pub position: String,
    /// Records whose messages were erased from the store; null where that is still to be done, which nobody sees: clear again to finish it
    #[schema(required)]
    pub erased: Option<u64>,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// What a delete did.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedBody {
    /// The session
    pub session: String,
    /// Whether there was one: false where it never was, was deleted before or had expired
    pub existed: bool,
    /// Records whose messages were erased from the store
    pub erased: u64,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// What to take back: one of `turns` and `to`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RewindBody {
    /// The last n turns, each a user's message and all that follows it. A user's message that holds a tool's result begins none
    #[schema(minimum = 1, example = 1)]
    pub turns: Option<usize>,
    /// Every record from this number on
    pub to: Option<u64>,
    /// Messages to put in their place, in the same step
    #[schema(value_type = Vec<super::message::ChatMessage>)]
    #[serde(default)]
    pub messages: Vec<Value>,
}

impl RequestBody for RewindBody {
    const SHAPE: &'static str = r#"{"turns": 1}"#;
}

/// What a rewind did.
#[derive(Debug, Serialize, ToSchema)]
pub struct RewoundBody {
    /// The session
    pub session: String,
    /// The number of the record that takes back; null where there was nothing to take back
    #[schema(required)]
    pub seq: Option<u64>,
    /// From which number on was taken back
    #[schema(required)]
    pub to: Option<u64>,
    /// The position now
    pub position: String,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// What a request to delete an owner's sessions did.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnerDeletedBody {
    /// The owner
    pub owner: String,
    /// Sessions that this request deleted
    pub sessions: u64,
    /// Records whose messages were erased from the store
    pub erased: u64,
    /// Sessions that could not be deleted, and are left; the service's log says why
    pub failed: u64,
    /// Whether it stopped before the end: repeat it
    pub more: bool,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// How to redact a record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactBody {
    /// Which message or other entry of the record, from 0; without it, all of them
    #[schema(nullable = false, example = 0)]
    pub message: Option<usize>,
    /// The text in place of what was said; without it, `[redacted]`
    #[schema(min_length = 1, max_length = 1024, nullable = false)]
    pub replacement: Option<String>,
    /// Change nothing: only say what would change
    #[serde(default)]
    #[schema(default = false)]
    pub dry_run: bool,
}

impl RequestBody for RedactBody {
    const SHAPE: &'static str = r#"{"message": 0}"#;
}

/// What a redaction did.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedactedBody {
    /// The session
    pub session: String,
    /// The number of the record
    pub seq: u64,
    /// Whether anything changed, or with `dry_run` would change
    pub changed: bool,
    /// How many messages and other entries changed
    pub entries: u64,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// How to fork a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkBody {
    /// The id of the new session; without it, one is made up, and the answer says which
    #[schema(min_length = 1, max_length = 1000, nullable = false, example = "trip-rome")]
    pub to: Option<String>,
    /// The number of the last record to copy; without it, all that is shown
    #[schema(nullable = false, example = 12)]
    pub seq: Option<u64>,
    /// Whose the new session is; without it, the owner of this one
    #[schema(min_length = 1, max_length = 512, nullable = false)]
    pub owner: Option<String>,
    /// The title of the new session; without it, that of this one
    #[schema(max_length = 1024, nullable = false)]
    pub title: Option<String>,
    /// Only say what would be copied and what that would cost
    #[serde(default)]
    #[schema(default = false)]
    pub dry_run: bool,
}

impl RequestBody for ForkBody {
    const SHAPE: &'static str = r#"{"to": "trip-rome"}"#;
}

/// What a fork made.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForkedBody {
    /// The new session
    pub session: String,
    /// The session that was forked
    pub from: String,
    /// The number, in that session, of the last record that was copied
    pub seq: u64,
    /// How many records were copied
    pub records: u64,
    /// How many messages and other entries they have
    pub entries: u64,
    /// The position of the new session: what `If-Match` and `after` take
    pub position: String,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// What a fork would copy.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForkPlanBody {
    /// The session that would be forked
    pub from: String,
    /// The number of the last record that would be copied
    pub seq: u64,
    /// How many records would be copied
    pub records: u64,
    /// How many messages and other entries they have
    pub entries: u64,
    /// An estimate of the write units; null if the store has none
    #[schema(required)]
    pub write_units: Option<f64>,
    /// What reading the session cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// A record: what one append stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordInfo {
    /// Its number
    pub seq: u64,
    /// When it was stored, in UTC; null where the store does not say
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub created_at: Option<Time>,
    /// Where there is a number: it takes back every record from that number on
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rewind: Option<u64>,
    /// When it expires, in UTC
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub expires_at: Option<Time>,
    /// How many messages of it are meant: all, or in a window those that are in it
    pub messages: usize,
    /// How many entries of it are not messages and are passed over
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub other_entries: usize,
    /// When each of these messages was sent, in UTC; null where that is unknown
    #[schema(value_type = Vec<Option<String>>)]
    pub sent_at: Vec<Option<Time>>,
    /// The caller's own JSON
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub metadata: Option<Map<String, Value>>,
}

impl From<&Record> for RecordInfo {
    fn from(record: &Record) -> Self {
        Self {
            seq: record.seq,
            created_at: record.created_at.known().and_then(Time::of),
            rewind: record.rewind,
            expires_at: record.expires_at.and_then(Time::of),
            messages: record.messages().count(),
            other_entries: others(&record.entries),
            sent_at: record.timed_messages().map(|(_, at)| at.and_then(Time::of)).collect(),
            metadata: record.metadata.clone(),
        }
    }
}

impl RecordInfo {
    /// Describes a record of which only these entries are returned, each with its time.
    pub(super) fn of_some(record: &Record, entries: &[(&Entry, Option<Timestamp>)]) -> Self {
        Self {
            messages: entries.len(),
            other_entries: others(&record.entries) - others(entries.iter().map(|(entry, _)| *entry)),
            sent_at: entries.iter().map(|(_, at)| at.and_then(Time::of)).collect(),
            ..Self::from(record)
        }
    }

    /// Counts values of a form instead of entries: each was sent when the last entry that it shows was.
    pub(super) fn written(self, last: impl Iterator<Item = usize>) -> Self {
        let sent_at: Vec<_> = last.map(|place| self.sent_at.get(place).copied().flatten()).collect();
        Self { messages: sent_at.len(), sent_at, ..self }
    }
}

/// The number of entries that are not messages.
pub(super) fn others<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> usize {
    entries.into_iter().filter(|entry| entry.as_message().is_none()).count()
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Messages of a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessagesBody {
    /// The session
    pub session: String,
    /// The messages; empty for a session that nobody wrote to. With `entries=all` also other entries, as they are
    #[schema(value_type = Vec<super::message::ChatMessage>)]
    pub messages: Vec<WrittenEntry>,
    /// With `for_model` and a form that has the system prompt outside the messages: the system prompt
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub system: Option<Value>,
    /// How many entries of the records that were read are not messages and are passed over; `entries=all` returns them
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub other_entries: usize,
    /// The records that the messages come from, in the same order, each with how many of the messages are its, and their times
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub records: Option<Vec<RecordInfo>>,
    /// The next page: pass it as `after` if this was a page after something, else as `before`. Null where there is none
    #[schema(required)]
    pub next: Option<String>,
    /// What a window left out
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub left_out: Option<String>,
    /// Where the session was: what `If-Match` and `after` take. The ETag is the same
    pub position: String,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// A session, without its messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionBody {
    /// The session's id
    pub id: String,
    /// Whose it is
    #[schema(required)]
    pub owner: Option<String>,
    /// Its title
    #[schema(required)]
    pub title: Option<String>,
    /// The caller's own JSON
    #[schema(required)]
    pub metadata: Option<Map<String, Value>>,
    /// When its first record was stored, in UTC; null in a table of Flowise's or LangChain's, which does not say
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub created_at: Option<Time>,
    /// When something was last appended to it, in UTC; on DynamoDB at most an hour old, and null where it is not known
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub last_at: Option<Time>,
    /// How many records it has since its last clear; null where the list does not say. Where `records_exact` is false, it had at least as many at
    /// `last_at`, cleared ones included
    #[schema(required, example = 12)]
    pub records: Option<u64>,
    /// Whether `records` is the number now. On DynamoDB only with `contents=true`
    pub records_exact: bool,
    /// The beginning of its first user's message, up to 100 characters; null where there is none, and where the list does not say: on DynamoDB
    /// without `contents=true`, and for a long session
    #[schema(required, example = "Where should we go in May?")]
    pub first_words: Option<String>,
}

impl From<SessionInfo> for SessionBody {
    fn from(info: SessionInfo) -> Self {
        Self {
            id: info.id.to_string(),
            owner: info.owner.map(|owner| owner.to_string()),
            title: info.title,
            metadata: info.metadata,
            created_at: info.created_at.known().and_then(Time::of),
            last_at: info.last_at.and_then(Time::of),
            records: info.records,
            records_exact: info.records_exact,
            first_words: info.first_words,
        }
    }
}

/// A change of what is known of a session. What is left out stays; null takes it away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionChange {
    /// The title
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub title: Option<Option<String>>,
    /// The caller's own JSON, replaced whole: 16,384 bytes at most
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Option<Map<String, Value>>>,
    /// May be given, but not changed
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    pub owner: Option<Option<String>>,
}

impl RequestBody for SessionChange {
    const SHAPE: &'static str = r#"{"title": "Trip to Rome"}"#;
}

/// Distinguishes null from a missing field.
fn said<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// The order of a list of sessions.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it is only described: the library reads and writes it")]
pub enum Order {
    /// By when they began
    Started,
    /// By last activity
    Recent,
}

/// A page of sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionsBody {
    /// The sessions, newest first; on DynamoDB with `all=true` in no order
    pub sessions: Vec<SessionBody>,
    /// The order that they really are in; null where they are in none
    #[schema(required, value_type = Option<Order>)]
    pub order: Option<SessionOrder>,
    /// The next page's `after`; null after the last
    #[schema(required)]
    pub next: Option<String>,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// An error, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "it is only described: problems are written by the module `problem`")]
pub struct ProblemBody {
    /// Which kind of error, as a URN
    #[schema(example = "urn:chat-memory:problem:conflict")]
    r#type: String,
    /// The status in words
    title: String,
    /// The status
    #[schema(minimum = 400, maximum = 599, example = 412)]
    status: u16,
    /// What is wrong, where, and what to do
    detail: String,
    /// The place of a bad value in the body, as RFC 6901 writes it
    #[schema(nullable = false)]
    pointer: Option<String>,
    /// The line of the body that is not JSON
    #[schema(nullable = false)]
    line: Option<u64>,
    /// The column in that line
    #[schema(nullable = false)]
    column: Option<u64>,
    /// For a conflict: where the session is
    #[schema(nullable = false)]
    actual: Option<String>,
    /// For a write whose outcome is not known: what finishes it
    #[schema(nullable = false)]
    ticket: Option<String>,
    /// The byte of the body that is not UTF-8, from 0
    #[schema(nullable = false)]
    byte: Option<u64>,
    /// For what is too large: the limit, in bytes
    #[schema(nullable = false)]
    limit: Option<u64>,
}
