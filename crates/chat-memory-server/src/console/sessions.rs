//! The list of sessions, and the form that starts one.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::response::{IntoResponse, Redirect, Response};
use chat_memory::store::{ChatStore as _, ChatStoreExt as _, Position, SessionInfo, SessionOrder, SessionPage, SessionQuery};
use chat_memory::{Owner, SessionId, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::actions::{self, Draft};
use super::form::Posted;
use super::message::when;
use super::page::{Page, Refused, answer, notice, number, query, session_path, token, words};
use super::usage;
use super::viewer::{Kind, Viewer};
use crate::extract::Params;
use crate::operations::{self, PAGE};
use crate::problem::Problem;

/// Which sessions to list, and from where on.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Listing {
    /// The owner; an empty text for unowned sessions.
    owner: Option<String>,
    #[serde(default)]
    all: bool,
    /// By default by last activity, if the store supports it.
    order: Option<SessionOrder>,
    after: Option<String>,
    /// How many sessions the pages before this one have; only shown.
    #[serde(default)]
    before: u32,
    /// The action that led to this page.
    done: Option<String>,
}

impl Listing {
    fn owner(&self) -> Option<&str> {
        self.owner.as_deref().map(str::trim).filter(|owner| !owner.is_empty())
    }

    /// Whether to list every session: because it was requested, because the store has no other list, or by default if that costs
    /// nothing.
    fn is_of_all(&self, viewer: &Viewer) -> bool {
        let costs_nothing = matches!(viewer.kind(), Kind::Memory | Kind::Sqlite | Kind::Other);
        self.all || !viewer.has_directory() || (costs_nothing && self.owner.is_none())
    }

    fn order(&self, viewer: &Viewer) -> SessionOrder {
        let can = viewer.access.store.capabilities().last_activity.is_some();
        self.order.unwrap_or(if can { SessionOrder::Recent } else { SessionOrder::Started })
    }

    /// Reads the page.
    pub(crate) async fn read(&self, viewer: &Viewer) -> Result<SessionPage, Refused> {
        let page = async |query| operations::list(&viewer.access, query, self.after.as_deref()).await;
        let mut query = self.query(viewer)?;
        let mut read = page(query.clone()).await;
        // Only now may it be known that the table has no directory.
        if read.is_err() && query.is_some() && !viewer.has_directory() {
            query = None;
            read = page(None).await;
        }
        let mut read = read?;
        if query.is_none() {
            // They come in no order.
            read.sessions.sort_by_key(|session| std::cmp::Reverse(session.last_at.unwrap_or(session.created_at)));
        }
        Ok(read)
    }

    /// The query of the list; `None` for all sessions in no order.
    fn query(&self, viewer: &Viewer) -> Result<Option<SessionQuery>, Problem> {
        let owner = self.owner().map(Owner::new).transpose().map_err(|e| Problem::bad_request(e.to_string()))?;
        let query = match owner {
            _ if self.is_of_all(viewer) && !viewer.sorts_all() => return Ok(None),
            _ if self.is_of_all(viewer) => SessionQuery::of_any_owner(),
            Some(owner) => SessionQuery::of(owner),
            None => SessionQuery::unowned(),
        };
        let mut query = query.limit(PAGE);
        query.order = self.order(viewer);
        Ok(Some(query))
    }

    /// How often an open first page is read again. A list of all sessions of a table is not: each time would read the table.
    fn refresh(&self, viewer: &Viewer, all: bool) -> Option<Duration> {
        let costs = match viewer.kind() {
            Kind::Memory | Kind::Sqlite => Duration::from_secs(3),
            Kind::DynamoDb | Kind::Other if !all => Duration::from_secs(20),
            _ => return None,
        };
        self.after.is_none().then_some(costs)
    }

    /// The address of this page of the list, or of what is about it.
    pub(crate) fn path(&self, base: &str) -> String {
        self.at(base, self.after.as_deref(), self.before)
    }

    fn at(&self, base: &str, after: Option<&str>, before: u32) -> String {
        let mut given = Vec::new();
        if let Some(owner) = &self.owner {
            given.push(format!("owner={}", query(owner)));
        }
        if self.all {
            given.push("all=true".to_owned());
        }
        match self.order {
            Some(SessionOrder::Recent) => given.push("order=recent".to_owned()),
            Some(_) => given.push("order=started".to_owned()),
            None => {}
        }
        if let Some(after) = after {
            given.push(format!("after={}&before={before}", query(after)));
        }
        if given.is_empty() { base.to_owned() } else { format!("{base}?{}", given.join("&")) }
    }
}

