//! Which part of a session a page shows: its end, what is older, the surroundings of a record, or those of a date.
//!
//! Addresses name records by number, so they stay valid when the service restarts.

use axum::response::Redirect;
use chat_memory::store::{ChatStore, History, Load, PageCursor};
use chat_memory::{Error, SessionId, Timestamp};
use serde::Deserialize;

use super::costs::newest;
use super::page::{Refused, number, query, session_path};
use super::viewer::Viewer;
use crate::auth::Access;
use crate::extract::{Params, Session};
use crate::operations::{PAGE, cursor};
use crate::problem::Problem;
use crate::time::date;

/// How many records after the wanted one a page shows.
const AFTER: u64 = 40;

/// The part of a session that an address names.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Part {
    /// What is older than the record with this number.
    before: Option<u64>,
    /// A signed cursor for the same: spares the store reading what is newer, as long as it is valid.
    cursor: Option<String>,
    /// The surroundings of the record with this number.
    at: Option<u64>,
    /// The same, whether or not the record is there.
    near: Option<u64>,
    /// The action that led to this page.
    pub(crate) done: Option<String>,
}

impl Part {
    /// Whether it is the end of the session, where new messages appear.
    pub(crate) fn is_end(&self) -> bool {
        self.before.is_none() && self.at.is_none() && self.near.is_none()
    }

    /// Says that the wanted record is not there, if the page that was read does not have it.
    pub(crate) fn missing(&self, page: &History) -> Option<String> {
        let at = self.at.filter(|at| page.records.iter().all(|record| record.seq != *at))?;
        Some(match page.position.next() {
            0 => format!("There is no record {}: this session has none.", number(at)),
            end if at >= end => format!("There is no record {}: the last one is record {}.", number(at), number(end - 1)),
            _ => format!("Record {} is no longer in this session. This page shows what is around it.", number(at)),
        })
    }

    pub(crate) async fn load(&self, access: &Access, session: &SessionId) -> Result<History, Error> {
        let store = &*access.store;
        if let Some(at) = self.at.or(self.near) {
            return around(store, session, at).await;
        }
        let load = newest(PAGE as u64);
        let Some(before) = self.before else { return store.load(session, &load).await };
        let quick = self.cursor.as_deref().and_then(|text| cursor::before(access, session, text).ok());
        store.load(session, &load.before(quick.unwrap_or_else(|| older_than(before)))).await
    }
}

/// The address of the page before this one.
pub(crate) fn older(access: &Access, session: &SessionId, page: &History) -> Option<String> {
    let cursor = cursor::of_older(access, session, page)?;
    let first = page.records.first()?.seq;
    Some(session_path(session, &format!("?before={first}&cursor={}", query(&cursor))))
}

/// The permanent address of a record, with those around it.
pub(crate) fn address_of(session: &SessionId, seq: u64) -> String {
    session_path(session, &format!("?at={seq}#r{seq}"))
}

/// The address of a place in a session, whether or not this record is still there.
pub(crate) fn address_near(session: &SessionId, seq: u64) -> String {
    session_path(session, &format!("?near={seq}#r{seq}"))
}

/// The cursor for what is older than this number, whatever was read before: it skips nothing, so it needs no knowledge of what is newer,
/// and the store reads that too.
pub(crate) fn older_than(seq: u64) -> PageCursor {
    PageCursor::new(0, seq, Timestamp::UNIX_EPOCH)
}

/// Loads the records around a number: if it was taken back, around the next one.
async fn around(store: &dyn ChatStore, session: &SessionId, at: u64) -> Result<History, Error> {
    let mut after = AFTER;
    loop {
        let end = at.saturating_add(after);
        let history = store.load(session, &newest(PAGE as u64).before(older_than(end))).await?;
        let last = history.records.last().map(|record| record.seq);
        if last.is_none_or(|last| last < at) && end < history.position.next() {
            after = after.saturating_mul(8);
            continue;
        }
        // Large records after the wanted one may have filled the page.
        if history.records.first().is_some_and(|first| first.seq > at) {
            let page = store.load(session, &newest(PAGE as u64).before(older_than(at.saturating_add(1)))).await?;
            if page.records.last().is_some_and(|record| record.seq == at) {
                return Ok(page);
            }
        }
        return Ok(history);
    }
}

/// Where to go: `start`, `end`, a record's number, or a date.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    #[serde(default)]
    to: String,
}

