//! `import`

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chat_memory::store::{Load, Position, Receipt, SessionUpdate};
use chat_memory::wire::{Format, JsonLines};
use chat_memory::{Append, ChatStore, ChatStoreExt, Error, Message, SessionId};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{WireFormat, count, input, owner};
use crate::app::App;
use crate::failure::{CONFLICT, FAILED, Failure};
use crate::output::say;

mod line;

use line::Conversation;

const EXAMPLES: &str = "\
Examples:
  chat-memory import conversations.jsonl
  chat-memory import --format langchain history.jsonl

  From one store to another:
  chat-memory export | chat-memory --store dynamodb://chats import -

  Beside the sessions that are there:
  chat-memory import --id-prefix archive/ conversations.jsonl

Each line is a conversation: {\"id\": \"trip\", \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, …]}, and may hold \"owner\", \
\"title\" and \"metadata\" of the session. Each turn (a user's message and all up to the next; a system prompt goes with the \
first, a user's message that holds a tool's result with the turn before) is one append.

Run it again after an interruption, at any later time: what is there already is compared with the file, and the import goes on \
behind it. Nothing is doubled. A session that holds anything else than the start of the file's conversation is left alone and \
named (exit code 3), and the others go on. A line that cannot be read ends the import when the lines before it are done.

With --json: {\"sessions\", \"started\", \"turns\", \"messages\", \"messages_there\", \"described\", \"failed\": [{\"line\", \"id\", \"error\"}], \"cost\"}; started counts \
the sessions that are new (on DynamoDB each costs a write for its place in the list of sessions, beside its messages), turns and \
messages what was written, messages_there what was there already, described the sessions with an owner, a title or metadata that the \
store has no place for.";

/// Read conversations from a file into the store, one append a turn
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The file; - is standard input
    file: PathBuf,
    /// The form of the messages
    #[arg(long, value_enum, default_value_t)]
    format: WireFormat,
    /// How many sessions to write at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Whose the new sessions are, where the line does not say
    #[arg(long)]
    owner: Option<String>,
    /// Put this in front of each session's id
    #[arg(long, value_name = "TEXT", default_value = "")]
    id_prefix: String,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let owner = owner(arguments.owner.as_ref())?;
    let (reader, size) = input(&arguments.file)?;
    let jobs = usize::from(arguments.jobs);
    let store = app.store().await?;

    // Reading blocks, so it has a thread of its own; the channel's size keeps it from running far ahead.
    let (sender, mut lines) = mpsc::channel(jobs);
    let (format, prefix) = (Format::from(arguments.format), arguments.id_prefix);
    std::thread::spawn(move || {
        let mut counted = line::Counted::new(reader);
        let done = counted.done();
        for read in JsonLines::new(&mut counted) {
            let read = read.and_then(|line| Conversation::read(line, format, &prefix));
            let last = read.is_err();
            let at = done.load(std::sync::atomic::Ordering::Relaxed);
            if sender.blocking_send((read, at)).is_err() || last {
                break;
            }
        }
    });

    let mut import = Import::new(app, size);
    let mut running = JoinSet::new();
    let mut reading = true;
    while reading || !running.is_empty() {
        tokio::select! {
            line = lines.recv(), if reading && running.len() < jobs => match line {
                None => reading = false,
                Some((Err(error), _)) => {
                    import.fail(None, error.context(arguments.file.display()));
                    reading = false;
                }
                Some((Ok(mut conversation), at)) => {
                    if let Err(twice) = import.first_time(&conversation) {
                        import.fail(Some(&conversation), twice);
                        continue;
                    }
                    conversation.owner = conversation.owner.or_else(|| owner.clone());
                    let store = Arc::clone(&store);
                    running.spawn(async move {
                        let outcome = one(store.as_ref(), &conversation).await;
                        (conversation, at, outcome)
                    });
                }
            },
            Some(done) = running.join_next(), if !running.is_empty() => {
                let (conversation, at, (written, error)) =
                    done.map_err(|e| Failure::other(format!("the import of a session ended unexpectedly: {e}")))?;
                import.add(at, &written);
                if let Some(error) = error {
                    reading &= concerns_one_session(&error);
                    import.fail(Some(&conversation), error);
                }
            }
        }
    }
    import.end()
}

/// Whether other sessions may fare better than the one that met this error.
fn concerns_one_session(error: &Error) -> bool {
    error.is_conflict() || error.is_invalid() || error.is_too_large() || error.is_corrupt()
}

/// What was done for one session.
#[derive(Debug, Default)]
struct Written {
    started: u64,
    turns: u64,
    messages: u64,
    there: u64,
    /// Sessions with an owner, a title or metadata, which the store has no place for.
    described: u64,
    receipt: Receipt,
}

/// Brings one session to where the file has it.
async fn one(store: &dyn ChatStore, conversation: &Conversation) -> (Written, Option<Error>) {
    let mut written = Written::default();
    let error = write_rest(store, conversation, &mut written).await.err();
    (written, error)
}

async fn write_rest(store: &dyn ChatStore, conversation: &Conversation, written: &mut Written) -> Result<(), Error> {
    let session = &conversation.id;
    let history = store.load(session, &Load::all()).await?;
    written.receipt += history.receipt;
    let mut position = history.position.clone();
    let there = history.into_messages();
    let turns = missing_turns(&conversation.messages, &there).ok_or_else(|| differs(session, &position))?;
    written.there = there.len() as u64;
    // Whether a table has a directory shows when it is first asked for something.
    let has_directory = store.capabilities().directory;
    let is_described = conversation.owner.is_some() || conversation.title.is_some() || conversation.metadata.is_some();
    written.described = u64::from(is_described && !has_directory);
    for turn in turns {
        // The position makes a second import of the same session, or a write of the first that was killed and lands late, a
        // conflict instead of a double.
        let mut append = Append::new(turn.to_vec()).expecting(position);
        if let Some(owner) = &conversation.owner {
            append = append.owned_by(owner.clone());
        }
        if let Some(title) = &conversation.title {
            append = append.titled(title);
        }
        let appended = store.append_surely(session, append).await?;
        written.receipt += appended.receipt;
        written.started += u64::from(appended.started);
        written.turns += 1;
        written.messages += turn.len() as u64;
        position = appended.position;
    }
    if let Some(metadata) = &conversation.metadata
        && has_directory
        && written.there + written.messages > 0
    {
        let update = SessionUpdate { metadata: Some(Some(metadata.clone())), ..SessionUpdate::default() };
        store.update_session(session, &update).await?;
    }
    Ok(())
}

/// The turns of the file that are not there yet, the first perhaps without its start; `None` if what is there is not the start
/// of what is in the file.
fn missing_turns<'a>(file: &'a [Message], there: &[Message]) -> Option<Vec<&'a [Message]>> {
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

