//! The messages of Anthropic's Messages API: role `user` or `assistant`, and content that is a text or a list of blocks.
//!
//! | Anthropic | here |
//! |---|---|
//! | a `tool_use` block of an assistant | an entry of [`Message::tool_calls`]; its `input`, an object, is the arguments as JSON text |
//! | … with the input `{"INVALID_JSON": "…"}`, as Anthropic advises for broken calls | … with that text as arguments, which are not a JSON object |
//! | … before other blocks | … and in the content a block with only its `type` and `id`, which marks the place |
//! | calls in one of several consecutive messages of an assistant | that message and those after it are kept as they are |
//! | a user's message that begins with `tool_result` blocks | one message of role tool for each, then one of role user with the other blocks |
//! | an `image` block with base64 data or a URL | an `image_url` part |
//! | any other block (thinking, documents, citations, server tools and their results …) | the same block as a part |
//! | `{"role": "system", "content": …}` | role system; the API takes the system prompt outside the list, [`Format::for_request`](super::Format::for_request) moves it there |
//! | any other field | the same field of [`Message::extra`] |
//!
//! What only this form has is kept under [`EXTRAS_KEY`]: in a call, its block's other fields (`cache_control`, `caller`); in a
//! message, that it began a value of its own (`{"apart": true}`) where it would be written together with the one before it, or that
//! it is kept as it was (`{"raw": true}`). What this form has no place for (arguments with their own whitespace, fields of other
//! forms) is stored in the value's field `chat_memory`, as a text.

use serde_json::{Map, Value, json};

use super::exact::{self, Convert, Unit};
use super::overlay::OVERLAY_KEY;
use super::{Form, Request};
use crate::json as strict;
use crate::message::{Content, Message, MessageError, Part, Role, ToolCall, refused, tools};

pub(super) const FORM: Form = Form {
    name: "anthropic",
    title: "Anthropic",
    about: "Anthropic's messages: {\"role\", \"content\"}, with tool_use and tool_result blocks",
    read: exact::read::<Anthropic>,
    write: exact::write::<Anthropic>,
    write_joined: Some(exact::write_joined::<Anthropic>),
    for_request: Some(for_request),
};

/// The field of [`Message::extra`], and of a tool call, for what only this form has.
pub const EXTRAS_KEY: &str = "anthropic";

/// The field of an `input` that holds arguments which are not a JSON object.
const INVALID_JSON: &str = "INVALID_JSON";

struct Anthropic;

impl Convert for Anthropic {
    const KEY: &'static str = EXTRAS_KEY;

    fn check(value: &Value) -> Result<(), MessageError> {
        let role = value.get("role").and_then(Value::as_str);
        let is_content = match value.get("content") {
            Some(Value::String(_)) => true,
            Some(Value::Array(blocks)) => blocks.iter().all(Value::is_object),
            _ => false,
        };
        let has_calls = value.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty());
        match role {
            Some("user" | "assistant" | "system") if is_content && !has_calls => Ok(()),
            _ => Err(refused::not_anthropic(value)),
        }
    }

    fn values_belong(before: &Value, next: &Value) -> bool {
        before["role"] == next["role"]
    }

    fn messages_belong(before: &Message, next: &Message) -> bool {
        // Results are the user's.
        let role = |message: &Message| if message.role == Role::Tool { Role::User } else { message.role };
        role(before) == role(next)
    }

    fn decode(values: &[Value]) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        // Consecutive messages of the model are one turn for the API. OpenAI's chat form has no calls in several of them.
        let has_calls =
            |value: &Value| value["content"].as_array().is_some_and(|blocks| blocks.iter().any(|block| call(block).is_some()));
        let of_model = values.first().is_some_and(|value| value["role"] == "assistant");
        let first = values.iter().position(|value| of_model && has_calls(value)).filter(|at| at + 1 < values.len());
        for (at, value) in values.iter().enumerate() {
            if first.is_some_and(|first| first <= at) {
                units.push(Unit { values: vec![value.clone()], messages: Vec::new() });
                continue;
            }
            let mut messages = results(value).or_else(|| Some(vec![one(value)?])).unwrap_or_default();
            let before = units.last().and_then(|unit| unit.messages.last());
            if let (Some(before), Some(first)) = (before, messages.first_mut())
                && is_joined(before, first)
            {
                first.extra.insert(EXTRAS_KEY.into(), json!({"apart": true}));
            }
            units.push(Unit { values: vec![value.clone()], messages });
        }
        units
    }

    fn encode(messages: &[Message]) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        for message in messages {
            if let Some(value) = exact::raw::<Self>(message) {
                units.push(Unit { values: vec![value], messages: vec![message.clone()] });
                continue;
            }
            let mut value = if message.role == Role::Tool {
                json!({"role": "user", "content": [result_block(message)]})
            } else {
                one_value(message)
            };
            match units.last_mut() {
                Some(Unit { values, messages }) if messages.last().is_some_and(|before| is_joined(before, message)) => {
                    let (Some(Value::Array(all)), Value::Array(more)) = (values[0].get_mut("content"), value["content"].take())
                    else {
                        continue;
                    };
                    all.extend(more);
                    messages.push(message.clone());
                }
                _ => units.push(Unit { values: vec![value], messages: vec![message.clone()] }),
            }
        }
        units
    }
}

