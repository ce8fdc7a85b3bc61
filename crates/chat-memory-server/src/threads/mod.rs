//! The threads that LangGraph keeps in the store, for people to read: which there are, their checkpoints, and the state at one of them
//! with its messages. The program, the API and the console show them.

mod values;

use std::collections::BTreeSet;
use std::time::Duration;

use chat_memory::checkpoints::{Checkpoint, CheckpointStore, Costed, Write};
use chat_memory::store::Cost;
use chat_memory::wire::langchain;
use chat_memory::{Entry, Error, Message, SessionId, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use values::to_json;

use crate::time::Time;

/// How many checkpoints to read at a time: each has its whole state.
const PAGE: usize = 50;

/// How many threads to look at at once.
const AT_ONCE: usize = 16;

/// The channel in which LangGraph's graphs keep messages, by convention.
const MESSAGES: &str = "messages";

/// A thread.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct ThreadInfo {
    /// Its id
    pub id: String,
    /// The id of its newest checkpoint
    pub checkpoint: String,
    /// When that was created, in UTC; null if its id is not a UUID with a time
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub last_at: Option<Time>,
}

/// What is known of a checkpoint without its state.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// Its id
    pub id: String,
    /// Its namespace within the thread: empty for the graph itself, otherwise a subgraph's
    pub namespace: String,
    /// The id of the checkpoint before it
    #[schema(required)]
    pub parent: Option<String>,
    /// When it was created, in UTC; null if its id is not a UUID with a time
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub created_at: Option<Time>,
    /// What created it: `input`, `loop`, `update` or `fork`
    #[schema(required)]
    pub source: Option<String>,
    /// Its step in the thread, from -1
    #[schema(required)]
    pub step: Option<i64>,
    /// Bytes of its state, serialized. Stored is only what differs from the checkpoint before it
    pub size: usize,
    /// Whether it is the newest of its namespace
    pub newest: bool,
    /// When it expires, in UTC
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub expires_at: Option<Time>,
    /// All of its metadata
    #[schema(value_type = Object)]
    pub metadata: Value,
}

/// The state of a thread at a checkpoint.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ThreadState {
    /// The checkpoint.
    pub checkpoint: CheckpointInfo,
    /// The messages, oldest first; what else their channel holds is an entry that is not a message.
    pub messages: Vec<Entry>,
    /// The values of the other channels. A value that is not JSON is named by its kind.
    pub values: Map<String, Value>,
    /// What tasks wrote at the checkpoint and the next one will contain, such as interrupts that wait for an answer.
    pub writes: Vec<PendingWrite>,
}

/// A task's write at a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct PendingWrite {
    /// The id of the task
    pub task: String,
    /// The channel; `__interrupt__` for an interrupt, `__error__` for an error
    pub channel: String,
    /// What was written
    #[schema(value_type = Value)]
    pub value: Value,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page starts; `None` if this is the last.
    pub next: Option<String>,
    /// What it cost.
    pub cost: Cost,
}

/// Lists a page of all threads, those that were active last first within the page. A thread may be on two pages. This reads the whole
/// table, and the newest checkpoint of each thread.
///
/// # Errors
/// Errors of the store.
pub async fn list(store: &CheckpointStore, after: Option<&str>) -> Result<Page<ThreadInfo>, Error> {
    let Costed { value: (threads, next), mut cost } = store.threads(after).await?;
    let threads: BTreeSet<_> = threads.into_iter().collect();
    let newest = stream::iter(threads).map(|thread| async move {
        let page = checkpoints(store, &thread, None, 1).await?;
        Ok::<_, Error>((thread, page))
    });
    let newest: Vec<_> = newest.buffered(AT_ONCE).try_collect().await?;
    let mut items = Vec::new();
    for (thread, page) in newest {
        cost += page.cost;
        // One that was deleted, or has expired, has none.
        items.extend(page.items.into_iter().map(|CheckpointInfo { id, created_at, .. }| ThreadInfo {
            id: thread.to_string(),
            checkpoint: id,
            last_at: created_at,
        }));
    }
    items.sort_by_key(|thread| std::cmp::Reverse(thread.last_at));
    Ok(Page { items, next, cost })
}

