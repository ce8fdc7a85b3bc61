//! The formats of conversations, and detecting them.

pub mod chatgpt;
pub mod messages;
pub mod sharegpt;

use chat_memory::Error;
use chat_memory::wire::Format;
use serde_json::Value;

use super::conversation::Form;

/// What each format looks like, for errors.
fn looks_like(form: Form) -> &'static str {
    match form {
        Form::Auto => {
            "{\"messages\": […]} of OpenAI's, LangChain's or Anthropic's messages, ChatGPT's conversations.json, or ShareGPT's \
             {\"conversations\": [{\"from\", \"value\"}]}"
        }
        Form::Messages(Format::LangChain) => "{\"id\", \"messages\": [{\"type\", \"data\"}]}",
        Form::Messages(Format::Anthropic) => "{\"system\", \"messages\": [{\"role\", \"content\"}]}",
        Form::Messages(Format::Responses) => {
            "{\"id\", \"messages\": [{\"type\": \"message\", \"role\", \"content\"}, {\"type\": \"function_call\", …}]}"
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
    if fields.get("input").is_some_and(Value::is_array) && !fields.contains_key("messages") {
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
    let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
    if messages.iter().any(|message| message.get("data").is_some() && message.get("type").is_some()) {
        return Ok(Form::Messages(Format::LangChain));
    }
    let is_block =
        |block: &Value| matches!(block["type"].as_str(), Some("tool_use" | "tool_result" | "thinking" | "redacted_thinking"));
    let has_blocks = |message: &Value| message["content"].as_array().is_some_and(|blocks| blocks.iter().any(is_block));
    let is_item = |message: &Value| message.get("role").is_none() && message.get("type").is_some();
    let has_calls = |message: &Value| message.get("tool_calls").is_some() || message["role"] == "tool";
    // Ours may hold such messages in OpenAI's form, and is read as it was written.
    let is_ours = fields.contains_key("id");
    Ok(Form::Messages(if fields.contains_key("system") {
        Format::Anthropic
    } else if is_ours {
        Format::OpenAi
    } else if messages.iter().any(is_item) && Format::Responses.read(messages.to_vec()).is_ok() {
        Format::Responses
    } else if messages.iter().any(has_blocks)
        && !messages.iter().any(has_calls)
        && Format::Anthropic.read(messages.to_vec()).is_ok()
    {
        Format::Anthropic
    } else {
        Format::OpenAi
    }))
}
