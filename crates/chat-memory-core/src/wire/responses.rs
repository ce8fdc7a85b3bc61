//! The items of OpenAI's Responses API, as its `input` takes them and its `output` returns them.
//!
//! | Responses API | here |
//! |---|---|
//! | `{"role", "content"}`, with or without `"type": "message"` | a message; role `developer` is system, as in OpenAI's chat form |
//! | consecutive items of the model: reasoning, calls, built-in tools, its message | one message of role assistant |
//! | … `function_call`, `custom_tool_call` | an entry of [`Message::tool_calls`], with the item's `call_id` as id |
//! | … other calls that the program answers (`computer_call`, `mcp_approval_request` …) | the same, with the item under its type |
//! | … `reasoning`, `web_search_call` and all others | a part of the content, whole |
//! | … a call before other items | and in the content a part with only its `type` and id, which marks the place |
//! | `function_call_output`, `custom_tool_call_output` | a message of role tool |
//! | `input_text`, `input_image`, `input_file`, `output_text` without annotations | parts of OpenAI's chat form |
//!
//! A model's second message begins a new message here, and so does reasoning after its message, unless a call or reasoning came
//! before. With those, an answer of several messages is kept as it is. So a call and its results, and reasoning and the output that it led to, are never apart, and OpenAI's chat form has all
//! calls of an answer in one message.
//!
//! What only this form has is kept under [`EXTRAS_KEY`]: in a call, its item's other fields (`id`, `status`); in a message, that it
//! is kept as it was (`{"raw": true}`), as OpenAI's chat form reads it. What this form has no place for is stored in the item's
//! field `chat_memory`, as a text.

use serde_json::{Map, Value, json};

use super::exact::{self, Convert, Unit};
use super::openai::{self, ROLE_KEY};
use super::overlay::OVERLAY_KEY;
use super::{Form, Request};
use crate::message::{Content, Message, MessageError, Part, Role, ToolCall, redacted::REDACTED, refused, tools};

pub(super) const FORM: Form = Form {
    name: "responses",
    title: "OpenAI Responses",
    about: "The items of OpenAI's Responses API: messages, function_call, reasoning …",
    read: exact::read::<Responses>,
    write: exact::write::<Responses>,
    write_joined: Some(exact::write_joined::<Responses>),
    for_request: Some(for_request),
};

/// The field of [`Message::extra`], and of a tool call, for what only this form has.
pub const EXTRAS_KEY: &str = "responses";

struct Responses;

impl Convert for Responses {
    const KEY: &'static str = EXTRAS_KEY;

    fn check(value: &Value) -> Result<(), MessageError> {
        let is_content = || match value.get("content") {
            Some(Value::String(_)) => true,
            Some(Value::Array(parts)) => parts.iter().all(Value::is_object),
            _ => false,
        };
        let has_calls = value.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty());
        let is_item = match value.get("role").map(Value::as_str) {
            Some(role) => matches!(role, Some("user" | "assistant" | "system" | "developer")) && is_content() && !has_calls,
            None => kind(value).is_some_and(|kind| is_of_model(kind) || tools::role_of_item(kind).is_some()),
        };
        if is_item { Ok(()) } else { Err(refused::not_an_item(value)) }
    }

    fn values_belong(before: &Value, next: &Value) -> bool {
        let of_model = |value: &Value| match value.get("role") {
            Some(role) => role == "assistant",
            None => kind(value).is_some_and(is_of_model),
        };
        of_model(before) && of_model(next)
    }

    fn messages_belong(before: &Message, next: &Message) -> bool {
        before.role == Role::Assistant && next.role == Role::Assistant
    }

    fn decode(values: &[Value]) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        // Whether the unit has a message, and whether something ties what follows to it.
        let (mut has_message, mut is_tied) = (false, false);
        for value in values {
            let is_message = value.get("role").is_some();
            let is_reasoning = kind(value) == Some("reasoning");
            let begins = (is_message || is_reasoning) && has_message && !is_tied;
            match units.last_mut().filter(|_| !begins) {
                Some(unit) => unit.values.push(value.clone()),
                None => {
                    (has_message, is_tied) = (false, false);
                    units.push(Unit { values: vec![value.clone()], messages: Vec::new() });
                }
            }
            has_message |= is_message;
            is_tied |= is_reasoning || call(value).is_some();
        }
        for unit in &mut units {
            unit.messages.extend(match unit.values.as_slice() {
                [value] if kind(value).is_some_and(|kind| tools::role_of_item(kind) == Some(Role::Tool)) => output(value),
                [value] if value.get("role").is_some() => message(value),
                items => answer(items),
            });
        }
        units
    }

    fn encode(messages: &[Message]) -> Vec<Unit> {
        let unit = |message: &Message| {
            let is_item = openai::other_name(message.role, &message.extra) == Some(openai::NO_ROLE);
            let values = match exact::raw::<Self>(message) {
                Some(value) => vec![value],
                None if is_item => vec![openai::to_value(message)],
                None => match message.role {
                    Role::Assistant => items(message),
                    Role::Tool => vec![output_item(message)],
                    Role::User | Role::System => vec![message_item(message)],
                },
            };
            Unit { values, messages: vec![message.clone()] }
        };
        messages.iter().map(unit).collect()
    }
}

