//! The directory: lists sessions, with their owners, titles and metadata.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Append, Cost};
use crate::entry::Entry;
use crate::error::Error;
use crate::json;
use crate::message::Message;
use crate::session::{Owner, SessionId};
use crate::timestamp::Timestamp;

/// The longest title, in bytes.
pub const MAX_TITLE_BYTES: usize = 1024;

/// The largest session metadata, in bytes of JSON. It is kept small because lists return it in full.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;

/// How many sessions a page of a list has, unless the query says otherwise.
const PAGE_SIZE: usize = 100;

/// The longest first words of a session, in characters.
const FIRST_WORDS: usize = 100;

/// A session as listed in the directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session.
    pub id: SessionId,
    /// Its owner.
    pub owner: Option<Owner>,
    /// Its title.
    pub title: Option<String>,
    /// The caller's metadata.
    pub metadata: Option<Map<String, Value>>,
    /// When its first record was written.
    pub created_at: Timestamp,
    /// When something was last appended, to the precision that the store declares in
    /// [`Capabilities::last_activity`](super::Capabilities::last_activity). `None` if unknown.
    pub last_at: Option<Timestamp>,
    /// How many records it has since its last clear, those that were taken back included: exactly, or at least, as
    /// [`records_exact`](Self::records_exact) says. On DynamoDB, a number that is not exact counts cleared records, too. `None` if unknown.
    pub records: Option<u64>,
    /// Whether [`records`](Self::records) is the number now. If not, it is the number at an earlier time, as far as a list knows without
    /// reading the session; [`ChatStore::read_contents`](super::ChatStore::read_contents) reads it.
    #[serde(default)]
    pub records_exact: bool,
    /// The beginning of its first user's message in view, up to 100 characters on one line. `None` if there is none, or if the
    /// store does not read records to list sessions; [`ChatStore::read_contents`](super::ChatStore::read_contents) then may.
    pub first_words: Option<String>,
}

impl SessionInfo {
    /// Creates the entry of a session that started at this time, with nothing else known.
    pub fn new(id: SessionId, created_at: Timestamp) -> Self {
        Self {
            id,
            owner: None,
            title: None,
            metadata: None,
            created_at,
            last_at: None,
            records: None,
            records_exact: false,
            first_words: None,
        }
    }

    /// Creates the entry of a session that this append starts at `now`.
    pub fn started_by(id: SessionId, append: &Append, now: Timestamp) -> Self {
        let (created_at, title) = (append.starts_at(now), append.title().map(str::to_owned));
        let last_at = Some(append.active_at(now).max(created_at));
        let info = Self::new(id, created_at).with_owner(append.owner().cloned()).with_title(title).with_last_at(last_at);
        info.with_metadata(append.session_metadata().cloned())
    }

    /// Sets the owner.
    #[must_use]
    pub fn with_owner(self, owner: Option<Owner>) -> Self {
        Self { owner, ..self }
    }

    /// Sets the title. An empty title, which earlier builds stored, is none.
    #[must_use]
    pub fn with_title(self, title: Option<String>) -> Self {
        Self { title: title.filter(|title| !title.is_empty()), ..self }
    }

    /// Sets the caller's metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Option<Map<String, Value>>) -> Self {
        Self { metadata, ..self }
    }

    /// Sets when something was last appended.
    #[must_use]
    pub fn with_last_at(self, last_at: Option<Timestamp>) -> Self {
        Self { last_at, ..self }
    }

    /// Sets how many records it has now.
    #[must_use]
    pub fn with_records(self, records: Option<u64>) -> Self {
        Self { records, records_exact: records.is_some(), ..self }
    }

    /// Sets how many records it had at an earlier time.
    #[must_use]
    pub fn with_records_at_least(self, records: Option<u64>) -> Self {
        Self { records, records_exact: false, ..self }
    }

    /// Sets its first words.
    #[must_use]
    pub fn with_first_words(self, first_words: Option<String>) -> Self {
        Self { first_words, ..self }
    }
}

/// The order of a list of sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SessionOrder {
    /// By start, newest first.
    #[default]
    Started,
    /// By last activity, newest first, as in the sidebar of a chat application.
    Recent,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionQuery {
    /// Sessions of this owner; `None` lists sessions without an owner.
    pub owner: Option<Owner>,
    /// Sessions of all owners and without one, whatever [`owner`](Self::owner) says, in a store that
    /// [can](super::Capabilities::any_owner).
    pub any_owner: bool,
    /// Up to this many per page; `None` means 100.
    pub limit: Option<usize>,
    /// Continues after the previous page: its [`next`](SessionPage::next).
    pub after: Option<String>,
    /// The order to list in.
    pub order: SessionOrder,
    /// Also lists sessions that have expired and are not erased yet.
    pub expired: bool,
}

