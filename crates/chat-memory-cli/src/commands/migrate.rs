//! `migrate`

use std::collections::HashSet;
use std::sync::Arc;

use chat_memory::store::dynamodb::WRITE_PRICE;
use chat_memory::store::url::StoreUrl;
use chat_memory::store::{Cost, History, Load, Record, SessionInfo, SessionUpdate};
use chat_memory::{Append, ChatStore, Error, ErrorKind, SessionId};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ids::readable_id;
use super::progress::concerns_one_session;
use super::steps::{About, Step, Steps};
use super::{no_such_session, say_scan_cost, session_id, stored_id};
use crate::app::{App, open};
use crate::escape::visible_line;
use crate::failure::{Failure, OnCommandLine};
use crate::interrupt::Interrupt;
use crate::output::say;

mod plan;
mod report;

use plan::{Compared, Difference, Piece, compare, difference, missing, pieces};
use report::{Copied, Migration};

const EXAMPLES: &str = "\
Examples:
  export FROM='dynamodb://flowise?region=eu-west-1'
  export TO='dynamodb://chats?region=eu-west-1'

  What it would cost, only reading:
  chat-memory migrate --from \"$FROM\" --to \"$TO\" --dry-run

  And then:
  chat-memory migrate --from \"$FROM\" --to \"$TO\" --verify

  One session, into a file:
  chat-memory migrate --from \"$FROM\" --to sqlite:chats.db --session user-42

  A session whose id the target does not accept, under another one (the id may be given as printed):
  chat-memory migrate --from \"$FROM\" --to \"$TO\" --rename 'user\\n7' user-7

The source is only read, and nothing in it is ever deleted. Run the same command again after an interruption, or when the source has \
grown: it compares what is already copied, and continues after it. Nothing is stored twice. A session whose target contains anything \
other than the start of the source's is left unchanged and reported (exit code 3), and the others are copied.

Everything visible is copied: messages, equal to the last byte, when each was sent, the metadata of records, and a session's owner, \
title, metadata and start if both stores have a directory. What was cleared, rewound or has expired is not copied. An id that the \
target does not accept is replaced by one derived from it, the same each time, which is printed. No two sessions are copied to one id: \
a --rename to the id of another session that is copied is an error.

Threads of another LangGraph checkpointer, such as AWS's DynamoDBSaver, contain Python objects: copy them with the Python package, by \
`python -m chat_memory.langgraph copy` (docs/migrating.md).

A message that only one side redacted is reported with the records that still have its text. --verify reads both sides again and compares \
every field of every message, the metadata of records, and the owner, title and metadata that a session has in the source; what was compared is \
printed.

With --json: {\"sessions\", \"messages\", \"appends\", \"messages_there\", \"renamed\": [{\"id\", \"to\"}], \"failed\": [{\"id\", \"error\"}], \
\"complete\", \"cost\"}, with --verify also {\"verified\": {\"sessions\", \"messages\", \"other_times\", \"redacted\"}}, and with --dry-run also \
{\"write_units\", \"dollars\", \"described\"}. complete is false after an interruption.";

/// Copy sessions from one store to another, of any layout
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The store to copy from
    #[arg(long, value_name = "URL")]
    from: String,
    /// The store to copy to
    #[arg(long, value_name = "URL")]
    to: String,
    /// Only this session (may be repeated); without it, every session
    #[arg(long = "session", value_name = "ID")]
    sessions: Vec<String>,
    /// Copy the session OLD to the id NEW (may be repeated)
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    rename: Vec<String>,
    /// Write nothing: print the number of sessions, messages and write units, and the price in dollars
    #[arg(long)]
    dry_run: bool,
    /// After the copy read both sides again, compare every message, and print what was compared
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    /// How many sessions to copy concurrently
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Price of a million write units in dollars, for --dry-run
    #[arg(long, value_name = "DOLLARS", default_value_t = WRITE_PRICE, value_parser = price)]
    price_per_million: f64,
}

/// Parses a price, which may be 0.
fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "expected dollars, such as 1.25".to_owned())
}

