//! A store that keeps each session in a file of a folder: an example for anyone who writes a store.
//!
//! A session's file has one line of JSON per change: `[record, info]`, a record (or `null`) and the session's directory entry
//! after it (`null` if it is not listed). A record without messages and rewind is a stub: what is left after a clear and a sweep,
//! enough to recognise a repeat of its append.
//!
//! How it keeps the contract:
//! - Each operation locks the session, so any number of processes may use the folder.
//! - A line is synced before its write returns. A crash may leave a torn last line, which was never acknowledged: loads ignore
//!   it, and the next write cuts it off.
//! - A sweep writes a new file and renames it, so a crash leaves the old one or the new one.
//! - Each operation reads the whole file, so its cost grows with the session: `bounded_cost` is not declared.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chat_memory::backend::check_title;
use chat_memory::store::{
    Append, AppendId, Appended, Capabilities, ChatStore, Cost, Deleted, History, Identity, KEY_LIFETIME, Load, Position, Record,
    SessionInfo, SessionPage, SessionQuery, SessionUpdate, SweepStats, Ticket, Walk,
};
use chat_memory::{Error, ErrorKind, SessionId, Timestamp};
use serde_json::{Value, json};

/// A store of sessions in a folder. Clones share it, as do the stores that other processes open on the folder.
///
/// ```
/// # async fn example() -> Result<(), chat_memory::Error> {
/// use chat_memory::{Append, ChatStore, Message, SessionId};
/// let store = chat_memory_files::FilesStore::open("chats").await?;
/// store.append(&SessionId::new("trip")?, &Append::new([Message::user("Where should we go in May?")])).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct FilesStore(PathBuf);

impl FilesStore {
    /// Opens the store in this folder, which is created if it is missing.
    ///
    /// # Errors
    /// Access denied or unavailable if the folder cannot be created.
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        blocking(move || fs::create_dir_all(&folder).map(|()| Self(folder.clone())).map_err(failed("create", &folder))).await
    }

    /// Locks and reads the session's file, and works on it.
    async fn with<T, F>(&self, session: &SessionId, is_write: bool, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(Log) -> Result<T, Error> + Send + 'static,
    {
        session.check()?;
        // An id may be longer than a file's name.
        let path = self.0.join(format!("{}.jsonl", session.digest()));
        blocking(move || work(Log::open(path, is_write)?)).await
    }

    /// Lists a page of the sessions that the query asks for.
    fn list(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        let (mut sessions, mut cost, mut warnings) = (Vec::new(), Cost::default(), Vec::new());
        for entry in fs::read_dir(&self.0).map_err(failed("list", &self.0))? {
            let path = entry.map_err(failed("list", &self.0))?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                match Log::open(path, false) {
                    Ok(log) => {
                        cost += Cost::new(1, log.end as u64);
                        sessions.extend(log.info.filter(|info| query.includes(info)));
                    }
                    Err(e) if e.is_corrupt() => warnings.push(e.to_string()),
                    Err(e) => return Err(e),
                }
            }
        }
        let mut page = SessionPage::of(sessions, query)?.with_cost(cost);
        page.warnings = warnings;
        Ok(page)
    }
}

/// A session's file, as read under its lock. Dropping it releases the lock.
struct Log {
    path: PathBuf,
    _lock: Option<File>,
    records: Vec<Record>,
    info: Option<SessionInfo>,
    /// The bytes of the complete lines.
    end: usize,
}

