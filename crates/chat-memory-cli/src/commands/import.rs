//! `import`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_memory::backend::check_title;
use chat_memory::store::{Load, SessionUpdate};
use chat_memory::{Append, ChatStore, Entry, Error, ErrorKind, Message};
use clap::Args;
use clap::builder::TypedValueParser;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::progress::concerns_one_session;
use super::steps::{About, Step, Steps};
use super::{choices, input, owner};
use crate::app::App;
use crate::escape::visible_line;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

mod conversation;
pub(super) mod forms;
mod report;
mod source;
mod starts;

use conversation::{Conversation, Form, Ids};
use report::{Import, Written};
use starts::Starts;

const EXAMPLES: &str = "\
Examples:
  chat-memory import conversations.jsonl
  chat-memory import --format langchain history.jsonl

  From one store to another:
  chat-memory export | chat-memory --store dynamodb://chats import -

  ChatGPT's export, from the zip file that it sends:
  chat-memory import --owner me conversations.json

  With a prefix, next to the existing sessions:
  chat-memory import --id-prefix archive/ conversations.jsonl

The file contains one conversation per line, or one JSON list of conversations. The format of each is detected, by its fields and by the \
types of its messages, blocks and items; --format names it for all:
  openai     {\"id\": \"trip\", \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, ...]}, as in the output of `export` and in fine-tuning files; \
\"owner\", \"title\", \"metadata\", \"created_at\" and \"sent_at\" (a time for each message) are optional
  langchain  the same with LangChain's stored messages: {\"type\", \"data\"}
  anthropic  the same with Anthropic's messages, text or blocks (tool_use, tool_result, thinking ...), and \"system\" outside
  responses  the same with items of OpenAI's Responses API (function_call, reasoning, input_text ...); also a request's \"input\", a \
text or items, and \"instructions\"
  chatgpt    conversations.json: of each conversation the path to its current message, with title and times
  sharegpt   {\"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}, ...]}
Plain text is the same in all formats of messages. What `export` writes names its format where that is needed.

Each turn (a user message and everything up to the next; a system prompt belongs to the first, a user \
message with a tool result to the turn before) is one append. A conversation without \
an id gets one derived from its content, so the same file gives the same ids. Sessions without a time are started in the file's order.

Run the command again after an interruption, at any later time: it compares what is already stored with the file, and \
continues after it. Nothing is stored twice. A session that contains anything other than the start of the file's conversation is left \
unchanged and reported (exit code 3), and the others are imported. Unreadable data ends the import after everything before it is done.

With --json: {\"sessions\", \"started\", \"turns\", \"messages\", \"messages_there\", \"described\", \"made_ids\": [{\"line\", \"id\", \"of\"}], \
\"left_out\": {FIELD: COUNT}, \"failed\": [{\"line\", \"id\", \"error\"}], \"complete\", \"cost\"}; started counts the sessions that are new (on \
DynamoDB each costs a write for its entry in the list of sessions, in addition to its messages), turns and messages what was written, \
messages_there what was already stored, described the sessions with an owner, a title or metadata that the store cannot hold, \
left_out the fields of the file that were not stored; complete is false where a part of the file was not read.";

/// Import conversations from a file, one append per turn
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The file; - is standard input
    file: PathBuf,
    /// The format of the conversations
    #[arg(long, value_parser = choices(Form::OTHERS).map(Form::from), default_value = "auto")]
    format: Form,
    /// How many sessions to write concurrently [default: 8; 64 to a SQLite file, where they share the disk's syncs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// The owner of new sessions, unless the file names one
    #[arg(long)]
    owner: Option<String>,
    /// Prefix for each session's id
    #[arg(long, value_name = "TEXT", default_value = "")]
    id_prefix: String,
}

/// How many conversations are read before they are written, at most.
const AHEAD: usize = 8;

/// What the reading thread returns: a conversation, and how much of the file was read by then.
type Read = (Result<Conversation, Error>, u64);

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::listen();
    let owner = owner(arguments.owner.as_ref())?;
    let (reader, size) = input(&arguments.file)?;
    let is_file = app.store_url()?.sqlite().is_some();
    let jobs = usize::from(arguments.jobs.unwrap_or(if is_file { 64 } else { 8 }));
    let store = interrupt.or_fail(app.store()).await?;
    let mut lines = read_in_background(reader, arguments.format, &arguments.id_prefix, jobs.min(AHEAD));

    let mut import = Import::new(app, size, &arguments.file);
    interrupt.clears(&import.bar);
    let mut running = JoinSet::new();
    let mut starts = None;
    while import.reading || !running.is_empty() {
        tokio::select! {
            () = interrupt.asked(), if import.reading => import.interrupt(),
            line = lines.recv(), if import.reading && running.len() < jobs => match line {
                None => import.reading = false,
                Some((Err(error), _)) => import.cannot_read(error),
                Some((Ok(mut conversation), at)) => {
                    if let Err(twice) = import.first_time(&conversation) {
                        import.fail(Some(&conversation), twice);
                        continue;
                    }
                    conversation.owner = conversation.owner.or_else(|| owner.clone());
                    if conversation.started_at.is_none() {
                        let starts = match &mut starts {
                            Some(starts) => starts,
                            None => starts.insert(Starts::new(store.as_ref(), &arguments.file).await),
                        };
                        conversation.started_at = Some(starts.next().await);
                    }
                    let (store, interrupt, bar) = (Arc::clone(&store), interrupt.clone(), import.bar.clone());
                    running.spawn(async move {
                        let outcome = one(store.as_ref(), &conversation, &interrupt, &bar).await;
                        (conversation, at, outcome)
                    });
                }
            },
            Some(done) = running.join_next(), if !running.is_empty() => {
                let (conversation, at, (written, error)) =
                    done.map_err(|e| Failure::other(format!("importing a session ended unexpectedly: {e}")))?;
                import.add(at, &conversation, &written);
                if let Some(error) = error {
                    if !concerns_one_session(&error) {
                        import.stop();
                    }
                    import.fail(Some(&conversation), error);
                }
            }
        }
    }
    if interrupt.is_asked() {
        import.interrupted = true;
    }
    import.end()
}

/// Reading blocks, so it has a thread of its own; the channel's size keeps it from running far ahead.
fn read_in_background(
    reader: impl std::io::BufRead + Send + 'static,
    form: Form,
    prefix: &str,
    ahead: usize,
) -> mpsc::Receiver<Read> {
    let (sender, lines) = mpsc::channel(ahead);
    let mut ids = Ids::with_prefix(prefix);
    std::thread::spawn(move || {
        let counted = source::Counted::new(reader);
        let done = counted.done();
        for found in source::values(counted) {
            let read = found.and_then(|found| Conversation::read(found, form, &mut ids));
            let last = read.is_err();
            if sender.blocking_send((read, done.load(Ordering::Relaxed))).is_err() || last {
                break;
            }
        }
    });
    lines
}

/// Brings one session to its state in the file.
async fn one(
    store: &dyn ChatStore,
    conversation: &Conversation,
    interrupt: &Interrupt,
    bar: &ProgressBar,
) -> (Written, Option<Error>) {
    let mut written = Written::default();
    let error = write_rest(store, conversation, &mut written, interrupt, bar).await.err();
    (written, error)
}

async fn write_rest(
    store: &dyn ChatStore,
    conversation: &Conversation,
    written: &mut Written,
    interrupt: &Interrupt,
    bar: &ProgressBar,
) -> Result<(), Error> {
    let session = &conversation.id;
    conversation.title.as_deref().map_or(Ok(()), check_title)?;
    let Some(history) = interrupt.or(store.load(session, &Load::all())).await else {
        written.is_cut = true;
        return Ok(());
    };
    let history = history?;
    written.cost += history.cost;
    let position = history.position.clone();
    let there = history.into_entries();
    let turns = missing_turns(&conversation.entries, &there).ok_or_else(differs)?;
    written.there = there.len() as u64;
    // Only the first request shows whether a table has a directory.
    let has_directory = store.capabilities().directory;
    let is_described = conversation.owner.is_some() || conversation.title.is_some() || conversation.metadata.is_some();
    written.described = u64::from(is_described && !has_directory);
    let mut appends: Vec<Append> = Vec::new();
    let mut from = there.len();
    for turn in turns {
        let to = from + turn.len();
        appends.push(Append::new(turn.to_vec()).sent_at(conversation.times[from..to].iter().copied()));
        from = to;
    }
    if conversation.entries.is_empty() && has_directory && store.session(session).await?.is_none() {
        // A session without messages is started by an empty record.
        appends.push(Append::clear());
    }
    let (total, mut done) = (appends.len() as u64, 0);
    let about =
        About { owner: conversation.owner.as_ref(), title: conversation.title.as_deref(), started_at: conversation.started_at };
    let mut steps = Steps::new(store, session, about, position, appends);
    while !steps.are_done() {
        if interrupt.is_asked() {
            written.is_cut = true;
            return Ok(());
        }
        let Some(Step { appended, appends, entries }) = steps.next().await? else { break };
        written.cost += appended.cost;
        written.started += u64::from(appended.started);
        written.turns += if entries > 0 { appends } else { 0 };
        written.messages += entries;
        done += appends;
        if total > LARGE && done % (LARGE / 10) == 0 {
            bar.set_message(format!("{}: turn {done} of {total}", visible_line(session.as_str())));
        }
    }
    if let Some(metadata) = &conversation.metadata
        && has_directory
    {
        let update = SessionUpdate::default().with_metadata(metadata.clone());
        store.update_session(session, &update).await?;
    }
    Ok(())
}

/// From how many turns on the progress bar shows a session's progress.
const LARGE: u64 = 100;

/// The turns of the file that are still missing, the first perhaps without its start. `None` if what is stored is not the beginning
/// of what is in the file.
fn missing_turns<'a>(file: &'a [Entry], there: &[Entry]) -> Option<Vec<&'a [Entry]>> {
    file.strip_prefix(there)?;
    let mut from = there.len();
    let mut turns = Vec::new();
    for to in turn_starts(file).chain([file.len()]) {
        if to > from {
            turns.push(&file[from..to]);
            from = to;
        }
    }
    Some(turns)
}

