//! A new session with a copy of another, up to one of its records.

use axum::response::{IntoResponse, Redirect, Response};
use chat_memory::SessionId;
use chat_memory::store::{Fork, ForkPlan};
use maud::html;
use serde::Deserialize;

use super::actions::{Draft, crumbs};
use super::form::Posted;
use super::page::{Page, Refused, answer, count, session_path, token, words};
use super::viewer::Viewer;
use crate::extract::{Params, Session};
use crate::memory::Held;
use crate::operations;
use crate::problem::Problem;

/// Up to where.
#[derive(Debug, Deserialize)]
pub(crate) struct Point {
    /// The number of the last record to copy; without it, all that is visible.
    seq: Option<u64>,
}

impl Point {
    fn fork(&self) -> Fork {
        self.seq.map_or_else(Fork::new, |seq| Fork::new().up_to(seq))
    }
}

/// Asks for the new session's id and title, and says what the fork would copy
pub(crate) async fn ask(viewer: Viewer, Session(session): Session, Params(point): Params<Point>) -> Result<Response, Refused> {
    viewer.must_write()?;
    let plan = operations::plan_fork(&viewer.access, &session, &SessionId::random(), &point.fork()).await;
    let plan = plan?;
    Ok(page(&viewer, &session, Some(&plan), plan.seq, ["", ""], &Draft::new(), None).into_response())
}

fn page<'a>(
    viewer: &'a Viewer,
    session: &SessionId,
    plan: Option<&ForkPlan>,
    seq: u64,
    [id, title]: [&str; 2],
    draft: &Draft,
    error: Option<&str>,
) -> Page<'a> {
    let main = html! {
        (crumbs(session))
        h1 { "Fork this session" }
        p.hint { "A new session begins with a copy of this one, up to record " (seq) ". Neither changes the other." }
        @if let Some(plan) = plan {
            p.small {
                (count(plan.records as usize, "record")) ", " (count(plan.entries as usize, "message"))
                @if let Some(units) = plan.write_units { ", " (count(units.ceil() as usize, "write unit")) }
            }
        }
        @if let Some(error) = error { p.error role="alert" { (error) } }
        form.stack method="post" action=(session_path(session, "/fork")) {
            (token(viewer))
            input type="hidden" name="key" value=(draft.key);
            input type="hidden" name="seq" value=(seq);
            label for="title" { "Title " span.label { "(optional; this session's by default)" } }
            input id="title" name="title" dir="auto" value=(title) maxlength="1024" autocomplete="off";
            label for="id" { "Session id " span.label { "(optional; a random one by default)" } }
            input id="id" name="id" dir="auto" value=(id) maxlength="1000" autocomplete="off" spellcheck="false";
            p { button.primary type="submit" { "Fork" } " " a.button href=(session_path(session, "")) { "Cancel" } }
        }
    };
    Page { title: "Fork this session", viewer: Some(viewer), class: "narrow", main }
}

/// Forks a session
pub(crate) async fn fork(Session(session): Session, Posted { viewer, fields, .. }: Posted) -> Response {
    let draft = Draft::of(&fields);
    let [id, title] = ["id", "title"].map(|name| fields.get(name).unwrap_or_default().trim());
    let seq = fields.get("seq").and_then(|seq| seq.parse::<u64>().ok());
    let forked = async {
        let seq = seq.ok_or_else(|| Problem::bad_request("the form does not name a record; open it again"))?;
        // The form's key names the session, so that a form sent twice makes one.
        let to = SessionId::new(if id.is_empty() { draft.key.as_str() } else { id });
        let to = to.map_err(|e| Problem::invalid(e.to_string()))?;
        let mut fork = Fork::new().up_to(seq);
        if !title.is_empty() {
            fork = fork.with_title(title);
        }
        operations::fork(&viewer.access, &session, &to, fork, Some(draft.key.clone()), Held::default()).await.map(|_| to)
    };
    match forked.await {
        Ok(to) => Redirect::to(&session_path(&to, "?done=forked")).into_response(),
        Err(problem) => {
            let words = match problem.kind() {
                "conflict" => "A session with this id exists already. Choose another id.".to_owned(),
                _ => words(&problem),
            };
            let draft = draft.again(&problem);
            answer(problem, page(&viewer, &session, None, seq.unwrap_or_default(), [id, title], &draft, Some(&words)))
        }
    }
}