impl Log {
    /// Locks a session's file, for one writer or any number of readers, and reads it.
    fn open(path: PathBuf, is_write: bool) -> Result<Self, Error> {
        let mut log = Self { path, _lock: None, records: Vec::new(), info: None, end: 0 };
        if !is_write && !log.path.try_exists().map_err(failed("find", &log.path))? {
            return Ok(log);
        }
        // Not the session's file itself, which a sweep replaces while others wait for the lock.
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(log.path.with_extension("lock"));
        let lock = lock.and_then(|lock| if is_write { lock.lock() } else { lock.lock_shared() }.map(|()| lock));
        log._lock = Some(lock.map_err(failed("lock", &log.path))?);
        let bytes = fs::read(&log.path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(e) });
        let bytes = bytes.map_err(failed("read", &log.path))?;
        for (n, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            // A power failure leaves zeros where a line's bytes never reached the disk; JSON has no zero byte.
            if log.end + line.len() == bytes.len() && (!line.ends_with(b"\n") || line.contains(&0)) {
                break;
            }
            let damaged = |why: &str| {
                let what = format!("failed to read record {} (line {} of {:?})", log.records.len(), n + 1, log.path);
                Error::corrupt(format!("{what}: {why}; restore the file from a backup"))
            };
            let read: Result<(Option<Record>, _), _> = serde_json::from_slice(line);
            let (record, info) = read.map_err(|e| damaged(&e.to_string()))?;
            if record.as_ref().is_some_and(|record| record.seq != log.records.len() as u64) {
                return Err(damaged("a record before it is missing"));
            }
            log.records.extend(record);
            log.info = info;
            log.end += line.len();
        }
        Ok(log)
    }

    fn position(&self) -> Position {
        Position::new(self.records.len() as u64, self.records.last().map(|record| record.append_id), Timestamp::now())
    }

    fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        let (id, now, position) = (append.id_in(session), Timestamp::now(), self.position());
        let (ticket, since) = match append.identity() {
            Identity::Ticket(ticket) => (*ticket, Timestamp::MIN),
            _ => (Ticket::new(id, position.next()), now - KEY_LIFETIME),
        };
        if let Some(record) = self.records.iter().rfind(|record| record.append_id == id && record.created_at > since) {
            if !record.is_stub() && !append.is_body_of(record) {
                return Err(append.reused(record.seq));
            }
            let mut appended = appended(record, now);
            appended.repeated = true;
            return Ok(appended.with_cost(Cost::new(1, 0)));
        }
        ticket.check_age(now)?;
        if append.expected().is_some_and(|expected| *expected != position) {
            return Err(Error::conflict(position));
        }
        let start = || SessionInfo::started_by(session.clone(), append, now);
        let mut info = self.info.clone().unwrap_or_else(start);
        info.last_at = info.last_at.max(Some(append.active_at(now)));
        let record = append.record(position.next(), ticket.append_id(), now, None);
        let mut appended = self.push(&record, ticket, Some(info))?;
        appended.started = self.info.is_none();
        Ok(appended)
    }

    /// Clears the session and removes it from the directory; returns whether it was listed.
    fn delete(self) -> Result<bool, Error> {
        if self.info.is_some() {
            let ticket = Ticket::new(AppendId::random(), self.position().next());
            let clear = Append::clear().record(ticket.lowest(), ticket.append_id(), Timestamp::now(), None);
            self.push(&clear, ticket, None).map_err(|e| e.of_repeatable("deleted"))?;
        }
        Ok(self.info.is_some())
    }

    /// Appends a record, with the directory entry after it.
    fn push(&self, record: &Record, ticket: Ticket, info: Option<SessionInfo>) -> Result<Appended, Error> {
        let cost = self.write(&json!([record, info]), |e| Error::in_doubt(ticket, e))?;
        Ok(appended(record, record.created_at).with_cost(cost))
    }

    /// Appends a line and syncs it. If that fails and cannot be undone, returns the error that `in_doubt` makes of the cause.
    fn write(&self, line: &Value, in_doubt: impl FnOnce(io::Error) -> Error) -> Result<Cost, Error> {
        let (end, text) = (self.end as u64, format!("{line}\n"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path);
        let mut file = file.map_err(failed("open", &self.path))?;
        let cut = file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end)));
        let written = cut.and_then(|_| file.write_all(text.as_bytes())).and_then(|()| file.sync_data());
        let synced = written.and_then(|()| if end == 0 { sync_folder(&self.path) } else { Ok(()) });
        let Err(e) = synced else { return Ok(Cost::new(1, text.len() as u64)) };
        let is_undone = file.set_len(end).and_then(|()| file.sync_data()).is_ok();
        Err(if is_undone { failed("write", &self.path)(e) } else { in_doubt(e) })
    }

    /// Rewrites the file with stubs in place of what the last clear hides.
    fn sweep(mut self) -> Result<SweepStats, Error> {
        let clear = self.records.iter().rposition(|record| record.rewind == Some(0)).unwrap_or(0);
        let mut erased = 0;
        for record in self.records[..clear].iter_mut().filter(|record| !record.is_stub()) {
            *record = record.stub();
            erased += 1;
        }
        if erased == 0 {
            return Ok(SweepStats::new(0, Cost::new(1, 0)));
        }
        let lines = self.records.iter().map(|record| json!([record, null])).chain([json!([null, self.info])]);
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let new = self.path.with_extension("new");
        let written = File::create(&new).and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        let renamed = written.and_then(|()| fs::rename(&new, &self.path)).and_then(|()| sync_folder(&self.path));
        renamed.map_err(failed("rewrite", &self.path))?;
        Ok(SweepStats::new(erased, Cost::new(1, text.len() as u64)))
    }
}