/// Both stores.
#[derive(Clone)]
struct Stores {
    from: Arc<dyn ChatStore>,
    /// The error for a named session that the source does not have.
    no_such_session: String,
    to: Arc<dyn ChatStore>,
    verify: bool,
    dry_run: bool,
    /// Sessions that the user renames: the old id, verbatim or as printed.
    renamed: Arc<[(String, SessionId)]>,
    /// The sessions to copy; empty for all.
    named: Arc<[SessionId]>,
    interrupt: Interrupt,
    bar: ProgressBar,
}

impl Stores {
    /// The id that the user gives this session.
    fn new_id(&self, session: &SessionId) -> Option<&SessionId> {
        self.renamed.iter().find(|(old, _)| is_named(session, old)).map(|(_, new)| new)
    }

    /// Whether the source has a session of this id, and it is copied without another id.
    async fn also_copies(&self, id: &SessionId) -> Result<bool, Error> {
        if self.new_id(id).is_some() || !(self.named.is_empty() || self.named.contains(id)) {
            return Ok(false);
        }
        match self.from.session(id).await {
            Err(error) if error.is_unsupported() => Ok(!self.from.load(id, &Load::last(1)).await?.is_empty()),
            // A table that stores no such id has no such session.
            Err(error) if error.is_invalid() => Ok(false),
            info => Ok(info?.is_some()),
        }
    }
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::listen();
    let renamed = arguments.rename.chunks_exact(2).map(|pair| Ok((pair[0].clone(), session_id(&pair[1])?)));
    let renamed: Vec<_> = renamed.collect::<Result<_, Failure>>()?;
    let url = |text: &str, what: &str| text.parse::<StoreUrl>().map_err(|e| e.context(what)).on_command_line();
    let (from, to) = (url(&arguments.from, "--from")?, url(&arguments.to, "--to")?);
    let named: Vec<_> = arguments.sessions.iter().map(|id| stored_id(&from, id)).collect::<Result<_, _>>()?;
    check_renames(&renamed, &named)?;
    if app.refuses_writes() && !arguments.dry_run {
        let cause = "migrate cannot write to the target: --read-only refuses all writes; leave it out, or give --dry-run";
        return Err(Error::new(ErrorKind::ReadOnly, cause).into());
    }
    if is_same(&from, &to) {
        return Err(Failure::usage("--from and --to are the same store; name another one to copy to"));
    }
    let from = match from.clone().into_read_only() {
        // A store of another crate need not be able to refuse writes; nothing here writes to it.
        Err(error) if error.kind() == ErrorKind::Unsupported => from,
        read_only => read_only.map_err(|e| e.context("--from")).on_command_line()?,
    };
    let to = if arguments.dry_run {
        to.into_read_only().or_else(|_| url(&arguments.to, "--to").map_err(|_| Error::invalid("--to")))?
    } else {
        to
    };
    if named.is_empty() {
        interrupt.or_fail(say_scan_cost(app, &from)).await?;
    }
    let opened = async {
        Ok::<_, Error>((
            open(&from).await.map_err(|e| e.context("--from"))?,
            // A dry run must not create the file, only the copy.
            match open(&to).await {
                Err(error) if arguments.dry_run && error.is_not_found() => Arc::new(chat_memory::store::InMemoryStore::new()),
                opened => opened.map_err(|e| e.context("--to"))?,
            },
        ))
    };
    let (from, to) = interrupt.or_fail(opened).await?;
    let mut migration = Migration::new(app, &arguments);
    interrupt.clears(&migration.bar);
    let stores = Stores {
        from,
        no_such_session: no_such_session(Some(&arguments.from)),
        to,
        verify: arguments.verify,
        dry_run: arguments.dry_run,
        renamed: renamed.into(),
        named: named.as_slice().into(),
        interrupt: interrupt.clone(),
        bar: migration.bar.clone(),
    };
    let jobs = usize::from(arguments.jobs);
    let mut running = JoinSet::new();
    let mut listed = list(Arc::clone(&stores.from), named);
    let (mut seen, mut warnings) = (HashSet::new(), HashSet::new());
    let mut listing = true;
    let mut failure = None;
    while listing || !running.is_empty() {
        tokio::select! {
            () = interrupt.asked(), if listing => {
                listing = false;
                migration.is_cut = true;
            }
            next = listed.recv(), if listing && running.len() < jobs => match next {
                None => listing = false,
                Some(Listed::Cost(cost)) => app.add_cost(cost),
                Some(Listed::Warning(warning)) => {
                    if warnings.insert(warning.clone()) {
                        migration.bar.suspend(|| say(format_args!("chat-memory: warning: {warning}")));
                    }
                }
                Some(Listed::Failed(error)) => {
                    // Sessions found so far are copied to their end.
                    listing = false;
                    migration.is_cut = true;
                    failure = Some(error);
                }
                // A session that two directory entries list is copied once.
                Some(Listed::Session(id, info)) => if seen.insert(id.clone()) {
                    migration.seen += 1;
                    let stores = stores.clone();
                    running.spawn(async move {
                        let mut copied = Copied::default();
                        let error = one(&stores, &id, *info, &mut copied).await.err();
                        (id, copied, error)
                    });
                },
            },
            Some(done) = running.join_next(), if !running.is_empty() => {
                let (id, copied, error) =
                    done.map_err(|e| Failure::other(format!("copying a session ended unexpectedly: {e}")))?;
                if error.as_ref().is_some_and(|error| !concerns_one_session(error)) {
                    migration.is_cut |= listing;
                    listing = false;
                }
                migration.add(&id, copied, error);
            }
        }
    }
    let is_whole = !migration.is_cut;
    for (old, _) in stores.renamed.iter().filter(|(old, _)| is_whole && !seen.iter().any(|id| is_named(id, old))) {
        migration.fail(old, &Error::invalid("no such session among those copied, although --rename names it; check the id"));
    }
    let interrupted = interrupt.is_asked();
    let end = migration.end(interrupted);
    match failure {
        Some(error) if !interrupted => Err(error.into()),
        _ => end,
    }
}

