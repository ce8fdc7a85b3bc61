#![doc = include_str!("../README.md")]

mod bytes;
mod log;

use std::io;
use std::sync::Arc;

use chat_memory::store::{Append, Load};
use chat_memory::{ChatStore, ChatStoreExt, Error, ErrorKind, Message, Owner, SessionId};
use rig_memory::{AsyncStore, LogWriteError, check_log_name, check_name};

/// One session of rig's in a store. Its logs are sessions of the store that every program can read; its files are stored next to
/// them.
///
/// A log's bytes are returned unchanged. An append is one record, written only if the log is as long as rig read it. A replacement
/// is one record too, so a reader sees either the old log or the new.
///
/// ```
/// use std::sync::Arc;
/// use chat_memory::store::InMemoryStore;
/// use chat_memory_rig_session::ChatSession;
/// use rig_core::message::Message;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let session = ChatSession::new(Arc::new(InMemoryStore::new()), "user-42")?;
/// let mut conversation = rig_memory::load_async(&session, "main").await?;
/// conversation.push(Message::user("Where to?"));
/// rig_memory::save_async(&session, "main", &mut conversation).await?;
/// assert_eq!(rig_memory::load_async(&session, "main").await?, conversation);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatSession {
    store: Arc<dyn ChatStore>,
    name: String,
    owner: Option<Owner>,
}

impl ChatSession {
    /// The session of this name. Its log `main` is the store's session `rig/NAME/main`.
    ///
    /// # Errors
    /// Invalid, if the name cannot be part of a session's id.
    pub fn new(store: Arc<dyn ChatStore>, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.is_empty() || name.contains('/') {
            return Err(Error::invalid("invalid name of a rig session: expected at least one character and no slash"));
        }
        SessionId::new(format!("rig-file/{name}/blobs/{}", "x".repeat(64)))?;
        Ok(Self { store, name, owner: None })
    }

    /// The same session; the logs that it starts get this owner in the store's directory.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ChatStore> {
        &self.store
    }

    /// The store's session that holds a log.
    ///
    /// # Errors
    /// Invalid, if the log's name cannot be part of a session's id.
    pub fn log(&self, name: &str) -> Result<SessionId, Error> {
        SessionId::new(format!("rig/{}/{name}", self.name))
    }

    fn checked_log(&self, name: &str) -> io::Result<SessionId> {
        check_log_name(name)?;
        self.log(name).map_err(failed)
    }

    fn checked_file(&self, name: &str) -> io::Result<SessionId> {
        check_name(name)?;
        SessionId::new(format!("rig-file/{}/{name}", self.name)).map_err(failed)
    }

    /// Writes to a log that is `len` bytes long, or returns an error if it is not.
    async fn write(&self, name: &str, len: u64, bytes: &[u8], replace: bool) -> Result<(), LogWriteError> {
        let session = self.checked_log(name)?;
        let end = self.store.load(&session, &Load::last(1).single_message_records()).await.map_err(failed)?;
        if log::length(&end)? != len {
            return Err(LogWriteError::Changed);
        }
        let messages = log::messages(bytes);
        let append = if replace { Append::replace_all(messages) } else { Append::new(messages) };
        let total = if replace { 0 } else { len } + bytes.len() as u64;
        let append = append.with_metadata(log::metadata(total)).with_expected(end.position);
        let append = self.owner.iter().cloned().fold(append, Append::with_owner);
        match self.store.append_with_retry(&session, append).await {
            Ok(_) => {
                if replace {
                    // What was replaced is already invisible; if erasing it fails, the next sweep does it.
                    let _ = self.store.sweep(&session).await;
                }
                Ok(())
            }
            Err(error) if error.is_conflict() => Err(LogWriteError::Changed),
            Err(error) => Err(LogWriteError::Io(failed(error))),
        }
    }
}

/// Converts our errors to rig's; the message says what to do.
fn failed(error: Error) -> io::Error {
    let kind = match error.kind() {
        // Not "not found": that would mean that there is no such log, while it may be the table that is missing.
        ErrorKind::NotFound => io::ErrorKind::Other,
        ErrorKind::AccessDenied | ErrorKind::ReadOnly => io::ErrorKind::PermissionDenied,
        ErrorKind::TooLarge => io::ErrorKind::FileTooLarge,
        ErrorKind::Invalid | ErrorKind::KeyReused => io::ErrorKind::InvalidInput,
        ErrorKind::Corrupt => io::ErrorKind::InvalidData,
        ErrorKind::Unsupported => io::ErrorKind::Unsupported,
        ErrorKind::InDoubt => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl AsyncStore for ChatSession {
    async fn read_log_async(&self, name: &str) -> io::Result<Vec<u8>> {
        let session = self.checked_log(name)?;
        let history = self.store.load(&session, &Load::all()).await.map_err(failed)?;
        log::bytes(&history)
    }

    async fn append_log_async(&self, name: &str, len: u64, bytes: &[u8]) -> Result<(), LogWriteError> {
        self.write(name, len, bytes, false).await
    }

    async fn replace_log_async(&self, name: &str, len: u64, bytes: &[u8]) -> Result<(), LogWriteError> {
        self.write(name, len, bytes, true).await
    }

    async fn read_file_async(&self, name: &str) -> io::Result<Vec<u8>> {
        let session = self.checked_file(name)?;
        let history = self.store.load(&session, &Load::last(1)).await.map_err(failed)?;
        let message = history.messages().next_back();
        message.and_then(bytes::of).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    async fn write_file_async(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let session = self.checked_file(name)?;
        let mut message = Message::system("");
        bytes::put(&mut message, bytes);
        // An owner of its own, so that the directory does not list files among the sessions.
        let owner = Owner::new("rig-files").map_err(failed)?;
        self.store.append_with_retry(&session, Append::replace_all([message]).with_owner(owner)).await.map_err(failed)?;
        let _ = self.store.sweep(&session).await;
        Ok(())
    }
}
