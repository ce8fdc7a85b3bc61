//! `delete`

use chat_memory::ChatStore;
use chat_memory_server::threads;
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{confirm, count, stored_session_id, thread_id};
use crate::app::App;
use crate::completion;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chat-memory delete trip          asks first
  chat-memory delete trip --yes    in a script
  chat-memory delete --thread trip a thread of LangGraph's

Deleting a missing session or thread is not an error: it prints a note, and exits with 0. If it is interrupted, run it again. A run of a graph that \
loaded the thread before cannot continue it; the next one starts from nothing.

With --json: {\"session\", \"existed\", \"erased\", \"cost\"}; existed is whether there was such a session, erased counts records. Of a thread: \
{\"thread\", \"existed\", \"cost\"}.";

/// Delete a session: its messages, and its entry in the list of sessions. Or a thread of LangGraph's
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id
    #[arg(add = ArgValueCompleter::new(completion::sessions), required_unless_present = "thread")]
    session: Option<String>,
    /// Delete this thread of LangGraph's instead
    #[arg(long, value_name = "ID", conflicts_with = "session", add = ArgValueCompleter::new(completion::threads))]
    thread: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    if let Some(thread) = arguments.thread {
        return delete_thread(app, &thread, arguments.yes).await;
    }
    let session = stored_session_id(app, &arguments.session.unwrap_or_default())?;
    confirm(arguments.yes, &format!("Delete {session} and all its messages"))?;
    let store = app.existing_store().await?;
    let deleted = store.delete(&session).await?;
    app.add_cost(deleted.cost);
    if app.json() {
        return app.out.json(&json!({
            "session": session.as_str(),
            "existed": deleted.existed,
            "erased": deleted.records,
            "cost": app.cost(),
        }));
    }
    let erased = count(deleted.records, "record");
    match (deleted.existed, deleted.records) {
        (true, _) => app.out.line(format_args!("deleted {session} ({erased} erased)")),
        (false, 0) => app.out.line(format_args!("no session {:?}: nothing to delete", session.as_str())),
        (false, _) => app.out.line(format_args!("no session {:?}: erased what was left of it ({erased})", session.as_str())),
    }
}

async fn delete_thread(app: &App, thread: &str, yes: bool) -> Result<(), Failure> {
    let thread = thread_id(thread)?;
    confirm(yes, &format!("Delete the thread {thread} and all its checkpoints"))?;
    let store = app.existing_checkpoints().await?;
    let newest = threads::checkpoints(&store, &thread, None, 1).await?;
    app.add_cost(newest.cost);
    let existed = !newest.items.is_empty();
    app.add_cost(store.delete_thread(&thread).await?);
    if app.json() {
        return app.out.json(&json!({"thread": thread.as_str(), "existed": existed, "cost": app.cost()}));
    }
    if existed {
        app.out.line(format_args!("deleted the thread {thread}"))
    } else {
        app.out.line(format_args!("no thread {:?}: nothing to delete", thread.as_str()))
    }
}
