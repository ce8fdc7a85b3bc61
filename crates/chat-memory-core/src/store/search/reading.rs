//! Search without an index: lists the sessions and reads them, page by page, within a budget.

use serde::{Deserialize, Serialize};

use super::{Matcher, SearchPage, SearchPlace, SearchQuery, SearchScope, foreign};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::{ChatStore, History, Load, PageCursor, SessionInfo, SessionPage, SessionQuery};
use crate::timestamp::Timestamp;

/// Records per load.
const RECORDS: usize = 64;

/// Pages of the list of sessions that a page of the search reads at most.
const LISTS: usize = 10;

/// Where a search that reads sessions stopped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The cursor of the page of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<String>,
    /// The last session of that page that is done: its start and its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<(Timestamp, String)>,
    /// The session after it, if part of it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inside: Option<Inside>,
}

/// A session of which a part is done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Inside {
    id: String,
    /// The cursor of the page of records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    /// The record and entry of the last hit on that page; all from there on are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hit: Option<(u64, usize)>,
}

/// Searches by listing the sessions and reading them, newest first. This is what [`ChatStore::search`] does in a store without an
/// index.
///
/// A page ends when it has its hits, has read the query's [`max_sessions`](SearchQuery::max_sessions) or
/// [`max_bytes`](SearchQuery::max_bytes), or 10 pages of the list. The next one continues where it ended, in what is there then. Each
/// hit comes once, unless the session at which a page ended is deleted in a list without an order. A session that cannot be read
/// is named in a warning.
///
/// # Errors
/// Invalid if the query is; otherwise as [`ChatStore::load`], [`ChatStore::sessions`] and [`ChatStore::list_all_sessions`].
pub async fn search_by_reading<S: ChatStore + ?Sized>(store: &S, query: &SearchQuery) -> Result<SearchPage, Error> {
    let matcher = Matcher::new(query, &store.capabilities())?;
    let place = match SearchPlace::of(query)? {
        None => Reading::default(),
        Some(SearchPlace::Reading(place)) => place,
        Some(_) => return Err(foreign()),
    };
    let mut search = Search { store, query, matcher, place, page: SearchPage::default(), bytes: 0 };
    let is_over = search.run().await?;
    let Search { place, mut page, .. } = search;
    page.next = if is_over { None } else { Some(SearchPlace::Reading(place).cursor(query)?) };
    Ok(page)
}

struct Search<'a, S: ?Sized> {
    store: &'a S,
    query: &'a SearchQuery,
    matcher: Matcher,
    place: Reading,
    page: SearchPage,
    bytes: u64,
}

impl<S: ChatStore + ?Sized> Search<'_, S> {
    /// Fills the page. Returns whether there is nothing left to search.
    async fn run(&mut self) -> Result<bool, Error> {
        for _ in 0..LISTS {
            let list = self.list().await?;
            self.page.cost += list.cost;
            self.page.warnings.extend(list.warnings);
            let left = self.left(&list.sessions);
            for info in &list.sessions[left..] {
                if self.is_full() || !self.search(info).await? {
                    return Ok(false);
                }
                (self.place.done, self.place.inside) = (Some((info.created_at, info.id.to_string())), None);
            }
            if list.next.is_none() {
                return Ok(true);
            }
            self.place = Reading { list: list.next, ..Reading::default() };
        }
        Ok(false)
    }

    async fn list(&self) -> Result<SessionPage, Error> {
        let after = self.place.list.as_deref();
        let mut query = match &self.query.scope {
            SearchScope::All => return self.store.list_all_sessions(after).await,
            SearchScope::Owner(owner) => SessionQuery::of(owner.clone()),
            SearchScope::Unowned => SessionQuery::unowned(),
            SearchScope::Session(session) if !self.store.capabilities().directory => {
                return Ok(SessionPage::new(vec![SessionInfo::new(session.clone(), Timestamp::UNIX_EPOCH)], None));
            }
            SearchScope::Session(session) => {
                let listed = self.store.session(session).await?;
                return Ok(SessionPage::new(listed.into_iter().collect(), None));
            }
        };
        query.after = after.map(str::to_owned);
        self.store.sessions(&query).await
    }

    /// Returns how many sessions of this page of the list are done.
    fn left(&self, sessions: &[SessionInfo]) -> usize {
        let Some((at, id)) = &self.place.done else { return 0 };
        if let Some(done) = sessions.iter().position(|info| info.id.as_str() == id) {
            return done + 1;
        }
        // It was deleted. What follows it is known if the list has an order.
        if self.query.scope == SearchScope::All {
            return 0;
        }
        sessions.iter().take_while(|info| (info.created_at, info.id.as_str()) > (*at, id.as_str())).count()
    }

    fn is_full(&self) -> bool {
        let query = self.query;
        let read = usize::try_from(self.page.sessions).unwrap_or(usize::MAX);
        self.page.hits.len() >= query.page_size() || read >= query.max_sessions.max(1) || self.bytes >= query.max_bytes.max(1)
    }

    /// Searches a session. Returns whether it is done.
    async fn search(&mut self, info: &SessionInfo) -> Result<bool, Error> {
        let begun = self.place.inside.take().filter(|inside| inside.id == info.id.as_str());
        if begun.is_none() {
            self.page.hits.extend(self.matcher.session(info));
        }
        if self.matcher.titles_only() || !self.matcher.may_hold(info) {
            return Ok(true);
        }
        let mut inside = begun.unwrap_or_else(|| Inside { id: info.id.to_string(), ..Inside::default() });
        if self.page.hits.len() >= self.query.page_size() {
            self.place.inside = Some(inside);
            return Ok(false);
        }
        self.page.sessions += 1;
        loop {
            let history = match self.load(&info.id, inside.page.as_deref()).await {
                Ok(history) => history,
                Err(error) if error.is_corrupt() || error.is_unsupported() => {
                    self.page.warnings.push(format!("session {:?} was not searched: {error}", info.id.as_str()));
                    return Ok(true);
                }
                Err(error) => return Err(error),
            };
            let older = history.older().filter(|_| !history.records.is_empty());
            for record in history.records.iter().rev() {
                for hit in self.matcher.record(info, record) {
                    let Some(found) = hit.message else { continue };
                    let at = (found.seq, found.index);
                    if inside.hit.is_some_and(|last| at >= last) {
                        continue;
                    }
                    if self.page.hits.len() >= self.query.page_size() {
                        self.place.inside = Some(inside);
                        return Ok(false);
                    }
                    inside.hit = Some(at);
                    self.page.hits.push(hit);
                }
            }
            let Some(older) = older else { return Ok(true) };
            (inside.page, inside.hit) = (Some(older.to_string()), None);
            if self.bytes >= self.query.max_bytes.max(1) || self.page.hits.len() >= self.query.page_size() {
                self.place.inside = Some(inside);
                return Ok(false);
            }
        }
    }

    /// Loads a page of records.
    async fn load(&mut self, session: &SessionId, before: Option<&str>) -> Result<History, Error> {
        let mut load = Load::records(RECORDS);
        load.before = before.map(str::parse::<PageCursor>).transpose()?;
        let history = self.store.load(session, &load).await?;
        self.page.cost += history.cost;
        // Not every store counts the bytes that it reads.
        let texts: usize = history.messages().map(|message| message.text().len()).sum();
        self.bytes += history.cost.bytes.max(texts as u64);
        Ok(history)
    }
}
