//! Reading a session: windows, pages, and new messages.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chat_memory::memory::{Encoding, Policy, TokenCounter};
use chat_memory::store::{Cost, History, Load, Position, Record};
use chat_memory::wire::{Format, WrittenEntry};
use chat_memory::{ChatStore as _, Entry, Message, SessionId};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::errors::{OfStore, OfValues};
use super::parameters::{IfNoneMatchHeader, SessionPath};
use super::types::{MessagesBody, RecordInfo, WireFormat, others};
use crate::auth::{Access, MayRead};
use crate::extract::{Params, Session, none_match};
use crate::operations::{self, cursor};
use crate::problem::Problem;

/// The value of `after` for the oldest message.
const START: &str = "start";

/// How much to read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadParams {
    /// A window for a model: the newest n messages, a tool's result never without its call, in any provider's form
    #[param(minimum = 0, nullable = false, example = 20)]
    last: Option<usize>,
    /// A window: the newest n turns, each a user's message and all up to the next. A user's message that holds a tool's result begins none
    #[param(minimum = 0, nullable = false)]
    turns: Option<usize>,
    /// A window: the newest messages with up to n tokens in total, counted with the vocabulary o200k_base
    #[param(minimum = 0, nullable = false, format = "uint64")]
    tokens: Option<u64>,
    /// A page: whole records, until n messages are reached (with `entries=all`, n records); 100 by default
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<usize>,
    /// The page before: `next` of an answer. Without `before` and `after` it is the newest page
    #[param(nullable = false)]
    before: Option<String>,
    /// The page after a position (or an answer's `next`): what is newer; `start` begins with the oldest message. It reads all that is newer
    #[param(nullable = false, example = "start")]
    after: Option<String>,
    /// The order of a page's messages: oldest first (asc) or newest first (desc)
    #[param(inline, default = json!("asc"))]
    #[serde(default)]
    order: Order,
    /// The form of the messages
    #[param(inline, value_type = WireFormat, default = json!("openai"))]
    #[serde(default)]
    format: Format,
    /// What to return on a page: messages only, or all entries, those that are not messages as they are
    #[param(inline, default = json!("messages"))]
    #[serde(default)]
    entries: Entries,
    /// Only what the API with this format accepts. For `openai`: `role`, `content` and `name`; of an assistant also `tool_calls`, `function_call`,
    /// `refusal` and the id of its `audio`; of a tool's result also `tool_call_id`. For `anthropic`: `role` and `content`, all results of an answer's
    /// calls in one message, and `system` apart. For `responses`: the items' known fields. Not with `langchain`
    #[param(default = json!(false))]
    #[serde(default)]
    for_model: bool,
    /// With a window: begin at a user's message, as some providers demand, and leave out what comes before it
    #[param(default = json!(false))]
    #[serde(default)]
    start_at_user: bool,
    /// Half the price on DynamoDB: what was written in the last second may be missing
    #[param(default = json!(false))]
    #[serde(default)]
    eventual: bool,
}

impl ReadParams {
    /// The newest page.
    fn page(&self, limit: usize) -> Load {
        if self.entries == Entries::All { Load::records(limit) } else { Load::last(limit) }
    }

    fn consistent(&self, load: Load) -> Load {
        if self.eventual { load.eventually_consistent() } else { load }
    }
}

/// Which entries to return.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Entries {
    /// Messages only
    #[default]
    Messages,
    /// All
    All,
}

/// The order of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first
    #[default]
    Asc,
    /// Newest first
    Desc,
}

