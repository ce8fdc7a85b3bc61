use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{EXTRAS_KEY, OVERLAY_KEY, Ordinary, from_value, to_value};
use crate::message::{Content, Message, Role, ToolCall};
use crate::wire::{arbitrary, openai};

/// Returns `data` with langchain-core's defaults for this type, changed by `fields`.
fn stored(kind: &str, fields: Value) -> Value {
    let mut data =
        json!({"content": "", "additional_kwargs": {}, "response_metadata": {}, "type": kind, "name": null, "id": null});
    let more = match kind {
        "ai" => json!({"tool_calls": [], "invalid_tool_calls": [], "usage_metadata": null}),
        "tool" => json!({"tool_call_id": "c1", "artifact": null, "status": "success"}),
        _ => json!({}),
    };
    for (key, value) in more.as_object().into_iter().chain(fields.as_object()).flatten() {
        data[key] = value.clone();
    }
    json!({"type": kind, "data": data})
}

/// Reads a stored message and checks that it is written again unchanged.
fn read(value: &Value) -> Message {
    let message = from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"));
    assert_eq!(to_value(&message), *value);
    message.check().expect("can be stored");
    message
}

fn extras(message: &Message) -> Option<&Value> {
    message.extra.get(EXTRAS_KEY)
}

fn overlay(value: &Value) -> Option<Value> {
    let text = value["data"]["additional_kwargs"].get(OVERLAY_KEY)?.as_str().expect("a text");
    Some(serde_json::from_str(text).expect("JSON"))
}

/// Writes a message, checks that it is read back unchanged, and returns what was written.
fn write(message: &Message) -> Value {
    let value = to_value(message);
    assert_eq!(from_value(value.clone()).as_ref(), Ok(message), "{value}");
    value
}

#[test]
fn current_langchain_messages_need_no_extras() {
    let call = json!({"name": "f", "args": {"a": 1, "b": 1.0}, "id": "c1", "type": "tool_call"});
    let invalid = json!({"type": "invalid_tool_call", "id": "c2", "name": "g", "args": "{bad", "error": null});
    for (value, role) in [
        (stored("system", json!({"content": "be brief"})), Role::System),
        (stored("human", json!({"content": "hi", "name": "alice", "id": "h-1"})), Role::User),
        (
            stored(
                "human",
                json!({"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:x"}}]}),
            ),
            Role::User,
        ),
        (stored("ai", json!({"content": "plain"})), Role::Assistant),
        (stored("ai", json!({"tool_calls": [call]})), Role::Assistant),
        (stored("ai", json!({"content": "x", "tool_calls": [call], "invalid_tool_calls": [invalid]})), Role::Assistant),
        (
            stored("ai", json!({"content": "x", "additional_kwargs": {"refusal": null, "reasoning_content": "…"}})),
            Role::Assistant,
        ),
        (stored("tool", json!({"content": "21C", "name": "w"})), Role::Tool),
        (stored("function", json!({"content": "r", "name": "f"})), Role::Tool),
        (stored("system", json!({"content": "dev", "additional_kwargs": {"__openai_role__": "developer"}})), Role::System),
    ] {
        let message = read(&value);
        assert_eq!((message.role, extras(&message)), (role, None), "{value}");
        assert_eq!(overlay(&to_value(&message)), None);
    }
}

