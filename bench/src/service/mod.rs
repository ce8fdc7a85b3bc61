//! The HTTP service compared with the same calls of the library in this process and, on SQLite, with a bare handler, with the same
//! number of clients; and its memory.
//!
//! The service is the program itself, started as anyone starts it, with a key and its default log. Both sides share this machine:
//! the service also has the client that calls it running next to it, the library has nothing.

mod bare;
mod client;
mod load;
mod memory;
mod report;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chat_memory::ChatStore;
use chat_memory::store::Load;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::url::StoreUrl;
use chat_memory_testkit::{dynamodb_endpoint, table_name};

pub use self::bare::Bare;
use self::client::Client;
use self::load::{Comparison, Operation, Worker, compare, session_of};
use self::memory::Memory;
use self::server::Server;
use crate::Result;
use crate::turns::{WINDOW, turn};

/// How much to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Concurrent clients, one number for each line of the table.
    pub clients: &'static [usize],
    /// Pairs of rounds that count.
    pub pairs: usize,
    /// Requests of each client in a round; more if all of them together are fewer than `together`.
    pub each: usize,
    /// Requests of all clients together in a round, at least.
    pub together: usize,
    /// Requests while the memory is measured.
    pub requests: usize,
}

impl Extent {
    /// For results worth keeping.
    pub const FULL: Self = Self { clients: &[1, 16, 64], pairs: 11, each: 20, together: 200, requests: 200_000 };
    /// To check that it works.
    pub const SMOKE: Self = Self { clients: &[1, 4], pairs: 2, each: 3, together: 6, requests: 400 };
}

/// The result for one kind of store.
#[derive(Debug)]
pub struct Outcome {
    store: &'static str,
    /// With the library, and with the bare handler.
    comparisons: Vec<(Comparison, Option<Comparison>)>,
    memory: Memory,
}

/// Measures, and returns the section as Markdown.
pub async fn run(program: &Path, extent: Extent) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let sqlite = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    eprintln!("SQLite …");
    let urls = Urls { served: sqlite("served.db"), library: sqlite("library.db"), watched: sqlite("watched.db") };
    let most = extent.clients.iter().copied().max().unwrap_or_default();
    let bare = Server::bare(&folder.path().join("bare.db"), most).await?;
    let mut outcomes = vec![measure("SQLite", urls, Some(&bare), program, folder.path(), extent).await?];
    bare.stop().await?;
    eprintln!("DynamoDB …");
    let urls = Urls { served: table().await?, library: table().await?, watched: table().await? };
    outcomes.push(measure("DynamoDB Local", urls, None, program, folder.path(), extent).await?);
    Ok(report::markdown(extent, &outcomes))
}

/// A store for each purpose, all of one kind.
struct Urls {
    served: String,
    library: String,
    watched: String,
}

async fn table() -> Result<String> {
    let url = format!("dynamodb://{}?region=us-east-1&endpoint={}", table_name("bench-service"), dynamodb_endpoint());
    let table = url.parse::<StoreUrl>()?.dynamodb().ok_or("this is a URL of DynamoDB")?;
    Admin::open(&table).await?.create_table().await?;
    Ok(url)
}

async fn measure(
    store: &'static str,
    urls: Urls,
    bare: Option<&Server>,
    program: &Path,
    folder: &Path,
    extent: Extent,
) -> Result<Outcome> {
    let keys: PathBuf = folder.join("keys.toml");
    let key = server::key(program, &keys)?;
    let library = chat_memory::open(&urls.library).await?;
    let server = Server::start(program, &urls.served, &keys).await?;
    let mut comparisons = Vec::new();
    for &clients in extent.clients {
        let (mut served, mut called, mut by_bare) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..clients {
            served.push(Worker::served(Client::connect(server.address(), &key).await?, number));
            called.push(Worker::called(Arc::clone(&library), number));
            if let Some(bare) = bare {
                by_bare.push(Worker::served(Client::connect(bare.address(), &key).await?, number));
            }
        }
        let turns = WINDOW / 2;
        for worker in served.iter_mut().chain(&mut called).chain(&mut by_bare) {
            worker.fill(turns).await?;
        }
        check_equal(&*library, &mut served).await?;
        check_equal(&*library, &mut by_bare).await?;
        for operation in [Operation::Append, Operation::Window] {
            eprintln!("  {operation}, {clients} at once");
            let with_library = compare(operation, &mut served, &mut called, extent).await?;
            let with_bare = match bare {
                Some(_) => Some(compare(operation, &mut served, &mut by_bare, extent).await?),
                None => None,
            };
            comparisons.push((with_library, with_bare));
        }
        // It has appended as many turns more as it was compared a second time.
        if bare.is_none() {
            check_equal(&*library, &mut served).await?;
        }
    }
    server.stop().await?;
    eprintln!("  memory");
    let server = Server::start(program, &urls.watched, &keys).await?;
    let memory = memory::watch(&server, &key, extent.requests).await?;
    server.stop().await?;
    Ok(Outcome { store, comparisons, memory })
}

/// Checks for every session that the service returns the window that the library loads: both got the same turns.
async fn check_equal(library: &dyn ChatStore, served: &mut [Worker]) -> Result {
    for (number, worker) in served.iter_mut().enumerate() {
        let ours = library.load(&session_of(number)?, &Load::last(WINDOW)).await?;
        let ours: Vec<_> = ours.messages().map(chat_memory::Message::to_value).collect();
        let theirs = worker.window().await?;
        if ours.len() != WINDOW || ours != theirs {
            return Err(format!(
                "session {number}: the service shows {} messages that are not the library's {}",
                theirs.len(),
                ours.len()
            )
            .into());
        }
    }
    Ok(())
}

/// The turn with this number. The turns repeat, so that building them takes no time while the clock runs.
fn kept_turn(number: usize) -> chat_memory::store::Append {
    turn(number % load::TURNS)
}
