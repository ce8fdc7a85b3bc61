//! Reads the values that LangGraph's serializers write, as JSON: MessagePack with Python's types as extensions, or LangChain's JSON.
//!
//! A message of LangChain's becomes its stored form, `{"type", "data"}`, wherever it is. Of another object, what it was created from
//! remains: its fields or its arguments. What cannot be read is named, `{"kind", "bytes"}`, with an `error` if it should be readable.

use chat_memory::checkpoints::Typed;
use chat_memory::wire::langchain;
use rmpv::ValueRef;
use rmpv::decode::read_value_ref_with_max_depth;
use serde_json::{Map, Value, json};

/// How deeply a value may nest.
const MAX_DEPTH: usize = 100;

/// The extensions of Python's serializer (`langgraph/checkpoint/serde/jsonplus.py`): an object's module and name, and what it was
/// created from.
const ONE_ARGUMENT: i8 = 0;
const ARGUMENTS: i8 = 1;
const FIELDS: i8 = 2;
const METHOD: i8 = 3;
const PYDANTIC_1: i8 = 4;
const PYDANTIC_2: i8 = 5;
const ARRAY: i8 = 6;
const DELTA_SNAPSHOT: i8 = 7;

/// Returns a value as JSON.
pub(super) fn to_json(value: &Typed) -> Value {
    let Typed { kind, bytes } = value;
    let read = match kind.as_str() {
        "null" => Ok(Value::Null),
        "msgpack" => unpacked(bytes, MAX_DEPTH),
        "json" => serde_json::from_slice(bytes).map(revived).map_err(|e| e.to_string()),
        _ => return named(kind, bytes),
    };
    read.unwrap_or_else(|why| {
        let mut value = named(kind, bytes);
        value["error"] = why.into();
        value
    })
}

/// Names a value that is not JSON. An encrypted one has the cipher in its kind, as in `msgpack+aes`.
fn named(kind: &str, bytes: &[u8]) -> Value {
    let mut value = json!({"kind": kind, "bytes": bytes.len()});
    if kind.contains('+') {
        value["encrypted"] = true.into();
    }
    value
}

fn unpacked(mut bytes: &[u8], depth: usize) -> Result<Value, String> {
    let value = read_value_ref_with_max_depth(&mut bytes, 4 * MAX_DEPTH).map_err(|e| e.to_string())?;
    from_msgpack(value, depth)
}

fn from_msgpack(value: ValueRef<'_>, depth: usize) -> Result<Value, String> {
    let depth = depth.checked_sub(1).ok_or_else(|| format!("it nests more than {MAX_DEPTH} levels deep"))?;
    Ok(match value {
        ValueRef::Nil => Value::Null,
        ValueRef::Boolean(value) => value.into(),
        ValueRef::Integer(n) => n.as_i64().map_or_else(|| n.as_u64().into(), Value::from),
        ValueRef::F32(n) => number(n.into()),
        ValueRef::F64(n) => number(n),
        ValueRef::String(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        ValueRef::Binary(bytes) => named("bytes", bytes),
        ValueRef::Array(values) => values.into_iter().map(|value| from_msgpack(value, depth)).collect::<Result<_, _>>()?,
        ValueRef::Map(fields) => {
            let field = |(name, value)| Ok::<_, String>((name_of(from_msgpack(name, depth)?), from_msgpack(value, depth)?));
            Value::Object(fields.into_iter().map(field).collect::<Result<_, _>>()?)
        }
        ValueRef::Ext(DELTA_SNAPSHOT, bytes) => unpacked(bytes, depth)?,
        ValueRef::Ext(kind @ (ONE_ARGUMENT | ARGUMENTS | FIELDS | METHOD | PYDANTIC_1 | PYDANTIC_2), bytes) => {
            match unpacked(bytes, depth)? {
                Value::Array(parts) => object(kind, parts),
                _ => return Err("an object of Python's is incomplete".to_owned()),
            }
        }
        ValueRef::Ext(ARRAY, bytes) => named("array", bytes),
        ValueRef::Ext(kind, bytes) => named(&format!("extension {kind}"), bytes),
    })
}

/// A number; as text where JSON has none.
fn number(n: f64) -> Value {
    serde_json::Number::from_f64(n).map_or_else(|| n.to_string().into(), Value::Number)
}

/// A key of an object.
fn name_of(key: Value) -> String {
    match key {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// An object of Python's, by its module, its name and what it was created from.
fn object(kind: i8, parts: Vec<Value>) -> Value {
    let mut parts = parts.into_iter();
    let (module, name, from) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    match from {
        Value::Object(mut fields) if name.is_some_and(|name| name == "Overwrite") && fields.contains_key("value") => {
            json!({ super::OVERWRITE: fields.get_mut("value").map(Value::take) })
        }
        Value::Object(fields) if matches!(kind, PYDANTIC_1 | PYDANTIC_2) => of_pydantic(fields),
        Value::String(hex) if module.is_some_and(|module| module == "uuid") => {
            uuid::Uuid::parse_str(&hex).map_or(Value::String(hex), |id| id.to_string().into())
        }
        from => from,
    }
}

/// A model of Pydantic's: perhaps a message, whose type is one of its fields.
fn of_pydantic(fields: Map<String, Value>) -> Value {
    match fields.get("type").and_then(Value::as_str) {
        Some(kind) if fields.contains_key("content") && is_message(kind) => json!({"type": kind, "data": fields}),
        _ => fields.into(),
    }
}

fn is_message(kind: &str) -> bool {
    langchain::is_type(kind) || kind == "remove"
}

/// Takes the objects in LangChain's JSON, `{"lc", "type", "id", "kwargs"}`, for what they were created from.
fn revived(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(revived).collect(),
        Value::Object(fields) => {
            let is_object = fields.get("lc").is_some_and(Value::is_number);
            let mut fields: Map<_, _> = fields.into_iter().map(|(name, value)| (name, revived(value))).collect();
            match fields.get("type").and_then(Value::as_str) {
                Some("undefined") if is_object => Value::Null,
                Some("constructor") if is_object => created(&mut fields),
                _ => fields.into(),
            }
        }
        other => other,
    }
}

fn created(fields: &mut Map<String, Value>) -> Value {
    let class = fields.get("id").and_then(|id| id.as_array()?.last()?.as_str()).unwrap_or_default();
    let kind = kind_of(class);
    let arguments = fields.get_mut("args").map(Value::take);
    match (fields.get_mut("kwargs").map(Value::take), arguments) {
        (Some(Value::Object(data)), _) if !data.is_empty() => match kind {
            Some(kind) => json!({"type": kind, "data": data}),
            None => data.into(),
        },
        (_, Some(Value::Array(mut arguments))) if arguments.len() == 1 => arguments.remove(0),
        (_, Some(arguments)) => arguments,
        (fields, None) => fields.unwrap_or_default(),
    }
}

/// The type of a class of LangChain's messages.
fn kind_of(class: &str) -> Option<String> {
    let kind = match class {
        "HumanMessage" => "human",
        "AIMessage" => "ai",
        "SystemMessage" => "system",
        "ToolMessage" => "tool",
        "FunctionMessage" => "function",
        "ChatMessage" => "generic",
        "RemoveMessage" => "remove",
        // The type of a chunk is its class's name.
        chunk => chunk,
    };
    is_message(kind).then(|| kind.to_owned())
}
