//! `key`: the API keys of `serve`.

use chat_memory::Timestamp;
use std::path::PathBuf;

use chat_memory_server::keys::{self, Key, Right};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use serde_json::json;

use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::{Failure, OnCommandLine};
use crate::output::say;
use crate::render::time;

const EXAMPLES: &str = "\
Examples:
  chat-memory key new --keys keys.toml --name backend
  chat-memory key new --keys keys.toml --name acme-app --namespace acme --right read
  chat-memory key list --keys keys.toml
  chat-memory key revoke --keys keys.toml backend
  chat-memory serve --keys keys.toml

The file contains a hash of each key, never the key. A running service notices a change within a second.";

/// Create, list and revoke the API keys of `serve`
#[derive(Debug, Subcommand)]
#[command(after_long_help = EXAMPLES)]
pub enum Command {
    New(New),
    List(List),
    Revoke(Revoke),
}

/// The file of keys.
#[derive(Debug, Args)]
pub struct InFile {
    /// The file of keys
    #[arg(long, value_name = "FILE", env = "CHAT_MEMORY_KEYS")]
    keys: PathBuf,
}

/// Create a key and print it; it is shown only once
#[derive(Debug, Args)]
pub struct New {
    #[command(flatten)]
    file: InFile,
    /// Its purpose, in your words
    #[arg(long)]
    name: String,
    /// The namespace that it is limited to; without it, sessions without a namespace
    #[arg(long)]
    namespace: Option<String>,
    /// A right; repeat for more [default: read and write]
    #[arg(long = "right", value_enum)]
    rights: Vec<Right>,
}

/// List the keys: ids, names, namespaces, rights; never the keys themselves
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    file: InFile,
}

/// Revoke a key
#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    file: InFile,
    /// The key's id, or its name if no other key has it
    #[arg(add = ArgValueCompleter::new(completion::api_keys))]
    key: String,
}

pub fn run(app: &App, command: Command) -> Result<(), Failure> {
    match command {
        Command::New(new) => make(app, new),
        Command::List(list) => keys::list(&list.file.keys)?.iter().try_for_each(|key| print(app, key)),
        Command::Revoke(revoke) => {
            let key = keys::revoke(&revoke.file.keys, &revoke.key)?;
            if app.json() {
                return print(app, &key);
            }
            say(format_args!("revoked {} ({}); a running service refuses it within a second", key.id, visible_line(&key.name)));
            Ok(())
        }
    }
}

fn make(app: &App, new: New) -> Result<(), Failure> {
    let rights = if new.rights.is_empty() { vec![Right::Read, Right::Write] } else { new.rights };
    // A file that cannot be read is no usage error.
    keys::check(&new.name, new.namespace.as_deref(), &rights).on_command_line()?;
    let (key, text) = keys::create(&new.file.keys, &new.name, new.namespace.as_deref(), &rights)?;
    if app.json() {
        let mut shown = describe(&key);
        shown["key"] = text.into();
        return app.out.json(&shown);
    }
    app.out.line(text)?;
    say(format_args!("created the key {} in {}; it is shown only once and not stored", key.id, new.file.keys.display()));
    Ok(())
}

fn print(app: &App, key: &Key) -> Result<(), Failure> {
    if app.json() {
        return app.out.json(&describe(key));
    }
    let rights: Vec<_> = key.rights.iter().map(ToString::to_string).collect();
    let namespace = key.namespace.as_deref().map(|name| format!("  namespace {name}")).unwrap_or_default();
    app.out.line(format_args!(
        "{}  {}  {}{namespace}  {}",
        key.id,
        time(Timestamp::from_millis(key.created_at.as_millisecond()), &app.style().zone),
        rights.join(","),
        visible_line(&key.name)
    ))
}

fn describe(key: &Key) -> serde_json::Value {
    let rights: Vec<_> = key.rights.iter().map(ToString::to_string).collect();
    json!({ "id": key.id, "name": key.name, "namespace": key.namespace, "rights": rights, "created_at": key.created_at.to_string() })
}