/// The list
pub(crate) async fn list(viewer: Viewer, Params(listing): Params<Listing>) -> Result<Response, Refused> {
    if let Err(problem) = listing.query(&viewer) {
        // What was asked for stays in the form, to be corrected.
        let main = html! {
            h1 { "Sessions" }
            p.error role="alert" { (words(&problem)) }
            (filter(&listing, false, &[]))
        };
        return Ok(answer(problem, Page { title: "Sessions", viewer: Some(&viewer), class: "list", main }));
    }
    let mut page = listing.read(&viewer).await?;
    let all = listing.is_of_all(&viewer);
    let is_sorted = !all || viewer.sorts_all();
    // A page of a table may have more sessions than anyone looks at. Without their contents the list is worth showing, too.
    if let Err(problem) = operations::read_contents(&viewer.access, &mut page, PAGE).await {
        tracing::warn!(problem = problem.detail(), "the contents of the sessions on a page were not read");
    }
    let title = match listing.owner() {
        _ if all => "All sessions".to_owned(),
        Some(owner) => format!("Sessions of {owner}"),
        None => "Sessions without an owner".to_owned(),
    };
    let next_before = listing.before.saturating_add(u32::try_from(page.sessions.len()).unwrap_or(u32::MAX));
    let refresh = listing.refresh(&viewer, all);
    let main = html! {
        @if listing.done.as_deref() == Some("deleted") { (notice("The session was deleted.")) }
        div.head {
            h1 dir="auto" { (title) }
            @if viewer.may_write() { a.button.primary href="/console/new" { "New session" } }
        }
        @if viewer.has_directory() { (filter(&listing, all, &page.sessions)) }
        div #list data-refresh=[refresh.map(|every| every.as_secs())] {
            p.state {
                span.small { (place_of(&listing, &page)) (sorted(&listing, &viewer, is_sorted, &page)) }
                @if listing.after.is_none() {
                    span #live .live role="status" data-state="off" {
                        span.light aria-hidden="true" {}
                        span.words { a href=(listing.path("/console")) { "Reload" } " to see changes" }
                    }
                }
            }
            @if let Some(note) = of_all(viewer.kind()).filter(|_| all) { p.small { (note) } }
            @if page.sessions.is_empty() { (nothing(&viewer, &listing, all)) } @else { (table(&listing, &viewer, all, &page)) }
            nav.pages aria-label="Pages" {
                @if listing.after.is_some() { a.button href=(listing.at("/console", None, 0)) { "First page" } }
                @if let Some(next) = &page.next { a.button rel="next" href=(listing.at("/console", Some(next), next_before)) { @if is_sorted { "Older sessions" } @else { "More" } } }
            }
        }
        @if !page.sessions.is_empty() {
            section.card.ask aria-labelledby="costs" {
                div {
                    h2 id="costs" { "Cost" }
                    p.small {
                        @if usage::may_see(&viewer) { "What this service uses per day, by operation; or w" } @else { "W" }
                        "rite units of these sessions, compared with one item per session, which reads every record of the sessions on this page."
                    }
                }
                div.links {
                    @if usage::may_see(&viewer) { a.button href="/console/usage" { "Cost per day" } " " }
                    a.button href=(listing.path("/console/costs")) { "Estimate cost" }
                }
            }
        }
    };
    Ok(Page { title: &title, viewer: Some(&viewer), class: "list", main }.into_response())
}

/// Where this page is in the list.
fn place_of(listing: &Listing, page: &SessionPage) -> Markup {
    let last = u64::from(listing.before) + page.sessions.len() as u64;
    html! {
        @if !page.sessions.is_empty() && (listing.after.is_some() || page.next.is_some()) {
            "Sessions " (number(u64::from(listing.before) + 1)) " to " (number(last)) ". "
        }
    }
}

/// The filter by owner, which suggests the owners of this page.
fn filter(listing: &Listing, all: bool, sessions: &[SessionInfo]) -> Markup {
    let owners: BTreeSet<_> = sessions.iter().filter_map(|session| session.owner.as_ref().map(Owner::as_str)).collect();
    let unowned = !all && listing.owner().is_none();
    html! {
        div.filter {
            nav.tabs aria-label="Filter" {
                a href="/console?all=true" aria-current=[all.then_some("page")] { "All" }
                a href="/console?owner=" aria-current=[unowned.then_some("page")] { "Without owner" }
            }
            form method="get" action="/console" {
                label for="owner" { "Owner" }
                input type="search" id="owner" name="owner" dir="auto" value=(listing.owner().unwrap_or_default()) autocomplete="off" maxlength="512" list="owners";
                datalist id="owners" { @for owner in owners { option value=(owner); } }
                button type="submit" { "Show" }
            }
        }
    }
}

