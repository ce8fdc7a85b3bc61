//! How cost, time and memory grow: with the turns of a session, the sessions of a store, and the concurrent writers.
//!
//! The library's own appends write everything. Counts are from the costs; times depend on the machine.

mod report;
mod session;
mod sessions;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use chat_memory::ChatStore;
use chat_memory::store::Cost;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::dynamodb::{Layout, Roll};
use chat_memory::store::sqlite::SqliteStore;
use chat_memory_testkit::{client, new_table, table_name};

pub use self::report::{number, thousands};
use crate::{Result, plots};

/// How far to measure.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Turns of a session.
    pub turns: &'static [usize],
    /// The same in the `list` layout, which is not made for long sessions.
    pub listed: &'static [usize],
    /// Sessions of a store.
    pub sessions: &'static [usize],
    /// Concurrent writers.
    pub writers: &'static [usize],
    /// Appends of all writers together.
    pub appends: usize,
    /// How often to take a time; the median counts.
    pub times: usize,
}

impl Extent {
    /// For results worth keeping.
    pub const FULL: Self = Self {
        turns: &[1, 10, 100, 1_000, 10_000, 100_000],
        listed: &[1, 10, 100, 1_000, 10_000],
        sessions: &[100, 1_000, 10_000, 100_000],
        writers: &[1, 8, 16, 64],
        appends: 1_280,
        times: 31,
    };
    /// To check that it works.
    pub const SMOKE: Self =
        Self { turns: &[1, 10, 40], listed: &[1, 10, 20], sessions: &[5, 20], writers: &[1, 4], appends: 16, times: 3 };
}

/// A kind of store, as the tables name it.
struct Kind {
    name: &'static str,
    /// Whether writes are charged in units.
    units: bool,
    store: Arc<dyn ChatStore>,
}

/// Measures, writes the plots' data, and returns the section as Markdown.
pub async fn run(extent: Extent) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let client = client();
    let turns = Options::new(table_name("scale"));
    Admin::from_client(&client, &turns)?.create_table().await?;
    let sqlite = |name: &str| SqliteStore::open(folder.path().join(name));

    let mut grown = Vec::new();
    for (name, options) in [
        ("DynamoDB, `turns`", turns.clone()),
        ("DynamoDB, `list`, 64KB", listed(64_000).await),
        ("DynamoDB, `list`, 8KB", listed(8_000).await),
    ] {
        let marks = if name.contains("list") { extent.listed } else { extent.turns };
        let kind = Kind { name, units: true, store: Arc::new(DynamoDbStore::from_client(&client, options)?) };
        grown.push(session::grow(&kind, marks, extent.times).await?);
    }
    let kind = Kind { name: "SQLite", units: false, store: Arc::new(sqlite("session.db").await?) };
    grown.push(session::grow(&kind, extent.turns, extent.times).await?);

    // A directory of its own, without other runs' sessions.
    let many = Options::new(table_name("scale-sessions"));
    Admin::from_client(&client, &many)?.create_table().await?;
    let again = || -> Result<Arc<dyn ChatStore>> { Ok(Arc::new(DynamoDbStore::from_client(&client, many.clone())?)) };
    let mut filled = vec![sessions::fill("DynamoDB, `turns`", true, &again, extent.sessions, extent.times).await?];
    let store: Arc<dyn ChatStore> = Arc::new(sqlite("sessions.db").await?);
    let again = || Ok(Arc::clone(&store));
    filled.push(sessions::fill("SQLite", false, &again, extent.sessions, extent.times).await?);

    let again = || -> Result<Arc<dyn ChatStore>> { Ok(Arc::new(DynamoDbStore::from_client(&client, turns.clone())?)) };
    let mut written = writers::run("DynamoDB, `turns`", &again, extent.writers, extent.appends).await?;
    let store: Arc<dyn ChatStore> = Arc::new(sqlite("writers.db").await?);
    let again = || Ok(Arc::clone(&store));
    written.extend(writers::run("SQLite", &again, extent.writers, extent.appends).await?);

    for (name, drawing) in report::drawings(&grown) {
        plots::keep(name, &drawing)?;
    }
    Ok(report::markdown(&extent, &grown, &filled, &written))
}

/// A new table of the `list` layout.
async fn listed(roll: usize) -> Options {
    Options::new(new_table("scale-list", &["id"]).await).with_layout(Layout::List).with_roll(Roll::At(roll))
}

/// The cost and the time of an operation.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    cost: Cost,
    time: Duration,
}

/// The median time.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
