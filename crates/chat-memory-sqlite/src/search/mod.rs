//! Search: titles, ids and owners by reading the rows of sessions; text by the index, best first.
//!
//! The index finds records that may have the words. Whether one has, and whether it is in view, the record and its session's log decide.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::failure::Failure;
use crate::listing;
use crate::log::{self, Transaction};
use chat_memory_core::backend::{Matcher, SearchPlace};
use chat_memory_core::error::Error;
use chat_memory_core::store::{Cost, SearchHit, SearchPage, SearchQuery, SearchScope};
use chat_memory_core::{Owner, Timestamp};

pub(crate) mod index;

/// How many records of the ranking a page looks at.
const CANDIDATES: u64 = 1_000;

/// The records with the words, best first, and the newest first among equals: as the numbers under which they are indexed.
pub(crate) const RANKED: &str = "SELECT f.rowid FROM search f
     CROSS JOIN records r ON r.session = f.rowid >> 32 AND r.seq = f.rowid & 4294967295
     CROSS JOIN sessions s ON s.key = r.session
     WHERE search MATCH ?1 AND s.created_at IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > ?2)
     AND (r.expires_at IS NULL OR r.expires_at > ?2) AND (?3 = 0 OR s.owner IS ?4) AND f.rowid >= ?5 AND f.rowid <= ?6
     ORDER BY f.rank, r.created_at DESC, f.rowid DESC LIMIT ?7 OFFSET ?8";

/// The records of a session that take others back, or clear.
pub(crate) const REWINDS: &str = "SELECT seq, rewind FROM records WHERE session = ?1 AND rewind IS NOT NULL ORDER BY seq DESC";

/// Searches with the index, or titles only. `None` if the search has to read the sessions.
pub(crate) fn page(
    db: &Connection,
    query: &SearchQuery,
    matcher: &Matcher,
    place: Option<SearchPlace>,
    now: Timestamp,
) -> Result<Option<SearchPage>, Failure> {
    let _transaction = Transaction::to_read(db)?;
    let words = if matcher.titles_only() { Some(None) } else { matcher.words().for_index().map(phrases).map(Some) };
    let Some(words) =
        words.filter(|words| words.is_none() || index::state(db).is_ok_and(|state| state == index::State::Complete))
    else {
        return Ok(None);
    };
    let (sessions, records, hits) = match place {
        Some(SearchPlace::Ranked { sessions, records, hits }) => (sessions, records, hits),
        _ => (0, 0, 0),
    };
    let mut page = SearchPage::default();
    (page.cost, page.indexed) = (Cost::new(1, 0), true);
    let mut search = Ranked { db, query, matcher, now, sessions, records, hits, rewinds: HashMap::new() };
    let is_over = search.add_sessions(&mut page)? && words.map_or(Ok(true), |words| search.add_records(&words, &mut page))?;
    if !is_over {
        let place = SearchPlace::Ranked { sessions: search.sessions, records: search.records, hits: search.hits };
        page.next = Some(place.cursor(query)?);
    }
    Ok(Some(page))
}

/// The words in the language of FTS5: all of them, each as the beginning of a word. They are letters and digits, and need no escape.
fn phrases<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("\"{word}\" *")).collect::<Vec<_>>().join(" ")
}

struct Ranked<'a> {
    db: &'a Connection,
    query: &'a SearchQuery,
    matcher: &'a Matcher,
    now: Timestamp,
    /// Passed so far: sessions, records, and hits in the record after those.
    sessions: u64,
    records: u64,
    hits: u64,
    rewinds: HashMap<i64, Vec<(u64, u64)>>,
}