#[test]
fn extras_hold_only_unmapped_langchain_fields() {
    for (value, expected) in [
        (stored("ai", json!({"usage_metadata": {"total_tokens": 3}})), json!({"data": {"usage_metadata": {"total_tokens": 3}}})),
        (stored("tool", json!({"artifact": [1.0], "status": "error"})), json!({"data": {"artifact": [1.0], "status": "error"}})),
        (stored("chat", json!({"content": "hm", "role": "critic"})), json!({"type": "chat", "data": {"role": "critic"}})),
        (stored("chat", json!({"content": "hm", "role": "assistant"})), json!({"type": "chat"})),
        (stored("human", json!({"example": true})), json!({"data": {"example": true}})),
        (stored("human", json!({"additional_kwargs": {"id": 7, "x": 1}})), json!({"kwargs": {"id": 7}})),
        (
            stored("human", json!({"additional_kwargs": {"langchain": {}, "openai_role": "developer"}})),
            json!({"kwargs": {"langchain": {}, "openai_role": "developer"}}),
        ),
        // LangChain.js writes no defaults.
        (
            json!({"type": "human", "data": {"content": "h", "additional_kwargs": {}, "response_metadata": {}}}),
            json!({"form": "js"}),
        ),
        (
            json!({"type": "tool", "data": {"content": "r", "tool_call_id": "c", "additional_kwargs": {}, "response_metadata": {}}}),
            json!({"form": "js"}),
        ),
        (
            json!({"type": "generic", "data": {"content": "h", "role": "critic", "additional_kwargs": {}, "response_metadata": {}}}),
            json!({"type": "generic", "form": "js", "data": {"role": "critic"}}),
        ),
        (
            json!({"type": "ai", "data": {}, "more": 1}),
            json!({"form": "js", "beside": {"more": 1},
            "absent": ["additional_kwargs", "content", "invalid_tool_calls", "response_metadata", "tool_calls"]}),
        ),
    ] {
        let message = read(&value);
        assert_eq!(extras(&message), Some(&expected), "{value}");
        assert_eq!(overlay(&to_value(&message)), None);
    }
}

#[test]
fn langchain_roles_and_calls_are_mapped() {
    assert_eq!(read(&stored("chat", json!({"role": "assistant"}))).role, Role::Assistant);
    assert_eq!(read(&stored("chat", json!({"role": "critic"}))).role, Role::User);
    assert_eq!(openai::to_value(&read(&stored("function", json!({"name": "f"}))))["role"], "function");
    let message = read(&stored(
        "ai",
        json!({"tool_calls": [{"name": "f", "args": {"b": [1], "a": "x"}, "id": "c1", "type": "tool_call"}]}),
    ));
    assert_eq!(
        openai::to_value(&message),
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"b\":[1],\"a\":\"x\"}"}}]})
    );
}

#[test]
fn malformed_langchain_messages_are_read_leniently() {
    assert_eq!(read(&stored("human", json!({"content": 7}))).text(), "7");
    assert_eq!(read(&stored("human", json!({"content": ["a", {"type": "text", "text": "b"}, 3]}))).text(), "ab3");
    let odd =
        read(&stored("ai", json!({"tool_calls": [7, {"name": null, "args": [1], "id": 3}], "additional_kwargs": 5, "id": 9})));
    assert_eq!((odd.tool_calls.len(), odd.id), (2, None));
}

#[test]
fn raw_provider_calls_keep_their_argument_text() {
    let raw = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}});
    let visible = json!({"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"});
    for tool_calls in [json!([visible]), json!([])] {
        let message = read(&stored("ai", json!({"tool_calls": tool_calls, "additional_kwargs": {"tool_calls": [raw]}})));
        assert_eq!(message.tool_calls[0].arguments(), Some("{\"a\": 1}"));
    }
    // If the two disagree, LangChain uses the visible ones.
    let other = json!({"name": "f", "args": {"a": 2}, "id": "c1", "type": "tool_call"});
    let message = read(&stored("ai", json!({"tool_calls": [other], "additional_kwargs": {"tool_calls": [raw]}})));
    assert_eq!(message.tool_calls[0].arguments(), Some("{\"a\":2}"));
}

#[test]
fn overlay_holds_only_unrepresentable_fields() {
    let spaced = Message::tool_calls([ToolCall::function("c1", "f", "{\"a\": 1}")]);
    let value = write(&spaced);
    assert_eq!(value["data"]["tool_calls"][0]["args"], json!({"a": 1}));
    assert_eq!(overlay(&value), Some(json!({"set": {"tool_calls": openai::to_value(&spaced)["tool_calls"]}})));

    for (arguments, shown) in [("", Some(json!({}))), ("{\"a\":1e999}", None), ("[1]", None), ("{\"a\":1,\"a\":2}", None)] {
        let value = write(&Message::tool_calls([ToolCall::function("c1", "f", arguments)]));
        assert_eq!(value["data"]["tool_calls"].get(0).map(|call| call["args"].clone()), shown, "{arguments}");
    }
    let mut message = Message::user("Hello");
    message.extra = Map::from_iter([("name".into(), Value::Null), ("score".into(), json!(1.0))]);
    let value = write(&message);
    assert_eq!(value["data"]["additional_kwargs"]["score"], json!(1.0));
    assert_eq!(overlay(&value), Some(json!({"set": {"name": null}})));
    // No content at all, not even the null that OpenAI writes: what is shown has to be removed.
    message.content = None;
    message.extra = Map::new();
    assert_eq!(overlay(&write(&message)), Some(json!({"unset": ["content"]})));
}

