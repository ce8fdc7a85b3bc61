//! A viewer's changes to a session.

use std::time::Duration;

use axum::response::{IntoResponse, Redirect, Response};
use chat_memory::store::{Append, ChatStore as _, History, Load, Record, SessionUpdate};
use chat_memory::{Entry, Message, Role, SessionId};
use maud::{Markup, html};
use serde::Deserialize;

use super::form::{Fields, Posted};
use super::message::{MessageView, Place};
use super::page::{Page, Refused, answer, count, session_path, token, words};
use super::viewer::Viewer;
use crate::extract::{Params, Session};
use crate::memory::Held;
use crate::operations::{self, Back};
use crate::problem::Problem;

/// How often, and at what interval, an append is retried while the first click's request is running.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(100);

/// How many entries a question shows of what it is about.
pub(crate) const SHOWN: usize = 20;

/// A message being written.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// Identifies the form, so that two clicks store it once.
    pub(crate) key: String,
    pub(crate) role: String,
    pub(crate) text: String,
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self { key: uuid::Uuid::now_v7().to_string(), role: Role::User.to_string(), text: String::new() }
    }

    pub(crate) fn of(fields: &Fields) -> Self {
        let new = Self::new();
        let given = |name: &str, otherwise: String| fields.get(name).map_or(otherwise, str::to_owned);
        // Browsers send a line end as CR LF.
        Self {
            key: given("key", new.key),
            role: given("role", new.role),
            text: given("text", String::new()).replace("\r\n", "\n"),
        }
    }

    /// The draft of a form that failed.
    pub(crate) fn again(mut self, problem: &Problem) -> Self {
        if problem.kind() == "key-reused" {
            self.key = Self::new().key;
        }
        self
    }

    pub(crate) fn append(&self) -> Result<Append, Problem> {
        let role = self.role.parse::<Role>().ok().filter(|role| *role != Role::Tool);
        let role = role.ok_or_else(|| Problem::invalid("invalid role: expected user, assistant or system"))?;
        if self.text.is_empty() {
            return Err(Problem::invalid("empty message: write some text"));
        }
        Ok(Append::new([Message::new(role, self.text.as_str())]).with_key(self.key.as_str()))
    }
}

/// The fields of a form that sends a message.
pub(crate) fn message_fields(draft: &Draft, rows: u8) -> Markup {
    html! {
        input type="hidden" name="key" value=(draft.key);
        label for="text" { "Message" }
        textarea id="text" name="text" dir="auto" rows=(rows) required placeholder="Write a message" { "\n" (draft.text) }
        label.role-label for="role" { "As" }
        select id="role" name="role" {
            @for (role, name) in [("user", "User"), ("assistant", "Assistant"), ("system", "System")] {
                option value=(role) selected[draft.role == role] { (name) }
            }
        }
    }
}

/// Appends a draft once. While the first of two clicks is being processed, the second waits for it.
pub(crate) async fn append(viewer: &Viewer, session: &SessionId, append: Append) -> Result<(), Problem> {
    let mut tries = 0;
    loop {
        match operations::append(&viewer.access, session, append.clone(), Held::default()).await {
            Err(problem) if problem.kind() == "in-flight" && tries < TRIES => tokio::time::sleep(PAUSE).await,
            stored => return stored.map(drop),
        }
        tries += 1;
    }
}

/// Appends a message
pub(crate) async fn send(Session(session): Session, Posted { viewer, fields, .. }: Posted) -> Response {
    let draft = Draft::of(&fields);
    let sent = async { append(&viewer, &session, draft.append()?).await };
    let Err(problem) = sent.await else { return Redirect::to(&session_path(&session, "?done=appended")).into_response() };
    let words = words(&problem);
    let draft = draft.again(&problem);
    let main = html! {
        (crumbs(&session))
        h1 { "Not stored" }
        p.error role="alert" { (words) }
        form.stack method="post" action=(session_path(&session, "/messages")) {
            (token(&viewer))
            (message_fields(&draft, 6))
            p { button.primary type="submit" { "Send again" } " " a.button href=(session_path(&session, "")) { "Back to the session" } }
        }
    };
    answer(problem, Page { title: "Not stored", viewer: Some(&viewer), class: "narrow", main })
}