impl Ranked<'_> {
    /// Adds the sessions whose title, id and owner have the words, newest first. Returns whether all were looked at.
    fn add_sessions(&mut self, page: &mut SearchPage) -> Result<bool, Failure> {
        let (by_owner, owner) = self.owner();
        let one = if let SearchScope::Session(session) = &self.query.scope { Some(session.as_str()) } else { None };
        let mut query = self.db.prepare_cached(listing::SEARCHED)?;
        let mut rows = query.query(params![self.now.as_secs(), by_owner, owner, one, self.sessions])?;
        while let Some(row) = rows.next()? {
            match listing::info(row) {
                Ok(info) => {
                    if let Some(mut hit) = self.matcher.session(&info) {
                        if page.hits.len() >= self.query.page_size() {
                            return Ok(false);
                        }
                        // Only of what is found: it takes reads of its own.
                        hit.session = listing::info_with_contents(self.db, row, self.now)?;
                        page.hits.push(hit);
                    }
                }
                Err(failure) => page.warnings.push(unsearched(failure)?),
            }
            self.sessions += 1;
        }
        Ok(true)
    }

    /// Adds the messages that have the words. Returns whether all were looked at.
    fn add_records(&mut self, words: &str, page: &mut SearchPage) -> Result<bool, Failure> {
        let (by_owner, owner) = self.owner();
        let (from, to) = match &self.query.scope {
            SearchScope::Session(session) => {
                let mut key = self.db.prepare_cached("SELECT key FROM sessions WHERE id = ?1")?;
                let key: Option<i64> = key.query_row([session.as_str()], |row| row.get(0)).optional()?;
                let Some(key) = key.filter(|key| *key < 1 << 31) else { return Ok(true) };
                (key << 32, key << 32 | 0xffff_ffff)
            }
            _ => (0, i64::MAX),
        };
        let mut query = self.db.prepare_cached(RANKED)?;
        let found = query
            .query_map(params![words, self.now.as_secs(), by_owner, owner, from, to, CANDIDATES, self.records], |row| row.get(0))?
            .collect::<Result<Vec<i64>, _>>()?;
        let is_last = (found.len() as u64) < CANDIDATES;
        for place in found {
            let (key, seq) = (place >> 32, u64::try_from(place & 0xffff_ffff).unwrap_or_default());
            if self.is_in_view(key, seq)? {
                let mut hits = match self.hits(key, seq, page) {
                    Ok(hits) => hits,
                    Err(failure) => {
                        page.warnings.push(unsearched(failure)?);
                        Vec::new()
                    }
                };
                hits.drain(..usize::try_from(self.hits).unwrap_or(usize::MAX).min(hits.len()));
                for hit in hits {
                    if page.hits.len() >= self.query.page_size() {
                        return Ok(false);
                    }
                    page.hits.push(hit);
                    self.hits += 1;
                }
            }
            (self.records, self.hits) = (self.records + 1, 0);
        }
        Ok(is_last)
    }

    fn owner(&self) -> (bool, Option<&str>) {
        match &self.query.scope {
            SearchScope::Owner(owner) => (true, Some(Owner::as_str(owner))),
            SearchScope::Unowned => (true, None),
            _ => (false, None),
        }
    }

    /// Returns the hits in a record.
    fn hits(&self, key: i64, seq: u64, page: &mut SearchPage) -> Result<Vec<SearchHit>, Failure> {
        let mut query = self.db.prepare_cached(listing::BY_KEY)?;
        let mut rows = query.query(params![self.now.as_secs(), key])?;
        let Some(row) = rows.next()? else { return Ok(Vec::new()) };
        let info = listing::info_with_contents(self.db, row, self.now)?;
        if !self.matcher.may_hold(&info) {
            return Ok(Vec::new());
        }
        let Some((record, bytes)) = log::record(self.db, key, seq, info.id.as_str())? else { return Ok(Vec::new()) };
        page.cost.bytes += bytes;
        Ok(self.matcher.record(&info, &record))
    }

    /// Whether a load of the whole session returns this record. It follows the rewinds from the newest on, as a load does.
    fn is_in_view(&mut self, key: i64, seq: u64) -> Result<bool, Failure> {
        if !self.rewinds.contains_key(&key) {
            let mut query = self.db.prepare_cached(REWINDS)?;
            let rewinds = query.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
            self.rewinds.insert(key, rewinds);
        }
        let mut at = u64::MAX;
        for (from, to) in self.rewinds.get(&key).into_iter().flatten().take_while(|(from, _)| *from > seq) {
            // One that was itself taken back counts for nothing.
            if *from <= at {
                match to.checked_sub(1) {
                    Some(below) if below >= seq => at = below,
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

/// The warning for what cannot be read, such as a damaged record; other failures end the search.
fn unsearched(failure: Failure) -> Result<String, Failure> {
    match failure {
        Failure::Record { session, seq, why } => Ok(format!("record {seq} of session {session:?} was not searched: it {why}")),
        Failure::Final(error) if error.is_corrupt() || error.is_unsupported() => Ok(Error::to_string(&error)),
        failure => Err(failure),
    }
}
