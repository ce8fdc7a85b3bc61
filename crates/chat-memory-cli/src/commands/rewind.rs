//! `rewind`

use chat_memory::ChatStoreExt;
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{confirm, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chat-memory rewind trip --turns 1      the last question and its answer
  chat-memory rewind trip --to 12 --yes  record 12 and all after it

`show` prints the record numbers.

A turn is a user message and everything after it. A user message with a tool result (as Anthropic, Bedrock and Gemini \
have them) does not start a turn. If the session is modified at the same time, nothing is removed \
and the exit code is 3. Removed records are hidden, not erased; `clear` erases.

With --json: {\"session\", \"rewound\", \"seq\", \"position\", \"cost\"}; rewound is false if there was nothing to remove.";

/// Remove the end of a session
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: String,
    #[command(flatten)]
    reach: Reach,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// How much to remove.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Reach {
    /// Remove the record with this number and all after it
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Remove the last turns
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    turns: Option<u32>,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = stored_session_id(app, &arguments.session)?;
    let name = visible_line(session.as_str());
    let (what, by) = match (arguments.reach.to, arguments.reach.turns) {
        (Some(seq), _) => (format!("record {seq} and all after it"), format!("from record {seq} on")),
        (None, None | Some(1)) => ("the last turn".to_owned(), "by 1 turn".to_owned()),
        (None, Some(turns)) => (format!("the last {turns} turns (or all, if fewer)"), format!("by up to {turns} turns")),
    };
    confirm(arguments.yes, &format!("Remove {what} from {name}"))?;
    let store = app.existing_store().await?;
    let appended = match (arguments.reach.to, arguments.reach.turns) {
        (Some(seq), _) => Some(store.rewind_to(&session, seq).await?),
        (None, turns) => store.rewind_turns(&session, turns.unwrap_or(1) as usize).await?,
    };
    if let Some(appended) = &appended {
        app.add_cost(appended.cost);
    }
    if app.json() {
        let seq = appended.as_ref().map(|appended| appended.seq);
        let position = appended.as_ref().map(|appended| appended.position.to_string());
        let rewound = appended.is_some();
        return app.out.json(
            &json!({ "session": session.as_str(), "rewound": rewound, "seq": seq, "position": position, "cost": app.cost() }),
        );
    }
    match appended {
        Some(appended) => app.out.line(format_args!("rewound {name} {by} (record {})", appended.seq)),
        None => app.out.line(format_args!("{name} has no turn to remove")),
    }
}
