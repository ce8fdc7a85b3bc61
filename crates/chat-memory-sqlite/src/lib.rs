//! The embedded store: one SQLite file, no service (docs/formats.md describes the file).
//!
//! How it keeps the contract:
//! - An append is one `BEGIN IMMEDIATE … COMMIT` with `synchronous=FULL`: it returns after SQLite has synced it, so it survives
//!   `kill -9`, and power loss as far as the drive honours syncs. Several processes may use the file at once; SQLite's lock puts
//!   their appends in one order.
//! - Appends that wait for the disk at the same time share a transaction, and so one sync.
//! - A load is one read transaction, so it sees one state of the log, whatever is written in the meantime (WAL).
//! - A log's numbers in the file never have gaps: only its oldest records are deleted, and the newest one stays as a stub. So a
//!   missing number is damage and is reported.
//! - SQLite blocks, so its work runs on the store's own threads: one hop per operation, on connections that stay open, with
//!   prepared statements.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use self::connect::Database;
use self::log::{Landed, NewRecord};
use self::options::Options;
use chat_memory_core::backend::{EntryIdCache, Matcher, SearchPlace, check_title, search_by_reading};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{
    Append, Appended, Capabilities, ChatStore, Cost, Deleted, History, Load, Position, Redacted, Redaction, SearchPage,
    SearchQuery, SessionInfo, SessionPage, SessionQuery, SessionUpdate, SweepStats,
};
use chat_memory_core::{SessionId, Timestamp};

mod batch;
mod checkpoints;
mod connect;
mod failure;
mod listing;
mod log;
mod options;
mod redact;
mod schema;
mod search;
mod sweep;
#[cfg(test)]
mod tests;
mod workers;

pub use self::schema::FORMAT_VERSION;

/// A store in one SQLite file. It works with any async runtime.
///
/// Dropping the last clone closes the file, which may block for a moment. Only then is everything in that one file, without the
/// `-wal` and `-shm` files next to it. Copy a file in use with SQLite's own tools (`sqlite3 FILE ".backup COPY"`).
///
/// ```
/// use chat_memory::store::{Append, ChatStore, Load, sqlite::SqliteStore};
/// use chat_memory::{Message, SessionId};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("chat.db");
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = SqliteStore::open(&path).await?;
/// let session = SessionId::new("demo")?;
/// store.append(&session, &Append::new([Message::user("Hello"), Message::assistant("Hi!")])).await?;
///
/// let another = SqliteStore::builder(&path).read_only(true).open().await?;
/// assert_eq!(another.load(&session, &Load::all()).await?.messages().count(), 2);
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SqliteStore(Arc<Database>);

