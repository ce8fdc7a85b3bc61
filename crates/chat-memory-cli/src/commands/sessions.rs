//! `sessions`

use std::collections::BTreeSet;

use chat_memory::ChatStore;
use chat_memory::store::{SessionInfo, SessionOrder, SessionQuery};
use clap::Args;
use indicatif::ProgressDrawTarget;
use serde_json::{Value, json};

use super::progress::bar;
use super::{ListFormat, count, owner, say_scan_cost};
use crate::app::App;
use crate::escape::visible_line;
use crate::failure::Failure;
use crate::output::say;
use crate::pager::PagerOptions;
use crate::render::{Style, time, utc_time};

const EXAMPLES: &str = "\
Examples:
  chat-memory sessions                  unowned sessions, newest first
  chat-memory sessions --owner user:42  those of this owner
  chat-memory sessions --recent         by last activity instead of by start
  chat-memory sessions --all            all there are; on DynamoDB in no order
  chat-memory sessions --contents       with first words, on DynamoDB, too
  chat-memory sessions --format json | jq -r .id

A table of Flowise or LangChain has no directory: --all is the only way to list it. On DynamoDB that reads the whole table; the expected cost is printed first.

--recent is exact in a SQLite file and in memory. On DynamoDB, the time of the last activity is at most an hour old, and an owner with \
over 1,000 sessions is listed by start; standard error reports that.

As text, a line has when the session started (with --recent, its last activity), its id, its title or first words, how many records it \
has, and of a fork the session that it is a copy of. As JSON, that is in metadata.forked_from. On DynamoDB the number is from the last \
activity that the list knows (50+), and the first words are not in the list. --contents reads both from each session: about one read unit for a \
short one, and ten at most. Of a session of over some 40 KB it gives the number only.

JSON lines, with --format json or --json: {\"id\", \"owner\", \"title\", \"metadata\", \"created_at\", \"last_at\", \"records\", \
\"records_exact\", \"first_words\"}; the times are in UTC, and null if unknown.";

/// List sessions, newest first
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// List this owner's sessions instead of unowned ones
    #[arg(long)]
    owner: Option<String>,
    /// List every session, of every owner and unowned; on DynamoDB in no order
    #[arg(long, conflicts_with = "owner")]
    all: bool,
    /// Sort by last activity instead of by start; on DynamoDB not with --all
    #[arg(long)]
    recent: bool,
    /// Also read the first words and the number of records where the list does not have them
    #[arg(long)]
    contents: bool,
    /// List up to N sessions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The output format
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
    #[command(flatten)]
    pager: PagerOptions,
}

impl Arguments {
    fn is_json(&self, app: &App) -> bool {
        self.format.is_json(app)
    }

    fn has_pages(&self, app: &App) -> bool {
        !self.pager.no_pager && !app.json()
    }

    /// How many sessions to list at most.
    fn most(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit as usize)
    }
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    const PAGE: usize = 100;
    let style = app.style();
    let owner = owner(arguments.owner.as_ref())?;
    let (as_json, pages, mut left) = (arguments.is_json(app), arguments.has_pages(app), arguments.most());
    let store = app.existing_store().await?;
    let mut remarks = Remarks { app, said: BTreeSet::new(), later: Vec::new() };
    if arguments.all && !store.capabilities().any_owner {
        if arguments.recent {
            return Err(Failure::usage(
                "--recent cannot be combined with --all: this store lists all sessions in no order; leave out one of them",
            ));
        }
        every(app, store.as_ref(), &arguments, &mut remarks).await?;
        return remarks.end();
    }
    let (mut after, mut found) = (None, false);
    while left > 0 {
        let mut query = match owner.clone() {
            _ if arguments.all => SessionQuery::of_any_owner(),
            Some(owner) => SessionQuery::of(owner),
            None => SessionQuery::unowned(),
        };
        query = query.limit(left.min(PAGE));
        query.after = after;
        if arguments.recent {
            query = query.recent();
        }
        let mut page = store.sessions(&query).await?;
        if arguments.contents {
            page.cost += store.read_contents(&mut page.sessions).await?;
        }
        app.add_cost(page.cost);
        for warning in page.warnings {
            remarks.say(format!("chat-memory: warning: {}", visible_line(&warning)));
        }
        if page.order != query.order {
            remarks.say("sorted by start: there are too many sessions to sort them by last activity".to_owned());
        }
        if pages && !page.sessions.is_empty() {
            app.out.page();
        }
        for info in page.sessions.iter().take(left) {
            if as_json {
                app.out.json(&to_json(info))?;
            } else {
                app.out.line(to_text(info, page.order, &style))?;
            }
        }
        found |= !page.sessions.is_empty();
        left = left.saturating_sub(page.sessions.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !found && !as_json {
        remarks.say(match (arguments.all, &owner) {
            (true, _) => "no sessions".to_owned(),
            (false, Some(owner)) => format!("no sessions of {}", visible_line(owner.as_str())),
            (false, None) => format!("no sessions without an owner; `{}` lists all", app.command("sessions --all")),
        });
    }
    remarks.end()
}

/// What is said about a list, each once; if the list is paged, when the pager is gone.
struct Remarks<'a> {
    app: &'a App,
    said: BTreeSet<String>,
    later: Vec<String>,
}

