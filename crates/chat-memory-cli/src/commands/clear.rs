//! `clear`

use chat_memory::{ChatStore, ChatStoreExt as _};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{confirm, count, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chat-memory clear trip          asks first
  chat-memory clear trip --yes    in a script

The messages disappear from every load at once. They are then erased, which costs about as much as writing them \
did; if that is interrupted, the next clear resumes it. The session stays in the list; `delete` removes it.

With --json: {\"session\", \"existed\", \"seq\", \"position\", \"erased\", \"cost\"}; erased counts records.";

/// Remove all messages of a session
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
    let store = app.existing_store().await?;
    if store.start_position(&session).await?.is_some() {
        // A clear of it would begin it. What an interrupted clear or delete left is erased nevertheless.
        let swept = store.sweep(&session).await?;
        app.add_cost(swept.cost);
        if app.json() {
            return app.out.json(&json!({
                "session": session.as_str(),
                "existed": false,
                "seq": null,
                "position": null,
                "erased": swept.records,
                "cost": app.cost(),
            }));
        }
        let erased = count(swept.records, "record");
        return match swept.records {
            0 => app.out.line(format_args!("no session {:?}: nothing to clear", session.as_str())),
            _ => app.out.line(format_args!("no session {:?}: erased what was left of it ({erased})", session.as_str())),
        };
    }
    let name = visible_line(session.as_str());
    confirm(arguments.yes, &format!("Clear all messages of {name}"))?;
    let cleared = store.clear(&session).await?;
    app.add_cost(cleared.cost());
    if app.json() {
        return app.out.json(&json!({
            "session": session.as_str(),
            "existed": true,
            "seq": cleared.appended.seq,
            "position": cleared.appended.position.to_string(),
            "erased": cleared.swept.records,
            "cost": app.cost(),
        }));
    }
    app.out.line(format_args!("cleared {name} ({} erased)", count(cleared.swept.records, "record")))
}
