//! `search`

use std::collections::BTreeSet;

use chat_memory::backend::{Matcher, SearchPlace, settings};
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::{Capabilities, SearchHit, SearchPage, SearchQuery, SearchScope, SessionInfo};
use chat_memory::{ChatStore, SessionId, Timestamp};
use clap::Args;
use clap_complete::ArgValueCompleter;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::progress::bar;
use super::{confirm, count, owner, say_scan_cost, stored_session_id};
use crate::app::{App, options};
use crate::completion;
use crate::escape::visible_line;
use crate::failure::{Failure, INTERRUPTED, OnCommandLine};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::render::{Style, time, utc_time};

const EXAMPLES: &str = "\
Examples:
  chat-memory search lisbon may                 messages and titles with both words
  chat-memory search lisbon --owner user:42     in the sessions of this owner
  chat-memory search lisbon --session trip      in one session
  chat-memory search lisbon --since 2026-05-01 --until 2026-05-31
  chat-memory search --since 7d                 sessions active in the last 7 days
  chat-memory search --titles lisbon            only titles, ids and owners
  chat-memory search --index                    build a SQLite file's search index

A word matches the words that begin with it, in any case, with or without the marks on Latin letters: zur finds Zürich. A hit has \
all the words: in one message, or in a session's title, id and owner. What was taken back, cleared or deleted is not found.

As text, each session comes with its hits: the number of the record, as `show` prints it, the author and a part of the text.

A SQLite file with an index is searched at once, best hits first. --index builds it, which can be interrupted and continued, also while others \
write; from then on every write keeps it. Without an index, the sessions are read one after the other. An index does not find a word that \
follows Chinese, Japanese or Thai letters without a space.

A DynamoDB table has no index: a search reads the sessions, which costs read units. The highest cost is estimated and confirmed first.

With --json: {\"hits\": [{\"session\", \"message\": {\"seq\", \"index\", \"role\", \"at\"}, \"snippet\": [{\"text\", \"match\"}]}], \"next\", \
\"indexed\", \"sessions\", \"cost\"}; message is null where the title, id or owner was found, sessions is the number of sessions that were read, and next \
is for --after.";

/// How many bytes a page of a search reads.
const PAGE_BYTES: u64 = 16_000_000;

/// Search titles and messages
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The words: a hit has all of them
    words: Vec<String>,
    /// Search this owner's sessions only
    #[arg(long, conflicts_with_all = ["session", "unowned"])]
    owner: Option<String>,
    /// Search the unowned sessions only
    #[arg(long, conflicts_with = "session")]
    unowned: bool,
    /// Search this session only
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(completion::sessions))]
    session: Option<String>,
    /// From this time on: 2026-05-01, 2026-05-01T12:00:00Z, or 7d for the last 7 days (also h, m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time; of a date, to the end of the day
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Search titles, ids and owners only, and read no messages
    #[arg(long)]
    titles: bool,
    /// Print up to N hits
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Continue a search, as its end says
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Do not ask whether to read a DynamoDB table
    #[arg(long, short)]
    yes: bool,
    /// Build the search index of a SQLite file, or finish it
    #[arg(long, conflicts_with_all = ["words", "owner", "unowned", "session", "since", "until", "titles", "after", "remove_index"])]
    index: bool,
    /// Remove the search index of a SQLite file
    #[arg(long, conflicts_with_all = ["words", "owner", "unowned", "session", "since", "until", "titles", "after"])]
    remove_index: bool,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    if arguments.index || arguments.remove_index {
        return index(app, arguments.index).await;
    }
    let scope = match (&arguments.owner, &arguments.session) {
        (_, Some(session)) => SearchScope::Session(stored_session_id(app, session)?),
        (None, None) if arguments.unowned => SearchScope::Unowned,
        (of, None) => owner(of.as_ref())?.map_or(SearchScope::All, SearchScope::Owner),
    };
    let (now, style) = (Timestamp::now(), app.style());
    let at = |text: &Option<String>, name, is_end| {
        text.as_deref().map(|text| instant(text, name, is_end, now, &style.zone)).transpose()
    };
    let (since, until) = (at(&arguments.since, "--since", false)?, at(&arguments.until, "--until", true)?);
    let words = arguments.words.join(" ");
    if words.trim().is_empty() && since.is_none() && until.is_none() {
        return Err(Failure::usage("nothing to search for: give words, or a time with --since or --until"));
    }
    // A page that ends in the middle of a list reads that part of the list again, so pages are large: only a progress bar waits for them.
    let mut query = SearchQuery::new(words).within(scope).since(since).until(until).reading_at_most(usize::MAX, PAGE_BYTES);
    query.titles_only = arguments.titles || query.words.trim().is_empty();
    query.after = arguments.after;
    Matcher::new(&query, &Capabilities::all()).on_command_line()?;
    SearchPlace::of(&query).map_err(|e| e.context("--after")).on_command_line()?;
    confirm_cost(app, &query, arguments.yes).await?;
    let store = app.existing_store().await?;
    search(app, store.as_ref(), query, arguments.limit as usize).await
}

