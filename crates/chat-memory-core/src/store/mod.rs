//! The store contract: a session is a log of immutable records, and every change is an append. The exception is a redaction.
//!
//! # What every store promises
//! [`ChatStore`] is a small trait with strong promises. The public `conformance` suite proves each promise below for each store.
//! A store that lacks one declares it in its [`Capabilities`].
//!
//! 1. **Durable and atomic.** Once an append has returned, every later load on any machine sees all of it.
//! 2. **Exactly once.** While an append runs, the store retries it safely. If the outcome is unknown, the append returns an error
//!    with a [`Ticket`]; repeating it with the ticket, from any process, stores it once. So does repeating it with the caller's
//!    own idempotency key; the same key with another body is an error.
//! 3. **One order.** All readers see the same order; an append that starts after another returned comes after it. Numbers are
//!    consecutive, and a gap between live records is reported as corruption.
//! 4. **No lost update**, with any number of writers. An append with an expected [`Position`] is refused if the session was
//!    modified since.
//! 5. **Clear is atomic.** A load sees everything or nothing of what was cleared.
//! 6. **Exact.** What was appended is loaded unchanged: messages, and in stores with [`Capabilities::entries`] any JSON objects.
//!    Only a [redaction](ChatStore::redact) changes what a record says.
//! 7. **Bounded cost.** The cost of an append or of a window depends on its own bytes, not on the length of the session.
//! 8. **Nothing is silently dropped**, truncated or filtered: what cannot be read is an error that names the record and the
//!    reason.
//!
//! # A whole store
//! ```
//! use std::sync::{Arc, Mutex};
//! use chat_memory::store::*;
//! use chat_memory::{Error, Message, SessionId, Timestamp};
//!
//! /// One session after the other in a list; nothing survives the process.
//! #[derive(Debug, Clone, Default)]
//! struct Sketch(Arc<Mutex<Vec<(SessionId, Record)>>>);
//!
//! #[async_trait::async_trait]
//! impl ChatStore for Sketch {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::all().with_durable(false).with_directory(false).with_fork(false).with_redact(false)
//!     }
//!
//!     async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
//!         append.check()?;
//!         let (append_id, now) = (append.id_in(session), Timestamp::now());
//!         let mut records = self.0.lock().unwrap();
//!         let log: Vec<&Record> = records.iter().filter(|(id, _)| id == session).map(|(_, record)| record).collect();
//!         if let Some(first) = log.iter().find(|record| record.append_id == append_id) {
//!             if !append.is_body_of(first) {
//!                 return Err(append.reused(first.seq));
//!             }
//!             let position = Position::new(first.seq + 1, Some(append_id), now);
//!             let mut appended = Appended::new(first.seq, position, first.created_at);
//!             appended.repeated = true;
//!             return Ok(appended);
//!         }
//!         let actual = Position::new(log.len() as u64, log.last().map(|record| record.append_id), now);
//!         if append.expected().is_some_and(|expected| *expected != actual) {
//!             return Err(Error::conflict(actual));
//!         }
//!         let seq = actual.next();
//!         records.push((session.clone(), append.record(seq, append_id, now, None)));
//!         Ok(Appended::new(seq, Position::new(seq + 1, Some(append_id), now), now))
//!     }
//!
//!     async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
//!         let records = self.0.lock().unwrap();
//!         let log: Vec<&Record> = records.iter().filter(|(id, _)| id == session).map(|(_, record)| record).collect();
//!         let position = Position::new(log.len() as u64, log.last().map(|record| record.append_id), Timestamp::now());
//!         let mut walk = Walk::new(load, log.last().map(|record| record.seq), Timestamp::now());
//!         while let Some(seq) = walk.wants() {
//!             walk.take(log[seq as usize].clone());
//!         }
//!         let (records, complete) = walk.finish();
//!         Ok(History::new(records, complete, position))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = Sketch::default();
//! let session = SessionId::new("demo")?;
//! store.append(&session, &Append::new([Message::user("Hello"), Message::assistant("Hi!")])).await?;
//! assert_eq!(store.load(&session, &Load::all()).await?.messages().count(), 2);
//! store.clear(&session).await?;
//! assert!(store.load(&session, &Load::all()).await?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::backend::EntryIdCache;
use crate::error::{Error, ErrorKind};
use crate::session::SessionId;

