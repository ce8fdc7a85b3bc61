//! The store contract: a session is a log of immutable records, and everything is an append.
//!
//! # What every store promises
//! [`ChatStore`] is small; what it promises is not. Each promise below is proven of each store by the public
//! `conformance` suite. A store that lacks one says so in its [`Capabilities`].
//!
//! 1. **Durable and atomic.** An append that returned is there for every later load on any machine, all of it or none.
//! 2. **Exactly once.** While an append runs, the store repeats it safely. One that ends in doubt returns an error
//!    with a [`Ticket`]; repeating it through the ticket, from any process, stores it once. So does repeating it under the
//!    caller's own idempotency key; the same key with another body is an error.
//! 3. **One order.** All readers see the same order; an append that starts after another returned comes after it. Numbers
//!    are consecutive, and a gap between live records is reported as corruption.
//! 4. **No lost update**, however many writers. With an expected [`Position`] an append is refused if anyone wrote since.
//! 5. **Clear is atomic.** A load sees everything or nothing of what was cleared.
//! 6. **Exact.** What was appended comes back equal.
//! 7. **Bounded cost.** An append costs what its bytes cost and a window what its bytes cost, at any length of the session.
//! 8. **Nothing is silently dropped**, truncated or filtered: what cannot be read is an error that says which record and why.
//!
//! # A whole store
//! ```
//! use std::sync::{Arc, Mutex};
//! use chat_memory::store::*;
//! use chat_memory::{Error, ErrorKind, Message, SessionId};
//!
//! /// One session after the other in a list; nothing survives the process.
//! #[derive(Debug, Clone, Default)]
//! struct Sketch(Arc<Mutex<Vec<(SessionId, Record)>>>);
//!
//! #[async_trait::async_trait]
//! impl ChatStore for Sketch {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities { durable: false, directory: false, last_activity: None, ..Capabilities::all() }
//!     }
//!
//!     async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
//!         append.check()?;
//!         let append_id = append.id_in(session);
//!         let mut records = self.0.lock().unwrap();
//!         let log: Vec<&Record> = records.iter().filter(|(id, _)| id == session).map(|(_, record)| record).collect();
//!         if let Some(first) = log.iter().find(|record| record.append_id == append_id) {
//!             if !append.is_body_of(first) {
//!                 return Err(append.reused(first.seq));
//!             }
//!             let position = Position::new(first.seq + 1, Some(append_id), 0);
//!             let mut appended = Appended::new(first.seq, position, first.created_at);
//!             appended.repeated = true;
//!             return Ok(appended);
//!         }
//!         let actual = Position::new(log.len() as u64, log.last().map(|record| record.append_id), 0);
//!         if append.expected().is_some_and(|expected| *expected != actual) {
//!             return Err(Error::conflict(actual));
//!         }
//!         let seq = actual.next();
//!         records.push((session.clone(), Record {
//!             seq, append_id, created_at: 0, expires_at: None,
//!             rewind: append.rewinds_to(),
//!             metadata: append.metadata().cloned(),
//!             sent_at: append.times().to_vec(),
//!             messages: append.messages().to_vec(),
//!         }));
//!         Ok(Appended::new(seq, Position::new(seq + 1, Some(append_id), 0), 0))
//!     }
//!
//!     async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
//!         let records = self.0.lock().unwrap();
//!         let log: Vec<&Record> = records.iter().filter(|(id, _)| id == session).map(|(_, record)| record).collect();
//!         let position = Position::new(log.len() as u64, log.last().map(|record| record.append_id), 0);
//!         let mut walk = Walk::new(load, log.last().map(|record| record.seq), 0);
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

use crate::error::{Error, ErrorKind};
use crate::session::SessionId;

mod append;
pub(crate) mod directory;
mod ext;
mod history;
mod in_memory;
pub(crate) mod layout;
mod older;
pub(crate) mod position;
mod receipt;
mod walk;

pub use append::{Append, Appended, Identity, KEY_LIFETIME_MS, Lasts, MAX_KEY_BYTES, MAX_TIME_MS};
pub use directory::{MAX_METADATA_BYTES, MAX_TITLE_BYTES, SessionInfo, SessionOrder, SessionPage, SessionQuery, SessionUpdate};
pub use ext::ChatStoreExt;
pub use history::{History, Load, Reach, Record};
pub use in_memory::InMemoryStore;
pub use older::Older;
pub use position::{AppendId, Position, Ticket};
pub use receipt::Receipt;
pub use walk::Walk;

/// What a store can do. The conformance suite proves what is declared and reports what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What was appended survives the process.
    pub durable: bool,
    /// Any record can be taken back, not only all of them.
    pub rewind: bool,
    /// Sessions can be listed, titled and described.
    pub directory: bool,
    /// Sessions can be listed [by last activity](SessionQuery::recent), which is known to within this time: zero is exactly. `None`
    /// where they cannot.
    pub last_activity: Option<Duration>,
    /// An append and a window cost what their bytes cost, at any length.
    pub bounded_cost: bool,
}

impl Capabilities {
    /// Everything, as exactly as can be.
    pub const fn all() -> Self {
        Self { durable: true, rewind: true, directory: true, last_activity: Some(Duration::ZERO), bounded_cost: true }
    }
}