/// Lists checkpoints of a thread: those of the graph itself, newest first, then those of each subgraph. The next page starts after
/// `after`, which is what the last one returned.
///
/// # Errors
/// Errors of the store; invalid for an `after` that no page returned.
pub async fn checkpoints(
    store: &CheckpointStore,
    thread: &SessionId,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<CheckpointInfo>, Error> {
    let mut cost = Cost::default();
    let (mut before, first) = match after {
        Some(after) => {
            let (id, namespace) =
                after.split_once('/').ok_or_else(|| Error::invalid("invalid position in a list of checkpoints"))?;
            (Some(id.to_owned()), namespace)
        }
        None => (None, ""),
    };
    let mut items = Vec::new();
    for namespace in namespaces(store, thread, &mut cost).await?.iter().filter(|name| name.as_str() >= first) {
        if namespace != first {
            before = None;
        }
        loop {
            // One more than there is room for tells whether there is another page.
            let wanted = (limit + 1 - items.len()).min(PAGE);
            let listed = store.list(thread, namespace, before.as_deref(), wanted).await?;
            cost += listed.cost;
            let is_last = listed.value.len() < wanted;
            items.extend(listed.value.iter().map(CheckpointInfo::of));
            if items.len() > limit {
                items.truncate(limit);
                let next = items.last().map(|last: &CheckpointInfo| format!("{}/{}", last.id, last.namespace));
                return Ok(Page { items, next, cost });
            }
            if is_last {
                break;
            }
            before = items.last().map(|last: &CheckpointInfo| last.id.clone());
        }
    }
    Ok(Page { items, next: None, cost })
}

/// The namespaces of a thread, that of the graph itself first.
async fn namespaces(store: &CheckpointStore, thread: &SessionId, cost: &mut Cost) -> Result<Vec<String>, Error> {
    let mut found = store.namespaces(thread).await?;
    *cost += found.cost;
    found.value.sort();
    Ok(found.value)
}

/// Reads the state of a thread at a checkpoint: the one with this id, in whichever namespace it is, or the newest of the graph itself.
/// `None` if there is none.
///
/// # Errors
/// Errors of the store.
pub async fn state(store: &CheckpointStore, thread: &SessionId, id: Option<&str>) -> Result<Costed<Option<ThreadState>>, Error> {
    let Costed { value: mut found, mut cost } = store.load(thread, "", id).await?;
    if found.is_none() && id.is_some() {
        for namespace in namespaces(store, thread, &mut cost).await?.iter().filter(|name| !name.is_empty()) {
            let loaded = store.load(thread, namespace, id).await?;
            cost += loaded.cost;
            found = loaded.value;
            if found.is_some() {
                break;
            }
        }
    }
    let Some(checkpoint) = found else { return Ok(Costed { value: None, cost }) };
    let info = CheckpointInfo::of(&checkpoint);
    let mut values: Map<_, _> = checkpoint.values.iter().map(|(name, value)| (name.clone(), to_json(value))).collect();
    let deltas = delta_channels(&info, &checkpoint);
    if !deltas.is_empty() {
        let histories = store.history(thread, &checkpoint.namespace, Some(&checkpoint.id), &deltas).await?;
        cost += histories.cost;
        for (name, history) in deltas.into_iter().zip(histories.value) {
            let writes = history.writes.iter().map(|write| to_json(&write.value));
            values.insert(name, replayed(history.seed.as_ref().map(to_json), writes));
        }
    }
    let messages = take_messages(&mut values);
    values.retain(|name, value| !is_signal(name, value));
    let writes = checkpoint.writes.iter().map(PendingWrite::of).filter(|write| !is_signal(&write.channel, &write.value));
    Ok(Costed { value: Some(ThreadState { checkpoint: info, messages, values, writes: writes.collect() }), cost })
}

impl CheckpointInfo {
    fn of(checkpoint: &Checkpoint) -> Self {
        let metadata = to_json(&checkpoint.metadata);
        let values: usize = checkpoint.values.values().map(|value| value.bytes.len()).sum();
        Self {
            id: checkpoint.id.clone(),
            namespace: checkpoint.namespace.clone(),
            parent: checkpoint.parent.clone(),
            created_at: time_of(&checkpoint.id),
            source: metadata.get("source").and_then(Value::as_str).map(str::to_owned),
            step: metadata.get("step").and_then(Value::as_i64),
            size: values + checkpoint.body.bytes.len() + checkpoint.metadata.bytes.len(),
            newest: checkpoint.is_newest,
            expires_at: checkpoint.expires_at.and_then(Time::of),
            metadata,
        }
    }
}

impl PendingWrite {
    fn of(write: &Write) -> Self {
        Self { task: write.task_id.clone(), channel: write.channel.clone(), value: to_json(&write.value) }
    }
}

/// The time in a checkpoint's id, which LangGraph makes as a UUID of version 6.
fn time_of(id: &str) -> Option<Time> {
    let (secs, nanos) = uuid::Uuid::parse_str(id).ok()?.get_timestamp()?.to_unix();
    Time::of(Timestamp::UNIX_EPOCH + Duration::new(secs, nanos))
}

/// Whether a channel, or a write to it, only tells a node to run.
fn is_signal(channel: &str, value: &Value) -> bool {
    channel.starts_with("branch:") && value.is_null()
}

/// The channels whose values are not in the checkpoint, as they are computed from the writes before it.
fn delta_channels(info: &CheckpointInfo, checkpoint: &Checkpoint) -> Vec<String> {
    let counters = info.metadata.get("counters_since_delta_snapshot").and_then(Value::as_object);
    let names = counters.into_iter().flat_map(Map::keys);
    names.filter(|name| !checkpoint.values.contains_key(*name)).cloned().collect()
}

/// The value of a delta channel, by LangGraph's reducer for messages: of those with the same id, the last one counts. Of a channel that
/// is not a list, its reducer is not known here: the writes are returned.
fn replayed(seed: Option<Value>, writes: impl Iterator<Item = Value>) -> Value {
    let writes: Vec<Value> = writes.collect();
    let is_whole = |value: &Value| value.get(OVERWRITE).is_some();
    // What replaces the whole value makes everything before it void.
    let (seed, writes) = match writes.iter().rposition(is_whole) {
        Some(at) => (writes[at].get(OVERWRITE).cloned(), &writes[at + 1..]),
        None => (seed, &writes[..]),
    };
    let Some(list) = seed.clone().map_or(Some(Vec::new()), |seed| if let Value::Array(list) = seed { Some(list) } else { None })
    else {
        return json!({"snapshot": seed, "writes": writes});
    };
    let mut messages = list;
    for write in writes {
        match write {
            Value::Array(list) => list.iter().for_each(|message| add(&mut messages, message)),
            one => add(&mut messages, one),
        }
    }
    messages.into()
}

/// Under this name a write has what replaces a channel's whole value.
const OVERWRITE: &str = "__overwrite__";

/// Adds a message to a list, in place of the one with its id; or removes it.
fn add(messages: &mut Vec<Value>, message: &Value) {
    let id = id_of(message);
    let same = id.and_then(|id| messages.iter().position(|other| id_of(other) == Some(id)));
    let removes = message.get("type").is_some_and(|kind| kind == "remove");
    match same {
        _ if removes && id == Some("__remove_all__") => messages.clear(),
        Some(at) if removes => drop(messages.remove(at)),
        Some(at) => messages[at] = message.clone(),
        None if removes => {}
        None => messages.push(message.clone()),
    }
}

fn id_of(message: &Value) -> Option<&str> {
    message.get("data").unwrap_or(message).get("id")?.as_str()
}

/// Takes the messages out of a state: those in the channel `messages`, or in the first that has nothing else.
fn take_messages(values: &mut Map<String, Value>) -> Vec<Entry> {
    let is_list = |value: &Value| matches!(value, Value::Array(list) if list.iter().all(|value| entry(value).is_some()));
    let is_of_messages = |value: &Value| {
        let is_message = |value: &Value| langchain::from_value(value.clone()).is_ok();
        matches!(value, Value::Array(list) if !list.is_empty() && list.iter().all(is_message))
    };
    let name = match values.get(MESSAGES) {
        Some(value) if is_list(value) => Some(MESSAGES.to_owned()),
        _ => values.iter().find(|(_, value)| is_of_messages(value)).map(|(name, _)| name.clone()),
    };
    let Some(Value::Array(list)) = name.and_then(|name| values.shift_remove(&name)) else { return Vec::new() };
    list.iter().filter_map(entry).collect()
}

/// Reads an element of a list of messages: LangChain's stored form, OpenAI's, or what LangChain takes for a message, a text of the user's
/// or a role and a text.
fn entry(value: &Value) -> Option<Entry> {
    let said = |role: &str, content: &Value| Entry::from_value(json!({"role": role, "content": content})).ok();
    match value {
        Value::Object(fields) => {
            Some(langchain::from_value(value.clone()).map_or_else(|_| Entry::from_object(fields.clone()), Entry::Message))
        }
        Value::String(text) => Some(Message::user(text.as_str()).into()),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(role), content @ Value::String(_)] => match role.as_str() {
                "human" => said("user", content),
                "ai" => said("assistant", content),
                role => said(role, content),
            },
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
