//! The ShareGPT format: `{"conversations": [{"from", "value"}]}`, in some collections with `system` and `tools` next to it.

use chat_memory::{Error, Message, ToolCall};
use serde_json::{Map, Value};

use super::super::conversation::{Draft, Form, plain_title, time};
use super::expected;

/// Parses a conversation.
pub fn read(fields: Map<String, Value>) -> Result<Draft, Error> {
    let (mut draft, mut turns, mut system) = (Draft::default(), None, None);
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("id", Value::String(text)) => draft.id = Some(text),
            ("id", Value::Number(number)) => draft.id = Some(number.to_string()),
            ("conversations", Value::Array(list)) => turns = Some(list),
            ("title", Value::String(text)) => draft.title = plain_title(&text),
            ("system", Value::String(text)) => system = Some(text).filter(|text| !text.is_empty()),
            ("created_at", value @ (Value::String(_) | Value::Number(_))) => draft.started_at = time("created_at", &value)?,
            (_, Value::Null) => {}
            _ => draft.left_out.push(name),
        }
    }
    let Some(turns) = turns else { return Err(expected(Form::Sharegpt, "there is no list \"conversations\"")) };
    draft.messages.extend(system.map(Message::system));
    let mut calls = Calls::default();
    for (place, turn) in turns.iter().enumerate() {
        let message = message(turn, &mut calls).map_err(|e| e.context(format_args!("message {}", place + 1)))?;
        draft.messages.push(message);
    }
    if draft.messages.is_empty() && draft.id.is_none() {
        return Err(expected(Form::Sharegpt, "the conversation has neither an id nor a message"));
    }
    Ok(draft)
}

/// The tool calls, which have no ids here: a result answers the call before it.
#[derive(Default)]
struct Calls {
    made: usize,
    open: Option<String>,
}

fn message(turn: &Value, calls: &mut Calls) -> Result<Message, Error> {
    let text = |names: [&str; 2]| names.into_iter().find_map(|name| turn.get(name)?.as_str());
    let (Some(from), Some(value)) = (text(["from", "role"]), text(["value", "content"])) else {
        return Err(expected(Form::Sharegpt, "a message has the texts \"from\" and \"value\""));
    };
    let open = calls.open.take();
    Ok(match from {
        "human" | "user" => Message::user(value),
        "gpt" | "chatgpt" | "assistant" | "bot" | "model" | "ai" | "bard" | "bing" | "claude" => Message::assistant(value),
        "system" => Message::system(value),
        "function_call" | "tool_call" => match call(value) {
            Some((name, arguments)) => {
                calls.made += 1;
                let id = format!("call_{}", calls.made);
                calls.open = Some(id.clone());
                Message::tool_calls([ToolCall::function(id, name, arguments)])
            }
            None => Message::assistant(value),
        },
        "observation" | "tool" | "function_response" | "function" => match open {
            Some(id) => Message::tool(id, value),
            // Its call is written into the text before it, or missing: its text is kept, in a form that models accept.
            None => Message::user(value).with_name("tool"),
        },
        other => {
            return Err(Error::invalid(format!(
                "unknown \"from\" {other:?}: expected human, gpt, system, function_call or observation (or user, assistant, tool)"
            )));
        }
    })
}

/// The name and arguments of a call that is written as JSON.
fn call(value: &str) -> Option<(String, String)> {
    let call: Map<String, Value> = serde_json::from_str(value).ok()?;
    let arguments = match call.get("arguments").or_else(|| call.get("parameters")) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "{}".to_owned(),
    };
    Some((call.get("name")?.as_str()?.to_owned(), arguments))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_value(value: Value) -> Result<Vec<Value>, String> {
        let Value::Object(fields) = value else { panic!("an object") };
        read(fields).map(|draft| draft.messages.iter().map(Message::to_value).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn sharegpt_author_names_map_to_roles() {
        let said = |from: &str, value: &str| json!({"from": from, "value": value});
        let read = read_value(json!({"system": "S", "conversations": [
            said("human", "q"), said("gpt", "a"), said("user", "w?"),
            said("function_call", "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"), said("observation", "21"), said("gpt", "21 C"),
            said("tool", "alone"),
        ]}))
        .expect("good");
        let roles: Vec<_> = read.iter().map(|message| message["role"].as_str().unwrap_or_default()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user", "assistant", "tool", "assistant", "user"]);
        assert_eq!(read[4]["tool_calls"][0]["function"], json!({"name": "f", "arguments": "{\"x\":1}"}));
        assert_eq!(read[5]["tool_call_id"], read[4]["tool_calls"][0]["id"]);
    }

    #[test]
    fn malformed_input_errors_name_the_fault() {
        for (value, says) in [
            (json!({"conversations": [{"from": "alien", "value": "x"}]}), "message 1: unknown \"from\" \"alien\""),
            (json!({"conversations": [{"from": "human", "value": "x"}, {"from": "gpt"}]}), "message 2: "),
            (json!({"conversations": {}}), "no list \"conversations\""),
            (json!({"conversations": []}), "neither an id nor a message"),
        ] {
            let error = read_value(value).expect_err(says);
            assert!(error.contains(says) && (error.contains("expected")), "{error}");
        }
    }
}