impl SqliteStore {
    /// Opens the file at this path with default settings, and creates it if missing.
    ///
    /// # Errors
    /// As [`SqliteBuilder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(path).open().await
    }

    /// Returns a builder with the settings for the file at this path.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteBuilder {
        SqliteBuilder(Options::new(path.into()))
    }

    /// Returns the file's absolute path.
    pub fn path(&self) -> &Path {
        &self.0.options.path
    }

    /// Whether this call of `open` created the file.
    pub fn is_new(&self) -> bool {
        self.0.is_new
    }

    /// Erases what has expired: records a day after their expiry, and stubs a day after their sweep. Opening the file and every
    /// n-th append do some of this; this call does all of it. The data is also erased from the write-ahead log.
    ///
    /// # Errors
    /// Read-only; errors of SQLite. What was already erased stays erased.
    pub async fn purge(&self) -> Result<SweepStats, Error> {
        self.writable("purge it")?;
        let mut swept = SweepStats::default();
        loop {
            let purged = self.0.write(|db| sweep::purge(db, Timestamp::now())).await?;
            swept.cost.requests += 1;
            if purged == 0 {
                break;
            }
            swept.records += purged;
        }
        if swept.records > 0 {
            self.0.write(sweep::empty_log_of_writes).await?;
        }
        Ok(swept)
    }

    /// Gives the file a search index, so that [`search`](ChatStore::search) finds text without reading the sessions, best first. From
    /// then on every append adds its text to it, whatever program writes; a sweep, a delete and a purge remove theirs, and nothing
    /// of it is left.
    ///
    /// It adds what the file already has in short transactions, while others read and write, and calls `progress` with how many records are
    /// done, and how many there are. If it is interrupted, the next call continues there. Until it is complete, searches read the sessions. In a
    /// file with a complete index it does nothing.
    ///
    /// ```
    /// use chat_memory::store::{ChatStore, SearchQuery, sqlite::SqliteStore};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("chat.db");
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let store = SqliteStore::open(&path).await?;
    /// store.build_search_index(&mut |done, all| eprintln!("{done} of {all} records")).await?;
    /// assert!(store.search(&SearchQuery::new("lisbon")).await?.indexed);
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Read-only; errors of SQLite. What was added stays.
    pub async fn build_search_index(&self, progress: &mut (dyn FnMut(u64, u64) + Send)) -> Result<(), Error> {
        self.writable("build its search index")?;
        let all = self.0.write(search::index::create).await?;
        let mut done = 0;
        progress(done, all);
        loop {
            match self.0.write(search::index::build_a_little).await? {
                0 => return Ok(()),
                passed => done += passed,
            }
            progress(done.min(all), all);
        }
    }

    /// Removes the file's search index and returns whether there was one.
    ///
    /// # Errors
    /// Read-only; errors of SQLite.
    pub async fn remove_search_index(&self) -> Result<bool, Error> {
        self.writable("remove its search index")?;
        let there = self.0.write(search::index::remove).await?;
        if there {
            self.0.write(sweep::empty_log_of_writes).await?;
        }
        Ok(there)
    }

    /// Runs SQLite's check of the whole file, without that of the indexes' content; returns what it finds, at most 100 problems. It reads the whole
    /// file.
    ///
    /// # Errors
    /// Corrupt if the file is too damaged to be checked; other errors of SQLite.
    pub async fn quick_check(&self) -> Result<Vec<String>, Error> {
        let check = |db: &Connection| {
            let mut check = db.prepare("PRAGMA quick_check")?;
            let lines = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        };
        self.0.read(check).await
    }

    fn writable(&self, what: &str) -> Result<(), Error> {
        if !self.0.options.read_only {
            return Ok(());
        }
        let path = self.path().display();
        Err(Error::new(
            ErrorKind::ReadOnly,
            format!("write refused: {path} is open read-only; open it without read_only to {what}"),
        ))
    }

    /// Appends these records. The first one identifies them and starts the session.
    async fn put(&self, session: &SessionId, append: &Append, more: &[Append]) -> Result<Appended, Error> {
        append.title().map_or(Ok(()), check_title)?;
        self.writable("append to it")?;
        let now = Timestamp::now();
        let new = NewRecord::of(session, append, false, now)?.with(more, now)?;
        let after = new.following();
        new.check_size(self.0.options.max_record_bytes)?;
        let expires_at = append.expires_at(now, self.0.options.retention);
        let landed = self.0.append(new, now, expires_at).await?;
        if self.0.is_time_to_purge()
            && let Err(error) = self.0.write(move |db| sweep::purge_a_little(db, now)).await
        {
            // The append succeeded; what could not be purged is hidden anyway, and the next purge takes it.
            tracing::warn!(%error, "purging expired records failed");
        }
        let one = |bytes| Cost::new(1, bytes);
        match landed {
            Landed::New { seq, append_id, started, bytes } => {
                let position = Position::new(seq + after + 1, Some(append_id.following(after)), now);
                let mut appended = Appended::new(seq, position, now);
                (appended.started, appended.cost) = (started, one(bytes));
                Ok(appended)
            }
            Landed::Earlier(stored) => {
                if stored.messages_left && !append.is_body_of(&stored.record) {
                    return Err(append.reused(stored.record.seq));
                }
                let (seq, id) = (stored.record.seq, stored.record.append_id);
                let position = Position::new(seq + after + 1, Some(id.following(after)), now);
                let mut appended = Appended::new(seq, position, stored.record.created_at);
                (appended.repeated, appended.cost) = (true, one(stored.bytes));
                Ok(appended)
            }
            Landed::Conflict(actual) => Err(Error::conflict(actual)),
            // Only a delete finds nothing to do.
            Landed::Nothing => Err(Error::corrupt("append failed: it was mistaken for a delete; report this as a bug")),
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteStore").field(&self.0.options).finish()
    }
}

/// The settings with which a [`SqliteStore`] is opened.
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until `open`"]
pub struct SqliteBuilder(Options);

impl SqliteBuilder {
    /// Sets how long a record is kept. It is hidden from then on, and erased a day later at the earliest: when the file is
    /// opened, appended to or [purged](SqliteStore::purge). Forever by default.
    pub fn retention(mut self, retention: impl Into<Option<Duration>>) -> Self {
        self.0.retention = retention.into();
        self
    }

