//! A history for reading. Everything stored goes through [`visible`]: the text of a model, or of a stranger, must not
//! steer the reader's terminal.

use std::fmt::Write as _;

use chat_memory::store::Record;
use chat_memory::wire::openai;
use chat_memory::{Content, Message, Part, Role, ToolCall};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::visible::{visible, visible_line};

/// A time in epoch milliseconds, in UTC, as RFC 3339 writes it.
pub fn utc_time(epoch_ms: i64) -> String {
    Timestamp::from_millisecond(epoch_ms).map_or_else(|_| epoch_ms.to_string(), |at| at.to_string())
}

/// A time in epoch milliseconds, where the reader is.
pub fn local_time(epoch_ms: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(epoch_ms) else { return epoch_ms.to_string() };
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How text looks.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether it is coloured.
    pub colours: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// What matters less.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// An author's name.
    pub fn author(self, role: Role, text: &str) -> String {
        let code = match role {
            Role::System => "1;35",
            Role::User => "1;36",
            Role::Assistant => "1;32",
            Role::Tool => "1;33",
        };
        self.paint(code, text)
    }

    /// A record: its number and time, then `messages`, which are all of its messages or the last of them.
    pub fn record(self, record: &Record, messages: &[&Message]) -> String {
        let mut text = self.faint(&format!("[{}] {}", record.seq, local_time(record.created_at)));
        if let Some(metadata) = &record.metadata {
            let metadata = Value::Object(metadata.clone()).to_string();
            let _ = write!(text, " {}", self.faint(&visible_line(&metadata)));
        }
        text.push('\n');
        for message in messages {
            text.push_str(&self.message(message));
        }
        text.push('\n');
        text
    }

    /// A message: its author, then what it says, indented.
    pub fn message(self, message: &Message) -> String {
        let mut author = self.author(message.role, message.role.as_str());
        if let Some(name) = &message.name {
            let _ = write!(author, " {}", visible_line(name));
        }
        if let Some(call) = &message.tool_call_id {
            let _ = write!(author, " {}", self.faint(&format!("result of {}", visible_line(call))));
        }
        let mut text = format!("{author}\n");
        match &message.content {
            Some(Content::Text(said)) if message.role == Role::Tool => indent(&mut text, &readable_json(said)),
            Some(Content::Text(said)) => indent(&mut text, said),
            // An item of OpenAI's Responses API has no content: it is shown as it is.
            None if !message.extra.contains_key("parts") && message.extra.get("type").is_some_and(Value::is_string) => {
                indent(&mut text, &openai::to_value(message).to_string());
            }
            _ => message.parts().iter().for_each(|part| indent(&mut text, &part_text(part))),
        }
        for call in &message.tool_calls {
            indent(&mut text, &self.call(call));
        }
        if let Some(Value::String(refusal)) = message.extra.get("refusal") {
            indent(&mut text, &format!("refused: {refusal}"));
        }
        text
    }

    fn call(self, call: &ToolCall) -> String {
        let Some(name) = call.name() else { return format!("calls {}", Value::Object(call.fields().clone())) };
        let mut text = format!("calls {name}");
        if let Some(id) = call.id() {
            let _ = write!(text, " ({id})");
        }
        match call.arguments().map(|arguments| (arguments, serde_json::from_str(arguments))) {
            None => {}
            Some((_, Ok(Value::Object(arguments)))) => {
                for (name, value) in arguments {
                    let value = match value {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    let _ = write!(text, "\n  {name}: {}", value.replace('\n', "\n    "));
                }
            }
            Some((raw, _)) => {
                let _ = write!(text, "\n  {raw}");
            }
        }
        text
    }
}

/// JSON with its lines broken, other text as it is.
fn readable_json(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => {
            serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned())
        }
        _ => text.to_owned(),
    }
}

fn part_text(part: &Part) -> String {
    if let Some(text) = part.as_text() {
        return text.to_owned();
    }
    let fields = part.fields();
    match (part.kind(), fields.get("image_url").and_then(|image| image.get("url")).and_then(Value::as_str)) {
        (Some("image_url"), Some(url)) if url.starts_with("data:") => format!("[image, {} bytes in a data: URL]", url.len()),
        (Some("image_url"), Some(url)) => format!("[image {url}]"),
        (kind, _) => format!("[{}] {}", kind.unwrap_or("part"), Value::Object(fields.clone())),
    }
}

fn indent(out: &mut String, text: &str) {
    for line in visible(text).split('\n') {
        if !line.is_empty() {
            out.push_str("  ");
            out.push_str(line);
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Style = Style { colours: false };

    fn shown(message: serde_json::Value) -> String {
        PLAIN.message(&Message::from_value(message).expect("a message"))
    }

    #[test]
    fn text_is_indented() {
        assert_eq!(shown(json!({"role": "user", "name": "Ann", "content": "one\n\ntwo"})), "user Ann\n  one\n\n  two\n");
    }

    #[test]
    fn tool_calls_and_results_are_readable() {
        let call = json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{\"city\": \"Paris\", \"n\": 2}"}},
            {"id": "c2", "type": "function", "function": {"name": "odd", "arguments": "not json"}}]});
        assert_eq!(shown(call), "assistant\n  calls find (c1)\n    city: Paris\n    n: 2\n  calls odd (c2)\n    not json\n");
        let result = json!({"role": "tool", "tool_call_id": "c1", "content": "{\"n\":1.50}"});
        assert_eq!(shown(result), "tool result of c1\n  {\n    \"n\": 1.5\n  }\n");
    }

    #[test]
    fn parts_are_named() {
        let parts = json!({"role": "user", "content": [
            {"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_audio", "input_audio": {}}]});
        assert_eq!(
            shown(parts),
            "user\n  Look:\n  [image, 26 bytes in a data: URL]\n  [input_audio] {\"type\":\"input_audio\",\"input_audio\":{}}\n"
        );
    }

    #[test]
    fn no_field_steers_the_terminal() {
        let evil = "\u{1b}]0;x\u{7}\u{9b}1m\r";
        let message = json!({"role": "assistant", "name": evil, "content": evil, "refusal": evil, "tool_call_id": evil,
            "tool_calls": [{"id": evil, "function": {"name": evil, "arguments": format!("{{\"{}\": 1}}", "\\u001b")}}]});
        let text = shown(message);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
}
