//! The list of sessions, and their details.

use axum::Json;
use chat_memory::Owner;
use chat_memory::backend::{check_metadata, check_title};
use chat_memory::store::{ChatStore as _, SessionOrder, SessionQuery, SessionUpdate};
use serde::Deserialize;
use utoipa::IntoParams;

use super::errors::{OfBody, OfListed, OfStore, OfValues};
use super::parameters::SessionPath;
use super::types::{DeletedBody, Order, SessionBody, SessionChange, SessionsBody};
use super::write::at;
use crate::auth::{MayRead, MayWrite};
use crate::extract::{JsonBody, NoParams, Params, Session, Unconditional};
use crate::operations;
use crate::problem::Problem;

/// Which sessions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Whose sessions; without it, the unowned ones
    #[param(min_length = 1, max_length = 512, nullable = false, example = "ada")]
    owner: Option<String>,
    /// Every session, of all owners and unowned. On DynamoDB it reads the whole table, and they come in no order
    #[param(default = json!(false))]
    #[serde(default)]
    all: bool,
    /// By when they began, or by last activity; on DynamoDB not with `all`. The latter is exact in a SQLite file and in memory. On DynamoDB, the time
    /// of the last activity is at most an hour old, and an owner with over 1,000 sessions is listed by start, which the page's `order` says
    #[param(inline, default = "started", nullable = false, value_type = Option<Order>)]
    order: Option<SessionOrder>,
    /// As many as a page has; 100 by default. On DynamoDB not with `all`: the store decides
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<usize>,
    /// The page after this `next`
    #[param(nullable = false)]
    after: Option<String>,
    /// Also the first words and the present number of records, where the list does not say them: on DynamoDB it reads the newest records of
    /// each session on the page, which takes about one read unit for a short one, and ten at most. Of a session of over some 40 KB it gives the
    /// number only. In a SQLite file and in memory a list has them anyway, and in a table of Flowise's or LangChain's it has the first words
    #[param(default = json!(false))]
    #[serde(default)]
    contents: bool,
}

/// List sessions
///
/// Newest first, by when they began, or with `order=recent` by last activity. A cursor is good for the key, the owner and the order that it
/// was made for. By last activity, page after page lists each session once at most: one that is written to in the meantime moves to the top,
/// where the first page shows it when it is read again.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", operation_id = "listSessions",
    params(ListParams),
    responses((status = 200, description = "A page of sessions", body = SessionsBody), OfStore),
    security(("key" = []))
)]
pub async fn sessions(MayRead(access): MayRead, Params(params): Params<ListParams>) -> Result<Json<SessionsBody>, Problem> {
    let ListParams { owner, all, order, limit, after, contents } = params;
    let is_sorted = !all || access.store.capabilities().any_owner;
    if all && owner.is_some() {
        return Err(Problem::bad_request("all=true cannot be combined with owner"));
    }
    if !is_sorted && (limit.is_some() || order.is_some()) {
        let why = "all=true cannot be combined with order or limit: this store lists all sessions in no order, and decides how many a \
                   page has; leave them out";
        return Err(Problem::bad_request(why));
    }
    let limit = super::limit(limit)?;
    let owner = owner.map(Owner::new).transpose().map_err(|e| Problem::bad_request(e.to_string()))?;
    let query = if all { SessionQuery::of_any_owner() } else { owner.map_or_else(SessionQuery::unowned, SessionQuery::of) };
    let mut query = query.limit(limit);
    query.order = order.unwrap_or_default();
    let mut page = operations::list(&access, is_sorted.then_some(query), after.as_deref()).await?;
    if contents {
        operations::read_contents(&access, &mut page, usize::MAX).await?;
    }
    Ok(Json(SessionsBody {
        order: is_sorted.then_some(page.order),
        sessions: page.sessions.into_iter().map(SessionBody::from).collect(),
        next: page.next,
        cost: page.cost,
    }))
}

/// Describe a session
///
/// What the list says of it, without its messages.
#[utoipa::path(
    get, path = "/v1/sessions/{session}", tag = "sessions", operation_id = "getSession",
    params(SessionPath),
    responses((status = 200, description = "The session", body = SessionBody), OfStore, OfListed, OfValues),
    security(("key" = []))
)]
pub async fn session(MayRead(access): MayRead, Session(session): Session) -> Result<Json<SessionBody>, Problem> {
    operations::find(&access, &session).await.map(|info| Json(info.into()))
}

/// Change a session's title or metadata
///
/// What is left out stays; `null` takes away. An owner is given with the first message and stays.
#[utoipa::path(
    patch, path = "/v1/sessions/{session}", tag = "sessions", operation_id = "updateSession",
    params(SessionPath),
    request_body = SessionChange,
    responses((status = 200, description = "The session, changed", body = SessionBody), OfStore, OfListed, OfBody, OfValues),
    security(("key" = []))
)]
pub async fn describe(
    MayWrite(access): MayWrite,
    Params(NoParams {}): Params<NoParams>,
    Session(session): Session,
    _: Unconditional,
    JsonBody(change, _held): JsonBody<SessionChange>,
) -> Result<Json<SessionBody>, Problem> {
    if let Some(wanted) = change.owner {
        let owner = operations::find(&access, &session).await?.owner.map(|owner| owner.to_string());
        if owner != wanted {
            let detail = "cannot change the owner: it is set with the first message (at \"/owner\"); copy the messages to a new session to change it";
            return Err(Problem::invalid(detail).with("pointer", "/owner"));
        }
    }
    change.title.iter().flatten().try_for_each(|title| at("/title", check_title(title)))?;
    change.metadata.iter().flatten().try_for_each(|metadata| at("/metadata", check_metadata(metadata)))?;
    let mut update = SessionUpdate::default();
    (update.title, update.metadata) = (change.title, change.metadata);
    operations::update(&access, &session, update).await.map(|info| Json(info.into()))
}

/// Delete a session
///
/// It is cleared, erased and taken off the list. Deleting one that is not there is no error: the answer is 200 with `existed: false`. A repeat
/// takes away also what was written in between.
#[utoipa::path(
    delete, path = "/v1/sessions/{session}", tag = "sessions", operation_id = "deleteSession",
    params(SessionPath),
    responses((status = 200, description = "Deleted", body = DeletedBody), OfStore, OfValues),
    security(("key" = []))
)]
pub async fn delete(
    MayWrite(access): MayWrite,
    Params(NoParams {}): Params<NoParams>,
    Session(session): Session,
    _: Unconditional,
) -> Result<Json<DeletedBody>, Problem> {
    let deleted = operations::delete(&access, &session).await?;
    let (existed, erased, cost) = (deleted.existed, deleted.records, deleted.cost);
    Ok(Json(DeletedBody { session: session.to_string(), existed, erased, cost }))
}
