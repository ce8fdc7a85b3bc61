//! `sessions`

use std::time::Duration;

use chat_memory::ChatStore;
use chat_memory::store::{SessionInfo, SessionQuery};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};

use super::import::style;
use super::{count, owner, say_scan_cost};
use crate::app::App;
use crate::failure::Failure;
use crate::render::{Style, time, utc_time};
use crate::visible::visible_line;

const EXAMPLES: &str = "\
Examples:
  chat-memory sessions                  those that have no owner, newest first
  chat-memory sessions --owner user:42  those of this owner
  chat-memory sessions --all            all there are, in no order
  chat-memory sessions --format json | jq -r .id

A table that Flowise or LangChain made has no directory: --all is the only way to list it. On DynamoDB that reads the whole table; what it will take is said first.

JSON lines, with --format json or --json: {\"id\", \"owner\", \"title\", \"metadata\", \"created_at\"}; created_at is in UTC.";

/// List sessions, newest first
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Those of this owner instead of those of nobody
    #[arg(long)]
    owner: Option<String>,
    /// Every session, of every owner and of nobody, in no order
    #[arg(long, conflicts_with = "owner")]
    all: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Form {
    /// For reading: when it started, its id, its title
    #[default]
    Text,
    /// JSON lines
    Json,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    const PAGE: usize = 100;
    let style = app.style();
    let owner = owner(arguments.owner.as_ref())?;
    let as_json = app.json() || arguments.format == Form::Json;
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let store = app.existing_store().await?;
    let mut after = None;
    if arguments.all {
        return every(app, store.as_ref(), left, as_json).await;
    }
    while left > 0 {
        let mut query = owner.clone().map_or_else(SessionQuery::of_nobody, SessionQuery::of).limit(left.min(PAGE));
        query.after = after;
        let page = store.sessions(&query).await?;
        app.spend(page.receipt);
        for info in page.sessions.iter().take(left) {
            if as_json {
                app.out.json(&to_json(info))?;
            } else {
                app.out.line(to_text(info, &style))?;
            }
        }
        left = left.saturating_sub(page.sessions.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

/// Every session, with what it will take beforehand and how far it is on the way.
async fn every(app: &App, store: &dyn ChatStore, mut left: usize, as_json: bool) -> Result<(), Failure> {
    let text = app.style();
    say_scan_cost(app, &app.store_url()?).await?;
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg} ({elapsed})"));
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.enable_steady_tick(Duration::from_millis(250));
    let (mut after, mut found, mut read_units) = (None::<String>, 0, 0.0);
    while left > 0 {
        let page = store.every_session(after.as_deref()).await?;
        app.spend(page.receipt);
        read_units += page.receipt.read_units;
        for info in page.sessions.iter().take(left) {
            let line = if as_json { None } else { Some(to_text(info, &text)) };
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

fn to_json(info: &SessionInfo) -> Value {
    json!({
        "id": info.id.as_str(),
        "owner": info.owner.as_ref().map(|owner| owner.as_str()),
        "title": info.title,
        "metadata": info.metadata,
        // A table of Flowise's or LangChain's says no time.
        "created_at": (info.created_at > 0).then(|| utc_time(info.created_at)),
    })
}

fn to_text(info: &SessionInfo, style: &Style) -> String {
    let id = visible_line(info.id.as_str());
    let mut line = if info.created_at > 0 { format!("{}  {id}", time(info.created_at, &style.zone)) } else { id };
    if let Some(title) = &info.title {
        line.push_str("  ");
        line.push_str(&visible_line(title));
    }
    line
}
