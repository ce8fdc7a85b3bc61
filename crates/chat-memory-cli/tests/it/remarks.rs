//! What commands say when there is nothing to do, and the commands that they recommend.

use crate::common::Place;
use serde_json::json;

#[test]
fn clear_of_a_session_that_does_not_exist_begins_none() {
    let place = Place::sqlite();
    place.run(&["append", "trip", "Where to?"]).done();
    assert_eq!(place.run(&["clear", "typo", "--yes"]).done(), "no session \"typo\": nothing to clear\n");
    let ran = place.run(&["clear", "typo", "--json"]).json();
    assert_eq!((&ran["existed"], &ran["seq"], &ran["erased"]), (&json!(false), &json!(null), &json!(0)));
    assert_eq!(place.run(&["sessions"]).done().lines().count(), 1);
    place.run(&["fork", "trip", "typo"]).done();
    assert_eq!(place.run(&["clear", "typo", "--yes"]).done(), "cleared typo (1 record erased)\n");
    // A cleared session exists.
    assert_eq!(place.run(&["clear", "typo", "--json", "--yes"]).json()["existed"], json!(true));
    place.run(&["delete", "typo", "--yes"]).done();
    assert_eq!(place.run(&["clear", "typo", "--yes"]).done(), "no session \"typo\": nothing to clear\n");
}

#[test]
fn sweep_creates_no_file() {
    let place = Place::sqlite();
    place.run(&["table", "sweep"]).fails(1, &["there is no such file"]);
    assert!(!place.path().join("chats.db").exists());
}

#[test]
fn append_says_that_a_session_keeps_its_owner_and_title() {
    let place = Place::sqlite();
    assert_eq!(place.run(&["append", "trip", "Hi", "--owner", "ada", "--title", "A trip"]).err, "");
    let ran = place.run(&["append", "trip", "Hi", "--owner", "bob", "--title", "Mine"]);
    assert_eq!(ran.err, "(--owner and --title had no effect: the session had begun before; `title` changes a title)\n");
    let ran = place.run(&["append", "trip", "Hi", "--title", "Mine", "--json"]);
    assert_eq!(ran.err, "(--title had no effect: the session had begun before; `title` changes a title)\n");
    let ran = place.run(&["append", "trip", "Hi", "--owner", "bob"]);
    assert_eq!(ran.err, "(--owner had no effect: the session had begun before)\n");
    assert_eq!(place.run(&["sessions"]).err, "no sessions without an owner; `chat-memory sessions --all` lists all\n");
    assert_eq!(place.run(&["sessions", "--owner", "bob"]).err, "no sessions of bob\n");
}

#[test]
fn title_is_given_and_removed() {
    let place = Place::sqlite();
    place.run(&["append", "trip", "Where to?"]).done();
    assert_eq!(place.run(&["title", "trip", "A week\u{202e} in May"]).done(), "title of trip: A week\\u{202e} in May\n");
    assert_eq!(place.run(&["title", "trip", "In May", "--json"]).json()["title"], "In May");
    assert!(place.run(&["sessions"]).done().contains("trip  In May"));
    assert_eq!(place.run(&["title", "trip", "--remove"]).done(), "trip has no title\n");
    assert!(place.run(&["sessions"]).done().contains("trip  Where to?"));
    place.run(&["title", "trip"]).fails(2, &["<TITLE>"]);
    place.run(&["title", "trip", "x", "--remove"]).fails(2, &["--remove"]);
    place.run(&["title", "trip", &"x".repeat(1_025)]).fails(2, &["the limit is 1024 bytes"]);
    place.run(&["title", "nope", "x"]).fails(1, &["cannot title session \"nope\": there is no such session", "sessions --all"]);
    place.run(&["--read-only", "title", "trip", "x"]).fails(1, &["read-only"]);
}

#[test]
fn recommended_commands_name_the_store_that_the_command_line_names() {
    let place = Place::sqlite();
    let run = |arguments: &[&str]| place.run(&[&["--store", "sqlite:it's.db"], arguments].concat());
    run(&["append", "trip", "Where to?"]).done();
    let ran = run(&["search", "where"]);
    assert!(ran.err.contains("build it with `chat-memory search --index --store 'sqlite:it'\\''s.db'`"), "{}", ran.err);
    run(&["export", "nope"]).fails(1, &["list all sessions with `chat-memory sessions --all --store 'sqlite:it'\\''s.db'`"]);
    run(&["migrate", "--from", "sqlite:it's.db", "--to", "sqlite:other.db", "--session", "nope"])
        .fails(1, &["`chat-memory sessions --all --store 'sqlite:it'\\''s.db'`"]);
    assert_eq!(run(&["search", "--index", "--json"]).json()["added"], 1);
    assert_eq!(run(&["search", "--remove-index", "--json"]).json()["removed"], true);
    assert_eq!(run(&["search", "--remove-index", "--json"]).json()["removed"], false);
    // By the environment, the command needs no store.
    place.run(&["append", "trip", "Where to?"]).done();
    assert!(place.run(&["search", "where"]).err.contains("build it with `chat-memory search --index`"));
}

#[test]
fn ids_that_turn_text_around_are_escaped() {
    let place = Place::sqlite();
    let id = "a\u{202e}b";
    let mut printed = Vec::new();
    for arguments in [
        &["append", id, "Hi"] as &[&str],
        &["append", id, "--only-new", "--entry", r#"{"type":"note","uuid":"n"}"#],
        &["append", id, "--only-new", "--entry", r#"{"type":"note","uuid":"n"}"#],
        &["fork", id, "c\u{202e}d", "--dry-run"],
        &["fork", id, "c\u{202e}d"],
        &["redact", id, "0", "--yes"],
        &["rewind", id, "--turns", "1", "--yes"],
        &["rewind", id, "--turns", "1", "--yes"],
        &["clear", id, "--yes"],
        &["delete", id, "--yes"],
        &["delete", id, "--yes"],
    ] {
        let ran = place.run(arguments);
        printed.push(ran.err.clone() + &ran.done());
    }
    for line in printed {
        assert!(line.contains("\\u{202e}") && !line.contains('\u{202e}'), "{line:?}");
    }
}

#[test]
fn position_is_printed_as_json_too() {
    let place = Place::sqlite();
    place.run(&["append", "trip", "Where to?"]).done();
    let shown = place.run(&["show", "trip", "--position", "--json"]).json();
    assert!(shown.get("messages").is_none(), "{shown}");
    place.run(&["append", "trip", "In May.", "--expect", shown["position"].as_str().expect("a text")]).done();
}

#[test]
fn calls_without_their_results_are_not_shown_to_a_model() {
    let place = Place::sqlite();
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let turn = [
        json!({"role": "user", "content": "Both?"}),
        json!({"role": "assistant", "content": null, "tool_calls": [call("c1"), call("c2")]}),
        json!({"role": "tool", "tool_call_id": "c1", "content": "1"}),
    ];
    let lines: String = turn.iter().map(|message| format!("{message}\n")).collect();
    place.run(&["append", "s", "--file", &place.file("turn.jsonl", &lines)]).done();
    for window in [&[] as &[&str], &["--last", "99"]] {
        let ran = place.run(&[&["show", "s", "--for-model"], window].concat());
        assert!(!ran.err.is_empty(), "what is left out is said");
        assert_eq!(ran.done(), format!("{}\n", turn[0]));
    }
    place.run(&["append", "only", "--entry", r#"{"type":"note"}"#]).done();
    assert_eq!(place.run(&["show", "only", "--last", "1"]).err, "only has no messages (1 entry is not a message)\n");
}
