//! A record as shown: its details, and its messages.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderName, HeaderValue, header};
use chat_memory::store::dynamodb::cost_of;
use chat_memory::store::{Load, REDACTED, Record};
use chat_memory::wire::langchain;
use chat_memory::{ChatStore as _, Content, Entry, Message, Part, Role, SessionId, Timestamp, ToolCall, json};
use maud::{Markup, html};
use serde_json::Value;

use super::code::Budget;
use super::edit::is_editable;
use super::markdown::{image, markdown};
use super::page::{Refused, count, session_path, size};
use super::place::{address_of, older_than};
use super::viewer::{Kind, Viewer};
use crate::extract::{SessionMessage, SessionRecord};
use crate::problem::Problem;

/// The longest text shown completely, in bytes; browsers take seconds to lay out millions.
const LONGEST: usize = 64 * 1024;

/// How much of a longer text is shown, in bytes.
const HEAD: usize = 16 * 1024;

/// The fields in which OpenAI-compatible endpoints return a model's reasoning.
const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];

/// A message's place: its record's number, and its index in the record.
pub(crate) type Place = (u64, usize);

/// Where the whole of a shortened text is.
#[derive(Debug)]
enum Whole {
    /// Below the session's page.
    Session(SessionId),
    /// At this address.
    At(String),
}

/// How to show the records of a session, or the messages of a thread.
#[derive(Debug)]
pub(crate) struct MessageView {
    whole: Whole,
    kind: Kind,
    /// Whether to offer what changes the session.
    may_write: bool,
    /// Whether a user's message may come before what is shown next: only then an answer can be regenerated.
    asked: AtomicBool,
    /// The tools of the calls so far, by call id: a result names only its call.
    called: Mutex<HashMap<String, String>>,
    /// How much code may still be coloured.
    budget: Budget,
}

impl MessageView {
    pub(crate) fn new(session: &SessionId, viewer: &Viewer) -> Self {
        Self {
            whole: Whole::Session(session.clone()),
            kind: viewer.kind(),
            may_write: viewer.may_write(),
            asked: AtomicBool::new(true),
            called: Mutex::default(),
            budget: Budget::default(),
        }
    }

    /// The same, for records that nothing comes before.
    pub(crate) fn starting_the_session(self) -> Self {
        Self { asked: AtomicBool::new(false), ..self }
    }

    /// Shows messages of a thread, whose state is at this address.
    pub(crate) fn of_thread(address: String) -> Self {
        Self {
            whole: Whole::At(address),
            kind: Kind::Other,
            may_write: false,
            asked: AtomicBool::new(false),
            called: Mutex::default(),
            budget: Budget::default(),
        }
    }

    /// A record that is sent on its own, as an item of the list.
    pub(crate) fn single_record(&self, record: &Record) -> Markup {
        self.budget.renew();
        self.record(record)
    }

    /// A record, as an item of the list.
    pub(crate) fn record(&self, record: &Record) -> Markup {
        let seq = record.seq;
        html! {
            li.record id=(format!("r{seq}")) data-seq=(seq) {
                @match record.rewind {
                    Some(0) => p.mark-back { "Cleared: all earlier messages are hidden" },
                    Some(to) => p.mark-back { "Taken back: record " (to) " and what followed it" },
                    None => {}
                }
                (self.line(record))
                @for (n, entry) in record.entries.iter().enumerate() { (self.entry(entry, (seq, n))) }
                @if let Some(metadata) = &record.metadata {
                    (folded("data", html! { "Metadata" }, self.pre(&pretty(&Value::Object(metadata.clone())), seq)))
                }
            }
        }
    }

