//! Search: sessions by title, id and owner, and their messages by words.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Capabilities, Cost, Record, SessionInfo};
use crate::entry::Entry;
use crate::error::Error;
use crate::message::{Message, Role};
use crate::session::{Owner, SessionId};
use crate::timestamp::Timestamp;

mod reading;
mod words;

pub use reading::{Reading, search_by_reading};
pub use words::{MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, Words};

/// How many hits a page has, unless the query says otherwise.
const PAGE_SIZE: usize = 20;

/// How many sessions a page reads at most, unless the query says otherwise.
const SESSIONS: usize = 100;

/// How many bytes of records a page reads before it ends, unless the query says otherwise.
const BYTES: u64 = 8_000_000;

/// Where to search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SearchScope {
    /// In all sessions, with and without owners. On DynamoDB this reads the whole table, page by page.
    #[default]
    All,
    /// In the sessions of this owner.
    Owner(Owner),
    /// In the sessions without an owner.
    Unowned,
    /// In this session.
    Session(SessionId),
}

/// What to search for.
///
/// A *word* is a run of letters and digits. It matches a word that begins with it, in any case, with or without the marks on Latin
/// letters: `zur` finds "Zürich". In a script without spaces between words, such as Chinese, it matches anywhere. A hit has all the
/// words: in the text of one message, or in the title, id and owner of a session. The text of an entry that is not a message is that of its
/// fields `content` and `text`, at any depth.
///
/// Only what a load would return is found: nothing that was taken back, cleared or deleted, or that has expired.
///
/// ```
/// use chat_memory::store::{Append, ChatStore, InMemoryStore, SearchQuery};
/// use chat_memory::{Message, SessionId};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (store, trip) = (InMemoryStore::new(), SessionId::new("trip")?);
/// store.append(&trip, &Append::new([Message::user("Where to?"), Message::assistant("To Lisbon, in May.")])).await?;
/// let page = store.search(&SearchQuery::new("may lisb")).await?;
/// assert_eq!((&page.hits[0].session.id, page.hits[0].snippet.text.as_str()), (&trip, "To Lisbon, in May."));
/// assert_eq!(page.hits[0].message.as_ref().map(|message| (message.seq, message.index)), Some((0, 1)));
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchQuery {
    /// The words, of up to [`MAX_SEARCH_BYTES`] bytes. May be empty if a time is given: then sessions are found, not messages.
    pub words: String,
    /// Where to search.
    pub scope: SearchScope,
    /// Only messages sent at this time or later, and sessions active since.
    pub since: Option<Timestamp>,
    /// Only messages sent before this time, and sessions that began before it.
    pub until: Option<Timestamp>,
    /// Search titles, ids and owners only, and read no messages.
    pub titles_only: bool,
    /// Up to this many hits per page; `None` means 20.
    pub limit: Option<usize>,
    /// Continues after the previous page: its [`next`](SearchPage::next).
    pub after: Option<String>,
    /// How many sessions a page reads at most where there is no index; 100 by default.
    pub max_sessions: usize,
    /// How many bytes of records a page reads before it ends where there is no index; 8 MB by default. A single read may exceed it.
    pub max_bytes: u64,
}

impl SearchQuery {
    /// Searches all sessions for these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            scope: SearchScope::All,
            since: None,
            until: None,
            titles_only: false,
            limit: None,
            after: None,
            max_sessions: SESSIONS,
            max_bytes: BYTES,
        }
    }

    /// Searches there only.
    #[must_use]
    pub fn within(self, scope: SearchScope) -> Self {
        Self { scope, ..self }
    }

    /// Finds only what was said at this time or later.
    #[must_use]
    pub fn since(self, since: impl Into<Option<Timestamp>>) -> Self {
        Self { since: since.into(), ..self }
    }

    /// Finds only what was said before this time.
    #[must_use]
    pub fn until(self, until: impl Into<Option<Timestamp>>) -> Self {
        Self { until: until.into(), ..self }
    }

    /// Searches titles, ids and owners only.
    #[must_use]
    pub fn titles_only(self) -> Self {
        Self { titles_only: true, ..self }
    }

    /// Returns at most this many hits per page.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Returns the page after the one that ended with this cursor.
    #[must_use]
    pub fn after(self, cursor: impl Into<String>) -> Self {
        Self { after: Some(cursor.into()), ..self }
    }

    /// Reads at most this many sessions and about this many bytes per page, where there is no index.
    #[must_use]
    pub fn reading_at_most(self, max_sessions: usize, max_bytes: u64) -> Self {
        Self { max_sessions, max_bytes, ..self }
    }

    /// Returns how many hits a page has at most: the limit, at least 1, or 20.
    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE_SIZE).max(1)
    }

    /// A number that differs for searches of other things, so that a cursor is not used for one.
    fn fingerprint(&self) -> u32 {
        let times = [self.since, self.until].map(|at| at.map(Timestamp::as_millis));
        let text = format!("{:?}", (&self.words, &self.scope, times, self.titles_only));
        text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

/// A page of hits.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct SearchPage {
    /// The hits: from an index the best first, sessions before messages; else as they were read, the newest of a session first.
    pub hits: Vec<SearchHit>,
    /// The cursor of the next page, which may have no hits; `None` after the last page.
    pub next: Option<String>,
    /// Whether an index was used, so that no session was read.
    pub indexed: bool,
    /// How many sessions were read.
    pub sessions: u64,
    /// What could not be searched: one sentence each, with the remedy.
    pub warnings: Vec<String>,
    /// What it cost.
    pub cost: Cost,
}