/// Refuses renames of which the command line alone shows that two sessions would get the same id.
fn check_renames(renamed: &[(String, SessionId)], named: &[SessionId]) -> Result<(), Failure> {
    for (at, (old, new)) in renamed.iter().enumerate() {
        if renamed[..at].iter().any(|(_, other)| other == new) {
            return Err(Failure::usage(format!("--rename gives several sessions the id {new}: give each an id of its own")));
        }
        if renamed[..at].iter().any(|(other, _)| other == old) {
            return Err(Failure::usage(format!("--rename names {old} twice: give it one new id", old = visible_line(old))));
        }
        let keeps = |session: &&SessionId| *session == new && !renamed.iter().any(|(old, _)| is_named(session, old));
        if named.iter().any(|session| keeps(&session)) {
            return Err(Failure::usage(format!(
                "--rename gives a session the id {new}, and --session copies another of that id: give another id"
            )));
        }
    }
    Ok(())
}

fn is_same(from: &StoreUrl, to: &StoreUrl) -> bool {
    if from.scheme() != to.scheme() {
        return false;
    }
    match from.scheme() {
        "sqlite" => {
            let (from, to) = (from.path(), to.path());
            from == to || from.canonicalize().is_ok_and(|from| to.canonicalize().is_ok_and(|to| from == to))
        }
        "dynamodb" => {
            let same = ["region", "endpoint", "namespace", "sort_value", "profile"];
            from.path() == to.path() && same.iter().all(|name| from.parameter(name) == to.parameter(name))
        }
        "memory" => false,
        _ => from == to,
    }
}

/// What a listing found.
enum Listed {
    Session(SessionId, Box<Option<SessionInfo>>),
    Cost(Cost),
    /// Items that are not listed, or cannot be read.
    Warning(String),
    Failed(Error),
}

/// Lists the sessions to copy, page after page, as fast as they are taken.
fn list(store: Arc<dyn ChatStore>, named: Vec<SessionId>) -> mpsc::Receiver<Listed> {
    let (sender, listed) = mpsc::channel(1);
    tokio::spawn(async move {
        // The receiver may have stopped.
        if let Err(error) = list_into(store.as_ref(), named, &sender).await {
            let _ = sender.send(Listed::Failed(error)).await;
        }
    });
    listed
}

