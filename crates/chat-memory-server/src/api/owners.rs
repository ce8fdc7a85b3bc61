//! All sessions of an owner.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::errors::OfStore;
use super::types::OwnerDeletedBody;
use crate::auth::MayWrite;
use crate::extract::{OfOwner, Params, Unconditional};
use crate::operations;
use crate::problem::Problem;

/// How many sessions a request deletes, unless it says otherwise.
const SOME: usize = 100;

/// How many sessions to delete.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LimitParams {
    /// Delete about this many sessions, and say whether there are more
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<usize>,
}

/// Delete all sessions of an owner
///
/// Each is deleted as a single one is: cleared, erased and taken off the list; also those that have expired and are not erased yet. A request
/// deletes about `limit` sessions. Repeat it while `more` is true: an answer with `more: false` and `failed: 0` means that the list was read
/// again and nothing of the owner is left in it. It is safe to repeat at any time.
#[utoipa::path(
    delete, path = "/v1/owners/{owner}/sessions", tag = "sessions", operation_id = "deleteOwnerSessions",
    params(
        ("owner" = String, Path, description = "The owner, percent-encoded", min_length = 1, max_length = 512, example = "ada"),
        LimitParams
    ),
    responses((status = 200, description = "Deleted, as far as the answer says", body = OwnerDeletedBody), OfStore),
    security(("key" = []))
)]
pub async fn delete(
    MayWrite(access): MayWrite,
    OfOwner(owner): OfOwner,
    Params(LimitParams { limit }): Params<LimitParams>,
    _: Unconditional,
) -> Result<Json<OwnerDeletedBody>, Problem> {
    let most = super::limit(Some(limit.unwrap_or(SOME)))?;
    let deleted = operations::delete_owner(&access, &owner, most as u64).await?;
    Ok(Json(OwnerDeletedBody {
        owner: owner.to_string(),
        sessions: deleted.sessions,
        erased: deleted.records,
        failed: deleted.failed,
        more: deleted.more,
        cost: deleted.cost,
    }))
}
