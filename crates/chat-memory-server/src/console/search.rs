//! The search page: sessions and messages by their words, owner and time.

use axum::response::{IntoResponse, Response};
use chat_memory::store::{SearchHit, SearchPage, SearchQuery, SearchScope};
use chat_memory::{Owner, SessionId};
use maud::{Markup, html};
use serde::Deserialize;

use super::message::when;
use super::page::{Page, Refused, answer, count, number, query, session_path, words};
use super::place::address_of;
use super::sessions::name_of;
use super::viewer::{Kind, Viewer};
use crate::extract::Params;
use crate::operations;
use crate::problem::Problem;
use crate::time::date;

/// How many hits a page has at most.
const HITS: usize = 50;

/// What to search for. A form sends its empty fields, too.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    q: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    session: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    /// Only titles, ids and owners.
    #[serde(default)]
    titles: bool,
    after: Option<String>,
}

impl Wanted {
    fn is_empty(&self) -> bool {
        [&self.q, &self.since, &self.until].iter().all(|text| text.trim().is_empty())
    }

    fn query(&self) -> Result<SearchQuery, Problem> {
        let bad = |e: chat_memory::Error| Problem::bad_request(e.to_string());
        let scope = match (self.session.as_str(), self.owner.trim()) {
            ("", "") => SearchScope::All,
            ("", owner) => SearchScope::Owner(Owner::new(owner).map_err(bad)?),
            (session, _) => SearchScope::Session(SessionId::stored(session).map_err(bad)?),
        };
        let time = |name: &str, text: &str| match text.trim() {
            "" => Ok(None),
            text => date(text)
                .map(Some)
                .ok_or_else(|| Problem::bad_request(format!("invalid {name} {text:?}: expected a date such as 2026-11-28"))),
        };
        let (since, until) = (time("first day", &self.since)?, time("end", &self.until)?);
        let mut query = SearchQuery::new(self.q.trim()).within(scope).since(since).until(until).limit(HITS);
        query.titles_only = self.titles;
        Ok(query)
    }

    /// The address of the page after this one.
    fn next(&self, after: &str) -> String {
        let fields =
            [("q", &self.q), ("owner", &self.owner), ("session", &self.session), ("since", &self.since), ("until", &self.until)];
        let mut path = "/console/search?".to_owned();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            path += &format!("{name}={}&", query(value));
        }
        if self.titles {
            path += "titles=true&";
        }
        path + "after=" + &query(after)
    }
}

/// What a search finds
pub(crate) async fn search(viewer: Viewer, Params(wanted): Params<Wanted>) -> Result<Response, Refused> {
    let find = async || match wanted.is_empty() {
        true => Ok(None),
        false => operations::search(&viewer.access, wanted.query()?, wanted.after.as_deref()).await.map(Some),
    };
    let (page, refused) = match find().await {
        Ok(page) => (page, None),
        Err(problem) => (None, Some(problem)),
    };
    let main = html! {
        nav.crumbs aria-label="Breadcrumb" {
            a href="/console" { "Sessions" }
            @if let Ok(session) = SessionId::stored(wanted.session.as_str()) { " / " a dir="auto" href=(session_path(&session, "")) { (session) } }
        }
        h1 { @if wanted.session.is_empty() { "Search" } @else { "Search this session" } }
        @if let Some(problem) = &refused { p.error role="alert" { (words(problem)) } }
        (form(&wanted))
        @if let Some(note) = cost_of_search(&viewer, &wanted) { p.small { (note) } }
        @if let Some(page) = &page { (found(&wanted, page)) }
    };
    let page = Page { title: "Search", viewer: Some(&viewer), class: "list", main };
    // What was asked for stays in the form, to be corrected.
    Ok(match refused {
        Some(problem) => answer(problem, page),
        None => page.into_response(),
    })
}

fn form(wanted: &Wanted) -> Markup {
    html! {
        form.search method="get" action="/console/search" {
            div.field.words {
                label for="words" { "Words" }
                input type="search" id="words" name="q" dir="auto" value=(wanted.q) maxlength="1024" autocomplete="off" autofocus[wanted.is_empty()];
            }
            @if wanted.session.is_empty() {
                div.field {
                    label for="of" { "Owner" }
                    input id="of" name="owner" dir="auto" value=(wanted.owner) maxlength="512" autocomplete="off" spellcheck="false";
                }
            } @else {
                input type="hidden" name="session" value=(wanted.session);
            }
            div.field {
                label for="since" { "From" }
                input type="date" id="since" name="since" value=(wanted.since);
            }
            div.field {
                label for="until" { "Before" }
                input type="date" id="until" name="until" value=(wanted.until);
            }
            label.check { input type="checkbox" name="titles" value="true" checked[wanted.titles]; " Only titles, ids and owners" }
            button.primary type="submit" { "Search" }
        }
    }
}

/// What a search of messages costs where each one is read.
fn cost_of_search(viewer: &Viewer, wanted: &Wanted) -> Option<&'static str> {
    match viewer.kind() {
        Kind::DynamoDb | Kind::List if wanted.titles => Some("This reads the list of sessions, at 1 read unit for 8 KB."),
        Kind::DynamoDb | Kind::List => Some(
            "DynamoDB has no index of words: each page of a search reads up to 50 sessions or 4 MB, which takes up to 500 read units.",
        ),
        Kind::Memory | Kind::Sqlite | Kind::Other => None,
    }
}

fn found(wanted: &Wanted, page: &SearchPage) -> Markup {
    html! {
        section aria-label="Hits" {
            @if page.hits.is_empty() {
                p.nothing { @if page.next.is_some() { "Nothing so far." } @else { "Nothing was found." } }
            } @else {
                ul.sessions { @for hit in &page.hits { (row(hit)) } }
            }
            p.small {
                @if page.indexed { "Found in the index. " } @else { (count(page.sessions as usize, "session")) " read. " }
                @if page.cost.read_units > 0.0 { (number(page.cost.read_units.ceil() as u64)) " read units. " }
                @if !page.warnings.is_empty() { (count(page.warnings.len(), "session")) " or records could not be read; the service's log names them." }
            }
            nav.pages aria-label="Pages" {
                @if let Some(next) = &page.next { a.button href=(wanted.next(next)) { @if page.hits.is_empty() { "Search on" } @else { "More" } } }
            }
        }
    }
}

fn row(hit: &SearchHit) -> Markup {
    let id = &hit.session.id;
    let address = hit.message.as_ref().map_or_else(|| session_path(id, ""), |message| address_of(id, message.seq));
    html! {
        li {
            a dir="auto" href=(address) { (name_of(&hit.session)) }
            p.snippet dir="auto" {
                @for (text, is_match) in hit.snippet.parts() { @if is_match { mark { (text) } } @else { (text) } }
            }
            p.small {
                @if hit.session.title.is_some() { code dir="auto" { (id) } }
                @if let Some(owner) = &hit.session.owner { span { "of " bdi { (owner) } } }
                @if let Some(message) = &hit.message {
                    span { "record " (message.seq) @if let Some(role) = message.role { ", " (role) } }
                    @if let Some(at) = message.at { (when(at)) }
                } @else { span { "the session itself" } }
            }
        }
    }
}
