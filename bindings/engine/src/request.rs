//! The operations: their parameters, and their implementation.

use chat_memory::memory::{Encoding, Limit, Policy, TokenCounter, recall};
use chat_memory::store::{Append, ChatStoreExt, Load, SessionPage, SessionQuery, SessionUpdate};
use chat_memory::wire::Format;
use chat_memory::{ChatStore, Entry, Error, MessageError, Owner, SessionId, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::answer::{self, Loaded, Response};
use crate::fork::ToFork;
use crate::messages::ToIterate;
use crate::owner::ToDeleteOwner;
use crate::redact::ToRedact;
use crate::search::ToSearch;

/// An operation with all its parameters.
pub struct Request(Operation);

enum Operation {
    Append(ToAppend),
    Load(ToLoad),
    Records(ToRead),
    Messages(ToIterate),
    Search(ToSearch),
    Fork(ToFork),
    PlanFork(ToFork),
    DeleteOwner(ToDeleteOwner),
    Redact(ToRedact),
    Rewind(ToRewind),
    Clear(Session),
    Delete(Session),
    Sweep(Session),
    Sessions(ToList),
    ListAllSessions(ToScan),
    Session(Session),
    UpdateSession(ToUpdate),
    WriteUnits(ToEstimate),
    /// Nothing: opens the store.
    Open,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Session {
    session: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToAppend {
    session: String,
    format: Format,
    #[serde(default)]
    messages: Vec<Value>,
    /// In place of messages: objects that are stored as they are.
    entries: Option<Vec<Map<String, Value>>>,
    #[serde(default)]
    only_new: bool,
    metadata: Option<Map<String, Value>>,
    key: Option<String>,
    ticket: Option<String>,
    expect: Option<String>,
    owner: Option<String>,
    title: Option<String>,
    /// When each message was sent.
    sent_at: Option<Vec<Option<Timestamp>>>,
    #[serde(default)]
    replace: bool,
    #[serde(default)]
    surely: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToLoad {
    session: String,
    format: Format,
    messages: Option<usize>,
    turns: Option<usize>,
    tokens: Option<u64>,
    counter: Option<String>,
    #[serde(default)]
    keep_system: bool,
    #[serde(default)]
    start_at_user: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToRead {
    session: String,
    format: Format,
    messages: Option<usize>,
    turns: Option<usize>,
    records: Option<usize>,
    /// Only the records numbered so and higher.
    since: Option<u64>,
    /// Only what is older than another load returned: its `older`.
    before: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToEstimate {
    session: String,
    format: Format,
    appends: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToRewind {
    session: String,
    format: Format,
    turns: Option<usize>,
    seq: Option<u64>,
    #[serde(default)]
    messages: Vec<Value>,
    /// In place of messages: objects that are stored as they are.
    entries: Option<Vec<Map<String, Value>>>,
    expect: Option<String>,
    /// How many of the newest messages reach back to `seq`.
    window: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToList {
    owner: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
    #[serde(default)]
    recent: bool,
    #[serde(default)]
    any_owner: bool,
    #[serde(default)]
    contents: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToScan {
    after: Option<String>,
    #[serde(default)]
    contents: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToUpdate {
    session: String,
    #[serde(default, deserialize_with = "said")]
    title: Option<Option<String>>,
    #[serde(default, deserialize_with = "said")]
    metadata: Option<Option<Map<String, Value>>>,
}

/// Distinguishes a missing field from `null`.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads the entries of an append, or the messages that are given in their place.
fn entries(format: Format, messages: Vec<Value>, entries: Option<Vec<Map<String, Value>>>) -> Result<Vec<Entry>, Error> {
    match entries {
        Some(_) if !messages.is_empty() => Err(Error::invalid("give an append messages or entries, but not both")),
        Some(entries) => Ok(entries.into_iter().map(Entry::from_object).collect()),
        None => {
            let place = |e: &MessageError| e.place().unwrap_or_default() + 1;
            let messages = format.read(messages);
            let messages =
                messages.map_err(|e| Error::invalid(format!("message {} of the append: {}", place(&e), e.reason())))?;
            Ok(messages.into_iter().map(Entry::from).collect())
        }
    }
}

impl Request {
    /// Reads the request of an operation.
    ///
    /// # Errors
    /// Invalid, if there is no such operation, or its parameters are invalid.
    pub fn read(operation: &str, value: Value) -> Result<Self, Error> {
        Ok(Self(match operation {
            "append" => Operation::Append(read(value)?),
            "load" => Operation::Load(read(value)?),
            "records" => Operation::Records(read(value)?),
            "messages" => Operation::Messages(read(value)?),
            "search" => Operation::Search(read(value)?),
            "fork" => Operation::Fork(read(value)?),
            "planFork" => Operation::PlanFork(read(value)?),
            "deleteOwner" => Operation::DeleteOwner(read(value)?),
            "redact" => Operation::Redact(read(value)?),
            "rewind" => Operation::Rewind(read(value)?),
            "clear" => Operation::Clear(read(value)?),
            "delete" => Operation::Delete(read(value)?),
            "sweep" => Operation::Sweep(read(value)?),
            "sessions" => Operation::Sessions(read(value)?),
            "listAllSessions" => Operation::ListAllSessions(read(value)?),
            "session" => Operation::Session(read(value)?),
            "updateSession" => Operation::UpdateSession(read(value)?),
            "writeUnits" => Operation::WriteUnits(read(value)?),
            "open" => Operation::Open,
            other => return Err(Error::invalid(format!("unknown operation {other:?}"))),
        }))
    }

    /// Runs the operation.
    ///
    /// # Errors
    /// Errors from the store.
    pub async fn run(self, store: &dyn ChatStore) -> Result<Response, Error> {
        let value = match self.0 {
            Operation::Load(it) => return it.run(store).await.map(Response::from),
            Operation::Messages(it) => return it.run(store).await.map(Response::from),
            Operation::Append(it) => it.run(store).await?,
            Operation::Records(it) => it.run(store).await?,
            Operation::Search(it) => it.run(store).await?,
            Operation::Fork(it) => it.run(store).await?,
            Operation::PlanFork(it) => it.plan(store).await?,
            Operation::DeleteOwner(it) => it.run(store).await?,
            Operation::Redact(it) => it.run(store).await?,
            Operation::Rewind(it) => it.run(store).await?,
            Operation::Clear(it) => {
                let cleared = store.clear(&SessionId::stored(it.session)?).await?;
                json!({"position": cleared.appended.position.to_string(), "cost": answer::cost(&cleared.cost())})
            }
            Operation::Delete(it) => answer::deleted(&store.delete(&SessionId::stored(it.session)?).await?),
            Operation::Sweep(it) => answer::swept(&store.sweep(&SessionId::stored(it.session)?).await?),
            Operation::Sessions(it) => {
                let query = match it.owner.map(Owner::new).transpose()? {
                    Some(_) if it.any_owner => return Err(Error::invalid("give a list an owner or any owner, but not both")),
                    None if it.any_owner => SessionQuery::of_any_owner(),
                    Some(owner) => SessionQuery::of(owner),
                    None => SessionQuery::unowned(),
                };
                if it.limit == Some(0) {
                    return Err(Error::invalid("invalid limit 0: expected at least 1; leave it out for 100"));
                }
                let query = it.limit.into_iter().fold(query, SessionQuery::limit);
                let query = it.after.into_iter().fold(query, SessionQuery::after);
                let query = if it.recent { query.recent() } else { query };
                page(store, store.sessions(&query).await?, it.contents).await?
            }
            Operation::ListAllSessions(it) => {
                page(store, store.list_all_sessions(it.after.as_deref()).await?, it.contents).await?
            }
            Operation::Session(it) => {
                let info = store.session(&SessionId::stored(it.session)?).await?;
                info.as_ref().map_or(Value::Null, answer::info)
            }
            Operation::UpdateSession(it) => {
                let mut update = SessionUpdate::default();
                (update.title, update.metadata) = (it.title, it.metadata);
                let info = store.update_session(&SessionId::stored(it.session)?, &update).await?;
                info.as_ref().map_or(Value::Null, answer::info)
            }
            Operation::WriteUnits(it) => {
                let append = |messages| Ok(Append::new(it.format.read(messages)?));
                let appends = it.appends.into_iter().map(append).collect::<Result<Vec<_>, Error>>()?;
                store.write_units(&SessionId::stored(it.session)?, &appends).into()
            }
            Operation::Open => Value::Null,
        };
        Ok(value.into())
    }
}

/// A page of sessions, with their contents if they are wanted.
async fn page(store: &dyn ChatStore, mut page: SessionPage, contents: bool) -> Result<Value, Error> {
    if contents {
        page.cost += store.read_contents(&mut page.sessions).await?;
    }
    Ok(answer::page(&page))
}

/// Reads parameters. An error names the parameter.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let cause = e.inner().to_string();
        let cause = cause.strip_prefix("invalid type: ").or(cause.strip_prefix("invalid value: ")).unwrap_or(&cause);
        let cause = cause.replace("expected usize", "expected a whole number").replace("expected u64", "expected a whole number");
        match e.path().to_string() {
            path if path == "." => Error::invalid(format!("invalid request: {cause}")),
            path => Error::invalid(format!("invalid {path}: {cause}")),
        }
    })
}

impl ToAppend {
    async fn run(self, store: &dyn ChatStore) -> Result<Value, Error> {
        let session = SessionId::stored(self.session)?;
        let entries = entries(self.format, self.messages, self.entries)?;
        let mut append = if self.replace { Append::replace_all(entries) } else { Append::new(entries) };
        if let Some(metadata) = self.metadata {
            append = append.with_metadata(metadata);
        }
        append = match (self.key, self.ticket) {
            (Some(_), Some(_)) => return Err(Error::invalid("give an append a key or a ticket, but not both")),
            (Some(key), None) => append.with_key(key),
            (None, Some(ticket)) => append.with_ticket(ticket.parse()?),
            (None, None) => append,
        };
        if let Some(position) = self.expect {
            append = append.with_expected(position.parse()?);
        }
        if let Some(owner) = self.owner {
            append = append.with_owner(Owner::new(owner)?);
        }
        if let Some(title) = self.title {
            append = append.with_title(title);
        }
        if let Some(times) = self.sent_at {
            append = append.sent_at(times);
        }
        if self.only_new {
            return Ok(answer::appended_new(&store.append_new(&session, append).await?));
        }
        let appended =
            if self.surely { store.append_with_retry(&session, append).await? } else { store.append(&session, &append).await? };
        Ok(answer::appended(&appended))
    }
}

impl ToLoad {
    fn policy(&self) -> Result<Policy, Error> {
        let limit = match (self.messages, self.turns, self.tokens) {
            (None, None, None) => Limit::Everything,
            (Some(n), None, None) => Limit::Messages(n),
            (None, Some(n), None) => Limit::Turns(n),
            (None, None, Some(budget)) => Limit::Tokens { budget, counter: self.counter()? },
            _ => return Err(Error::invalid("invalid window: give only one of messages, turns and tokens")),
        };
        if self.counter.is_some() && self.tokens.is_none() {
            return Err(Error::invalid("a counter needs a window of tokens; give tokens with it"));
        }
        let policy = Policy::from(limit);
        let policy = if self.keep_system { policy.keeping_system() } else { policy };
        Ok(if self.start_at_user { policy.starting_at_user() } else { policy })
    }

    fn counter(&self) -> Result<TokenCounter, Error> {
        match self.counter.as_deref() {
            None | Some("estimate") => Ok(TokenCounter::estimate()),
            Some("o200k_base") => TokenCounter::exact(Encoding::O200kBase),
            Some("cl100k_base") => TokenCounter::exact(Encoding::Cl100kBase),
            Some(model) => TokenCounter::for_model(model),
        }
    }

    async fn run(self, store: &dyn ChatStore) -> Result<Loaded, Error> {
        let policy = self.policy()?;
        let recalled = recall(store, &SessionId::stored(self.session)?, &policy).await?;
        // An agent passes them on, and an API refuses fields that it does not know.
        let messages = self.format.write_joined(recalled.window.messages);
        let messages = messages.into_iter().map(|(_, value)| value).collect();
        Ok(Loaded {
            messages,
            tokens: recalled.window.tokens,
            left_out: answer::left_out(&recalled.window.left_out),
            position: recalled.position.to_string(),
            cost: answer::cost(&recalled.cost),
        })
    }
}

impl ToRead {
    async fn run(self, store: &dyn ChatStore) -> Result<Value, Error> {
        let load = match (self.messages, self.turns, self.records) {
            (None, None, None) => Load::all(),
            (Some(n), None, None) => Load::last(n),
            (None, Some(n), None) => Load::turns(n),
            (None, None, Some(n)) => Load::records(n),
            _ => return Err(Error::invalid("give only one of messages, turns and records to read records by")),
        };
        let load = match self.before {
            Some(older) => load.before(older.parse()?),
            None => load,
        };
        let load = self.since.into_iter().fold(load, Load::since);
        let history = store.load(&SessionId::stored(self.session)?, &load).await?;
        let mut answer = json!({
            "complete": history.complete,
            "older": history.older().map(|older| older.to_string()),
            "position": history.position.to_string(),
            "cost": answer::cost(&history.cost),
        });
        answer["records"] = history.records.into_iter().map(|record| answer::record(record, self.format)).collect();
        Ok(answer)
    }
}

impl ToRewind {
    async fn run(self, store: &dyn ChatStore) -> Result<Value, Error> {
        let session = SessionId::stored(self.session)?;
        match (self.turns, self.seq) {
            (Some(turns), None) if self.messages.is_empty() && self.entries.is_none() && self.expect.is_none() => {
                let appended = store.rewind_turns(&session, turns).await?;
                Ok(appended.as_ref().map_or(Value::Null, answer::appended))
            }
            (None, Some(seq)) => {
                let history = store.load(&session, &self.window.map_or_else(|| Load::all().since(seq), Load::last)).await?;
                if let Some(expect) = self.expect
                    && history.position != expect.parse()?
                {
                    return Err(Error::conflict(history.position));
                }
                let entries = entries(self.format, self.messages, self.entries)?;
                // The caller of this operation cannot pass a ticket, so an unknown outcome is resolved here if possible.
                let mut appended = store.append_with_retry(&session, Append::rewind(&history, seq, entries)?).await?;
                appended.cost += history.cost;
                Ok(answer::appended(&appended))
            }
            _ => Err(Error::invalid(
                "invalid rewind: give turns, or the number of a record (seq), with which messages and a position are allowed",
            )),
        }
    }
}
