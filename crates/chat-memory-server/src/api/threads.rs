//! LangGraph's threads: lists, and the state at a checkpoint.

use axum::Json;
use chat_memory::wire::Format;
use chat_memory::{Entry, SessionId, store};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::errors::{OfListed, OfStore, OfValues};
use super::types::{Cost, FormatParam, others};
use crate::auth::{Access, MayRead};
use crate::extract::{AtCheckpoint, Params, Thread};
use crate::operations::{self, CHECKPOINTS, MAX_CHECKPOINTS};
use crate::problem::Problem;
use crate::threads::{CheckpointInfo, PendingWrite, ThreadInfo};

/// The thread in the path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it is only described")]
pub struct ThreadPath {
    /// The thread's id, percent-encoded, by the rules of a session's
    #[param(
        min_length = 1,
        max_length = 1000,
        pattern = r"^(?!ns#|dir#|ckpt#)[^\u0000-\u001f\u007f-\u009f]+$",
        example = "trip"
    )]
    thread: String,
}

/// The checkpoint in the path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it is only described")]
pub struct CheckpointPath {
    /// The checkpoint's id, of the graph or of a subgraph
    #[param(min_length = 1, max_length = 200, pattern = r"^[A-Za-z0-9_.:-]+$", example = "1f1eadd8-2444-64cf-8004-21ee46407632")]
    checkpoint: String,
}

/// Where to continue a list of threads.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ThreadsParams {
    /// The page after this `next`
    #[param(nullable = false)]
    after: Option<String>,
}

/// Which checkpoints to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CheckpointsParams {
    /// As many as a page has
    #[param(minimum = 1, maximum = 100, default = 20, nullable = false)]
    limit: Option<usize>,
    /// The page after this `next`
    #[param(nullable = false)]
    after: Option<String>,
}

/// A page of threads.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadsBody {
    /// The threads; within the page, those that were active last come first
    threads: Vec<ThreadInfo>,
    /// The next page's `after`; null after the last
    #[schema(required)]
    next: Option<String>,
    /// What it cost
    #[schema(value_type = Cost)]
    cost: store::Cost,
}

/// A page of a thread's checkpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointsBody {
    /// The thread
    thread: String,
    /// The checkpoints: those of the graph, newest first, then those of each subgraph. Empty for a thread that does not exist
    checkpoints: Vec<CheckpointInfo>,
    /// The next page's `after`; null after the last
    #[schema(required)]
    next: Option<String>,
    /// What it cost
    #[schema(value_type = Cost)]
    cost: store::Cost,
}

/// The state of a thread at a checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct StateBody {
    /// The thread
    thread: String,
    /// The checkpoint
    checkpoint: CheckpointInfo,
    /// The messages, oldest first
    #[schema(value_type = Vec<super::message::ChatMessage>)]
    messages: Vec<Value>,
    /// How many elements of the messages' channel are not messages and are passed over
    other_entries: usize,
    /// The values of the other channels. A value that is not JSON is `{"kind", "bytes"}`, with `encrypted: true` if it is encrypted
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// What tasks wrote at the checkpoint and the next one will contain, such as interrupts
    writes: Vec<PendingWrite>,
    /// What it cost
    #[schema(value_type = Cost)]
    cost: store::Cost,
}

/// List LangGraph's threads
///
/// All threads, in no order. It reads the newest checkpoint of each thread, and on DynamoDB the whole table. A thread may be on two pages.
#[utoipa::path(
    get, path = "/v1/threads", tag = "threads", operation_id = "listThreads",
    params(ThreadsParams),
    responses((status = 200, description = "A page of threads", body = ThreadsBody), OfStore),
    security(("key" = []))
)]
pub async fn threads(
    MayRead(access): MayRead,
    Params(ThreadsParams { after }): Params<ThreadsParams>,
) -> Result<Json<ThreadsBody>, Problem> {
    let page = operations::threads::list(&access, after.as_deref()).await?;
    Ok(Json(ThreadsBody { threads: page.items, next: page.next, cost: page.cost }))
}

/// List a thread's checkpoints
///
/// Without their states, but each is read whole.
#[utoipa::path(
    get, path = "/v1/threads/{thread}/checkpoints", tag = "threads", operation_id = "listCheckpoints",
    params(ThreadPath, CheckpointsParams),
    responses((status = 200, description = "A page of checkpoints", body = CheckpointsBody), OfStore, OfValues),
    security(("key" = []))
)]
pub async fn checkpoints(
    MayRead(access): MayRead,
    Thread(thread): Thread,
    Params(CheckpointsParams { limit, after }): Params<CheckpointsParams>,
) -> Result<Json<CheckpointsBody>, Problem> {
    let limit = limit.unwrap_or(CHECKPOINTS);
    if !(1..=MAX_CHECKPOINTS).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is 1 to {MAX_CHECKPOINTS}")));
    }
    let page = operations::threads::checkpoints(&access, &thread, after.as_deref(), limit).await?;
    Ok(Json(CheckpointsBody { thread: thread.to_string(), checkpoints: page.items, next: page.next, cost: page.cost }))
}

/// Read a thread's state
///
/// The messages and other values at the newest checkpoint of the graph.
#[utoipa::path(
    get, path = "/v1/threads/{thread}", tag = "threads", operation_id = "getThread",
    params(ThreadPath, FormatParam),
    responses((status = 200, description = "The state", body = StateBody), OfStore, OfListed, OfValues),
    security(("key" = []))
)]
pub async fn newest(
    MayRead(access): MayRead,
    Thread(thread): Thread,
    Params(FormatParam { format }): Params<FormatParam>,
) -> Result<Json<StateBody>, Problem> {
    state(&access, &thread, None, format).await
}

/// Read a thread's state at a checkpoint
#[utoipa::path(
    get, path = "/v1/threads/{thread}/checkpoints/{checkpoint}", tag = "threads", operation_id = "getCheckpoint",
    params(ThreadPath, CheckpointPath, FormatParam),
    responses((status = 200, description = "The state", body = StateBody), OfStore, OfListed, OfValues),
    security(("key" = []))
)]
pub async fn at_checkpoint(
    MayRead(access): MayRead,
    AtCheckpoint(thread, checkpoint): AtCheckpoint,
    Params(FormatParam { format }): Params<FormatParam>,
) -> Result<Json<StateBody>, Problem> {
    state(&access, &thread, Some(&checkpoint), format).await
}

async fn state(access: &Access, thread: &SessionId, id: Option<&str>, format: Format) -> Result<Json<StateBody>, Problem> {
    let (state, cost) = operations::threads::state(access, thread, id).await?;
    let other_entries = others(&state.messages);
    let messages: Vec<_> = state.messages.into_iter().filter_map(Entry::into_message).collect();
    Ok(Json(StateBody {
        thread: thread.to_string(),
        checkpoint: state.checkpoint,
        messages: format.write(&messages),
        other_entries,
        values: state.values,
        writes: state.writes,
        cost,
    }))
}