/// A message as LangChain.js writes it: without langchain-core's defaults.
fn by_js(kind: &str, fields: Value) -> Value {
    let mut value = stored(kind, fields);
    let data = value["data"].as_object_mut().expect("an object");
    data.retain(|key, value| key != "type" && !(value.is_null() || value == "success"));
    value
}

#[test]
fn usual_messages_are_written_without_a_check() {
    let call = json!({"name": "f", "args": {"a": 1, "b": 1.0}, "id": "c1", "type": "tool_call"});
    let usage = json!({"input_tokens": 3, "output_tokens": 5, "total_tokens": 8});
    let answer = json!({"content": "x", "id": "run-1", "usage_metadata": usage, "response_metadata": {"finish_reason": "stop"}});
    for form in [stored, by_js] {
        for value in [
            form("system", json!({"content": "Be brief."})),
            form("human", json!({"content": "", "name": "alice", "id": "h-1", "additional_kwargs": {"x": [1]}})),
            form(
                "human",
                json!({"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:x"}}]}),
            ),
            form("ai", answer.clone()),
            form("ai", json!({"tool_calls": [call, call]})),
            form("ai", json!({"content": "Let me see.", "tool_calls": [call], "additional_kwargs": {"refusal": null}})),
            form("tool", json!({"content": "21C", "name": "w", "artifact": [1.0], "status": "error"})),
        ] {
            assert!(Ordinary::of(&read(&value)).is_some(), "{value}");
        }
    }
    for line in include_str!("../../../../../testdata/conversations.jsonl").lines() {
        let conversation: Value = serde_json::from_str(line).expect("JSON");
        for message in conversation["messages"].as_array().expect("a list") {
            let message = openai::from_value(message.clone()).expect("a message");
            assert!(Ordinary::of(&message).is_some() || overlay(&to_value(&message)).is_some(), "{message:?}");
        }
    }
}

#[test]
fn unusual_messages_are_checked() {
    let call = |arguments: &str| ToolCall::function("c1", "f", arguments);
    let extras = |extras: Value| Message::user("x").with_extra(EXTRAS_KEY, extras);
    for message in [
        Message::assistant("").with_tool_calls([call("{}")]),
        Message { content: None, ..Message::assistant("") },
        Message::tool_calls([call("{ }")]),
        Message::tool_calls([call("[1]"), call("{}")]),
        Message::tool_calls([ToolCall::from(Map::from_iter([("id".to_owned(), json!("c"))]))]),
        Message::user("x").with_tool_calls([call("{}")]),
        Message::user("x").with_tool_call_id("c1"),
        Message::new(Role::Tool, "x"),
        Message::tool("c1", "x").with_extra(openai::ROLE_KEY, "function"),
        Message::user("x").with_extra("name", Value::Null),
        Message::user("x").with_extra(OVERLAY_KEY, "{}"),
        extras(json!({})),
        extras(json!({"form": "python"})),
        extras(json!({"absent": []})),
        extras(json!({"data": {"response_metadata": {}}})),
        extras(json!({"data": {"content": "y"}})),
        extras(json!({"data": {}})),
        extras(json!("js")),
    ] {
        assert!(Ordinary::of(&message).is_none(), "{message:?}");
        write(&message);
    }
}