fn kind(item: &Value) -> Option<&str> {
    item.get("type")?.as_str()
}

/// Whether items of this type are the model's.
fn is_of_model(kind: &str) -> bool {
    kind == "item_reference" || tools::role_of_item(kind) == Some(Role::Assistant)
}

/// Returns the message's fields that have no other place in this form.
fn fields(message: &Message) -> Map<String, Value> {
    let Value::Object(mut fields) = openai::to_value(message) else { return Map::new() };
    fields.shift_remove("content");
    fields.shift_remove(OVERLAY_KEY);
    fields
}

/// Reads an item with a role.
fn message(item: &Value) -> Option<Message> {
    let mut fields = item.clone();
    if let Some(Value::Array(parts)) = fields.get_mut("content") {
        parts.iter_mut().for_each(|item| *item = part(item));
    }
    openai::from_value(fields).ok()
}

fn message_item(message: &Message) -> Value {
    let mut fields = fields(message);
    let role = fields.shift_remove("role").filter(|role| role == "developer").unwrap_or(message.role.as_str().into());
    if !message.tool_calls.is_empty() {
        fields.shift_remove("tool_calls");
    }
    let content = match &message.content {
        Some(Content::Parts(parts)) => parts.iter().map(|part| item_part(part, message.role)).collect(),
        _ => message.text().into(),
    };
    let mut item = Map::from_iter([("role".to_owned(), role), ("content".to_owned(), content)]);
    item.extend(fields);
    Value::Object(item)
}

/// Reads the items of a model's answer.
fn answer(items: &[Value]) -> Option<Message> {
    // The API accepts reasoning only with the output that follows it.
    items.last().filter(|item| kind(item) != Some("reasoning"))?;
    let is_message = |item: &&Value| item.get("role").is_some();
    let mut messages = items.iter().filter(is_message);
    let mut fields = match (messages.next(), messages.next()) {
        (_, Some(_)) => return None,
        (Some(item), None) => self::message(item)?,
        (None, None) => Message::assistant(Content::Parts(Vec::new())),
    };
    let after = items.iter().rposition(|item| call(item).is_none()).map_or(0, |last| last + 1);
    let (mut parts, mut calls) = (Vec::new(), Vec::new());
    for (at, item) in items.iter().enumerate() {
        match call(item) {
            Some((call, stub)) => {
                parts.extend((at < after).then_some(stub));
                calls.push(call);
            }
            None if item.get("role").is_some() => match &fields.content {
                Some(Content::Parts(said)) => parts.extend(said.iter().cloned()),
                _ => parts.push(Part::text(fields.text())),
            },
            None => parts.push(item.as_object()?.clone().into()),
        }
    }
    match (&fields.content, parts.as_slice()) {
        // A text alone stays a text.
        (Some(Content::Text(_)), [_]) => {}
        (_, []) => {
            fields.content = None;
            fields.extra.insert("content".into(), Value::Null);
        }
        _ => fields.content = Some(Content::Parts(parts)),
    }
    fields.tool_calls = calls;
    Some(fields)
}

/// Writes a model's answer.
fn items(message: &Message) -> Vec<Value> {
    let mut calls: Vec<&ToolCall> = message.tool_calls.iter().collect();
    let plain = Message { tool_calls: Vec::new(), ..message.clone() };
    let mut items: Vec<Value> = Vec::new();
    let whole = match &message.content {
        Some(Content::Parts(parts)) => {
            let (mut said, mut at) = (Vec::new(), 0);
            for part in parts {
                if part.kind().is_some_and(is_of_model) && !part.fields().contains_key("role") {
                    let item = called(part, &mut calls).unwrap_or_else(|| Value::Object(part.fields().clone()));
                    items.push(item);
                } else {
                    at = if said.is_empty() { items.len() } else { at };
                    said.push(part.clone());
                }
            }
            let is_said = !said.is_empty() || (items.is_empty() && calls.is_empty());
            is_said.then(|| (at, Message { content: Some(Content::Parts(said)), ..plain }))
        }
        Some(Content::Text(_)) => Some((0, plain)),
        None => calls.is_empty().then_some((0, plain)),
    };
    if let Some((at, said)) = whole {
        items.insert(at, message_item(&said));
    }
    items.extend(calls.into_iter().filter_map(call_item));
    if items.is_empty() {
        items.push(json!({"role": "assistant", "content": message.text()}));
    }
    items
}

