//! Forking a session.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chat_memory::backend::check_title;
use chat_memory::store::{Fork, Forked};
use chat_memory::{Owner, SessionId};

use super::errors::{OfBody, OfKey, OfMatch, OfStore, OfValues};
use super::parameters::{KeyHeader, SessionPath};
use super::read::tagged;
use super::types::{ForkBody, ForkPlanBody, ForkedBody};
use super::write::{about, at, replayed};
use crate::auth::MayReadOrWrite;
use crate::extract::{JsonBody, Key, NoParams, Params, Session, Unconditional};
use crate::keys::Right;
use crate::operations;
use crate::problem::Problem;

/// Fork a session
///
/// A new session begins with a copy of what this one shows, up to a record or all of it. It appears in one step. What happens to one of them
/// later does not change the other. The list says where it comes from: `metadata.forked_from`. A session that exists already is a conflict
/// (412). Send an `Idempotency-Key` to make it safe to repeat.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/fork", tag = "sessions", operation_id = "forkSession",
    params(SessionPath, KeyHeader),
    request_body = ForkBody,
    responses(
        (status = 200, description = "With `dry_run`: what would be copied", body = ForkPlanBody),
        (status = 201, description = "Forked; or, for a repeated key, what the first request made", body = ForkedBody,
        headers(("ETag" = String, description = "The position of the new session"),
            ("Idempotent-Replayed" = String, description = "`true` where an earlier request with this key had made it"))),
        OfStore, OfBody, OfValues, OfKey, OfMatch),
    security(("key" = []))
)]
pub async fn fork(
    MayReadOrWrite(access): MayReadOrWrite,
    Params(NoParams {}): Params<NoParams>,
    Session(session): Session,
    key: Option<Key>,
    _: Unconditional,
    JsonBody(body, held): JsonBody<ForkBody>,
) -> Result<Response, Problem> {
    if !body.dry_run {
        access.check(Right::Write)?;
    }
    let key = key.map(|Key(key)| key);
    let mut fork = key.iter().fold(Fork::new(), Fork::with_key);
    let to = at("/to", body.to.map_or_else(|| fork.target_of(&session), SessionId::new))?;
    if let Some(seq) = body.seq {
        fork = fork.up_to(seq);
    }
    // Nothing else in the body can be wrong for a session that has the record.
    let pointer = body.seq.map(|_| "/seq");
    if let Some(owner) = body.owner {
        fork = fork.with_owner(at("/owner", Owner::new(owner))?);
    }
    if let Some(title) = body.title {
        at("/title", check_title(&title))?;
        fork = fork.with_title(title);
    }
    if body.dry_run {
        let plan = about(pointer, operations::plan_fork(&access, &session, &to, &fork).await)?;
        let (seq, records, entries, write_units, cost) = (plan.seq, plan.records, plan.entries, plan.write_units, plan.cost);
        let body = ForkPlanBody { from: session.to_string(), seq, records, entries, write_units, cost };
        return Ok((StatusCode::OK, Json(body)).into_response());
    }
    let Forked { seq, records, entries, position, repeated, cost, .. } =
        about(pointer, operations::fork(&access, &session, &to, fork, key, held).await)?;
    let body = ForkedBody {
        session: to.to_string(),
        from: session.to_string(),
        seq,
        records,
        entries,
        position: position.to_string(),
        cost,
    };
    Ok((StatusCode::CREATED, tagged(&position)?, replayed(repeated), Json(body)).into_response())
}