/// Where turns start, but for the first: at each user's message that holds no tool's result. What stands before the first of these (a system prompt) goes
/// with it.
fn turn_starts(messages: &[Message]) -> impl Iterator<Item = usize> {
    messages.iter().enumerate().filter(|(_, message)| message.begins_turn()).map(|(at, _)| at).skip(1)
}

fn differs(session: &SessionId, actual: &Position) -> Error {
    Error::conflict(actual.clone()).context(format_args!(
        "the session {session} holds other messages than the file (or more), so nothing was added to it; compare it by export, \
         import the file's under another id with --id-prefix, or delete the session first"
    ))
}

/// The whole import: its progress, its count, its failures.
struct Import<'a> {
    app: &'a App,
    bar: ProgressBar,
    seen: HashMap<SessionId, usize>,
    done: Written,
    sessions: u64,
    failed: Vec<Value>,
    code: Option<u8>,
}

impl<'a> Import<'a> {
    fn new(app: &'a App, size: Option<u64>) -> Self {
        // Drawn on a terminal only.
        let bar = match size {
            Some(size) => ProgressBar::new(size).with_style(style("{bar:30} {percent}% {msg} ({eta} left)")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { app, bar, seen: HashMap::new(), done: Written::default(), sessions: 0, failed: Vec::new(), code: None }
    }

    /// Two conversations of one session would race each other.
    fn first_time(&mut self, conversation: &Conversation) -> Result<(), Error> {
        match self.seen.insert(conversation.id.clone(), conversation.number) {
            None => Ok(()),
            Some(before) => Err(Error::invalid(format!("the session stands in the file twice, on line {before} before"))),
        }
    }

    fn add(&mut self, at: u64, written: &Written) {
        self.sessions += 1;
        self.done.started += written.started;
        self.done.turns += written.turns;
        self.done.messages += written.messages;
        self.done.there += written.there;
        self.done.described += written.described;
        self.app.spend(written.receipt);
        self.bar.set_position(at.max(self.bar.position()));
        self.bar.set_message(format!("{}, {}", count(self.sessions, "session"), count(self.done.turns, "turn")));
    }

    fn fail(&mut self, of: Option<&Conversation>, error: Error) {
        let code = if error.is_conflict() { CONFLICT } else { FAILED };
        // A conflict is worth its own code only if nothing worse happened.
        self.code = Some(self.code.map_or(code, |before| if before == code { code } else { FAILED }));
        let (line, id) = (of.map(|of| of.number), of.map(|of| of.id.as_str()));
        let place = of.map_or_else(String::new, |of| format!("line {}, session {}: ", of.number, of.id));
        if !self.app.json() {
            self.bar.suspend(|| say(format_args!("chat-memory: {place}{error}")));
        }
        self.failed.push(json!({ "line": line, "id": id, "error": error.to_string() }));
    }

    fn end(self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let Written { started, turns, messages, there, described, .. } = self.done;
        if self.app.json() {
            self.app.out.json(&json!({
                "sessions": self.sessions,
                "started": started,
                "turns": turns,
                "messages": messages,
                "messages_there": there,
                "described": described,
                "failed": self.failed,
                "cost": self.app.cost(),
            }))?;
        } else {
            let (turns, messages, sessions) = (count(turns, "turn"), count(messages, "message"), count(self.sessions, "session"));
            let mut line = format!("imported {turns} ({messages}) of {sessions}, {started} of them new");
            if there > 0 {
                line.push_str(&format!(
                    "; {} there already",
                    if there == 1 { "1 message was".into() } else { format!("{there} messages were") }
                ));
            }
            if described > 0 {
                line.push_str(&format!(
                    "; {} with an owner, a title or metadata, which the store has no place for",
                    count(described, "session")
                ));
            }
            if !self.failed.is_empty() {
                line.push_str(&format!("; {} failed: run it again when that is settled", self.failed.len()));
            }
            self.app.out.line(line)?;
        }
        self.code.map_or(Ok(()), |code| Err(Failure::Said(code)))
    }
}

pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(text: &str) -> Vec<Message> {
        let of = |c| match c {
            's' => Message::system("s"),
            'u' => Message::user("u"),
            'a' => Message::assistant("a"),
            _ => Message::tool("c", "t"),
        };
        text.chars().map(of).collect()
    }

    /// The lengths of the missing turns.
    fn missing(file: &str, there: &str) -> Option<Vec<usize>> {
        Some(missing_turns(&roles(file), &roles(there))?.iter().map(|turn| turn.len()).collect())
    }

    #[test]
    fn a_turn_is_a_users_message_and_all_up_to_the_next() {
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
    fn an_import_goes_on_behind_what_is_there() {
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
