//! Reading a session: windows, and what is newer than a position.

use chat_memory::memory::{Limit, Policy, RecallRecords, recall_records};
use chat_memory::store::{ChatStore as _, History, Load, Position, Record};
use chat_memory::{Error, SessionId};
use tracing::Instrument as _;

use crate::auth::Access;
use crate::problem::Problem;

/// Reads a window of a session.
pub(crate) async fn recall(access: &Access, session: &SessionId, policy: Policy, load: Load) -> Result<RecallRecords, Problem> {
    if !matches!(policy.limit(), Limit::Tokens { .. }) {
        return recall_records(&*access.store, session, &policy, load).await.map_err(|e| access.problem(&e));
    }
    // Counting long messages takes seconds of CPU time, so it runs off the threads that serve requests.
    let (within, of, runtime) = (access.clone(), session.clone(), tokio::runtime::Handle::current());
    let work = async move { recall_records(&*within.store, &of, &policy, load).await.map_err(|e| within.problem(&e)) };
    let work = work.in_current_span();
    tokio::task::spawn_blocking(move || runtime.block_on(work)).await.unwrap_or_else(|e| {
        tracing::error!(error = %e, "counting tokens failed");
        Err(Problem::internal())
    })
}

/// Reads the records from number `since` on, until `limit` messages are reached, or `limit` records if all `entries` are wanted; and the
/// position after them if there are more.
pub(crate) async fn newer(
    access: &Access,
    session: &SessionId,
    since: u64,
    limit: usize,
    entries: bool,
    load: Load,
) -> Result<(History, Option<Position>), Problem> {
    let load = load.since(since);
    let mut history = access.store.load(session, &load).await.map_err(|e: Error| access.problem(&e))?;
    if history.position.next() < since {
        return Err(Problem::invalid("outdated position: the session was restarted since; read it again with after=start"));
    }
    let next = cut(&mut history, limit, entries);
    Ok((history, next))
}

/// Keeps the oldest records up to `limit` messages or records; returns the position after them if any are left.
fn cut(history: &mut History, limit: usize, entries: bool) -> Option<Position> {
    let mut count = 0;
    let full = history.records.iter().position(|record| {
        count += if entries { 1 } else { record.messages().count() };
        count >= limit
    })?;
    let more = full + 1 < history.records.len();
    history.records.truncate(full + 1);
    more.then(|| behind(&history.records[full], &history.position))
}

/// The position after a record, with the age of the read that returned it.
pub(super) fn behind(record: &Record, read: &Position) -> Position {
    Position::new(record.seq + 1, Some(record.append_id), read.read_at())
}