fn appended(record: &Record, now: Timestamp) -> Appended {
    Appended::new(record.seq, Position::after(record, now), record.created_at)
}

/// Makes a new or renamed file durable. Windows opens no folder, and needs no sync of one.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().and_then(|folder| File::open(folder).ok()).map_or(Ok(()), |folder| folder.sync_all())
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |e| {
        let kind = if e.kind() == io::ErrorKind::PermissionDenied { ErrorKind::AccessDenied } else { ErrorKind::Unavailable };
        Error::new(kind, format!("failed to {what} {path:?}: {e}; check the folder, its permissions and its free space"))
    }
}

/// Runs blocking work on tokio's threads for such work.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::new(ErrorKind::Unavailable, format!("failed to use the store: {e}; retry"))))
}

#[async_trait]
impl ChatStore for FilesStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all().with_bounded_cost(false).with_fork(false).with_redact(false)
    }
    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        append.check()?;
        append.title().map_or(Ok(()), check_title)?;
        let (id, append) = (session.clone(), append.clone());
        self.with(session, true, move |log| log.append(&id, &append)).await
    }
    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        let load = load.clone();
        self.with(session, false, move |log| {
            let mut walk = Walk::new(&load, (log.records.len() as u64).checked_sub(1), Timestamp::now());
            while let Some(seq) = walk.wants() {
                let record = &log.records[seq as usize];
                if record.is_stub() { walk.end() } else { walk.take(record.clone()) }
            }
            let (records, complete) = walk.finish();
            Ok(History::new(records, complete, log.position()).with_cost(Cost::new(1, log.end as u64)))
        })
        .await
    }
    async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        self.with(session, true, Log::sweep).await
    }
    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        Ok(Deleted::new(self.with(session, true, Log::delete).await?, self.sweep(session).await?))
    }
    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        let (store, query) = (self.clone(), query.clone());
        blocking(move || store.list(&query)).await
    }
    async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let (store, mut query) = (self.clone(), SessionQuery::of_any_owner());
        query.after = after.map(str::to_owned);
        blocking(move || store.list(&query)).await
    }
    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        self.with(session, false, |log| Ok(log.info)).await
    }
    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        update.check()?;
        let update = update.clone();
        self.with(session, true, move |log| {
            let Some(mut info) = log.info.clone() else { return Ok(None) };
            update.apply(&mut info);
            log.write(&json!([null, info]), failed("update", &log.path))?;
            Ok(Some(info))
        })
        .await
    }
}
