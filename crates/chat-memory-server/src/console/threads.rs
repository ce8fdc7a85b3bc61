//! LangGraph's threads: the list, a thread's messages and state at a checkpoint, and its deletion.

use axum::response::{IntoResponse, Redirect, Response};
use chat_memory::SessionId;
use maud::{Markup, html};
use serde::Deserialize;

use super::form::Posted;
use super::message::{MessageView, Plain, folded, plain, pretty, when};
use super::page::{Page, Refused, notice, query, size, token};
use super::viewer::Viewer;
use crate::extract::{Params, Thread};
use crate::operations::{self, CHECKPOINTS};
use crate::threads::{self, CheckpointInfo, ThreadInfo, ThreadState};
use crate::time::Time;

/// Where a list continues.
#[derive(Debug, Deserialize)]
pub(crate) struct Listing {
    after: Option<String>,
    /// The action that led to this page.
    done: Option<String>,
}

/// The list of threads
pub(crate) async fn list(viewer: Viewer, Params(Listing { after, done }): Params<Listing>) -> Result<Response, Refused> {
    let page = operations::threads::list(&viewer.access, after.as_deref()).await?;
    let main = html! {
        @if done.as_deref() == Some("deleted") { (notice("The thread was deleted.")) }
        div.head { h1 { "Threads" } }
        p.small { "What LangGraph's checkpointers keep in this store. Sorted by last activity within a page." }
        @if page.items.is_empty() {
            div.nothing {
                @if after.is_some() || page.next.is_some() { p { "No threads on this page." } } @else { p { "No threads yet." } }
                p.small { "A graph with a " code { "ChatMemorySaver" } " of " code { "chat_memory.langgraph" } " (Python) or " code { "chat-memory/langgraph" } " (JavaScript) keeps them here." }
            }
        } @else {
            ul.sessions { @for thread in &page.items { (row(thread)) } }
        }
        nav.pages aria-label="Pages" {
            @if after.is_some() { a.button href=(LIST) { "First page" } }
            @if let Some(next) = &page.next { a.button href=(format!("{LIST}?after={}", query(next))) { "More" } }
        }
    };
    Ok(Page { title: "Threads", viewer: Some(&viewer), class: "list", main }.into_response())
}

/// The address of the list.
const LIST: &str = "/console/threads";

fn path(thread: &str) -> String {
    format!("{LIST}/{}", query(thread))
}

fn row(thread: &ThreadInfo) -> Markup {
    html! {
        li {
            a dir="auto" href=(path(&thread.id)) { (thread.id) }
            p.small { @if let Some(at) = thread.last_at { span { "last active " (time(at)) } } }
        }
    }
}

fn time(at: Time) -> Markup {
    when(at.timestamp())
}

/// Which checkpoint to show, and where the list of them continues.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    checkpoint: Option<String>,
    after: Option<String>,
}

/// A thread at a checkpoint
pub(crate) async fn thread(viewer: Viewer, Thread(thread): Thread, Params(wanted): Params<Wanted>) -> Result<Response, Refused> {
    let state = operations::threads::state(&viewer.access, &thread, wanted.checkpoint.as_deref());
    let (state, _) = state.await?;
    let page = operations::threads::checkpoints(&viewer.access, &thread, wanted.after.as_deref(), CHECKPOINTS);
    let page = page.await?;
    let main = View { thread: &thread, state: &state, page: &page, wanted: &wanted, may_write: viewer.may_write() }.main();
    Ok(Page { title: thread.as_str(), viewer: Some(&viewer), class: "conversation", main }.into_response())
}

/// Asks whether to delete a thread
pub(crate) async fn ask_to_delete(viewer: Viewer, Thread(thread): Thread) -> Result<Response, Refused> {
    viewer.must_write()?;
    let address = path(thread.as_str());
    let main = html! {
        (crumbs(&thread))
        h1 { "Delete this thread?" }
        p { "All its checkpoints are deleted from the store, those of its subgraphs, too. A run that is under way on it fails with its next checkpoint. This cannot be undone." }
        form.ask method="post" action=(format!("{address}/delete")) {
            (token(&viewer))
            button.danger type="submit" { "Delete" }
            " "
            a.button href=(address) { "Cancel" }
        }
    };
    Ok(Page { title: "Delete this thread?", viewer: Some(&viewer), class: "narrow", main }.into_response())
}

/// Deletes a thread
pub(crate) async fn delete(Thread(thread): Thread, Posted { viewer, .. }: Posted) -> Result<Redirect, Refused> {
    operations::threads::delete(&viewer.access, &thread).await?;
    Ok(Redirect::to(&format!("{LIST}?done=deleted")))
}

/// The navigation back from a page about a thread.
fn crumbs(thread: &SessionId) -> Markup {
    html! { nav.crumbs aria-label="Breadcrumb" { a href=(LIST) { "Threads" } " / " a dir="auto" href=(path(thread.as_str())) { (thread) } } }
}