/// Whether a message is written into the same value as the tool's result before it.
fn is_joined(before: &Message, next: &Message) -> bool {
    let is_bare = matches!(next.content, Some(Content::Parts(_)))
        && next.extra.is_empty()
        && next.name.is_none()
        && next.id.is_none()
        && next.tool_call_id.is_none()
        && next.tool_calls.is_empty();
    let is_apart = |message: &Message| message.extra.contains_key(EXTRAS_KEY);
    let is_raw = exact::raw::<Anthropic>(before).is_some();
    before.role == Role::Tool && !is_raw && ((next.role == Role::Tool && !is_apart(next)) || (next.role == Role::User && is_bare))
}

/// Returns the message's fields that have no other place in this form.
fn fields(message: &Message) -> Map<String, Value> {
    let Value::Object(mut fields) = message.to_value() else { return Map::new() };
    fields.shift_remove("role");
    fields.shift_remove("content");
    fields.shift_remove(OVERLAY_KEY);
    if fields.get(EXTRAS_KEY) == Some(&json!({"apart": true})) {
        fields.shift_remove(EXTRAS_KEY);
    }
    fields
}

/// Writes a message that is not a tool's.
fn one_value(message: &Message) -> Value {
    let mut fields = fields(message);
    let mut calls: Vec<&ToolCall> = Vec::new();
    if !message.tool_calls.is_empty() {
        fields.shift_remove("tool_calls");
        calls.extend(message.tool_calls.iter().filter(|_| message.role == Role::Assistant));
    }
    let content = match &message.content {
        Some(Content::Parts(parts)) => {
            let mut blocks: Vec<_> = parts.iter().map(|part| called(part, &mut calls).unwrap_or_else(|| block(part))).collect();
            blocks.extend(calls.into_iter().filter_map(call_block));
            blocks.into()
        }
        text if !calls.is_empty() => {
            let text = text.iter().map(|_| json!({"type": "text", "text": message.text()}));
            text.chain(calls.into_iter().filter_map(call_block)).collect()
        }
        _ => message.text().into(),
    };
    let mut value = Map::from_iter([("role".to_owned(), message.role.as_str().into()), ("content".to_owned(), content)]);
    value.extend(fields);
    Value::Object(value)
}

/// Reads a value as one message.
fn one(value: &Value) -> Option<Message> {
    let mut fields = value.as_object()?.clone();
    if let Some(Value::Array(blocks)) = fields.get("content") {
        let mut calls = Vec::new();
        let mut parts: Vec<Value> = Vec::new();
        let after = blocks.iter().rposition(|block| call(block).is_none()).map_or(0, |last| last + 1);
        for (at, block) in blocks.iter().enumerate() {
            match call(block).filter(|_| value["role"] == "assistant") {
                Some(call) => {
                    if at < after {
                        parts.push(json!({"type": "tool_use", "id": call.id()}));
                    }
                    calls.push(Value::Object(call.fields().clone()));
                }
                None => parts.push(part(block)),
            }
        }
        let content = match parts.as_slice() {
            [] if !calls.is_empty() => Value::Null,
            [only] if !calls.is_empty() && is_plain_text(only) => only["text"].clone(),
            _ => parts.into(),
        };
        fields.insert("content".into(), content);
        if !calls.is_empty() {
            fields.insert("tool_calls".into(), calls.into());
        }
    }
    Message::from_value(Value::Object(fields)).ok()
}

fn is_plain_text(block: &Value) -> bool {
    block["type"] == "text" && block["text"].is_string() && block.as_object().is_some_and(|fields| fields.len() == 2)
}

