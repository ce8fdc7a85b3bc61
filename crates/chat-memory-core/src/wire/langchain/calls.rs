//! Converts tool calls: OpenAI's arguments are a text, LangChain's are an object.

use serde_json::{Map, Value, json};

use super::schema::is_shown;
use crate::json as strict;
use crate::message::ToolCall;

/// The content of a call, independent of its form.
#[derive(PartialEq)]
struct Said {
    id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
}

impl Said {
    /// Reads a call of a function, or of a custom tool, whose input is free text.
    fn of(call: &ToolCall) -> Self {
        let custom = |field: &str| call.fields().get("custom")?.get(field)?.as_str();
        Self {
            id: call.id().map(str::to_owned),
            name: call.name().or_else(|| custom("name")).map(str::to_owned),
            arguments: call.arguments().or_else(|| custom("input")).map(str::to_owned),
        }
    }

    /// Returns the function's name and the arguments, if those are an object.
    fn object(&self) -> Option<(&str, Map<String, Value>)> {
        let (name, text) = (self.name.as_deref()?, self.arguments.as_deref()?);
        match text.trim_ascii() {
            // Some models write nothing for a function without parameters.
            "" => Some((name, Map::new())),
            text => match strict::parse(text) {
                Ok(value) if !is_shown(&value) => None,
                Ok(Value::Object(arguments)) => Some((name, arguments)),
                _ => None,
            },
        }
    }
}

/// Returns LangChain's `tool_calls` and `invalid_tool_calls`.
pub(super) fn to_stored(calls: &[ToolCall]) -> (Vec<Value>, Vec<Value>) {
    let (mut valid, mut invalid) = (Vec::new(), Vec::new());
    for call in calls {
        let said = Said::of(call);
        match said.object() {
            Some((name, args)) => valid.push(json!({"name": name, "args": args, "id": said.id, "type": "tool_call"})),
            None => invalid.push(json!({
                "type": "invalid_tool_call", "id": said.id, "name": said.name, "args": said.arguments, "error": null,
            })),
        }
    }
    (valid, invalid)
}

/// Reads the calls in LangChain's two lists. Irregular entries are read as well as possible; the extras keep the rest.
pub(super) fn from_stored(valid: &[Value], invalid: &[Value]) -> Vec<ToolCall> {
    valid.iter().chain(invalid).map(from_entry).collect()
}

fn from_entry(entry: &Value) -> ToolCall {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let arguments = match entry.get("args") {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut function = Map::new();
    function.insert("name".into(), text("name").unwrap_or_default().into());
    function.insert("arguments".into(), arguments.into());
    let mut fields = Map::new();
    if let Some(id) = text("id") {
        fields.insert("id".into(), id.into());
    }
    fields.insert("type".into(), "function".into());
    fields.insert("function".into(), function.into());
    ToolCall::from(fields)
}

/// Returns the provider's own calls, as `additional_kwargs.tool_calls` may hold them, if they equal `visible`, or if `visible` is
/// empty (LangChain too falls back on them then).
pub(super) fn raw(list: &Value, visible: &[ToolCall]) -> Option<Vec<ToolCall>> {
    let as_call = |entry: &Value| entry.as_object().map(|fields| ToolCall::from(fields.clone()));
    let raw: Vec<ToolCall> = list.as_array()?.iter().map(as_call).collect::<Option<_>>()?;
    let agrees = visible.is_empty() || to_stored(&raw) == to_stored(visible);
    (!raw.is_empty() && agrees && is_shown(list)).then_some(raw)
}
