//! The results of operations, as JSON.

use chat_memory::memory::Omitted;
use chat_memory::store::{Appended, AppendedNew, Cost, Deleted, Record, SessionInfo, SessionOrder, SessionPage, SweepStats};
use chat_memory::wire::{Format, times_of};
use chat_memory::{Entry, Timestamp};
use serde_json::{Value, json};

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

pub(crate) fn record(record: &Record, format: Format) -> Value {
    let times: Vec<_> = record.timed_messages().map(|(_, at)| at).collect();
    let written = format.write_placed(&record.messages().cloned().collect::<Vec<_>>());
    let mut value = json!({
        "seq": record.seq,
        "createdAt": record.created_at,
        "expiresAt": record.expires_at.map(Timestamp::as_secs),
        "metadata": record.metadata,
        "sentAt": times_of(&written, &times),
    });
    value["messages"] = written.into_iter().map(|(_, value)| value).collect();
    if record.has_other_entries() {
        value["entries"] = record.entries.iter().map(Entry::to_value).collect();
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
