//! `delete`

use chat_memory::store::{OwnedSession, SessionInfo, SessionQuery};
use chat_memory::{ChatStore, ChatStoreExt, Owner};
use chat_memory_server::threads;
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::progress::bar;
use super::{confirm, count, owner, stored_session_id, thread_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::{FAILED, Failure, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::output::say;

const EXAMPLES: &str = "\
Examples:
  chat-memory delete trip          asks first
  chat-memory delete trip --yes    in a script
  chat-memory delete --thread trip a thread of LangGraph's
  chat-memory delete --owner ada --dry-run   which sessions that would be
  chat-memory delete --owner ada   all sessions of an owner

Deleting a missing session or thread is not an error: it prints a note, and exits with 0. If it is interrupted, run it again. A run of a graph that \
loaded the thread before cannot continue it; the next one starts from nothing.

--owner deletes all sessions of an owner, also those that have expired and are not erased yet, and then lists them again to make sure that \
none is left. If it is interrupted, run it again. A session that cannot be deleted is named, and the exit code is 1. Not covered: \
threads of LangGraph's, and what an interrupted delete left of a session that is no longer listed (on DynamoDB, `table sweep` erases \
that). `export --owner` writes an owner's sessions to a file before.

With --json: {\"session\", \"existed\", \"erased\", \"cost\"}; existed is whether there was such a session, erased counts records. Of a thread: \
{\"thread\", \"existed\", \"cost\"}. Of an owner: {\"owner\", \"sessions\", \"erased\", \"failed\": [{\"session\", \"error\"}], \"left\", \"cost\"}; with \
--dry-run {\"owner\", \"sessions\": [id, …], \"cost\"}.";

/// Delete a session: its messages, and its entry in the list of sessions. Or a thread of LangGraph's, or all sessions of an owner
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id
    #[arg(add = ArgValueCompleter::new(completion::sessions), required_unless_present_any = ["thread", "owner"])]
    session: Option<String>,
    /// Delete this thread of LangGraph's instead
    #[arg(long, value_name = "ID", conflicts_with = "session", add = ArgValueCompleter::new(completion::threads))]
    thread: Option<String>,
    /// Delete all sessions of this owner
    #[arg(long, conflicts_with_all = ["session", "thread"])]
    owner: Option<String>,
    /// With --owner: print the sessions that would be deleted, and delete nothing
    #[arg(long, short = 'n', requires = "owner")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    if let Some(owner) = owner(arguments.owner.as_ref())? {
        return match arguments.dry_run {
            true => list_owned(app, owner).await,
            false => delete_owned(app, owner, arguments.yes).await,
        };
    }
    // Clap does not check this for an option that excludes the session.
    if arguments.dry_run {
        return Err(Failure::usage("--dry-run works with --owner only; leave it out, or give --owner"));
    }
    if let Some(thread) = arguments.thread {
        return delete_thread(app, &thread, arguments.yes).await;
    }
    let session = stored_session_id(app, &arguments.session.unwrap_or_default())?;
    let name = visible_line(session.as_str());
    confirm(arguments.yes, &format!("Delete {name} and all its messages"))?;
    let store = app.existing_store().await?;
    let deleted = store.delete(&session).await?;
    app.add_cost(deleted.cost);
    if app.json() {
        return app.out.json(&json!({
            "session": session.as_str(),
            "existed": deleted.existed,
            "erased": deleted.records,
            "cost": app.cost(),
        }));
    }
    let erased = count(deleted.records, "record");
    match (deleted.existed, deleted.records) {
        (true, _) => app.out.line(format_args!("deleted {name} ({erased} erased)")),
        (false, 0) => app.out.line(format_args!("no session {:?}: nothing to delete", session.as_str())),
        (false, _) => app.out.line(format_args!("no session {:?}: erased what was left of it ({erased})", session.as_str())),
    }
}

/// The sessions of an owner, expired ones included.
async fn owned(app: &App, store: &dyn ChatStore, owner: &Owner) -> Result<Vec<SessionInfo>, Failure> {
    let mut query = SessionQuery::of(owner.clone()).with_expired();
    let mut sessions = Vec::new();
    loop {
        let page = store.sessions(&query).await?;
        app.add_cost(page.cost);
        sessions.extend(page.sessions);
        query.after = page.next;
        if query.after.is_none() {
            return Ok(sessions);
        }
    }
}

async fn list_owned(app: &App, owner: Owner) -> Result<(), Failure> {
    let store = app.existing_store().await?;
    let sessions = owned(app, store.as_ref(), &owner).await?;
    if app.json() {
        let ids: Vec<_> = sessions.iter().map(|info| info.id.as_str()).collect();
        return app.out.json(&json!({"owner": owner.as_str(), "sessions": ids, "cost": app.cost()}));
    }
    for info in &sessions {
        app.out.line(visible_line(info.id.as_str()))?;
    }
    say(format_args!("would delete {} of {owner}", count(sessions.len() as u64, "session")));
    Ok(())
}

async fn delete_owned(app: &App, owner: Owner, yes: bool) -> Result<(), Failure> {
    confirm(yes, &format!("Delete all sessions of {owner} and all their messages"))?;
    let interrupt = Interrupt::listen();
    let store = interrupt.or_fail(app.existing_store()).await?;
    let bar = bar(None, "{spinner} {msg} ({elapsed})");
    interrupt.clears(&bar);
    let (mut sessions, mut records, mut failed) = (0, 0, Vec::new());
    let mut progress = |done: OwnedSession| match done.result {
        Ok(deleted) => {
            (sessions, records) = (sessions + 1, records + deleted.records);
            bar.set_message(format!("{} deleted, {} erased", count(sessions, "session"), count(records, "record")));
        }
        Err(error) => {
            if !app.json() {
                bar.suspend(|| say(format_args!("chat-memory: session {:?} was not deleted: {error}", done.session.as_str())));
            }
            failed.push(json!({"session": done.session.as_str(), "error": error.to_string()}));
        }
    };
    let done = interrupt.or(store.delete_owner(&owner, None, &mut progress)).await;
    bar.finish_and_clear();
    let Some(done) = done else {
        let so_far = format!("{} deleted, {} erased", count(sessions, "session"), count(records, "record"));
        say(format_args!("interrupted: {so_far}; run the same command again to delete the others"));
        return Err(Failure::Printed(INTERRUPTED));
    };
    let done = done?;
    app.add_cost(done.cost);
    // What another process has started meanwhile counts, too.
    let left = owned(app, store.as_ref(), &owner).await?.len() as u64;
    if app.json() {
        app.out.json(&json!({
            "owner": owner.as_str(),
            "sessions": done.sessions,
            "erased": done.records,
            "failed": failed,
            "left": left,
            "cost": app.cost(),
        }))?;
    } else {
        let left = if left == 0 { "none is left".to_owned() } else { format!("{left} left") };
        let (sessions, records) = (count(done.sessions, "session"), count(done.records, "record"));
        app.out.line(format_args!("deleted {sessions} of {owner} ({records} erased); {left}"))?;
    }
    if left == 0 { Ok(()) } else { Err(Failure::Printed(FAILED)) }
}

async fn delete_thread(app: &App, thread: &str, yes: bool) -> Result<(), Failure> {
    let thread = thread_id(thread)?;
    confirm(yes, &format!("Delete the thread {thread} and all its checkpoints"))?;
    let store = app.existing_checkpoints().await?;
    let newest = threads::checkpoints(&store, &thread, None, 1).await?;
    app.add_cost(newest.cost);
    let existed = !newest.items.is_empty();
    app.add_cost(store.delete_thread(&thread).await?);
    if app.json() {
        return app.out.json(&json!({"thread": thread.as_str(), "existed": existed, "cost": app.cost()}));
    }
    if existed {
        app.out.line(format_args!("deleted the thread {thread}"))
    } else {
        app.out.line(format_args!("no thread {:?}: nothing to delete", thread.as_str()))
    }
}
