//! `fork`

use chat_memory::store::Fork;
use chat_memory::{ChatStoreExt, SessionId};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{count, idempotency_key, owner, session_id, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chat-memory fork trip trip-rome             all of trip, as trip-rome
  chat-memory fork trip trip-rome --at 12     up to record 12
  chat-memory fork trip                       under a new id, which is printed
  chat-memory fork trip trip-rome --dry-run   what that would copy and cost

`show` prints the record numbers.

A fork is a copy: what happens to one session later does not change the other. It appears in one step, with the owner and the title of \
the other session unless --owner and --title give others. `sessions` shows where it comes from. If the new session already exists, \
nothing is written and the exit code is 3.

A fork costs a load of the session, and the writing of the copies: on DynamoDB, twice the write units of the records' items. A table in \
the format of this program copies up to 97 records.

With --json: {\"session\", \"from\", \"seq\", \"records\", \"entries\", \"position\", \"cost\"}; seq is the number, in the other session, of the last \
record that was copied. With --dry-run: {\"from\", \"seq\", \"records\", \"entries\", \"write_units\", \"cost\"}; write_units is an \
estimate, null if the store has none.";

/// Begin a new session with a copy of another
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session to copy
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: String,
    /// The id of the new session; by default a random one, which is printed
    new: Option<String>,
    /// Copy up to the record with this number; by default all
    #[arg(long, value_name = "N")]
    at: Option<u64>,
    /// The owner of the new session; by default that of the other
    #[arg(long)]
    owner: Option<String>,
    /// The title of the new session; by default that of the other
    #[arg(long)]
    title: Option<String>,
    /// Makes it safe to run the same command again for 24 hours; needs the id of the new session
    #[arg(long, value_name = "KEY", requires = "new")]
    idempotency_key: Option<String>,
    /// Print what would be copied and what that would cost, and write nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = stored_session_id(app, &arguments.session)?;
    let name = visible_line(session.as_str());
    let new = arguments.new.map_or_else(|| Ok(SessionId::random()), |id| session_id(&id))?;
    let mut fork = Fork::new();
    if let Some(seq) = arguments.at {
        fork = fork.up_to(seq);
    }
    if let Some(owner) = owner(arguments.owner.as_ref())? {
        fork = fork.with_owner(owner);
    }
    if let Some(title) = arguments.title {
        fork = fork.with_title(super::title(&title)?);
    }
    if let Some(key) = arguments.idempotency_key {
        fork = fork.with_key(idempotency_key(&key)?);
    }
    let store = app.existing_store().await?;
    if arguments.dry_run {
        let plan = store.plan_fork(&session, &new, &fork).await?;
        app.add_cost(plan.cost);
        if app.json() {
            return app.out.json(&json!({
                "from": session.as_str(),
                "seq": plan.seq,
                "records": plan.records,
                "entries": plan.entries,
                "write_units": plan.write_units,
                "cost": app.cost(),
            }));
        }
        let units = plan.write_units.map_or_else(String::new, |units| format!(", some {units} write units"));
        let (records, messages) = (count(plan.records, "record"), count(plan.entries, "message"));
        return app.out.line(format_args!("would copy {records} of {name}, up to record {} ({messages}{units})", plan.seq));
    }
    let forked = store.fork(&session, &new, &fork).await?;
    app.add_cost(forked.cost);
    if app.json() {
        return app.out.json(&json!({
            "session": new.as_str(),
            "from": session.as_str(),
            "seq": forked.seq,
            "records": forked.records,
            "entries": forked.entries,
            "position": forked.position.to_string(),
            "cost": app.cost(),
        }));
    }
    let before = if forked.repeated { "already " } else { "" };
    app.out.line(format_args!(
        "{before}forked {name} up to record {} as {} ({}, {})",
        forked.seq,
        visible_line(new.as_str()),
        count(forked.records, "record"),
        count(forked.entries, "message")
    ))
}
