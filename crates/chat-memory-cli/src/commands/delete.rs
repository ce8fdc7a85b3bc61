//! `delete`

use chat_memory::ChatStore;
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{confirm, count, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chat-memory delete trip          asks first
  chat-memory delete trip --yes    in a script

Deleting a missing session is not an error: it prints a note, and exits with 0. If it is interrupted, run it again.

With --json: {\"session\", \"existed\", \"erased\", \"cost\"}; existed is whether there was such a session, erased counts records.";

/// Delete a session: its messages, and its entry in the list of sessions
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
    let session = stored_session_id(app, &arguments.session)?;
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