#[test]
fn edits_by_langchain_code_override_the_overlay() {
    let spaced = Message::tool_calls([ToolCall::function("c1", "f", "{\"a\": 1}")]);
    let mut edited = to_value(&spaced);
    edited["data"]["content"] = "Let me see.".into();
    assert_eq!(read(&edited).tool_calls, spaced.tool_calls, "the calls are still those of the overlay");
    edited["data"]["tool_calls"][0]["args"]["a"] = 2.into();
    let message = read(&edited);
    assert_eq!(message.tool_calls[0].arguments(), Some("{\"a\":2}"));
    assert_eq!(message.content, Some(Content::from("Let me see.")));
    // An overlay that is not ours stays in place.
    for overlay in [json!("{"), json!("{}"), json!("[]"), json!({"set": {}}), json!("{\"set\":{\"role\":\"bot\"}}")] {
        read(&stored("human", json!({"content": "x", "additional_kwargs": {"chat_memory": overlay}})));
    }
}

#[test]
fn message_survives_a_pass_through_javascript() {
    let mut spaced = Message::tool_calls([ToolCall::function("c1", "f", "{\"a\": 1}")]);
    spaced.extra.insert("langchain".into(), json!({"form": "js"}));
    let mut value = to_value(&Message { extra: Map::from_iter([("content".into(), Value::Null)]), ..spaced.clone() });
    for default in ["type", "name", "id", "usage_metadata"] {
        value["data"].as_object_mut().expect("an object").shift_remove(default);
    }
    assert_eq!(read(&value), spaced);
}

#[test]
fn our_edits_are_visible_to_langchain_code() {
    let mut message = read(&stored("human", json!({"content": 7, "example": true})));
    message.content = Some("eight".into());
    let value = write(&message);
    assert_eq!((&value["data"]["content"], &value["data"]["example"]), (&"eight".into(), &true.into()));

    let mut message = read(&stored("ai", json!({"usage_metadata": {"total_tokens": 3}})));
    message.tool_calls = vec![ToolCall::function("c", "f", "{ }")];
    let value = write(&message);
    assert_eq!(value["data"]["usage_metadata"], json!({"total_tokens": 3}));
    assert_eq!(value["data"]["tool_calls"][0]["name"], "f");
}

#[test]
fn invalid_langchain_messages_are_refused() {
    let error = |value: Value| from_value(value).expect_err("must be refused").to_string();
    assert!(error(json!([])).contains("expected a JSON object") && error(json!([])).contains("found a list"));
    assert!(error(json!({"data": {}})).contains("it has no \"type\""));
    assert!(error(json!({"type": 1, "data": {}})).contains("expected \"type\" to be a string, found a number"));
    assert!(error(json!({"type": "human"})).contains("it has no \"data\""));
    assert!(error(json!({"type": "human", "data": []})).contains("expected \"data\" to be an object, found a list"));
    assert!(error(json!({"type": "robot", "data": {}})).contains("unknown message type \"robot\""));
    assert!(error(stored("remove", json!({"id": "x"}))).contains("tells LangChain to delete"));
    assert!(error(json!({"type": "remove", "id": "x"})).contains("tells LangChain to delete"));
}

#[test]
fn deepest_message_can_be_read_back() {
    let nest = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let max = crate::json::MAX_DEPTH;
    let mut messages = vec![Message::user("x"), Message::user(""), Message::assistant("")];
    messages[0].extra.insert("deep".into(), nest(max - 1));
    messages[1].content = Some(Content::Parts(vec![Map::from_iter([("deep".to_owned(), nest(max - 3))]).into()]));
    messages[2].tool_calls = vec![ToolCall::function("c", "f", json!({"a": nest(max - 1)}).to_string())];
    for message in messages {
        message.check().expect("as deep as may be");
        crate::json::parse(&write(&message).to_string()).expect("not too deep");
    }
    assert!(from_value(stored("human", json!({"deep": nest(max)}))).is_err());
}

/// Stored messages, from proper ones to JSON that only has a type and data.
fn any_stored() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(&["human", "ai", "system", "tool", "function", "chat", "generic", "AIMessageChunk"][..]);
    let proper = (kind.clone(), arbitrary::object(arbitrary::value())).prop_map(|(kind, fields)| stored(kind, fields.into()));
    let odd =
        (kind, arbitrary::object(arbitrary::value()), arbitrary::object(arbitrary::value())).prop_map(|(kind, data, others)| {
            let mut fields = others;
            fields.insert("type".into(), kind.into());
            fields.insert("data".into(), data.into());
            Value::Object(fields)
        });
    let ours = || arbitrary::message().prop_map(|message| to_value(&message));
    // Our messages, edited by others: the overlay may or may not agree any more.
    let edited = (ours(), arbitrary::object(arbitrary::value())).prop_map(|(mut value, changes)| {
        for (key, change) in changes {
            value["data"][key] = change;
        }
        value
    });
    prop_oneof![proper, odd, ours(), edited]
}

