//! `table`

use chat_memory::store::SessionQuery;
use chat_memory::store::dynamodb::admin::{Admin, Severity};
use chat_memory::store::dynamodb::{DynamoDbStore, TableSweepStats};
use chat_memory::{ChatStore, SessionId};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::json;

use super::{count, findings, owner, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::failure::{FAILED, Failure};

const EXAMPLES: &str = "\
Examples:
  chat-memory --store 'dynamodb://chats?region=eu-west-1' table create
  chat-memory --store 'dynamodb://chats?region=eu-west-1' table check
  chat-memory --store dynamodb://chats table sweep";

/// Create, check and sweep a DynamoDB table
#[derive(Debug, Subcommand)]
#[command(after_long_help = EXAMPLES)]
pub enum Command {
    /// Create the table, billed on demand, with TTL, and wait until it is usable
    ///
    /// An existing table is checked and never changed; if it cannot store sessions, the exit code is 1. With --json: {"table",
    /// "created", "arn", "findings"}.
    Create,
    /// Diagnose a table: check everything that sessions depend on, and print what to do about it
    ///
    /// Checks key schema, TTL, replicas, permissions, this machine's clock, backups. Changes nothing. If the table cannot store
    /// sessions, the exit code is 1. With --json: {"table", "findings": [{"severity", "subject", "what", "remedy"}]}.
    Check,
    /// Erase what clears have hidden, after a clear or a delete was interrupted
    Sweep(Sweep),
}

const SWEEP: &str = "\
Examples:
  chat-memory table sweep                       all there is
  chat-memory table sweep --owner user:42
  chat-memory table sweep trip user:42/support  these two, listed or not

It changes no visible conversation, and works on any store. On a DynamoDB table, all there is means every item, including those of \
deleted sessions and of interrupted appends: each item is read once, which costs read units. On \
SQLite it means every listed session. With --json: {\"sessions\", \"erased\", \"parts\", \"entries\", \"cost\"}; erased \
counts records, parts the leftovers of large ones that were never completed, entries those in the list of sessions that had no session for more \
than a day.";

/// What to sweep.
#[derive(Debug, Args)]
#[command(after_long_help = SWEEP)]
pub struct Sweep {
    /// The sessions; by default all
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    sessions: Vec<String>,
    /// All sessions of this owner
    #[arg(long, conflicts_with = "sessions")]
    owner: Option<String>,
}

pub async fn run(app: &App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create => create(app).await,
        Command::Check => check(app).await,
        Command::Sweep(what) => sweep(app, what).await,
    }
}

async fn create(app: &App) -> Result<(), Failure> {
    let options = app.table("table create")?;
    let creation = Admin::open(&options).await?.create_table().await?;
    if app.json() {
        app.out.json(&json!({
            "table": options.table,
            "created": creation.created,
            "arn": creation.table.arn,
            "findings": findings::to_json(&creation.findings),
        }))?;
    } else {
        let what = if creation.created { "created" } else { "already there" };
        app.out.line(format_args!("the table {} is {what} and usable", options.table))?;
        // Findings without problems are not printed here; `check` prints all.
        findings::print(app, creation.findings.iter().filter(|finding| finding.severity > Severity::Fine))?;
    }
    if creation.fits() { Ok(()) } else { Err(Failure::Printed(FAILED)) }
}

async fn check(app: &App) -> Result<(), Failure> {
    let options = app.table("table check")?;
    let found = Admin::open(&options).await?.check().await;
    if app.json() {
        app.out.json(&json!({ "table": options.table, "findings": findings::to_json(&found) }))?;
    } else {
        findings::print(app, &found)?;
    }
    if findings::fits(&found) { Ok(()) } else { Err(Failure::Printed(FAILED)) }
}

async fn sweep(app: &App, what: Sweep) -> Result<(), Failure> {
    let named: Vec<_> = what.sessions.iter().map(|id| stored_session_id(app, id)).collect::<Result<_, _>>()?;
    let owner = owner(what.owner.as_ref())?;
    if named.is_empty() && owner.is_none() && app.store_url()?.scheme() == "dynamodb" {
        return sweep_whole(app).await;
    }
    let store = app.existing_store().await?;
    let (mut sessions, mut erased) = (0_u64, 0_u64);
    let mut one = async |session: &SessionId| {
        let swept = store.sweep(session).await.map_err(|e| e.context(format_args!("session {session}")))?;
        sessions += 1;
        erased += swept.records;
        app.add_cost(swept.cost);
        Ok::<(), Failure>(())
    };
    if named.is_empty() {
        let mut after = None;
        loop {
            let page = match owner.clone() {
                Some(owner) => {
                    let mut query = SessionQuery::of(owner);
                    query.after = after;
                    store.sessions(&query).await?
                }
                None => store.list_all_sessions(after.as_deref()).await?,
            };
            app.add_cost(page.cost);
            for info in &page.sessions {
                one(&info.id).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    } else {
        for session in &named {
            one(session).await?;
        }
    }
    if app.json() {
        return app.out.json(&json!({ "sessions": sessions, "erased": erased, "parts": 0, "entries": 0, "cost": app.cost() }));
    }
    app.out.line(format_args!("swept {} ({} erased)", count(sessions, "session"), count(erased, "record")))
}

/// Sweeps every item of a table.
async fn sweep_whole(app: &App) -> Result<(), Failure> {
    let store = DynamoDbStore::open(app.table("table sweep")?).await?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let swept = store.sweep_table(&mut |items| bar.set_message(format!("{} scanned", count(items, "item")))).await;
    bar.finish_and_clear();
    let swept = swept?;
    app.add_cost(swept.cost);
    let TableSweepStats { items, sessions, records, parts, entries, .. } = swept;
    if app.json() {
        return app
            .out
            .json(&json!({ "sessions": sessions, "erased": records, "parts": parts, "entries": entries, "cost": app.cost() }));
    }
    let (items, records, sessions) = (count(items, "item"), count(records, "record"), count(sessions, "session"));
    app.out.line(format_args!(
        "scanned {items}: {records} of {sessions} erased, {} without a record and {} without a session deleted",
        count(parts, "part"),
        match entries {
            1 => "1 entry".to_owned(),
            many => format!("{many} entries"),
        }
    ))
}
