//! OpenAI's chat messages: [`Message::to_value`]'s own form, and what else people keep in lists of messages.
//!
//! | input | is read as |
//! |---|---|
//! | role `developer` (OpenAI's newer name for `system`) | [`Role::System`] |
//! | role `function` (its older name for `tool`) | [`Role::Tool`] |
//! | role `model` with `parts` (Gemini's contents) | [`Role::Assistant`] |
//! | no role, and a `type` of an item of OpenAI's Responses API: `…_call`, `reasoning`, `mcp_list_tools`, `mcp_approval_request`, `compaction` | [`Role::Assistant`] |
//! | … `…_call_output`, `tool_search_output`, `mcp_approval_response` | [`Role::Tool`] |
//!
//! The original role is kept in [`Message::extra`] under [`ROLE_KEY`], so that the message is written as it was read. Messages
//! whose `content` is a list of blocks (Anthropic's, Bedrock's) and Gemini's contents with other roles need nothing more.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Form, Request, anthropic, read_each, responses, write_each};
use crate::message::{Content, Message, MessageError, Role, ToolCall, tools};

pub(super) const FORM: Form = Form {
    name: "openai",
    title: "OpenAI",
    about: "OpenAI's chat messages: {\"role\", \"content\", …}",
    read: |values| read_each(values, from_value),
    write: |messages| write_each(messages, to_value),
    write_joined: None,
    for_request: Some(|messages| Request { system: None, messages: write_each(messages, for_request) }),
};

/// The field of [`Message::extra`] that keeps the roles `developer`, `function` and `model`, and a missing role.
pub const ROLE_KEY: &str = "openai_role";

/// The value of [`ROLE_KEY`] for an item without a role.
pub(crate) const NO_ROLE: &str = "none";

/// Other names of our roles.
const OTHER_NAMES: [(&str, Role); 3] = [("developer", Role::System), ("function", Role::Tool), (MODEL, Role::Assistant)];

/// Gemini's name for the assistant, recognized only with its `parts`: elsewhere it may mean anything.
const MODEL: &str = "model";

/// All roles that are accepted here, as an error lists them.
const ROLES: &str = "system, developer, user, assistant, tool, function";

/// Returns the other name under which this message's role was read, or [`NO_ROLE`].
pub(crate) fn other_name(role: Role, extra: &Map<String, Value>) -> Option<&'static str> {
    let name = extra.get(ROLE_KEY)?.as_str()?;
    if name == NO_ROLE {
        return (role_of_item(extra) == Some(role)).then_some(NO_ROLE);
    }
    let other = OTHER_NAMES.iter().find(|other| **other == (name, role)).map(|(name, _)| *name);
    other.filter(|name| *name != MODEL || has_parts(extra))
}

/// Whether a value of [`ROLE_KEY`] is one of ours.
pub(crate) fn is_other_name(value: &Value) -> bool {
    value.as_str().is_some_and(|name| name == NO_ROLE || OTHER_NAMES.iter().any(|(other, _)| *other == name))
}

fn has_parts(fields: &Map<String, Value>) -> bool {
    fields.get("parts").is_some_and(Value::is_array)
}

/// Returns the role of an item of the Responses API, which names none.
fn role_of_item(fields: &Map<String, Value>) -> Option<Role> {
    tools::role_of_item(fields.get("type")?.as_str()?)
}

/// Returns the call of a message of OpenAI's older kind, which has one function instead of tools.
pub(crate) fn function_call(message: &Message) -> Option<&Map<String, Value>> {
    message.extra.get("function_call")?.as_object().filter(|_| message.role == Role::Assistant)
}

/// Reads an OpenAI chat message. [`to_value`] returns an equal value.
///
/// ```
/// use chat_memory::{Role, wire::openai};
/// let value = serde_json::json!({"role": "developer", "content": "Be brief."});
/// let message = openai::from_value(value.clone())?;
/// assert_eq!(message.role, Role::System);
/// assert_eq!(openai::to_value(&message), value);
/// # Ok::<(), chat_memory::MessageError>(())
/// ```
///
/// # Errors
/// As [`Message::from_value`]; also if a field named [`ROLE_KEY`] contains `developer` or `function` where that would be taken
/// for the role.
pub fn from_value(mut value: Value) -> Result<Message, MessageError> {
    let other = value.as_object().and_then(role_by_another_name);
    let Some((name, role)) = other else {
        let message = Message::from_value_among(value, ROLES)?;
        return match other_name(message.role, &message.extra) {
            Some(NO_ROLE) => Err(MessageError::new(format!(
                "invalid field {ROLE_KEY:?}: it is reserved, and its value {NO_ROLE:?} contradicts the role {:?}; remove one of them",
                message.role.as_str()
            ))),
            Some(name) => Err(MessageError::new(format!(
                "invalid field {ROLE_KEY:?}: it is reserved, and its value {name:?} contradicts the role {:?}; remove it and give the role {name:?}",
                message.role.as_str()
            ))),
            None => Ok(message),
        };
    };
    if value.get(ROLE_KEY).is_some() {
        return Err(MessageError::new(format!(
            "invalid field {ROLE_KEY:?}: it is reserved for remembering the role {name:?}; leave it out or rename it"
        )));
    }
    value["role"] = role.as_str().into();
    let mut message = Message::from_value(value)?;
    message.extra.insert(ROLE_KEY.into(), name.into());
    Ok(message)
}

