//! Converts rig's messages to `chat-memory`'s, and back.
//!
//! They are taken as JSON, which is the same in rig 0.44 and 0.46, so that crates for either share this. One message of rig's may
//! become several here: each tool result is a message of its own, as model providers expect it. What only rig's message has
//! (reasoning, origin, local ids …) is stored alongside the readable part.
//!
//! ```
//! use chat_memory_rig_form::{from_messages, to_messages};
//! let rig = serde_json::json!({"role": "user", "content": [{"type": "text", "text": "Where to?"}]});
//! let messages = to_messages(&rig);
//! assert_eq!(messages[0].text(), "Where to?");
//! assert_eq!(from_messages(&messages), [rig]);
//! ```

use std::collections::HashMap;

use chat_memory::{Content, Message, Part, Role, ToolCall};
use serde_json::{Map, Value, json};

/// The message field with what only rig's message has: everything but its content, or all of it if the content too has more.
pub const EXACT: &str = "rig";

/// The field of a message that is the rest of rig's message before it.
pub const MORE: &str = "rig_more";

/// Converts rig's message to at least one message. [`from_messages`] returns an equal one.
pub fn to_messages(rig: &Value) -> Vec<Message> {
    let mut messages = shown(rig);
    if messages.is_empty() {
        let role = if rig["role"] == "assistant" { Role::Assistant } else { Role::User };
        messages.push(Message::new(role, ""));
    }
    let plain = visible(&messages);
    if plain != std::slice::from_ref(rig) {
        let mut exact = rig.clone();
        if let (Some(fields), [plain]) = (exact.as_object_mut(), plain.as_slice())
            && plain["content"] == rig["content"]
        {
            // Not stored twice.
            fields.shift_remove("content");
        }
        if let Some(first) = messages.first_mut() {
            first.extra.insert(EXACT.into(), exact);
        }
        for more in messages.iter_mut().skip(1) {
            more.extra.insert(MORE.into(), true.into());
        }
    }
    messages
}

/// rig's messages, as JSON. Other programs' messages are converted as far as rig's format can hold them.
pub fn from_messages(messages: &[Message]) -> Vec<Value> {
    let (mut all, mut plain) = (Vec::new(), Vec::new());
    let mut rest = messages;
    while let Some((message, after)) = rest.split_first() {
        rest = after;
        match message.extra.get(EXACT) {
            Some(exact) => {
                all.append(&mut visible(&plain));
                plain.clear();
                let more = rest.iter().take_while(|message| message.extra.contains_key(MORE)).count();
                let group: Vec<Message> = std::iter::once(message).chain(&rest[..more]).cloned().collect();
                rest = &rest[more..];
                all.push(completed(exact.clone(), &group));
            }
            None => plain.push(message.clone()),
        }
    }
    all.append(&mut visible(&plain));
    all
}

/// rig's message from what was stored alongside these, and from their content if that was not stored.
fn completed(mut exact: Value, group: &[Message]) -> Value {
    if let (Some(fields), Some(first)) = (exact.as_object_mut(), visible(group).first_mut())
        && !fields.contains_key("content")
    {
        fields.insert("content".into(), first["content"].take());
    }
    exact
}