/// Searches until there are as many hits as wanted, and prints them as they are found.
async fn search(app: &App, store: &dyn ChatStore, mut query: SearchQuery, limit: usize) -> Result<(), Failure> {
    let mut shown = Shown { app, style: app.style(), last: None, hits: Vec::new(), count: 0 };
    let bar = bar(None, "{spinner} {msg} ({elapsed})");
    let (mut read, mut warned) = (0, BTreeSet::new());
    let indexed = loop {
        let page = store.search(&query.clone().limit(limit - shown.count)).await?;
        let SearchPage { hits, next, warnings, cost, sessions, indexed, .. } = page;
        app.add_cost(cost);
        read += sessions;
        for warning in warnings {
            if warned.insert(warning.clone()) {
                bar.suspend(|| say(format_args!("chat-memory: warning: {}", visible_line(&warning))));
            }
        }
        bar.suspend(|| hits.into_iter().try_for_each(|hit| shown.add(hit)))?;
        bar.set_message(format!(
            "{} in {}, {} read units so far",
            count(shown.count as u64, "hit"),
            count(read, "session"),
            app.cost().read_units
        ));
        query.after = next;
        if query.after.is_none() || shown.count >= limit {
            break indexed;
        }
    };
    bar.finish_and_clear();
    let next = query.after;
    if app.json() {
        return app
            .out
            .json(&json!({"hits": shown.hits, "next": next, "indexed": indexed, "sessions": read, "cost": app.cost()}));
    }
    app.out.flush()?;
    if shown.count == 0 {
        say("nothing found");
    }
    if let Some(next) = next {
        say(format_args!("there may be more: give --limit, or --after {next}"));
    }
    if read > 0 && app.store_url()?.scheme() == "sqlite" {
        say(format_args!(
            "read {}, since the file has no complete search index: build it with `{}`",
            count(read, "session"),
            app.command("search --index")
        ));
    }
    Ok(())
}

/// What was found so far.
struct Shown<'a> {
    app: &'a App,
    style: Style,
    /// The session under which the last hit was printed.
    last: Option<SessionId>,
    /// The hits, to be printed as JSON.
    hits: Vec<Value>,
    count: usize,
}

impl Shown<'_> {
    /// Prints a hit, after its session unless that is the last one's too.
    fn add(&mut self, hit: SearchHit) -> Result<(), Failure> {
        self.count += 1;
        if self.app.json() {
            self.hits.push(to_json(&hit));
            return Ok(());
        }
        let (out, style) = (&self.app.out, &self.style);
        let snippet: String = hit.snippet.parts().map(|(part, is_match)| marked(style, part, is_match)).collect();
        if self.last.as_ref() != Some(&hit.session.id) {
            if self.last.is_some() {
                out.line("")?;
            }
            out.line(heading(style, &hit.session))?;
            self.last = Some(hit.session.id.clone());
        }
        let Some(message) = hit.message else { return out.line(format_args!("  {snippet}")) };
        let mut place = format!("[{}]", message.seq);
        if let Some(at) = message.at {
            place = format!("{place} {}", time(at, &style.zone));
        }
        let author = message.role.map_or_else(|| style.faint("entry"), |role| style.author(role, role.as_str()));
        out.line(format_args!("  {} {author}: {snippet}", style.faint(&place)))
    }
}

fn marked(style: &Style, part: &str, is_match: bool) -> String {
    let part = visible_line(part);
    if is_match { style.found(&part) } else { part }
}

fn heading(style: &Style, info: &SessionInfo) -> String {
    let mut line = style.strong(&visible_line(info.id.as_str()));
    if let Some(title) = &info.title {
        line = format!("{line}  {}", visible_line(title));
    }
    if let Some(owner) = &info.owner {
        line = format!("{line}  {}", style.faint(&visible_line(owner.as_str())));
    }
    line
}