/// Read a session's messages
///
/// A *window* (`last`, `turns` or `tokens`) is what a model should be shown. A *page* (`limit`, `before`, `after`) is for going through all
/// of a session: without a parameter, the newest 100 messages, oldest first, and `next` for the page before them. A page costs what it
/// holds, however long the session is. A session that nobody wrote to is empty.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/messages", tag = "messages", operation_id = "readMessages",
    params(SessionPath, ReadParams, IfNoneMatchHeader),
    responses((status = 200, description = "The messages", body = MessagesBody,
        headers(("ETag" = String, description = "The session's position"))),
        (status = 304, description = "Nothing was written since"), OfStore, OfValues),
    security(("key" = []))
)]
pub async fn messages(
    MayRead(access): MayRead,
    Session(session): Session,
    Params(params): Params<ReadParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let how = How::of(&access, &session, &params)?;
    let mut cost = Cost::default();
    if let Some(known) = none_match(&headers) {
        let end = access.store.load(&session, &params.consistent(Load::last(0))).await.map_err(|e| access.problem(&e))?;
        cost += end.cost;
        if known.contains(&end.position) {
            return Ok((StatusCode::NOT_MODIFIED, tagged(&end.position)?).into_response());
        }
    }
    let read = how.read(&access, &session, &params).await?;
    cost += read.cost;
    let (system, mut messages, mut records) = written(&params, read.records);
    if params.order == Order::Desc {
        messages.reverse();
        records.reverse();
    }
    let body = MessagesBody {
        session: session.to_string(),
        messages,
        system,
        other_entries: read.passed_over,
        records: Some(records),
        next: read.next,
        left_out: read.left_out,
        position: read.position.to_string(),
        cost,
    };
    Ok((tagged(&read.position)?, Json(body)).into_response())
}

/// The ETag header with a position, for clients that store messages themselves; browsers must not cache anything.
pub(super) fn tagged(position: &Position) -> Result<[(header::HeaderName, HeaderValue); 1], Problem> {
    let tag =
        HeaderValue::from_str(&format!("\"{position}\"")).map_err(|_| Problem::bad_request("the position cannot be written"))?;
    Ok([(header::ETAG, tag)])
}

/// What was read.
struct Read {
    /// The records, each with what is returned of it.
    records: Vec<(RecordInfo, Vec<Entry>)>,
    /// How many entries that are not messages are not among them.
    passed_over: usize,
    next: Option<String>,
    left_out: Option<String>,
    position: Position,
    cost: Cost,
}

/// What to read.
enum How {
    Window(Policy),
    /// The records from this number on, up to this many messages.
    After(u64, usize),
    Before(Load),
}

impl How {
    fn of(access: &Access, session: &SessionId, params: &ReadParams) -> Result<Self, Problem> {
        let windows = [params.last.is_some(), params.turns.is_some(), params.tokens.is_some()];
        let windows = windows.into_iter().filter(|given| *given).count();
        let pages = params.limit.is_some() || params.before.is_some() || params.after.is_some();
        if windows > 1 || (windows == 1 && pages) {
            return Err(Problem::bad_request("give one of last, turns and tokens, or limit with before or after, but not both"));
        }
        if params.start_at_user && windows == 0 {
            return Err(Problem::bad_request("start_at_user needs a window: give one of last, turns and tokens with it"));
        }
        if params.for_model && params.format.for_request(&[]).is_none() {
            let forms: Vec<_> =
                Format::ALL.iter().filter(|format| format.for_request(&[]).is_some()).map(|format| format.as_str()).collect();
            let given = params.format;
            return Err(Problem::bad_request(format!(
                "invalid format {given} with for_model: expected one of {}",
                forms.join(", ")
            )));
        }
        if params.entries == Entries::All && (windows > 0 || params.for_model) {
            return Err(Problem::bad_request(
                "entries=all needs a page: leave out last, turns, tokens and for_model, which are for models",
            ));
        }
        if params.before.is_some() && params.after.is_some() {
            return Err(Problem::bad_request("give before or after, but not both"));
        }
        let limit = super::limit(params.limit)?;
        let window = |policy: Policy| Self::Window(if params.start_at_user { policy.starting_at_user() } else { policy });
        Ok(match params {
            ReadParams { last: Some(n), .. } => window(Policy::last_messages(*n)),
            ReadParams { turns: Some(n), .. } => window(Policy::last_turns(*n)),
            ReadParams { tokens: Some(budget), .. } => {
                let counter = TokenCounter::exact(Encoding::O200kBase).map_err(|e| access.problem(&e))?;
                window(Policy::token_budget(*budget, counter))
            }
            ReadParams { after: Some(start), .. } if start == START => Self::After(0, limit),
            ReadParams { after: Some(position), .. } => {
                let position: Position = position.parse().map_err(|_| {
                    Problem::bad_request(
                        "invalid after: expected \"start\", a position, or \"next\" of a page requested with `after`",
                    )
                })?;
                Self::After(position.next(), limit)
            }
            ReadParams { before: Some(text), .. } => {
                Self::Before(params.page(limit).before(cursor::before(access, session, text)?))
            }
            _ => Self::Before(params.page(limit)),
        })
    }

