//! What every command shares: the global options, the store that they name, standard output, and the cost.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat_memory::checkpoints::{CheckpointOptions, CheckpointStore, InMemoryRows};
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::url::StoreUrl;
use chat_memory::store::{Cost, InMemoryStore};
use chat_memory::{ChatStore, Error};
use clap::Args;
use etcetera::BaseStrategy;
use jiff::tz::TimeZone;

use crate::escape::{command, json_line};
use crate::failure::{Failure, OnCommandLine};
use crate::output::{Output, say};
use crate::render::Style;

/// The environment variable that names the store.
pub const STORE: &str = "CHAT_MEMORY_STORE";

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Globals {
    /// The store: sqlite:PATH, dynamodb://TABLE or memory: [env: CHAT_MEMORY_STORE]
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// Print the cost to standard error: cost: requests=1 read_units=0 write_units=1 bytes=412
    #[arg(long, global = true)]
    pub cost: bool,
    /// Refuse all writes
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Print JSON; a failure is one line of JSON on standard error: {"error": {"kind", "message", …}}
    #[arg(long, global = true)]
    pub json: bool,
    /// Print times in UTC instead of the local time zone
    #[arg(long, global = true)]
    pub utc: bool,
}

/// What every command shares.
pub struct App {
    globals: Globals,
    /// Standard output.
    pub out: Output,
    cost: Mutex<Cost>,
    /// The explanation of the cost, if any.
    explanation: Mutex<Option<String>>,
}

impl App {
    /// The program with these global options.
    pub fn new(globals: Globals) -> Self {
        Self { globals, out: Output::new(), cost: Mutex::default(), explanation: Mutex::default() }
    }

    /// Whether to print JSON.
    pub fn json(&self) -> bool {
        self.globals.json
    }

