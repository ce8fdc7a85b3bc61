//! `show`

use chat_memory::memory::{Omitted, Policy, RecallRecords, recall_records};
use chat_memory::store::Load;
use chat_memory::wire::{Format, Request, times_of};
use chat_memory::{ChatStore, Error, Message, SessionId};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{Choice, choices, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::Failure;
use crate::output::say;
use crate::pager::PagerOptions;
use crate::render::utc_time;
use crate::window::WindowOptions;

mod thread;

const EXAMPLES: &str = "\
Examples:
  chat-memory show trip                            all of it, for reading
  chat-memory show trip --turns 3                  the last three turns
  chat-memory show trip --last 20 --for-model      as JSON lines, for a model
  chat-memory show trip --tokens 8000 --format langchain
  chat-memory show trip --position                 for append --expect
  chat-memory show --thread trip                   a thread of LangGraph's

As text, each record starts with its number (for `rewind --to`), and the times of its messages if known; control characters \
are escaped, as in \\u{1b}, and an entry that is not a message is one line of JSON under `entry`. The other formats are exact, and \
of messages only: how many other entries there are is printed on standard error.

A window (--last, --turns, --tokens) contains what a model should be shown: a tool result never without its call, nor a call \
without its results, in any provider's format. Omissions are reported on standard error, and so is a limit that is too small for \
the newest message. Tokens are counted with the vocabulary o200k_base.

--for-model prints only what the API with this format accepts. For OpenAI's chat completions: role, content and name; of an assistant \
also tool_calls, function_call, refusal and the id of its audio; of a tool's result also tool_call_id. For Anthropic: role and \
content, the results of an answer's calls in one message, and the system prompt in one first line (with --json: in \"system\").

With --json: {\"session\", \"messages\", \"other_entries\", \"sent_at\", \"records\": [{\"seq\", \"created_at\", \"metadata\", \"messages\"}], \"complete\", \"left_out\", \"position\", \
\"cost\"}; messages are in the --format (openai by default), sent_at says when each of them was sent (null where that is \
unknown), created_at when the record was stored, a record's messages is how many of the messages are its, other_entries \
the number of entries that are not messages.

--thread prints the messages of a thread's newest checkpoint, then, as text, what else its state holds: each value with its channel's name, as \
one line of JSON, and writes that wait, such as an interrupt's. A value that is encrypted, or of an unknown kind, is named with its size. With \
--json: {\"thread\", \"checkpoint\", \"messages\", \"other_entries\", \"values\", \"writes\", \"left_out\", \"cost\"}; checkpoint is as \
`threads ID --json` prints it, and null if the thread has none.";

/// Print a session, or a thread of LangGraph's; one without messages is empty, not an error
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id
    #[arg(add = ArgValueCompleter::new(completion::sessions), required_unless_present = "thread")]
    session: Option<String>,
    /// Print this thread of LangGraph's instead
    #[arg(long, value_name = "ID", conflicts_with_all = ["session", "position"], add = ArgValueCompleter::new(completion::threads))]
    thread: Option<String>,
    /// The thread's checkpoint with this id, of the graph or of a subgraph, instead of the graph's newest
    #[arg(long, value_name = "ID", requires = "thread", conflicts_with = "session")]
    checkpoint: Option<String>,
    #[command(flatten)]
    window: WindowOptions,
    /// The output format: text, or JSON lines
    #[arg(long, value_parser = choices(&[TEXT]))]
    format: Option<Choice>,
    /// Only what the API with this --format accepts (openai by default)
    #[arg(long)]
    for_model: bool,
    /// Print only the position, which `append --expect` takes
    #[arg(long, conflicts_with_all = ["format", "window", "start_at_user", "for_model"])]
    position: bool,
    #[command(flatten)]
    pager: PagerOptions,
}

const TEXT: (&str, &str) = ("text", "For people: roles, times, tool calls");

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    // For a model, also everything is a window: calls without their results are left out.
    let is_window = arguments.window.is_given() || arguments.for_model;
    let policy = is_window.then(|| arguments.window.policy(None, false)).transpose()?;
    let format = match arguments.format {
        None if arguments.for_model || app.json() => Some(Format::default()),
        Some(Choice::Format(format)) => Some(format),
        None | Some(Choice::Other(_)) => None,
    };
    if arguments.for_model && format.and_then(|format| format.for_request(&[])).is_none() {
        return Err(Failure::usage(
            "--for-model prints messages for a model's API: give it with --format openai, anthropic or responses",
        ));
    }
    if app.json() && format.is_none() {
        return Err(Failure::usage("--json cannot be used with --format text"));
    }
    if let Some(thread) = &arguments.thread {
        let pages = !arguments.pager.no_pager && !app.json();
        let shown = thread::Shown { policy, format, for_model: arguments.for_model, pages };
        return thread::show(app, thread, arguments.checkpoint.as_deref(), shown).await;
    }
    let session = stored_session_id(app, &arguments.session.unwrap_or_default())?;
    let store = app.existing_store().await?;
    if arguments.position {
        let history = store.load(&session, &Load::last(0)).await?;
        app.add_cost(history.cost);
        if app.json() {
            let position = history.position.to_string();
            return app.out.json(&json!({ "session": session.as_str(), "position": position, "cost": app.cost() }));
        }
        return app.out.line(history.position);
    }
    let seen = see(app, store.as_ref(), &session, policy.as_ref()).await?;
    if !arguments.pager.no_pager && !app.json() && !seen.history.is_empty() {
        app.out.page();
    }
    if let Some(format) = format {
        let messages: Vec<_> = seen.messages().cloned().collect();
        let request = written(format, &messages, arguments.for_model);
        if app.json() {
            return as_json(app, &session, &seen, request);
        }
        as_lines(app, request)?;
        let others = other_entries(&seen);
        if others > 0 && policy.is_none() {
            app.out.end()?;
            say(format_args!("({}, which only `show` as text and `export` print)", other_count(others)));
        }
    } else {
        as_text(app, &session, &seen)?;
    }
    say_left_out(app, &seen.left_out)
}

