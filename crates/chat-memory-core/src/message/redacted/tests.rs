use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::message::Message;
use crate::wire::{Format, arbitrary};

const AT: Timestamp = Timestamp::from_millis(1_764_433_800_000);

fn entry(value: Value) -> Entry {
    Entry::from_value(value).expect("an object")
}

/// What a redaction leaves, without the marker.
fn left(value: Value) -> Value {
    let mut left = redacted(&entry(value), "[redacted]", AT).to_value();
    assert_eq!(left.as_object_mut().and_then(|fields| fields.shift_remove(REDACTED)), Some(json!("2025-11-29T16:30:00.000Z")));
    left
}

#[test]
fn text_goes_and_references_stay_in_every_form() {
    let text = || json!([{"type": "text", "text": "[redacted]"}]);
    for (value, expected) in [
        // OpenAI's chat messages.
        (
            json!({"role": "user", "content": "S", "name": "ada", "id": "m-1"}),
            json!({"role": "user", "content": "[redacted]", "name": "ada", "id": "m-1"}),
        ),
        (json!({"role": "user", "content": ""}), json!({"role": "user", "content": ""})),
        (
            json!({"role": "user", "content": [{"type": "text", "text": "S"}, {"type": "image_url", "image_url": {"url": "data:S"}}]}),
            json!({"role": "user", "content": text()}),
        ),
        (
            json!({"role": "assistant", "content": null, "refusal": "S", "reasoning_content": "S", "usage": {"S": 1}, "card": 4_111_111,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"S\": 1}"}, "extra": "S"}]}),
            json!({"role": "assistant", "content": null, "refusal": "[redacted]",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
        ),
        // Nobody could run this call, and nobody can.
        (
            json!({"role": "assistant", "content": null,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"S\": "}}]}),
            json!({"role": "assistant", "content": null,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "redacted"}}]}),
        ),
        (
            json!({"role": "tool", "content": "S", "tool_call_id": "c", "is_error": true}),
            json!({"role": "tool", "content": "[redacted]", "tool_call_id": "c", "is_error": true}),
        ),
        (
            json!({"role": "system", "openai_role": "developer", "content": "S", "langchain": {"form": "js", "kwargs": {"S": 1}}}),
            json!({"role": "system", "openai_role": "developer", "content": "[redacted]", "langchain": {"form": "js"}}),
        ),
        (json!({"role": "user", "openai_role": "S", "content": "S"}), json!({"role": "user", "content": "[redacted]"})),
        // Anthropic's blocks.
        (
            json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "S", "signature": "S"}, {"type": "text", "text": "S"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"S": "S"}, "cache_control": {"type": "ephemeral"}}]}),
            json!({"role": "assistant", "content": [{"type": "text", "text": "[redacted]"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}}]}),
        ),
        (
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "S"}], "is_error": true},
                {"type": "text", "text": "S"}]}),
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": text(), "is_error": true},
                {"type": "text", "text": "[redacted]"}]}),
        ),
        (
            json!({"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "S"}},
                {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result", "url": "S"}]}]}),
            json!({"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}]}),
        ),
        (
            json!({"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {"code": "S"}},
                {"type": "code_execution_tool_result", "tool_use_id": "s", "content": {"type": "code_execution_result", "stdout": "S"}}]}),
            json!({"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {}},
                {"type": "code_execution_tool_result", "tool_use_id": "s", "content": {"type": "code_execution_tool_result_error", "error_code": "unavailable"}}]}),
        ),
        // Bedrock's and Gemini's, which have no types.
        (
            json!({"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": {"S": 1}}], "status": "success"}}]}),
            json!({"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "[redacted]"}], "status": "success"}}]}),
        ),
        (
            json!({"role": "assistant", "openai_role": "model", "parts": [{"text": "S", "thought": true}, {"text": "S"},
                {"functionCall": {"name": "f", "args": {"S": 1}}, "thoughtSignature": "S"}]}),
            json!({"role": "assistant", "openai_role": "model", "parts": [{"text": "[redacted]"}, {"functionCall": {"name": "f", "args": {}}}]}),
        ),
        (
            json!({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"S": 1}}}]}),
            json!({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}),
        ),
        // Items of the Responses API that are stored as they are.
        (
            json!({"role": "assistant", "openai_role": "none", "type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "S"}], "encrypted_content": "S"}),
            json!({"role": "assistant", "openai_role": "none", "type": "reasoning", "id": "r", "summary": []}),
        ),
        (
            json!({"role": "tool", "openai_role": "none", "type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "S"}]}),
            json!({"role": "tool", "openai_role": "none", "type": "function_call_output", "call_id": "c", "output": "[redacted]"}),
        ),
        (
            json!({"role": "assistant", "openai_role": "none", "type": "reasoning", "id": "r", "content": [{"type": "reasoning_text", "text": "S"}]}),
            json!({"role": "assistant", "openai_role": "none", "type": "reasoning", "id": "r", "content": [{"type": "reasoning_text", "text": "[redacted]"}]}),
        ),
        (
            json!({"role": "assistant", "openai_role": "none", "type": "computer_call", "id": "i", "call_id": "c", "status": "completed",
                "action": {"type": "click", "button": "left", "x": 7, "y": 7}, "pending_safety_checks": [{"id": "p", "message": "S"}]}),
            json!({"role": "assistant", "openai_role": "none", "type": "computer_call", "id": "i", "call_id": "c", "status": "completed",
                "action": {"type": "click", "button": "left", "x": 0, "y": 0}, "pending_safety_checks": []}),
        ),
        // The same as a call of a message.
        (
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "computer_call",
                "computer_call": {"id": "i", "action": {"type": "type", "text": "S", "button": "S"}, "pending_safety_checks": [], "status": "completed"}},
                {"id": "d", "type": "local_shell_call", "local_shell_call": {"action": {"type": "exec", "command": ["S"], "env": {"S": "S"}, "timeout_ms": 7, "user": null}}},
                {"id": "m", "type": "mcp_approval_request", "mcp_approval_request": {"name": "f", "arguments": "{\"S\": 1}", "server_label": "l"}}]}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "computer_call",
                "computer_call": {"id": "i", "action": {"type": "type", "text": "[redacted]", "button": "[redacted]"}, "pending_safety_checks": [], "status": "completed"}},
                {"id": "d", "type": "local_shell_call", "local_shell_call": {"action": {"type": "exec", "command": [], "env": {}, "timeout_ms": 0, "user": null}}},
                {"id": "m", "type": "mcp_approval_request", "mcp_approval_request": {"name": "f", "arguments": "{}", "server_label": "l"}}]}),
        ),
        (
            json!({"role": "tool", "openai_role": "none", "type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": "S"}}),
            json!({"role": "tool", "openai_role": "none", "type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}}),
        ),
        (
            json!({"role": "tool", "openai_role": "none", "type": "shell_call_output", "call_id": "c", "output": [{"stdout": "S"}]}),
            json!({"role": "tool", "openai_role": "none", "type": "shell_call_output", "call_id": "c", "output": []}),
        ),
        (
            json!({"role": "assistant", "openai_role": "none", "type": "code_interpreter_call", "id": "i", "container_id": "k", "code": "S", "outputs": [{"logs": "S"}]}),
            json!({"role": "assistant", "openai_role": "none", "type": "code_interpreter_call", "id": "i", "container_id": "k", "code": "[redacted]", "outputs": []}),
        ),
        (
            json!({"role": "assistant", "openai_role": "none", "type": "image_generation_call", "id": "i", "result": "S", "revised_prompt": "S"}),
            json!({"role": "assistant", "openai_role": "none", "type": "image_generation_call", "id": "i", "result": null}),
        ),
        (
            json!({"role": "assistant", "type": "message", "content": [{"type": "output_text", "text": "S", "annotations": [{"url": "S"}]}]}),
            json!({"role": "assistant", "type": "message", "content": [{"type": "output_text", "text": "[redacted]", "annotations": []}]}),
        ),
        // The AI SDK's.
        (
            json!({"role": "assistant", "ai_sdk": {"metadata": {"S": 1}}, "content": [{"type": "step-start"}, {"type": "text", "text": "S", "state": "done"},
                {"type": "tool-f", "toolCallId": "c", "state": "output-available", "input": {"S": 1}, "output": {"S": 1}}]}),
            json!({"role": "assistant", "ai_sdk": {}, "content": [{"type": "text", "text": "[redacted]"},
                {"type": "tool-f", "toolCallId": "c", "state": "output-available", "input": {}, "output": "[redacted]"}]}),
        ),
        (
            json!({"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c", "toolName": "f", "output": {"type": "json", "value": {"S": 1}}}]}),
            json!({"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c", "toolName": "f", "output": {"type": "text", "value": "[redacted]"}}]}),
        ),
        // Entries that are not messages stay that.
        (
            json!({"type": "summary", "summary": "S", "uuid": "u", "n": 7, "data": {"S": 1}}),
            json!({"type": "summary", "summary": "[redacted]", "uuid": "u"}),
        ),
        (
            json!({"type": "user", "message": {"role": "user", "content": "S"}, "uuid": "u", "claude_entry": "{\"S\": 1}"}),
            json!({"type": "user", "message": {"role": "user", "content": "[redacted]"}, "uuid": "u"}),
        ),
        (json!({"role": "user", "content": ["S", 7]}), json!({"role": "user", "content": ["[redacted]"]})),
        (json!({"role": "user", "content": 7}), json!({})),
    ] {
        assert_eq!(left(value.clone()), expected, "{value}");
    }
}

