//! `show`

use chat_memory::memory::{Policy, RecallRecords, recall_records};
use chat_memory::store::Load;
use chat_memory::wire::{Format, openai};
use chat_memory::{ChatStore, Error, Message, SessionId};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};

use super::stored_session_id;
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::Failure;
use crate::output::say;
use crate::render::utc_time;
use crate::window::WindowOptions;

const EXAMPLES: &str = "\
Examples:
  chat-memory show trip                            all of it, for reading
  chat-memory show trip --turns 3                  the last three turns
  chat-memory show trip --last 20 --for-model      as JSON lines, for a model
  chat-memory show trip --tokens 8000 --format langchain
  chat-memory show trip --position                 for append --expect

As text, each record starts with its number (for `rewind --to`), and the times of its messages if known; control characters \
are escaped, as in \\u{1b}. The other formats are exact.

A window (--last, --turns, --tokens) contains what a model should be shown: a tool result never without its call, nor a call \
without its results, in any provider's format. Omissions are reported on standard error, and so is a limit that is too small for \
the newest message. Tokens are counted with the vocabulary o200k_base.

--for-model prints only the fields that OpenAI's chat completions endpoint accepts: role, content and name; of an assistant also \
tool_calls, function_call, refusal and the id of its audio; of a tool's result also tool_call_id. Messages in another provider's format \
(Anthropic, Gemini) are not converted.

With --json: {\"session\", \"messages\", \"sent_at\", \"records\": [{\"seq\", \"created_at\", \"metadata\", \"messages\"}], \"complete\", \"left_out\", \"position\", \
\"cost\"}; messages are in the --format (openai by default), sent_at says when each of them was sent (null where that is \
unknown), created_at when the record was stored, a record's messages is their number in the record.";

/// Print a session; one without messages is empty, not an error
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: String,
    #[command(flatten)]
    window: WindowOptions,
    /// The output format
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Only the fields that an OpenAI-compatible endpoint accepts (with --format openai, which it implies)
    #[arg(long)]
    for_model: bool,
    /// Print only the position, which `append --expect` takes
    #[arg(long, conflicts_with_all = ["format", "window", "start_at_user", "for_model"])]
    position: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people: roles, times, tool calls
    Text,
    /// JSON lines of OpenAI's chat messages
    Openai,
    /// JSON lines of LangChain's stored messages
    Langchain,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = stored_session_id(app, &arguments.session)?;
    let policy = arguments.window.is_given().then(|| arguments.window.policy(None, false)).transpose()?;
    if arguments.for_model && matches!(arguments.format, Some(Form::Text | Form::Langchain)) {
        return Err(Failure::usage("--for-model prints OpenAI's messages: give it with --format openai, or without --format"));
    }
    if app.json() && arguments.format == Some(Form::Text) {
        return Err(Failure::usage("--json and --format text exclude each other"));
    }
    let store = app.existing_store().await?;
    if arguments.position && !app.json() {
        let history = store.load(&session, &Load::last(0)).await?;
        app.add_cost(history.cost);
        return app.out.line(history.position);
    }
    let seen = see(app, store.as_ref(), &session, policy.as_ref()).await?;
    let write: &dyn Fn(&Message) -> Value = match arguments.format {
        _ if arguments.for_model => &openai::for_request,
        Some(Form::Langchain) => &|message| Format::LangChain.write(message),
        _ => &|message| Format::OpenAi.write(message),
    };
    if app.json() {
        return as_json(app, &session, &seen, write);
    }
    if arguments.for_model || matches!(arguments.format, Some(Form::Openai | Form::Langchain)) {
        seen.messages().try_for_each(|message| app.out.json(&write(message)))?;
    } else {
        as_text(app, &session, &seen)?;
    }
    if !seen.left_out.is_nothing() {
        app.out.flush()?;
        say(format_args!("({})", seen.left_out));
    }
    Ok(())
}

/// A history, and what to show of it. Without a policy everything is shown as stored.
async fn see(app: &App, store: &dyn ChatStore, session: &SessionId, policy: Option<&Policy>) -> Result<RecallRecords, Error> {
    let seen = match policy {
        Some(policy) => recall_records(store, session, policy, Load::all()).await?,
        None => RecallRecords::whole(store.load(session, &Load::all()).await?),
    };
    app.add_cost(seen.history.cost);
    Ok(seen)
}

fn as_json(app: &App, session: &SessionId, seen: &RecallRecords, write: &dyn Fn(&Message) -> Value) -> Result<(), Failure> {
    let messages: Vec<_> = seen.messages().map(write).collect();
    let sent_at: Vec<_> = seen.records().flat_map(|(_, messages)| messages).map(|(_, at)| at.map(utc_time)).collect();
    let left_out = (!seen.left_out.is_nothing()).then(|| seen.left_out.to_string());
    let records = seen.history.records.iter().map(|record| {
        json!({
            "seq": record.seq,
            // A list that Flowise or LangChain wrote has no times.
            "created_at": (record.created_at > 0).then(|| utc_time(record.created_at)),
            "metadata": record.metadata,
            "messages": record.messages.len(),
        })
    });
    app.out.json(&json!({
        "session": session.as_str(),
        "messages": messages,
        "sent_at": sent_at,
        "records": records.collect::<Vec<_>>(),
        "complete": seen.history.complete,
        "left_out": left_out,
        "position": seen.history.position.to_string(),
        "cost": app.cost(),
    }))
}

fn as_text(app: &App, session: &SessionId, seen: &RecallRecords) -> Result<(), Failure> {
    let style = app.style();
    if seen.history.is_empty() && seen.left_out.is_nothing() {
        say(format_args!("{} holds no message", visible_line(session.as_str())));
        return Ok(());
    }
    for (record, messages) in seen.records() {
        if !messages.is_empty() {
            app.out.text(style.record(record, &messages))?;
        }
    }
    Ok(())
}