impl SessionQuery {
    /// Lists the sessions without an owner.
    pub fn unowned() -> Self {
        Self::default()
    }

    /// Lists the sessions of this owner.
    pub fn of(owner: Owner) -> Self {
        Self { owner: Some(owner), ..Self::default() }
    }

    /// Lists the sessions of all owners and those without one, in the query's order. Only a store with
    /// [`Capabilities::any_owner`](super::Capabilities::any_owner) can; in all others,
    /// [`list_all_sessions`](super::ChatStore::list_all_sessions) lists them in no order.
    ///
    /// ```
    /// use chat_memory::store::{Append, ChatStore, InMemoryStore, SessionQuery};
    /// use chat_memory::{Message, Owner, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let store = InMemoryStore::new();
    /// let hello = Append::new([Message::user("Hello")]);
    /// store.append(&SessionId::new("trip")?, &hello.clone().with_owner(Owner::new("ada")?)).await?;
    /// store.append(&SessionId::new("cake")?, &hello).await?;
    /// let page = store.sessions(&SessionQuery::of_any_owner().recent()).await?;
    /// assert_eq!(page.sessions.len(), 2);
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_any_owner() -> Self {
        Self { any_owner: true, ..Self::default() }
    }

    /// Whether it lists this session, as far as its owner decides.
    pub fn includes(&self, info: &SessionInfo) -> bool {
        self.any_owner || info.owner == self.owner
    }

    /// Returns at most this many sessions per page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Returns the page after the one that ended with this cursor.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<String>) -> Self {
        self.after = Some(cursor.into());
        self
    }

    /// Sorts by last activity instead of by start.
    ///
    /// Across pages, each session is returned at most once. A session that is written to in the meantime moves to the top, ahead
    /// of the pages already read: read the first page again to see it there. All others are returned exactly once.
    ///
    /// ```
    /// use chat_memory::store::{Append, ChatStore, InMemoryStore, SessionQuery};
    /// use chat_memory::{Message, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let store = InMemoryStore::new();
    /// let trip = SessionId::new("trip")?;
    /// store.append(&trip, &Append::new([Message::user("Where should we go in May?")])).await?;
    /// let page = store.sessions(&SessionQuery::unowned().recent().limit(20)).await?;
    /// assert_eq!(page.sessions[0].id, trip);
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recent(mut self) -> Self {
        self.order = SessionOrder::Recent;
        self
    }

    /// Also lists sessions that have expired, as long as the store still knows them: to [delete](super::ChatStore::delete) them, for
    /// nothing else shows them.
    #[must_use]
    pub fn with_expired(mut self) -> Self {
        self.expired = true;
        self
    }

    /// Returns how many sessions a page has at most: the limit, at least 1, or 100.
    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE_SIZE).max(1)
    }

    /// Parses the cursor given in [`after`](Self::after).
    ///
    /// # Errors
    /// Invalid if it is not the cursor of a list in this order.
    pub fn cursor(&self) -> Result<Option<Cursor>, Error> {
        let Some(text) = &self.after else { return Ok(None) };
        let cursor: Cursor = text.parse()?;
        if cursor.order != self.order {
            return Err(Error::invalid("invalid cursor: it belongs to a list in another order; start from the first page"));
        }
        Ok(Some(cursor))
    }
}

/// A page of the directory.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionInfo>,
    /// The cursor of the next page; `None` after the last page.
    pub next: Option<String>,
    /// What the store holds but cannot list, or cannot read with these settings: one sentence each, with the remedy.
    pub warnings: Vec<String>,
    /// The actual order of the sessions: by start if the store cannot sort this many by last activity. A list of all sessions has
    /// no order.
    pub order: SessionOrder,
    /// What it cost.
    pub cost: Cost,
}

impl SessionPage {
    /// Creates a page of these sessions, sorted by start.
    pub fn new(sessions: Vec<SessionInfo>, next: Option<String>) -> Self {
        Self { sessions, next, warnings: Vec::new(), order: SessionOrder::Started, cost: Cost::default() }
    }

    /// Creates the page that the query asks for, of all the sessions that it may list: sorts them, skips those before the cursor and
    /// those after the page.
    ///
    /// # Errors
    /// Invalid if the query's cursor is not of a list in this order.
    pub fn of(mut sessions: Vec<SessionInfo>, query: &SessionQuery) -> Result<Self, Error> {
        let (after, order) = (query.cursor()?, query.order);
        sessions.retain(|info| after.as_ref().is_none_or(|after| after.is_before(info)));
        sessions.sort_by(|a, b| (place(b, order), &b.id).cmp(&(place(a, order), &a.id)));
        let is_last = sessions.len() <= query.page_size();
        sessions.truncate(query.page_size());
        let next = sessions.last().filter(|_| !is_last).map(|info| Cursor::after(info, order).to_string());
        Ok(Self::new(sessions, next).in_order(order))
    }