mod append;
mod cost;
pub(crate) mod directory;
pub(crate) mod entry_ids;
mod ext;
mod fork;
mod history;
mod in_memory;
mod new_entries;
mod owner;
mod page_cursor;
mod pages;
pub(crate) mod position;
mod redact;
pub(crate) mod search;
mod token;
mod walk;

pub use append::{Append, Appended, Expiry, Identity, KEY_LIFETIME, MAX_KEY_BYTES, MAX_TIME};
pub use cost::Cost;
pub use directory::{MAX_METADATA_BYTES, MAX_TITLE_BYTES, SessionInfo, SessionOrder, SessionPage, SessionQuery, SessionUpdate};
pub use ext::ChatStoreExt;
pub use fork::{FORKED_FROM, Fork, ForkPlan, Forked, Origin};
pub use history::{History, Load, Reach, Record};
pub use in_memory::InMemoryStore;
pub use new_entries::AppendedNew;
pub use owner::{OwnedSession, OwnerDeletion};
pub use page_cursor::PageCursor;
pub use pages::{ForwardCursor, ForwardPage};
pub use position::{AppendId, Position, Ticket};
pub use redact::{MAX_REPLACEMENT_BYTES, REDACTED, Redacted, Redaction};
pub use search::{FoundMessage, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, SearchHit, SearchPage, SearchQuery, SearchScope, Snippet};
pub use walk::Walk;

/// What a store can do. The conformance suite tests what is declared and lists what is not.
///
/// ```
/// use chat_memory::store::Capabilities;
/// const OF_A_CACHE: Capabilities = Capabilities::all().with_durable(false);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Appended records survive the process.
    pub durable: bool,
    /// Any number of the newest records can be removed, not only all of them.
    pub rewind: bool,
    /// Sessions can be listed and can have titles and metadata.
    pub directory: bool,
    /// Sessions can be listed [by last activity](SessionQuery::recent), which is accurate to within this time; zero means exact.
    /// `None` if they cannot.
    pub last_activity: Option<Duration>,
    /// The sessions of all owners can be listed [in one order](SessionQuery::of_any_owner).
    pub any_owner: bool,
    /// The cost of an append or of a window depends on its own bytes, not on the length of the session.
    pub bounded_cost: bool,
    /// Records may hold [entries](crate::Entry) that are not chat messages.
    pub entries: bool,
    /// Several records can be [appended together](ChatStore::append_all), so that sessions can be
    /// [forked](ChatStoreExt::fork).
    pub fork: bool,
    /// What a record says can be [redacted](ChatStore::redact).
    pub redact: bool,
}

impl Capabilities {
    /// Every capability, with exact last activity.
    pub const fn all() -> Self {
        let last_activity = Some(Duration::ZERO);
        Self {
            durable: true,
            rewind: true,
            directory: true,
            last_activity,
            any_owner: true,
            bounded_cost: true,
            entries: true,
            fork: true,
            redact: true,
        }
    }

    /// Declares whether appended records survive the process.
    #[must_use]
    pub const fn with_durable(self, durable: bool) -> Self {
        Self { durable, ..self }
    }

    /// Declares whether any number of the newest records can be removed.
    #[must_use]
    pub const fn with_rewind(self, rewind: bool) -> Self {
        Self { rewind, ..self }
    }

    /// Declares whether there is a directory. Without one, sessions cannot be listed by last activity or in one order either.
    #[must_use]
    pub const fn with_directory(self, directory: bool) -> Self {
        let last_activity = if directory { self.last_activity } else { None };
        Self { directory, last_activity, any_owner: self.any_owner && directory, ..self }
    }

