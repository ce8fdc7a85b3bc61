//! Opens the file and the connections to it.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::batch::Batches;
use super::failure::Failure;
use super::log::{Landed, NewRecord};
use super::options::Options;
use super::workers::Workers;
use super::{schema, sweep};
use chat_memory_core::Timestamp;
use chat_memory_core::backend::EntryIdCache;
use chat_memory_core::error::{Error, ErrorKind};

/// Concurrent reads; more wait. Each has a thread and a connection, with a cache of up to 2 MB.
const READERS: usize = 4;

/// Prepared statements kept per connection: all statements of the store.
const STATEMENTS: usize = 70;

/// After this many appends by this process, some expired data is erased.
const APPENDS_PER_PURGE: u64 = 64;

/// An open file.
pub(super) struct Database {
    pub(super) options: Arc<Options>,
    pub(super) is_new: bool,
    /// One writer per process: writes queue here, in order, and not at SQLite's lock, which is polled.
    writer: Workers,
    readers: Workers,
    pub(super) batches: Arc<Batches>,
    appends: AtomicU64,
    pub(super) entry_ids: EntryIdCache,
}

impl Database {
    pub(super) async fn open(mut options: Options) -> Result<Self, Error> {
        // An absolute path, because a change of the working directory must not change the file, and "file:…" is not a URI here.
        options.path = std::path::absolute(&options.path)
            .map_err(|e| Error::invalid(format!("invalid path {:?}: it does not name a file", options.path)).with_source(e))?;
        let options = Arc::new(options);
        let (to_write, to_read) = (Arc::clone(&options), Arc::clone(&options));
        let writer = Workers::new(1, move || connect_to_write(&to_write));
        let readers = Workers::new(READERS, move || connect_to_read(&to_read));
        let shared = Arc::clone(&options);
        let opening = writer.run_with(move |kept| {
            let is_new = prepare_file(&shared)?;
            *kept = first_connection(&shared)?;
            Ok(is_new)
        });
        let is_new = opening.await.map_err(|failure| failure.at(&options))?;
        let entry_ids = EntryIdCache::new(options.retention);
        Ok(Self { options, is_new, writer, readers, batches: Arc::default(), appends: AtomicU64::new(0), entry_ids })
    }

    /// Appends a record, in one transaction with others that wait.
    pub(super) async fn append(&self, new: NewRecord, now: Timestamp, expires_at: Option<Timestamp>) -> Result<Landed, Error> {
        self.batches.append(&self.writer, new, now, expires_at).await.map_err(|failure| failure.at(&self.options))
    }

    /// Runs work that writes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.writer.run(work).await.map_err(|failure| failure.at(&self.options))
    }

    /// Runs work that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.readers.run(work).await.map_err(|failure| failure.at(&self.options))
    }

    /// Whether this append should also purge a little.
    pub(super) fn is_time_to_purge(&self) -> bool {
        self.appends.fetch_add(1, Ordering::Relaxed) % APPENDS_PER_PURGE == APPENDS_PER_PURGE - 1
    }
}

/// Creates the file if it is missing and may be created, and refuses what cannot be ours. Returns whether it was created.
fn prepare_file(options: &Options) -> Result<bool, Error> {
    let path = &options.path;
    let may_make = options.create && !options.read_only;
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        if !may_make && !options.read_only {
            return Err(missing(path));
        }
        if !options.create_parent || options.read_only {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "cannot open the file: there is no folder {}; create it, or name a file in another one",
                    folder.display()
                ),
            ));
        }
        create_folder(folder).map_err(|e| unreachable_file(folder, e))?;
    }
    if path.is_dir() {
        return Err(Error::invalid(format!("cannot open {}: it is a folder; name a file in it", path.display())));
    }
    // Opening a pipe would wait for its other end, and a device may be anything.
    if let Ok(found) = path.metadata()
        && !found.is_file()
    {
        let path = path.display();
        return Err(Error::invalid(format!(
            "cannot open {path}: it is {}, not a regular file; name another path",
            kind_of(&found)
        )));
    }
    let mut is_new = false;
    if !path.exists() {
        if !may_make && !options.read_only {
            return Err(missing(path));
        }
        if options.read_only {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "cannot open {}: there is no such file, and a read-only store does not create it; append something first",
                    path.display()
                ),
            ));
        }
        is_new = match create_file(path) {
            Ok(()) => true,
            // Another process was faster.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(unreachable_file(path, e)),
        };
    }
    schema::check_header(path)?;
    Ok(is_new)
}

fn missing(path: &Path) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("cannot open {}: there is no such file; check the path, or append something to create the file", path.display()),
    )
}

/// Names a file type that is neither a file nor a directory.
fn kind_of(found: &std::fs::Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = found.file_type();
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    let _ = found;
    "something else"
}

