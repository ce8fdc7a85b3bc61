//! `delete`

use chat_memory::ChatStore;
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{confirm, count, session_id};
use crate::app::App;
use crate::completion;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chat-memory delete trip          asks first
  chat-memory delete trip --yes    in a script

A session that is not there is deleted without an error. If it is interrupted, run it again.

With --json: {\"session\", \"erased\", \"cost\"}; erased counts records.";

/// Forget a session: its messages, and its entry in the list of sessions
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = session_id(&arguments.session)?;
    confirm(arguments.yes, &format!("Delete {session} and all its messages"))?;
    let store = app.existing_store().await?;
    let swept = store.delete(&session).await?;
    app.spend(swept.receipt);
    if app.json() {
        return app.out.json(&json!({ "session": session.as_str(), "erased": swept.records, "cost": app.cost() }));
    }
    app.out.line(format_args!("deleted {session} ({} erased)", count(swept.records, "record")))
}