/// Returns a call's entry and the part that marks its place, if a program is to answer the call.
fn call(item: &Value) -> Option<(ToolCall, Part)> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let kind = kind(item).filter(|kind| is_of_model(kind) && item.get("role").is_none())?;
    let id_key = if kind == "mcp_approval_request" { "id" } else { "call_id" };
    let id = text(id_key).filter(|_| kind.ends_with("_call") || id_key == "id")?;
    let mut more = item.as_object()?.clone();
    more.shift_remove("type");
    more.shift_remove(id_key);
    let mut take = |key: &str| more.shift_remove(key);
    let entry = match kind {
        "function_call" => {
            text("name").zip(text("arguments"))?;
            json!({"id": id, "type": "function", "function": {"name": take("name"), "arguments": take("arguments")}})
        }
        "custom_tool_call" => {
            text("name").zip(text("input"))?;
            json!({"id": id, "type": "custom", "custom": {"name": take("name"), "input": take("input")}})
        }
        _ => json!({"id": id, "type": kind, kind: std::mem::take(&mut more)}),
    };
    let mut entry = entry.as_object()?.clone();
    if !more.is_empty() {
        entry.insert(EXTRAS_KEY.into(), more.into());
    }
    let stub = json!({"type": kind, id_key: id}).as_object()?.clone();
    Some((entry.into(), stub.into()))
}

/// Returns the item of a call that this part marks the place of, and takes the call.
fn called(part: &Part, calls: &mut Vec<&ToolCall>) -> Option<Value> {
    let id = part
        .fields()
        .get("call_id")
        .or_else(|| part.fields().get("id").filter(|_| part.kind() == Some("mcp_approval_request")))?;
    let at = calls.iter().position(|call| call.id() == id.as_str())?;
    call_item(calls.remove(at))
}

fn call_item(call: &ToolCall) -> Option<Value> {
    let fields = call.fields();
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or("function");
    let id = call.id().unwrap_or_default();
    let (kind, id_key, more) = match kind {
        "function" => {
            let arguments = match fields.get("function")?.get("arguments") {
                Some(Value::String(text)) => text.clone(),
                Some(arguments) => arguments.to_string(),
                None => "{}".to_owned(),
            };
            ("function_call", "call_id", json!({"name": call.name()?, "arguments": arguments}))
        }
        "custom" => {
            let custom = fields.get("custom")?;
            ("custom_tool_call", "call_id", json!({"name": custom.get("name")?, "input": custom.get("input")?}))
        }
        "mcp_approval_request" => (kind, "id", fields.get(kind)?.clone()),
        _ if is_of_model(kind) => (kind, "call_id", fields.get(kind)?.clone()),
        _ => return None,
    };
    let mut item = Map::from_iter([("type".to_owned(), kind.into()), (id_key.to_owned(), id.into())]);
    let extras = fields.get(EXTRAS_KEY).and_then(Value::as_object).into_iter().flatten();
    for (key, value) in more.as_object()?.into_iter().chain(extras) {
        item.entry(key).or_insert_with(|| value.clone());
    }
    Some(Value::Object(item))
}

/// Reads the output of a call, if it is a text or a list.
fn output(item: &Value) -> Option<Message> {
    let mut fields = item.as_object()?.clone();
    let id = fields.shift_remove("call_id").filter(Value::is_string)?;
    let output = match fields.shift_remove("output")? {
        Value::Array(parts) => parts.iter().map(part).collect(),
        output => output,
    };
    if fields.get("type")? == "function_call_output" {
        fields.shift_remove("type");
    }
    fields.extend([("role".to_owned(), "tool".into()), ("tool_call_id".to_owned(), id), ("content".to_owned(), output)]);
    Message::from_value(Value::Object(fields)).ok()
}

fn output_item(message: &Message) -> Value {
    let mut fields = fields(message);
    fields.shift_remove("role");
    fields.shift_remove("tool_call_id");
    let output = match &message.content {
        Some(Content::Parts(parts)) => parts.iter().map(|part| item_part(part, message.role)).collect(),
        _ => Value::from(message.text()),
    };
    let named = fields.get("type").and_then(Value::as_str).filter(|kind| tools::role_of_item(kind) == Some(Role::Tool));
    let kind = named.unwrap_or("function_call_output").to_owned();
    let id = message.tool_call_id.clone().unwrap_or_default();
    let mut item =
        Map::from_iter([("type".to_owned(), kind.into()), ("call_id".to_owned(), id.into()), ("output".to_owned(), output)]);
    for (key, value) in fields {
        item.entry(key).or_insert(value);
    }
    Value::Object(item)
}