    /// Declares how precisely sessions can be listed by last activity; `None` if they cannot.
    #[must_use]
    pub const fn with_last_activity(self, last_activity: Option<Duration>) -> Self {
        Self { last_activity, ..self }
    }

    /// Declares whether the sessions of all owners can be listed in one order.
    #[must_use]
    pub const fn with_any_owner(self, any_owner: bool) -> Self {
        Self { any_owner, ..self }
    }

    /// Declares whether costs depend on what is read or written alone.
    #[must_use]
    pub const fn with_bounded_cost(self, bounded_cost: bool) -> Self {
        Self { bounded_cost, ..self }
    }

    /// Declares whether records may hold entries that are not messages.
    #[must_use]
    pub const fn with_entries(self, entries: bool) -> Self {
        Self { entries, ..self }
    }

    /// Declares whether several records can be appended together.
    #[must_use]
    pub const fn with_fork(self, fork: bool) -> Self {
        Self { fork, ..self }
    }

    /// Declares whether what a record says can be redacted.
    #[must_use]
    pub const fn with_redact(self, redact: bool) -> Self {
        Self { redact, ..self }
    }
}

/// A store of sessions. The module documentation lists what it promises.
///
/// Stores are cheap to clone; clones share one store. All operations may run concurrently, from many tasks and processes.
#[async_trait]
pub trait ChatStore: fmt::Debug + Send + Sync + 'static {
    /// Returns what this store can do.
    fn capabilities(&self) -> Capabilities;

    /// Appends one record to the session's log. The first record starts the session.
    ///
    /// # Errors
    /// Conflict if the log is not at the expected position; in doubt, with a ticket, if the outcome is unknown; key reused; too
    /// large; invalid; unsupported if an entry is not a message and the store [holds only those](Capabilities::entries); other store
    /// errors. Unless the error is "in doubt", nothing was written.
    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error>;

    /// Appends several records to the session's log, one per append, in one step: every load shows all of them or none. The first
    /// one's key, ticket, expected position, owner, title, session metadata and start time apply to all. The result has the number
    /// of the first record, and the position after the last.
    ///
    /// A repeat by key or ticket is recognized by the first record alone.
    ///
    /// # Errors
    /// As [`append`](Self::append), and invalid as in [`Append::check_all`]; too large if the store cannot write as many records or
    /// bytes in one step. The default supports only a single append.
    async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        match appends {
            [append] => self.append(session, append).await,
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "this store cannot append several records in one step; append them one by one",
            )),
        }
    }

    /// Loads the newest part of a session's view. A session that was never written to is empty.
    ///
    /// # Errors
    /// Corrupt if a record is missing or cannot be read; the error names it. Other store errors.
    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error>;

    /// Erases from disk what the session's clears hide. Loads return the same before and after.
    ///
    /// # Errors
    /// Other store errors. What was already erased stays erased, and the next sweep continues from there.
    async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        let _ = session;
        Ok(SweepStats::default())
    }

    /// Replaces what one record of a session says, visible or not: once this has returned, no load shows the old text, and the store
    /// does not have it any more. The record keeps its number, place, times and metadata, and a repeat of its append by key or
    /// ticket is still recognised. Repeating a redaction changes nothing.
    ///
    /// It does not reach the session's title and metadata, forks of the session, checkpoints, and copies outside the store.
    ///
    /// # Errors
    /// Not found if there is no such record, or nothing is left of it; invalid as in [`Redaction::check`], or if the record has no
    /// such message; too large if the replacement makes the record so; unsupported if the store [cannot](Capabilities::redact);
    /// other store errors. If one of those leaves open whether the text is gone, repeat the call.
    async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        let _ = (session, seq, redaction);
        Err(Error::new(
            ErrorKind::Unsupported,
            "this store cannot redact a record; clear or delete the session to erase what it says",
        ))
    }

    /// Deletes a session: clears it, sweeps it completely and removes it from the directory. The result says whether it existed. A
    /// store with a directory must implement it; the default only clears and sweeps.
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`sweep`](Self::sweep).
    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        let before = self.load(session, &Load::records(1)).await?;
        let cleared = self.append(session, &Append::clear()).await?;
        let mut deleted = Deleted::new(!before.is_empty(), self.sweep(session).await?);
        deleted.cost += before.cost;
        deleted.cost += cleared.cost;
        Ok(deleted)
    }

    /// Lists one page of the sessions of an owner, of those without an owner, or [of all](SessionQuery::of_any_owner), newest first: by
    /// start, or [by last activity](SessionQuery::recent).
    ///
    /// # Errors
    /// Unsupported if the store has no directory, or cannot sort in this order or the sessions of all owners; invalid if the cursor is not one of this store;
    /// other store errors.
    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        let _ = query;
        Err(no_directory())
    }

    /// Lists one page of all sessions, with and without owners, in no order; `after` is the cursor of the previous page. On
    /// DynamoDB this reads the whole table, including unrelated items; on a table in the `list` layout it is the only way to
    /// list.
    ///
    /// # Errors
    /// Unsupported if the store cannot; invalid if the cursor is not one of this store; other store errors.
    async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let _ = after;
        Err(no_directory())
    }

    /// Reads what a list did not say of these sessions, and adds it: the number of records now, and the first words. Returns what it
    /// cost.
    ///
    /// The default adds nothing: it is that of a store whose lists say all they can. On DynamoDB it reads the newest records of each session,
    /// eight sessions at once, and all of a short one: one read unit for a session of up to 4 KB, and about ten at most (half of that with
    /// eventually consistent reads). Of a session that is longer than that, it adds the number of records only. It adds nothing in a table of
    /// the `list` layout, whose lists have the first words, and where a session is one item. A session that was deleted meanwhile, or
    /// cannot be read, stays as it was listed.
    ///
    /// ```
    /// use chat_memory::store::{Append, ChatStore, InMemoryStore, SessionQuery};
    /// use chat_memory::{Message, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let store = InMemoryStore::new();
    /// store.append(&SessionId::new("trip")?, &Append::new([Message::user("Where to?")])).await?;
    /// let mut page = store.sessions(&SessionQuery::unowned()).await?;
    /// page.cost += store.read_contents(&mut page.sessions).await?;
    /// assert_eq!(page.sessions[0].first_words.as_deref(), Some("Where to?"));
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Store errors such as access denied or throttled.
    async fn read_contents(&self, sessions: &mut [SessionInfo]) -> Result<Cost, Error> {
        let _ = sessions;
        Ok(Cost::default())
    }

    /// Returns a session's directory entry; `None` if it is not listed.
    ///
    /// # Errors
    /// Unsupported if the store has no directory; other store errors.
    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        let _ = session;
        Err(no_directory())
    }

    /// Updates a session's directory entry and returns it; `None` if it is not listed.
    ///
    /// # Errors
    /// Unsupported if the store has no directory; invalid if the title is too long; other store errors.
    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        let _ = (session, update);
        Err(no_directory())
    }

    /// Returns one page of what a search finds: sessions by title, id and owner, and visible messages by their words. A store
    /// without an index [reads the sessions](crate::backend::search_by_reading), within the query's budget for a page; the page's
    /// cost says what that took.
    ///
    /// # Errors
    /// Invalid if the query has neither words nor a time, or a cursor of another search; unsupported if it searches an owner's
    /// sessions and the store has no directory; other store errors.
    async fn search(&self, query: &SearchQuery) -> Result<SearchPage, Error> {
        search::search_by_reading(self, query).await
    }

    /// Estimates the write units that these appends to a new session would take, without a request; `None` if the store has no
    /// units. On DynamoDB, an append that conflicts with another writer or is repeated takes more.
    fn write_units(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        let _ = (session, appends);
        None
    }

    /// Estimates, likewise, the write units of [`append_all`](Self::append_all) with these appends to a new session.
    fn write_units_of_all(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        self.write_units(session, appends)
    }

    /// Returns what [`append_new`](ChatStoreExt::append_new) remembers of this store's sessions; `None` if it is to remember nothing
    /// and read a session's last 24 hours each time. A store that wraps another returns that of the other.
    fn entry_ids(&self) -> Option<&EntryIdCache> {
        None
    }

    /// Clears a session: appends a [clear](Append::clear), which takes effect at once, and then sweeps.
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`sweep`](Self::sweep). If the sweep fails, the session is cleared nevertheless.
    async fn clear(&self, session: &SessionId) -> Result<ClearOutcome, Error> {
        let appended = self.append(session, &Append::clear()).await?;
        let swept = self.sweep(session).await.map_err(|e| {
            e.context("the session is cleared, but its records are not erased yet; clear it again, or sweep, to finish")
        })?;
        Ok(ClearOutcome::new(appended, swept))
    }
}