/// Reads a user's value that begins with results of tools; `None` if it does not, or has more than its content.
fn results(value: &Value) -> Option<Vec<Message>> {
    let is_result = |block: &&Value| block["type"] == "tool_result";
    let blocks = value.get("content")?.as_array()?;
    let n = blocks.iter().take_while(is_result).count();
    if value["role"] != "user" || value.as_object()?.len() != 2 || n == 0 || blocks[n..].iter().any(|block| is_result(&block)) {
        return None;
    }
    let mut messages = blocks[..n].iter().map(result).collect::<Option<Vec<_>>>()?;
    if n < blocks.len() {
        let parts = blocks[n..].iter().map(|block| part(block).as_object().cloned().map(Part::from));
        messages.push(Message::user(Content::Parts(parts.collect::<Option<_>>()?)));
    }
    Some(messages)
}

fn result(block: &Value) -> Option<Message> {
    let mut fields = block.as_object()?.clone();
    fields.shift_remove("type");
    if let Some(id) = fields.shift_remove("tool_use_id") {
        fields.insert("tool_call_id".into(), id);
    }
    if let Some(Value::Array(blocks)) = fields.get_mut("content") {
        blocks.iter_mut().for_each(|block| *block = part(block));
    }
    fields.insert("role".into(), Role::Tool.as_str().into());
    Message::from_value(Value::Object(fields)).ok()
}

fn result_block(message: &Message) -> Value {
    let mut fields = fields(message);
    fields.shift_remove("tool_call_id");
    let content = match &message.content {
        Some(Content::Parts(parts)) => Some(parts.iter().map(block).collect()),
        Some(Content::Text(text)) => Some(text.clone().into()),
        None if message.extra.contains_key("content") => Some(Value::Null),
        None => Some(message.text()).filter(|text| !text.is_empty()).map(Value::from),
    };
    let mut block = Map::from_iter([("type".to_owned(), "tool_result".into())]);
    block.extend(message.tool_call_id.clone().map(|id| ("tool_use_id".to_owned(), id.into())));
    block.extend(content.map(|content| ("content".to_owned(), content)));
    for (key, value) in fields {
        block.entry(key).or_insert(value);
    }
    Value::Object(block)
}

/// Returns the block of a call that this part marks the place of, and takes the call.
fn called(part: &Part, calls: &mut Vec<&ToolCall>) -> Option<Value> {
    let id = part.fields().get("id").filter(|_| part.kind() == Some("tool_use"))?;
    let at = calls.iter().position(|call| call.id() == id.as_str())?;
    call_block(calls.remove(at))
}

fn call_block(call: &ToolCall) -> Option<Value> {
    let fields = call.fields();
    let custom = fields.get("custom");
    let name = call.name().or_else(|| custom?.get("name")?.as_str())?;
    let input = match (fields.get("function").and_then(|function| function.get("arguments")), custom) {
        (Some(Value::String(text)), _) => object(text).map_or_else(|| json!({INVALID_JSON: text}), Value::Object),
        (Some(Value::Object(arguments)), _) => arguments.clone().into(),
        (_, Some(custom)) => json!({"input": custom["input"]}),
        _ => json!({}),
    };
    let mut block = json!({"type": "tool_use", "id": call.id().unwrap_or_default(), "name": name, "input": input});
    let (Some(block), Some(more)) = (block.as_object_mut(), Some(fields.get(EXTRAS_KEY).and_then(Value::as_object))) else {
        return None;
    };
    for (key, value) in more.into_iter().flatten() {
        block.entry(key).or_insert_with(|| value.clone());
    }
    Some(Value::Object(block.clone()))
}

/// Parses arguments, if they are an object that can be shown.
fn object(text: &str) -> Option<Map<String, Value>> {
    match text.trim_ascii() {
        // Some models write nothing for a function without parameters.
        "" => Some(Map::new()),
        text => match strict::parse(text) {
            // The levels around it must not make the value too deep to be read again.
            Ok(Value::Object(input)) if strict::depth(&Value::Object(input.clone())) <= strict::MAX_DEPTH - 10 => Some(input),
            _ => None,
        },
    }
}

