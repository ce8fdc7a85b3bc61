//! The results of operations, as JSON.

use chat_memory::memory::Omitted;
use chat_memory::store::{Appended, AppendedNew, Cost, Deleted, Record, SessionInfo, SessionOrder, SessionPage, SweepStats};
use chat_memory::wire::{Format, WrittenEntry, times_of};
use chat_memory::{Entry, Error, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

/// The response of an operation: serde writes it as a JSON value.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Response(Content);

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Value(Value),
    Loaded(Loaded),
    Messages(MessagePage),
}

impl Response {
    /// Returns the value.
    ///
    /// # Errors
    /// None that is known: a response has only keys and numbers that JSON has.
    pub fn into_value(self) -> Result<Value, Error> {
        match self.0 {
            Content::Value(value) => Ok(value),
            other => serde_json::to_value(other).map_err(|e| Error::invalid(format!("response not written as JSON: {e}"))),
        }
    }
}

impl From<Value> for Response {
    fn from(value: Value) -> Self {
        Self(Content::Value(value))
    }
}

impl From<Loaded> for Response {
    fn from(loaded: Loaded) -> Self {
        Self(Content::Loaded(loaded))
    }
}

impl From<MessagePage> for Response {
    fn from(page: MessagePage) -> Self {
        Self(Content::Messages(page))
    }
}

/// The messages of a load, which are written straight from the store's: they may be many.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Loaded {
    pub(crate) tokens: Option<u64>,
    pub(crate) left_out: Value,
    pub(crate) position: String,
    pub(crate) cost: Value,
    pub(crate) messages: Vec<WrittenEntry>,
}

/// A page of an iteration over messages, written as those of a load are.
#[derive(Serialize)]
pub(crate) struct MessagePage {
    pub(crate) messages: Vec<WrittenEntry>,
    pub(crate) next: Option<String>,
}

/// Writes an error: `{"code", "message", "retryable", "ticket", "actual"}`.
pub fn error(error: &Error) -> Value {
    json!({
        "code": error.kind().as_str(),
        "message": error.to_string(),
        "retryable": error.is_retryable(),
        "ticket": error.ticket().map(ToString::to_string),
        "actual": error.actual().map(ToString::to_string),
    })
}

pub(crate) fn cost(cost: &Cost) -> Value {
    json!({
        "requests": cost.requests,
        "readUnits": cost.read_units,
        "writeUnits": cost.write_units,
        "bytes": cost.bytes,
    })
}

pub(crate) fn appended(appended: &Appended) -> Value {
    json!({
        "seq": appended.seq,
        "position": appended.position.to_string(),
        "createdAt": appended.created_at,
        "repeated": appended.repeated,
        "started": appended.started,
        "cost": cost(&appended.cost),
    })
}

pub(crate) fn appended_new(new: &AppendedNew) -> Value {
    json!({
        "new": new.new,
        "seq": new.appended.as_ref().map(|appended| appended.seq),
        "position": new.position.to_string(),
        "cost": cost(&new.cost),
    })
}

pub(crate) fn swept(swept: &SweepStats) -> Value {
    json!({"records": swept.records, "cost": cost(&swept.cost)})
}

pub(crate) fn deleted(deleted: &Deleted) -> Value {
    json!({"existed": deleted.existed, "records": deleted.records, "cost": cost(&deleted.cost)})
}

pub(crate) fn left_out(left_out: &Omitted) -> Value {
    json!({"older": left_out.older + left_out.before_user, "broken": left_out.broken(), "unread": left_out.unread, "text": left_out.to_string()})
}

pub(crate) fn record(record: Record, format: Format) -> Value {
    let times: Vec<_> = record.timed_messages().map(|(_, at)| at).collect();
    let entries: Option<Value> = record.has_other_entries().then(|| record.entries.iter().map(Entry::to_value).collect());
    let mut value = json!({
        "seq": record.seq,
        "createdAt": record.created_at,
        "expiresAt": record.expires_at.map(Timestamp::as_secs),
        "metadata": record.metadata,
    });
    let written = format.write_placed(&record.into_messages());
    value["sentAt"] = json!(times_of(&written, &times));
    value["messages"] = written.into_iter().map(|(_, value)| value).collect();
    if let Some(entries) = entries {
        value["entries"] = entries;
    }
    value
}

pub(crate) fn info(info: &SessionInfo) -> Value {
    json!({
        "id": info.id.to_string(),
        "owner": info.owner.as_ref().map(ToString::to_string),
        "title": info.title,
        "metadata": info.metadata,
        "createdAt": info.created_at,
        "lastAt": info.last_at,
        "records": info.records,
        "recordsExact": info.records_exact,
        "firstWords": info.first_words,
        "forkedFrom": info.forked_from().map(|origin| json!({"session": origin.session.to_string(), "seq": origin.seq})),
    })
}

pub(crate) fn page(page: &SessionPage) -> Value {
    json!({
        "sessions": page.sessions.iter().map(info).collect::<Vec<_>>(),
        "next": page.next,
        "warnings": page.warnings,
        "order": if page.order == SessionOrder::Recent { "recent" } else { "started" },
        "cost": cost(&page.cost),
    })
}
