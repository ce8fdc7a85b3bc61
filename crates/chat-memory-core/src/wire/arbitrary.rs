//! Generates JSON and messages for the property tests, with a preference for what the forms treat specially.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::message::{Content, Message, Part, Role, ToolCall};

/// Names that have a meaning in one of the forms, and any other.
fn key() -> impl Strategy<Value = String> {
    const SPECIAL: &[&str] = &[
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
        "anthropic",
        "responses",
        "call_id",
        "input",
        "output",
        "tool_use_id",
        "arguments",
    ];
    prop_oneof![3 => prop::sample::select(SPECIAL).prop_map(str::to_owned), 1 => "\\PC{0,4}"]
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
    let extras = prop_oneof![3 => Just(None), 1 => value().prop_map(Some), 2 => extras().prop_map(Some)];
    (role, content(), name(), name(), vec(call(), 0..3), name(), object(value()), (extras, mark())).prop_map(
        |(role, content, name, id, tool_calls, tool_call_id, mut extra, (extras, mark))| {
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
            if let Some(extras) = extras {
                extra.insert("langchain".into(), extras);
            }
            if let Some((key, value)) = mark {
                extra.insert(key.into(), value);
            }
            Message { role, content, name, id, tool_calls, tool_call_id, extra }
        },
    )
}

/// Extras of the LangChain form, or nearly one.
fn extras() -> impl Strategy<Value = Value> {
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

/// A mark of a form that keeps a value as it was, or nearly one.
fn mark() -> impl Strategy<Value = Option<(&'static str, Value)>> {
    let raw = || Just(json!({"raw": true}));
    prop_oneof![
        6 => Just(None),
        1 => raw().prop_map(|mark| Some(("anthropic", mark))),
        1 => Just(json!({"apart": true})).prop_map(|mark| Some(("anthropic", mark))),
        1 => raw().prop_map(|mark| Some(("responses", mark))),
        1 => prop::sample::select(&["developer", "function", "model", "none"][..]).prop_map(|role| Some(("openai_role", role.into()))),
    ]
}

/// A block of Anthropic's content.
fn block() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(&["t1", "t2"][..]);
    let content = prop_oneof![
        text().prop_map(Value::from),
        vec(text().prop_map(|text| json!({"type": "text", "text": text})), 0..3).prop_map(Value::from)
    ];
    let base = prop_oneof![
        text().prop_map(|text| json!({"type": "text", "text": text})),
        (id(), object(value())).prop_map(|(id, input)| json!({"type": "tool_use", "id": id, "name": "f", "input": input})),
        (id(), text()).prop_map(|(id, text)| json!({"type": "tool_use", "id": id, "name": "f", "input": {"INVALID_JSON": text}})),
        (id(), content).prop_map(|(id, content)| json!({"type": "tool_result", "tool_use_id": id, "content": content})),
        id().prop_map(|id| json!({"type": "tool_use", "id": id})),
        id().prop_map(|id| json!({"type": "tool_result", "tool_use_id": id})),
        text().prop_map(|text| json!({"type": "thinking", "thinking": text, "signature": "EqQB"})),
        text().prop_map(|data| json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})),
        text().prop_map(|url| json!({"type": "image", "source": {"type": "url", "url": format!("https://{url}")}})),
        text().prop_map(|url| Value::Object(Part::image_url(url).fields().clone())),
        object(value()).prop_map(Value::from),
    ];
    with_more(base)
}

/// The same, sometimes with other fields.
fn with_more(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (of, prop_oneof![3 => Just(Map::new()), 1 => object(value())]).prop_map(|(mut value, more)| {
        for (key, field) in more {
            if let Some(fields) = value.as_object_mut() {
                fields.entry(key).or_insert(field);
            }
        }
        value
    })
}

/// A message of Anthropic's.
pub fn of_anthropic() -> impl Strategy<Value = Value> {
    let role = prop::sample::select(&["user", "user", "assistant", "system"][..]);
    let content = prop_oneof![1 => text().prop_map(Value::from), 3 => vec(block(), 0..4).prop_map(Value::from)];
    with_more((role, content).prop_map(|(role, content)| json!({"role": role, "content": content})))
}

/// An item of the Responses API.
pub fn item() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(&["c1", "c2"][..]);
    let part = prop_oneof![
        text().prop_map(|text| json!({"type": "input_text", "text": text})),
        text().prop_map(|text| json!({"type": "output_text", "text": text, "annotations": []})),
        text().prop_map(
            |text| json!({"type": "output_text", "text": text, "annotations": [{"type": "url_citation", "url": text}]})
        ),
        text().prop_map(|url| json!({"type": "input_image", "image_url": url, "detail": "auto"})),
        text().prop_map(|data| json!({"type": "input_file", "file_data": data})),
        text().prop_map(|text| json!({"type": "text", "text": text})),
        object(value()).prop_map(Value::from),
    ];
    let content = prop_oneof![1 => text().prop_map(Value::from), 3 => vec(with_more(part), 0..3).prop_map(Value::from)].boxed();
    let message = |role: &'static str| {
        let short = content.clone().prop_map(move |content| json!({"role": role, "content": content}));
        let long = (text(), content.clone()).prop_map(
            move |(id, content)| json!({"type": "message", "role": role, "id": id, "status": "completed", "content": content}),
        );
        prop_oneof![short, long].boxed()
    };
    let output = prop_oneof![3 => content.clone(), 1 => object(value()).prop_map(Value::from)];
    let kind = prop::sample::select(
        &["function_call_output", "custom_tool_call_output", "computer_call_output", "tool_search_output"][..],
    );
    let base = prop_oneof![
        2 => message("user"),
        3 => message("assistant"),
        1 => message("developer"),
        1 => message("system"),
        2 => (text(), vec(text().prop_map(|text| json!({"type": "summary_text", "text": text})), 0..2)).prop_map(
            |(id, summary)| json!({"type": "reasoning", "id": id, "summary": summary, "encrypted_content": "gAAA"})),
        2 => (id(), text()).prop_map(|(id, text)| json!({"type": "function_call", "id": "fc_1", "call_id": id, "name": "f", "arguments": text, "status": "completed"})),
        1 => id().prop_map(|id| json!({"type": "function_call", "call_id": id})),
        1 => (id(), text()).prop_map(|(id, text)| json!({"type": "custom_tool_call", "call_id": id, "name": "f", "input": text})),
        1 => (id(), object(value())).prop_map(|(id, action)| json!({"type": "computer_call", "id": "cu_1", "call_id": id, "action": action})),
        1 => id().prop_map(|id| json!({"type": "mcp_approval_request", "id": id, "name": "f", "arguments": "{}", "server_label": "s"})),
        1 => id().prop_map(|id| json!({"type": "mcp_approval_response", "approval_request_id": id, "approve": true})),
        1 => text().prop_map(|id| json!({"type": "web_search_call", "id": id, "status": "completed"})),
        1 => text().prop_map(|id| json!({"type": "item_reference", "id": id})),
        2 => (kind, id(), output).prop_map(|(kind, id, output)| json!({"type": kind, "call_id": id, "output": output})),
    ];
    with_more(base)
}
