//! Tests what the conformance suite cannot see from outside: the file, its faults, and time.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use super::SqliteStore;
use chat_memory_core::message::Message;
use chat_memory_core::store::{Append, ChatStore, Load};
use chat_memory_core::{SessionId, Timestamp};

mod checkpoints;
mod directory;
mod entries;
mod erasing;
mod faults;
mod opening;
mod redacting;
mod search;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chat.db");
    (folder, path)
}

fn session(id: &str) -> SessionId {
    SessionId::new(id).expect("a good id")
}

fn saying(text: &str) -> Append {
    Append::new([Message::user(text)])
}

async fn say(store: &SqliteStore, id: &str, text: &str) -> u64 {
    store.append(&session(id), &saying(text)).await.expect("an append").seq
}

async fn texts(store: &SqliteStore, id: &str) -> Vec<String> {
    let history = store.load(&session(id), &Load::all()).await.expect("a load");
    history.messages().map(Message::text).collect()
}

/// Changes the file behind the store's back.
fn change(path: &Path, sql: &str) {
    Connection::open(path).expect("the file").execute_batch(sql).expect("the change");
}

/// Returns the names in a directory and the contents of each file.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}