    /// Sets whether the store is read-only: it refuses all writes and neither creates nor changes the file. Off by default.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.0.read_only = read_only;
        self
    }

    /// Sets how long an operation waits for another process that holds the file's lock; 10 s by default.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.0.busy_timeout = timeout;
        self
    }

    /// Sets whether the file is created if missing. On by default; if off, a mistyped path is an error.
    pub fn create(mut self, create: bool) -> Self {
        self.0.create = create;
        self
    }

    /// Sets whether the file's directory and its parents are created if missing. Off by default.
    pub fn create_parent(mut self, create: bool) -> Self {
        self.0.create_parent = create;
        self
    }

    /// Sets the largest record, in bytes of its JSON; 16 MB by default, as in the other stores, and 900 MB at most.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.0.max_record_bytes = bytes;
        self
    }

    /// Opens the file. It is created if missing (readable by its owner only, on Unix), unless the store is read-only or
    /// [`create`](Self::create) is off.
    ///
    /// # Errors
    /// Not found (no such directory; no such file, if it may not be created), access denied, invalid (the file is not a chat
    /// memory: it is left untouched; a setting with a value that it cannot have), unsupported (written by a newer version), corrupt, unavailable (locked, disk full).
    pub async fn open(self) -> Result<SqliteStore, Error> {
        self.check()?;
        Database::open(self.0).await.map(|database| SqliteStore(Arc::new(database)))
    }

    #[cfg(test)]
    fn max_pages(mut self, pages: u32) -> Self {
        self.0.max_pages = Some(pages);
        self
    }
}

#[async_trait]
impl ChatStore for SqliteStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        session.check()?;
        append.check()?;
        self.put(session, append, &[]).await
    }

    async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        session.check()?;
        let (first, more) = Append::check_all(appends)?;
        self.put(session, first, more).await
    }

    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        session.check()?;
        let (id, load) = (session.to_string(), load.clone());
        self.0.read(move |db| log::load(db, &id, &load, Timestamp::now())).await
    }

    async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        session.check()?;
        self.writable("sweep it")?;
        let mut swept = SweepStats::default();
        loop {
            let id = session.to_string();
            let step = self.0.write(move |db| sweep::sweep(db, &id, Timestamp::now())).await?;
            swept.records += step.records;
            swept.cost.requests += 1;
            if step.done {
                break;
            }
        }
        if swept.records > 0 {
            self.0.write(sweep::empty_log_of_writes).await?;
        }
        Ok(swept)
    }

    async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        session.check()?;
        redaction.check()?;
        if !redaction.is_dry_run() {
            self.writable("redact a record")?;
        }
        let (id, wanted, limit) = (session.clone(), redaction.clone(), self.0.options.max_record_bytes);
        let redacted = self.0.write(move |db| redact::redact(db, &id, seq, &wanted, limit, Timestamp::now())).await?;
        // Also if nothing changed: the process that redacted it may have ended before this.
        if !redaction.is_dry_run() && !self.0.write(sweep::empty_log_of_writes).await? {
            return Err(Error::new(
                ErrorKind::Contended,
                "the record is redacted, but its old text is not erased from the file yet: another process is reading the file; \
                 repeat the redaction when that has ended",
            ));
        }
        Ok(redacted)
    }

    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        session.check()?;
        self.writable("delete from it")?;
        let clear = Append::clear();
        let now = Timestamp::now();
        let expires_at = clear.expires_at(now, self.0.options.retention);
        // The clear's own transaction removes it from the directory: a later append starts the session again and lists it.
        let landed = self.0.append(NewRecord::of(session, &clear, true, now)?, now, expires_at).await?;
        let existed = matches!(landed, Landed::New { started: false, .. });
        let mut deleted = Deleted::new(
            existed,
            self.sweep(session).await.map_err(|e| {
                e.context("the session is deleted, but its records are not erased yet; delete it again, or sweep, to finish")
            })?,
        );
        deleted.cost.requests += 1;
        Ok(deleted)
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        let after = query.cursor()?;
        let query = query.clone();
        // Nothing has expired at the beginning of time.
        let now = if query.expired { Timestamp::MIN } else { Timestamp::now() };
        self.0.read(move |db| listing::page(db, &query, after.as_ref(), now)).await
    }

    async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let after = after.map(str::parse).transpose()?;
        self.0.read(move |db| listing::every(db, 100, after.as_ref(), Timestamp::now())).await
    }

    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        session.check()?;
        let session = session.clone();
        self.0.read(move |db| listing::session(db, &session, Timestamp::now())).await
    }

    async fn search(&self, query: &SearchQuery) -> Result<SearchPage, Error> {
        let matcher = Matcher::new(query, &self.capabilities())?;
        let place = SearchPlace::of(query)?;
        if !matches!(place, Some(SearchPlace::Reading(_))) {
            let ranked = query.clone();
            let page = self.0.read(move |db| search::page(db, &ranked, &matcher, place, Timestamp::now())).await?;
            if let Some(page) = page {
                return Ok(page);
            }
        }
        search_by_reading(self, query).await
    }

    fn entry_ids(&self) -> Option<&EntryIdCache> {
        Some(&self.0.entry_ids)
    }

    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        session.check()?;
        update.check()?;
        self.writable("change a session's entry")?;
        let (session, update) = (session.clone(), update.clone());
        self.0.write(move |db| listing::update(db, &session, &update, Timestamp::now())).await
    }
}
