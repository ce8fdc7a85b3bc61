//! Encodes one message as an element of the list, in the dialect of each original, and decodes it.
//!
//! An original sees exactly what its own code would have written. Whatever that form cannot hold, or DynamoDB would alter, is
//! stored alongside in the element's *mark*, a JSON object under `chat_memory`, which the originals ignore. It is an extra field of
//! the element in the JavaScript form, as bytes ([`mark`]), and a text in `data.additional_kwargs`, which langchain-core
//! preserves, in the Python form.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value, json};

use super::mark;
use super::value::{as_stored, to_attribute, to_json};
use crate::common::names::MARK;
use chat_memory_core::backend::uses_tools;
use chat_memory_core::json as strict;
use chat_memory_core::message::{Message, Role};
use chat_memory_core::wire::langchain::{self, Overlay};

pub(crate) use crate::options::Dialect;

/// What is stored alongside a message in its element.
pub(crate) type Mark = Map<String, Value>;

type Fields = HashMap<String, AttributeValue>;

/// The mark's keys that describe how the message differs from what is visible.
const RIDER: [&str; 3] = ["set", "unset", "said"];

/// The names of a message's own fields.
const OF_A_MESSAGE: [&str; 7] = ["role", "content", "name", "id", "tool_calls", "tool_call_id", langchain::EXTRAS_KEY];

/// A decoded element.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Element {
    pub(crate) message: Message,
    /// The mark, without what was used to restore the message.
    pub(crate) mark: Mark,
}

/// Encodes a message as an element of the list, with this mark.
pub(crate) fn encode(dialect: Dialect, message: &Message, mark: Mark) -> AttributeValue {
    let visible = match dialect {
        Dialect::Js if is_unseen(message) => unseen(),
        Dialect::Js => js(message),
        // A field of the message named like the mark would be overwritten by it, and a message without additional_kwargs gets one
        // to hold the mark. Both differences are stored in the mark.
        Dialect::Python => with_place(dialect, unmarked(&python(message))),
    };
    let mut rider = rider_of(&visible, message);
    rider.extend(mark);
    AttributeValue::M(marked(dialect, visible, &rider))
}

/// Whether a list holds messages, in either form.
pub(crate) fn is_messages(list: Option<&AttributeValue>) -> bool {
    list.and_then(form_of_list).is_some()
}

/// The dialect of a list's messages, by the newest that shows it; `None` if there is none.
pub(crate) fn form_of_list(list: &AttributeValue) -> Option<Dialect> {
    let AttributeValue::L(elements) = list else { return None };
    elements.iter().rev().find_map(|element| {
        let AttributeValue::M(fields) = element else { return None };
        let is_typed = match fields.get("type") {
            Some(AttributeValue::S(kind)) => langchain::is_type(kind),
            Some(AttributeValue::Null(_)) => true,
            _ => false,
        };
        match (fields.get("data"), fields.get("text")) {
            (Some(AttributeValue::M(_)), _) if is_typed => Some(Dialect::Python),
            (_, Some(_)) if is_typed => Some(Dialect::Js),
            _ => None,
        }
    })
}

/// Whether a list may hold messages in some other form, such as OpenAI's: with an author and content.
pub(crate) fn may_be_messages(list: &AttributeValue) -> bool {
    let AttributeValue::L(elements) = list else { return false };
    elements.iter().any(|element| {
        let AttributeValue::M(fields) = element else { return false };
        let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
        let is_text = |name: &str| matches!(fields.get(name), Some(AttributeValue::S(_)));
        (is_text("role") || is_text("type")) && has(&["text", "content", "parts", "data"])
    })
}

