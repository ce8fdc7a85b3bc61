//! Explains why a JSON value is not a message: what it is instead, if that can be determined, and the remedy.

use serde_json::{Map, Value};

use super::{MessageError, kind_of};

/// How much of a name an error quotes, in characters.
const QUOTED: usize = 40;

fn quoted(name: &str) -> String {
    match name.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}", format!("{}…", &name[..end])),
        None => format!("{name:?}"),
    }
}

fn error(what: impl std::fmt::Display, cause: impl std::fmt::Display, remedy: impl std::fmt::Display) -> MessageError {
    MessageError::new(format!("{what}: {cause}; {remedy}"))
}

/// How LangChain's own functions write the messages that we read.
const STORED: &str =
    "write it with LangChain's messages_to_dict (mapChatMessagesToStoredMessages in JavaScript), and set the format to langchain";

/// The error for an unknown role.
pub(crate) fn unknown_role(name: &str, roles: &str) -> MessageError {
    let lower = name.trim().to_lowercase();
    let meant = match lower.as_str() {
        "human" | "customer" | "client" | "person" | "prompter" => Some("user"),
        "ai" | "bot" | "model" | "gpt" | "chatgpt" | "llm" | "agent" | "chatbot" => Some("assistant"),
        "instruction" | "instructions" => Some("system"),
        "tool_result" | "tool_response" | "observation" | "ipython" => Some("tool"),
        lower => roles.split(", ").find(|role| *role == lower),
    };
    let what = format!("unknown role {}", quoted(name));
    match meant {
        Some(meant) => error(what, format_args!("expected one of {roles}"), format_args!("give {meant:?}, which means the same")),
        None => error(what, format_args!("expected one of {roles}"), "give the one that fits"),
    }
}

/// The error for a value that is not an object.
pub(crate) fn not_an_object(value: &Value) -> MessageError {
    let cause = format!("expected a JSON object such as {{\"role\": \"user\", \"content\": \"Hi\"}}, found {}", kind_of(value));
    error("invalid message", cause, "give one object per message")
}

/// The error for an entry that is not an object.
pub(crate) fn not_an_entry(value: &Value) -> MessageError {
    let cause = format!("expected a JSON object, found {}", kind_of(value));
    error("invalid entry", cause, "give one object per entry")
}

/// The error for an object without a role.
pub(crate) fn without_role(fields: &Map<String, Value>, roles: &str) -> MessageError {
    const WHAT: &str = "message without \"role\"";
    let has = |key: &str| fields.contains_key(key);
    if is_serialized(fields) {
        error(WHAT, "this is an object written by LangChain's dumpd or toJSON", STORED)
    } else if has("type") && has("data") {
        error(WHAT, "this is a stored LangChain message", "set the format to langchain")
    } else if has("type") && has("content") {
        error(
            WHAT,
            "its \"type\" is not a role, and it is not a stored LangChain message",
            format_args!("give a \"role\", or {STORED}"),
        )
    } else if has("from") && has("value") {
        error(WHAT, "this is a ShareGPT message", "write it as {\"role\", \"content\"}")
    } else if has("author") && has("content") {
        error(
            WHAT,
            "this is a message of a ChatGPT export",
            "write it as {\"role\", \"content\"}, or import the whole conversations.json",
        )
    } else if has("messages") || has("conversations") || has("mapping") {
        error(WHAT, "this is a whole conversation", "import it, or give its messages one by one")
    } else {
        error(WHAT, format_args!("expected one of {roles}"), "give the message's role")
    }
}

/// The error for a known field of the wrong type.
pub(crate) fn wrong_field(key: &str, value: &Value) -> MessageError {
    let (expected, remedy) = match (key, value) {
        ("content", Value::Object(_)) => ("a string or a list of parts", "put the part into a list"),
        ("content", Value::Array(_)) => ("a list of objects", "write a string in it as {\"type\": \"text\", \"text\": …}"),
        ("content", _) => ("a string or a list of parts", "give it as a string"),
        ("tool_calls", _) => ("a list of objects", "put each call into it as an object"),
        _ => ("a string", "give it as a string"),
    };
    let found = match value {
        Value::Array(items) => items.iter().find(|item| !item.is_object()).map_or("a list", |item| match kind_of(item) {
            "a string" => "a list with a string",
            "a number" => "a list with a number",
            "a list" => "a list with a list",
            _ => "a list with something else",
        }),
        value => kind_of(value),
    };
    error(format_args!("invalid field {key:?}"), format_args!("expected {expected}, found {found}"), remedy)
}

/// The error for a value that is not a stored message of LangChain's.
pub(crate) fn not_stored(value: &Value) -> MessageError {
    let what = "invalid stored message";
    let Value::Object(fields) = value else {
        let cause = format!("expected a JSON object such as {{\"type\": \"human\", \"data\": {{…}}}}, found {}", kind_of(value));
        return error(what, cause, "give one object per message");
    };
    let has = |key: &str| fields.contains_key(key);
    if is_serialized(fields) {
        return error(what, "this is an object written by LangChain's dumpd or toJSON", STORED);
    }
    if !has("data") && (has("role") || other_form(fields).is_some()) {
        return of_other_form(what, fields);
    }
    match (fields.get("type"), fields.get("data")) {
        (None, _) => error(what, "it has no \"type\"", format_args!("give one of {}", super::LANGCHAIN_TYPES)),
        (Some(Value::String(_)), None) => error(what, "it has no \"data\"", STORED),
        (Some(Value::String(_)), Some(data)) => {
            error(what, format_args!("expected \"data\" to be an object, found {}", kind_of(data)), STORED)
        }
        (Some(kind), _) => {
            let cause = format!("expected \"type\" to be a string, found {}", kind_of(kind));
            error(what, cause, format_args!("give one of {}", super::LANGCHAIN_TYPES))
        }
    }
}