#[test]
fn time_of_a_redaction_is_kept_and_any_other_text_in_its_place_is_not() {
    let first = redacted(&Message::user("S").into(), "[redacted]", AT);
    assert_eq!(redacted_at(&first), Some("2025-11-29T16:30:00.000Z"));
    assert_eq!(redacted(&first, "[redacted]", AT + std::time::Duration::from_secs(60)), first, "a repeat");
    let own = entry(json!({"role": "user", "content": "S", "redacted": "the secret"}));
    assert_eq!(redacted(&own, "[redacted]", AT), first);
}

/// Every kind of `testdata/kinds`: calls and results still refer to each other, in every form, and no text is left.
#[test]
fn redacted_kinds_keep_their_references_and_no_text() {
    for (format, kind, values) in kinds() {
        let messages = format.read(values).unwrap_or_else(|e| panic!("{kind}: {e}"));
        for message in messages {
            let left = redacted(&message.clone().into(), "[redacted]", AT);
            assert!(!left.to_json().contains("secret"), "{kind}: {}", left.to_json());
            let left = left.into_message().expect("a message");
            let references = |message| {
                let of = tools::ToolUse::of(message);
                (format!("{:?}", of.calls), format!("{:?}", of.results))
            };
            assert_eq!(references(&left), references(&message), "{kind}");
            assert_eq!(left.tool_calls.len(), message.tool_calls.len(), "{kind}");
            for form in Format::ALL {
                let written = form.write(std::slice::from_ref(&left));
                assert_eq!(form.read(written.clone()).as_ref(), Ok(&vec![left.clone()]), "{kind}: {form}: {written:?}");
            }
        }
    }
}

