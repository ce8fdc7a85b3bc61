//! `show`

use chat_memory::memory::{LeftOut, Policy};
use chat_memory::store::{History, Load};
use chat_memory::wire::Format;
use chat_memory::{ChatStore, Error, Message, SessionId};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::stored_session_id;
use crate::app::App;
use crate::completion;
use crate::failure::Failure;
use crate::output::say;
use crate::render::utc_time;
use crate::visible::visible_line;
use crate::window::WindowOptions;

const EXAMPLES: &str = "\
Examples:
  chat-memory show trip                            all of it, for reading
  chat-memory show trip --turns 3                  the last three turns
  chat-memory show trip --last 20 --format openai  as JSON lines, for a model
  chat-memory show trip --tokens 8000 --format langchain
  chat-memory show trip --position                 for append --expect

For reading, each record has its number (which `rewind --to` takes) in front, and when its messages were sent where that is known; characters that would steer the \
terminal are written out, as in \\u{1b}. The other formats are exact.

A window (--last, --turns, --tokens) shows what a model should be shown: a tool's result never without its call, nor a call \
without its results. What it leaves out is said on standard error. Tokens are counted with the vocabulary o200k_base.

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
    /// How to print it
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Print only the position, which `append --expect` takes
    #[arg(long, conflicts_with_all = ["format", "window"])]
    position: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For reading: roles, times, tool calls
    Text,
    /// JSON lines of OpenAI's chat messages
    Openai,
    /// JSON lines of LangChain's stored messages
    Langchain,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = stored_session_id(app, &arguments.session)?;
    let policy = arguments.window.is_given().then(|| arguments.window.policy(None)).transpose()?;
    if app.json() && arguments.format == Some(Form::Text) {
        return Err(Failure::usage("--json and --format text exclude each other"));
    }
    let store = app.existing_store().await?;
    if arguments.position && !app.json() {
        let history = store.load(&session, &Load::last(0)).await?;
        app.spend(history.receipt);
        return app.out.line(history.position);
    }
    let seen = see(app, store.as_ref(), &session, policy.as_ref()).await?;
    let format = match arguments.format {
        Some(Form::Langchain) => Format::LangChain,
        _ => Format::OpenAi,
    };
    if app.json() {
        return as_json(app, &session, &seen, format);
    }
    match arguments.format.unwrap_or(Form::Text) {
        Form::Text => as_text(app, &session, &seen)?,
        Form::Openai | Form::Langchain => {
            seen.messages.iter().try_for_each(|message| app.out.json(&format.write(message)))?;
        }
    }
    if !seen.left_out.is_nothing() {
        app.out.flush()?;
        say(format_args!("({})", seen.left_out));
    }
    Ok(())
}

/// A history, and what is shown of it.
struct Seen {
    history: History,
    messages: Vec<Message>,
    left_out: LeftOut,
}

/// Without a policy all is shown as it is stored.
async fn see(app: &App, store: &dyn ChatStore, session: &SessionId, policy: Option<&Policy>) -> Result<Seen, Error> {
    let Some(policy) = policy else {
        let history = store.load(session, &Load::all()).await?;
        app.spend(history.receipt);
        let messages = history.messages().cloned().collect();
        return Ok(Seen { history, messages, left_out: LeftOut::default() });
    };
    let mut load = Load::reaching(policy.reach());
    loop {
        let history = store.load(session, &load).await?;
        app.spend(history.receipt);
        let mut window = policy.window(history.messages().cloned().collect());
        if window.left_out.broken() > 0 && !history.complete {
            // The window is not full, or a call stands before what was read. It is rare, so all is read then.
            load = Load::all();
            continue;
        }
        window.left_out.unread = !history.complete;
        return Ok(Seen { history, messages: window.messages, left_out: window.left_out });
    }
}

fn as_json(app: &App, session: &SessionId, seen: &Seen, format: Format) -> Result<(), Failure> {
    let messages: Vec<_> = seen.messages.iter().map(|message| format.write(message)).collect();
    let shown = shown_of_each(&seen.history, &seen.messages).into_iter().flatten();
    let sent_at: Vec<_> = shown.map(|(_, at)| at.map(utc_time)).collect();
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

fn as_text(app: &App, session: &SessionId, seen: &Seen) -> Result<(), Failure> {
    let style = app.style();
    if seen.history.is_empty() {
        say(format_args!("{} holds no message", visible_line(session.as_str())));
        return Ok(());
    }
    let shown = shown_of_each(&seen.history, &seen.messages);
    for (record, messages) in seen.history.records.iter().zip(shown) {
        if !messages.is_empty() {
            app.out.text(style.record(record, &messages))?;
        }
    }
    Ok(())
}

/// A message, and when it was sent.
type Timed = (Message, Option<i64>);

/// Of each record the messages that are shown. They are all of the history's but for some, in order, so each is the nearest
/// equal one, from the newest back.
fn shown_of_each(history: &History, shown: &[Message]) -> Vec<Vec<Timed>> {
    let mut left = shown.iter().rev().peekable();
    let mut of_each: Vec<Vec<Timed>> = Vec::new();
    for record in history.records.iter().rev() {
        let times: Vec<_> = record.message_times().collect();
        let mut found: Vec<Timed> = Vec::new();
        for (message, at) in record.messages.iter().zip(times).rev() {
            if left.next_if_eq(&message).is_some() {
                found.push((message.clone(), at));
            }
        }
        found.reverse();
        of_each.push(found);
    }
    of_each.reverse();
    of_each
}
