//! What is read equals what was sent.

use axum::http::Method;
use serde_json::{Value, json};

use super::client::{everywhere, messages};

fn openai() -> Vec<Value> {
    vec![
        json!({"role": "system", "content": "Be brief.", "name": "setup"}),
        json!({"role": "developer", "content": "Tools are safe."}),
        json!({"role": "user", "content": [{"type": "text", "text": "🦀 日本\r\n\t\"\\\u{0}\u{1}\u{7f}\u{2028}"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}]}),
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1,  \"b\":2.50}"}, "index": 0}],
            "refusal": null, "annotations": [], "x_numbers": {"i": -1, "u": u64::MAX, "f": 1.0, "g": 0.1, "h": 1e300, "z": -0.0}}),
        json!({"role": "tool", "tool_call_id": "call_1", "content": ""}),
        json!({"role": "assistant", "content": "", "nothing": {}, "none": null, "": [[[]]]}),
        json!({"role": "function", "name": "old", "content": "3.5"}),
    ]
}

fn langchain() -> Vec<Value> {
    vec![
        json!({"type": "human", "data": {"content": "Add 1 and 2.5 \u{0} 🦀", "additional_kwargs": {"k": 1.0}, "response_metadata": {},
            "type": "human", "name": null, "id": "run-1", "example": false}}),
        json!({"type": "ai", "data": {"content": "", "additional_kwargs": {}, "response_metadata": {"model": "m", "n": 3}, "type": "ai",
            "name": null, "id": null, "tool_calls": [{"name": "add", "args": {"a": 1, "b": 2.5}, "id": "c", "type": "tool_call"}],
            "invalid_tool_calls": [], "usage_metadata": {"input_tokens": 10}}}),
        json!({"type": "tool", "data": {"content": "3.5", "additional_kwargs": {}, "response_metadata": {}, "type": "tool", "name": "add",
            "id": null, "tool_call_id": "c", "artifact": {"deep": [1, 2.0]}, "status": "success"}}),
    ]
}

#[tokio::test]
async fn messages_round_trip_in_either_format() {
    everywhere(async |api| {
        let fixtures = |text: &str| {
            let cases: Value = serde_json::from_str(text).expect("JSON");
            cases[0]["values"].as_array().expect("a list").clone()
        };
        let anthropic = fixtures(include_str!("../../../../../testdata/wire/anthropic.json"));
        let responses = fixtures(include_str!("../../../../../testdata/wire/responses.json"));
        let sessions = [
            ("o", "", openai()),
            ("l", "?format=langchain", langchain()),
            ("a", "?format=anthropic", anthropic),
            ("r", "?format=responses", responses),
        ];
        for (session, query, sent) in sessions {
            let path = format!("{}{query}", messages(session));
            api.post(&path, &[], &json!({"messages": sent})).await.ok(201);
            assert_eq!(api.get(&path).await.ok(200)["messages"], json!(sent));
            // To the other format and back.
            let other = if query.is_empty() { "?format=langchain" } else { "?format=openai" };
            let shown = api.get(&format!("{}{other}", messages(session))).await.ok(200)["messages"].clone();
            let copy = format!("{session}-copy");
            api.post(&format!("{}{other}", messages(&copy)), &[], &json!({"messages": shown})).await.ok(201);
            assert_eq!(api.get(&format!("{}{query}", messages(&copy))).await.ok(200)["messages"], json!(sent));
        }
    })
    .await;
}

#[tokio::test]
async fn integers_and_floats_keep_their_kind_and_digits() {
    everywhere(async |api| {
        let body = r#"{"messages":[{"role":"user","content":"n","a":1,"b":1.0,"c":0.1,"d":18446744073709551615,"e":1e300}]}"#;
        let json = [("content-type", "application/json; charset=utf-8")];
        assert_eq!(api.raw(Method::POST, &messages("n"), &json, body).await.status, 201);
        let read = api.get(&messages("n")).await;
        let kept = r#""a":1,"b":1.0,"c":0.1,"d":18446744073709551615,"e":1e300"#;
        assert!(read.text().contains(kept) || read.text().contains(&kept.replace("1e300", "1e+300")), "{}", read.text());
    })
    .await;
}

#[tokio::test]
async fn non_integer_literals_are_the_nearest_double() {
    everywhere(async |api| {
        let body = r#"{"messages":[{"role":"user","content":"n","a":2.98023223876953125E-8,"b":0.10000000000000001,"c":18446744073709551616,"d":1e-400,"e":-0}]}"#;
        let json = [("content-type", "application/json")];
        api.raw(Method::POST, &messages("n"), &json, body).await.ok(201);
        let read = api.get(&messages("n")).await.ok(200)["messages"][0].clone();
        let floats = [("a", 2.0_f64.powi(-25)), ("b", 0.1), ("c", 18_446_744_073_709_551_616.0), ("d", 0.0), ("e", -0.0)];
        for (name, float) in floats {
            assert_eq!(read[name].as_f64().map(f64::to_bits), Some(float.to_bits()), "{name}: {read}");
        }
    })
    .await;
}