async fn list_into(store: &dyn ChatStore, named: Vec<SessionId>, to: &mpsc::Sender<Listed>) -> Result<(), Error> {
    if !named.is_empty() {
        for id in named {
            // Only the first request shows whether a table has a directory.
            let info = match store.session(&id).await {
                Err(error) if error.is_unsupported() => None,
                info => info?,
            };
            if to.send(Listed::Session(id, Box::new(info))).await.is_err() {
                break;
            }
        }
        return Ok(());
    }
    let mut after: Option<String> = None;
    loop {
        let page = store.list_all_sessions(after.as_deref()).await?;
        if to.send(Listed::Cost(page.cost)).await.is_err() {
            return Ok(());
        }
        for warning in page.warnings {
            if to.send(Listed::Warning(warning)).await.is_err() {
                return Ok(());
            }
        }
        for info in page.sessions {
            if to.send(Listed::Session(info.id.clone(), Box::new(Some(info)))).await.is_err() {
                return Ok(());
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Brings one session of the target to its state in the source.
async fn one(stores: &Stores, session: &SessionId, info: Option<SessionInfo>, copied: &mut Copied) -> Result<(), Error> {
    let interrupt = &stores.interrupt;
    let Some(source) = interrupt.or(load(stores.from.as_ref(), session, copied)).await else {
        copied.is_cut = true;
        return Ok(());
    };
    let source = source.map_err(|e| e.context("source"))?;
    if info.is_none() && source.is_empty() && (stores.from.capabilities().directory || source.position.next() == 0) {
        return Err(Error::invalid(format!("source: {}", stores.no_such_session)));
    }
    if let Some(new) = stores.new_id(session)
        && stores.also_copies(new).await?
    {
        return Err(Error::invalid(format!(
            "session not copied as {new}: the source has another session of that id, which is copied, too; give another id with --rename, \
             or name the sessions to copy with --session"
        )));
    }
    let Some(found) = interrupt.or(find_target(stores, session, copied)).await else {
        copied.is_cut = true;
        return Ok(());
    };
    let (id, target) = found?;
    let (original, session) = (session, &id);
    // A list of Flowise's or LangChain's has no start time; its messages may.
    let first_sent = source.records.iter().flat_map(|record| record.entry_times()).flatten().next();
    let started_at = info.as_ref().and_then(|info| info.created_at.known()).or(first_sent);
    let whole = source.entries().count();
    if !stores.to.capabilities().entries && source.records.iter().any(Record::has_other_entries) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "session not copied: it has entries that are not chat messages, and the target stores nothing else; migrate to a \
             table of the turns layout or to SQLite, or name the other sessions with --session",
        ));
    }
    let difference = target.as_ref().and_then(|target| difference(&source.records, &target.records));
    let pieces = pieces(source.records);
    let has_directory = stores.to.capabilities().directory;
    let is_described = info.as_ref().is_some_and(|info| info.owner.is_some() || info.title.is_some() || info.metadata.is_some());
    copied.loses = is_described && !has_directory;
    let position = target.as_ref().map(|target| target.position.clone());
    let there = target.map_or(0, |target| target.entries().count());
    let is_empty = pieces.is_empty() && there == 0;
    if let Some(difference) = difference {
        let Difference { what, remedy } = difference;
        let written = if stores.dry_run { "would be" } else { "was" };
        let why = format!("source and target differ: {what}; nothing {written} written to the target: {remedy}");
        return Err(Error::new(ErrorKind::Conflict, why));
    }
    let rest = missing(pieces, there);
    copied.there = there as u64;
    let mut appends: Vec<Append> = rest.iter().map(Piece::append).collect();
    // A session without messages, such as a cleared one, is started by an empty record.
    if is_empty && info.is_some() && has_directory && (position.is_none() || stores.to.session(session).await?.is_none()) {
        appends.push(Append::clear());
    }
    let Some(position) = position.filter(|_| !stores.dry_run) else {
        copied.messages = rest.iter().map(|piece| piece.entries.len() as u64).sum();
        copied.appends = appends.len() as u64;
        copied.write_units = stores.to.write_units(session, &appends);
        return Ok(());
    };
    stores.bar.inc_length(appends.iter().map(|append| append.entries().len() as u64).sum());
    let about = About {
        owner: info.as_ref().and_then(|info| info.owner.as_ref()),
        title: info.as_ref().and_then(|info| info.title.as_deref()),
        started_at,
    };
    let mut steps = Steps::new(stores.to.as_ref(), session, about, position, appends);
    while !steps.are_done() {
        if interrupt.is_asked() {
            copied.is_cut = true;
            return Ok(());
        }
        let Some(Step { appended, appends, entries }) = steps.next().await? else { break };
        copied.cost += appended.cost;
        copied.appends += appends;
        copied.messages += entries;
        stores.bar.inc(entries);
    }
    if let Some(info) = &info
        && has_directory
    {
        describe(stores.to.as_ref(), session, info, copied.there > 0).await?;
    }
    if stores.verify {
        let Some(compared) = interrupt.or(verify(stores, whole, original, session, copied)).await else {
            copied.is_cut = true;
            return Ok(());
        };
        let compared = compared?;
        if let Some(info) = &info
            && has_directory
        {
            verify_description(stores.to.as_ref(), session, info).await?;
        }
        copied.verified = Some(compared);
    }
    Ok(())
}

/// Whether the user means this session, by its id verbatim or as printed.
fn is_named(session: &SessionId, name: &str) -> bool {
    name == session.as_str() || name == visible_line(session.as_str())
}

/// The session's id in the target, and what is stored there. The id is its own, the one that the user gave, or one derived from it
/// if the target does not accept its own.
async fn find_target(stores: &Stores, session: &SessionId, copied: &mut Copied) -> Result<(SessionId, Option<History>), Error> {
    let to = stores.to.as_ref();
    if let Some(new) = stores.new_id(session) {
        copied.renamed = Some(new.clone());
    }
    let mut id = copied.renamed.clone().unwrap_or_else(|| session.clone());
    let mut target = load(to, &id, copied).await;
    if let (Err(error), Err(_)) = (&target, id.check())
        && error.is_invalid()
    {
        id = readable_id(id.as_str())?;
        copied.renamed = Some(id.clone());
        target = load(to, &id, copied).await;
    }
    match target {
        // A dry run may come before the table exists.
        Err(error) if stores.dry_run && error.is_not_found() => Ok((id, None)),
        target => Ok((id, Some(target.map_err(|e| e.context("target"))?))),
    }
}

async fn load(store: &dyn ChatStore, session: &SessionId, copied: &mut Copied) -> Result<History, Error> {
    let history = store.load(session, &Load::all()).await?;
    copied.cost += history.cost;
    Ok(history)
}

/// Reads both sides again. What was appended to the source in the meantime is not a difference.
async fn verify(
    stores: &Stores,
    entries: usize,
    from: &SessionId,
    to: &SessionId,
    copied: &mut Copied,
) -> Result<Compared, Error> {
    let source = load(stores.from.as_ref(), from, copied).await.map_err(|e| e.context("source"))?;
    let target = load(stores.to.as_ref(), to, copied).await.map_err(|e| e.context("target"))?;
    compare(&source.records, entries, &target.records).map_err(|difference| differs(to, &difference))
}

fn differs(session: &SessionId, difference: &str) -> Error {
    Error::corrupt(format!("verification of session {session} failed: {difference}"))
}

/// Gives a session the metadata of the source's, and the title if the session was there before.
async fn describe(store: &dyn ChatStore, session: &SessionId, info: &SessionInfo, was_there: bool) -> Result<(), Error> {
    let mut update = SessionUpdate::default();
    if let Some(metadata) = &info.metadata {
        update = update.with_metadata(metadata.clone());
    }
    if was_there && let Some(title) = &info.title {
        let there = store.session(session).await?;
        if there.and_then(|there| there.title).as_ref() != Some(title) {
            update = update.with_title(title.clone());
        }
    }
    if update != SessionUpdate::default() {
        store.update_session(session, &update).await?;
    }
    Ok(())
}

/// Compares what the source's list says of a session.
async fn verify_description(store: &dyn ChatStore, session: &SessionId, info: &SessionInfo) -> Result<(), Error> {
    let Some(there) = store.session(session).await? else { return Err(differs(session, "the target does not list it")) };
    let shown = |what: Option<String>| what.unwrap_or_else(|| "none".to_owned());
    for (name, source, target) in [
        ("owner", info.owner.as_ref().map(ToString::to_string), there.owner.map(|owner| owner.to_string())),
        ("title", info.title.clone(), there.title),
        (
            "metadata",
            info.metadata.clone().map(|it| Value::Object(it).to_string()),
            there.metadata.map(|it| Value::Object(it).to_string()),
        ),
    ] {
        // What the source does not say may have been added in the target.
        if source.is_some() && source != target {
            let (source, target) = (shown(source), shown(target));
            return Err(differs(session, &format!("the {name} differs: the source has {source}, the target {target}")));
        }
    }
    Ok(())
}