/// A session, or a message, that was found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SearchHit {
    /// The session. In a store without a directory only its id is known.
    pub session: SessionInfo,
    /// The message; `None` if the session's title, id or owner was found.
    pub message: Option<FoundMessage>,
    /// A part of the text, with the matches marked: of the message, or of the title, id or owner.
    pub snippet: Snippet,
}

/// Where a message was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundMessage {
    /// The number of its record.
    pub seq: u64,
    /// Its place among the record's entries, from 0.
    pub index: usize,
    /// Its author; `None` for an entry that is not a message.
    pub role: Option<Role>,
    /// When it was sent, or else stored; `None` if unknown.
    pub at: Option<Timestamp>,
}

/// A part of a text, on one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snippet {
    /// The text. White space is a single space, and `…` marks what was left out.
    pub text: String,
    /// The places of the matches in it, in bytes, in order.
    pub matches: Vec<Range<usize>>,
}

impl Snippet {
    /// Iterates over the parts of the text, each with whether it is a match.
    pub fn parts(&self) -> impl Iterator<Item = (&str, bool)> {
        let ends = self.matches.iter().flat_map(|place| [(place.start, false), (place.end, true)]);
        let mut at = 0;
        let parts = ends.chain([(self.text.len(), false)]).map(move |(end, is_match)| {
            let part = &self.text[at..end];
            at = end;
            (part, is_match)
        });
        parts.filter(|(part, _)| !part.is_empty())
    }
}