fn to_json(hit: &SearchHit) -> Value {
    let message = hit.message.map(|message| {
        json!({
            "seq": message.seq,
            "index": message.index,
            "role": message.role.map(|role| role.as_str()),
            "at": message.at.map(utc_time),
        })
    });
    let parts: Vec<_> = hit.snippet.parts().map(|(text, is_match)| json!({"text": text, "match": is_match})).collect();
    json!({"session": super::sessions::to_json(&hit.session), "message": message, "snippet": parts})
}

/// Prints what a search of a table will cost at most, and asks whether to go on. Other stores charge nothing.
async fn confirm_cost(app: &App, query: &SearchQuery, yes: bool) -> Result<(), Failure> {
    let url = app.store_url()?;
    let Some(table) = options(&url) else { return Ok(()) };
    if query.titles_only || matches!(query.scope, SearchScope::Session(_)) {
        // One session, or a list.
        return if query.scope == SearchScope::All { say_scan_cost(app, &url).await } else { Ok(()) };
    }
    if yes && app.json() {
        return Ok(());
    }
    // Each session is read with strong consistency: a unit per 4 KB, and the list of all before that for half as much.
    let lists = if query.scope == SearchScope::All { 1.0 } else { 0.0 };
    match Admin::open(&table).await?.scan_cost().await {
        Ok(scan) => say(format_args!(
            "this reads {}: about {} read units at most, for the table's {} bytes (as DynamoDB last counted them, which it does every six hours)",
            query.scope,
            scan.read_units * (2.0 + lists),
            scan.bytes
        )),
        Err(error) => say(format_args!("this reads {}; what it costs is unknown: {error}", query.scope)),
    }
    confirm(yes, "read them")
}

/// Builds or removes the index of a SQLite file.
async fn index(app: &App, build: bool) -> Result<(), Failure> {
    let url = app.store_url()?;
    let Some(file) = url.sqlite() else {
        return Err(Failure::usage(format!(
            "no search index for this store: only a SQLite file can have one; a search of {} reads the sessions",
            if url.scheme() == "dynamodb" { "a table" } else { "it" }
        )));
    };
    let store = file.create(false).open().await?;
    let path = visible_line(&store.path().display().to_string());
    if !build {
        let removed = store.remove_search_index().await?;
        if app.json() {
            return app.out.json(&json!({ "path": store.path(), "removed": removed }));
        }
        let sentence = if removed { "removed the search index of" } else { "there is no search index in" };
        return app.out.line(format_args!("{sentence} {path}"));
    }
    let interrupt = Interrupt::listen();
    let bar = bar(Some(0), "{wide_bar} {pos}/{len} records ({eta})");
    interrupt.clears(&bar);
    let mut added = 0;
    let mut progress = |done: u64, all: u64| {
        bar.set_length(all);
        bar.set_position(done);
        added = done;
    };
    let built = interrupt.or(store.build_search_index(&mut progress)).await;
    bar.finish_and_clear();
    match built {
        Some(built) => built?,
        None => {
            say("interrupted: what was added stays; run the same command again to finish the index");
            return Err(Failure::Printed(INTERRUPTED));
        }
    }
    if app.json() {
        return app.out.json(&json!({ "path": store.path(), "added": added }));
    }
    app.out.line(format_args!("the search index of {path} is complete: {} added", count(added, "record")))
}

/// Reads a time: a date, a time as in RFC 3339, or how long ago. A date that ends a search includes its day.
fn instant(text: &str, name: &str, is_end: bool, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Failure> {
    let of = |time: jiff::Timestamp| Timestamp::from_millis(time.as_millisecond());
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(of(time));
    }
    // A longer text may be a time without its offset.
    let day = if text.len() == "2026-05-01".len() { text.parse::<Date>().ok() } else { None };
    if let Some(day) = day {
        let day = if is_end { day.tomorrow().on_command_line()? } else { day };
        return Ok(of(day.to_zoned(zone.clone()).on_command_line()?.timestamp()));
    }
    match settings::duration(text) {
        Ok(ago) => Ok(now - ago),
        Err(_) => Err(Failure::usage(format!(
            "invalid {name} {text:?}: expected a date such as 2026-05-01, a time such as 2026-05-01T12:00:00Z, or how long ago, such as 7d"
        ))),
    }
}
