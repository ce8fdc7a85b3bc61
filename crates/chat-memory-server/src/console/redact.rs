//! Replaces what a record says, and keeps its place.

use axum::response::{IntoResponse, Redirect, Response};
use chat_memory::store::{MAX_REPLACEMENT_BYTES, Redacted, Redaction};
use chat_memory::{Entry, SessionId};
use maud::html;
use serde::Deserialize;

use super::actions::{SHOWN, crumbs};
use super::form::Posted;
use super::message::MessageView;
use super::page::{Page, Refused, answer, session_path, token, words};
use super::viewer::Viewer;
use crate::extract::{Params, Session};
use crate::memory::Held;
use crate::operations;
use crate::problem::Problem;

/// What the form proposes in place of what was said.
const REPLACEMENT: &str = "[redacted]";

/// Which record.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct At {
    seq: u64,
}

/// Asks which message of a record to redact, and what to put in its place
pub(crate) async fn ask(viewer: Viewer, Session(session): Session, Params(At { seq }): Params<At>) -> Result<Response, Refused> {
    viewer.must_write()?;
    let found = operations::redact(&viewer.access, &session, seq, Redaction::new().dry_run(), Held::default()).await?;
    Ok(page(&viewer, &session, &found, REPLACEMENT, None).into_response())
}

fn page<'a>(viewer: &'a Viewer, session: &SessionId, found: &Redacted, replacement: &str, error: Option<&str>) -> Page<'a> {
    let record = &found.before;
    let view = MessageView::new(session, viewer);
    let role = |entry: &Entry| entry.as_message().map_or_else(|| "an entry".to_owned(), |message| message.role.to_string());
    let main = html! {
        (crumbs(session))
        h1 { "Redact record " (record.seq) }
        p {
            "What it says is replaced in the store itself, for everyone, and cannot be brought back: text, images, the arguments of calls and their "
            "results. The record keeps its place, its times and its ids. Titles, forks and LangGraph's checkpoints keep what they have."
        }
        @if let Some(replaced) = found.replaced() {
            p {
                "It was written in place of others, which are hidden and may say the same. Redact them as well: "
                @for seq in replaced.clone().take(SHOWN) { a href=(session_path(session, &format!("/redact?seq={seq}"))) { "record " (seq) } " " }
                @if replaced.end - replaced.start > SHOWN as u64 { "and the others up to " (replaced.end - 1) "." }
            }
        }
        @if let Some(error) = error { p.error role="alert" { (error) } }
        form.stack method="post" action=(session_path(session, "/redact")) {
            (token(viewer))
            input type="hidden" name="seq" value=(record.seq);
            input type="hidden" name="id" value=(record.append_id);
            @if record.entries.len() > 1 {
                label for="message" { "What" }
                select id="message" name="message" {
                    option value="" { "All messages of the record" }
                    @for (n, entry) in record.entries.iter().enumerate() { option value=(n) { "Message " (n) ", " (role(entry)) } }
                }
            }
            label for="replacement" { "Put in its place" }
            input id="replacement" name="replacement" dir="auto" required maxlength=(MAX_REPLACEMENT_BYTES) value=(replacement);
            p { button.danger type="submit" { "Redact" } " " a.button href=(session_path(session, "")) { "Cancel" } }
        }
        div.turn { @for (n, entry) in record.entries.iter().enumerate() { (view.plain_entry(entry, (record.seq, n))) } }
    };
    Page { title: "Redact", viewer: Some(viewer), class: "narrow", main }
}

/// Redacts a record, or one of its messages
pub(crate) async fn redact(Session(session): Session, Posted { viewer, fields, .. }: Posted) -> Result<Response, Refused> {
    let unnamed = || Problem::bad_request("the form does not name a record; open it again");
    let seq = fields.get("seq").and_then(|seq| seq.parse().ok()).ok_or_else(unnamed)?;
    let id = fields.get("id").and_then(|id| id.parse().ok()).ok_or_else(unnamed)?;
    let replacement = fields.get("replacement").unwrap_or_default();
    let mut redaction = Redaction::new().with_replacement(replacement).with_expected(id);
    if let Some(message) = fields.get("message").filter(|message| !message.is_empty()) {
        redaction = redaction.message(message.parse().map_err(|_| unnamed())?);
    }
    match operations::redact(&viewer.access, &session, seq, redaction, Held::default()).await {
        Ok(_) => Ok(Redirect::to(&session_path(&session, "?done=redacted")).into_response()),
        Err(problem) => {
            // What was written into the form is shown again with the record, if that is still there.
            let found = operations::redact(&viewer.access, &session, seq, Redaction::new().dry_run(), Held::default()).await;
            let Ok(found) = found else {
                return Err(Refused::from(problem).keep(replacement).back(session_path(&session, ""), "Back to the session"));
            };
            let said = words(&problem);
            Ok(answer(problem, page(&viewer, &session, &found, replacement, Some(&said))))
        }
    }
}
