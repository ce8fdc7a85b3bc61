//! `migrate`

use std::sync::Arc;
use std::time::Duration;

use chat_memory::store::url::StoreUrl;
use chat_memory::store::{History, Load, Receipt, SessionInfo, SessionUpdate};
use chat_memory::{Append, ChatStore, ChatStoreExt, Error, Message, SessionId};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::import::style;
use super::{count, say_scan_cost, session_id};
use crate::app::{App, cost_of, open};
use crate::failure::{CONFLICT, FAILED, Failure, OnCommandLine};
use crate::output::say;

mod plan;

use plan::{Piece, first_difference, missing, pieces};

/// Dollars for a million write units on demand in us-east-1, as AWS publishes it.
const PRICE: f64 = 0.625;

const EXAMPLES: &str = "\
Examples:
  export FROM='dynamodb://flowise?region=eu-west-1'
  export TO='dynamodb://chats?region=eu-west-1'

  What it would take, reading only:
  chat-memory migrate --from \"$FROM\" --to \"$TO\" --dry-run

  And then:
  chat-memory migrate --from \"$FROM\" --to \"$TO\" --verify

  One session, into a file:
  chat-memory migrate --from \"$FROM\" --to sqlite:chats.db --session user-42

The source is only read, and nothing in it is ever deleted. Run the same command again after an interruption, or when the source has \
grown: what is there already is compared, and the copy goes on behind it. Nothing is doubled. A session whose target holds anything \
else than the start of the source's is left alone and named (exit code 3), and the others go on.

What is copied is what can be seen: messages, equal to the last byte, the metadata beside them, and a session's owner, title and \
metadata where both stores have a directory. What was cleared, taken back or has expired stays behind; times become those of the copy.

With --json: {\"sessions\", \"messages\", \"appends\", \"messages_there\", \"failed\": [{\"id\", \"error\"}], \"cost\"}, and with --dry-run \
also {\"write_units\", \"dollars\", \"described\"}.";

/// Copy sessions from one store to another, of any layout
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The store to read
    #[arg(long, value_name = "URL")]
    from: String,
    /// The store to write
    #[arg(long, value_name = "URL")]
    to: String,
    /// Only this session (may be repeated); without it, every session
    #[arg(long = "session", value_name = "ID")]
    sessions: Vec<String>,
    /// Write nothing: say how many sessions, messages, write units and dollars it would take
    #[arg(long)]
    dry_run: bool,
    /// Read both sides again at the end and compare every message
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    /// How many sessions to copy at once
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Dollars for a million write units, for --dry-run
    #[arg(long, value_name = "DOLLARS", default_value_t = PRICE)]
    price_per_million: f64,
}

/// Both sides.
#[derive(Clone)]
struct Stores {
    from: Arc<dyn ChatStore>,
    to: Arc<dyn ChatStore>,
    verify: bool,
    dry_run: bool,
}

/// What was done, or would be, for one session.
#[derive(Debug, Default)]
struct Copied {
    messages: u64,
    appends: u64,
    there: u64,
    write_units: Option<f64>,
    /// It has an owner, a title or metadata, and the target no place for them.
    loses: bool,
    receipt: Receipt,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let named: Vec<_> = arguments.sessions.iter().map(|id| session_id(id)).collect::<Result<_, _>>()?;
    let url = |text: &str, what: &str| text.parse::<StoreUrl>().map_err(|e| e.context(what)).on_command_line();
    let (from, to) = (url(&arguments.from, "--from")?, url(&arguments.to, "--to")?);
    if is_same(&from, &to) {
        return Err(Failure::usage("--from and --to are one store; name another to copy to"));
    }
    let from = from.into_read_only().map_err(|e| e.context("--from")).on_command_line()?;
    let to = if arguments.dry_run {
        to.into_read_only().or_else(|_| url(&arguments.to, "--to").map_err(|_| Error::invalid("--to")))?
    } else {
        to
    };
    if named.is_empty() {
        say_scan_cost(app, &from).await?;
    }
    let stores = Stores {
        from: open(&from).await.map_err(|e| e.context("--from"))?,
        // A file that is not there yet is made by the copy, not by the question what that would take.
        to: match open(&to).await {
            Err(error) if arguments.dry_run && error.is_not_found() => Arc::new(chat_memory::store::InMemoryStore::new()),
            opened => opened.map_err(|e| e.context("--to"))?,
        },
        verify: arguments.verify,
        dry_run: arguments.dry_run,
    };
    let mut migration = Migration::new(app, arguments.dry_run, arguments.price_per_million);
    let mut running = JoinSet::new();
    let mut listing =
        Listing { named: named.into_iter(), page: Vec::new().into_iter(), after: None, over: !arguments.sessions.is_empty() };
    let mut listed = true;
    while listed || !running.is_empty() {
        while listed && running.len() < usize::from(arguments.jobs) {
            match listing.next(app, stores.from.as_ref()).await? {
                None => listed = false,
                Some((id, info)) => {
                    migration.seen += 1;
                    let stores = stores.clone();
                    running.spawn(async move {
                        let mut copied = Copied::default();
                        let error = one(&stores, &id, info, &mut copied).await.err();
                        (id, copied, error)
                    });
                }
            }
        }
        if let Some(done) = running.join_next().await {
            let (id, copied, error) =
                done.map_err(|e| Failure::other(format!("the copy of a session ended unexpectedly: {e}")))?;
            let stop = error.as_ref().is_some_and(|error| !concerns_one_session(error));
            migration.add(&id, copied, error);
            if stop {
                listed = false;
            }
        }
    }
    migration.end()
}