/// The navigation back from a page about a session.
pub(crate) fn crumbs(session: &SessionId) -> Markup {
    html! { nav.crumbs aria-label="Breadcrumb" { a href="/console" { "Sessions" } " / " a dir="auto" href=(session_path(session, "")) { (session) } } }
}

/// A page that asks for confirmation.
pub(crate) struct Question<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) title: &'a str,
    pub(crate) what: Markup,
    /// Where the confirmation is sent, and with which fields.
    pub(crate) below: &'a str,
    pub(crate) fields: Markup,
    pub(crate) button: &'a str,
}

impl Question<'_> {
    pub(crate) fn page(self, viewer: &Viewer) -> Response {
        let main = html! {
            (crumbs(self.session))
            h1 { (self.title) }
            (self.what)
            form.ask method="post" action=(session_path(self.session, self.below)) {
                (token(viewer))
                (self.fields)
                button.danger type="submit" { (self.button) }
                " "
                a.button href=(session_path(self.session, "")) { "Cancel" }
            }
        };
        Page { title: self.title, viewer: Some(viewer), class: "narrow", main }.into_response()
    }
}

/// What to take back.
#[derive(Debug, Deserialize)]
pub(crate) struct From {
    /// Every record from this number on; without it the last turn.
    from: Option<u64>,
}

/// Asks whether to take back the last turn, or everything from a record on
pub(crate) async fn ask_to_take_back(
    viewer: Viewer,
    Session(session): Session,
    Params(From { from }): Params<From>,
) -> Result<Response, Refused> {
    viewer.must_write()?;
    let problem = |e| viewer.access.problem(&e);
    let load = from.map_or(Load::turns(1), |seq| Load::all().since(seq));
    let history = viewer.access.store.load(&session, &load).await.map_err(problem)?;
    let view = MessageView::new(&session, &viewer);
    let (entries, none) = match from {
        None => (last_turn(&history), "no turn to take back: a turn begins with a user's message".to_owned()),
        Some(seq) => (entries_of(&history), format!("record {seq} is no longer in this session")),
    };
    if entries.is_empty() || from.is_some_and(|seq| history.records.first().is_none_or(|first| first.seq != seq)) {
        return Err(Problem::invalid(none).into());
    }
    let messages = count(entries.iter().filter(|(_, entry)| entry.as_message().is_some()).count(), "message");
    let question = Question {
        session: &session,
        title: if from.is_some() { "Take back from here?" } else { "Take back the last turn?" },
        what: html! {
            p {
                @match from {
                    None => { "This is the turn: " (messages) ". It is hidden at once, for everyone; its record is erased when the session is cleared." }
                    Some(seq) => { "Record " (seq) " and all that follows, " (messages) ", are hidden at once, for everyone; they are erased when the session is cleared." }
                }
            }
            div.turn {
                @for (at, entry) in entries.iter().take(SHOWN) { (view.plain_entry(entry, *at)) }
                @if entries.len() > SHOWN { p.small { "And " (entries.len() - SHOWN) " more." } }
            }
        },
        below: "/rewind",
        fields: html! {
            input type="hidden" name="position" value=(history.position);
            @if let Some(seq) = from { input type="hidden" name="from" value=(seq); }
        },
        button: "Take back",
    };
    Ok(question.page(&viewer))
}

/// Every entry, with its place.
pub(crate) fn entries_of(history: &History) -> Vec<(Place, &Entry)> {
    fn placed(record: &Record) -> impl Iterator<Item = (Place, &Entry)> {
        record.entries.iter().enumerate().map(|(n, entry)| ((record.seq, n), entry))
    }
    history.records.iter().flat_map(placed).collect()
}

/// The last user message without a tool result, and everything after it.
fn last_turn(history: &History) -> Vec<(Place, &Entry)> {
    let mut turn = Vec::new();
    for (at, entry) in entries_of(history).into_iter().rev() {
        turn.insert(0, (at, entry));
        if entry.as_message().is_some_and(Message::begins_turn) {
            return turn;
        }
    }
    Vec::new()
}