fn no_directory() -> Error {
    Error::new(ErrorKind::Unsupported, "this store has no directory of sessions")
}

/// The result of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct SweepStats {
    /// Records whose messages were erased.
    pub records: u64,
    /// What it cost.
    pub cost: Cost,
}

/// The result of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Deleted {
    /// Whether the session existed: it was listed, or had visible messages. False if it never existed, was already deleted or had
    /// expired.
    pub existed: bool,
    /// Records whose messages were erased. Can be above 0 even if the session did not exist: expired records, and what an
    /// interrupted delete had left.
    pub records: u64,
    /// What it cost.
    pub cost: Cost,
}

impl SweepStats {
    /// Creates the result of a sweep that erased this many records.
    pub fn new(records: u64, cost: Cost) -> Self {
        Self { records, cost }
    }
}

impl Deleted {
    /// Creates the result of a delete after this sweep.
    pub fn new(existed: bool, swept: SweepStats) -> Self {
        Self { existed, records: swept.records, cost: swept.cost }
    }
}

/// The result of a clear.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClearOutcome {
    /// The clear itself.
    pub appended: Appended,
    /// The sweep after it.
    pub swept: SweepStats,
}

impl ClearOutcome {
    /// Creates the result of a clear and the sweep after it.
    pub fn new(appended: Appended, swept: SweepStats) -> Self {
        Self { appended, swept }
    }