/// What every reader understands of rig's message.
pub fn shown(rig: &Value) -> Vec<Message> {
    let Some(blocks) = rig["content"].as_array() else {
        return rig["content"].as_str().map(Message::system).into_iter().collect();
    };
    let (mut parts, mut calls, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for block in blocks {
        match block["type"].as_str() {
            Some("text") => parts.push(Part::text(block["text"].as_str().unwrap_or_default())),
            Some("image") => parts.extend(image_url(block).map(Part::image_url)),
            Some("toolcall") => {
                let function = &block["function"];
                let invalid = function["invalid_arguments"].as_str().map(str::to_owned);
                let arguments = invalid.unwrap_or_else(|| function["arguments"].to_string());
                calls.push(ToolCall::function(call_id(&block["id"]), function["name"].as_str().unwrap_or_default(), arguments));
            }
            Some("toolresult") => messages.push(result(block)),
            // Reasoning, sounds, documents: only in rig's whole message.
            _ => {}
        }
    }
    let content = match parts.as_slice() {
        [] => None,
        [part] if part.as_text().is_some() => part.as_text().map(|text| Content::Text(text.to_owned())),
        _ => Some(Content::Parts(parts)),
    };
    let said = match (rig["role"] == "assistant", content) {
        (true, None) if !calls.is_empty() => Some(Message::tool_calls(calls)),
        (true, Some(content)) => Some(Message::assistant(content).with_tool_calls(calls)),
        (false, Some(content)) => Some(Message::user(content)),
        _ => None,
    };
    messages.extend(said);
    messages
}

fn result(block: &Value) -> Message {
    let texts = block["content"].as_array().into_iter().flatten().map(|part| match part["type"].as_str() {
        Some("text") => part["text"].as_str().unwrap_or_default().to_owned(),
        Some("json") => part["value"].to_string(),
        _ => image_url(part).unwrap_or_default(),
    });
    let mut message = Message::tool(call_id(&block["call"]), texts.collect::<Vec<_>>().join("\n"));
    message.name = block["name"].as_str().map(str::to_owned);
    message
}

/// The id: the provider's, or one that rig made if the provider gave none.
fn call_id(id: &Value) -> String {
    ["provider", "local"]
        .iter()
        .find_map(|kind| id.get(*kind))
        .map_or_else(String::new, |id| id.as_str().map_or_else(|| id.to_string(), str::to_owned))
}

fn image_url(block: &Value) -> Option<String> {
    let value = block["data"]["value"].as_str()?;
    match block["data"]["type"].as_str()? {
        "url" => Some(value.to_owned()),
        "base64" => {
            let kind = block["media_type"].as_str().unwrap_or("png");
            Some(format!("data:image/{kind};base64,{value}"))
        }
        _ => None,
    }
}

/// Converts these to rig's messages, without looking for whole ones.
fn visible(messages: &[Message]) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    // rig needs the tool's name with its result; others leave it to the call.
    let mut names: HashMap<&str, &str> = HashMap::new();
    for message in messages {
        names.extend(message.tool_calls.iter().filter_map(|call| Some((call.id()?, call.name()?))));
        let value = match message.role {
            Role::System => json!({"role": "system", "content": message.text()}),
            Role::Assistant => json!({"role": "assistant", "content": blocks(message)}),
            Role::Tool => {
                let result = tool_result(message, &names);
                // The results of one message's calls are one message in rig.
                let last = all.last_mut().filter(|last| last["content"][0]["type"] == "toolresult");
                if let Some(content) = last.and_then(|last| last["content"].as_array_mut()) {
                    content.push(result);
                    continue;
                }
                json!({"role": "user", "content": [result]})
            }
            _ => json!({"role": "user", "content": blocks(message)}),
        };
        all.push(value);
    }
    all
}

fn tool_result(message: &Message, names: &HashMap<&str, &str>) -> Value {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let name = message.name.as_deref().or_else(|| names.get(id).copied()).filter(|name| !name.is_empty()).unwrap_or("tool");
    let text = json!({"type": "text", "text": message.text()});
    json!({"type": "toolresult", "call": {"provider": id}, "name": name, "content": [text]})
}

fn blocks(message: &Message) -> Value {
    let mut blocks = match &message.content {
        Some(Content::Text(text)) => vec![json!({"type": "text", "text": text})],
        Some(Content::Parts(parts)) => parts.iter().map(block).collect(),
        _ => Vec::new(),
    };
    blocks.extend(message.tool_calls.iter().map(|call| {
        let text = call.arguments().unwrap_or("{}");
        let arguments = chat_memory::json::parse(text).ok().filter(Value::is_object);
        let mut function = json!({"name": call.name().filter(|name| !name.is_empty()).unwrap_or("tool")});
        if arguments.is_none() {
            function["invalid_arguments"] = text.into();
        }
        function["arguments"] = arguments.unwrap_or_else(|| json!({}));
        json!({"type": "toolcall", "id": {"provider": call.id().unwrap_or_default()}, "function": function})
    }));
    Value::Array(blocks)
}

