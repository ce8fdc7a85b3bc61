//! The formats of conversations, and detecting them.

pub mod chatgpt;
pub mod messages;
pub mod sharegpt;

use chat_memory::Error;
use serde_json::Value;

use super::conversation::Form;

/// What each format looks like, for errors.
fn looks_like(form: Form) -> &'static str {
    match form {
        Form::Auto => {
            "{\"messages\": […]} of OpenAI's, LangChain's or Anthropic's messages, ChatGPT's conversations.json, or ShareGPT's \
             {\"conversations\": [{\"from\", \"value\"}]}"
        }
        Form::Openai => "{\"id\", \"messages\": [{\"role\", \"content\"}]}",
        Form::Langchain => "{\"id\", \"messages\": [{\"type\", \"data\"}]}",
        Form::Anthropic => "{\"system\", \"messages\": [{\"role\", \"content\"}]}",
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
    let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
    if messages.iter().any(|message| message.get("data").is_some() && message.get("type").is_some()) {
        return Ok(Form::Langchain);
    }
    Ok(if fields.contains_key("system") { Form::Anthropic } else { Form::Openai })
}
