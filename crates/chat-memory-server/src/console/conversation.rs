//! A session as a conversation.

use axum::response::{IntoResponse, Response};
use chat_memory::store::{ChatStore as _, History, SessionInfo};
use chat_memory::wire::Format;
use chat_memory::{Message, SessionId};
use maud::{Markup, html};

use super::actions::{Draft, message_fields, title_form};
use super::cost_pages::panel;
use super::costs::Costs;
use super::message::{MessageView, when};
use super::page::{Page, Refused, count, notice, number, query, session_path, token};
use super::place::{self, Part, address_near, address_of};
use super::viewer::Viewer;
use crate::extract::{Params, Session};
use crate::operations::PAGE;

/// A session, its newest part or an older one
pub(crate) async fn conversation(
    viewer: Viewer,
    Session(session): Session,
    Params(part): Params<Part>,
) -> Result<Response, Refused> {
    let access = &viewer.access;
    let history = part.load(access, &session).await;
    let history = history.map_err(|e| access.problem(&e))?;
    // Without a directory the store knows nothing more about a session.
    let info = if viewer.has_directory() { access.store.session(&session).await.map_err(|e| access.problem(&e))? } else { None };
    let view = View { viewer: &viewer, session: &session, history: &history, info: info.as_ref(), is_newest: part.is_end() };
    let title = view.title().to_owned();
    let main = view.main(part.done.as_deref(), part.missing(&history).as_deref());
    Ok(Page { title: &title, viewer: Some(&viewer), class: "conversation", main }.into_response())
}

struct View<'a> {
    viewer: &'a Viewer,
    session: &'a SessionId,
    history: &'a History,
    info: Option<&'a SessionInfo>,
    /// Whether it shows the end of the session, where new messages appear.
    is_newest: bool,
}