    /// Sets what it cost.
    #[must_use]
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// Sets the order of the page.
    #[must_use]
    pub fn in_order(mut self, order: SessionOrder) -> Self {
        self.order = order;
        self
    }
}

/// A change to a session's title and metadata. `None` leaves a field as it is, `Some(None)` removes it.
///
/// ```
/// use chat_memory::store::SessionUpdate;
/// let renamed = SessionUpdate::default().with_title("Lisbon".to_owned());
/// let untitled = SessionUpdate::default().with_title(None);
/// assert_ne!(renamed, untitled);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct SessionUpdate {
    /// The title.
    pub title: Option<Option<String>>,
    /// The caller's metadata, replaced as a whole.
    pub metadata: Option<Option<Map<String, Value>>>,
}

impl SessionUpdate {
    /// Replaces the title, or removes it. An empty title removes it, too.
    #[must_use]
    pub fn with_title(self, title: impl Into<Option<String>>) -> Self {
        Self { title: Some(title.into().filter(|title| !title.is_empty())), ..self }
    }

    /// Replaces the caller's metadata, or removes it.
    #[must_use]
    pub fn with_metadata(self, metadata: impl Into<Option<Map<String, Value>>>) -> Self {
        Self { metadata: Some(metadata.into()), ..self }
    }

    /// Changes a session's entry.
    pub fn apply(&self, info: &mut SessionInfo) {
        if let Some(title) = &self.title {
            info.title.clone_from(title);
        }
        if let Some(metadata) = &self.metadata {
            info.metadata.clone_from(metadata);
        }
    }

    /// Checks whether any store may accept this change. Stores call this first.
    ///
    /// # Errors
    /// Invalid if the title is not valid (see [`check_title`]), or if the metadata is larger than [`MAX_METADATA_BYTES`] or too
    /// deeply nested to be read back.
    pub fn check(&self) -> Result<(), Error> {
        self.title.iter().flatten().try_for_each(|title| check_title(title))?;
        self.metadata.iter().flatten().try_for_each(check_metadata)
    }
}

/// Checks whether metadata may be stored with a record.
///
/// # Errors
/// Invalid if it is too deeply nested.
pub fn check_record_metadata(fields: &Map<String, Value>) -> Result<(), Error> {
    // The object that holds the fields is itself a level.
    if fields.values().map(json::depth).max() >= Some(json::MAX_DEPTH) {
        return Err(Error::invalid(json::too_deep("metadata")));
    }
    Ok(())
}

/// Checks whether session metadata may be stored.
///
/// # Errors
/// Invalid if it is too large or too deeply nested.
pub fn check_metadata(fields: &Map<String, Value>) -> Result<(), Error> {
    check_record_metadata(fields)?;
    let bytes = serde_json::to_string(fields).map_or(0, |text| text.len());
    if bytes > MAX_METADATA_BYTES {
        return Err(Error::invalid(format!(
            "session metadata too large: it has {bytes} bytes of JSON, and the limit is {MAX_METADATA_BYTES}; \
             store the larger part as the metadata of a record, or elsewhere"
        )));
    }
    Ok(())
}

/// Where a page of the directory ended: the sort key of its last session. The key outlives the session, so a list continues from
/// there even if the session was deleted in the meantime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The order of the list.
    pub order: SessionOrder,
    /// When the session started, or its last activity: what the list is sorted by.
    pub at: Timestamp,
    /// The session's id.
    pub id: String,
    /// Whether the list is sorted by start because it was too long for the requested order.
    pub by_start: bool,
}

impl Cursor {
    /// Returns the cursor after this session in a list in this order.
    pub fn after(info: &SessionInfo, order: SessionOrder) -> Self {
        Self { order, at: place(info, order), id: info.id.to_string(), by_start: order == SessionOrder::Started }
    }

    /// Returns the cursor after this session in a list by start that was requested in this order.
    pub fn after_by_start(info: &SessionInfo, order: SessionOrder) -> Self {
        Self { order, ..Self::after(info, SessionOrder::Started) }
    }

    /// Whether this session comes after the cursor, newest first.
    pub fn is_before(&self, info: &SessionInfo) -> bool {
        (place(info, self.order), info.id.as_str()) < (self.at, self.id.as_str())
    }
}