/// Creates the file readable by its owner only, because conversations are private; SQLite gives its companion files the same
/// mode.
fn create_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Creates a directory and its parents, each synced to disk before anything in it is acknowledged.
fn create_folder(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent().filter(|above| !above.exists()) {
        create_folder(above)?;
    }
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    #[cfg(unix)]
    if let Some(above) = folder.parent() {
        std::fs::File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// The error for a file or directory that the operating system does not let us access.
pub(super) fn unreachable_file(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    let (kind, sentence) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, format!("cannot open {path}: there is no such file")),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => (
            ErrorKind::AccessDenied,
            format!("cannot open or create {path} ({error}); change its permissions, or name a file elsewhere"),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Unavailable, format!("disk full: no space left for {path}; free some and retry"))
        }
        _ => (ErrorKind::Unavailable, format!("cannot open {path} ({error})")),
    };
    Error::new(kind, sentence).with_source(error)
}

/// Opens the first connection: creates the tables in an empty file, and upgrades one of an older version. Returns `None` if a
/// full disk prevents that: the file is then read as it is until a writer has room.
fn first_connection(options: &Options) -> Result<Option<Connection>, Failure> {
    let mut db = raw_connection(options)?;
    let version = schema::check(&db, &options.path)?;
    if version.is_none() && !options.create {
        let path = options.path.display();
        return Err(Error::new(ErrorKind::NotFound, format!("cannot read {path}: it is empty; append something first")).into());
    }
    if options.read_only {
        let Some(version) = version else {
            let path = options.path.display();
            return Err(
                Error::new(ErrorKind::NotFound, format!("cannot read {path}: it is empty; append something first")).into()
            );
        };
        schema::read_as_present(&db, version)?;
        return Ok(Some(db));
    }
    if version.is_none() {
        schema::create(&mut db, &options.path)?;
    }
    set_wal(&db, options.busy_timeout)?;
    prepare_to_write(&db, options)?;
    match schema::upgrade(&mut db, &options.path) {
        Err(Failure::Sqlite(e)) if e.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!(error = ?e, "upgrading a file of an older version failed");
            return Ok(None);
        }
        upgraded => upgraded?,
    }
    if let Err(e) = sweep::purge_a_little(&db, Timestamp::now()) {
        // A full disk must not prevent reading.
        tracing::warn!(error = ?e, "purging expired records failed");
    }
    Ok(Some(db))
}

/// Opens a connection for reading. The file must still exist.
fn connect_to_read(options: &Options) -> Result<Connection, Failure> {
    let (db, version) = reopened(options)?;
    if !options.read_only {
        prepare_to_write(&db, options)?;
    }
    schema::read_as_present(&db, version)?;
    Ok(db)
}

/// Opens a connection for writing, after the first.
fn connect_to_write(options: &Options) -> Result<Connection, Failure> {
    if options.read_only {
        return connect_to_read(options);
    }
    let (mut db, _) = reopened(options)?;
    prepare_to_write(&db, options)?;
    schema::upgrade(&mut db, &options.path)?;
    Ok(db)
}

fn reopened(options: &Options) -> Result<(Connection, i32), Failure> {
    let db = raw_connection(options)?;
    let Some(version) = schema::check(&db, &options.path)? else {
        let path = options.path.display();
        return Err(Error::corrupt(format!("cannot read {path}: it was emptied while it was open; open it again")).into());
    };
    Ok((db, version))
}

fn raw_connection(options: &Options) -> Result<Connection, Failure> {
    let access = if options.read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    // A connection is never used by two threads at once.
    let db = Connection::open_with_flags(&options.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(options.busy_timeout)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise SQLite, built with STAT4, compiles a statement again whenever other values are bound: half of a window's instructions.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(db)
}

fn prepare_to_write(db: &Connection, options: &Options) -> Result<(), Failure> {
    // A commit returns once the data is on disk; on macOS, only this includes the drive's own cache.
    db.pragma_update(None, "synchronous", "FULL")?;
    #[cfg(target_os = "macos")]
    db.pragma_update(None, "fullfsync", true)?;
    // Overwrites erased data with zeros.
    db.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    #[cfg(test)]
    if let Some(pages) = options.max_pages {
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    #[cfg(not(test))]
    let _ = options;
    Ok(())
}

/// Sets the file to WAL mode. SQLite does not always wait for the lock that this takes, so we do.
fn set_wal(db: &Connection, timeout: Duration) -> Result<(), Failure> {
    let until = Instant::now() + timeout;
    loop {
        let mode = db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let sentence = format!(
                    "cannot enable WAL: SQLite has no write-ahead log on this file system (it offers {mode:?}); use a local disk"
                );
                return Err(Error::new(ErrorKind::Unsupported, sentence).into());
            }
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(fastrand::u64(1..20)));
            }
            Err(e) => return Err(e.into()),
        }
    }
}