/// The order of the page, where it is not the expected one of the whole list.
fn sorted(listing: &Listing, viewer: &Viewer, is_sorted: bool, page: &SessionPage) -> &'static str {
    let is_part = listing.after.is_some() || page.next.is_some();
    match page.order {
        _ if !is_sorted && is_part => {
            "Sorted by last activity within this page only: choose an owner to sort all of its sessions."
        }
        _ if !is_sorted => "",
        SessionOrder::Started if listing.order(viewer) == SessionOrder::Recent => {
            "Sorted by start: there are too many sessions to sort them by last activity."
        }
        _ => "",
    }
}

/// The sessions of a page.
fn table(listing: &Listing, viewer: &Viewer, all: bool, page: &SessionPage) -> Markup {
    let is_sorted = !all || viewer.sorts_all();
    let order = if is_sorted { page.order } else { SessionOrder::Recent };
    let is_exact = page.sessions.iter().all(|session| session.records.is_none() || session.records_exact);
    let has_times = page.sessions.iter().any(|session| session.created_at.known().is_some());
    let has_records = page.sessions.iter().any(|session| session.records.is_some());
    let about_records = if is_exact { "How many records it has" } else { "How many records it has; 5+ is at least 5" };
    html! {
        div.wide role="region" aria-label="Sessions" tabindex="0" {
            table.sessions {
                thead { tr {
                    th scope="col" { "Session" }
                    @if has_records { th.n scope="col" title=(about_records) { "Records" } }
                    @if has_times {
                        (sortable("Last activity", SessionOrder::Recent, order, listing, viewer, is_sorted))
                        (sortable("Started", SessionOrder::Started, order, listing, viewer, is_sorted))
                    }
                } }
                tbody { @for session in &page.sessions { (row(session, all, [has_records, has_times])) } }
            }
        }
    }
}

/// The head of a column by which the store can sort.
fn sortable(name: &str, by: SessionOrder, now: SessionOrder, listing: &Listing, viewer: &Viewer, is_sorted: bool) -> Markup {
    let address = Listing { order: Some(by), after: None, before: 0, done: None, ..listing.clone() }.path("/console");
    let can = is_sorted && (by == SessionOrder::Started || viewer.access.store.capabilities().last_activity.is_some());
    let is_current = by == now;
    html! {
        th.time scope="col" aria-sort=[is_current.then_some("descending")] {
            @if can { a href=(address) title="Newest first" { (name) } } @else { (name) }
            @if is_current { span.order aria-hidden="true" { " ↓" } }
        }
    }
}

/// Notes about a list of every session.
fn of_all(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::DynamoDb => Some("Each page reads part of the whole table."),
        Kind::List => Some("This table has no directory of sessions: each page reads part of the whole table."),
        Kind::Memory | Kind::Sqlite | Kind::Other => None,
    }
}

fn nothing(viewer: &Viewer, listing: &Listing, all: bool) -> Markup {
    html! {
        div.nothing {
            @if listing.after.is_some() {
                p { "No more sessions." }
            } @else if all {
                p { "No sessions yet." }
            } @else if let Some(owner) = listing.owner() {
                p { "No sessions of " b dir="auto" { (owner) } "." }
            } @else {
                p { "No sessions without an owner." }
                p.small { "Sessions with an owner are listed under its name, and under " a href="/console?all=true" { "all sessions" } "." }
            }
            @if viewer.may_write() { p { a.button.primary href="/console/new" { "Start one" } } }
        }
        @if listing.after.is_none() && listing.owner().is_none() { (what_this_is(viewer)) }
    }
}

/// The introduction for someone who sees this page for the first time.
fn what_this_is(viewer: &Viewer) -> Markup {
    let key = if viewer.login.is_some() { "-H 'Authorization: Bearer YOUR_KEY' " } else { "" };
    let append = format!(
        "curl {url}/v1/sessions/trip/messages {key}-H 'Content-Type: application/json' \\\n  -d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'",
        url = viewer.url
    );
    html! {
        section.card aria-labelledby="what" {
            h2 id="what" { "About this service" }
            p { "Chat memory for chatbots and agents. Each conversation is a session. Its messages are stored exactly once and come back unchanged, at a cost that does not grow with its length. New messages appear on this page as they are written." }
            p { "Programs read and write over HTTP, or with the library on the same store:" }
            pre tabindex="0" { code { (append) } }
            p.small { "The " a href="/docs/" { "API's documentation" } " describes the rest. " code { "chat-memory serve --demo" } " shows this page with sample conversations." }
        }
    }
}