/// Returns the part that this form has for one of OpenAI's chat form.
fn item_part(part: &Part, role: Role) -> Value {
    let fields = part.fields();
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let inner = |key: &str, names: &[&str]| {
        let inner = fields.get(key)?.as_object()?;
        let known = names.iter().filter_map(|name| Some(((*name).to_owned(), inner.get(*name)?.clone())));
        Some(known.collect::<Map<_, _>>())
    };
    let item = match part.kind() {
        Some("text") if role == Role::Assistant => {
            text("text").map(|text| json!({"type": "output_text", "text": text, "annotations": []}))
        }
        Some("text") => text("text").map(|text| json!({"type": "input_text", "text": text})),
        Some("image_url") => inner("image_url", &["url", "detail"]).and_then(|mut image| {
            let mut item = json!({"type": "input_image", "image_url": image.shift_remove("url")?});
            image.into_iter().for_each(|(key, value)| item[key] = value);
            Some(item)
        }),
        Some("file") => inner("file", &["filename", "file_data", "file_id"]).map(|mut file| {
            file.insert("type".into(), "input_file".into());
            Value::Object(file)
        }),
        _ => None,
    };
    item.unwrap_or_else(|| Value::Object(fields.clone()))
}

/// Returns OpenAI's chat form of a part: [`item_part`] reversed.
fn part(item: &Value) -> Value {
    let mut fields = item.as_object().cloned().unwrap_or_default();
    fields.shift_remove("type");
    let (part, role) = match kind(item) {
        Some("output_text") => (json!({"type": "text", "text": item["text"]}), Role::Assistant),
        Some("input_text") => (json!({"type": "text", "text": item["text"]}), Role::User),
        Some("input_image") => {
            let url = fields.shift_remove("image_url");
            fields.extend(url.map(|url| ("url".to_owned(), url)));
            (json!({"type": "image_url", "image_url": fields}), Role::User)
        }
        Some("input_file") => (json!({"type": "file", "file": fields}), Role::User),
        _ => return item.clone(),
    };
    let is_same = part.as_object().is_some_and(|fields| item_part(&fields.clone().into(), role) == *item);
    if is_same { part } else { item.clone() }
}

/// Writes messages for a request to the Responses API: the known fields of messages, calls and outputs, and other items as they
/// are. Parts of other providers' forms and empty messages are left out. The system prompt stays in the list.
fn for_request(messages: &[Message]) -> Request {
    let items = Responses::encode(messages).into_iter().enumerate();
    let items = items.flat_map(|(place, unit)| unit.values.into_iter().map(move |item| (place, item)));
    Request { system: None, messages: items.filter_map(|(place, item)| Some((place, accepted(item)?))).collect() }
}

/// Returns the item as the API accepts it.
fn accepted(mut item: Value) -> Option<Value> {
    let fields = item.as_object_mut()?;
    fields.shift_remove(OVERLAY_KEY);
    fields.shift_remove(ROLE_KEY);
    fields.shift_remove(EXTRAS_KEY);
    let role = fields.get("role").and_then(Value::as_str).map(str::to_owned);
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let known: &[&str] = match (&role, kind.as_str()) {
        (Some(_), "message") => &["type", "role", "content", "id", "status", "phase"],
        (Some(_), _) => &["role", "content"],
        (None, "function_call") => &["type", "id", "call_id", "name", "arguments", "status", "namespace"],
        (None, "function_call_output") => &["type", "id", "call_id", "output", "status"],
        (None, _) => {
            fields.shift_remove(REDACTED);
            return Some(item);
        }
    };
    fields.retain(|key, value| known.contains(&key.as_str()) && !value.is_null());
    let is_of_model = role.as_deref() == Some("assistant");
    if let Some(content) = fields.get_mut(if role.is_some() { "content" } else { "output" }) {
        if let Value::Array(parts) = content {
            *content = parts.iter().filter_map(|part| accepted_part(part, is_of_model)).collect();
        }
        let is_empty = content.as_str().is_some_and(str::is_empty) || content.as_array().is_some_and(Vec::is_empty);
        if is_empty && role.is_some() {
            return None;
        }
    }
    Some(item)
}

fn accepted_part(part: &Value, of_model: bool) -> Option<Value> {
    match (kind(part).unwrap_or_default(), of_model) {
        ("output_text" | "refusal", true) | ("input_text" | "input_image" | "input_file", false) => Some(part.clone()),
        _ => {
            let text = Part::text_of(part.as_object()?)?;
            Some(json!({"type": if of_model { "output_text" } else { "input_text" }, "text": text}))
        }
    }
}