    /// Adds the cost of an operation.
    pub fn add_cost(&self, cost: Cost) {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner) += cost;
    }

    /// The style of readable text on standard output.
    pub fn style(&self) -> Style {
        let zone = if self.globals.utc { TimeZone::UTC } else { local_zone() };
        Style { colours: self.out.colours, zone }
    }

    /// Explains the cost, if it is printed.
    pub fn explain_cost(&self, sentence: String) {
        self.explanation.lock().unwrap_or_else(PoisonError::into_inner).replace(sentence);
    }

    /// The cost so far.
    pub fn cost(&self) -> Cost {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's URL: `--store`, otherwise the environment's, otherwise the default.
    pub fn store_url(&self) -> Result<StoreUrl, Failure> {
        self.named_store(None).map(|url| url.0)
    }

    /// The same, where a configuration may name one too, with lower priority than the environment.
    pub fn store_url_or(&self, configured: Option<&str>) -> Result<StoreUrl, Failure> {
        self.named_store(configured).map(|url| url.0)
    }

    /// The store that the command line names.
    pub fn given_store(&self) -> Option<&str> {
        self.globals.store.as_deref()
    }

    /// A command that the user can run on the same store.
    pub fn command(&self, words: &str) -> String {
        command(words, self.given_store())
    }

    /// Whether the command line or the environment names a store.
    pub fn names_a_store(&self) -> bool {
        self.globals.store.is_some() || std::env::var_os(STORE).is_some_and(|url| !url.is_empty())
    }

    /// Whether the command line refuses all writes, to any store.
    pub fn refuses_writes(&self) -> bool {
        self.globals.read_only
    }

    /// Whether to open the store read-only, from the command line or the URL.
    pub fn is_read_only(&self) -> Result<bool, Failure> {
        Ok(self.store_url()?.is_read_only())
    }

    fn named_store(&self, configured: Option<&str>) -> Result<(StoreUrl, bool), Failure> {
        let configured = configured.map(str::to_owned);
        let (said, what) = match &self.globals.store {
            Some(url) => (Some(url.clone()), "--store"),
            None => match std::env::var(STORE) {
                Ok(url) if !url.is_empty() => (Some(url), STORE),
                Ok(_) | Err(std::env::VarError::NotPresent) => (configured, "the configuration's store"),
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(Failure::usage(format!("{STORE} is not UTF-8; write such bytes of a path as %XX")));
                }
            },
        };
        let (url, default) = match said {
            Some(url) => (url.parse::<StoreUrl>().map_err(|e| e.context(what)).on_command_line()?, false),
            None => (default_file()?, true),
        };
        let url = if self.globals.read_only { url.into_read_only().on_command_line()? } else { url };
        Ok((url, default))
    }

    /// Opens the store. Creates the default's folder if it is missing.
    pub async fn store(&self) -> Result<Arc<dyn ChatStore>, Failure> {
        let (url, is_default) = self.named_store(None)?;
        if let (Some(file), true) = (url.sqlite(), is_default) {
            let store = file.open().await?;
            if store.is_new() {
                let path = store.path().display();
                say(format_args!("created {path} for the conversations; name another store with --store or {STORE}"));
            }
            return Ok(Arc::new(store));
        }
        match open(&url).await {
            // Opening a table sends no request to DynamoDB, so invalid input comes from the command line.
            Err(error) if error.is_invalid() && url.scheme() == "dynamodb" => Err(Failure::usage(error.to_string())),
            opened => Ok(opened?),
        }
    }

    /// Opens the store for a command that only reads or removes, without creating anything. If no store was named and nothing has
    /// been stored yet, returns an empty one.
    pub async fn existing_store(&self) -> Result<Arc<dyn ChatStore>, Failure> {
        let (url, is_default) = self.named_store(None)?;
        let Some(file) = url.sqlite() else { return self.store().await };
        match file.create(false).open().await {
            Err(error) if is_default && error.is_not_found() => Ok(Arc::new(InMemoryStore::new())),
            opened => Ok(Arc::new(opened?)),
        }
    }

    /// Opens LangGraph's checkpoints in the store, likewise without creating anything.
    pub async fn existing_checkpoints(&self) -> Result<CheckpointStore, Failure> {
        let (url, is_default) = self.named_store(None)?;
        let kept = CheckpointOptions::default();
        if let Some(table) = options(&url) {
            return Ok(DynamoDbStore::open(table).await?.checkpoints(kept));
        }
        let Some(file) = url.sqlite() else { return Ok(url.open_checkpoints(kept).await?) };
        match file.create(false).open().await {
            Err(error) if is_default && error.is_not_found() => Ok(CheckpointStore::new(InMemoryRows::new(), kept)),
            opened => Ok(opened?.checkpoints(kept)),
        }
    }

    /// The DynamoDB table for `command`.
    pub fn table(&self, command: &str) -> Result<Options, Failure> {
        options(&self.store_url()?)
            .ok_or_else(|| Failure::usage(format!("{command} needs a DynamoDB table: name it, as in --store dynamodb://TABLE")))
    }

    /// Prints the cost and the error; returns the exit code.
    pub fn end(&self, outcome: Result<(), Failure>) -> ExitCode {
        let code = match &outcome {
            Ok(()) => 0,
            Err(failure) => {
                if self.json() {
                    failure.to_json().iter().for_each(|error| say(json_line(error)));
                } else if let Some(sentence) = failure.sentence() {
                    say(format_args!("chat-memory: {sentence}"));
                }
                failure.code()
            }
        };
        if self.globals.cost {
            say(format_args!("cost: {}", self.cost()));
            if let Some(explanation) =
                self.explanation.lock().unwrap_or_else(PoisonError::into_inner).as_ref().filter(|_| !self.json())
            {
                say(explanation);
            }
        }
        ExitCode::from(code)
    }
}

/// Opens the store at a URL.
pub async fn open(url: &StoreUrl) -> Result<Arc<dyn ChatStore>, Error> {
    match options(url) {
        Some(table) => Ok(Arc::new(DynamoDbStore::open(table).await?)),
        None => url.open().await,
    }
}

/// The options of a table for interactive use: if the service cannot be reached at first, it fails quickly. Once it was reached, for
/// instance in a long copy, connection errors get the usual retries. `None` for another store.
pub fn options(url: &StoreUrl) -> Option<Options> {
    let options = url.dynamodb()?;
    let deadline = options.deadline;
    Some(options.with_connect_deadline(Duration::ZERO).with_reconnect_deadline(deadline))
}

/// The local time zone. By its file where that is enough: to find the zone by name, the system's whole list of zones is read, which
/// takes half of what `show` takes.
fn local_zone() -> TimeZone {
    let named = std::env::var_os("TZ").is_some();
    let file = if named { None } else { std::fs::read("/etc/localtime").ok() };
    file.and_then(|file| TimeZone::tzif("local", &file).ok()).unwrap_or_else(TimeZone::system)
}

/// `chat-memory/chats.db` in the user's data directory (on Unix `$XDG_DATA_HOME`, otherwise `~/.local/share`).
fn default_file() -> Result<StoreUrl, Failure> {
    let folders = etcetera::choose_base_strategy()
        .map_err(|e| Failure::usage(format!("no home folder for the default store ({e}); name a store with --store")))?;
    let file = StoreUrl::new("sqlite", folders.data_dir().join("chat-memory").join("chats.db"))?;
    Ok(file.with("create_parent", "true")?)
}
