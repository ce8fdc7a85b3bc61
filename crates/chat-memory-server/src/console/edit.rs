//! Editing a user's message, and the point from which an answer is written again: both take back what followed.

use axum::response::{IntoResponse, Redirect, Response};
use chat_memory::store::{Append, ChatStore as _, History, Load, Position, REDACTED};
use chat_memory::{Content, Entry, Message, SessionId, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::actions::{Question, SHOWN, crumbs, entries_of};
use super::form::Posted;
use super::message::{MessageView, Place};
use super::page::{Page, Refused, answer, count, session_path, token, words};
use super::place::older_than;
use super::viewer::Viewer;
use crate::extract::{Params, Session};
use crate::memory::Held;
use crate::operations;
use crate::problem::Problem;

/// Which message.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct At {
    /// The number of its record, and its index there.
    seq: u64,
    n: usize,
}

/// Whether a message can be edited as text: a user's, without images and the like.
pub(crate) fn is_editable(message: &Message) -> bool {
    message.begins_turn() && matches!(message.content, Some(Content::Text(_)))
}

/// Loads a session from the record of this message on.
async fn from(viewer: &Viewer, session: &SessionId, at: At) -> Result<History, Problem> {
    let load = Load::all().since(at.seq);
    let history = viewer.access.store.load(session, &load).await.map_err(|e| viewer.access.problem(&e))?;
    let is_there = history.records.first().is_some_and(|first| first.seq == at.seq && at.n < first.entries.len());
    if is_there { Ok(history) } else { Err(Problem::invalid(format!("record {} is no longer in this session", at.seq))) }
}

/// The message to edit.
fn edited(history: &History, at: At) -> Result<&Message, Problem> {
    let message = history.records.first().and_then(|record| record.entries.get(at.n)).and_then(Entry::as_message);
    message
        .filter(|message| is_editable(message))
        .ok_or_else(|| Problem::invalid("only the text of a user's message can be edited"))
}

/// An append that takes back what follows the first `kept` entries of the history's first record, and puts `new` there.
fn instead(history: &History, kept: usize, new: Option<Message>) -> Result<Append, Problem> {
    let invalid = |e: chat_memory::Error| Problem::invalid(e.to_string());
    let Some(record) = history.records.first() else { return Err(Problem::invalid("no messages in this session")) };
    if new.is_none() && kept >= record.entries.len() {
        let next = history.records.get(1).ok_or_else(|| Problem::invalid("nothing follows this message"))?;
        return Append::rewind(history, next.seq, None::<Entry>).map_err(invalid);
    }
    // What stays was sent when it was sent.
    let mut times: Vec<_> = record.entry_times().take(kept).collect();
    times.extend(new.as_ref().map(|_| Some(Timestamp::now())));
    let entries = record.entries.iter().take(kept).cloned().chain(new.map(Entry::from));
    let mut append = Append::rewind(history, record.seq, entries).map_err(invalid)?;
    if let Some(metadata) = &record.metadata {
        append = append.with_metadata(metadata.clone());
    }
    Ok(if kept > 0 { append.sent_at(times) } else { append })
}

/// What is taken back, in a box, and that it cannot be undone.
fn taken_back(viewer: &Viewer, session: &SessionId, entries: &[(Place, &Entry)], last: u64) -> Markup {
    let view = MessageView::new(session, viewer);
    html! {
        div.turn {
            @for (at, entry) in entries.iter().take(SHOWN) { (view.plain_entry(entry, *at)) }
            @if entries.len() > SHOWN { p.small { "And " (entries.len() - SHOWN) " more." } }
        }
        p.small {
            "This cannot be undone. To keep both, " a href=(session_path(session, &format!("/fork?seq={last}"))) { "fork the session" } " first."
        }
    }
}

/// The entries behind the first few of the history's first record.
fn behind(history: &History, kept: usize) -> Vec<(Place, &Entry)> {
    entries_of(history).into_iter().skip(kept).collect()
}

/// Shows the form that edits a user's message
pub(crate) async fn ask_to_edit(viewer: Viewer, Session(session): Session, Params(at): Params<At>) -> Result<Response, Refused> {
    viewer.must_write()?;
    let history = from(&viewer, &session, at).await?;
    let message = edited(&history, at)?;
    Ok(edit_page(&viewer, &session, &history, at, &message.text(), &history.position, None).into_response())
}

fn edit_page<'a>(
    viewer: &'a Viewer,
    session: &SessionId,
    history: &History,
    at: At,
    text: &str,
    position: &Position,
    error: Option<&str>,
) -> Page<'a> {
    let gone = behind(history, at.n + 1);
    let redacted = edited(history, at).ok().and_then(Message::redacted_at).unwrap_or_default();
    let last = history.records.last().map_or(at.seq, |record| record.seq);
    let main = html! {
        (crumbs(session))
        h1 { "Edit and continue" }
        @if let Some(error) = error { p.error role="alert" { (error) } }
        form.stack method="post" action=(session_path(session, "/edit")) {
            (token(viewer))
            input type="hidden" name="position" value=(position);
            input type="hidden" name="seq" value=(at.seq);
            input type="hidden" name="n" value=(at.n);
            input type="hidden" name="redacted" value=(redacted);
            label for="text" { "Message" }
            textarea id="text" name="text" dir="auto" rows="6" required { "\n" (text) }
            p.hint {
                "The new text replaces the message of record " (at.seq)
                @if gone.is_empty() { "; nothing follows it." } @else { ", and " (count(gone.len(), "message")) " after it " @if gone.len() == 1 { "is" } @else { "are" } " taken back, for everyone:" }
            }
            p { button.primary type="submit" { "Edit and continue" } " " a.button href=(session_path(session, "")) { "Cancel" } }
        }
        @if !gone.is_empty() { (taken_back(viewer, session, &gone, last)) }
    };
    Page { title: "Edit and continue", viewer: Some(viewer), class: "narrow", main }
}