    /// What is known about a record in addition to its messages.
    fn line(&self, record: &Record) -> Markup {
        let cost = if let Whole::Session(session) = &self.whole { cost_of(session, record) } else { None };
        html! {
            p.line {
                @match &self.whole {
                    Whole::Session(session) => a href=(address_of(session, record.seq)) title="Permanent link" { "Record " (record.seq) },
                    Whole::At(_) => a href=(format!("#r{}", record.seq)) { "Record " (record.seq) },
                }
                @if let Some(at) = record.created_at.known() { (when(at)) }
                @if let Some(cost) = cost {
                    span title=(self.title_of_cost()) { (count(cost.write_units, "write unit")) }
                    span { (size(cost.bytes)) }
                }
                @if let Some(at) = record.expires_at { span { "expires " (when(at)) } }
                @if let Whole::Session(session) = &self.whole {
                    a href=(session_path(session, &format!("/records/{}", record.seq))) aria-label=(format!("JSON of record {}", record.seq)) { "JSON" }
                    // A rewind or a clear without messages has nothing to copy, to take back or to redact.
                    @if self.may_write && !record.entries.is_empty() {
                        a.act href=(session_path(session, &format!("/fork?seq={}", record.seq))) aria-label=(format!("Fork at record {}", record.seq)) { "Fork…" }
                        a.act href=(session_path(session, &format!("/rewind?from={}", record.seq))) aria-label=(format!("Take back from here, record {}", record.seq)) { "Take back from here…" }
                        a.act href=(session_path(session, &format!("/redact?seq={}", record.seq))) aria-label=(format!("Redact record {}", record.seq)) { "Redact…" }
                    }
                }
            }
        }
    }

