//! `append`

use std::io::Read;
use std::path::PathBuf;

use chat_memory::store::{Position, Ticket};
use chat_memory::wire::Format;
use chat_memory::{Append, ChatStore, Message, Role};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::{Map, Value, json};

use super::{explain_start, formats, input, owner, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::failure::{Failure, OnCommandLine};
use crate::render::utc_time;

const EXAMPLES: &str = "\
Examples:
  chat-memory append trip 'Where should we go?'
  chat-memory append trip --role assistant 'To Rome.'
  printf %s \"$prompt\" | chat-memory append trip --role system -

  A whole turn, one message per line, all of them or none:
  chat-memory append trip --file turn.jsonl

  A session with a new id:
  chat-memory append \"$(uuidgen)\" Hello

  Stored once, even if repeated within 24 hours:
  chat-memory append trip --idempotency-key msg-17 Hi

  Refused (exit code 3) if the session was modified in the meantime:
  position=$(chat-memory show trip --position)
  chat-memory append trip --expect \"$position\" Hi

An append whose outcome is unknown (the response was lost) fails with a ticket. Retry the same command with --ticket T, on any \
machine: the append is never stored twice.

With --json: {\"session\", \"seq\", \"next\", \"position\", \"created_at\", \"repeated\", \"started\", \"cost\"}; seq is the record's \
number, next the one after it, position what --expect takes, started whether the session is new.";

/// How to store a message without text anyway, as some models answer.
const EMPTY: &str = "give some text, or store an empty one as JSON with --file: {\"role\": \"assistant\", \"content\": \"\"}";

/// Append messages to a session: one record, stored completely or not at all
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id; its first append starts it
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: String,
    /// The message's text; - reads it from standard input, unchanged (including a final line feed)
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,
    /// The author: user, assistant, system or tool
    #[arg(long, default_value = "user", conflicts_with = "file", add = ArgValueCompleter::new(completion::roles))]
    role: String,
    /// ID of the tool call that this message answers, with --role tool
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    tool_call_id: Option<String>,
    /// Messages as JSON, one per line or in a list, in one append; - is standard input
    #[arg(long)]
    file: Option<PathBuf>,
    /// The format of the messages in the file
    #[arg(long, value_parser = formats(), default_value_t, requires = "file")]
    format: Format,
    /// Only if the session was not modified since this position was read
    #[arg(long, value_name = "POSITION")]
    expect: Option<String>,
    /// Store it once, however often it is repeated within 24 hours
    #[arg(long, value_name = "KEY", conflicts_with = "ticket")]
    idempotency_key: Option<String>,
    /// Retry an append whose outcome is unknown, with its ticket
    #[arg(long)]
    ticket: Option<String>,
    /// The owner, if this starts the session
    #[arg(long)]
    owner: Option<String>,
    /// The title, if this starts the session
    #[arg(long)]
    title: Option<String>,
    /// A small JSON object to store with the record
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = stored_session_id(app, &arguments.session)?;
    let mut append = Append::new(messages(&arguments)?);
    if let Some(position) = &arguments.expect {
        append = append.with_expected(position.parse::<Position>().map_err(|e| e.context("--expect")).on_command_line()?);
    }
    if let Some(ticket) = &arguments.ticket {
        append = append.with_ticket(ticket.parse::<Ticket>().map_err(|e| e.context("--ticket")).on_command_line()?);
    }
    if let Some(key) = &arguments.idempotency_key {
        append = append.with_key(key);
    }
    if let Some(owner) = owner(arguments.owner.as_ref())? {
        append = append.with_owner(owner);
    }
    if let Some(title) = &arguments.title {
        append = append.with_title(title);
    }
    if let Some(text) = &arguments.metadata {
        append = append.with_metadata(metadata(text)?);
    }
    append.check()?;

    let store = app.store().await?;
    let appended = store.append(&session, &append).await?;
    app.add_cost(appended.cost);
    explain_start(app, store.as_ref(), &session, &append, &appended);
    if app.json() {
        return app.out.json(&json!({
            "session": session.as_str(),
            "seq": appended.seq,
            "next": appended.position.next(),
            "position": appended.position.to_string(),
            "created_at": utc_time(appended.created_at),
            "repeated": appended.repeated,
            "started": appended.started,
            "cost": app.cost(),
        }));
    }
    let again = if appended.repeated { " (it was there already)" } else { "" };
    app.out.line(format_args!("record {} of {session}{again}", appended.seq))
}

fn messages(arguments: &Arguments) -> Result<Vec<Message>, Failure> {
    if let Some(path) = &arguments.file {
        let (reader, _) = input(path)?;
        let read: Result<Vec<_>, _> = arguments.format.messages(reader).collect();
        let messages = read.map_err(|e| e.context(path.display()))?;
        if messages.is_empty() {
            let path = path.display();
            return Err(Failure::other(format!(
                "{path}: no message in it; give one a line, such as {{\"role\": \"user\", \"content\": \"Hi\"}}"
            )));
        }
        return Ok(messages);
    }
    let role: Role = arguments.role.parse().map_err(|e| format!("--role: {e}")).on_command_line()?;
    if (role == Role::Tool) != arguments.tool_call_id.is_some() {
        return Err(Failure::usage("--role tool and --tool-call-id belong together: the result of a tool names the call"));
    }
    let text = match arguments.text.as_deref() {
        Some("-") => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|e| Failure::other(format!("standard input cannot be read: {e}")))?;
            String::from_utf8(bytes).map_err(|e| {
                let at = e.utf8_error().valid_up_to();
                Failure::other(format!("standard input: byte {at} is not UTF-8; convert the text to UTF-8"))
            })?
        }
        text => text.unwrap_or_default().to_owned(),
    };
    // A script whose variable is unset does not mean to store an empty message.
    if text.is_empty() {
        return Err(match arguments.text.as_deref() {
            Some("-") => Failure::other(format!("empty message: standard input has no text; {EMPTY}")),
            _ => Failure::usage(format!("empty message: TEXT is \"\"; {EMPTY}")),
        });
    }
    Ok(vec![Message { tool_call_id: arguments.tool_call_id.clone(), ..Message::new(role, text) }])
}

fn metadata(text: &str) -> Result<Map<String, Value>, Failure> {
    match chat_memory::json::parse(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Failure::usage("--metadata: not a JSON object; give one such as '{\"source\": \"mail\"}'")),
        Err(e) => Err(Failure::usage(format!("--metadata: {e}"))),
    }
}
