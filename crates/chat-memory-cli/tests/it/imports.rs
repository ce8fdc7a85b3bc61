//! Imports of other programs' files, in their own formats: `testdata/` has a made-up sample of each.

use crate::common::{Place, json_lines};
use serde_json::{Value, json};

fn sample(name: &str) -> String {
    format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Role and text of each message of a session.
fn said(place: &Place, session: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    place.messages(session).iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
}

/// Imports a sample twice, with its format detected and given: the second time finds everything stored. Returns the first summary.
fn import(place: &Place, name: &str, form: &str) -> Value {
    let first = place.run(&["import", &sample(name), "--json"]).json();
    assert_eq!((&first["failed"], &first["complete"]), (&json!([]), &json!(true)));
    let again = place.run(&["import", &sample(name), "--format", form, "--json"]).json();
    let all = ["messages", "messages_there"].map(|count| first[count].as_u64().expect("a count")).iter().sum::<u64>();
    assert_eq!((&again["turns"], &again["messages_there"]), (&json!(0), &json!(all)), "{again}");
    assert_eq!(again["made_ids"], first["made_ids"], "the same ids");
    first
}

#[test]
fn chatgpt_import_keeps_visible_branch_title_and_times() {
    let place = Place::sqlite();
    import(&place, "chatgpt.json", "chatgpt");
    let listed = json_lines(&place.run(&["sessions", "--json"]).done());
    let about = |at: usize| (&listed[at]["title"], &listed[at]["created_at"]);
    assert_eq!(about(0), (&json!("Seven times six"), &json!("2025-05-02T15:33:20.000Z")), "newest first, the title on one line");
    assert_eq!(about(1), (&json!("Pruning apple trees"), &json!("2025-05-01T12:00:00.500Z")));
    let id = listed[1]["id"].as_str().expect("an id");
    let texts: Vec<_> = said(&place, id).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts[..3], ["When do I prune an apple tree?", "In late winter, before the buds open.", "And a plum tree?"]);
    assert_eq!(texts.len(), 4, "neither the branches that were left nor what is hidden");
    let shown = place.run(&["show", id, "--json"]).json();
    assert_eq!(shown["sent_at"][0], "2025-05-01T12:00:00.123Z");
    assert_eq!(shown["records"].as_array().map(Vec::len), Some(2), "a record a turn");
    let tool = place.messages(listed[0]["id"].as_str().expect("an id"));
    assert_eq!(tool[1]["tool_calls"][0]["id"], tool[2]["tool_call_id"]);
    assert_eq!(tool[3]["content"], "It is 42.");
}

#[test]
fn sharegpt_conversations_are_imported() {
    let place = Place::sqlite();
    let done = import(&place, "sharegpt.json", "sharegpt");
    assert_eq!((&done["sessions"], &done["turns"]), (&json!(2), &json!(3)));
    let pair = |role: &str, text: &str| (role.to_owned(), text.to_owned());
    assert_eq!(
        said(&place, "gKx2_1"),
        [pair("system", "Answer in one word."), pair("user", "The colour of ripe oats?"), pair("assistant", "Golden.")]
    );
}

#[test]
fn fine_tuning_lines_get_content_derived_ids() {
    let place = Place::sqlite();
    let ran = place.run(&["import", &sample("fine-tuning.jsonl")]);
    assert!(ran.err.contains("3 conversations without an id: stored under ids derived from their content"), "{}", ran.err);
    assert!(ran.err.contains("omitted, since a session cannot hold them: \"tools\" (1 conversation)"), "{}", ran.err);
    ran.done();
    let done = import(&place, "fine-tuning.jsonl", "openai");
    assert_eq!((&done["turns"], &done["messages_there"], &done["left_out"]), (&json!(0), &json!(7), &json!({"tools": 1})));
    let id = |at: usize| done["made_ids"][at]["id"].as_str().expect("an id").to_owned();
    assert_eq!(id(2), format!("{}-2", id(1)), "a second one of the same content is kept");
    assert_eq!(place.messages(&id(0))[2], json!({"role": "assistant", "content": "Beer traps.", "weight": 1}));
    // Its id is its own with the prefix, too.
    let prefixed = place.run(&["import", &sample("fine-tuning.jsonl"), "--id-prefix", "ft/", "--json"]).json();
    assert_eq!(prefixed["made_ids"][0]["id"], format!("ft/{}", id(0)));
}