fn block(part: &Part) -> Value {
    let url = part.fields().get("image_url").and_then(|image| image.get("url")?.as_str());
    match (part.as_text(), url) {
        (Some(text), _) => json!({"type": "text", "text": text}),
        (None, Some(url)) => image(url),
        // What rig has no block for is passed on as its JSON.
        (None, None) => json!({"type": "text", "text": Value::Object(Map::clone(part.fields())).to_string()}),
    }
}

fn image(url: &str) -> Value {
    let inline = url.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"));
    let known = ["jpeg", "png", "gif", "webp", "heic", "heif", "svg"];
    match inline {
        Some((kind, data)) if known.contains(&kind) => {
            json!({"type": "image", "data": {"type": "base64", "value": data}, "media_type": kind})
        }
        _ => json!({"type": "image", "data": {"type": "url", "value": url}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rig_form_round_trips_and_keeps_only_unusual_messages_whole() {
        let result = |text: &str| json!({"type": "toolresult", "call": {"provider": "c1"}, "name": "f", "content": [{"type": "text", "text": text}]});
        let call = json!({"type": "toolcall", "id": {"provider": "c1"}, "function": {"name": "f", "arguments": {"a": 1.0}}});
        let local = json!({"type": "toolcall", "id": {"local": 7}, "function": {"name": "f", "arguments": {}}});
        let image = json!({"type": "image", "data": {"type": "base64", "value": "AA=="}, "media_type": "png"});
        let text = |text: &str| json!({"type": "text", "text": text});
        let cases = [
            (false, json!({"role": "system", "content": "Be brief."})),
            (false, json!({"role": "user", "content": [text("Hello \u{0} 🦀")]})),
            (false, json!({"role": "user", "content": [text("What is it?"), image]})),
            (false, json!({"role": "user", "content": [result("21"), result("22")]})),
            (true, json!({"role": "user", "content": [result("21"), text("and?")]})),
            (true, json!({"role": "user", "content": []})),
            (false, json!({"role": "assistant", "content": [text("Let me see."), call]})),
            (false, json!({"role": "assistant", "content": [call]})),
            (true, json!({"role": "assistant", "content": [local]})),
            (true, json!({"role": "assistant", "content": [text("a")], "origin": {"api": "x"}})),
            (true, json!({"role": "assistant", "content": [text("a"), call], "stop": "tool_use"})),
            (true, json!({"role": "assistant", "content": [{"type": "reasoning", "text": "Hm."}]})),
        ];
        for (whole, rig) in &cases {
            let messages = to_messages(rig);
            assert_eq!(messages[0].extra.contains_key(EXACT), *whole, "{rig}");
            for message in &messages {
                message.check().expect("it can be stored");
            }
            assert_eq!(from_messages(&messages), std::slice::from_ref(rig));
        }
        // All of them one after another, except that consecutive results are one message in rig.
        let all: Vec<_> = cases.iter().map(|(_, rig)| rig.clone()).collect();
        let messages: Vec<_> = all.iter().flat_map(to_messages).collect();
        assert_eq!(from_messages(&messages), all);
    }

    #[test]
    fn message_text_is_stored_only_once() {
        let rig = json!({"role": "assistant", "content": [{"type": "text", "text": "once"}], "origin": {"api": "x"}});
        let stored = to_messages(&rig)[0].to_value().to_string();
        assert_eq!(stored, r#"{"role":"assistant","content":"once","rig":{"role":"assistant","origin":{"api":"x"}}}"#);
    }

    #[test]
    fn foreign_messages_are_converted_for_rig() {
        let messages = [
            Message::tool_calls([ToolCall::function("c1", "f", "{}"), ToolCall::function("c2", "g", "not JSON")]),
            Message::tool("c1", "one"),
            Message::tool("c2", "two"),
        ];
        let rig = from_messages(&messages);
        assert_eq!(rig.len(), 2);
        assert_eq!(rig[0]["content"][1]["function"], json!({"name": "g", "invalid_arguments": "not JSON", "arguments": {}}));
        assert_eq!((&rig[1]["content"][0]["name"], &rig[1]["content"][1]["name"]), (&json!("f"), &json!("g")));
    }
}
