//! Real conversations in and out, interrupted and at once, on a SQLite file.

mod common;

use common::{Place, Ran, json_lines, scenarios};
use serde_json::{Value, json};

#[test]
fn real_conversations_come_back_equal() {
    scenarios::real_data(&Place::sqlite());
}

#[test]
fn an_import_that_was_killed_goes_on() {
    scenarios::killed_import(&Place::sqlite());
}

#[test]
fn a_session_that_differs_is_named_and_left_alone() {
    let place = Place::sqlite();
    let line = |id: &str, text: &str| json!({"id": id, "messages": [{"role": "user", "content": text}]}).to_string();
    place.run(&["append", "b", "mine"]).done();
    let file = place.file("all.jsonl", [line("a", "1"), line("b", "2"), line("c", "3")].join("\n"));
    let ran = place.run(&["import", &file]);
    ran.fails(3, &["line 2, session b", "other messages than the file"]);
    assert_eq!(ran.out, "imported 2 turns (2 messages) of 3 sessions; 1 failed: run it again when that is settled\n");
    assert_eq!(place.messages("b"), [json!({"role": "user", "content": "mine"})]);
    let ran = place.run(&["import", &file, "--json"]);
    assert_eq!(ran.code, Some(3));
    let summary: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&summary["failed"][0]["id"], &summary["failed"][0]["line"]), (&json!("b"), &json!(2)));
    // Beside what is there it finds its place.
    place.run(&["import", &file, "--id-prefix", "archive/"]).done();
    assert_eq!(place.messages("archive/b"), [json!({"role": "user", "content": "2"})]);
}

#[test]
fn what_is_known_of_a_session_travels_too() {
    let (place, other) = (Place::sqlite(), Place::sqlite());
    let line =
        json!({"id": "a", "messages": [{"role": "user", "content": "Hi"}], "owner": "ann", "title": "T", "metadata": {"k": 1.5}});
    place.run_with(&["import", "-"], line.to_string()).done();
    let out = place.run(&["export", "--owner", "ann"]).done();
    assert_eq!(json_lines(&out), std::slice::from_ref(&line));
    other.run_with(&["import", "-"], out).done();
    assert_eq!(json_lines(&other.run(&["export", "a"]).done()), [line]);
    assert_eq!(other.run(&["export"]).done(), "", "it has an owner");
    // A record's own metadata has no place there, and that is said.
    other.run(&["append", "a", "--metadata", "{\"x\":1}", "Hi"]).done();
    assert!(other.run(&["export", "a"]).err.contains("left out: the metadata of 1 record"));
    let missing = other.run(&["export", "nobody"]);
    assert!(missing.err.contains("nobody holds no message"), "{}", missing.err);
    assert_eq!(json_lines(&missing.done()), [json!({"id": "nobody", "messages": []})]);
}

#[test]
fn eight_processes_append_to_one_session() {
    scenarios::eight_processes(&Place::sqlite());
}

/// The summary on standard output, and the rest on standard error.
#[test]
fn an_import_says_what_it_did() {
    let place = Place::sqlite();
    let lines = r#"{"id":"a","messages":[{"role":"user","content":"1"},{"role":"user","content":"2"}]}"#;
    let ran: Ran = place.run_with(&["import", "-", "--cost"], lines);
    assert!(ran.err.starts_with("cost: requests=3 "), "one load and two appends: {}", ran.err);
    assert_eq!(ran.done(), "imported 2 turns (2 messages) of 1 session\n");
    assert_eq!(
        place.run_with(&["import", "-"], lines).done(),
        "imported 0 turns (0 messages) of 1 session; 2 messages were there already\n"
    );
    let ran = place.run(&["export"]);
    assert_eq!(ran.err, "exported 1 session (2 messages)\n");
    assert_eq!(ran.done(), format!("{lines}\n"));
}