    fn title_of_cost(&self) -> &'static str {
        match self.kind {
            Kind::DynamoDb => "Cost of storing it",
            Kind::List => "Cost in a table of the turns layout",
            Kind::Memory | Kind::Sqlite | Kind::Other => "Cost on DynamoDB",
        }
    }

    /// An entry without what changes it.
    pub(crate) fn plain_entry(&self, entry: &Entry, at: Place) -> Markup {
        match entry {
            Entry::Message(message) => self.message(message, at, false),
            other => self.entry(other, at),
        }
    }

    /// An entry: a message, or any other as JSON.
    pub(crate) fn entry(&self, entry: &Entry, at: Place) -> Markup {
        match entry {
            Entry::Message(message) => self.message(message, at, self.may_write),
            other => {
                let kind = html! { @if let Some(kind) = other.kind() { "Entry of type " code { (kind) } } @else { "Entry without a type" } };
                folded("entry", kind, self.pre(&pretty(&other.to_value()), at.0))
            }
        }
    }

    /// A message, with what changes it if `may_change`.
    fn message(&self, message: &Message, at: Place, may_change: bool) -> Markup {
        if message.begins_turn() {
            self.asked.store(true, Ordering::Relaxed);
        }
        let (class, role) = match message.role {
            Role::System => ("system", "System"),
            Role::User if message.begins_turn() => ("user", "User"),
            Role::Assistant => ("assistant", "Assistant"),
            Role::Tool => return self.result(message, at),
            // The Anthropic, Bedrock and Gemini formats put tool results into a user message.
            _ => ("tool", "Tool"),
        };
        let calls = message.tool_calls.iter().map(|call| self.call(call, at.0));
        html! {
            article.message.(class) aria-label=(role) {
                p.role {
                    (role) @if let Some(name) = &message.name { " " span.name dir="auto" { (name) } }
                    @if let Some(at) = message.redacted_at().and_then(time_of) { " " span.small { "redacted " (when(at)) } }
                    (self.plain_link(message, at))
                    @if may_change { (self.changes(message, at)) }
                }
                @for text in REASONING.iter().filter_map(|field| message.extra.get(*field)?.as_str()).take(1) {
                    (folded("reasoning", html! { "Reasoning" }, self.pre(text, at.0)))
                }
                @if let Some(content) = &message.content { div.text dir="auto" { (self.content(content, at)) } }
                @else if !message.parts().is_empty() {
                    div.text dir="auto" { @for part in message.parts().iter() { (self.part(part, at)) } }
                }
                @for call in calls { (call) }
                (self.fields(message, at.0))
            }
        }
    }

    /// The link to a message's text; the script copies the text instead of opening it.
    fn plain_link(&self, message: &Message, (seq, n): Place) -> Markup {
        let Whole::Session(session) = &self.whole else { return html! {} };
        html! {
            @if !message.text().is_empty() {
                " " a.copy href=(session_path(session, &format!("/records/{seq}/messages/{n}"))) aria-label=(format!("Text {n} of record {seq}")) { "Text" }
            }
        }
    }

    /// The links that edit a user's message, or take back an answer.
    fn changes(&self, message: &Message, (seq, n): Place) -> Markup {
        let Whole::Session(session) = &self.whole else { return html! {} };
        let address = |below: &str| session_path(session, &format!("/{below}?seq={seq}&n={n}"));
        let asked = self.asked.load(Ordering::Relaxed);
        match message.role {
            Role::User if is_editable(message) => html! {
                " " a.act href=(address("edit")) aria-label=(format!("Edit text {n} of record {seq}")) { "Edit…" }
            },
            Role::Assistant if message.tool_calls.is_empty() => html! {
                " " a.act href=(address("regenerate")) aria-label=(format!("Regenerate answer {n} of record {seq}")) data-needs="turn" hidden[!asked] { "Regenerate…" }
            },
            _ => html! {},
        }
    }

    fn content(&self, content: &Content, at: Place) -> Markup {
        match content {
            Content::Text(text) if text.trim().is_empty() => html! { p.empty { "(empty)" } },
            Content::Text(text) => self.text(text, at),
            Content::Parts(parts) => html! { @for part in parts { (self.part(part, at)) } },
            _ => html! {},
        }
    }

    /// Renders a text as Markdown; of a long one only the head, verbatim.
    fn text(&self, text: &str, at: Place) -> Markup {
        let (seq, n) = at;
        match head(text) {
            None => markdown(text, &self.budget),
            Some(head) => html! {
                pre.text tabindex="0" dir="auto" { (head) "…" }
                (self.rest(text, head, &format!("/records/{seq}/messages/{n}")))
            },
        }
    }

    /// Renders a value as JSON.
    pub(crate) fn json(&self, value: &Value) -> Markup {
        self.pre(&pretty(value), 0)
    }

    /// Renders a text verbatim, or its head with a link to the whole record.
    fn pre(&self, text: &str, seq: u64) -> Markup {
        match head(text) {
            None => html! { pre tabindex="0" dir="auto" { (text) } },
            Some(head) => html! {
                pre tabindex="0" dir="auto" { (head) "…" }
                (self.rest(text, head, &format!("/records/{seq}")))
            },
        }
    }

    /// The note below the head of a text.
    fn rest(&self, text: &str, head: &str, below: &str) -> Markup {
        let whole = match &self.whole {
            Whole::Session(session) => session_path(session, below),
            Whole::At(address) => address.clone(),
        };
        html! {
            p.small { "The first " (size(head.len())) " of " (size(text.len())) ". " a href=(whole) { "Show all of it" } }
        }
    }

    fn call(&self, call: &ToolCall, seq: u64) -> Markup {
        let name = call.name().unwrap_or("a tool");
        if let Some(id) = call.id() {
            self.called.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), name.to_owned());
        }
        let arguments = match call.arguments() {
            // As the model wrote it, if it is not JSON.
            Some(text) => readable(text),
            None => pretty(&Value::Object(call.fields().clone())),
        };
        let id = call.id().filter(|id| *id != name);
        folded(
            "call",
            html! { "Calls " code { (name) } @if let Some(id) = id { " " code.id { (id) } } },
            self.pre(&arguments, seq),
        )
    }

    fn result(&self, message: &Message, at: Place) -> Markup {
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let call = message.tool_call_id.as_deref();
        let name = message.name.as_deref().or_else(|| call.and_then(|id| called.get(id)).map(String::as_str)).or(call);
        html! {
            article.message.tool aria-label="Tool" {
                details.data.result {
                    summary {
                        "Result" @if let Some(name) = name { " of " code { (name) } }
                        @if let Some(id) = call.filter(|id| Some(*id) != name) { " " code.id { (id) } }
                    }
                    @match &message.content {
                        Some(Content::Parts(parts)) => @for part in parts { (self.part(part, at)) },
                        None if !message.parts().is_empty() => @for part in message.parts().iter() { (self.part(part, at)) },
                        _ => (self.pre(&readable(&message.text()), at.0)),
                    }
                }
                (self.fields(message, at.0))
            }
        }
    }

    /// A part of a content: text and images as such, everything else as JSON.
    fn part(&self, part: &Part, at: Place) -> Markup {
        if let Some(text) = part.as_text() {
            return self.text(text, at);
        }
        match image_of(part) {
            Some(url) => html! { p { (image(&url, "")) } },
            None => {
                let kind = part.kind().unwrap_or("unknown");
                let fields = pretty(&Value::Object(part.fields().clone()));
                folded("data", html! { "Part of type " code { (kind) } }, self.pre(&fields, at.0))
            }
        }
    }

    /// A message's other fields. Empty ones are omitted here; an export has them.
    fn fields(&self, message: &Message, seq: u64) -> Markup {
        let mut more = message.extra.clone();
        if message.content.is_none() && !message.parts().is_empty() {
            more.shift_remove("parts");
        }
        if message.redacted_at().is_some() {
            more.shift_remove(REDACTED);
        }
        more.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        if let Some(field) = REASONING.iter().find(|field| more.get(**field).is_some_and(Value::is_string)) {
            more.shift_remove(*field);
        }
        // LangGraph gives every message an id, and LangChain's form always differs in something; the whole state shows both.
        if matches!(self.whole, Whole::At(_)) {
            more.shift_remove(langchain::EXTRAS_KEY);
        } else if let Some(id) = &message.id {
            more.insert("id".into(), id.as_str().into());
        }
        if more.is_empty() {
            return html! {};
        }
        folded("data", html! { (count(more.len(), "other field")) }, self.pre(&pretty(&Value::Object(more)), seq))
    }
}

