//! The list of sessions, and their details.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chat_memory::backend::{check_metadata, check_title};
use chat_memory::store::{ChatStore as _, SessionInfo, SessionQuery, SessionUpdate};
use chat_memory::{Owner, SessionId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::errors::{OfBody, OfListed, OfStore, OfValues};
use super::extract::{JsonBody, Params, Session, Unconditional};
use super::parameters::SessionPath;
use super::types::{DeletedBody, Order, SessionBody, SessionChange, SessionsBody};
use super::write::at;
use super::{MOST, PAGE, cursor};
use crate::auth::{Access, MayRead, MayWrite};
use crate::problem::Problem;
use crate::service::Service;

/// Which sessions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Whose sessions; without it, the unowned ones
    #[param(min_length = 1, max_length = 512, nullable = false, example = "ada")]
    owner: Option<String>,
    /// Every session, of all owners and unowned, in no order. On DynamoDB it reads the whole table
    #[param(default = json!(false))]
    #[serde(default)]
    all: bool,
    /// By when they began, or by last activity; not with `all`. The latter is exact in a SQLite file and in memory. On DynamoDB, the time
    /// of the last activity is at most an hour old, and an owner with over 1,000 sessions is listed by start, which the page's `order` says
    #[param(inline, default = "started", nullable = false)]
    order: Option<Order>,
    /// As many as a page has; 100 by default. With `all` the store decides
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<usize>,
    /// The page after this `next`
    #[param(nullable = false)]
    after: Option<String>,
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
    let ListParams { owner, all, order, limit, after } = &params;
    list(&access, owner.as_deref(), *all, *order, *limit, after.as_deref()).await.map(Json)
}

/// A page of sessions.
pub(crate) async fn list(
    access: &Access,
    owner: Option<&str>,
    all: bool,
    order: Option<Order>,
    limit: Option<usize>,
    after: Option<&str>,
) -> Result<SessionsBody, Problem> {
    if all && (owner.is_some() || limit.is_some() || order.is_some()) {
        return Err(Problem::bad_request("all=true takes no owner, no order and no limit"));
    }
    let order = order.unwrap_or_default();
    if limit.is_some_and(|limit| !(1..=MOST).contains(&limit)) {
        return Err(Problem::bad_request(format!("limit is 1 to {MOST}")));
    }
    let owner = owner.map(Owner::new).transpose().map_err(|e| Problem::bad_request(e.to_string()))?;
    // The list that a cursor belongs to. A prefix before the owner's name keeps lists apart.
    let place = match (&owner, order) {
        _ if all => "all".to_owned(),
        (Some(owner), Order::Started) => format!("of {owner}"),
        (Some(owner), Order::Recent) => format!("recent of {owner}"),
        (None, Order::Started) => "nobody".to_owned(),
        (None, Order::Recent) => "recent".to_owned(),
    };
    let after = after.map(|text| cursor::read(access, &place, text)).transpose()?;
    let page = if all {
        access.store.list_all_sessions(after.as_deref()).await
    } else {
        let mut query = owner.map_or_else(SessionQuery::unowned, SessionQuery::of).limit(limit.unwrap_or(PAGE));
        query.after = after;
        if order == Order::Recent {
            query = query.recent();
        }
        access.store.sessions(&query).await
    };
    let page = page.map_err(|e| access.problem(&e))?;
    for warning in &page.warnings {
        tracing::warn!(warning, "a list of sessions");
    }
    Ok(SessionsBody {
        order: (!all).then(|| page.order.into()),
        sessions: page.sessions.into_iter().map(SessionBody::from).collect(),
        next: page.next.map(|next| cursor::write(access, &place, &next)),
        cost: page.cost.into(),
    })
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
    let found = access.store.session(&session).await.map_err(|e| access.problem(&e))?;
    found.map(|info| Json(info.into())).ok_or_else(|| not_listed(&session))
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
    State(service): State<Service>,
    MayWrite(access): MayWrite,
    Session(session): Session,
    _: Unconditional,
    JsonBody(change, _held): JsonBody<SessionChange>,
) -> Result<Json<SessionBody>, Problem> {
    if let Some(wanted) = change.owner {
        let found = access.store.session(&session).await.map_err(|e| access.problem(&e))?;
        let owner = found.ok_or_else(|| not_listed(&session))?.owner.map(|owner| owner.to_string());
        if owner != wanted {
            let detail = "a session's owner is given with its first message and stays (at \"/owner\"); copy it to a new session to change that";
            return Err(Problem::invalid(detail).with("pointer", "/owner"));
        }
    }
    change.title.iter().flatten().try_for_each(|title| at("/title", check_title(title)))?;
    change.metadata.iter().flatten().try_for_each(|metadata| at("/metadata", check_metadata(metadata)))?;
    let update = SessionUpdate { title: change.title, metadata: change.metadata };
    update_session(&service, &access, &session, update).await.map(|info| Json(info.into()))
}

/// Changes a session's details, even if the client disconnects.
pub(crate) async fn update_session(
    service: &Service,
    access: &Access,
    session: &SessionId,
    update: SessionUpdate,
) -> Result<SessionInfo, Problem> {
    let (within, of) = (access.clone(), session.clone());
    let work = async move { within.store.update_session(&of, &update).await.map_err(|e| within.problem(&e)) };
    let changed = service.write(access.namespace.as_ref(), session, None, work).await?;
    changed.ok_or_else(|| not_listed(session))
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
    State(service): State<Service>,
    MayWrite(access): MayWrite,
    Session(session): Session,
    _: Unconditional,
) -> Result<(StatusCode, Json<DeletedBody>), Problem> {
    let deleted = delete_session(&service, &access, &session).await?;
    Ok((StatusCode::OK, Json(deleted)))
}

pub(crate) async fn delete_session(service: &Service, access: &Access, session: &SessionId) -> Result<DeletedBody, Problem> {
    let (within, of, watch) = (access.clone(), session.clone(), service.watch().clone());
    let work = async move {
        let deleted = within.store.delete(&of).await.map_err(|e| within.problem(&e))?;
        watch.tell(within.namespace.as_ref(), &of);
        Ok(deleted)
    };
    let deleted = service.write(access.namespace.as_ref(), session, None, work).await?;
    let (existed, erased, cost) = (deleted.existed, deleted.records, deleted.cost.into());
    Ok(DeletedBody { session: session.to_string(), existed, erased, cost })
}

fn not_listed(session: &SessionId) -> Problem {
    Problem::not_found(format!("no session {:?} is listed; one is from its first message on", session.as_str()))
}
