//! What each command does, on a SQLite file.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::common::{Place, json_lines};
use serde_json::{Value, json};

#[test]
fn appended_messages_are_shown() {
    let place = Place::sqlite();
    assert_eq!(place.run(&["append", "trip", "Where to?"]).done(), "record 0 of trip\n");
    assert_eq!(place.run(&["append", "trip", "--role", "assistant", "To Rome."]).done(), "record 1 of trip\n");
    assert_eq!(
        place.messages("trip"),
        [json!({"role": "user", "content": "Where to?"}), json!({"role": "assistant", "content": "To Rome."})]
    );
    let text = place.run(&["show", "trip"]).done();
    assert!(
        text.starts_with("[0] 20") && text.contains("user\n  Where to?\n") && text.contains("assistant\n  To Rome.\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours in a pipe: {text:?}");
    let langchain = place.run(&["show", "trip", "--last", "1", "--format", "langchain"]);
    assert_eq!(langchain.err, "(everything earlier left out)\n");
    assert_eq!(json_lines(&langchain.done())[0]["type"], "ai");
}

#[test]
fn missing_session_shows_as_empty() {
    let place = Place::sqlite();
    place.run(&["append", "somebody", "Hi"]).done();
    let ran = place.run(&["show", "nobody"]);
    assert_eq!(ran.err, "nobody has no messages\n");
    assert_eq!(ran.done(), "");
    assert!(place.messages("nobody").is_empty());
    assert_eq!(place.run(&["show", "nobody", "--json"]).json()["messages"], json!([]));
}

#[test]
fn standard_input_text_is_stored_byte_for_byte() {
    let place = Place::sqlite();
    let text = "two\r\nlines \u{0} 👍 \u{1b}[31m\n";
    place.run_with(&["append", "s", "-"], text).done();
    assert_eq!(place.messages("s"), [json!({"role": "user", "content": text})]);
    let shown = place.run(&["show", "s"]).done();
    assert!(shown.contains("lines \\u{0} 👍 \\u{1b}[31m"), "{shown:?}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    place.run_with(&["append", "s", "-"], b"\xff").fails(1, &["standard input: byte 0 is not UTF-8"]);
}

#[test]
fn message_file_is_one_append() {
    let place = Place::sqlite();
    let turn = [
        json!({"role": "user", "content": "Weather?"}),
        json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "w", "arguments": "{\"x\": 1.0}"}}]}),
        json!({"role": "tool", "tool_call_id": "c", "content": "21"}),
        json!({"role": "assistant", "content": "21 °C", "score": 1.0, "n": 18446744073709551615_u64}),
    ];
    let lines: String = turn.iter().map(|message| format!("{message}\n")).collect();
    let file = place.file("turn.jsonl", &lines);
    let appended = place.run(&["append", "s", "--file", &file, "--json"]).json();
    assert_eq!((&appended["seq"], &appended["next"], &appended["started"]), (&json!(0), &json!(1), &json!(true)));
    assert_eq!(place.messages("s"), turn);
    place.run_with(&["append", "s", "--file", "-"], &lines).done();
    assert_eq!(place.messages("s").len(), 8);
    let text = place.run(&["show", "s", "--turns", "1"]).done();
    assert!(text.contains("calls w (c)\n    x: 1.0\n") && text.contains("tool result of c\n  21\n"), "{text}");

    // A window never contains a result without its call.
    let window = place.run(&["show", "s", "--last", "2", "--format", "openai"]);
    assert!(window.err.contains("older messages"), "{}", window.err);
    assert_eq!(json_lines(&window.done()), turn[3..]);
    let tokens = place.run(&["show", "s", "--tokens", "12", "--format", "openai"]);
    assert_eq!(json_lines(&tokens.done()), turn[3..]);
}

