//! `threads`

use std::collections::HashSet;

use chat_memory::SessionId;
use chat_memory_server::threads::{self, CheckpointInfo, ThreadInfo};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{ListFormat, say_scan_cost, thread_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::Failure;
use crate::output::say;
use crate::render::{Style, time};

const EXAMPLES: &str = "\
Examples:
  chat-memory threads                    all threads, in no order
  chat-memory threads trip               the checkpoints of one, newest first
  chat-memory show --thread trip         its messages
  chat-memory show --thread trip --checkpoint ID   at an earlier checkpoint
  chat-memory delete --thread trip

Threads are what LangGraph's checkpointers `ChatMemorySaver` (Python and JavaScript) keep in the store, next to sessions. A list of all \
threads shows when the newest checkpoint of each was created. On DynamoDB it reads the whole table; the expected cost is printed first.

A checkpoint's line has the time in its id, the id, what created it and its step, the size of its state, and the namespace if it is a \
subgraph's. Where it does not follow the one below it, the id of its parent is last.

JSON lines, with --format json or --json: {\"id\", \"checkpoint\", \"last_at\"}, where checkpoint is the id of the newest; with a thread \
{\"id\", \"namespace\", \"parent\", \"created_at\", \"source\", \"step\", \"size\", \"newest\", \"expires_at\", \"metadata\"}. The times are in \
UTC, and null if unknown.";

/// List LangGraph's threads, or the checkpoints of one
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The thread whose checkpoints to list; without it, list the threads
    #[arg(add = ArgValueCompleter::new(completion::threads))]
    thread: Option<String>,
    /// List up to N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The output format
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let as_json = arguments.format.is_json(app);
    let limit = arguments.limit.map_or(usize::MAX, |limit| limit as usize);
    match arguments.thread {
        Some(thread) => checkpoints(app, &thread, limit, as_json).await,
        None => all(app, limit, as_json).await,
    }
}

/// Lists all threads.
async fn all(app: &App, mut left: usize, as_json: bool) -> Result<(), Failure> {
    let style = app.style();
    let store = app.existing_checkpoints().await?;
    say_scan_cost(app, &app.store_url()?).await?;
    let (mut after, mut seen) = (None::<String>, HashSet::new());
    while left > 0 {
        let page = threads::list(&store, after.as_deref()).await?;
        app.add_cost(page.cost);
        for thread in page.items.iter().filter(|thread| seen.insert(thread.id.clone())).take(left) {
            left -= 1;
            if as_json {
                app.out.json(&json!(thread))?;
            } else {
                app.out.line(thread_line(thread, &style))?;
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

/// Lists the checkpoints of a thread.
async fn checkpoints(app: &App, thread: &str, mut left: usize, as_json: bool) -> Result<(), Failure> {
    const PAGE: usize = 50;
    let style = app.style();
    let thread = thread_id(thread)?;
    let store = app.existing_checkpoints().await?;
    let (mut after, mut is_first) = (None::<String>, true);
    // A line names its parent only if the next line is another checkpoint.
    let mut last: Option<CheckpointInfo> = None;
    while left > 0 {
        let page = threads::checkpoints(&store, &thread, after.as_deref(), left.min(PAGE)).await?;
        app.add_cost(page.cost);
        left -= page.items.len();
        if page.items.is_empty() && is_first && !as_json {
            say_none(&thread);
        }
        is_first = false;
        for checkpoint in page.items {
            if as_json {
                app.out.json(&json!(checkpoint))?;
            } else if let Some(newer) = last.replace(checkpoint) {
                let follows = last.as_ref().is_some_and(|older| newer.parent.as_ref() == Some(&older.id));
                print(app, &newer, follows, &style)?;
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    last.map_or(Ok(()), |oldest| print(app, &oldest, after.is_some(), &style))
}

/// Says that a thread has no checkpoints, which is no error.
pub fn say_none(thread: &SessionId) {
    say(format_args!("the thread {} has no checkpoints", visible_line(thread.as_str())));
}

fn print(app: &App, checkpoint: &CheckpointInfo, follows: bool, style: &Style) -> Result<(), Failure> {
    let line = checkpoint_line(checkpoint, style);
    match checkpoint.parent.as_deref().filter(|_| !follows) {
        Some(parent) => app.out.line(format_args!("{line}  after {}", visible_line(parent))),
        None => app.out.line(line),
    }
}

fn thread_line(thread: &ThreadInfo, style: &Style) -> String {
    let id = visible_line(&thread.id);
    thread.last_at.map_or_else(|| id.clone(), |at| format!("{}  {id}", time(at.timestamp(), &style.zone)))
}

/// A checkpoint in one line: when, its id, what created it and its step, its size, and its namespace.
pub fn checkpoint_line(checkpoint: &CheckpointInfo, style: &Style) -> String {
    let mut parts = Vec::new();
    parts.extend(checkpoint.created_at.map(|at| time(at.timestamp(), &style.zone)));
    parts.push(visible_line(&checkpoint.id));
    let step = checkpoint.step.map(|step| step.to_string());
    let made: Vec<_> = checkpoint.source.iter().map(|source| visible_line(source)).chain(step).collect();
    if !made.is_empty() {
        parts.push(made.join(" "));
    }
    parts.push(format!("{} bytes", checkpoint.size));
    if !checkpoint.namespace.is_empty() {
        parts.push(visible_line(&checkpoint.namespace));
    }
    parts.join("  ")
}