/// Where a page of a search ended. For store authors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
#[non_exhaustive]
pub enum SearchPlace {
    /// In a search that reads sessions.
    Reading(Reading),
    /// In a list of ranked hits.
    Ranked {
        /// Sessions passed.
        sessions: u64,
        /// Records passed, once all sessions were.
        records: u64,
        /// Hits passed in the record after those.
        hits: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Spelled {
    of: u32,
    #[serde(flatten)]
    place: SearchPlace,
}

impl SearchPlace {
    /// Returns where the query's previous page ended, if there is one.
    ///
    /// # Errors
    /// Invalid if the query's cursor is not one of a search for the same.
    pub fn of(query: &SearchQuery) -> Result<Option<Self>, Error> {
        let Some(text) = &query.after else { return Ok(None) };
        let spelled = BASE64.decode(text).ok().and_then(|json| serde_json::from_slice::<Spelled>(&json).ok());
        match spelled {
            Some(spelled) if spelled.of == query.fingerprint() => Ok(Some(spelled.place)),
            _ => Err(foreign()),
        }
    }

    /// Returns the cursor after this place.
    ///
    /// # Errors
    /// None: it can always be written.
    pub fn cursor(self, query: &SearchQuery) -> Result<String, Error> {
        let spelled = serde_json::to_vec(&Spelled { of: query.fingerprint(), place: self });
        spelled.map(|json| BASE64.encode(json)).map_err(|e| Error::invalid(format!("the cursor cannot be written ({e})")))
    }
}

fn foreign() -> Error {
    Error::invalid("invalid cursor: it belongs to another search; start from the first page")
}

/// Matches sessions and records against a query. For store authors.
#[derive(Debug)]
pub struct Matcher {
    words: Words,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// How precisely a session's last activity is known; `None` if it is not.
    precision: Option<Duration>,
    titles_only: bool,
}

impl Matcher {
    /// Creates the matcher for a query of a store with these capabilities.
    ///
    /// # Errors
    /// Invalid if the query has neither a word nor a time, as [`Words::parse`], or if its times are not in order.
    pub fn new(query: &SearchQuery, capabilities: &Capabilities) -> Result<Self, Error> {
        let words = Words::parse(&query.words)?;
        let (since, until) = (query.since, query.until);
        if words.is_empty() && since.is_none() && until.is_none() {
            return Err(Error::invalid("nothing to search for: give words, or a time"));
        }
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err(Error::invalid("nothing can be found: the search ends before it begins; give a later end"));
        }
        let titles_only = query.titles_only || words.is_empty();
        Ok(Self { words, since, until, precision: capabilities.last_activity, titles_only })
    }

    /// Returns the words.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Whether only titles, ids and owners are searched.
    pub fn titles_only(&self) -> bool {
        self.titles_only
    }

    /// Whether a session was active in the query's time, as far as is known.
    fn covers(&self, info: &SessionInfo) -> bool {
        !self.began_late(info) && !self.ended_early(info)
    }

    fn began_late(&self, info: &SessionInfo) -> bool {
        self.until.zip(info.created_at.known()).is_some_and(|(until, began)| began >= until)
    }

    fn ended_early(&self, info: &SessionInfo) -> bool {
        let known = self.since.zip(info.last_at).zip(self.precision);
        known.is_some_and(|((since, last), precision)| last < since - precision)
    }

    /// Whether a session may have messages of the query's time. Others need not be read.
    pub fn may_hold(&self, info: &SessionInfo) -> bool {
        // Where the last activity is not exact, one that equals the start may stand for none: of an import, whose messages are later.
        let is_known = self.precision == Some(Duration::ZERO) || info.last_at > Some(info.created_at);
        let ended_early = is_known && self.ended_early(info);
        !self.began_late(info) && !ended_early
    }

    /// Returns the hit if a session's title, id and owner have the words.
    pub fn session(&self, info: &SessionInfo) -> Option<SearchHit> {
        let mut seen = 0;
        let fields = [info.title.as_deref(), Some(info.id.as_str()), info.owner.as_ref().map(Owner::as_str)];
        let found: Vec<_> = fields.into_iter().flatten().map(|text| (text, self.words.look(text, &mut seen))).collect();
        if !self.words.is_all(seen) || !self.covers(info) {
            return None;
        }
        let shown = found.iter().find(|(_, places)| !places.is_empty()).or(found.first());
        let snippet = shown.map_or_else(Snippet::default, |(text, places)| Snippet::of(text, places));
        Some(SearchHit { session: info.clone(), message: None, snippet })
    }

    /// Returns the hits in a record of a session, the last message first.
    pub fn record(&self, info: &SessionInfo, record: &Record) -> Vec<SearchHit> {
        let hit = |(index, (entry, at)): (usize, (&Entry, Option<Timestamp>))| {
            let at = at.or(record.created_at.known());
            if self.since.is_some_and(|since| at.is_none_or(|at| at < since))
                || self.until.is_some_and(|until| at.is_none_or(|at| at >= until))
            {
                return None;
            }
            let text = text_of(entry);
            let places = self.words.find(&text)?;
            let message = FoundMessage { seq: record.seq, index, role: entry.as_message().map(|message| message.role), at };
            Some(SearchHit { session: info.clone(), message: Some(message), snippet: Snippet::of(&text, &places) })
        };
        let mut hits: Vec<_> = record.entries.iter().zip(record.entry_times()).enumerate().filter_map(hit).collect();
        hits.reverse();
        hits
    }
}

/// The text of an entry that is searched: a message's, or that of the fields `content` and `text` of any other entry.
fn text_of(entry: &Entry) -> String {
    let mut texts = Vec::new();
    match entry {
        Entry::Message(message) => return text_of_message(message),
        Entry::Other(fields) => collect(fields, &mut texts),
    }
    texts.join("\n")
}

fn text_of_message(message: &Message) -> String {
    let parts = message.parts();
    if parts.is_empty() {
        return message.text();
    }
    parts.iter().filter_map(crate::message::Part::as_text).collect::<Vec<_>>().join("\n")
}

/// Collects the texts under `content` and `text`. An entry nests 100 levels at most.
fn collect<'a>(fields: &'a Map<String, Value>, texts: &mut Vec<&'a str>) {
    fn of_value<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => collect(fields, texts),
            Value::Array(items) => items.iter().for_each(|item| of_value(item, texts)),
            _ => {}
        }
    }
    for (name, value) in fields {
        match value {
            Value::String(text) if matches!(name.as_str(), "content" | "text") => texts.push(text),
            value => of_value(value, texts),
        }
    }
}

impl fmt::Display for SearchScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all sessions"),
            Self::Owner(owner) => write!(f, "the sessions of {owner}"),
            Self::Unowned => f.write_str("the sessions without an owner"),
            Self::Session(session) => write!(f, "the session {session}"),
        }
    }
}
