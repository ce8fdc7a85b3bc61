//! `export`

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use chat_memory::store::{History, Load, Record, SessionInfo, SessionPage, SessionQuery};
use chat_memory::wire::{Format, times_of};
use chat_memory::{ChatStore, Error, ErrorKind, SessionId};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use super::import::forms::{FORMAT, format};
use super::progress::bar;
use super::{count, formats, no_such_session, owner, say_scan_cost, stored_id};
use crate::app::App;
use crate::escape::json_line;
use crate::failure::{FAILED, Failure, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::render::utc_time;

const EXAMPLES: &str = "\
Examples:
  chat-memory export > all.jsonl           every session, whoever owns it
  chat-memory export --owner user:42       every session of this owner
  chat-memory export --unowned             every session without an owner
  chat-memory export trip user:42/support  these two
  chat-memory export | chat-memory --store dynamodb://chats import -

Each line is a conversation: {\"id\", \"messages\"}, with \"format\" where the messages are not in OpenAI's or could be taken for \
another, with \"owner\", \"title\", \"metadata\" and \"created_at\" where the session has them, \
\"sent_at\", when each message was sent (null where that is unknown), and \"other_entries\": [{\"after\", \"entry\", \"sent_at\"}], \
those that are not messages, each after that many messages. `import` reads them again. On DynamoDB, exporting every session \
reads the whole table; what that takes is printed first.

A missing or unreadable session is reported on standard error (exit code 1), and the others are \
exported. After an interruption run it again: it only reads. The format has no metadata of single records; how many were omitted \
is printed on standard error.";

/// Write conversations to standard output, one per line
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The sessions; by default all
    #[arg(add = clap_complete::ArgValueCompleter::new(crate::completion::sessions))]
    sessions: Vec<String>,
    /// All sessions of this owner
    #[arg(long, conflicts_with = "sessions")]
    owner: Option<String>,
    /// All sessions without an owner
    #[arg(long, conflicts_with_all = ["sessions", "owner"])]
    unowned: bool,
    /// The format of the messages
    #[arg(long, value_parser = formats(), default_value_t)]
    format: Format,
    /// How many sessions to read concurrently
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
}

/// What was read of a session: its directory entry, and its messages; `None` if there is no such session.
type Session = Option<(Option<SessionInfo>, History)>;

/// Which sessions.
enum Which {
    Named(std::vec::IntoIter<SessionId>),
    Listed(SessionQuery),
    Every(Option<String>),
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::listen();
    let url = app.store_url()?;
    let ids: Vec<_> = arguments.sessions.iter().map(|id| stored_id(&url, id)).collect::<Result<_, _>>()?;
    let owner = owner(arguments.owner.as_ref())?;
    let which = match owner {
        Some(owner) => Which::Listed(SessionQuery::of(owner)),
        None if arguments.unowned => Which::Listed(SessionQuery::unowned()),
        None if ids.is_empty() => Which::Every(None),
        None => Which::Named(ids.into_iter()),
    };
    if matches!(which, Which::Every(_)) {
        interrupt.or_fail(say_scan_cost(app, &url)).await?;
    }
    let store = interrupt.or_fail(app.existing_store()).await?;
    let mut export = Export {
        app,
        format: arguments.format,
        jobs: arguments.jobs.into(),
        reading: VecDeque::new(),
        bar: bar(None, "{spinner} {msg}"),
        sessions: 0,
        messages: 0,
        bare: 0,
        failed: 0,
    };
    interrupt.clears(&export.bar);
    match interrupt.or(export.write_all(store, which)).await {
        Some(written) => written.and_then(|()| export.end()),
        None => export.interrupted(),
    }
}

async fn read(store: Arc<dyn ChatStore>, id: SessionId, listed: Option<SessionInfo>) -> Result<Session, Error> {
    let is_listed = listed.is_some();
    let listed = match listed {
        None => match store.session(&id).await {
            // Only the first request shows whether a table has a directory.
            Err(error) if error.is_unsupported() => None,
            listed => listed?,
        },
        listed => listed,
    };
    let history = store.load(&id, &Load::all()).await?;
    // Without a directory, only the log shows whether there is such a session.
    let is_there =
        is_listed || listed.is_some() || !history.is_empty() || (!store.capabilities().directory && history.position.next() > 0);
    Ok(is_there.then_some((listed, history)))
}

/// The entries that are not messages, each with the number of messages before it, and when it was sent.
fn other_entries(history: &History) -> Vec<Value> {
    let (mut after, mut others) = (0, Vec::new());
    for (entry, at) in history.records.iter().flat_map(|record| record.entries.iter().zip(record.entry_times())) {
        if entry.as_message().is_some() {
            after += 1;
            continue;
        }
        let mut other = json!({"after": after, "entry": entry.to_value()});
        if let Some(at) = at {
            other["sent_at"] = utc_time(at).into();
        }
        others.push(other);
    }
    others
}

/// The whole export: reads several sessions concurrently and writes them in order.
struct Export<'a> {
    app: &'a App,
    format: Format,
    jobs: usize,
    reading: VecDeque<(SessionId, JoinHandle<Result<Session, Error>>)>,
    bar: ProgressBar,
    sessions: u64,
    messages: u64,
    /// Records whose metadata cannot be stored in a line.
    bare: u64,
    failed: u64,
}

