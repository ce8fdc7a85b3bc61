//! Formats a history for people. Everything stored goes through [`visible`]: a model's or a stranger's text must not control the
//! reader's terminal.

use std::fmt::Write as _;

use chat_memory::store::Record;
use chat_memory::wire::openai;
use chat_memory::{Content, Entry, Message, Part, Role, Timestamp, ToolCall};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::escape::{visible, visible_line};

/// Formats a time in UTC as RFC 3339.
pub fn utc_time(at: Timestamp) -> String {
    at.to_string()
}

/// Formats a time for people, with the offset from UTC: `2026-05-04 09:30:00+02:00`. RFC 3339 to the second, with a
/// blank.
pub fn time(at: Timestamp, zone: &TimeZone) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(at.as_millis()) else { return at.to_string() };
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
}

/// The message fields in which OpenAI-compatible endpoints return a model's reasoning: DeepSeek, vLLM and llama.cpp; OpenRouter and
/// Ollama.
pub const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];

/// The style of text.
#[derive(Debug, Clone)]
pub struct Style {
    /// Whether to use colours.
    pub colours: bool,
    /// The time zone in which times are printed.
    pub zone: TimeZone,
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Less important text.
    pub fn faint(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What stands for a whole, such as a session's id above its hits.
    pub fn strong(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// A word that was searched for.
    pub fn found(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// An author's name.
    pub fn author(&self, role: Role, text: &str) -> String {
        let code = match role {
            Role::System => "1;35",
            Role::User => "1;36",
            Role::Assistant => "1;32",
            _ => "1;33",
        };
        self.paint(code, text)
    }

    /// A record: its number, then `entries`, which are all or some of its entries, each with its time. A time that all share is
    /// printed first; an unknown time is omitted.
    pub fn record(&self, record: &Record, entries: &[(&Entry, Option<Timestamp>)]) -> String {
        let first = entries.first().and_then(|(_, at)| *at);
        let is_one = entries.iter().all(|(_, at)| *at == first);
        let at = first.filter(|_| is_one).map_or_else(String::new, |at| format!(" {}", time(at, &self.zone)));
        let mut text = self.faint(&format!("[{}]{at}", record.seq));
        if let Some(metadata) = &record.metadata {
            let metadata = Value::Object(metadata.clone()).to_string();
            let _ = write!(text, " {}", self.faint(&visible_line(&metadata)));
        }
        text.push('\n');
        for (entry, at) in entries {
            let said = self.entry(entry);
            match at.filter(|_| !is_one) {
                // After the author.
                Some(at) => {
                    let (author, rest) = said.split_once('\n').unwrap_or((&said, ""));
                    let _ = write!(text, "{author} {}\n{rest}", self.faint(&time(at, &self.zone)));
                }
                None => text.push_str(&said),
            }
        }
        text.push('\n');
        text
    }

    /// An entry that is not a message: its JSON on one line.
    fn other(&self, entry: &Entry) -> String {
        self.value("entry", &entry.to_json())
    }

    /// A message, or another entry.
    pub fn entry(&self, entry: &Entry) -> String {
        match entry {
            Entry::Message(message) => self.message(message),
            other => self.other(other),
        }
    }

    /// A value that is not a message: its name, and its JSON on one line.
    pub fn value(&self, name: &str, json: &str) -> String {
        let mut text = format!("{}\n", self.faint(&visible_line(name)));
        indent(&mut text, json);
        text
    }

    /// A message: its author, then its content, indented.
    pub fn message(&self, message: &Message) -> String {
        let mut author = self.author(message.role, message.role.as_str());
        if let Some(name) = &message.name {
            let _ = write!(author, " {}", visible_line(name));
        }
        if let Some(call) = &message.tool_call_id {
            let _ = write!(author, " {}", self.faint(&format!("result of {}", visible_line(call))));
        }
        let mut text = format!("{author}\n");
        for reasoning in reasoning_of(message) {
            let mut faint = String::new();
            indent(&mut faint, reasoning);
            faint.lines().for_each(|line| {
                let _ = writeln!(text, "{}", if line.is_empty() { String::new() } else { self.faint(line) });
            });
        }
        match &message.content {
            Some(Content::Text(said)) if message.role == Role::Tool => indent(&mut text, &readable_json(said)),
            Some(Content::Text(said)) => indent(&mut text, said),
            // An item of OpenAI's Responses API has no content: it is shown unchanged.
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

    fn call(&self, call: &ToolCall) -> String {
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

/// A model's reasoning before its answer, from the fields that OpenAI-compatible endpoints use for it.
fn reasoning_of(message: &Message) -> impl Iterator<Item = &str> {
    REASONING.iter().filter_map(|field| message.extra.get(*field)?.as_str()).filter(|text| !text.is_empty()).take(1)
}

/// Formats JSON over several lines; returns other text unchanged.
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

    const PLAIN: Style = Style { colours: false, zone: TimeZone::UTC };

    fn shown(message: serde_json::Value) -> String {
        PLAIN.message(&Message::from_value(message).expect("a message"))
    }

    #[test]
    fn rendered_times_include_the_utc_offset() {
        let zone = TimeZone::fixed(jiff::tz::offset(-3));
        let at = Timestamp::from_millis(1_777_879_800_500);
        assert_eq!(time(at, &zone), "2026-05-04 04:30:00-03:00");
        assert_eq!(time(at, &TimeZone::UTC), "2026-05-04 07:30:00+00:00");
    }

    #[test]
    fn message_text_is_indented() {
        assert_eq!(shown(json!({"role": "user", "name": "Ann", "content": "one\n\ntwo"})), "user Ann\n  one\n\n  two\n");
    }

    #[test]
    fn known_message_times_are_shown() {
        let text = |times: [Option<Timestamp>; 2]| {
            let mut record = Record::new(7, chat_memory::store::AppendId::random(), Timestamp::UNIX_EPOCH)
                .with_entries([Message::user("q"), Message::assistant("a")]);
            record.sent_at = times.to_vec();
            let timed: Vec<_> = record.entries.iter().zip(record.entry_times()).collect();
            PLAIN.record(&record, &timed)
        };
        let each = [1_700_000_000_000, 1_700_000_060_000].map(Timestamp::from_millis);
        let [one, two] = each.map(|at| time(at, &TimeZone::UTC));
        let each = each.map(Some);
        assert_eq!(text([None, None]), "[7]\nuser\n  q\nassistant\n  a\n\n");
        assert_eq!(text([each[0]; 2]), format!("[7] {one}\nuser\n  q\nassistant\n  a\n\n"));
        assert_eq!(text(each), format!("[7]\nuser {one}\n  q\nassistant {two}\n  a\n\n"));
        assert_eq!(text([None, each[1]]), format!("[7]\nuser\n  q\nassistant {two}\n  a\n\n"));
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
    fn content_parts_are_labelled() {
        let parts = json!({"role": "user", "content": [
            {"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_audio", "input_audio": {}}]});
        assert_eq!(
            shown(parts),
            "user\n  Look:\n  [image, 26 bytes in a data: URL]\n  [input_audio] {\"type\":\"input_audio\",\"input_audio\":{}}\n"
        );
    }

    #[test]
    fn control_characters_in_any_field_are_escaped() {
        let evil = "\u{1b}]0;x\u{7}\u{9b}1m\r";
        let message = json!({"role": "assistant", "name": evil, "content": evil, "refusal": evil, "tool_call_id": evil,
            "tool_calls": [{"id": evil, "function": {"name": evil, "arguments": format!("{{\"{}\": 1}}", "\\u001b")}}]});
        let text = shown(message);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
}