fn say_left_out(app: &App, left_out: &Omitted) -> Result<(), Failure> {
    if !left_out.is_nothing() {
        app.out.end()?;
        say(format_args!("({left_out})"));
    }
    Ok(())
}

/// Messages in this format; for a model, only what its API accepts.
fn written(format: Format, messages: &[Message], for_model: bool) -> Request {
    let request = for_model.then(|| format.for_request(messages)).flatten();
    request.unwrap_or_else(|| Request { system: None, messages: format.write_placed(messages) })
}

/// Prints messages as JSON lines.
fn as_lines(app: &App, request: Request) -> Result<(), Failure> {
    if let Some(system) = request.system {
        app.out.json(&json!({"role": "system", "content": system}))?;
    }
    request.messages.iter().try_for_each(|(_, value)| app.out.json(value))
}

/// The number of entries that are not messages.
fn other_entries(seen: &RecallRecords) -> u64 {
    seen.history.entries().filter(|entry| entry.as_message().is_none()).count() as u64
}

fn other_count(others: u64) -> String {
    if others == 1 { "1 entry is not a message".to_owned() } else { format!("{others} entries are not messages") }
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

fn as_json(app: &App, session: &SessionId, seen: &RecallRecords, request: Request) -> Result<(), Failure> {
    let shown = seen.records().flat_map(|(_, entries)| entries).filter(|(entry, _)| entry.as_message().is_some());
    let times: Vec<_> = shown.map(|(_, at)| at).collect();
    let sent_at: Vec<_> = times_of(&request.messages, &times).into_iter().map(|at| at.map(utc_time)).collect();
    // Of each record, how many of the values end in it: they are in its order.
    let mut places = request.messages.iter().map(|(place, _)| *place).peekable();
    let mut end = 0;
    let counts = seen.records().map(|(_, entries)| {
        end += entries.iter().filter(|(entry, _)| entry.as_message().is_some()).count();
        std::iter::from_fn(|| places.next_if(|place| *place < end)).count()
    });
    let counts: Vec<_> = counts.collect();
    let messages: Vec<_> = request.messages.into_iter().map(|(_, value)| value).collect();
    let left_out = (!seen.left_out.is_nothing()).then(|| seen.left_out.to_string());
    let records = seen.history.records.iter().zip(counts).map(|(record, messages)| {
        json!({
            "seq": record.seq,
            // A list that Flowise or LangChain wrote has no times.
            "created_at": record.created_at.known().map(utc_time),
            "metadata": record.metadata,
            "messages": messages,
        })
    });
    let mut answer = json!({
        "session": session.as_str(),
        "messages": messages,
        "other_entries": other_entries(seen),
        "sent_at": sent_at,
        "records": records.collect::<Vec<_>>(),
        "complete": seen.history.complete,
        "left_out": left_out,
        "position": seen.history.position.to_string(),
        "cost": app.cost(),
    });
    if let Some(system) = request.system {
        answer["system"] = system;
    }
    app.out.json(&answer)
}

fn as_text(app: &App, session: &SessionId, seen: &RecallRecords) -> Result<(), Failure> {
    let style = app.style();
    if seen.history.is_empty() && seen.left_out.is_nothing() {
        say(format_args!("{} has no messages", visible_line(session.as_str())));
        return Ok(());
    }
    let mut shown = false;
    for (record, messages) in seen.records() {
        if !messages.is_empty() {
            app.out.text(style.record(record, &messages))?;
            shown = true;
        }
    }
    if !shown && seen.left_out.is_nothing() {
        say(format_args!("{} has no messages ({})", visible_line(session.as_str()), other_count(other_entries(seen))));
    }
    Ok(())
}
