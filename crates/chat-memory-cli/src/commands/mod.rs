//! The commands, one per file: its arguments with their help, and its implementation.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;

use chat_memory::backend::check_title;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::cost_of;
use chat_memory::store::url::StoreUrl;
use chat_memory::store::{Append, Appended, Cost};
use chat_memory::wire::Format;
use chat_memory::{ChatStore, Message, Owner, SessionId};
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::app::{App, options};
use crate::escape::{command, visible_line};
use crate::failure::{Failure, OnCommandLine};
use crate::output::say;

pub mod append;
pub mod chat;
pub mod clear;
pub mod completions;
pub mod delete;
pub mod doctor;
pub mod export;
mod findings;
pub mod fork;
pub mod iam_policy;
mod ids;
pub mod import;
pub mod key;
pub mod migrate;
mod progress;
pub mod redact;
pub mod rewind;
pub mod search;
pub mod serve;
pub mod sessions;
pub mod show;
mod steps;
pub mod table;
pub mod threads;
pub mod title;

/// A session's id from the command line.
fn session_id(text: &str) -> Result<SessionId, Failure> {
    SessionId::new(text).on_command_line()
}

/// A thread's id from the command line.
fn thread_id(text: &str) -> Result<SessionId, Failure> {
    SessionId::of_thread(text).on_command_line()
}

/// The id of a session that may exist, from the command line: a DynamoDB table may hold ids that no other store accepts.
fn stored_session_id(app: &App, text: &str) -> Result<SessionId, Failure> {
    // If the URL is invalid, opening the store reports it.
    app.store_url().map_or_else(|_| session_id(text), |url| stored_id(&url, text))
}

/// The same, for the store at this URL.
fn stored_id(url: &StoreUrl, text: &str) -> Result<SessionId, Failure> {
    if url.scheme() == "dynamodb" { SessionId::stored(text).on_command_line() } else { session_id(text) }
}

/// An owner from the command line.
fn owner(text: Option<&String>) -> Result<Option<Owner>, Failure> {
    text.map(|name| Owner::new(name).on_command_line()).transpose()
}

/// A title from the command line.
fn title(text: &str) -> Result<&str, Failure> {
    check_title(text).map_err(|e| e.context("--title")).on_command_line().map(|()| text)
}

/// An idempotency key from the command line.
fn idempotency_key(text: &str) -> Result<&str, Failure> {
    // With an entry, so that only the key can be wrong.
    let append = Append::new([Message::user("")]).with_key(text);
    append.check().map_err(|e| e.context("--idempotency-key")).on_command_line().map(|()| text)
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum ListFormat {
    /// For people
    #[default]
    Text,
    /// JSON lines
    Json,
}

impl ListFormat {
    /// Whether to print JSON, as `--json` demands of every command.
    fn is_json(self, app: &App) -> bool {
        self == Self::Json || app.json()
    }
}

/// A message format, or one of the values that an option takes in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Format(Format),
    Other(&'static str),
}

/// Parses a message format, or one of these other values, each with its help.
fn choices(others: &'static [(&'static str, &'static str)]) -> impl TypedValueParser<Value = Choice> {
    let others_first = others.iter().map(|(name, about)| PossibleValue::new(*name).help(*about));
    let formats = Format::ALL.iter().map(|format| PossibleValue::new(format.as_str()).help(format.about()));
    PossibleValuesParser::new(others_first.chain(formats)).map(move |name| {
        let other = others.iter().find(|(other, _)| *other == name);
        other.map_or_else(|| Choice::Format(name.parse().unwrap_or_default()), |(other, _)| Choice::Other(other))
    })
}

/// Parses a message format.
fn formats() -> impl TypedValueParser<Value = Format> {
    choices(&[]).map(|choice| if let Choice::Format(format) = choice { format } else { Format::default() })
}

/// Opens a file, or standard input for `-`; returns its size too if it has one.
fn input(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let cannot =
        |e: io::Error| Failure::other(format!("cannot read {}: {e}; check the path and its permissions", path.display()));
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if about.is_dir() {
        return Err(Failure::other(format!("cannot read {}: it is a folder; name a file in it", path.display())));
    }
    let size = about.is_file().then_some(about.len());
    Ok((Box::new(BufReader::new(file)), size))
}

/// Asks on a terminal whether to continue; without one, requires `--yes`.
fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(format!("not confirmed: \"{what}?\" needs an answer, and there is no terminal; give --yes")));
    }
    let mut err = io::stderr();
    let _ = write!(err, "{}? [y/N] ", visible_line(what));
    let _ = err.flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::other("nothing was done")),
    }
}

/// Prints the cost of reading every item of a table, before reading. Other stores charge nothing.
async fn say_scan_cost(app: &App, url: &StoreUrl) -> Result<(), Failure> {
    let Some(table) = options(url) else { return Ok(()) };
    if !app.json() {
        // The cost may not be permitted to query; the listing itself may be allowed nevertheless.
        if let Ok(cost) = Admin::open(&table).await?.scan_cost().await {
            say(cost);
        }
    }
    Ok(())
}

/// With `--cost`, explains why the append that starts a session costs more than later ones, using its cost.
fn explain_start(app: &App, store: &dyn ChatStore, session: &SessionId, append: &Append, appended: &Appended) {
    // SQLite has no units, and a table without a list of sessions writes only the record.
    if !appended.started || appended.repeated || appended.cost.write_units == 0.0 || !store.capabilities().directory {
        return;
    }
    let record = append.record(appended.seq, append.id_in(session), appended.created_at, None);
    let Some(alone) = cost_of(session, &record) else { return };
    let Cost { read_units, write_units, .. } = appended.cost;
    app.explain_cost(format!(
        "(first append of the session: {write_units} write units for the record and the session's entry in the list, \
         {read_units} read units to check that the session is new; a later record of this size takes {} write units)",
        alone.write_units
    ));
}

/// The error for a named session that does not exist.
fn no_such_session(store: Option<&str>) -> String {
    let list = command("sessions --all", store);
    format!("there is no such session; check the id, or list all sessions with `{list}`")
}

/// "1 record", "2 records".
fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}