/// Messages that hold nothing unusual, in both languages' forms, or nearly.
fn nearly_ordinary() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(&["human", "ai", "system", "tool"][..]);
    let field = prop::sample::select(
        &[
            "content",
            "name",
            "id",
            "usage_metadata",
            "response_metadata",
            "artifact",
            "status",
            "tool_call_id",
            "example",
            "role",
        ][..],
    );
    let calls = prop::collection::vec(arbitrary::object(arbitrary::value()), 0..2);
    let changes = prop::collection::vec((field, prop_oneof![arbitrary::value(), arbitrary::text().prop_map(Value::from)]), 0..3);
    let kwargs = arbitrary::object(arbitrary::value());
    (kind, any::<bool>(), calls, changes, kwargs).prop_map(|(kind, js, calls, changes, kwargs)| {
        let mut fields = json!({"content": "x", "additional_kwargs": kwargs});
        fields.as_object_mut().expect("an object").extend(changes.into_iter().map(|(key, value)| (key.to_owned(), value)));
        if kind == "ai" {
            let call = |args| json!({"name": "f", "args": args, "id": "c1", "type": "tool_call"});
            fields["tool_calls"] = calls.into_iter().map(call).collect();
        }
        if js { by_js(kind, fields) } else { stored(kind, fields) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// What needs no check would pass it, and is written alike, down to the order of the fields.
    #[test]
    fn messages_without_a_check_are_written_as_with_it(
        value in prop_oneof![1 => any_stored(), 3 => nearly_ordinary()],
        message in arbitrary::message(),
    ) {
        let stored = from_value(value.clone()).expect("types are known and nothing is deep");
        prop_assert_eq!(to_value(&stored), value);
        for message in [stored, message] {
            let checked = super::write(&message).into_value();
            prop_assert_eq!(to_value(&message).to_string(), checked.to_string());
            prop_assert_eq!(from_value(checked), Ok(message));
        }
    }

    #[test]
    fn langchain_form_round_trips_through_message(value in any_stored()) {
        let message = from_value(value.clone()).expect("types are known and nothing is deep");
        prop_assert_eq!(to_value(&message), value);
        prop_assert!(message.check().is_ok());
    }

    #[test]
    fn message_round_trips_through_langchain_form(message in arbitrary::message()) {
        prop_assert!(message.check().is_ok());
        let value = to_value(&message);
        prop_assert_eq!(from_value(value), Ok(message));
    }

    /// Stores that do not keep the order of keys (DynamoDB's maps) lose only that order.
    #[test]
    fn key_order_of_langchain_messages_is_irrelevant(message in arbitrary::message()) {
        fn turned(value: Value) -> Value {
            match value {
                Value::Object(fields) => fields.into_iter().rev().map(|(key, value)| (key, turned(value))).collect(),
                Value::Array(items) => items.into_iter().map(turned).collect(),
                other => other,
            }
        }
        let value = to_value(&message);
        // Arguments are a text that keeps an object's key order, so they are compared by content.
        let said = |value: Value| from_value(value).map(|mut message| { message.tool_calls.clear(); message });
        prop_assert_eq!(said(turned(value.clone())), said(value));
    }

    #[test]
    fn openai_form_round_trips_through_message(message in arbitrary::message(), role in arbitrary::text()) {
        let value = openai::to_value(&message);
        prop_assert_eq!(openai::from_value(value.clone()).map(|m| openai::to_value(&m)), Ok(value.clone()));
        prop_assert_eq!(openai::from_value(value.clone()), Ok(message));
        let mut other = value;
        other["role"] = role.into();
        if let Ok(read) = openai::from_value(other.clone()) {
            prop_assert_eq!(openai::to_value(&read), other);
        }
    }
}