/// Decodes an element of either dialect.
///
/// # Errors
/// Continues a sentence that starts with the element: which of its attributes cannot be read, and why.
pub(crate) fn decode(element: &AttributeValue) -> Result<Element, String> {
    let AttributeValue::M(fields) = element else {
        return Err("is not a map (LangChain.js would skip it; chat-memory does not)".to_owned());
    };
    let mut mark = super::state::mark_of(element).ok_or_else(|| format!("has a {MARK} that is no mark"))?;
    let [set, unset, said] = RIDER.map(|key| mark.shift_remove(key));
    let shown = if let Some(message) = plain(fields) {
        message
    } else {
        let visible = unmarked(fields);
        if is_null(&visible, "type") && is_null(&visible, "text") {
            let Some(whole) = set else {
                return Err("has neither a type nor a text".to_owned());
            };
            let message = Message::from_value(whole).map_err(|e| format!("has a {MARK} that is not a message: {e}"))?;
            return Ok(Element { message, mark });
        }
        decode_visible(&AttributeValue::M(visible))?
    };
    if set.is_none() && unset.is_none() {
        return Ok(Element { message: shown, mark });
    }
    // If the visible part was edited, the edit wins.
    let counts = said.as_ref().and_then(Value::as_str) == Some(&fingerprint(&shown));
    let message = match (counts, set, unset) {
        (true, set, unset) => {
            let read = || {
                let set = set.map_or(Some(Map::new()), |set| set.as_object().cloned())?;
                let unset = unset.map_or(Some(Vec::new()), |unset| unset.as_array().cloned())?;
                let unset = unset.iter().map(|key| key.as_str().map(str::to_owned)).collect::<Option<_>>()?;
                Overlay { set, unset }.applied_to(&shown)
            };
            read().ok_or_else(|| format!("has a {MARK} that does not fit its message"))?
        }
        _ => shown,
    };
    Ok(Element { message, mark })
}

