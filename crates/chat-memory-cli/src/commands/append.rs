//! `append`

use std::io::Read;
use std::path::PathBuf;

use chat_memory::store::{AppendedNew, Position, Ticket};
use chat_memory::wire::{Format, openai};
use chat_memory::{Append, ChatStore, ChatStoreExt, Entry, Error, Message, Role, SessionId};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::{Map, Value, json};

use super::{explain_start, formats, idempotency_key, input, owner, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::{Failure, OnCommandLine};
use crate::output::say;
use crate::render::utc_time;

const EXAMPLES: &str = "\
Examples:
  chat-memory append trip 'Where should we go?'
  chat-memory append trip --role assistant 'To Rome.'
  printf %s \"$prompt\" | chat-memory append trip --role system -

  A whole turn, one message per line, all of them or none:
  chat-memory append trip --file turn.jsonl

  Any JSON object, such as a line of an agent's transcript; with --only-new, once by its id or uuid:
  chat-memory append run-7 --only-new --entry '{\"type\": \"note\", \"uuid\": \"n-1\"}'

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
number, next the one after it, position what --expect takes, started whether the session is new. With --only-new also \"new\", which \
of the messages or entries were appended; seq and created_at are null if none was.";

/// How to store a message without text anyway, as some models answer.
const EMPTY: &str = "give some text, or store an empty one as JSON with --file: {\"role\": \"assistant\", \"content\": \"\"}";

/// Append messages or other entries to a session: one record, stored completely or not at all
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id; its first append starts it
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: String,
    /// The message's text; - reads it from standard input, unchanged (including a final line feed)
    #[arg(conflicts_with_all = ["file", "entries"])]
    text: Option<String>,
    /// The author: user, assistant, system (or developer, OpenAI's newer name for it) or tool
    #[arg(long, default_value = "user", conflicts_with_all = ["file", "entries"], add = ArgValueCompleter::new(completion::roles))]
    role: String,
    /// ID of the tool call that this message answers, with --role tool
    #[arg(long, value_name = "ID", conflicts_with_all = ["file", "entries"])]
    tool_call_id: Option<String>,
    /// Messages as JSON, one per line or in a list, in one append; - is standard input
    #[arg(long)]
    file: Option<PathBuf>,
    /// The format of the messages in the file
    #[arg(long, value_parser = formats(), default_value_t, requires = "file")]
    format: Format,
    /// Any JSON object, stored as it is; give it several times for several
    #[arg(long = "entry", value_name = "JSON", conflicts_with = "file")]
    entries: Vec<String>,
    /// Append only what has an id (or uuid) that the session does not contain yet, and what has none
    #[arg(long, conflicts_with_all = ["idempotency_key", "ticket"])]
    only_new: bool,
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
    let mut append = Append::new(entries(&arguments)?);
    if let Some(position) = &arguments.expect {
        append = append.with_expected(position.parse::<Position>().map_err(|e| e.context("--expect")).on_command_line()?);
    }
    if let Some(ticket) = &arguments.ticket {
        append = append.with_ticket(ticket.parse::<Ticket>().map_err(|e| e.context("--ticket")).on_command_line()?);
    }
    if let Some(key) = &arguments.idempotency_key {
        append = append.with_key(idempotency_key(key)?);
    }
    if let Some(owner) = owner(arguments.owner.as_ref())? {
        append = append.with_owner(owner);
    }
    if let Some(title) = &arguments.title {
        append = append.with_title(super::title(title)?);
    }
    if let Some(text) = &arguments.metadata {
        append = append.with_metadata(metadata(text)?);
    }
    append.check()?;

    let store = app.store().await?;
    if arguments.only_new {
        let appended = store.append_new(&session, append).await?;
        app.add_cost(appended.cost);
        return say_new(app, &session, &appended);
    }
    let appended = store.append(&session, &append).await?;
    app.add_cost(appended.cost);
    explain_start(app, store.as_ref(), &session, &append, &appended);
    if !appended.started && !appended.repeated {
        say_kept(&arguments);
    }
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
    let name = visible_line(session.as_str());
    let again = if appended.repeated { " (already stored)" } else { "" };
    app.out.line(format_args!("record {} of {name}{again}", appended.seq))
}

/// Says that a session that had begun keeps its owner and its title.
fn say_kept(arguments: &Arguments) {
    let given = [("--owner", arguments.owner.is_some()), ("--title", arguments.title.is_some())];
    let given: Vec<_> = given.into_iter().filter_map(|(name, is_given)| is_given.then_some(name)).collect();
    if !given.is_empty() {
        let title = if arguments.title.is_some() { "; `title` changes a title" } else { "" };
        say(format_args!("({} had no effect: the session had begun before{title})", given.join(" and ")));
    }
}

/// Prints the result of --only-new.
fn say_new(app: &App, session: &SessionId, appended: &AppendedNew) -> Result<(), Failure> {
    let record = appended.appended.as_ref();
    if app.json() {
        return app.out.json(&json!({
            "session": session.as_str(),
            "seq": record.map(|record| record.seq),
            "new": appended.new,
            "next": appended.position.next(),
            "position": appended.position.to_string(),
            "created_at": record.map(|record| utc_time(record.created_at)),
            "started": record.is_some_and(|record| record.started),
            "cost": app.cost(),
        }));
    }
    let name = visible_line(session.as_str());
    let (new, given) = (appended.new.iter().filter(|new| **new).count(), appended.new.len());
    match record {
        Some(record) => app.out.line(format_args!("record {} of {name} ({new} of {given} new)", record.seq)),
        None => app.out.line(format_args!("nothing new for {name}")),
    }
}

fn entries(arguments: &Arguments) -> Result<Vec<Entry>, Failure> {
    if arguments.entries.is_empty() {
        return Ok(messages(arguments)?.into_iter().map(Entry::from).collect());
    }
    arguments.entries.iter().map(|text| Entry::from_json(text).map_err(|e| Failure::usage(format!("--entry: {e}")))).collect()
}

fn messages(arguments: &Arguments) -> Result<Vec<Message>, Failure> {
    if let Some(path) = &arguments.file {
        let (reader, _) = input(path)?;
        let messages = arguments.format.messages(reader).map_err(|e| e.context(path.display()))?;
        if messages.is_empty() {
            let path = path.display();
            return Err(Failure::other(format!(
                "{path}: no messages; give one per line, such as {{\"role\": \"user\", \"content\": \"Hi\"}}"
            )));
        }
        return Ok(messages);
    }
    if arguments.text.is_none() {
        return Err(Failure::usage(
            "nothing to append: give the message's text (- reads standard input), --file FILE or --entry JSON",
        ));
    }
    let is_developer = arguments.role == "developer";
    let role = if is_developer { Ok(Role::System) } else { arguments.role.parse() };
    let role: Role = role.map_err(|e| format!("--role: {e}")).on_command_line()?;
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
    if is_developer {
        return Ok(vec![openai::from_value(json!({"role": "developer", "content": text})).map_err(Error::from)?]);
    }
    let mut message = Message::new(role, text);
    message.tool_call_id.clone_from(&arguments.tool_call_id);
    Ok(vec![message])
}

fn metadata(text: &str) -> Result<Map<String, Value>, Failure> {
    match chat_memory::json::parse(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Failure::usage("--metadata: not a JSON object; give one such as '{\"source\": \"mail\"}'")),
        Err(e) => Err(Failure::usage(format!("--metadata: {e}"))),
    }
}