/// The error for a value that is not a message of Anthropic's.
pub(crate) fn not_anthropic(value: &Value) -> MessageError {
    const ROLES: &str = "user, assistant, system";
    let what = "invalid Anthropic message";
    let Value::Object(fields) = value else { return not_an_object(value) };
    match (fields.get("role").map(|role| (role, role.as_str())), fields.get("content")) {
        _ if other_form(fields).is_some_and(|form| form != "anthropic") => of_other_form(what, fields),
        (Some((_, Some("user" | "assistant" | "system"))), None) => {
            error(what, "it has no \"content\"", "give a string or a list of blocks")
        }
        (Some((_, Some("user" | "assistant" | "system"))), Some(content)) => wrong_field("content", content),
        (Some((_, Some(name))), _) => unknown_role(name, ROLES),
        (Some((role, None)), _) => wrong_field("role", role),
        (None, _) => without_role(fields, ROLES),
    }
}

/// The error for a value that is not an item of the Responses API.
pub(crate) fn not_an_item(value: &Value) -> MessageError {
    const ROLES: &str = "system, developer, user, assistant";
    let what = "invalid item of the Responses API";
    let Value::Object(fields) = value else { return not_an_object(value) };
    match (fields.get("role").map(|role| (role, role.as_str())), fields.get("type").and_then(Value::as_str)) {
        _ if other_form(fields).is_some_and(|form| form != "responses") => of_other_form(what, fields),
        (Some((_, Some("user" | "assistant" | "system" | "developer"))), _) => match fields.get("content") {
            None => error(what, "it has no \"content\"", "give a string or a list of parts"),
            Some(content) => wrong_field("content", content),
        },
        (Some((_, Some(name))), _) => unknown_role(name, ROLES),
        (Some((role, None)), _) => wrong_field("role", role),
        (None, Some(kind)) if !fields.contains_key("content") => error(
            format_args!("unknown item type {}", quoted(kind)),
            "expected a type such as message, function_call or reasoning",
            "give the one that fits",
        ),
        (None, _) => without_role(fields, ROLES),
    }
}

/// Returns the name of the form that an object has, if that can be determined.
fn other_form(fields: &Map<String, Value>) -> Option<&'static str> {
    let has = |key: &str| fields.get(key).is_some_and(|value| !value.is_null());
    let is = |key: &str, names: &[&str]| fields.get(key).and_then(Value::as_str).is_some_and(|name| names.contains(&name));
    let blocks = || fields.get("content").and_then(Value::as_array).into_iter().flatten();
    if has("type") && has("data") {
        Some("langchain")
    } else if has("tool_calls") || has("tool_call_id") || has("function_call") || is("role", &["tool", "function"]) {
        Some("openai")
    } else if !has("role") && fields.get("type").and_then(Value::as_str).and_then(super::tools::role_of_item).is_some() {
        Some("responses")
    } else if blocks().any(|block| matches!(block["type"].as_str(), Some("tool_use" | "tool_result"))) {
        Some("anthropic")
    } else {
        None
    }
}

fn of_other_form(what: &str, fields: &Map<String, Value>) -> MessageError {
    match other_form(fields) {
        Some("langchain") => error(what, "this is a stored LangChain message", "set the format to langchain"),
        Some("responses") => error(what, "this is an item of the OpenAI Responses API", "set the format to responses"),
        Some("anthropic") => error(what, "this is an Anthropic message", "set the format to anthropic"),
        _ => error(what, "this is an OpenAI message", "set the format to openai"),
    }
}

/// The error for a type that LangChain's messages do not have.
pub(crate) fn unknown_type(kind: &str) -> MessageError {
    let meant = match kind.trim().to_lowercase().as_str() {
        "user" => Some("human"),
        "assistant" | "bot" | "model" => Some("ai"),
        "developer" => Some("system"),
        lower => super::LANGCHAIN_TYPES.split(", ").find(|known| *known == lower),
    };
    let (what, cause) = (format!("unknown message type {}", quoted(kind)), format!("expected one of {}", super::LANGCHAIN_TYPES));
    match meant {
        Some(meant) => error(what, cause, format_args!("give {meant:?}, which means the same")),
        None => error(what, cause, "give the one that fits"),
    }
}

/// Whether LangChain's `dumpd` or `toJSON` wrote it: `{"lc": 1, "type": "constructor", "id": […], "kwargs": {…}}`.
fn is_serialized(fields: &Map<String, Value>) -> bool {
    fields.contains_key("lc") && (fields.contains_key("kwargs") || fields.contains_key("id"))
}