/// Redirects to a place in a session
pub(crate) async fn go(viewer: Viewer, Session(session): Session, Params(target): Params<Target>) -> Result<Redirect, Refused> {
    let to = match target.to.trim() {
        "" | "end" => return Ok(Redirect::to(&session_path(&session, ""))),
        "start" => address_near(&session, 0),
        text => match (text.replace(',', "").parse(), date(text)) {
            (Ok(seq), _) => address_of(&session, seq),
            (_, Some(date)) => {
                let found = since(&*viewer.access.store, &session, date).await;
                match found.map_err(|e| viewer.access.problem(&e))? {
                    Some(seq) => address_near(&session, seq),
                    None => session_path(&session, "?done=nothing-since"),
                }
            }
            _ => {
                let detail = format!(
                    "invalid place {text:?}: expected a record's number, or a date such as 2026-11-28 or 2026-11-28 14:30, in UTC"
                );
                return Err(Problem::bad_request(detail).into());
            }
        },
    };
    Ok(Redirect::to(&to))
}

/// Finds the number of the first record from this time on, if there is one, by bisection: records are nearly in the order of their times.
async fn since(store: &dyn ChatStore, session: &SessionId, time: Timestamp) -> Result<Option<u64>, Error> {
    let end = store.load(session, &Load::last(0)).await?.position;
    let (mut low, mut high) = (0, end.next());
    while low < high {
        let middle = low + (high - low) / 2;
        // What it returns may have been taken back since, and is not shown: only its time counts.
        let before = PageCursor::new(end.next(), middle + 1, end.read_at());
        let found = store.load(session, &Load::records(1).before(before)).await?;
        let at = found.records.last().map(|record| record.entry_times().flatten().next().or(record.created_at.known()));
        match at {
            Some(None) => {
                return Err(Error::invalid("no times in this session: its store does not keep them; give a record's number"));
            }
            Some(Some(at)) if at >= time => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok((low < end.next()).then_some(low))
}

#[cfg(test)]
mod tests {
    use chat_memory::store::{Append, InMemoryStore};
    use chat_memory::{Entry, Message};

    use super::*;

    async fn session(records: u64) -> (InMemoryStore, SessionId) {
        let (store, session) = (InMemoryStore::new(), SessionId::random());
        for n in 0..records {
            store.append(&session, &Append::new([Message::user(n.to_string())])).await.expect("in memory");
        }
        (store, session)
    }

    fn numbers(history: &History) -> Vec<u64> {
        history.records.iter().map(|record| record.seq).collect()
    }

    #[tokio::test]
    async fn page_around_a_record_has_the_record_and_what_surrounds_it() {
        let (store, session) = session(300).await;
        for (at, expected) in [(0, 0..40), (150, 90..190), (299, 200..300), (1_000, 200..300)] {
            assert_eq!(numbers(&around(&store, &session, at).await.expect("in memory")), expected.collect::<Vec<_>>(), "{at}");
        }
    }

    #[tokio::test]
    async fn page_around_a_record_never_shows_what_was_taken_back() {
        let (store, session) = session(300).await;
        let history = store.load(&session, &Load::all()).await.expect("in memory");
        store.append(&session, &Append::rewind(&history, 100, None::<Entry>).expect("a rewind")).await.expect("in memory");
        store.append(&session, &Append::new([Message::user("after")])).await.expect("in memory");
        for at in [50, 100, 150, 301] {
            let shown = numbers(&around(&store, &session, at).await.expect("in memory"));
            assert!(shown.iter().all(|seq| !(100..300).contains(seq)), "{at}: {shown:?}");
            assert_eq!(shown.contains(&301), at >= 100, "{at}: the page leads on to what follows");
        }
        let older = store.load(&session, &newest(10).before(older_than(200))).await.expect("in memory");
        assert_eq!(numbers(&older), (90..100).collect::<Vec<_>>());
        store.clear(&session).await.expect("in memory");
        assert_eq!(numbers(&around(&store, &session, 50).await.expect("in memory")), [302], "the clear alone");
    }

    #[tokio::test]
    async fn date_leads_to_its_first_record() {
        let (store, session) = (InMemoryStore::new(), SessionId::random());
        for n in 1..=50_i64 {
            let append = Append::new([Message::user(n.to_string())]).sent_at([Some(Timestamp::from_millis(n * 1_000))]);
            store.append(&session, &append).await.expect("in memory");
        }
        for (millis, expected) in [(-5, Some(0)), (1_000, Some(0)), (17_000, Some(16)), (17_001, Some(17)), (99_000, None)] {
            assert_eq!(since(&store, &session, Timestamp::from_millis(millis)).await.expect("in memory"), expected);
        }
    }
}