impl Remarks<'_> {
    fn say(&mut self, remark: String) {
        if !self.said.insert(remark.clone()) {
            return;
        }
        if self.app.out.is_paged() { self.later.push(remark) } else { say(remark) }
    }

    fn end(self) -> Result<(), Failure> {
        if self.app.out.is_paged() {
            self.app.out.end()?;
        }
        self.later.iter().for_each(say);
        Ok(())
    }
}

/// Lists every session, printing the expected cost first and the progress meanwhile.
async fn every(app: &App, store: &dyn ChatStore, arguments: &Arguments, remarks: &mut Remarks<'_>) -> Result<(), Failure> {
    let (text, as_json, pages, mut left) = (app.style(), arguments.is_json(app), arguments.has_pages(app), arguments.most());
    say_scan_cost(app, &app.store_url()?).await?;
    let bar = bar(None, "{spinner} {msg} ({elapsed})");
    let (mut after, mut found, mut read_units) = (None::<String>, 0, 0.0);
    while left > 0 {
        let mut page = store.list_all_sessions(after.as_deref()).await?;
        if arguments.contents {
            let shown = left.min(page.sessions.len());
            page.cost += store.read_contents(&mut page.sessions[..shown]).await?;
        }
        app.add_cost(page.cost);
        read_units += page.cost.read_units;
        for warning in page.warnings {
            bar.suspend(|| remarks.say(format!("chat-memory: warning: {}", visible_line(&warning))));
        }
        if pages && !page.sessions.is_empty() {
            app.out.page();
        }
        if app.out.is_paged() {
            // It would be drawn over the page.
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        for info in page.sessions.iter().take(left) {
            let line = if as_json { None } else { Some(to_text(info, SessionOrder::Started, &text)) };
            bar.suspend(|| line.map_or_else(|| app.out.json(&to_json(info)), |line| app.out.line(line)))?;
        }
        left = left.saturating_sub(page.sessions.len());
        found += page.sessions.len() as u64;
        bar.set_message(format!("{} found, {read_units} read units so far", count(found, "session")));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// A session as JSON.
pub(super) fn to_json(info: &SessionInfo) -> Value {
    json!({
        "id": info.id.as_str(),
        "owner": info.owner.as_ref().map(|owner| owner.as_str()),
        "title": info.title,
        "metadata": info.metadata,
        // A table of Flowise's or LangChain's stores no times.
        "created_at": info.created_at.known().map(utc_time),
        "last_at": info.last_at.map(utc_time),
        "records": info.records,
        "records_exact": info.records_exact,
        "first_words": info.first_words,
    })
}

fn to_text(info: &SessionInfo, order: SessionOrder, style: &Style) -> String {
    let id = visible_line(info.id.as_str());
    let at = match order {
        SessionOrder::Recent => info.last_at,
        _ => info.created_at.known(),
    };
    let mut line = at.map_or_else(|| id.clone(), |at| format!("{}  {id}", time(at, &style.zone)));
    if let Some(name) = info.title.as_ref().or(info.first_words.as_ref()) {
        line.push_str("  ");
        line.push_str(&visible_line(name));
    }
    if let Some(records) = info.records {
        let plus = if info.records_exact { "" } else { "+" };
        line.push_str(&format!("  ({records}{plus} {})", if records == 1 && info.records_exact { "record" } else { "records" }));
    }
    if let Some(origin) = info.forked_from() {
        line.push_str(&format!("  (fork of {} at record {})", visible_line(origin.session.as_str()), origin.seq));
    }
    line
}
