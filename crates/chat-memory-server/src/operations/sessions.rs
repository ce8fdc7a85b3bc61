//! The list of sessions, and their details.

use chat_memory::store::{
    ChatStore as _, ChatStoreExt as _, Deleted, OwnerDeletion, SessionInfo, SessionOrder, SessionPage, SessionQuery,
    SessionUpdate,
};
use chat_memory::{Owner, SessionId};

use super::cursor;
use crate::auth::Access;
use crate::metrics::Operation;
use crate::problem::Problem;

/// Lists a page of sessions; without a query, of all owners and unowned, in the store's order. Takes and returns signed cursors.
pub(crate) async fn list(access: &Access, query: Option<SessionQuery>, after: Option<&str>) -> Result<SessionPage, Problem> {
    // The list that a cursor belongs to. A prefix before the owner's name keeps lists apart.
    let place = match &query {
        None => "all".to_owned(),
        Some(SessionQuery { any_owner: true, order: SessionOrder::Recent, .. }) => "all recent".to_owned(),
        Some(SessionQuery { any_owner: true, .. }) => "all by start".to_owned(),
        Some(SessionQuery { owner, order: SessionOrder::Recent, .. }) => {
            owner.as_ref().map_or_else(|| "recent".to_owned(), |owner| format!("recent of {owner}"))
        }
        Some(SessionQuery { owner, .. }) => owner.as_ref().map_or_else(|| "nobody".to_owned(), |owner| format!("of {owner}")),
    };
    let after = after.map(|text| cursor::read(access, &place, text)).transpose()?;
    let page = match query {
        None => access.store.list_all_sessions(after.as_deref()).await,
        Some(mut query) => {
            query.after = after;
            access.store.sessions(&query).await
        }
    };
    let mut page = page.map_err(|e| access.problem(&e))?;
    for warning in &page.warnings {
        tracing::warn!(warning, "a list of sessions");
    }
    page.next = page.next.map(|next| cursor::write(access, &place, &next));
    Ok(page)
}

/// Adds to these sessions of a page what its list did not say, and the cost to the page's.
pub(crate) async fn read_contents(access: &Access, page: &mut SessionPage, most: usize) -> Result<(), Problem> {
    let shown = most.min(page.sessions.len());
    page.cost += access.store.read_contents(&mut page.sessions[..shown]).await.map_err(|e| access.problem(&e))?;
    Ok(())
}

/// Returns what the list says of a session.
pub(crate) async fn find(access: &Access, session: &SessionId) -> Result<SessionInfo, Problem> {
    let found = access.store.session(session).await.map_err(|e| access.problem(&e))?;
    found.ok_or_else(|| not_listed(session))
}

/// Changes a session's details, even if the client disconnects.
pub(crate) async fn update(access: &Access, session: &SessionId, update: SessionUpdate) -> Result<SessionInfo, Problem> {
    let (within, of) = (access.clone(), session.clone());
    let work = async move { within.store.update_session(&of, &update).await.map_err(|e| within.problem(&e)) };
    let changed = access.service.write(work).await?;
    changed.ok_or_else(|| not_listed(session))
}

/// Deletes a session, even if the client disconnects, and notifies watchers.
pub(crate) async fn delete(access: &Access, session: &SessionId) -> Result<Deleted, Problem> {
    let (within, of) = (access.clone(), session.clone());
    let work = async move {
        let deleted = within.store.delete(&of).await.map_err(|e| within.problem_of(&e, Operation::Delete))?;
        within.tell(&of);
        Ok(deleted)
    };
    access.service.write(work).await
}

/// Deletes about this many of an owner's sessions, even if the client disconnects, and notifies watchers.
pub(crate) async fn delete_owner(access: &Access, owner: &Owner, most: u64) -> Result<OwnerDeletion, Problem> {
    let (within, of) = (access.clone(), owner.clone());
    let work = async move {
        let mut deleted = Vec::new();
        let result = within
            .store
            .delete_owner(&of, Some(most), &mut |done| match done.result {
                Ok(_) => deleted.push(done.session),
                Err(error) => tracing::warn!(%error, "a session of an owner could not be deleted"),
            })
            .await;
        deleted.iter().for_each(|session| within.tell(session));
        result.map_err(|e| within.problem_of(&e, Operation::Delete))
    };
    access.service.write(work).await
}

fn not_listed(session: &SessionId) -> Problem {
    Problem::not_found(format!("no session {:?}: a session is listed from its first message on", session.as_str()))
}
