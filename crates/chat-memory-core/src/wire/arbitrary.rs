//! Generates JSON and messages for the property tests, with a preference for what the forms treat specially.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::message::{Content, Message, Part, Role, ToolCall};

/// Names that have a meaning in one of the forms, and any other.
fn key() -> impl Strategy<Value = String> {
    const SPECIAL: [&str; 28] = [
        "role",
        "content",
        "name",
        "id",
        "type",
        "data",
        "tool_calls",
        "tool_call_id",
        "invalid_tool_calls",
        "additional_kwargs",
        "response_metadata",
        "usage_metadata",
        "artifact",
        "status",
        "langchain",
        "chat_memory",
        "openai_role",
        "__openai_role__",
        "refusal",
        "args",
        "function",
        "form",
        "kwargs",
        "absent",
        "beside",
        "raw_calls",
        "set",
        "unset",
    ];
    prop_oneof![3 => prop::sample::select(&SPECIAL[..]).prop_map(str::to_owned), 1 => "\\PC{0,4}"]
}

pub fn text() -> impl Strategy<Value = String> {
    const SPECIAL: [&str; 13] =
        ["", "human", "ai", "developer", "function", "assistant", "success", "js", "{}", "{\"a\": 1}", "{\"a\":1.0}", "[1]", "{"];
    prop_oneof![prop::sample::select(&SPECIAL[..]).prop_map(str::to_owned), "(?s).{0,6}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no other", |float| float.is_finite()).prop_map(Value::from),
        Just(json!(1.0)),
        text().prop_map(Value::from),
    ]
}

pub fn object(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    vec((key(), of), 0..4).prop_map(Map::from_iter)
}

pub fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), object(inner).prop_map(Value::from)]
    })
}

fn call() -> impl Strategy<Value = ToolCall> {
    let arguments = prop_oneof![
        text(),
        object(value()).prop_map(|fields| Value::Object(fields).to_string()),
        object(value()).prop_map(|fields| serde_json::to_string_pretty(&fields).expect("JSON")),
    ];
    prop_oneof![
        6 => (text(), text(), arguments).prop_map(|(id, name, arguments)| ToolCall::function(id, name, arguments)),
        1 => (text(), text()).prop_map(|(id, input)| {
            let custom = json!({"id": id, "type": "custom", "custom": {"name": "c", "input": input}});
            ToolCall::from(custom.as_object().expect("an object").clone())
        }),
        1 => object(value()).prop_map(ToolCall::from),
    ]
}

fn content() -> impl Strategy<Value = Option<Content>> {
    let part = prop_oneof![text().prop_map(Part::text), text().prop_map(Part::image_url), object(value()).prop_map(Part::from)];
    prop_oneof![
        Just(None),
        text().prop_map(|text| Some(text.into())),
        vec(part, 0..3).prop_map(|parts| Some(Content::Parts(parts)))
    ]
}

/// Any message that can be stored.
pub fn message() -> impl Strategy<Value = Message> {
    let role = prop::sample::select(&[Role::System, Role::User, Role::Assistant, Role::Tool][..]);
    let name = || prop::option::of(text());
    let note = prop_oneof![3 => Just(None), 1 => value().prop_map(Some), 2 => note().prop_map(Some)];
    (role, content(), name(), name(), vec(call(), 0..3), name(), object(value()), note).prop_map(
        |(role, content, name, id, tool_calls, tool_call_id, mut extra, note)| {
            let set = |taken: bool, value: &Value| taken || !(value.is_null() || *value == json!([]));
            extra.retain(|key, value| match key.as_str() {
                "content" => content.is_none() && value.is_null(),
                "name" => name.is_none() && value.is_null(),
                "id" => id.is_none() && value.is_null(),
                "tool_call_id" => tool_call_id.is_none() && value.is_null(),
                "tool_calls" => !set(!tool_calls.is_empty(), value),
                "role" => false,
                _ => true,
            });
            if let Some(note) = note {
                extra.insert("langchain".into(), note);
            }
            Message { role, content, name, id, tool_calls, tool_call_id, extra }
        },
    )
}

/// A note of the LangChain form, or nearly one.
fn note() -> impl Strategy<Value = Value> {
    let some = |inner: BoxedStrategy<Value>| prop::option::weighted(0.3, inner);
    let kind = prop::sample::select(&["chat", "generic", "function", "ai", "AIMessageChunk", "tool", "odd"][..]);
    (
        some(kind.prop_map(Value::from).boxed()),
        some(Just(json!("js")).boxed()),
        some(Just(json!(true)).boxed()),
        some(object(value()).prop_map(Value::from).boxed()),
        some(object(value()).prop_map(Value::from).boxed()),
        some(vec(key(), 0..3).prop_map(Value::from).boxed()),
        some(object(value()).prop_map(Value::from).boxed()),
    )
        .prop_map(|(kind, form, raw_calls, kwargs, data, absent, others)| {
            let fields = [
                ("type", kind),
                ("form", form),
                ("raw_calls", raw_calls),
                ("kwargs", kwargs),
                ("data", data),
                ("absent", absent),
                ("beside", others),
            ];
            fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>().into()
        })
}
