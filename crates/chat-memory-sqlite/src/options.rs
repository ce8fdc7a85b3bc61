//! How to open the file.

use std::path::PathBuf;
use std::time::Duration;

use chat_memory_core::backend::settings::{self, Setting, boolean, bytes, duration, spell_bytes, spell_duration};
use chat_memory_core::error::Error;

use super::SqliteBuilder;

/// SQLite's limit is 10^9 bytes per value.
const MAX_RECORD_BYTES: usize = 900_000_000;

/// How to open the file.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) path: PathBuf,
    pub(super) retention: Option<Duration>,
    pub(super) read_only: bool,
    pub(super) busy_timeout: Duration,
    pub(super) create: bool,
    pub(super) create_parent: bool,
    pub(super) max_record_bytes: usize,
    /// Limits the file's size, in pages, so that a test can fill the disk.
    #[cfg(test)]
    pub(super) max_pages: Option<u32>,
}

impl Options {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            retention: None,
            read_only: false,
            busy_timeout: Duration::from_secs(10),
            create: true,
            create_parent: false,
            max_record_bytes: 16_000_000,
            #[cfg(test)]
            max_pages: None,
        }
    }
}

/// The settings that a store URL can give.
const SETTINGS: [Setting<SqliteBuilder>; 5] = [
    Setting::new(
        "retention",
        "30d",
        |o, v| settings::retention(v).map(|v| o.0.retention = Some(v)),
        |o| o.0.retention.map(spell_duration),
    ),
    Setting::new("read_only", "true", |o, v| boolean(v).map(|v| o.0.read_only = v), |o| Some(o.0.read_only.to_string())),
    Setting::new(
        "create_parent",
        "true",
        |o, v| boolean(v).map(|v| o.0.create_parent = v),
        |o| Some(o.0.create_parent.to_string()),
    ),
    Setting::new(
        "max_record",
        "16MB",
        |o, v| record_bytes(v).map(|v| o.0.max_record_bytes = v),
        |o| Some(spell_bytes(o.0.max_record_bytes)),
    ),
    Setting::new(
        "busy_timeout",
        "10s",
        |o, v| duration(v).map(|v| o.0.busy_timeout = v),
        |o| Some(spell_duration(o.0.busy_timeout)),
    ),
];

impl SqliteBuilder {
    /// The settings that have a name and a text, as in a store URL: all but the path and [`create`](Self::create).
    pub const SETTINGS: [Setting<Self>; 5] = SETTINGS;

    /// Sets a setting by its name, as a store URL does.
    ///
    /// ```
    /// use chat_memory::store::sqlite::SqliteStore;
    /// let mut builder = SqliteStore::builder("chats.db");
    /// builder.set("busy_timeout", "3s")?;
    /// assert!(builder.set("retention", "30").is_err(), "it has no unit");
    /// # Ok::<(), chat_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Invalid if there is no such setting, or if it cannot have this value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        settings::set(&SETTINGS, self, name, value)
    }

    /// Checks whether every setting has a value that it can have. [`open`](Self::open) does the same.
    ///
    /// # Errors
    /// Invalid, with the setting's name.
    pub fn check(&self) -> Result<(), Error> {
        settings::check(&SETTINGS, self)
    }
}

fn record_bytes(value: &str) -> Result<usize, String> {
    let limit = bytes(value)?;
    if limit <= MAX_RECORD_BYTES { Ok(limit) } else { Err(format!("expected at most {}", spell_bytes(MAX_RECORD_BYTES))) }
}