    async fn read(self, access: &Access, session: &SessionId, params: &ReadParams) -> Result<Read, Problem> {
        match self {
            Self::Window(policy) => {
                let recalled = operations::recall(access, session, policy, params.consistent(Load::all())).await?;
                let left_out = (!recalled.left_out.is_nothing()).then(|| recalled.left_out.to_string());
                let info =
                    |(record, entries): (&Record, Vec<_>)| (!entries.is_empty()).then(|| RecordInfo::of_some(record, &entries));
                let infos: Vec<_> = recalled.records().map(info).collect();
                let passed_over = others(recalled.history.entries());
                let History { records, position, cost, .. } = recalled.history;
                let mut shown = recalled.shown.into_iter();
                let records = infos.into_iter().zip(records).filter_map(|(info, record)| {
                    // Each entry has a flag, also in a record of which nothing is returned.
                    let entries = record.entries.into_iter().filter(|_| shown.next().unwrap_or_default()).collect();
                    Some((info?, entries))
                });
                Ok(Read { records: records.collect(), passed_over, next: None, left_out, position, cost })
            }
            Self::Before(load) => {
                let history = access.store.load(session, &params.consistent(load)).await.map_err(|e| access.problem(&e))?;
                let next = cursor::of_older(access, session, &history);
                Ok(page(history, next, params.entries))
            }
            Self::After(since, limit) => {
                let (all, load) = (params.entries == Entries::All, params.consistent(Load::all()));
                let (history, next) = operations::newer(access, session, since, limit, all, load).await?;
                Ok(page(history, next.map(|position| position.to_string()), params.entries))
            }
        }
    }
}

fn page(history: History, next: Option<String>, wanted: Entries) -> Read {
    let is_wanted = |entry: &Entry| wanted == Entries::All || entry.as_message().is_some();
    let passed_over = history.entries().filter(|entry| !is_wanted(entry)).count();
    let of = |record: Record| {
        let entries = record.entries.iter().zip(record.entry_times()).filter(|(entry, _)| is_wanted(entry));
        let info = RecordInfo::of_some(&record, &entries.collect::<Vec<_>>());
        (info, record.entries.into_iter().filter(is_wanted).collect())
    };
    let History { records, position, cost, .. } = history;
    Read { records: records.into_iter().map(of).collect(), passed_over, next, left_out: None, position, cost }
}

/// Writes what was read: the system prompt if the form has it apart, the values, and the records, each with how many of the values
/// are its. Records are written one by one, except for a model, to which several results may be one message.
fn written(params: &ReadParams, read: Vec<(RecordInfo, Vec<Entry>)>) -> (Option<Value>, Vec<WrittenEntry>, Vec<RecordInfo>) {
    let (mut values, mut records) = (Vec::new(), Vec::new());
    if !params.for_model {
        for (record, entries) in read {
            let written = params.format.write_entries(entries);
            records.push(record.written(written.iter().map(|(place, _)| *place)));
            values.extend(written.into_iter().map(|(_, value)| value));
        }
        return (None, values, records);
    }
    let counts: Vec<_> = read.iter().map(|(_, entries)| entries.len()).collect();
    let (infos, entries): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    let all: Vec<Message> = entries.into_iter().flatten().filter_map(Entry::into_message).collect();
    let request = params.format.for_request(&all).unwrap_or_default();
    // In order, like the messages.
    let mut places = request.messages.iter().map(|(place, _)| *place).peekable();
    let mut from = 0;
    for (info, count) in infos.into_iter().zip(counts) {
        let to = from + count;
        records.push(info.written(std::iter::from_fn(|| places.next_if(|place| *place < to)).map(|place| place - from)));
        from = to;
    }
    values.extend(request.messages.into_iter().map(|(_, value)| WrittenEntry::from(value)));
    (request.system, values, records)
}