/// A time as a redacted message has it.
fn time_of(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp::from_millis(at.as_millisecond()))
}

/// The URL of an image: `image_url` as OpenAI's APIs have it, or the data of Anthropic's.
fn image_of(part: &Part) -> Option<Cow<'_, str>> {
    let fields = part.fields();
    match part.kind()? {
        "image_url" | "input_image" => {
            let image = fields.get("image_url")?;
            image.get("url").unwrap_or(image).as_str().map(Cow::Borrowed)
        }
        "image" => {
            let source = fields.get("source")?;
            let text = |name: &str| source.get(name).and_then(Value::as_str);
            match text("type")? {
                "base64" => Some(format!("data:{};base64,{}", text("media_type")?, text("data")?).into()),
                "url" => text("url").map(Cow::Borrowed),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The head of a text that is too long for a page; `None` for a shorter one.
fn head(text: &str) -> Option<&str> {
    (text.len() > LONGEST).then(|| &text[..text.floor_char_boundary(HEAD)])
}

pub(crate) fn folded(class: &str, summary: Markup, text: Markup) -> Markup {
    html! {
        details.data.(class) {
            summary { (summary) }
            (text)
        }
    }
}

/// Finds a visible record of a session by its number.
async fn find(viewer: &Viewer, session: &SessionId, seq: u64) -> Result<Record, Refused> {
    let problem = |e| viewer.access.problem(&e);
    let load = Load::records(1).before(older_than(seq.saturating_add(1)));
    let history = viewer.access.store.load(session, &load).await.map_err(problem)?;
    let found = history.records.into_iter().find(|record| record.seq == seq);
    found.ok_or_else(|| Problem::not_found(format!("record {seq} is no longer in this session")).into())
}

/// The complete text of a shortened one: as plain text, so that no browser interprets it.
pub(crate) type Plain = ([(HeaderName, HeaderValue); 1], String);

pub(crate) fn plain(text: String) -> Plain {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], text)
}

/// All of a record, as JSON
pub(crate) async fn record(viewer: Viewer, SessionRecord { session, seq }: SessionRecord) -> Result<Plain, Refused> {
    let record = find(&viewer, &session, seq).await?;
    let messages: Vec<Value> = record.entries.iter().map(Entry::to_value).collect();
    Ok(plain(pretty(&serde_json::json!({ "seq": seq, "metadata": record.metadata, "messages": messages }))))
}

/// The text of a message
pub(crate) async fn text(viewer: Viewer, SessionMessage { session, seq, n }: SessionMessage) -> Result<Plain, Refused> {
    let record = find(&viewer, &session, seq).await?;
    let missing = || Problem::not_found(format!("record {seq} has no message {n}"));
    Ok(plain(record.entries.get(n).and_then(Entry::as_message).ok_or_else(missing)?.text()))
}

/// Formats JSON over several lines; leaves any other text, and shortened text, unchanged.
fn readable(text: &str) -> String {
    if head(text).is_some() {
        return text.to_owned();
    }
    match json::parse(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => pretty(&value),
        _ => text.to_owned(),
    }
}

pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A time, in UTC; the script converts it to the reader's time zone.
pub(crate) fn when(at: Timestamp) -> Markup {
    let Ok(at) = jiff::Timestamp::from_millisecond(at.as_millis()) else { return html! {} };
    let shown = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at) { (shown) } }
}