/// Whether other sessions may fare better than the one that met this error.
fn concerns_one_session(error: &Error) -> bool {
    error.is_conflict() || error.is_invalid() || error.is_too_large() || error.is_corrupt()
}

fn is_same(from: &StoreUrl, to: &StoreUrl) -> bool {
    match (from, to) {
        (StoreUrl::Sqlite(from), StoreUrl::Sqlite(to)) => {
            from.path == to.path || from.path.canonicalize().is_ok_and(|from| to.path.canonicalize().is_ok_and(|to| from == to))
        }
        (StoreUrl::DynamoDb(from), StoreUrl::DynamoDb(to)) => {
            (&from.table, &from.region, &from.endpoint, &from.namespace, &from.sort_value, &from.profile)
                == (&to.table, &to.region, &to.endpoint, &to.namespace, &to.sort_value, &to.profile)
        }
        _ => false,
    }
}

/// The sessions to copy, page after page.
struct Listing {
    named: std::vec::IntoIter<SessionId>,
    page: std::vec::IntoIter<SessionInfo>,
    after: Option<String>,
    over: bool,
}

impl Listing {
    async fn next(&mut self, app: &App, store: &dyn ChatStore) -> Result<Option<(SessionId, Option<SessionInfo>)>, Failure> {
        if let Some(id) = self.named.next() {
            // Whether a table has a directory shows when it is first asked for something.
            let info = match store.session(&id).await {
                Err(error) if error.is_unsupported() => None,
                info => info?,
            };
            return Ok(Some((id, info)));
        }
        loop {
            if let Some(info) = self.page.next() {
                return Ok(Some((info.id.clone(), Some(info))));
            }
            if self.over {
                return Ok(None);
            }
            let page = store.every_session(self.after.as_deref()).await?;
            app.spend(page.receipt);
            self.after = page.next;
            self.over = self.after.is_none();
            self.page = page.sessions.into_iter();
        }
    }
}

/// Brings one session of the target to where the source is.
async fn one(stores: &Stores, session: &SessionId, info: Option<SessionInfo>, copied: &mut Copied) -> Result<(), Error> {
    let source = load(stores.from.as_ref(), session, copied).await.map_err(|e| e.context("source"))?;
    let whole: Vec<Message> = source.messages().cloned().collect();
    let pieces = pieces(source.records);
    let target = match load(stores.to.as_ref(), session, copied).await {
        // The question what it would take may come before the table.
        Err(error) if stores.dry_run && error.is_not_found() => None,
        target => Some(target.map_err(|e| e.context("target"))?),
    };
    let has_directory = stores.to.capabilities().directory;
    let is_described = info.as_ref().is_some_and(|info| info.owner.is_some() || info.title.is_some() || info.metadata.is_some());
    copied.loses = is_described && !has_directory;
    let position = target.as_ref().map(|target| target.position.clone());
    let there = target.map(History::into_messages).unwrap_or_default();
    let Some(rest) = missing(pieces, &there) else {
        let why = format!(
            "the target's session {session} holds other messages than the source's, so nothing {} written to it; \
             delete it there first, or leave it out by naming the others with --session",
            if stores.dry_run { "would be" } else { "was" }
        );
        return Err(position.map_or_else(|| Error::invalid(&why), |position| Error::conflict(position).context(&why)));
    };
    copied.there = there.len() as u64;
    let Some(mut position) = position.filter(|_| !stores.dry_run) else {
        let appends: Vec<Append> = rest.iter().map(Piece::append).collect();
        copied.messages = rest.iter().map(|piece| piece.messages.len() as u64).sum();
        copied.appends = appends.len() as u64;
        copied.write_units = stores.to.write_units(session, &appends);
        return Ok(());
    };
    for piece in rest {
        let mut append = piece.append().expecting(position);
        if let Some(owner) = info.as_ref().and_then(|info| info.owner.clone()) {
            append = append.owned_by(owner);
        }
        if let Some(title) = info.as_ref().and_then(|info| info.title.clone()) {
            append = append.titled(title);
        }
        let appended = stores.to.append_surely(session, append).await?;
        copied.receipt += appended.receipt;
        copied.appends += 1;
        copied.messages += piece.messages.len() as u64;
        position = appended.position;
    }
    if let Some(metadata) = info.and_then(|info| info.metadata)
        && has_directory
        && !whole.is_empty()
    {
        stores.to.update_session(session, &SessionUpdate { metadata: Some(Some(metadata)), ..SessionUpdate::default() }).await?;
    }
    if stores.verify {
        verify(stores, session, &whole, copied).await?;
    }
    Ok(())
}