#[test]
fn anthropics_messages_keep_their_calls_and_their_system_prompt() {
    let place = Place::sqlite();
    let done = import(&place, "anthropic.jsonl", "anthropic");
    assert_eq!(done["left_out"], json!({"model": 1, "max_tokens": 1}));
    let messages = place.messages(done["made_ids"][0]["id"].as_str().expect("an id"));
    assert_eq!(messages[0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(messages[2]["tool_calls"][0]["function"], json!({"name": "weather", "arguments": r#"{"city":"Turin"}"#}));
    let brief = place.messages("brief");
    assert_eq!((&brief[0]["role"], &brief[0]["content"][0]["cache_control"]["type"]), (&json!("system"), &json!("ephemeral")));
}

/// The conversations of a file of `testdata/kinds`, one per line.
fn kinds(name: &str, prefix: &str) -> String {
    let path = format!("{}/../../testdata/kinds/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
    let line = |(n, case): (usize, &Value)| json!({"id": format!("{prefix}-{name}-{n}"), "messages": case["values"]}).to_string();
    // Only the Responses API has references.
    let lines = cases.iter().enumerate().map(line).filter(|line| prefix == "own" || !line.contains("item_reference"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_export_writes_in_any_form_is_imported_equal() {
    let place = Place::sqlite();
    for name in ["anthropic", "langchain", "responses"] {
        place.run_with(&["import", "--format", name, "-"], kinds(name, "own")).done();
    }
    // As OpenAI's messages, which keep the blocks and items of all others.
    for name in ["ai_sdk", "anthropic", "bedrock", "gemini", "openai", "responses"] {
        place.run_with(&["import", "--format", "openai", "-"], kinds(name, "openai")).done();
    }
    let stored = json_lines(&place.run(&["export"]).done());
    for form in ["openai", "langchain", "anthropic", "responses"] {
        let (copy, lines) = (Place::sqlite(), place.run(&["export", "--format", form]).done());
        copy.run_with(&["import", "-"], lines).done();
        let copied = json_lines(&copy.run(&["export"]).done());
        assert_eq!(copied.len(), stored.len());
        copied.iter().zip(&stored).for_each(|(copied, stored)| assert_eq!(copied, stored, "{form}"));
    }
}

#[test]
fn blocks_and_items_are_detected_in_conversations_with_an_id() {
    let place = Place::sqlite();
    let blocks = json!({"id": "a1", "messages": [{"role": "user", "content": "weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "w", "input": {"c": "L"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}]}]});
    let items = json!({"id": "r1", "messages": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {"type": "function_call", "call_id": "t1", "name": "w", "arguments": "{\"c\":\"L\"}"},
        {"type": "function_call_output", "call_id": "t1", "output": "sunny"}]});
    place.run_with(&["import", "-"], format!("{blocks}\n{items}")).done();
    for id in ["a1", "r1"] {
        let messages = place.messages(id);
        let call = &messages[1]["tool_calls"][0];
        assert_eq!((&call["id"], &call["function"]), (&json!("t1"), &json!({"name": "w", "arguments": "{\"c\":\"L\"}"})), "{id}");
        assert_eq!(messages[2], json!({"role": "tool", "content": "sunny", "tool_call_id": "t1"}), "{id}");
        let items = place.run(&["show", id, "--for-model", "--format", "responses"]).done();
        assert!(items.contains("function_call_output"), "{items}");
    }
    place.run_with(&["import", "-"], json!({"id": "q", "input": "hello", "instructions": "be nice"}).to_string()).done();
    let pair = |role: &str, text: &str| (role.to_owned(), text.to_owned());
    assert_eq!(said(&place, "q"), [pair("system", "be nice"), pair("user", "hello")]);
}

#[test]
fn import_errors_state_the_expected_form() {
    let place = Place::sqlite();
    let good = r#"{"id": "a", "messages": [{"role": "user", "content": "x"}]}"#;
    for (content, form, says) in [
        (format!("[{good}, {{\"tags\": 1}}]"), "auto", &["conversation 2 (line 1)", "unknown form", "\"tags\"", "ShareGPT"][..]),
        (format!("{good}\n7"), "auto", &["line 2", "a conversation is a JSON object", "expected"]),
        (format!("[{good}, "), "auto", &["nothing after this was read"]),
        (good.to_owned(), "chatgpt", &["no \"mapping\"", "expected {\"title\", \"current_node\", \"mapping\""]),
        (good.to_owned(), "sharegpt", &["no list \"conversations\"", "expected {\"conversations\""]),
        (r#"[{"role": "user", "content": "x"}]"#.to_owned(), "auto", &["this is a message", "append --file"]),
    ] {
        let file = place.file("some.json", &content);
        let ran = place.run(&["import", &file, "--format", form]);
        ran.fails(1, says);
        assert!(ran.err.contains("run the import again"), "{}", ran.err);
    }
    // A value over several lines is one conversation.
    let pretty = serde_json::to_string_pretty(&json_lines(good)[0]).expect("JSON");
    place.run_with(&["import", "-"], pretty).done();
    assert_eq!(place.messages("a").len(), 1);
}

#[test]
fn invalid_session_id_is_imported_under_a_printed_id() {
    let place = Place::sqlite();
    let line = json!({"id": "a\nb", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let ran = place.run_with(&["import", "-"], &line);
    assert!(ran.err.contains("no store accepts the id \"a\\nb\"; stored as a%0Ab~"), "{}", ran.err);
    ran.done();
    let again = place.run_with(&["import", "-", "--json"], &line).json();
    assert_eq!((&again["turns"], &again["made_ids"][0]["of"]), (&json!(0), &json!("a\nb")));
}