/// Decodes a plain element, as most are. Equivalent to [`decode_visible`] without the detour through LangChain's form; `None` for
/// any other element.
fn plain(fields: &Fields) -> Option<Message> {
    let text = |fields: &Fields, name: &str| match fields.get(name) {
        Some(AttributeValue::S(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    // The number of fields, not counting the mark.
    let count = |fields: &Fields| fields.len() - usize::from(fields.contains_key(MARK));
    let is_empty = |value: Option<&AttributeValue>| match value {
        Some(AttributeValue::M(fields)) => count(fields) == 0,
        Some(AttributeValue::L(list)) => list.is_empty(),
        _ => false,
    };
    let kind = text(fields, "type")?;
    let content = if let Some(AttributeValue::M(data)) = fields.get("data") {
        let is_ai = kind == "ai";
        let is_default = is_empty(data.get("additional_kwargs"))
            && is_empty(data.get("response_metadata"))
            && ["name", "id"].into_iter().all(|name| is_null(data, name))
            && text(data, "type")? == kind
            && (!is_ai
                || is_empty(data.get("tool_calls"))
                    && is_empty(data.get("invalid_tool_calls"))
                    && is_null(data, "usage_metadata"));
        let is_all = count(fields) == 2 && data.len() == if is_ai { 9 } else { 6 };
        text(data, "content").filter(|_| is_default && is_all)?
    } else {
        let kwargs = match fields.get("additional_kwargs") {
            None => 0,
            Some(AttributeValue::S(kwargs)) if kwargs == "{}" => 1,
            Some(_) => return None,
        };
        text(fields, "text").filter(|_| count(fields) == 2 + kwargs)?
    };
    match kind.as_str() {
        "human" => Some(Message::user(content)),
        "ai" => Some(Message::assistant(content)),
        "system" => Some(Message::system(content)),
        _ => None,
    }
}

/// The same element with another mark. What its message needs of the old mark is kept.
///
/// # Errors
/// Continues a sentence as [`decode`]'s do: there is no place for a mark, or the old one cannot be read.
pub(crate) fn with_mark(dialect: Dialect, element: &AttributeValue, mark: Mark) -> Result<AttributeValue, String> {
    let AttributeValue::M(fields) = element else { return Err("is not a map, so no mark can be added to it".to_owned()) };
    let old = super::state::mark_of(element).ok_or_else(|| format!("has a {MARK} that is no mark"))?;
    let mut rider: Mark = RIDER.iter().filter_map(|key| Some(((*key).to_owned(), old.get(*key)?.clone()))).collect();
    let mut visible = unmarked(fields);
    let placed = with_place(dialect, visible.clone());
    // An unreadable element is left as it is: it must not become readable by losing what is wrong with it.
    if placed != visible
        && let Ok(exact) = decode(element)
    {
        // Making room for the mark alters a message that others wrote; the rider restores it when it is read.
        rider = rider_of(&placed, &exact.message);
        visible = placed;
    }
    rider.extend(mark);
    Ok(AttributeValue::M(marked(dialect, visible, &rider)))
}

/// The difference between a message and what these fields show.
fn rider_of(visible: &Fields, exact: &Message) -> Mark {
    let mut rider = Mark::new();
    match decode_visible(&as_stored(AttributeValue::M(visible.clone()))) {
        Ok(shown) if shown == *exact => {}
        Ok(shown) => {
            let difference = Overlay::between(&shown, exact);
            if !difference.set.is_empty() {
                rider.insert("set".into(), difference.set.into());
            }
            if !difference.unset.is_empty() {
                rider.insert("unset".into(), difference.unset.into());
            }
            rider.insert("said".into(), fingerprint(&shown).into());
        }
        // Nothing is visible, so the rider holds the whole message.
        Err(_) => drop(rider.insert("set".into(), exact.to_value())),
    }
    rider
}

/// Whether the JavaScript originals cannot show it. They know no tool messages, and must not see a call without its result, since
/// model providers refuse such a conversation.
fn is_unseen(message: &Message) -> bool {
    message.role == Role::Tool || message.text().is_empty() && uses_tools(message)
}

/// An element that LangChain.js and Flowise filter out.
fn unseen() -> Fields {
    ["type", "text"].map(|name| (name.to_owned(), AttributeValue::Null(true))).into()
}

/// The fields that LangChain.js writes for a message, without its tool calls.
fn js(message: &Message) -> Fields {
    let stored = langchain::shown(message);
    let kwargs = stored["data"]["additional_kwargs"].as_object().cloned().unwrap_or_default();
    let kwargs: Map<_, _> =
        kwargs.into_iter().filter(|(key, _)| !["tool_calls", "function_call", MARK].contains(&key.as_str())).collect();
    let is_generic = matches!(stored["type"].as_str(), Some("chat" | "generic" | "ChatMessageChunk"));
    let kind = match message.role {
        _ if is_generic => "generic",
        Role::System => "system",
        Role::Assistant => "ai",
        _ => "human",
    };
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let mut fields = Fields::from([("type".to_owned(), text(kind)), ("text".to_owned(), text(&message.text()))]);
    // Both classes read an element without them as one with none, which is what Flowise writes.
    if !kwargs.is_empty() {
        fields.insert("additional_kwargs".to_owned(), text(&Value::Object(kwargs).to_string()));
    }
    if is_generic {
        let role = stored["data"]["role"].as_str().filter(|role| !role.is_empty()).unwrap_or(message.role.as_str());
        fields.insert("role".to_owned(), text(role));
    }
    fields
}

/// The fields that langchain-core writes for a message.
fn python(message: &Message) -> Fields {
    let mut stored = langchain::shown(message);
    if !fits_python(&stored) {
        // Extra data from elsewhere would make its reader throw: it gets the message alone.
        let mut plain = message.clone();
        plain.extra.shift_remove(langchain::EXTRAS_KEY);
        stored = langchain::shown(&plain);
    }
    if stored["type"] == "generic" {
        stored["type"] = "chat".into();
        if stored["data"].get("type").is_some() {
            stored["data"]["type"] = "chat".into();
        }
    }
    let Value::Object(fields) = stored else { return Fields::new() };
    // Its reader drops any field other than these two.
    let fields = fields.into_iter().filter(|(key, _)| key == "type" || key == "data");
    fields.map(|(key, value)| (key, to_attribute(&value))).collect()
}

/// Whether langchain-core's constructors accept it.
fn fits_python(stored: &Value) -> bool {
    let data = &stored["data"];
    let is_text = |value: &Value| value.is_string();
    let absent_or = |key: &str, fits: &dyn Fn(&Value) -> bool| data.get(key).is_none_or(|value| value.is_null() || fits(value));
    let is_part = |value: &Value| value.is_string() || value.is_object();
    let content = data["content"].is_string() || data["content"].as_array().is_some_and(|parts| parts.iter().all(is_part));
    let is_object = |key: &str| data.get(key).is_none_or(Value::is_object);
    let counts = |usage: &Value| {
        let is_count = |key: &str| usage[key].is_u64();
        usage.is_object() && ["input_tokens", "output_tokens", "total_tokens"].into_iter().all(is_count)
    };
    let call =
        |call: &Value| call["name"].is_string() && call["args"].is_object() && (call["id"].is_null() || call["id"].is_string());
    let invalid = |call: &Value| {
        let nothing_or_text = |key: &str| call[key].is_null() || call[key].is_string();
        call.is_object() && ["name", "args", "id", "error"].into_iter().all(nothing_or_text)
    };
    let calls = |key: &str, fits: &dyn Fn(&Value) -> bool| {
        data.get(key).is_none_or(|calls| calls.as_array().is_some_and(|calls| calls.iter().all(fits)))
    };
    let kind = stored["type"].as_str().unwrap_or_default();
    let own = match kind {
        "tool" | "ToolMessageChunk" => {
            data["tool_call_id"].is_string() && data.get("status").is_none_or(|status| status == "success" || status == "error")
        }
        "chat" | "generic" | "ChatMessageChunk" => data["role"].is_string(),
        "function" | "FunctionMessageChunk" => data["name"].is_string(),
        _ => true,
    };
    let same_kind = data.get("type").is_none_or(|inner| inner == kind);
    content
        && own
        && same_kind
        && is_object("additional_kwargs")
        && is_object("response_metadata")
        && absent_or("name", &is_text)
        && absent_or("id", &is_text)
        && absent_or("usage_metadata", &counts)
        && calls("tool_calls", &call)
        && calls("invalid_tool_calls", &invalid)
}

/// The message that an original's code would see; also reads elements that no original wrote, if they are plain enough.
fn decode_visible(element: &AttributeValue) -> Result<Message, String> {
    let AttributeValue::M(fields) = element else { return Err("is not a map".to_owned()) };
    if let Some(AttributeValue::M(data)) = fields.get("data") { decode_python(fields, data) } else { decode_js(fields) }
}

fn decode_python(fields: &Fields, data: &Fields) -> Result<Message, String> {
    let mut data = data.clone();
    // Some third-party code stores it as text.
    if let Some(AttributeValue::S(text)) = data.get("additional_kwargs") {
        let kwargs = kwargs(text)?;
        data.insert("additional_kwargs".to_owned(), to_attribute(&kwargs.into()));
    }
    let mut stored = Map::new();
    for (name, value) in fields {
        let value = if name == "data" { to_json(&AttributeValue::M(data.clone())) } else { to_json(value) };
        stored.insert(name.clone(), value.map_err(|why| format!("holds in {name}: {why}"))?);
    }
    stored.sort_keys();
    if !stored.contains_key("type")
        && let Some(kind) = stored["data"].get("type").cloned()
    {
        stored.insert("type".into(), kind);
    }
    langchain::from_value(stored.into()).map_err(|e| format!("is not a message: {e}"))
}

/// The `additional_kwargs` of an element in the Python form.
pub(super) fn kwargs_of(fields: &Fields) -> Option<&Fields> {
    let AttributeValue::M(data) = fields.get("data")? else { return None };
    let AttributeValue::M(kwargs) = data.get("additional_kwargs")? else { return None };
    Some(kwargs)
}

fn decode_js(fields: &Fields) -> Result<Message, String> {
    let kind = match fields.get("type") {
        Some(AttributeValue::S(kind)) => kind.as_str(),
        Some(_) => return Err("has a type that is not a string".to_owned()),
        None => return Err("has no type, so its author is unknown".to_owned()),
    };
    let shown = if fields.contains_key("text") { "text" } else { "content" };
    let content = match fields.get(shown) {
        None => Value::Null,
        Some(content) => to_json(content).map_err(|why| format!("holds in {shown}: {why}"))?,
    };
    if !(content.is_string() || content.is_array() || content.is_null()) {
        return Err("has a text that is neither a string nor a list of parts".to_owned());
    }
    let kwargs = match fields.get("additional_kwargs") {
        None | Some(AttributeValue::Null(_)) => Map::new(),
        Some(AttributeValue::S(text)) => kwargs(text)?,
        Some(value @ AttributeValue::M(_)) => match to_json(value).map_err(|why| format!("holds in additional_kwargs: {why}"))? {
            Value::Object(kwargs) => kwargs,
            _ => Map::new(),
        },
        Some(_) => return Err("has additional_kwargs that are neither a JSON text nor a map".to_owned()),
    };
    let is_tool = matches!(kind, "tool" | "ToolMessageChunk");
    let mut data = json!({
        "content": content, "additional_kwargs": kwargs, "response_metadata": {}, "type": kind, "name": null, "id": null,
    });
    // langchain-core's defaults, so that a plain element becomes a plain message.
    match kind {
        "ai" | "AIMessageChunk" => {
            (data["tool_calls"], data["invalid_tool_calls"], data["usage_metadata"]) = (json!([]), json!([]), Value::Null);
        }
        "function" | "FunctionMessageChunk" => data["name"] = "".into(),
        "chat" | "generic" | "ChatMessageChunk" => {
            data["role"] = match fields.get("role") {
                Some(AttributeValue::S(role)) => role.clone().into(),
                _ => "user".into(),
            };
        }
        _ if is_tool => (data["tool_call_id"], data["artifact"], data["status"]) = ("".into(), Value::Null, "success".into()),
        _ => {}
    }
    let is_generic = matches!(kind, "chat" | "generic" | "ChatMessageChunk");
    let read = |name: &str| name == "type" || name == shown || name == "additional_kwargs" || name == "role" && is_generic;
    let mut others: Vec<_> = fields.iter().filter(|(name, _)| !read(name)).collect();
    others.sort_unstable_by_key(|(name, _)| name.as_str());
    let mut own_call = false;
    let (mut free, mut rest) = (Map::new(), Map::new());
    for (name, value) in others {
        let value = to_json(value).map_err(|why| format!("holds in {name}: {why}"))?;
        match name.as_str() {
            // LangChain.js's own fields, though it ignores them here.
            "id" | "name" if value.is_string() => data[name] = value,
            "tool_call_id" if is_tool && value.is_string() => {
                own_call = true;
                data[name] = value;
            }
            _ => drop(free.insert(name.clone(), value)),
        }
    }
    let build = |rest: &Map<String, Value>| {
        let mut stored = Map::from_iter([("type".to_owned(), kind.into()), ("data".to_owned(), data.clone())]);
        stored.extend(rest.clone());
        langchain::from_value(stored.into()).map_err(|e| format!("is not a message: {e}"))
    };
    let mut message = build(&rest)?;
    let taken = message.to_value();
    for name in free.keys().cloned().collect::<Vec<_>>() {
        let is_taken = OF_A_MESSAGE.contains(&name.as_str()) || taken.get(&name).is_some();
        // LangChain's own two names, `type` and `data`, cannot appear a second time.
        if is_taken && name != "data" {
            rest.extend(free.shift_remove(&name).map(|value| (name, value)));
        }
    }
    if !rest.is_empty() {
        message = build(&rest)?;
    }
    // LangChain.js did not store it.
    message.tool_call_id = message.tool_call_id.filter(|_| !is_tool || own_call);
    message.extra.extend(free);
    Ok(message)
}

fn kwargs(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match strict::parse(text) {
        Ok(Value::Object(kwargs)) => Ok(kwargs),
        Ok(_) => Err("has additional_kwargs whose JSON is not an object".to_owned()),
        Err(e) => Err(format!("has additional_kwargs that are not JSON: {e}")),
    }
}

fn is_null(fields: &Fields, name: &str) -> bool {
    matches!(fields.get(name), Some(AttributeValue::Null(_)))
}

/// The fields without the mark.
fn unmarked(fields: &Fields) -> Fields {
    let mut fields = fields.clone();
    fields.remove(MARK);
    if let Some(AttributeValue::M(data)) = fields.get_mut("data")
        && let Some(AttributeValue::M(kwargs)) = data.get_mut("additional_kwargs")
    {
        kwargs.remove(MARK);
    }
    fields
}

/// The fields, with the map that holds a mark of this dialect added if they are a message without one.
fn with_place(dialect: Dialect, mut fields: Fields) -> Fields {
    if let (Dialect::Python, Some(AttributeValue::M(data))) = (dialect, fields.get_mut("data")) {
        let place = match data.get("additional_kwargs") {
            Some(AttributeValue::M(_)) => return fields,
            Some(AttributeValue::S(text)) => {
                let mut kwargs = kwargs(text).unwrap_or_default();
                kwargs.shift_remove(MARK);
                to_attribute(&kwargs.into())
            }
            _ => AttributeValue::M(Fields::new()),
        };
        data.insert("additional_kwargs".to_owned(), place);
    }
    fields
}

/// The fields with a mark in its proper place, or at the top level if that is missing.
fn marked(dialect: Dialect, mut fields: Fields, mark: &Mark) -> Fields {
    if mark.is_empty() {
        return fields;
    }
    if dialect == Dialect::Js {
        fields.insert(MARK.to_owned(), mark::pack(mark));
    } else if let Some(AttributeValue::M(data)) = fields.get_mut("data")
        && let Some(AttributeValue::M(kwargs)) = data.get_mut("additional_kwargs")
    {
        kwargs.insert(MARK.to_owned(), mark::text(mark));
    } else {
        fields.insert(MARK.to_owned(), mark::text(mark));
    }
    fields
}

/// Detects whether a visible message was edited: a hash of its author and text (FNV-1a).
fn fingerprint(message: &Message) -> String {
    let said = format!("{}:{}", message.role, message.text());
    let hash = said.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests;
