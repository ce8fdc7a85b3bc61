//! A record as it is shown: what is known of it, and its messages.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chat_memory::store::Record;
use chat_memory::store::dynamodb::cost_of;
use chat_memory::{Content, Message, Part, Role, SessionId, ToolCall, json};
use maud::{Markup, html};
use serde_json::Value;

use super::markdown::{image, markdown};
use super::page::{count, size};
use super::viewer::Kind;
use crate::api::types::time;

/// How the records of one session are shown.
#[derive(Debug)]
pub(crate) struct Shower {
    session: SessionId,
    kind: Kind,
    /// The tools of the calls seen so far, by the calls' ids: a result names its call only.
    called: Mutex<HashMap<String, String>>,
}

impl Shower {
    pub(crate) fn new(session: &SessionId, kind: Kind) -> Self {
        Self { session: session.clone(), kind, called: Mutex::default() }
    }

    /// A record, as an item of the list.
    pub(crate) fn record(&self, record: &Record) -> Markup {
        let seq = record.seq;
        html! {
            li.record id=(format!("r{seq}")) data-seq=(seq) {
                @match record.rewind {
                    Some(0) => p.mark-back { "Cleared: nothing that came before is shown to anyone any more" },
                    Some(to) => p.mark-back { "Taken back: record " (to) " and what followed it" },
                    None => {}
                }
                (self.line(record))
                @for message in &record.messages { (self.message(message)) }
                @if let Some(metadata) = &record.metadata {
                    (folded("data", html! { "Metadata" }, &pretty(&Value::Object(metadata.clone()))))
                }
            }
        }
    }

    /// What is known of a record beside its messages.
    fn line(&self, record: &Record) -> Markup {
        let cost = cost_of(&self.session, record);
        html! {
            p.line {
                a href=(format!("#r{}", record.seq)) { "Record " (record.seq) }
                @if record.created_at > 0 { (when(record.created_at)) }
                @if let Some(cost) = cost {
                    span title=(self.title_of_cost()) { (count(cost.write_units, "write unit")) }
                    span { (size(cost.bytes)) }
                }
                @if let Some(at) = record.expires_at { span { "expires " (when(at.saturating_mul(1000))) } }
            }
        }
    }

    fn title_of_cost(&self) -> &'static str {
        match self.kind {
            Kind::DynamoDb => "What it took to store it",
            Kind::List => "What it would take in a table of this project's own layout",
            Kind::Memory | Kind::Sqlite => "What it would take on DynamoDB",
        }
    }

    /// A message.
    pub(crate) fn message(&self, message: &Message) -> Markup {
        let (class, role) = match message.role {
            Role::System => ("system", "System"),
            Role::User if message.begins_turn() => ("user", "User"),
            // Anthropic's, Bedrock's and Gemini's forms give tools' results in a user's message.
            Role::User => ("tool", "Tool"),
            Role::Assistant => ("assistant", "Assistant"),
            Role::Tool => return self.result(message),
        };
        let calls = message.tool_calls.iter().map(|call| self.call(call));
        html! {
            article.message.(class) aria-label=(role) {
                p.role { (role) @if let Some(name) = &message.name { " " span.name { (name) } } }
                @if let Some(content) = &message.content { div.text { (self.content(content)) } }
                @else if !message.parts().is_empty() { div.text { @for part in message.parts().iter() { (self::part(part)) } } }
                @for call in calls { (call) }
                (fields(message))
            }
        }
    }

    fn content(&self, content: &Content) -> Markup {
        match content {
            Content::Text(text) if text.trim().is_empty() => html! { p.empty { "(empty)" } },
            Content::Text(text) => markdown(text),
            Content::Parts(parts) => html! { @for part in parts { (self::part(part)) } },
        }
    }

    fn call(&self, call: &ToolCall) -> Markup {
        let name = call.name().unwrap_or("a tool");
        if let Some(id) = call.id() {
            self.called.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), name.to_owned());
        }
        let arguments = match call.arguments() {
            // As the model wrote it where it is no JSON.
            Some(text) => readable(text),
            None => pretty(&Value::Object(call.fields().clone())),
        };
        folded("call", html! { "Calls " code { (name) } }, &arguments)
    }

    fn result(&self, message: &Message) -> Markup {
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let call = message.tool_call_id.as_deref();
        let name = message.name.as_deref().or_else(|| call.and_then(|id| called.get(id)).map(String::as_str)).or(call);
        html! {
            article.message.tool aria-label="Tool" {
                details.data.result {
                    summary { "Result" @if let Some(name) = name { " of " code { (name) } } }
                    @match &message.content {
                        Some(Content::Parts(parts)) => @for part in parts { (self::part(part)) },
                        None if !message.parts().is_empty() => @for part in message.parts().iter() { (self::part(part)) },
                        _ => pre tabindex="0" { (readable(&message.text())) },
                    }
                }
                (fields(message))
            }
        }
    }
}

/// A part of a content: text and images as such, everything else as its JSON.
fn part(part: &Part) -> Markup {
    if let Some(text) = part.as_text() {
        return markdown(text);
    }
    let url = part.fields().get("image_url").and_then(|image| image.get("url").or(Some(image))).and_then(Value::as_str);
    match url.filter(|_| part.kind() == Some("image_url")) {
        Some(url) => html! { p { (image(url, "")) } },
        None => {
            let kind = part.kind().unwrap_or("unknown");
            folded("data", html! { "Part of type " code { (kind) } }, &pretty(&Value::Object(part.fields().clone())))
        }
    }
}

/// What else a message has. Fields that say nothing are left out here; an export has them.
fn fields(message: &Message) -> Markup {
    let mut more = message.extra.clone();
    if message.content.is_none() && !message.parts().is_empty() {
        more.shift_remove("parts");
    }
    more.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    if let Some(id) = &message.id {
        more.insert("id".into(), id.as_str().into());
    }
    if more.is_empty() {
        return html! {};
    }
    folded("data", html! { (count(more.len(), "other field")) }, &pretty(&Value::Object(more)))
}

fn folded(class: &str, summary: Markup, text: &str) -> Markup {
    html! {
        details.data.(class) {
            summary { (summary) }
            pre tabindex="0" { (text) }
        }
    }
}

/// JSON with its lines apart; any other text as it is.
fn readable(text: &str) -> String {
    match json::parse(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => pretty(&value),
        _ => text.to_owned(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A time, in UTC; the script says it in the reader's own zone.
pub(crate) fn when(epoch_ms: i64) -> Markup {
    let Some(at) = time(epoch_ms) else { return html! {} };
    let shown = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at) { (shown) } }
}