/// The position and the message that a form names.
fn named(fields: &super::form::Fields) -> Result<(Position, At), Problem> {
    let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
    let position = fields.get("position").and_then(|position| position.parse().ok());
    let at = number("seq").zip(number("n").and_then(|n| usize::try_from(n).ok())).map(|(seq, n)| At { seq, n });
    position.zip(at).ok_or_else(|| Problem::bad_request("the form does not name a message; open it again"))
}

/// Refuses a session that was modified since the form was shown.
fn must_be_at(viewer: &Viewer, history: &History, shown: &Position) -> Result<(), Problem> {
    if history.position == *shown {
        return Ok(());
    }
    Err(viewer.access.problem(&chat_memory::Error::conflict(history.position.clone())))
}

/// Replaces a user's message and takes back what followed it, in one record
pub(crate) async fn edit(Session(session): Session, Posted { viewer, fields, .. }: Posted) -> Result<Response, Refused> {
    let (shown, at) = named(&fields)?;
    let text = fields.get("text").unwrap_or_default().replace("\r\n", "\n");
    let history = match from(&viewer, &session, at).await {
        Ok(history) => history,
        // The message is no longer there.
        Err(problem) => {
            return Err(Refused::from(problem).keep(&text).back(session_path(&session, ""), "Back to the session"));
        }
    };
    let done = async {
        let old = edited(&history, at)?;
        // A redaction leaves the position as it was, and the form may hold what it removed.
        if old.redacted_at().unwrap_or_default() != fields.get("redacted").unwrap_or_default() {
            return Err(Problem::invalid("this message was redacted since the form was opened; open it again"));
        }
        if text.is_empty() {
            return Err(Problem::invalid("empty message: write some text"));
        }
        must_be_at(&viewer, &history, &shown)?;
        // Its id named the old text, and so did the mark of a redaction.
        let mut new = old.clone();
        (new.content, new.id) = (Some(Content::Text(text.clone())), None);
        new.extra.shift_remove(REDACTED);
        let append = instead(&history, at.n, Some(new))?;
        operations::replace(&viewer.access, &session, append, Held::default()).await
    };
    match done.await {
        Ok(_) => Ok(Redirect::to(&session_path(&session, "?done=edited")).into_response()),
        Err(problem) => {
            // Sent again, it is about what this page shows.
            let said = words(&problem);
            Ok(answer(problem, edit_page(&viewer, &session, &history, at, &text, &history.position, Some(&said))))
        }
    }
}

/// Finds the user's message that the answer at a place belongs to, and loads the session from its record on.
async fn turn_of(viewer: &Viewer, session: &SessionId, at: At) -> Result<(History, At), Problem> {
    // The last turn may begin behind the answer, in the same record; the one before it is then in another.
    for end in [at.seq.saturating_add(1), at.seq] {
        let load = Load::turns(1).before(older_than(end));
        let until = viewer.access.store.load(session, &load).await.map_err(|e| viewer.access.problem(&e))?;
        let mut before = entries_of(&until).into_iter().rev().filter(|(place, _)| *place < (at.seq, at.n));
        if let Some(((seq, n), _)) = before.find(|(_, entry)| entry.as_message().is_some_and(Message::begins_turn)) {
            let user = At { seq, n };
            return Ok((from(viewer, session, user).await?, user));
        }
    }
    Err(Problem::invalid("no message of the user comes before this answer"))
}

/// Asks whether to take back an answer, so that the model can be asked again
pub(crate) async fn ask_to_regenerate(
    viewer: Viewer,
    Session(session): Session,
    Params(at): Params<At>,
) -> Result<Response, Refused> {
    viewer.must_write()?;
    let (history, user) = turn_of(&viewer, &session, at).await?;
    let gone = behind(&history, user.n + 1);
    if gone.is_empty() {
        return Err(Problem::invalid("the answer is no longer in this session").into());
    }
    let last = history.records.last().map_or(user.seq, |record| record.seq);
    let question = Question {
        session: &session,
        title: "Take back the answer?",
        what: html! {
            p {
                "The session then ends with the user's message of record " (user.seq) ", and the application can ask the model again. "
                (count(gone.len(), "message")) @if gone.len() == 1 { " is" } @else { " are" } " taken back, for everyone:"
            }
            (taken_back(&viewer, &session, &gone, last))
        },
        below: "/regenerate",
        fields: html! {
            input type="hidden" name="position" value=(history.position);
            input type="hidden" name="seq" value=(at.seq);
            input type="hidden" name="n" value=(at.n);
        },
        button: "Take back",
    };
    Ok(question.page(&viewer))
}

/// Takes back an answer and what followed it
pub(crate) async fn regenerate(Session(session): Session, Posted { viewer, fields, .. }: Posted) -> Result<Redirect, Refused> {
    let (shown, at) = named(&fields)?;
    let done = async {
        let (history, user) = turn_of(&viewer, &session, at).await?;
        must_be_at(&viewer, &history, &shown)?;
        operations::replace(&viewer.access, &session, instead(&history, user.n + 1, None)?, Held::default()).await
    };
    done.await?;
    Ok(Redirect::to(&session_path(&session, "?done=regenerate")))
}