async fn load(store: &dyn ChatStore, session: &SessionId, copied: &mut Copied) -> Result<History, Error> {
    let history = store.load(session, &Load::all()).await?;
    copied.receipt += history.receipt;
    Ok(history)
}

/// Reads both sides again. What was appended to the source meanwhile is not yet in the target, and no difference.
async fn verify(stores: &Stores, session: &SessionId, copied_messages: &[Message], copied: &mut Copied) -> Result<(), Error> {
    let source = load(stores.from.as_ref(), session, copied).await?.into_messages();
    let target = load(stores.to.as_ref(), session, copied).await?.into_messages();
    let until = copied_messages.len().min(source.len());
    match first_difference(&source[..until], &target) {
        None => Ok(()),
        Some(difference) => {
            Err(Error::corrupt(format!("session {session} was copied, but its two sides are not equal: {difference}")))
        }
    }
}

/// The whole migration: its progress, its count, its failures.
struct Migration<'a> {
    app: &'a App,
    bar: ProgressBar,
    dry_run: bool,
    price: f64,
    seen: u64,
    done: Copied,
    described: u64,
    units_known: bool,
    failed: Vec<Value>,
    code: Option<u8>,
}

impl<'a> Migration<'a> {
    fn new(app: &'a App, dry_run: bool, price: f64) -> Self {
        let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg} ({elapsed})"));
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(250));
        bar.set_message("listing sessions");
        let done = Copied { write_units: Some(0.0), ..Copied::default() };
        Self { app, bar, dry_run, price, seen: 0, done, described: 0, units_known: true, failed: Vec::new(), code: None }
    }

    fn add(&mut self, id: &SessionId, copied: Copied, error: Option<Error>) {
        self.app.spend(copied.receipt);
        self.done.receipt += copied.receipt;
        self.done.messages += copied.messages;
        self.done.appends += copied.appends;
        self.done.there += copied.there;
        self.described += u64::from(copied.loses);
        match copied.write_units {
            Some(units) => self.done.write_units = self.done.write_units.map(|sum| sum + units),
            None => self.units_known = false,
        }
        if let Some(error) = error {
            let code = if error.is_conflict() { CONFLICT } else { FAILED };
            self.code = Some(self.code.map_or(code, |before| if before == code { code } else { FAILED }));
            if !self.app.json() {
                self.bar.suspend(|| say(format_args!("chat-memory: session {id}: {error}")));
            }
            self.failed.push(json!({ "id": id.as_str(), "error": error.to_string() }));
        }
        self.bar.set_message(format!("{}, {}", count(self.seen, "session"), count(self.done.messages, "message")));
    }

    fn end(self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let Copied { messages, appends, there, receipt, .. } = self.done;
        let units = self.done.write_units.filter(|_| self.units_known && self.seen > 0);
        if self.app.json() {
            let mut summary = json!({
                "sessions": self.seen, "messages": messages, "appends": appends, "failed": self.failed, "cost": cost_of(receipt),
            });
            summary["messages_there"] = there.into();
            if self.dry_run {
                summary["write_units"] = json!(units);
                summary["dollars"] = json!(units.map(|units| units * self.price / 1e6));
                summary["described"] = self.described.into();
            }
            self.app.out.json(&summary)?;
        } else {
            let (sessions, appends, messages) =
                (count(self.seen, "session"), count(appends, "append"), count(messages, "message"));
            let mut line = if self.dry_run {
                let cost = match units {
                    Some(units) => {
                        format!("about {units:.0} write units, ${:.4} at ${} per million", units * self.price / 1e6, self.price)
                    }
                    None => "no write units: the target is not billed by them".to_owned(),
                };
                format!("would copy {sessions}: {messages} in {appends}, {cost}; nothing was written")
            } else {
                format!("copied {messages} in {appends}, of {sessions}")
            };
            if there > 0 {
                line.push_str(&format!("; {} there already", count(there, "message")));
            }
            if self.described > 0 {
                line.push_str(&format!(
                    "; {} with an owner, a title or metadata, which the target has no place for",
                    count(self.described, "session")
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