    /// Returns what both cost together.
    pub fn cost(&self) -> Cost {
        let mut cost = self.appended.cost;
        cost += self.swept.cost;
        cost
    }
}

#[async_trait]
impl<S: ChatStore + ?Sized> ChatStore for Arc<S> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        (**self).append(session, append).await
    }
    async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        (**self).append_all(session, appends).await
    }
    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        (**self).load(session, load).await
    }
    async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        (**self).sweep(session).await
    }
    async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        (**self).redact(session, seq, redaction).await
    }
    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        (**self).delete(session).await
    }
    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        (**self).sessions(query).await
    }
    async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        (**self).list_all_sessions(after).await
    }
    async fn read_contents(&self, sessions: &mut [SessionInfo]) -> Result<Cost, Error> {
        (**self).read_contents(sessions).await
    }
    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        (**self).session(session).await
    }
    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        (**self).update_session(session, update).await
    }
    async fn search(&self, query: &SearchQuery) -> Result<SearchPage, Error> {
        (**self).search(query).await
    }
    fn write_units(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        (**self).write_units(session, appends)
    }
    fn write_units_of_all(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        (**self).write_units_of_all(session, appends)
    }
    fn entry_ids(&self) -> Option<&EntryIdCache> {
        (**self).entry_ids()
    }
    async fn clear(&self, session: &SessionId) -> Result<ClearOutcome, Error> {
        (**self).clear(session).await
    }
}