#[test]
fn tool_turns_of_every_provider_stay_whole() {
    let of_anthropic = [
        json!({"role": "user", "content": "w?"}),
        json!({"role": "assistant", "content": [{"type": "text", "text": "let me"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "21"}]}),
        json!({"role": "assistant", "content": "21C"}),
    ];
    let of_bedrock = [
        json!({"role": "user", "content": [{"text": "w?"}]}),
        json!({"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}]}),
        json!({"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "21"}]}}]}),
        json!({"role": "assistant", "content": [{"text": "21C"}]}),
    ];
    let of_gemini = [
        json!({"role": "user", "parts": [{"text": "w?"}]}),
        json!({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}),
        json!({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": 21}}}]}),
        json!({"role": "model", "parts": [{"text": "21C"}]}),
    ];
    let of_ollama = [
        json!({"role": "user", "content": "w?"}),
        json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}),
        json!({"role": "tool", "tool_name": "f", "content": "21"}),
        json!({"role": "assistant", "content": "21C"}),
    ];
    let of_responses = [
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "w?"}]}),
        json!({"type": "function_call", "id": "fc_1", "call_id": "t1", "name": "f", "arguments": "{}", "status": "completed"}),
        json!({"type": "function_call_output", "call_id": "t1", "output": "21"}),
        json!({"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "21C"}]}),
    ];
    for turn in [of_anthropic, of_bedrock, of_gemini, of_ollama, of_responses] {
        let place = Place::sqlite();
        let lines: String = turn.iter().map(|message| format!("{message}\n")).collect();
        place.run_with(&["append", "s", "--file", "-"], &lines).done();
        assert_eq!(place.messages("s"), turn, "they come back as they went in");
        let window =
            |arguments: &[&str]| json_lines(&place.run(&[&["show", "s", "--format", "openai"], arguments].concat()).done());
        assert_eq!(window(&["--last", "2"]), turn[3..]);
        assert_eq!(window(&["--turns", "1"]), turn);
        let text = place.run(&["show", "s"]).done();
        assert!(text.contains("w?") && text.contains("21C") && text.matches("21").count() >= 2, "{text}");

        // A whole conversation, with each turn in one record; and back.
        let twice = [turn.to_vec(), turn.to_vec()].concat();
        let line = json!({"id": "t", "messages": twice}).to_string();
        place.run_with(&["import", "--format", "openai", "-"], &line).done();
        assert_eq!(place.run(&["show", "t", "--json"]).json()["records"].as_array().map(Vec::len), Some(2));
        assert_eq!(json_lines(&place.run(&["export", "t"]).done())[0]["messages"], json!(twice));

        place.run(&["rewind", "s", "--turns", "1", "--yes"]).done();
        assert!(place.messages("s").is_empty(), "the turn goes as a whole");
    }
}

#[test]
fn window_smaller_than_the_newest_message_is_explained() {
    let place = Place::sqlite();
    place.run(&["append", "s", "short"]).done();
    place.run(&["append", "s", &"many words ".repeat(100)]).done();
    let shown = place.run(&["show", "s", "--tokens", "20", "--format", "openai"]);
    assert!(
        shown.err.contains("the window is empty: the newest message needs ")
            && shown.err.contains("the limit is 20; raise the limit to ")
    );
    assert_eq!(shown.done(), "");
    let json = place.run(&["show", "s", "--tokens", "20", "--json"]).json();
    assert!(json["left_out"].as_str().is_some_and(|said| said.starts_with("the window is empty")), "{json}");
}

#[test]
fn window_can_start_at_a_user_message() {
    let place = Place::sqlite();
    for (role, text) in [("assistant", "Hello!"), ("user", "a?"), ("assistant", "a!"), ("user", "b?")] {
        place.run(&["append", "s", "--role", role, text]).done();
    }
    let count =
        |arguments: &[&str]| json_lines(&place.run(&[&["show", "s", "--format", "openai"], arguments].concat()).done()).len();
    assert_eq!((count(&["--last", "2"]), count(&["--last", "2", "--start-at-user"])), (2, 1));
    assert_eq!((count(&["--start-at-user"]), count(&["--start-at-user=false"])), (3, 4));
    let shown = place.run(&["show", "s", "--start-at-user", "--format", "openai"]);
    assert_eq!(shown.err, "(1 message before the first user's message left out)\n");
}

#[test]
fn model_form_has_only_fields_that_endpoints_accept() {
    let place = Place::sqlite();
    let stored = json!({"role": "assistant", "content": "Hi", "id": "m1", "created_at": 7, "latency_ms": 3, "refusal": null});
    place.run_with(&["append", "s", "--file", "-"], stored.to_string()).done();
    for arguments in [&["--for-model"][..], &["--format", "openai", "--for-model"], &["--last", "1", "--for-model"]] {
        let shown = place.run(&[&["show", "s"], arguments].concat()).done();
        assert_eq!(json_lines(&shown), [json!({"role": "assistant", "content": "Hi"})], "{arguments:?}");
    }
    assert_eq!(
        place.run(&["show", "s", "--for-model", "--json"]).json()["messages"],
        json!([{"role": "assistant", "content": "Hi"}])
    );
    place.run(&["show", "s", "--for-model", "--format", "langchain"]).fails(2, &["--for-model", "--format openai"]);
}

#[test]
fn langchain_messages_round_trip() {
    let place = Place::sqlite();
    let line = r#"{"type":"human","data":{"content":"Hi","additional_kwargs":{"x":1},"response_metadata":{},"type":"human","name":null,"id":"7","example":false}}"#;
    place.run_with(&["append", "s", "--file", "-", "--format", "langchain"], line).done();
    let out = place.run(&["show", "s", "--format", "langchain"]).done();
    assert_eq!(json_lines(&out), json_lines(line));
    assert_eq!(place.messages("s")[0]["role"], "user");
}

#[test]
fn counts_of_records_add_up_to_the_messages_shown() {
    let place = Place::sqlite();
    let calls = r#"{"role":"assistant","content":null,"tool_calls":[
        {"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},
        {"id":"b","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
    let result = |id: &str| format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"x"}}"#);
    let question = r#"{"role":"user","content":"Hi"}"#.to_owned();
    for message in [question.clone(), question, calls.to_owned(), result("a"), result("b")] {
        place.run_with(&["append", "s", "--file", "-"], message).done();
    }
    for more in [&[][..], &["--for-model"], &["--last", "1"], &["--turns", "1", "--for-model"]] {
        for format in ["openai", "anthropic", "responses"] {
            let shown = place.run(&[&["show", "s", "--json", "--format", format][..], more].concat()).json();
            let counts = shown["records"].as_array().expect("records").iter().filter_map(|record| record["messages"].as_u64());
            let messages = shown["messages"].as_array().expect("messages").len();
            assert_eq!(counts.sum::<u64>(), messages as u64, "{format} {more:?}");
            assert!(messages > 0 || more.contains(&"--last"), "{format} {more:?}");
        }
    }
}

#[test]
fn anthropics_messages_and_responses_items_go_in_and_out() {
    let place = Place::sqlite();
    for format in ["anthropic", "responses"] {
        let path = format!("{}/../../testdata/wire/{format}.json", env!("CARGO_MANIFEST_DIR"));
        let cases: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
        let given = &cases[0]["values"];
        place.run_with(&["append", format, "--file", "-", "--format", format], given.to_string()).done();
        let shown = place.run(&["show", format, "--format", format]).done();
        assert_eq!(Value::from(json_lines(&shown)), *given, "{format}");
        let json = place.run(&["show", format, "--format", format, "--json"]).json();
        let n = given.as_array().map(Vec::len);
        assert_eq!((json["sent_at"].as_array().map(Vec::len), json["records"][0]["messages"].as_u64()), (n, n.map(|n| n as u64)));
        // To another store and back, each value with its time.
        let other = Place::sqlite();
        let exported = place.run(&["export", format, "--format", format]).done();
        other.run_with(&["import", "-", "--format", format], &exported).done();
        assert_eq!(other.messages(format), place.messages(format));
    }
    let request = place.run(&["show", "anthropic", "--format", "anthropic", "--for-model", "--json"]).json();
    assert_eq!(request["system"][0]["text"], "Be brief.");
    let lines = json_lines(&place.run(&["show", "anthropic", "--format", "anthropic", "--for-model"]).done());
    assert_eq!((&lines[0]["role"], lines.len()), (&json!("system"), 5));
    place
        .run_with(&["append", "s", "--file", "-", "--format", "anthropic"], r#"{"role":"tool","tool_call_id":"c","content":""}"#)
        .fails(1, &["line 1: invalid Anthropic message", "set the format to openai"]);
}

#[test]
fn append_at_an_outdated_position_conflicts() {
    let place = Place::sqlite();
    place.run(&["append", "another", "Hi"]).done();
    let start = place.run(&["show", "s", "--position"]).done();
    let first = place.run(&["append", "s", "--expect", start.trim(), "--json", "one"]).json();
    place.run(&["append", "s", "--expect", start.trim(), "two"]).fails(3, &["position"]);
    let conflict = place.run(&["append", "s", "--expect", start.trim(), "--json", "two"]);
    conflict.fails(3, &[]);
    let error: Value = serde_json::from_str(&conflict.err).expect("one line of JSON");
    assert_eq!(error["error"]["kind"], "conflict");
    let actual = error["error"]["actual"].as_str().expect("the actual position");
    place.run(&["append", "s", "--expect", actual, "two"]).done();
    place.run(&["append", "s", "--expect", first["position"].as_str().expect("text"), "three"]).fails(3, &[]);
    assert_eq!(place.messages("s").len(), 2);
}

#[test]
fn repeated_append_is_stored_once() {
    let place = Place::sqlite();
    let keyed = |text: &str| place.run(&["append", "s", "--idempotency-key", "k", text]);
    assert_eq!(keyed("one").done(), "record 0 of s\n");
    assert_eq!(keyed("one").done(), "record 0 of s (already stored)\n");
    keyed("two").fails(1, &["\"k\"", "record 0"]);
    // A ticket does the same for an append with an unknown outcome; any id works for one that never landed.
    let ticket = chat_memory::store::Ticket::new(chat_memory::store::AppendId::random(), 0).to_string();
    assert_eq!(place.run(&["append", "s", "--ticket", &ticket, "late"]).done(), "record 1 of s\n");
    assert_eq!(place.run(&["append", "s", "--ticket", &ticket, "late"]).done(), "record 1 of s (already stored)\n");
    assert_eq!(place.messages("s").len(), 2);
}

#[test]
fn clear_rewind_and_delete_require_confirmation() {
    let place = Place::sqlite();
    for text in ["one", "two", "three"] {
        place.run_with(
            &["append", "s", "--file", "-"],
            format!("{{\"role\":\"user\",\"content\":\"{text}\"}}\n{{\"role\":\"assistant\",\"content\":\"ok\"}}"),
        );
    }
    for command in [&["clear", "s"][..], &["delete", "s"], &["rewind", "s", "--turns", "1"], &["rewind", "s", "--to", "1"]] {
        place.run(command).fails(2, &["--yes", "s"]);
    }
    assert_eq!(place.messages("s").len(), 6);
    place.run(&["rewind", "s", "--turns", "1", "--yes"]).done();
    assert_eq!(place.messages("s").len(), 4);
    place.run(&["rewind", "s", "--to", "7", "--yes"]).fails(1, &["record 7"]);
    assert_eq!(place.run(&["rewind", "s", "--to", "1", "--yes", "--json"]).json()["rewound"], true);
    assert_eq!(place.messages("s").len(), 2);
    assert_eq!(place.run(&["clear", "s", "--yes"]).done(), "cleared s (5 records erased)\n");
    assert!(place.messages("s").is_empty());
    assert_eq!(place.run(&["rewind", "s", "--turns", "1", "--yes"]).done(), "s has no turn to remove\n");
    assert_eq!(json_lines(&place.run(&["sessions", "--json"]).done()).len(), 1);
    assert_eq!(place.run(&["delete", "s", "--yes"]).done(), "deleted s (1 record erased)\n");
    assert_eq!(place.run(&["sessions"]).done(), "");
    for gone in ["s", "never-was"] {
        assert_eq!(place.run(&["delete", gone, "-y"]).done(), format!("no session {gone:?}: nothing to delete\n"));
        let said = place.run(&["delete", gone, "-y", "--json"]).json();
        assert_eq!((&said["existed"], &said["erased"]), (&json!(false), &json!(0)));
    }
    assert!(place.run(&["table", "sweep", "s"]).done().starts_with("swept 1 session"));
}

#[test]
fn sessions_are_listed_by_owner() {
    let place = Place::sqlite();
    place.run(&["append", "a", "--owner", "ann", "--title", "A trip \u{1f6b2}", "Hi"]).done();
    place.run(&["append", "b", "--owner", "ann", "Hi"]).done();
    place.run(&["append", "c", "Hi"]).done();
    let ids = |arguments: &[&str]| -> Vec<Value> {
        json_lines(&place.run(arguments).done()).into_iter().map(|mut line| line["id"].take()).collect()
    };
    assert_eq!(ids(&["sessions", "--format", "json"]), ["c"]);
    assert_eq!(ids(&["sessions", "--owner", "ann", "--json"]), ["b", "a"]);
    assert_eq!(ids(&["sessions", "--owner", "ann", "--json", "--limit", "1"]), ["b"]);
    place.run(&["append", "a", "Hi again"]).done();
    assert_eq!(ids(&["sessions", "--owner", "ann", "--json"]), ["b", "a"]);
    assert_eq!(ids(&["sessions", "--owner", "ann", "--json", "--recent"]), ["a", "b"]);
    assert_eq!(ids(&["sessions", "--recent", "--json"]), ["c"]);
    assert_eq!(ids(&["sessions", "--all", "--json"]), ["c", "b", "a"]);
    assert_eq!(ids(&["sessions", "--recent", "--all", "--json", "--contents"]), ["a", "c", "b"]);
    assert_eq!(ids(&["sessions", "--recent", "--all", "--json", "--limit", "2"]), ["a", "c"]);
    place.run(&["sessions", "--owner", "ann", "--all"]).fails(2, &["--owner", "--all"]);
    let listed = json_lines(&place.run(&["sessions", "--owner", "ann", "--json"]).done());
    assert_eq!((&listed[1]["owner"], &listed[1]["title"]), (&json!("ann"), &json!("A trip \u{1f6b2}")));
    assert!(listed[1]["created_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{listed:?}");
    assert_eq!((&listed[1]["records"], &listed[1]["first_words"]), (&json!(2), &json!("Hi")));
    let lines = place.run(&["sessions", "--owner", "ann"]).done();
    assert!(lines.contains("a  A trip \u{1f6b2}  (2 records)\n") && lines.contains("b  Hi  (1 record)\n"), "{lines}");
}

#[test]
fn cost_is_printed_to_standard_error() {
    let place = Place::sqlite();
    let ran = place.run(&["--cost", "append", "s", "Hi"]);
    assert!(ran.err.starts_with("cost: requests=1 read_units=0 write_units=0 bytes="), "{}", ran.err);
    assert_eq!(ran.out, "record 0 of s\n");
    assert_eq!(place.run(&["show", "s", "--json"]).json()["cost"]["requests"], 1);
    assert!(place.run(&["show", "s", "--cost"]).err.contains("cost: requests=1 "));
}

#[test]
fn read_only_refuses_writes_and_creates_nothing() {
    let place = Place::sqlite();
    place.run(&["--read-only", "show", "s"]).fails(1, &["there is no such file"]);
    assert!(!place.path().join("chats.db").exists());
    place.run(&["append", "s", "Hi"]).done();
    place.run(&["append", "s", "--read-only", "Hi"]).fails(1, &["read-only"]);
    place.run(&["clear", "s", "--yes", "--read-only"]).fails(1, &["read-only"]);
    assert!(place.run(&["show", "s", "--read-only"]).done().contains("Hi"));
    place.run(&["--store", "memory:", "--read-only", "show", "s"]).fails(2, &["memory:"]);
}

#[test]
fn default_store_path_is_printed_on_creation() {
    let place = Place::at("");
    let first = place.run(&["append", "s", "Hi"]);
    let file = place.path().join(".local/share/chat-memory/chats.db");
    assert!(first.err.contains(&file.display().to_string()), "{}", first.err);
    first.done();
    let second = place.run(&["show", "s"]);
    assert_eq!(second.err, "");
    assert!(second.done().contains("Hi"));
    // Reading finds nothing before anything is stored; if the file cannot be created, the append fails and names it.
    let folder = place.path().join(place.file("no folder", "")).display().to_string();
    let place = place.with("XDG_DATA_HOME", &folder);
    place.run(&["append", "s", "Hi"]).fails(1, &[&folder]);
    // An empty variable counts as unset; an empty option is an error.
    let place = place.with("CHAT_MEMORY_STORE", "").with("XDG_DATA_HOME", "");
    place.run(&["show", "s"]).done();
    place.run(&["--store", "", "show", "s"]).fails(2, &["--store", "sqlite:"]);
}

#[test]
fn help_has_examples_and_version_shows_the_record_format() {
    let place = Place::sqlite();
    let version = place.run(&["--version"]).done();
    assert_eq!(version, format!("chat-memory {} (record format 2)\n", env!("CARGO_PKG_VERSION")));
    let help = place.run(&["--help"]).done();
    assert!(help.contains("Examples:") && help.contains("CHAT_MEMORY_STORE") && help.contains("uuidgen"), "{help}");
    for command in "append show chat sessions threads clear rewind delete import export migrate iam-policy completions".split(' ')
    {
        let help = place.run(&[command, "--help"]).done();
        assert!(help.contains("Examples:") && help.contains(&format!("chat-memory {command}")), "{help}");
        let wide = help.lines().find(|line| line.starts_with("  chat-memory") && line.chars().count() > 80);
        assert_eq!(wide, None, "an example is for copying, so it stays on one line");
    }
    assert!(place.run(&["table", "--help"]).done().contains("table create"));
    place.run(&[]).fails(2, &["Usage: chat-memory"]);
    place.run(&["apend", "s", "Hi"]).fails(2, &["append"]);
}

#[test]
fn printed_times_include_their_zone() {
    let place = Place::sqlite().with("TZ", "Asia/Kolkata");
    place.run(&["append", "s", "Hi"]).done();
    place.run(&["key", "new", "--keys", "keys.toml", "--name", "app"]).done();
    for arguments in [&["show", "s"][..], &["sessions"], &["sessions", "--all"], &["key", "list", "--keys", "keys.toml"]] {
        let local = place.run(arguments).done();
        assert!(has_time(&local, "+05:30"), "{arguments:?}: {local}");
        let utc = place.run(&[arguments, &["--utc"]].concat()).done();
        assert!(has_time(&utc, "+00:00"), "{arguments:?}: {utc}");
    }
}

/// Whether it contains a time such as `2026-05-04 09:30:00+05:30`.
fn has_time(text: &str, offset: &str) -> bool {
    text.match_indices(offset).any(|(at, _)| {
        let time = text[..at].get(at.saturating_sub(19)..).unwrap_or_default();
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        shape == "0000-00-00 00:00:00"
    })
}

#[test]
fn closed_output_pipe_is_not_a_failure() {
    let place = Place::sqlite();
    let line = json!({"role": "user", "content": "x".repeat(1_000_000)}).to_string();
    place.run_with(&["append", "s", "--file", "-"], format!("{line}\n{line}")).done();
    for arguments in [&["show", "s"][..], &["show", "s", "--format", "openai"], &["export"], &["--help"], &["completions", "zsh"]]
    {
        let mut child =
            place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let ran: crate::common::Ran = child.wait_with_output().expect("the program ends").into();
        assert_eq!((ran.code, ran.err.contains("panicked")), (Some(0), false), "{arguments:?}: {}", ran.err);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn unwritable_output_is_a_failure() {
    let place = Place::sqlite();
    place.run(&["append", "s", "Hi"]).done();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = place.command(["show", "s"]).stdout(full).output().expect("the program starts");
    crate::common::Ran::from(output).fails(1, &["standard output cannot be written"]);
}

#[test]
fn role_developer_is_kept_as_over_http_and_in_files() {
    let place = Place::sqlite();
    place.run(&["append", "a", "--role", "developer", "Be brief."]).done();
    assert_eq!(place.messages("a"), [json!({"role": "developer", "content": "Be brief."})]);
}

#[test]
fn empty_title_is_none() {
    let place = Place::sqlite();
    place.run(&["append", "a", "--title", "", "Hi there"]).done();
    let listed = place.run(&["sessions"]).done();
    assert!(listed.contains("Hi there"), "{listed}");
    assert_eq!(place.run(&["sessions", "--json"]).json()["title"], serde_json::Value::Null);
}

#[test]
fn failed_session_of_an_export_is_one_line_of_json() {
    let place = Place::sqlite();
    place.run(&["append", "a", "Hi"]).done();
    let ran = place.run(&["--json", "export", "nope"]);
    let line = ran.err.lines().next().expect("a line");
    let error: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((ran.code, &error["error"]["kind"]), (Some(1), &json!("not_found")), "{}", ran.err);
}
