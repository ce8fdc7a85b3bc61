//! The formats of conversations, and detecting them.

pub mod chatgpt;
pub mod format;
pub mod messages;
pub mod sharegpt;

use chat_memory::Error;
use chat_memory::wire::Format;
use serde_json::{Map, Value};

use super::conversation::Form;

/// The field of a conversation that names the format of its messages.
pub const FORMAT: &str = "format";

/// What each format looks like, for errors.
fn looks_like(form: Form) -> &'static str {
    match form {
        Form::Auto => {
            "{\"messages\": […]} of OpenAI's, LangChain's or Anthropic's messages or the Responses API's items, {\"input\"} of its requests, ChatGPT's conversations.json, or ShareGPT's \
             {\"conversations\": [{\"from\", \"value\"}]}"
        }
        Form::Messages(Format::LangChain) => "{\"id\", \"messages\": [{\"type\", \"data\"}]}",
        Form::Messages(Format::Anthropic) => "{\"system\", \"messages\": [{\"role\", \"content\"}]}",
        Form::Messages(Format::Responses) => {
            "{\"id\", \"messages\": [{\"type\": \"message\", \"role\", \"content\"}, {\"type\": \"function_call\", …}]}, or \
             {\"instructions\", \"input\"} with the items or a text as input"
        }
        Form::Messages(_) => "{\"id\", \"messages\": [{\"role\", \"content\"}]}",
        Form::Chatgpt => "{\"title\", \"current_node\", \"mapping\": {…}}, as in ChatGPT's conversations.json",
        Form::Sharegpt => "{\"conversations\": [{\"from\", \"value\"}]}",
    }
}

/// The error for data that is not of this format.
pub fn expected(form: Form, why: &str) -> Error {
    Error::invalid(format!("{why}; expected {}", looks_like(form)))
}

/// Detects the format of this conversation.
///
/// # Errors
/// Invalid if it matches none, with what was expected.
pub fn detect(value: &Value) -> Result<Form, Error> {
    let Some(fields) = value.as_object() else {
        return Err(expected(Form::Auto, "a conversation is a JSON object"));
    };
    if fields.get("mapping").is_some_and(Value::is_object) {
        return Ok(Form::Chatgpt);
    }
    if fields.get("conversations").is_some_and(Value::is_array) {
        return Ok(Form::Sharegpt);
    }
    if fields.get("input").is_some_and(|input| input.is_array() || input.is_string()) && !fields.contains_key("messages") {
        return Ok(Form::Messages(Format::Responses));
    }
    let Some(messages) = fields.get("messages") else {
        let why = if fields.contains_key("role") {
            "this is a message, not a conversation (`append --file` adds messages to a session)".to_owned()
        } else {
            let names: Vec<_> = fields.keys().take(5).map(|name| format!("{name:?}")).collect();
            match names.is_empty() {
                true => "the object is empty".to_owned(),
                false => format!("unknown form with the fields {}", names.join(", ")),
            }
        };
        return Err(expected(Form::Auto, &why));
    };
    if let Some(format) = named(fields) {
        return Ok(Form::Messages(format));
    }
    if fields.contains_key("system") {
        return Ok(Form::Messages(Format::Anthropic));
    }
    let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Form::Messages(format::detect(messages)))
}

/// The format that a conversation names itself, as `export` writes it.
pub fn named(fields: &Map<String, Value>) -> Option<Format> {
    fields.get(FORMAT)?.as_str()?.parse().ok()
}
