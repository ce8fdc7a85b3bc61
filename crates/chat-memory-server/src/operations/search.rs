//! Search of sessions and messages.

use chat_memory::store::{ChatStore as _, SearchPage, SearchQuery};

use super::cursor;
use crate::auth::Access;
use crate::metrics::Operation;
use crate::problem::Problem;

/// What a request reads at most where the store has no index, so that it is answered in time: sessions, and bytes of records.
const SESSIONS: usize = 50;
const BYTES: u64 = 4_000_000;

/// Returns a page of what a search of the key's namespace finds. Takes and returns signed cursors. A page without an index may have few hits,
/// or none, and yet a next one.
pub(crate) async fn search(access: &Access, query: SearchQuery, after: Option<&str>) -> Result<SearchPage, Problem> {
    const PLACE: &str = "search";
    let mut query = query.reading_at_most(SESSIONS, BYTES);
    query.after = after.map(|text| cursor::read(access, PLACE, text)).transpose()?;
    let page = access.store.search(&query).await;
    let mut page = page.map_err(|e| access.problem_of(&e, Operation::Search))?;
    for warning in &page.warnings {
        tracing::warn!(warning, "a search");
    }
    page.next = page.next.map(|next| cursor::write(access, PLACE, &next));
    Ok(page)
}
