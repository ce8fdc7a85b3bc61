//! Converts between adk-rust's events and our messages. One event is one record.
//!
//! The messages carry what every reader understands: texts, images, tool calls and their results. What only an event has (its id,
//! author, actions, usage …) is stored in the field [`FIELD`] of the first message; so is its content, if the messages cannot
//! express all of it.

use adk_core::{Content as Theirs, Event, FunctionResponseData, Part as TheirPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chat_memory::{Content, Message, Part, Role, Timestamp, ToolCall};
use chrono::DateTime;
use serde_json::{Map, Value, json};

/// The message field for what only an event has.
const FIELD: &str = "adk";

/// Converts an event to messages. [`from_messages`] returns an equal event.
///
/// ```
/// use adk_core::{Content, Event};
/// use chat_memory_adk::to_messages;
/// let mut event = Event::new("invocation-1");
/// event.set_content(Content::new("user").with_text("Where to?"));
/// assert_eq!(to_messages(&event)?[0].text(), "Where to?");
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// If the event contains a value that JSON cannot express.
pub fn to_messages(event: &Event) -> Result<Vec<Message>, serde_json::Error> {
    let mut rest = serde_json::to_value(event)?;
    let mut messages = event.content().map(shown).unwrap_or_default();
    if let (Some(content), Some(fields)) = (event.content(), rest.as_object_mut()) {
        let said = content_of(&messages, &content.role);
        // Stored only once if reading the messages restores exactly this content.
        if serde_json::to_value(said)? == serde_json::to_value(content)? {
            fields.insert("content".into(), json!({"role": content.role}));
        }
    }
    if messages.is_empty() {
        messages.push(Message::assistant(""));
    }
    if let Some(first) = messages.first_mut() {
        first.extra.insert(FIELD.into(), rest);
    }
    Ok(messages)
}

/// Converts a record's messages to events: the one that adk-rust wrote, or, for another program's record, one for each message. Its
/// id then says which message of which record it is.
pub fn from_messages(messages: &[Message], seq: u64, created_at: Timestamp) -> Vec<Event> {
    match exact(messages) {
        Some(event) => vec![event],
        None => messages.iter().enumerate().map(|(place, message)| foreign(message, seq, place, created_at)).collect(),
    }
}

fn exact(messages: &[Message]) -> Option<Event> {
    let mut rest = messages.first()?.extra.get(FIELD)?.clone();
    let content = rest.get("content").cloned().unwrap_or_default();
    // If only the role is stored, the messages have the rest.
    if let (Some(role), None) = (content.get("role").and_then(Value::as_str), content.get("parts")) {
        let said = serde_json::to_value(content_of(messages, role)).ok()?;
        rest.as_object_mut()?.insert("content".into(), said);
    }
    serde_json::from_value(rest).ok()
}

fn foreign(message: &Message, seq: u64, place: usize, created_at: Timestamp) -> Event {
    let mut event = Event::with_id(format!("record-{seq}-{place}"), "");
    event.timestamp = DateTime::from_timestamp_millis(created_at.as_millis()).unwrap_or_default();
    let (author, role) = match message.role {
        Role::System => ("system", "system"),
        Role::Tool => ("agent", "function"),
        Role::Assistant => ("agent", "model"),
        _ => ("user", "user"),
    };
    author.clone_into(&mut event.author);
    event.set_content(content_of(std::slice::from_ref(message), role));
    event
}

/// What every reader understands of a content: one message, and one more for each tool result.
fn shown(content: &Theirs) -> Vec<Message> {
    let (mut parts, mut calls, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for part in &content.parts {
        match part {
            TheirPart::Text { text } => parts.push(Part::text(text)),
            TheirPart::InlineData { mime_type, data, .. } if mime_type.starts_with("image/") => {
                parts.push(Part::image_url(format!("data:{mime_type};base64,{}", BASE64.encode(data))));
            }
            TheirPart::FileData { mime_type, file_uri, .. } if mime_type.starts_with("image/") => {
                parts.push(Part::image_url(file_uri));
            }
            TheirPart::FunctionCall { name, args, id, .. } => {
                calls.push(ToolCall::function(id.clone().unwrap_or_default(), name, args.to_string()));
            }
            TheirPart::FunctionResponse { function_response, id, .. } => results.push(result(function_response, id.as_deref())),
            // Thoughts, files, resources: only in the event's own content.
            _ => {}
        }
    }
    let text = match parts.as_slice() {
        [] if !calls.is_empty() => None,
        [part] if part.as_text().is_some() => part.as_text().map(|text| Content::Text(text.to_owned())),
        _ => Some(Content::Parts(parts.clone())),
    };
    let says = text.is_some() && (results.is_empty() || !parts.is_empty());
    let mut messages = Vec::new();
    if says || !calls.is_empty() {
        let mut message = match (content.role.as_str(), text) {
            ("user", Some(text)) => Message::user(text),
            ("system", Some(text)) => Message::system(text),
            (_, Some(text)) => Message::assistant(text),
            (_, None) => Message::tool_calls([]),
        };
        message.tool_calls = calls;
        messages.push(message);
    }
    messages.extend(results);
    messages
}

fn result(result: &FunctionResponseData, id: Option<&str>) -> Message {
    let text = result.response.as_str().map_or_else(|| result.response.to_string(), str::to_owned);
    let mut message = Message::tool(id.unwrap_or_default(), text);
    message.name = Some(result.name.clone());
    if result.response.is_string() {
        // Otherwise text that looks like JSON would be read back as JSON.
        message.extra.insert("adk_text".into(), true.into());
    }
    message
}

/// The content of messages, as far as they express it.
fn content_of(messages: &[Message], role: &str) -> Theirs {
    let mut content = Theirs::new(role);
    for message in messages {
        if message.role == Role::Tool {
            content.parts.push(response(message));
            continue;
        }
        match &message.content {
            Some(Content::Text(text)) => content.parts.push(TheirPart::Text { text: text.clone() }),
            Some(Content::Parts(parts)) => content.parts.extend(parts.iter().map(part)),
            _ => {}
        }
        content.parts.extend(message.tool_calls.iter().map(call));
    }
    content
}

fn call(call: &ToolCall) -> TheirPart {
    let text = call.arguments().unwrap_or("{}");
    // Text that is not JSON is the model's mistake; it is passed on unchanged.
    let args = chat_memory::json::parse(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let id = call.id().filter(|id| !id.is_empty()).map(str::to_owned);
    TheirPart::FunctionCall { name: call.name().unwrap_or_default().to_owned(), args, id, thought_signature: None }
}

fn response(message: &Message) -> TheirPart {
    let text = message.text();
    let is_text = message.extra.contains_key("adk_text");
    let value = (!is_text).then(|| chat_memory::json::parse(&text).ok()).flatten();
    let data = FunctionResponseData::new(message.name.clone().unwrap_or_default(), value.unwrap_or(Value::String(text)));
    let id = message.tool_call_id.clone().filter(|id| !id.is_empty());
    TheirPart::FunctionResponse { function_response: data, id, annotations: None }
}

fn part(part: &Part) -> TheirPart {
    if let Some(text) = part.as_text() {
        return TheirPart::Text { text: text.to_owned() };
    }
    let url = part.fields().get("image_url").and_then(|image| image.get("url")?.as_str());
    match (url, url.and_then(data_url)) {
        (_, Some((mime_type, data))) => TheirPart::InlineData { mime_type, data, uri: None, annotations: None },
        (Some(url), None) => TheirPart::FileData { mime_type: "image/*".into(), file_uri: url.to_owned(), annotations: None },
        (None, None) => TheirPart::Text { text: Value::Object(Map::clone(part.fields())).to_string() },
    }
}

fn data_url(url: &str) -> Option<(String, Vec<u8>)> {
    let (mime_type, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some((mime_type.to_owned(), BASE64.decode(data).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(content: Option<Theirs>) -> Event {
        let mut event = Event::new("invocation");
        event.author = "agent".into();
        event.actions.state_delta.insert("key".into(), json!({"deep": [1, 1.0, null]}));
        event.llm_response.content = content;
        event
    }

    fn call(args: Value, id: Option<&str>, signature: Option<&str>) -> TheirPart {
        let (id, thought_signature) = (id.map(str::to_owned), signature.map(str::to_owned));
        TheirPart::FunctionCall { name: "f".into(), args, id, thought_signature }
    }

    fn response(response: Value) -> TheirPart {
        let function_response = FunctionResponseData::new("f", response);
        TheirPart::FunctionResponse { function_response, id: Some("c1".into()), annotations: None }
    }

    #[test]
    fn every_event_round_trips() {
        let text = |text: &str| TheirPart::Text { text: text.into() };
        let image = TheirPart::InlineData { mime_type: "image/png".into(), data: vec![0, 255, 7], uri: None, annotations: None };
        let sound = TheirPart::InlineData { mime_type: "audio/wav".into(), data: vec![1], uri: None, annotations: None };
        let thought = TheirPart::Thinking { thinking: "Hm.".into(), signature: Some("s".into()) };
        let contents = [
            vec![],
            vec![text("Hello \u{0} 🦀")],
            vec![text("a"), text("b")],
            vec![text(""), image.clone()],
            vec![sound],
            vec![thought, text("So."), call(json!({"a": 1.0, "b": [9_007_199_254_740_993_u64]}), Some("c1"), None)],
            vec![call(json!({}), None, None)],
            vec![call(json!("text"), Some("c1"), Some("signature"))],
            vec![response(json!({"celsius": 21.5}))],
            vec![response(json!("21")), response(json!("plain"))],
            vec![response(json!(null)), text("and text")],
        ];
        for role in ["user", "model", "function", "odd"] {
            for parts in &contents {
                let event = event(Some(Theirs { role: role.into(), parts: parts.clone() }));
                check(&event);
            }
        }
        check(&event(None));
    }

    fn check(event: &Event) {
        let messages = to_messages(event).expect("messages");
        let stored: Vec<_> = messages
            .iter()
            .map(|message| {
                message.check().expect("it can be stored");
                Message::from_json(&message.to_value().to_string()).expect("it can be read")
            })
            .collect();
        let read = from_messages(&stored, 0, Timestamp::UNIX_EPOCH);
        assert_eq!(serde_json::to_value(&read).expect("JSON"), json!([event]));
    }

    #[test]
    fn message_text_is_stored_only_once() {
        let text = "x".repeat(1000);
        let event = event(Some(Theirs::new("model").with_text(text)));
        let stored = to_messages(&event).expect("messages")[0].to_value().to_string();
        assert!(stored.len() < 1600, "{}", stored.len());
    }

    /// `testdata/adk.json`: what the Python package `chat_memory.adk` and this crate store, and how each reads what the other wrote. The
    /// Python package tests the same cases from its side.
    #[test]
    fn events_of_the_python_package_are_read_and_written_alike() {
        let cases: Value = serde_json::from_str(include_str!("../../../testdata/adk.json")).expect("JSON");
        let event = |event: &Value| serde_json::from_value::<Event>(event.clone()).expect("an event");
        let json = |event: &Event| serde_json::to_value(event).expect("JSON");
        for case in cases["python"].as_array().expect("a list") {
            let messages = case["messages"].as_array().expect("a list").iter();
            let messages: Vec<_> = messages.map(|one| Message::from_json(&one.to_string()).expect("a message")).collect();
            let [read] = from_messages(&messages, 0, Timestamp::UNIX_EPOCH).try_into().expect("one event");
            assert_eq!(json(&read), json(&event(&case["rust"])), "{}", case["name"]);
        }
        for case in cases["rust"].as_array().expect("a list") {
            let messages = to_messages(&event(&case["event"])).expect("messages");
            let messages: Vec<_> = messages.iter().map(Message::to_value).collect();
            assert_eq!(&json!(messages), &case["messages"], "{}", case["name"]);
        }
    }

    #[test]
    fn foreign_messages_become_one_event_each() {
        let calls =
            [ToolCall::function("c1", "weather", r#"{"city": "Paris"}"#), ToolCall::function("c2", "weather", "not JSON")];
        let events = from_messages(&[Message::tool_calls(calls), Message::tool("c1", "21 °C")], 7, Timestamp::from_secs(1));
        let [calls, result] = events.as_slice() else { panic!("an event for each message: {events:?}") };
        assert_eq!((calls.id.as_str(), calls.author.as_str(), calls.timestamp.timestamp()), ("record-7-0", "agent", 1));
        assert_eq!(calls.tool_calls().len(), 2);
        assert_eq!(calls.tool_calls()[0].args, &json!({"city": "Paris"}));
        assert_eq!(result.tool_results()[0].response, &json!("21 °C"));
    }
}
