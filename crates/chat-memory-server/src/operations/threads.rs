//! LangGraph's threads: lists, the state at a checkpoint, and deletion.

use chat_memory::store::Cost;
use chat_memory::{Error, SessionId};

use super::cursor;
use crate::auth::Access;
use crate::metrics::Operation;
use crate::problem::Problem;
use crate::threads::{self, CheckpointInfo, Page, ThreadInfo, ThreadState};

/// Lists a page of all threads. Takes and returns signed cursors.
pub(crate) async fn list(access: &Access, after: Option<&str>) -> Result<Page<ThreadInfo>, Problem> {
    const PLACE: &str = "threads";
    let after = after.map(|text| cursor::read(access, PLACE, text)).transpose()?;
    let store = access.checkpoints().await?;
    let mut page = counted(access, threads::list(&store, after.as_deref()).await, |page| page.cost)?;
    page.next = page.next.map(|next| cursor::write(access, PLACE, &next));
    Ok(page)
}

/// Lists a page of a thread's checkpoints, likewise.
pub(crate) async fn checkpoints(
    access: &Access,
    thread: &SessionId,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<CheckpointInfo>, Problem> {
    let place = format!("checkpoints of {thread}");
    let after = after.map(|text| cursor::read(access, &place, text)).transpose()?;
    let store = access.checkpoints().await?;
    let page = threads::checkpoints(&store, thread, after.as_deref(), limit).await;
    let mut page = counted(access, page, |page| page.cost)?;
    page.next = page.next.map(|next| cursor::write(access, &place, &next));
    Ok(page)
}

/// Reads the state of a thread at a checkpoint: the one with this id, or the newest.
pub(crate) async fn state(access: &Access, thread: &SessionId, id: Option<&str>) -> Result<(ThreadState, Cost), Problem> {
    let store = access.checkpoints().await?;
    let found = counted(access, threads::state(&store, thread, id).await, |found| found.cost)?;
    let state = found.value.ok_or_else(|| match id {
        Some(id) => Problem::not_found(format!("the thread {:?} has no checkpoint {id:?}", thread.as_str())),
        None => Problem::not_found(format!("no thread {:?}: a thread begins with its first checkpoint", thread.as_str())),
    })?;
    Ok((state, found.cost))
}

/// Deletes a thread with all its checkpoints, even if the client disconnects.
pub(crate) async fn delete(access: &Access, thread: &SessionId) -> Result<(), Problem> {
    let store = access.checkpoints().await?;
    let (within, thread) = (access.clone(), thread.clone());
    let work = async move { counted(&within, store.delete_thread(&thread).await, |cost| *cost).map(drop) };
    access.service.write(work).await
}

fn counted<T>(access: &Access, result: Result<T, Error>, cost: impl FnOnce(&T) -> Cost) -> Result<T, Problem> {
    let (outcome, spent) = match &result {
        Ok(done) => ("ok", cost(done)),
        Err(error) => (error.kind().as_str(), Cost::default()),
    };
    access.service.metrics().operation(Operation::Threads, outcome, spent);
    result.map_err(|e| access.problem(&e))
}