fn call(block: &Value) -> Option<ToolCall> {
    let text = |key: &str| block.get(key)?.as_str();
    let input = block.get("input").filter(|input| input.is_object() && block["type"] == "tool_use")?;
    let invalid = input
        .get(INVALID_JSON)
        .and_then(Value::as_str)
        .filter(|text| input.as_object().is_some_and(|it| it.len() == 1) && object(text).is_none());
    let arguments = invalid.map_or_else(|| input.to_string(), str::to_owned);
    let call = ToolCall::function(text("id")?, text("name")?, arguments);
    let mut more = block.as_object()?.clone();
    more.retain(|key, _| !["type", "id", "name", "input"].contains(&key.as_str()));
    let mut fields = call.fields().clone();
    if !more.is_empty() {
        fields.insert(EXTRAS_KEY.into(), more.into());
    }
    Some(fields.into())
}

/// Returns the block that Anthropic has for a part.
fn block(part: &Part) -> Value {
    let whole = || Value::Object(part.fields().clone());
    let image = || part.fields().get("image_url").filter(|_| part.kind() == Some("image_url"))?.get("url")?.as_str();
    let Some(url) = image() else { return whole() };
    let source = match url.strip_prefix("data:").and_then(|data| data.split_once(";base64,")) {
        Some((kind, data)) => json!({"type": "base64", "media_type": kind, "data": data}),
        None if url.starts_with("http") => json!({"type": "url", "url": url}),
        None => return whole(),
    };
    json!({"type": "image", "source": source})
}

/// Returns the part for a block: [`block`] reversed.
fn part(block: &Value) -> Value {
    let source = &block["source"];
    let text = |key: &str| source.get(key)?.as_str();
    let url = match text("type") {
        Some("base64") => text("media_type").zip(text("data")).map(|(kind, data)| format!("data:{kind};base64,{data}")),
        Some("url") => text("url").map(str::to_owned),
        _ => None,
    };
    let image = url.map(Part::image_url).filter(|image| self::block(image) == *block);
    image.map_or_else(|| block.clone(), |image| Value::Object(image.fields().clone()))
}

/// Writes messages for a request to Anthropic's API, which refuses unknown fields: `role` and `content` of each, the known fields
/// of results and calls, and the system prompts together in [`Request::system`]. Empty texts and other providers' items are left
/// out, and messages of which nothing remains. Consecutive results are one message.
fn for_request(messages: &[Message]) -> Request {
    let mut request = Request::default();
    let mut system: Vec<Value> = Vec::new();
    let (mut place, mut runs) = (0, Vec::new());
    for run in messages.chunk_by(Anthropic::messages_belong) {
        runs.extend(Anthropic::encode(run));
    }
    for Unit { values, messages } in runs {
        place += messages.len();
        for value in values {
            let content = match &value["content"] {
                Value::Array(blocks) => blocks.iter().filter_map(accepted).collect(),
                text => text.clone(),
            };
            match (value["role"].as_str(), content) {
                (_, Value::Array(blocks)) if blocks.is_empty() => {}
                (_, Value::String(text)) if text.is_empty() => {}
                (Some("system"), content) => system.push(content),
                (role, content) => request.messages.push((place - 1, json!({"role": role, "content": content}))),
            }
        }
    }
    let blocks = |content: Value| match content {
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        Value::Array(blocks) => blocks,
        _ => Vec::new(),
    };
    request.system = match system.len() {
        0 | 1 => system.pop(),
        _ => Some(system.into_iter().flat_map(blocks).collect()),
    };
    request
}

/// Returns the block as the API accepts it.
fn accepted(block: &Value) -> Option<Value> {
    let fields = block.as_object()?;
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    let known: &[&str] = match kind {
        "tool_use" => &["type", "id", "name", "input", "cache_control", "caller"],
        "tool_result" => &["type", "tool_use_id", "content", "is_error", "cache_control"],
        "text" => return fields.get("text").and_then(Value::as_str).is_some_and(|text| !text.is_empty()).then(|| block.clone()),
        _ if tools::role_of_item(kind).is_some() => return None,
        _ => {
            let text = Part::text_of(fields).or_else(|| fields.get("refusal")?.as_str());
            return Some(text.map_or_else(|| block.clone(), |text| json!({"type": "text", "text": text})));
        }
    };
    let known = fields.iter().filter(|(key, value)| known.contains(&key.as_str()) && !value.is_null());
    let value = |(key, value): (&String, &Value)| match value {
        Value::Array(blocks) if key == "content" => (key.clone(), blocks.iter().filter_map(accepted).collect()),
        value => (key.clone(), value.clone()),
    };
    Some(known.map(value).collect())
}