/// All of a thread's state, as JSON
pub(crate) async fn whole(viewer: Viewer, Thread(thread): Thread, Params(wanted): Params<Wanted>) -> Result<Plain, Refused> {
    let state = operations::threads::state(&viewer.access, &thread, wanted.checkpoint.as_deref());
    let (ThreadState { checkpoint, messages, values, writes }, _) = state.await?;
    let messages: Vec<_> = messages.iter().map(chat_memory::Entry::to_value).collect();
    let all = serde_json::json!({"checkpoint": checkpoint, "messages": messages, "values": values, "writes": writes});
    Ok(plain(pretty(&all)))
}

struct View<'a> {
    thread: &'a SessionId,
    state: &'a ThreadState,
    page: &'a threads::Page<CheckpointInfo>,
    wanted: &'a Wanted,
    may_write: bool,
}

impl View<'_> {
    /// The address of a checkpoint, with the same part of the list of checkpoints.
    fn at(&self, checkpoint: &str) -> String {
        let after = self.wanted.after.as_ref().map_or_else(String::new, |after| format!("&after={}", query(after)));
        format!("{}?checkpoint={}{after}", path(self.thread.as_str()), query(checkpoint))
    }

    fn main(&self) -> Markup {
        let ThreadState { checkpoint, messages, values, writes } = self.state;
        let whole = format!("{}/state?checkpoint={}", path(self.thread.as_str()), query(&checkpoint.id));
        let view = MessageView::of_thread(whole.clone());
        html! {
            div.talk {
                div.head.of-session {
                    nav.crumbs aria-label="Breadcrumb" { a href=(LIST) { "Threads" } span aria-hidden="true" { " /" } }
                    h1 dir="auto" { (self.thread) }
                    a.to-about href="#about" { "About" }
                }
                div #log .log aria-label="Messages" role="group" {
                    @if messages.is_empty() { p.nothing { "No messages at this checkpoint." } }
                    @for entry in messages { (view.entry(entry, (0, 0))) }
                    @for (name, value) in values { (folded("data", html! { "Value of " code { (name) } }, view.json(value))) }
                    @for write in writes { (folded("data", html! { "Waiting write to " code { (write.channel) } }, view.json(&write.value))) }
                }
            }
            aside #about .about aria-label="About this thread" tabindex="-1" { (self.facts(checkpoint, &whole)) (self.checkpoints()) }
        }
    }

    fn facts(&self, checkpoint: &CheckpointInfo, whole: &str) -> Markup {
        html! {
            section.card aria-labelledby="facts" {
                h2 id="facts" { "Checkpoint" }
                dl.facts {
                    div { dt { "Id" } dd { code { (checkpoint.id) } } }
                    @if !checkpoint.namespace.is_empty() { div { dt { "Subgraph" } dd { code dir="auto" { (checkpoint.namespace) } } } }
                    @if let Some(at) = checkpoint.created_at { div { dt { "Created" } dd { (time(at)) } } }
                    @if let Some(source) = made_by(checkpoint) { div { dt { "By" } dd { (source) } } }
                    div { dt { "Size" } dd { (size(checkpoint.size)) } }
                    @if let Some(at) = checkpoint.expires_at { div { dt { "Expires" } dd { (time(at)) } } }
                    @if let Some(parent) = &checkpoint.parent { div { dt { "Parent" } dd { a href=(self.at(parent)) { code { (parent) } } } } }
                }
                p { a href=(whole) { "All of it as JSON" } }
                @if self.may_write { p { a href=(format!("{}/delete", path(self.thread.as_str()))) { "Delete the thread…" } } }
            }
        }
    }

    fn checkpoints(&self) -> Markup {
        html! {
            section.card aria-labelledby="checkpoints" {
                h2 id="checkpoints" { "Checkpoints" }
                ul.links {
                    @for checkpoint in &self.page.items {
                        li {
                            a href=(self.at(&checkpoint.id)) aria-current=[(checkpoint.id == self.state.checkpoint.id && checkpoint.namespace == self.state.checkpoint.namespace).then_some("true")] {
                                (made_by(checkpoint).unwrap_or_else(|| "Checkpoint".to_owned()))
                                @if !checkpoint.namespace.is_empty() { " in " bdi { (checkpoint.namespace) } }
                            }
                            @if let Some(at) = checkpoint.created_at { " " span.small { (time(at)) } }
                        }
                    }
                }
                @if let Some(next) = &self.page.next {
                    p { a href=(format!("{}?checkpoint={}&after={}", path(self.thread.as_str()), query(&self.state.checkpoint.id), query(next))) { "Older checkpoints" } }
                }
                @if self.wanted.after.is_some() { p { a href=(path(self.thread.as_str())) { "Newest checkpoints" } } }
            }
        }
    }
}

/// What created a checkpoint, and its step.
fn made_by(checkpoint: &CheckpointInfo) -> Option<String> {
    let source = checkpoint.source.as_ref()?;
    Some(checkpoint.step.map_or_else(|| source.clone(), |step| format!("{source}, step {step}")))
}