impl Export<'_> {
    async fn write_all(&mut self, store: Arc<dyn ChatStore>, mut which: Which) -> Result<(), Failure> {
        // A session that two directory entries list is written once.
        let (mut seen, mut seen_warnings) = (HashSet::new(), HashSet::new());
        loop {
            let page = match &mut which {
                Which::Named(ids) => {
                    let Some(id) = ids.next() else { break };
                    if seen.insert(id.clone()) {
                        self.start(&store, id, None).await?;
                    }
                    continue;
                }
                Which::Listed(query) => store.sessions(query).await?,
                Which::Every(after) => store.list_all_sessions(after.as_deref()).await?,
            };
            let SessionPage { sessions, next, cost, warnings, .. } = page;
            self.app.add_cost(cost);
            for warning in warnings {
                if seen_warnings.insert(warning.clone()) {
                    self.bar.suspend(|| say(format_args!("chat-memory: warning: {warning}")));
                }
            }
            for info in sessions {
                if seen.insert(info.id.clone()) {
                    self.start(&store, info.id.clone(), Some(info)).await?;
                }
            }
            match (next, &mut which) {
                (Some(next), Which::Listed(query)) => query.after = Some(next),
                (Some(next), Which::Every(after)) => *after = Some(next),
                _ => break,
            }
        }
        while !self.reading.is_empty() {
            self.write_next().await?;
        }
        Ok(())
    }

    async fn start(&mut self, store: &Arc<dyn ChatStore>, id: SessionId, listed: Option<SessionInfo>) -> Result<(), Failure> {
        while self.reading.len() >= self.jobs {
            self.write_next().await?;
        }
        let reading = tokio::spawn(read(Arc::clone(store), id.clone(), listed));
        self.reading.push_back((id, reading));
        Ok(())
    }

    async fn write_next(&mut self) -> Result<(), Failure> {
        let Some((_, reading)) = self.reading.front_mut() else { return Ok(()) };
        let read = reading.await.map_err(|e| Failure::other(format!("reading a session ended unexpectedly: {e}")))?;
        let Some((id, _)) = self.reading.pop_front() else { return Ok(()) };
        // If everything is read already, nothing else would let Ctrl-C be handled.
        tokio::task::yield_now().await;
        let read = read
            .and_then(|session| session.ok_or_else(|| Error::new(ErrorKind::NotFound, no_such_session(self.app.given_store()))));
        match read {
            Ok((listed, history)) => self.write(&id, listed, history),
            // Other sessions may succeed: one failure does not hold back what can be read.
            Err(error) if error.is_corrupt() || error.is_invalid() || error.is_not_found() || error.is_unsupported() => {
                self.failed += 1;
                let error = error.context(format_args!("session {:?} was not exported", id.as_str()));
                self.bar.suspend(|| match Failure::from(error) {
                    failure if self.app.json() => failure.to_json().iter().for_each(|error| say(json_line(error))),
                    failure => failure.sentence().iter().for_each(|sentence| say(format_args!("chat-memory: {sentence}"))),
                });
                Ok(())
            }
            Err(error) => Err(error.context(format_args!("session {:?}", id.as_str())).into()),
        }
    }

    fn write(&mut self, id: &SessionId, listed: Option<SessionInfo>, history: History) -> Result<(), Failure> {
        self.app.add_cost(history.cost);
        self.bare += history.records.iter().filter(|record| record.metadata.is_some()).count() as u64;
        let mut fields = Map::new();
        fields.insert("id".into(), id.as_str().into());
        let times: Vec<_> = history.records.iter().flat_map(Record::timed_messages).map(|(_, at)| at).collect();
        let others = other_entries(&history);
        let entries = history.entries().count() as u64;
        let written = self.format.write_placed(&history.into_messages());
        let sent_at = times_of(&written, &times);
        let messages: Vec<_> = written.into_iter().map(|(_, value)| value).collect();
        if self.format != Format::OpenAi || format::detect(&messages) != Format::OpenAi {
            fields.insert(FORMAT.into(), self.format.as_str().into());
        }
        fields.insert("messages".into(), messages.into());
        if !others.is_empty() {
            fields.insert("other_entries".into(), others.into());
        }
        if let Some(SessionInfo { owner, title, metadata, created_at, .. }) = listed {
            let mut put = |name: &str, value: Option<Value>| value.map(|value| fields.insert(name.into(), value));
            put("owner", owner.map(|owner| owner.as_str().into()));
            put("title", title.map(Value::String));
            put("metadata", metadata.map(Value::Object));
            // A table of Flowise's or LangChain's stores no times.
            put("created_at", created_at.known().map(|at| utc_time(at).into()));
        }
        if sent_at.iter().any(Option::is_some) {
            fields.insert("sent_at".into(), sent_at.into_iter().map(|at| at.map(utc_time)).collect());
        }
        self.app.out.json(&Value::Object(fields))?;
        self.sessions += 1;
        self.messages += entries;
        self.bar.set_message(self.progress());
        Ok(())
    }

    fn progress(&self) -> String {
        format!("{} ({})", count(self.sessions, "session"), count(self.messages, "message"))
    }

    fn end(self) -> Result<(), Failure> {
        self.app.out.flush()?;
        self.bar.finish_and_clear();
        if self.bare > 0 {
            say(format_args!("omitted: the metadata of {}, which this format cannot hold", count(self.bare, "record")));
        }
        let failed = if self.failed > 0 { format!("; {} failed", count(self.failed, "session")) } else { String::new() };
        say(format_args!("exported {}{failed}", self.progress()));
        if self.failed > 0 { Err(Failure::Printed(FAILED)) } else { Ok(()) }
    }

    /// Everything written until then is whole lines.
    fn interrupted(self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        self.app.out.flush()?;
        say(format_args!(
            "interrupted after {}, all of them complete; run the same command again to export everything",
            self.progress()
        ));
        Err(Failure::Printed(INTERRUPTED))
    }
}