/// A store of sessions. The module's page says what it promises.
///
/// Stores are cheap to clone, and clones are the same store. Every operation may be called from many tasks and processes at once.
#[async_trait]
pub trait ChatStore: fmt::Debug + Send + Sync + 'static {
    /// What this store can do.
    fn capabilities(&self) -> Capabilities;

    /// Adds one record at the end of a session's log. A session starts with its first record.
    ///
    /// # Errors
    /// Conflict when the log is not at the expected position; in doubt, with a ticket, when it is not known whether it
    /// landed; key reused; too large; invalid; and what the store itself meets. But for "in doubt", an error means that nothing was written.
    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error>;

    /// Loads the newest part of a session's view. A session that was never written to is empty.
    ///
    /// # Errors
    /// Corrupt when a record cannot be read, or one is missing; it says which. And what the store itself meets.
    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error>;

    /// Erases from the disk what the session's clears have hidden. It changes no load.
    ///
    /// # Errors
    /// What the store itself meets; what was swept until then stays swept, and the next sweep goes on.
    async fn sweep(&self, session: &SessionId) -> Result<Swept, Error> {
        let _ = session;
        Ok(Swept::default())
    }

    /// Forgets a session: clears it, sweeps it to the end and takes it off the directory. It says whether there was anything.
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`sweep`](Self::sweep).
    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        let before = self.load(session, &Load::last(1)).await?;
        let cleared = self.append(session, &Append::clear()).await?;
        let mut deleted = Deleted::new(!before.is_empty(), self.sweep(session).await?);
        deleted.receipt += before.receipt;
        deleted.receipt += cleared.receipt;
        Ok(deleted)
    }

    /// A page of the sessions of an owner, or of nobody, newest first: by start, or by last activity where the query
    /// [says so](SessionQuery::recent).
    ///
    /// # Errors
    /// Unsupported without the capability, be it of the directory or of that order; invalid for a cursor that is not ours; and what the store itself meets.
    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        let _ = query;
        Err(no_directory())
    }

    /// A page of all sessions, of every owner and of nobody, in no order; the page after the one that ended with the cursor `after`.
    /// On DynamoDB this reads the whole table, whatever is in it; on a table of the `list` layout, it is the only way to list.
    ///
    /// # Errors
    /// Unsupported where the store cannot; invalid for a cursor that is not ours; and what the store itself meets.
    async fn every_session(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let _ = after;
        Err(no_directory())
    }

    /// What the directory says of a session; `None` if it is not listed.
    ///
    /// # Errors
    /// Unsupported without the capability; and what the store itself meets.
    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        let _ = session;
        Err(no_directory())
    }

    /// Changes what the directory says of a session, and returns it; `None` if it is not listed.
    ///
    /// # Errors
    /// Unsupported without the capability; invalid for a title that is too long; and what the store itself meets.
    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        let _ = (session, update);
        Err(no_directory())
    }

    /// The write units that these appends to a new session would take, estimated without a request; `None` where a store has none.
    /// On DynamoDB, an append that meets another writer, or is repeated, takes more.
    fn write_units(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        let _ = (session, appends);
        None
    }

    /// Clears a session: appends a [clear](Append::clear), which takes effect at once, and sweeps.
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`sweep`](Self::sweep). If the sweep fails, the session is cleared all the same.
    async fn clear(&self, session: &SessionId) -> Result<Cleared, Error> {
        let appended = self.append(session, &Append::clear()).await?;
        let swept = self.sweep(session).await.map_err(|e| {
            e.context("the session is cleared, but what it held is not yet erased; clear it again, or sweep, to finish")
        })?;
        Ok(Cleared::new(appended, swept))
    }
}

fn no_directory() -> Error {
    Error::new(ErrorKind::Unsupported, "this store keeps no directory of its sessions")
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Records whose messages were erased.
    pub records: u64,
    /// What it cost.
    pub receipt: Receipt,
}

/// What a delete did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Deleted {
    /// Whether there was a session: it was listed, or had messages that a load shows. It is false for one that never was, that was
    /// deleted before or that had expired.
    pub existed: bool,
    /// Records whose messages were erased. It can be more than 0 where there was no session: what had expired, and what an
    /// earlier delete that was cut off had left.
    pub records: u64,
    /// What it cost.
    pub receipt: Receipt,
}

impl Swept {
    /// A sweep that erased this much.
    pub fn new(records: u64, receipt: Receipt) -> Self {
        Self { records, receipt }
    }
}

impl Deleted {
    /// A delete that erased this much.
    pub fn new(existed: bool, swept: Swept) -> Self {
        Self { existed, records: swept.records, receipt: swept.receipt }
    }
}

/// What a clear did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Cleared {
    /// The clear itself.
    pub appended: Appended,
    /// The sweep after it.
    pub swept: Swept,
}

impl Cleared {
    /// A clear and the sweep after it.
    pub fn new(appended: Appended, swept: Swept) -> Self {
        Self { appended, swept }
    }

    /// What both cost together.
    pub fn receipt(&self) -> Receipt {
        let mut receipt = self.appended.receipt;
        receipt += self.swept.receipt;
        receipt
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
    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        (**self).load(session, load).await
    }
    async fn sweep(&self, session: &SessionId) -> Result<Swept, Error> {
        (**self).sweep(session).await
    }
    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        (**self).delete(session).await
    }
    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        (**self).sessions(query).await
    }
    async fn every_session(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        (**self).every_session(after).await
    }
    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        (**self).session(session).await
    }
    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        (**self).update_session(session, update).await
    }
    fn write_units(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        (**self).write_units(session, appends)
    }
    async fn clear(&self, session: &SessionId) -> Result<Cleared, Error> {
        (**self).clear(session).await
    }
}