impl View<'_> {
    fn title(&self) -> &str {
        let title = self.info.and_then(|info| info.title.as_deref());
        title.filter(|title| !title.trim().is_empty()).unwrap_or(self.session.as_str())
    }

    fn path(&self, below: &str) -> String {
        session_path(self.session, below)
    }

    fn main(&self, done: Option<&str>, missing: Option<&str>) -> Markup {
        let mut view = MessageView::new(self.session, self.viewer);
        if self.history.complete {
            view = view.starting_the_session();
        }
        let older = place::older(&self.viewer.access, self.session, self.history);
        let events = format!("{}?after={}", self.path("/events"), query(&self.history.position.to_string()));
        html! {
            div.talk {
                div.head.of-session {
                    nav.crumbs aria-label="Breadcrumb" { a href="/console" { "Sessions" } span aria-hidden="true" { " /" } }
                    h1 dir="auto" { (self.title()) }
                    @if self.is_newest {
                        p #live .live role="status" data-state="off" {
                            span.light aria-hidden="true" {}
                            span.words { "Reload to see new messages" }
                        }
                    }
                    a.to-about href="#about" { "About" }
                }
                @if let Some(text) = missing.or_else(|| done.and_then(said)) { (notice(text)) }
                @if let Some(older) = &older {
                    p.older { a.button href=(older) rel="prev" { "Older messages" } }
                }
                div #log .log role="log" aria-label="Conversation" data-events=[self.is_newest.then_some(events)] {
                    ol.records { @for record in &self.history.records { (view.record(record)) } }
                    p #none .nothing hidden[!self.history.records.is_empty()] { "No messages yet." }
                }
                @if self.is_newest { (self.end(done)) } @else {
                    p.older {
                        @if let Some(next) = self.next() { a.button href=(address_near(self.session, next)) rel="next" { "Newer messages" } " " }
                        a.button href=(self.path("")) { "Newest messages" }
                    }
                }
            }
            aside #about .about aria-label="About this session" tabindex="-1" { (self.facts()) (self.places()) (self.costs()) (self.tools()) }
        }
    }

    /// Whether the session may have an entry, or a turn if only these count: what the page does not show may have one.
    fn may_have(&self, only_turns: bool) -> bool {
        let (end, last) = (self.history.position.next(), self.history.records.last());
        let has_end = self.is_newest || last.map_or(0, |last| last.seq + 1) == end;
        !(has_end && self.history.complete)
            || self.history.entries().any(|entry| !only_turns || entry.as_message().is_some_and(Message::begins_turn))
    }

    /// The number of the record after this page, unless it shows the newest.
    fn next(&self) -> Option<u64> {
        let next = self.history.records.last()?.seq + 1;
        (next < self.history.position.next()).then_some(next)
    }

    /// Where this page is in the session, and how to get elsewhere.
    fn places(&self) -> Markup {
        let end = self.history.position.next();
        let shown = self.history.records.first().zip(self.history.records.last()).map(|(first, last)| (first.seq, last.seq));
        let is_long = end > 2 * PAGE as u64;
        html! {
            section.card aria-labelledby="places" {
                h2 id="places" { "Go to" }
                @if let Some((first, last)) = shown {
                    p.small { "Records " (number(first)) " to " (number(last)) " of 0 to " (number(end.saturating_sub(1))) }
                }
                form.go method="get" action=(self.path("/go")) {
                    label.away for="to" { "Record number or date" }
                    input id="to" name="to" placeholder="Record or date" autocomplete="off" maxlength="40" required;
                    button type="submit" { "Go" }
                }
                form.go method="get" action="/console/search" {
                    input type="hidden" name="session" value=(self.session);
                    label.away for="words" { "Words in this session" }
                    input type="search" id="words" name="q" dir="auto" placeholder="Words" autocomplete="off" maxlength="1024" required;
                    button type="submit" { "Find" }
                }
                ul.links.row {
                    li { a href=(address_near(self.session, 0)) { "Start" } }
                    @if is_long {
                        @for tenth in 1..10 {
                            @let at = end / 10 * tenth;
                            @let is_here = shown.is_some_and(|(first, last)| (first..=last).contains(&at));
                            li { a href=(address_near(self.session, at)) aria-current=[is_here.then_some("true")] { (number(at)) } }
                        }
                    }
                    li { a href=(self.path("")) { "End" } }
                }
            }
        }
    }

    /// The part below the newest message.
    fn end(&self, done: Option<&str>) -> Markup {
        html! {
            @if self.viewer.may_write() {
                div.end {
                    form.composer #composer method="post" action=(self.path("/messages")) data-focus[done == Some("appended")] {
                        (token(self.viewer))
                        (message_fields(&Draft::new(), 2))
                        button.primary type="submit" { "Send" }
                    }
                }
            }
            // Where the conversation ends, for the script.
            div #end {}
        }
    }

    fn facts(&self) -> Markup {
        html! {
            section.card aria-labelledby="facts" {
                h2 id="facts" { "Session" }
                dl.facts {
                    div { dt { "Id" } dd { code dir="auto" { (self.session) } } }
                    @if let Some(info) = self.info {
                        div { dt { "Owner" } dd {
                            @match &info.owner {
                                Some(owner) => a dir="auto" href=(format!("/console?owner={}", query(owner.as_str()))) { (owner) },
                                None => "nobody",
                            }
                        } }
                        @if let Some(at) = info.created_at.known() { div { dt { "Began" } dd { (when(at)) } } }
                        @if let Some(origin) = info.forked_from() {
                            div { dt { "Forked" } dd { "from " a dir="auto" href=(address_of(&origin.session, origin.seq)) { (origin.session) } ", record " (origin.seq) } }
                        }
                        @if let Some(metadata) = &info.metadata {
                            div { dt { "Metadata" } dd { pre tabindex="0" { (serde_json::to_string_pretty(metadata).unwrap_or_default()) } } }
                        }
                    } @else if self.viewer.has_directory() && self.history.position.next() > 0 {
                        div { dt { "Listed" } dd { "no" } }
                    }
                }
                @if self.info.is_some() && self.viewer.may_write() {
                    details.rename {
                        summary { "Change the title" }
                        (title_form(self.viewer, self.session, self.info.and_then(|info| info.title.as_deref()).unwrap_or_default()))
                    }
                }
            }
        }
    }

    fn costs(&self) -> Markup {
        let whole = self.is_newest && self.history.complete;
        html! {
            section.card aria-labelledby="cost" {
                h2 id="cost" { "Cost" }
                @if whole && !self.history.records.is_empty() {
                    (panel(self.viewer.kind(), &Costs::of(self.session, &self.history.records)))
                    p { a href=(self.path("/costs")) { "Record by record" } }
                } @else if whole {
                    p.small { "No messages in this session." }
                } @else {
                    p.small { "This page shows only part of the session: " (count(self.history.records.len(), "record")) "." }
                    p { a href=(self.path("/costs")) { "Estimate the whole session" } }
                    p.small { "This reads the whole session." }
                }
            }
        }
    }

    fn tools(&self) -> Markup {
        let key = if self.viewer.login.is_some() { "-H 'Authorization: Bearer YOUR_KEY' " } else { "" };
        let curl = format!("curl {key}{}/v1/sessions/{}/messages", self.viewer.url, query(self.session.as_str()));
        html! {
            section.card aria-labelledby="tools" {
                h2 id="tools" { "Export" }
                p.small { "Over HTTP" }
                pre.command tabindex="0" { code { (curl) } }
                p.small { "One message per line, in the format of" }
                ul.links.row {
                    @for format in Format::ALL {
                        li { a href=(self.path(&format!("/export?format={format}"))) download { (format.title()) } }
                    }
                }
            }
            @if self.viewer.may_write() {
                section.card aria-labelledby="change" {
                    h2 id="change" { "Change" }
                    ul.links {
                        // The script shows them once they can be done.
                        li data-needs="entry" hidden[!self.may_have(false)] { a href=(self.path("/fork")) { "Fork the session…" } }
                        li data-needs="turn" hidden[!self.may_have(true)] { a href=(self.path("/rewind")) { "Take back the last turn…" } }
                        li { a href=(self.path("/clear")) { "Clear the session…" } }
                        li { a href=(self.path("/delete")) { "Delete the session…" } }
                    }
                }
            }
        }
    }
}

/// A description of the finished action. Nothing else from an address is repeated in a page.
fn said(done: &str) -> Option<&'static str> {
    match done {
        "appended" => None,
        "taken-back" => Some("The last turn was taken back."),
        "taken-back-from" => Some("The record and all that followed were taken back."),
        "edited" => Some("The message was edited, and what followed it was taken back."),
        "regenerate" => Some("The answer was taken back: the application can ask the model again."),
        "redacted" => Some("The record was redacted."),
        "cleared" => Some("The session was cleared."),
        "forked" => Some("This session was forked."),
        "entitled" => Some("The title was changed."),
        "nothing-since" => Some("Nothing was sent from that time on. This is the end of the session."),
        _ => None,
    }
}
