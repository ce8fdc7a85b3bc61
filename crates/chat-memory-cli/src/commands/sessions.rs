//! `sessions`

use chat_memory::ChatStore;
use chat_memory::store::{SessionInfo, SessionQuery};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::owner;
use crate::app::App;
use crate::failure::Failure;
use crate::render::{local_time, utc_time};
use crate::visible::visible_line;

const EXAMPLES: &str = "\
Examples:
  chat-memory sessions                  those that have no owner, newest first
  chat-memory sessions --owner user:42  those of this owner
  chat-memory sessions --format json | jq -r .id

JSON lines, with --format json or --json: {\"id\", \"owner\", \"title\", \"metadata\", \"created_at\"}; created_at is in UTC.";

/// List sessions, newest first
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Those of this owner instead of those of nobody
    #[arg(long)]
    owner: Option<String>,
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
    let owner = owner(arguments.owner.as_ref())?;
    let as_json = app.json() || arguments.format == Form::Json;
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let store = app.store().await?;
    let mut after = None;
    while left > 0 {
        let mut query = owner.clone().map_or_else(SessionQuery::of_nobody, SessionQuery::of).limit(left.min(PAGE));
        query.after = after;
        let page = store.sessions(&query).await?;
        app.spend(page.receipt);
        for info in page.sessions.iter().take(left) {
            if as_json {
                app.out.json(&to_json(info))?;
            } else {
                app.out.line(to_text(info))?;
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

fn to_json(info: &SessionInfo) -> Value {
    json!({
        "id": info.id.as_str(),
        "owner": info.owner.as_ref().map(|owner| owner.as_str()),
        "title": info.title,
        "metadata": info.metadata,
        "created_at": utc_time(info.created_at),
    })
}

fn to_text(info: &SessionInfo) -> String {
    let mut line = format!("{}  {}", local_time(info.created_at), visible_line(info.id.as_str()));
    if let Some(title) = &info.title {
        line.push_str("  ");
        line.push_str(&visible_line(title));
    }
    line
}