/// Takes back what was shown
pub(crate) async fn take_back(Session(session): Session, Posted { viewer, fields, .. }: Posted) -> Result<Redirect, Refused> {
    let shown = fields.get("position").and_then(|position| position.parse().ok());
    let shown = shown.ok_or_else(|| Problem::bad_request("the form does not name a turn; open it again"))?;
    let (back, done) = match fields.get("from").map(str::parse) {
        None => (Back::Turns(1), "?done=taken-back"),
        Some(Ok(seq)) => (Back::To(seq), "?done=taken-back-from"),
        Some(Err(_)) => return Err(Problem::bad_request("the form does not name a record; open it again").into()),
    };
    operations::rewind(&viewer.access, &session, back, Vec::new(), Some(shown), Held::default()).await?;
    Ok(Redirect::to(&session_path(&session, done)))
}

/// Asks whether to clear everything
pub(crate) async fn ask_to_clear(viewer: Viewer, Session(session): Session) -> Result<Response, Refused> {
    viewer.must_write()?;
    let question = Question {
        session: &session,
        title: "Clear this session?",
        what: html! {
            p { "All messages are hidden at once, for everyone, and then erased from the store. This cannot be undone." }
            p { "The session keeps its title and can be continued." }
        },
        below: "/clear",
        fields: html! { input type="hidden" name="key" value=(Draft::new().key); },
        button: "Clear",
    };
    Ok(question.page(&viewer))
}

/// Clears a session
pub(crate) async fn clear(Session(session): Session, Posted { viewer, fields, .. }: Posted) -> Result<Redirect, Refused> {
    let clear = Append::clear().with_key(Draft::of(&fields).key);
    operations::clear(&viewer.access, &session, clear).await?;
    Ok(Redirect::to(&session_path(&session, "?done=cleared")))
}

/// Asks whether to delete a session
pub(crate) async fn ask_to_delete(viewer: Viewer, Session(session): Session) -> Result<Response, Refused> {
    viewer.must_write()?;
    let question = Question {
        session: &session,
        title: "Delete this session?",
        what: html! {
            p { "The session leaves the list and its messages are hidden at once, for everyone; they are then erased from the store. This cannot be undone." }
        },
        below: "/delete",
        fields: html! {},
        button: "Delete",
    };
    Ok(question.page(&viewer))
}

/// Deletes a session
pub(crate) async fn delete(Session(session): Session, Posted { viewer, .. }: Posted) -> Result<Redirect, Refused> {
    operations::delete(&viewer.access, &session).await?;
    Ok(Redirect::to("/console?done=deleted"))
}

/// Sets or removes a session's title
pub(crate) async fn entitle(Session(session): Session, Posted { viewer, fields, .. }: Posted) -> Response {
    let title = fields.get("title").unwrap_or_default().trim();
    let update = SessionUpdate::default().with_title(title.to_owned());
    let Err(problem) = operations::update(&viewer.access, &session, update).await else {
        return Redirect::to(&session_path(&session, "?done=entitled")).into_response();
    };
    let main = html! {
        (crumbs(&session))
        h1 { "Not changed" }
        p.error role="alert" { (words(&problem)) }
        (title_form(&viewer, &session, title))
        p { a.button href=(session_path(&session, "")) { "Back to the session" } }
    };
    answer(problem, Page { title: "Not changed", viewer: Some(&viewer), class: "narrow", main })
}

/// The form that changes a session's title.
pub(crate) fn title_form(viewer: &Viewer, session: &SessionId, title: &str) -> Markup {
    html! {
        form.stack method="post" action=(session_path(session, "/title")) {
            (token(viewer))
            label for="title" { "Title" }
            input id="title" name="title" dir="auto" maxlength="1024" autocomplete="off" value=(title);
            button type="submit" { "Save" }
        }
    }
}

/// Redirects someone who opens the address of a form directly
pub(crate) async fn to_session(Session(session): Session) -> Redirect {
    Redirect::to(&session_path(&session, ""))
}
