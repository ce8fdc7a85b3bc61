//! `redact`

use chat_memory::ChatStore;
use chat_memory::store::{Record, Redacted, Redaction};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{confirm, count, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::{Failure, OnCommandLine};
use crate::output::{say, say_escaped};

const EXAMPLES: &str = "\
Examples:
  chat-memory redact trip 12                  shows the record and asks first
  chat-memory redact trip 12 --message 0      only the record's first message
  chat-memory redact trip 12 --dry-run        what would be replaced
  chat-memory redact trip 12 --yes --replacement '(a card number)'

`show` prints the record numbers. A record that was taken back or cleared and is not erased yet is redacted as well.

Everything that a message says is replaced: its text, images, the arguments of tool calls and their results, and fields that this program \
does not know. Its role, name and ids stay, and the record keeps its number, its times and its metadata. The message says when it was \
redacted, in its field `redacted`. The store does not have the text any more: no page of a SQLite file, nor of its log, and no item of a table.

Not covered: records that this one was written in place of, as an edit does, which are hidden and may say the same (they are named: redact those \
as well. `clear` erases them too, with all that is shown. The store keeps those before an edit of the first record as it keeps cleared ones: \
`table sweep` alone erases them); the session's title and metadata (`sessions` shows them, and a program can replace them), forks of the session (redact those \
as well), threads of LangGraph's, backups, and programs that hold the conversation themselves and write it again.

Repeating it changes nothing. If it is interrupted, run it again. If there is no such record, or its messages were erased, the exit code is 1.

With --json: {\"session\", \"seq\", \"changed\", \"entries\", \"cost\"}; entries counts the messages and other entries that changed. With --dry-run \
also \"replaces\": those entries, as they are.";

/// Replace what a record says, for good: a secret, or a person's data
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: String,
    /// The record's number
    #[arg(value_name = "N")]
    seq: u64,
    /// Redact only this message of the record, counted from 0; by default all of them
    #[arg(long, value_name = "M")]
    message: Option<usize>,
    /// The text to put in place of what was said
    #[arg(long, value_name = "TEXT", default_value = "[redacted]")]
    replacement: String,
    /// Print what would be replaced, and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = stored_session_id(app, &arguments.session)?;
    let name = visible_line(session.as_str());
    let mut redaction = Redaction::new().with_replacement(arguments.replacement);
    if let Some(index) = arguments.message {
        redaction = redaction.message(index);
    }
    redaction.check().on_command_line()?;
    let seq = arguments.seq;
    if arguments.dry_run || !arguments.yes {
        let plan = store_plan(app, &session, seq, &redaction).await?;
        if arguments.dry_run && app.json() {
            let replaces: Vec<_> = replaced(&plan).entries.iter().map(chat_memory::Entry::to_value).collect();
            return app.out.json(&json!({
                "session": session.as_str(),
                "seq": seq,
                "changed": plan.changed,
                "entries": plan.entries,
                "replaces": replaces,
                "cost": app.cost(),
            }));
        }
        if arguments.dry_run {
            if !plan.changed {
                return app.out.line(format_args!("record {seq} of {name} is redacted already"));
            }
            app.out.text(shown(app, &plan))?;
            say(format_args!("would redact {} of record {seq} of {name}", entries(plan.entries)));
            return Ok(());
        }
        if plan.changed {
            say_escaped(&shown(app, &plan));
            confirm(false, &format!("Replace {} of record {seq} of {name} for good", entries(plan.entries)))?;
        }
        // What was shown, and no other record that has the number since.
        redaction = redaction.with_expected(plan.before.append_id);
    }
    let store = app.existing_store().await?;
    let redacted = store.redact(&session, seq, &redaction).await?;
    app.add_cost(redacted.cost);
    if app.json() {
        return app.out.json(&json!({
            "session": session.as_str(),
            "seq": seq,
            "changed": redacted.changed,
            "entries": redacted.entries,
            "cost": app.cost(),
        }));
    }
    if !redacted.changed {
        return app.out.line(format_args!("record {seq} of {name} was redacted already"));
    }
    app.out.line(format_args!("redacted {} of record {seq} of {name}", entries(redacted.entries)))?;
    if let Some(replaced) = redacted.replaced() {
        app.out.end()?;
        let (first, last) = (replaced.start, replaced.end - 1);
        let records = if first == last { format!("record {first}") } else { format!("records {first} to {last}") };
        say(format_args!(
            "(it was written in place of {records}, which still have what they said if they are not erased: redact them as well)"
        ));
    }
    if redacted.after.metadata.is_some() {
        app.out.end()?;
        say("(the record's metadata stays as it is; `show` prints it)");
    }
    Ok(())
}

/// What the redaction would change.
async fn store_plan(app: &App, session: &chat_memory::SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Failure> {
    let store = app.existing_store().await?;
    let plan = store.redact(session, seq, &redaction.clone().dry_run()).await?;
    app.add_cost(plan.cost);
    Ok(plan)
}

fn entries(n: u64) -> String {
    count(n, "message")
}

/// The record with only the entries that change.
fn replaced(plan: &Redacted) -> Record {
    let changes = plan.before.entries.iter().zip(&plan.after.entries).zip(plan.before.entry_times());
    let (entries, times) =
        changes.filter(|((before, after), _)| before != after).map(|((before, _), at)| (before.clone(), at)).unzip();
    let mut record = plan.before.clone();
    (record.entries, record.sent_at) = (entries, times);
    record
}

fn shown(app: &App, plan: &Redacted) -> String {
    let record = replaced(plan);
    let pairs: Vec<_> = record.entries.iter().zip(record.entry_times()).collect();
    app.style().record(&record, &pairs)
}