/// Returns the message's own role name, if it is not one of ours, and the role that it means.
fn role_by_another_name(fields: &Map<String, Value>) -> Option<(&'static str, Role)> {
    let Some(role) = fields.get("role") else {
        return role_of_item(fields).map(|role| (NO_ROLE, role));
    };
    let other = OTHER_NAMES.iter().find(|other| Some(other.0) == role.as_str()).copied();
    other.filter(|(name, _)| *name != MODEL || has_parts(fields))
}

/// Writes an OpenAI chat message, with every field that the message has.
pub fn to_value(message: &Message) -> Value {
    let mut value = message.to_value();
    if let (Some(name), Value::Object(fields)) = (other_name(message.role, &message.extra), &mut value) {
        fields.shift_remove(ROLE_KEY);
        if name == NO_ROLE {
            fields.shift_remove("role");
        } else {
            fields.insert("role".into(), name.into());
        }
    }
    value
}

/// A message whose JSON is [`to_value`]'s.
pub(super) struct Written<'a>(pub(super) &'a Message);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match other_name(self.0.role, &self.0.extra) {
            None => self.0.serialize(serializer),
            Some(_) => to_value(self.0).serialize(serializer),
        }
    }
}

/// Writes the message for a request to an OpenAI-compatible endpoint: only the fields that such an endpoint accepts, since many
/// refuse a request with an unknown field. The fields are those of [OpenAI's
/// reference](https://platform.openai.com/docs/api-reference/chat/create), and `name` of a tool's message, which OpenAI's own
/// examples have.
///
/// | role | fields besides `role` |
/// |---|---|
/// | system, developer, user | `content`, `name` |
/// | assistant | `content`, `name`, `tool_calls`, `function_call`, `refusal`, `audio` (its `id` alone) |
/// | tool | `content`, `tool_call_id`, `name` |
/// | function | `content`, `name` |
///
/// Empty fields (`null`, no tool calls) are left out, except the `content` of an assistant that calls tools: some endpoints
/// require it, as `null`. Content parts and tool calls are sent as they are, since an endpoint may need what it put into them.
/// The message's [`id`](Message::id) is ours or the caller's and is not sent. Messages in another provider's form are not
/// translated: a Gemini content is sent as its text, and blocks are sent as they are.
///
/// ```
/// use chat_memory::{Message, wire::openai};
/// let mut message = Message::assistant("It is 21 °C.");
/// message.extra.insert("latency_ms".into(), 812.into());
/// assert_eq!(openai::for_request(&message), serde_json::json!({"role": "assistant", "content": "It is 21 °C."}));
/// ```
pub fn for_request(message: &Message) -> Value {
    // Gemini's `model` and a missing role mean nothing to such an endpoint.
    let name = other_name(message.role, &message.extra).filter(|name| *name != MODEL && *name != NO_ROLE);
    let mut fields = Map::new();
    fields.insert("role".into(), name.unwrap_or(message.role.as_str()).into());
    let is_assistant = message.role == Role::Assistant;
    let whole = message.to_value();
    let given = |key: &str| whole.get(key).filter(|value| !value.is_null()).cloned();
    let calls = is_assistant && (!message.tool_calls.is_empty() || given("function_call").is_some());
    match &message.content {
        // An empty list of parts is refused; an empty text is equivalent.
        Some(Content::Parts(parts)) if parts.is_empty() => drop(fields.insert("content".into(), "".into())),
        Some(_) => drop(fields.insert("content".into(), whole["content"].clone())),
        None if calls => drop(fields.insert("content".into(), Value::Null)),
        None if !message.parts().is_empty() => drop(fields.insert("content".into(), message.text().into())),
        None => {}
    }
    let mut keep = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value);
        }
    };
    keep("name", given("name"));
    match message.role {
        Role::Assistant => {
            let call = |call: &ToolCall| {
                let mut fields = call.fields().clone();
                // What only other forms have; endpoints refuse unknown fields.
                fields.retain(|key, _| key != anthropic::EXTRAS_KEY && key != responses::EXTRAS_KEY);
                Value::Object(fields)
            };
            let calls = message.tool_calls.iter().map(call).collect();
            keep("tool_calls", Some(calls).filter(|_| !message.tool_calls.is_empty()));
            keep("function_call", given("function_call"));
            keep("refusal", given("refusal"));
            let audio = message.extra.get("audio").and_then(|audio| audio.get("id"));
            keep("audio", audio.map(|id| Value::Object(Map::from_iter([("id".to_owned(), id.clone())]))));
        }
        Role::Tool => keep("tool_call_id", given("tool_call_id")),
        Role::System | Role::User => {}
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(value: Value) -> String {
        from_value(value).expect_err("must be refused").to_string()
    }

    #[test]
    fn other_role_names_round_trip() {
        for value in [
            json!({"role": "developer", "content": "Be brief."}),
            json!({"role": "function", "name": "f", "content": "21"}),
            json!({"role": "user", "content": "x", "openai_role": "developer"}),
            json!({"role": "system", "content": "x", "openai_role": "function"}),
            json!({"role": "system", "content": "x", "openai_role": 7}),
            json!({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}),
            json!({"role": "assistant", "content": "x", "openai_role": "model"}),
            json!({"role": "assistant", "content": "x", "openai_role": "none"}),
            json!({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}),
            json!({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "21"}]}),
            json!({"type": "reasoning", "id": "rs_1", "summary": [], "content": null, "encrypted_content": "gAAA"}),
        ] {
            let message = from_value(value.clone()).expect("good");
            assert_eq!(to_value(&message), value);
            message.check().expect("storable");
        }
        let text = from_value(json!({"role": "developer", "content": "x"})).map(|m| to_value(&m).to_string());
        assert_eq!(text.as_deref(), Ok(r#"{"role":"developer","content":"x"}"#));
    }

    #[test]
    fn messages_that_would_not_round_trip_are_refused() {
        assert!(error(json!({"role": "system", "openai_role": "developer"})).contains("give the role \"developer\""));
        assert!(error(json!({"role": "developer", "openai_role": null})).contains("openai_role"));
        assert!(error(json!({"role": "assistant", "parts": [], "openai_role": "model"})).contains("give the role \"model\""));
        assert!(error(json!({"role": "tool", "type": "function_call_output", "openai_role": "none"})).contains("openai_role"));
        assert!(error(json!({"role": "model", "content": "x"})).contains("unknown role \"model\""));
        assert!(error(json!({"type": "human", "data": {}})).contains("role"));
        assert!(error(json!({"role": "critic"})).contains("expected one of system, developer, user, assistant, tool, function;"));
        assert!(error(json!([])).contains("object") && error(json!({})).contains("role"));
    }

    #[test]
    fn request_has_only_fields_that_endpoints_accept() {
        let request = |value: Value| for_request(&from_value(value).expect("good"));
        assert_eq!(
            request(json!({"role": "assistant", "content": null, "refusal": null, "annotations": [], "id": "m-1",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": 1}]})),
            json!({"role": "assistant", "content": null,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": 1}]})
        );
        assert_eq!(
            request(json!({"role": "assistant", "content": null, "tool_calls": [], "audio": {"id": "a", "data": "UklG"}})),
            json!({"role": "assistant", "audio": {"id": "a"}})
        );
        assert_eq!(
            request(json!({"role": "tool", "tool_call_id": "c", "content": "21", "name": "f", "tool_calls": null, "x": 1})),
            json!({"role": "tool", "content": "21", "name": "f", "tool_call_id": "c"})
        );
        assert_eq!(
            request(json!({"role": "developer", "content": "x", "name": null})),
            json!({"role": "developer", "content": "x"})
        );
        assert_eq!(request(json!({"role": "user", "content": []})), json!({"role": "user", "content": ""}));
        assert_eq!(request(json!({"role": "model", "parts": [{"text": "21"}]})), json!({"role": "assistant", "content": "21"}));
        let call = Message { extra: Map::new(), ..Message::tool_calls([ToolCall::function("c", "f", "{}")]) };
        assert_eq!(for_request(&call)["content"], Value::Null);
    }
}