/// A session's name in lists.
pub(crate) fn name_of(session: &SessionInfo) -> &str {
    session.title.as_deref().filter(|title| !title.trim().is_empty()).unwrap_or(session.id.as_str())
}

fn row(session: &SessionInfo, all: bool, [has_records, has_times]: [bool; 2]) -> Markup {
    // An untitled session is named by its first words.
    let title = session.title.as_deref().filter(|title| !title.trim().is_empty());
    let name = title.or(session.first_words.as_deref()).unwrap_or(session.id.as_str());
    let owner = session.owner.as_ref().filter(|_| all);
    html! {
        tr {
            th scope="row" {
                a dir="auto" href=(session_path(&session.id, "")) { (name) }
                @if let (Some(_), Some(words)) = (title, &session.first_words) { p.first dir="auto" { (words) } }
                @if name != session.id.as_str() || owner.is_some() {
                    p.small {
                        @if name != session.id.as_str() { code dir="auto" { (session.id) } }
                        @if let Some(owner) = owner { span { "of " a dir="auto" href=(format!("/console?owner={}", query(owner.as_str()))) { (owner) } } }
                    }
                }
            }
            @if has_records { td.n { @if let Some(records) = session.records { (number(records)) @if !session.records_exact { "+" } } } }
            @if has_times {
                td.time { @if let Some(at) = session.last_at { (when(at)) } }
                td.time { @if let Some(at) = session.created_at.known() { (when(at)) } }
            }
        }
    }
}

/// The form that starts a session
pub(crate) async fn new(viewer: Viewer) -> Result<Response, Refused> {
    viewer.must_write()?;
    Ok(new_page(&viewer, &Draft::new(), ["", "", ""], None).into_response())
}

fn new_page<'a>(viewer: &'a Viewer, draft: &Draft, [id, title, owner]: [&str; 3], error: Option<&str>) -> Page<'a> {
    let main = html! {
        nav.crumbs aria-label="Breadcrumb" { a href="/console" { "Sessions" } }
        h1 { "New session" }
        p.hint { "A session begins with its first message." }
        @if let Some(error) = error { p.error role="alert" { (error) } }
        form.stack method="post" action="/console/new" {
            (token(viewer))
            (actions::message_fields(draft, 4))
            label for="title" { "Title " span.label { "(optional)" } }
            input id="title" name="title" dir="auto" value=(title) maxlength="1024" autocomplete="off";
            label for="id" { "Session id " span.label { "(optional; a random one by default)" } }
            input id="id" name="id" dir="auto" value=(id) maxlength="1000" autocomplete="off" spellcheck="false";
            @if viewer.has_directory() {
                label for="owner" { "Owner " span.label { "(optional)" } }
                input id="owner" name="owner" dir="auto" value=(owner) maxlength="512" autocomplete="off" spellcheck="false";
            }
            p { button.primary type="submit" { "Create session" } " " a.button href="/console" { "Cancel" } }
        }
    };
    Page { title: "New session", viewer: Some(viewer), class: "narrow", main }
}

/// Starts a session
pub(crate) async fn start(Posted { viewer, fields, .. }: Posted) -> Response {
    let given = ["id", "title", "owner"].map(|name| fields.get(name).unwrap_or_default().trim());
    let draft = Draft::of(&fields);
    let started = async {
        let session = match given[0] {
            // The form's key names the session, so that a form sent twice starts only one.
            "" => SessionId::new(draft.key.as_str()),
            id => SessionId::new(id),
        };
        let session = session.map_err(|e| Problem::invalid(e.to_string()))?;
        let mut append = draft.append()?;
        if !given[0].is_empty() {
            let start = viewer.access.store.start_position(&session).await.map_err(|e| viewer.access.problem(&e))?;
            // One that exists is not there; a form that is sent twice is recognised by its key first.
            append = append.with_expected(start.unwrap_or_else(|| Position::new(0, None, Timestamp::now())));
        }
        if !given[1].is_empty() {
            append = append.with_title(given[1]);
        }
        if !given[2].is_empty() {
            append = append.with_owner(Owner::new(given[2]).map_err(|e| Problem::invalid(e.to_string()))?);
        }
        actions::append(&viewer, &session, append).await.map(|()| session)
    };
    match started.await {
        Ok(session) => Redirect::to(&session_path(&session, "?done=appended")).into_response(),
        Err(problem) => {
            let words = match problem.kind() {
                "conflict" => "A session with this id exists already. Choose another id.".to_owned(),
                _ => words(&problem),
            };
            let page = new_page(&viewer, &draft.again(&problem), given, Some(&words));
            answer(problem, page)
        }
    }
}
