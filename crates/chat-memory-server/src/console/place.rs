//! Which part of a session a page shows: its end, what is older, the surroundings of a record, or those of a date.
//!
//! Addresses name records by number, so they stay valid when the service restarts.

use axum::response::Redirect;
use chat_memory::store::{ChatStore, History, Load, PageCursor};
use chat_memory::{Error, SessionId, Timestamp};
use serde::Deserialize;

use super::costs::newest;
use super::page::{Refused, query, session_path};
use super::viewer::Viewer;
use crate::auth::Access;
use crate::extract::{Params, Session};
use crate::operations::{PAGE, cursor};
use crate::problem::Problem;

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
    /// The action that led to this page.
    pub(crate) done: Option<String>,
}

impl Part {
    /// Whether it is the end of the session, where new messages appear.
    pub(crate) fn is_end(&self) -> bool {
        self.before.is_none() && self.at.is_none()
    }

    pub(crate) async fn load(&self, access: &Access, session: &SessionId) -> Result<History, Error> {
        let store = &*access.store;
        if let Some(at) = self.at {
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
        "start" => 0,
        text => match (text.replace(',', "").parse(), date(text)) {
            (Ok(seq), _) => seq,
            (_, Some(date)) => {
                let found = since(&*viewer.access.store, &session, date).await;
                found.map_err(|e| viewer.access.problem(&e))?
            }
            _ => {
                let detail = format!(
                    "invalid place {text:?}: expected a record's number, or a date such as 2026-11-28 or 2026-11-28 14:30, in UTC"
                );
                return Err(Problem::bad_request(detail).into());
            }
        },
    };
    Ok(Redirect::to(&address_of(&session, to)))
}

/// Reads a date or a time, in UTC if it names no zone.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let date: Option<jiff::civil::DateTime> = text.parse().ok();
    let at = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok()).map(|at| at.timestamp());
    let at = text.parse::<jiff::Timestamp>().ok().or(at)?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

/// Finds the number of the first record from this time on, by bisection: records are nearly in the order of their times.
async fn since(store: &dyn ChatStore, session: &SessionId, time: Timestamp) -> Result<u64, Error> {
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
    Ok(low)
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
        for (millis, expected) in [(-5, 0), (1_000, 0), (17_000, 16), (17_001, 17), (99_000, 50)] {
            assert_eq!(since(&store, &session, Timestamp::from_millis(millis)).await.expect("in memory"), expected);
        }
    }

    #[test]
    fn dates_are_in_utc_unless_they_name_a_zone() {
        let millis = |text| date(text).map(Timestamp::as_millis);
        assert_eq!(millis("1970-01-02"), Some(86_400_000));
        assert_eq!(millis("1970-01-01 00:01"), Some(60_000));
        assert_eq!(millis("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(millis("yesterday"), None);
    }
}