/// Returns the time by which a session is sorted in this order.
pub fn place(info: &SessionInfo, order: SessionOrder) -> Timestamp {
    match order {
        SessionOrder::Started => info.created_at,
        SessionOrder::Recent => info.last_at.unwrap_or(info.created_at),
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match (self.order, self.by_start) {
            (SessionOrder::Started, _) => "1",
            (SessionOrder::Recent, false) => "r1",
            (SessionOrder::Recent, true) => "s1",
        };
        f.write_str(&BASE64.encode(format!("{order}:{}:{}", self.at.as_millis(), self.id)))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let text = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
            let (order, rest) = text.split_once(':')?;
            let (order, by_start) = match order {
                "1" => (SessionOrder::Started, true),
                "r1" => (SessionOrder::Recent, false),
                "s1" => (SessionOrder::Recent, true),
                _ => return None,
            };
            let (at, id) = rest.split_once(':')?;
            let at = Timestamp::from_millis(at.parse().ok()?);
            Some(Self { order, at, id: SessionId::new(id).ok()?.to_string(), by_start })
        };
        read()
            .ok_or_else(|| Error::invalid("invalid cursor: it does not belong to a list of sessions; start from the first page"))
    }
}

/// Returns the first words of a session that begins with these entries: the first 100 characters of the first user's message that
/// has text, on one line.
pub fn first_words<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Option<String> {
    let messages = entries.into_iter().filter_map(Entry::as_message).filter(|message| message.begins_turn());
    messages.map(Message::text).find_map(|text| {
        let mut words = String::new();
        let mut left = FIRST_WORDS;
        for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
            let (space, length) = (usize::from(!words.is_empty()), word.chars().count());
            if space + length > left {
                // Only a text without spaces is cut within a word.
                words.extend(word.chars().take(if words.is_empty() { left - 1 } else { 0 }));
                words.push('…');
                break;
            }
            words.extend(std::iter::repeat_n(' ', space));
            words.push_str(word);
            left -= space + length;
        }
        (!words.is_empty()).then_some(words)
    })
}

/// Returns the numbers of the records in view, oldest first, of a log whose last clear is at `from` or below and whose next number is
/// `next`. `rewinds` has the number of each record that takes back, and from which number on, in order.
pub fn numbers_in_view(from: u64, next: u64, rewinds: &[(u64, u64)]) -> Vec<u64> {
    let (mut numbers, mut end) = (Vec::new(), next);
    while end > from {
        let seq = end - 1;
        numbers.push(seq);
        let rewind = rewinds.binary_search_by_key(&seq, |(seq, _)| *seq).ok().and_then(|at| rewinds.get(at));
        end = rewind.map_or(seq, |(_, to)| seq.min(*to));
    }
    numbers.reverse();
    numbers
}

/// Checks whether a title may be stored.
///
/// # Errors
/// Invalid if it is too long or contains control characters.
pub fn check_title(title: &str) -> Result<(), Error> {
    if title.len() > MAX_TITLE_BYTES {
        return Err(Error::invalid(format!(
            "title too long: the limit is {MAX_TITLE_BYTES} bytes, and this one has {}; shorten it",
            title.len()
        )));
    }
    match title.chars().find(|c| c.is_control()) {
        Some(c) => {
            Err(Error::invalid(format!("invalid title: it contains the control character {c:?}; give a title on one line")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_are_one_short_line_of_the_first_users_message() {
        let words = |text: &str| first_words(&[Entry::from(Message::system("Be brief.")), Entry::from(Message::user(text))]);
        assert_eq!(words(" Where\n\tshould\u{0}we  go? ").as_deref(), Some("Where should we go?"));
        assert_eq!(words(" \n"), None);
        let long = words(&"word ".repeat(50)).expect("words");
        assert!(long.ends_with("word…") && (90..=FIRST_WORDS + 1).contains(&long.chars().count()), "{long}");
        assert_eq!(words(&"é".repeat(1_000)).expect("words").chars().count(), FIRST_WORDS);
        assert_eq!(first_words(&[Entry::from(Message::assistant("Hello"))]), None);
    }

    #[test]
    fn numbers_in_view_follow_the_rewinds() {
        assert_eq!(numbers_in_view(0, 4, &[]), [0, 1, 2, 3]);
        assert_eq!(numbers_in_view(0, 6, &[(4, 1)]), [0, 4, 5]);
        assert_eq!(numbers_in_view(0, 6, &[(3, 2), (5, 2)]), [0, 1, 5]);
        assert_eq!(numbers_in_view(3, 6, &[(3, 0)]), [3, 4, 5], "what a clear holds is in view");
        assert_eq!(numbers_in_view(4, 4, &[(3, 0)]), [0_u64; 0]);
    }
}