/// Where turns start, except the first: at each user message without a tool result. What comes before the first of these (a system
/// prompt) belongs to it.
fn turn_starts(entries: &[Entry]) -> impl Iterator<Item = usize> {
    let begins_turn = |entry: &Entry| entry.as_message().is_some_and(Message::begins_turn);
    entries.iter().enumerate().filter(move |(_, entry)| begins_turn(entry)).map(|(at, _)| at).skip(1)
}

fn differs() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "not imported: the session has other messages than the file, or more; compare it with `export`, import it under another id \
         with --id-prefix, or delete it first",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(text: &str) -> Vec<Entry> {
        let of = |c| match c {
            's' => Message::system("s").into(),
            'u' => Message::user("u").into(),
            'a' => Message::assistant("a").into(),
            _ => Message::tool("c", "t").into(),
        };
        text.chars().map(of).collect()
    }

    /// The lengths of the missing turns.
    fn missing(file: &str, there: &str) -> Option<Vec<usize>> {
        Some(missing_turns(&roles(file), &roles(there))?.iter().map(|turn| turn.len()).collect())
    }

    #[test]
    fn turn_spans_from_one_user_message_to_the_next() {
        for (file, lengths) in [
            ("", &[][..]),
            ("suaua", &[3, 2]),
            ("uaua", &[2, 2]),
            ("ssuatau", &[6, 1]),
            ("uu", &[1, 1]),
            ("suu", &[2, 1]),
            ("auaua", &[3, 2]),
            ("uasua", &[3, 2]),
            ("sa", &[2]),
        ] {
            assert_eq!(missing(file, "").as_deref(), Some(lengths), "{file}");
        }
    }

    #[test]
    fn import_resumes_after_stored_messages() {
        for (file, there, lengths) in [
            ("suaua", "sua", Some(&[2][..])),
            ("suaua", "suaua", Some(&[])),
            ("suaua", "s", Some(&[2, 2])),
            ("suataua", "sua", Some(&[2, 2])),
            ("sua", "suaua", None),
            ("suaua", "ua", None),
        ] {
            assert_eq!(missing(file, there).as_deref(), lengths, "{file} where {there} is");
        }
    }
}