/// An item that the API needs whole is written with what it needs.
#[test]
fn redacted_calls_are_written_as_whole_items() {
    for (format, kind, values) in kinds() {
        let is_call =
            |value: &Value| value["type"].as_str().is_some_and(|kind| kind.ends_with("_call")) && value["call_id"].is_string();
        let calls = values.into_iter().filter(is_call).collect::<Vec<_>>();
        if format != Format::Responses || calls.is_empty() {
            continue;
        }
        let left = format.read(calls.clone()).expect("calls").into_iter();
        let left: Vec<_> = left.filter_map(|message| redacted(&message.into(), "[redacted]", AT).into_message()).collect();
        let written = format.for_request(&left).expect("an API").messages;
        assert_eq!(written.len(), calls.len(), "{kind}: {written:?}");
        for ((_, written), call) in written.iter().zip(&calls) {
            for field in ["type", "id", "call_id", "name", "status"] {
                assert_eq!(written.get(field), call.get(field), "{kind}");
            }
            for field in ["action", "actions", "operation", "pending_safety_checks", "arguments", "input"] {
                assert_eq!(written.get(field).is_some(), call.get(field).is_some(), "{kind}: {field}: {written}");
            }
        }
    }
}

/// The values of each kind, and the form in which they are read.
fn kinds() -> Vec<(Format, String, Vec<Value>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/kinds");
    let mut kinds = Vec::new();
    for file in std::fs::read_dir(folder).expect("the folder") {
        let path = file.expect("a file").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).expect("a text")).expect("JSON");
        kinds.extend(cases.into_iter().map(|case| {
            let values = case["values"].as_array().expect("values").clone();
            (name.parse().unwrap_or(Format::OpenAi), format!("{name}: {}", case["kind"]), values)
        }));
    }
    kinds
}

proptest! {
    #[test]
    fn redacting_again_changes_nothing_but_the_replacement(message in arbitrary::message(), other in arbitrary::object(arbitrary::value())) {
        for entry in [Entry::from(message), Entry::from_object(other)] {
            let once = redacted(&entry, "[redacted]", AT);
            prop_assert_eq!(once.as_message().is_some(), entry.as_message().is_some());
            prop_assert!(once.check().is_ok(), "{:?}", once);
            prop_assert_eq!(once.id(), entry.id());
            prop_assert_eq!(&redacted(&once, "[redacted]", AT), &once);
            prop_assert_eq!(&redacted(&redacted(&entry, "gone", AT), "[redacted]", AT), &once);
            prop_assert!(is_left_of(&once, &entry) && is_left_of(&once, &once));
        }
    }

    /// Whatever a text says, and wherever it stands, except where it names something.
    #[test]
    fn no_text_is_left(message in arbitrary::message()) {
        fn plant(value: &mut Value) {
            match value {
                Value::String(text) => text.push_str("SECRET"),
                Value::Array(items) => items.iter_mut().for_each(plant),
                Value::Object(fields) => fields.iter_mut().filter(|(key, _)| !KEPT.contains(&key.as_str())).for_each(|(_, value)| plant(value)),
                _ => {}
            }
        }
        let mut value = message.to_value();
        plant(&mut value);
        let left = redacted(&entry(value), "[redacted]", AT).to_json();
        prop_assert!(!left.contains("SECRET"), "{}", left);
    }
}
