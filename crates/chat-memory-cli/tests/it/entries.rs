//! Entries that are not messages, from the command line and back.

use serde_json::{Value, json};

use crate::common::{Place, json_lines};

const LINE: &str = r#"{"type":"progress","uuid":"a","n":[1,1.0,18446744073709551615]}"#;
const SUMMARY: &str = r#"{"type":"summary","text":"\u001b[2J","id":"s"}"#;

/// A session with both kinds, in one record and in several.
fn filled(place: &Place) {
    let ada = r#"{"role":"user","content":"Hi","name":"ada"}"#;
    place.run(&["append", "run", "--entry", LINE, "--entry", ada, "--entry", SUMMARY]).done();
    place.run(&["append", "run", "--role", "assistant", "Ho"]).done();
    place.run(&["append", "run", "--entry", "{}"]).done();
}

#[test]
fn entries_are_shown_as_json_and_counted_where_only_messages_are() {
    let place = Place::sqlite();
    filled(&place);
    let text = place.run(&["show", "run"]).done();
    assert!(text.contains(&format!("entry\n  {LINE}\n")) && !text.contains('\u{1b}'), "{text:?}");
    let ran = place.run(&["show", "run", "--format", "openai"]);
    assert!(ran.err.contains("3 entries are not messages"), "{}", ran.err);
    assert_eq!(json_lines(&ran.done()).len(), 2);
    let shown = place.run(&["show", "run", "--json"]).json();
    let counts: Vec<_> = shown["records"].as_array().expect("records").iter().map(|record| &record["messages"]).collect();
    assert_eq!((&shown["other_entries"], counts), (&json!(3), vec![&json!(1), &json!(1), &json!(0)]));
    place.run(&["append", "run", "--entry", "[1]"]).fails(2, &["--entry", "expected a JSON object"]);
    place.run(&["append", "run", "--entry", "{\"a\":1,\"a\":2}"]).fails(2, &["--entry", "twice"]);
    // Where messages are expected, a wrong one is refused.
    let file = place.file("lines.jsonl", LINE);
    place.run(&["append", "run", "--file", &file]).fails(1, &["line 1", "\"role\""]);
}

#[test]
fn only_new_entries_are_appended() {
    let place = Place::sqlite();
    let append = |entries: &[&str]| {
        let entries = entries.iter().flat_map(|entry| ["--entry", *entry]);
        let arguments: Vec<&str> = ["append", "run", "--only-new"].into_iter().chain(entries).collect();
        place.run(&arguments)
    };
    assert_eq!(append(&[LINE]).done(), "record 0 of run (1 of 1 new)\n");
    assert_eq!(append(&[LINE, SUMMARY]).done(), "record 1 of run (1 of 2 new)\n");
    assert_eq!(append(&[SUMMARY, LINE]).done(), "nothing new for run\n");
    append(&[r#"{"type":"other","uuid":"a"}"#]).fails(1, &["entry id \"a\"", "record 0"]);
    let again = place.run(&["append", "run", "--only-new", "--json", "--entry", LINE]).json();
    assert_eq!((&again["seq"], &again["new"], &again["next"]), (&Value::Null, &json!([false]), &json!(2)));
    place.run(&["append", "run", "--only-new", "--idempotency-key", "k", "x"]).fails(2, &["--only-new"]);
}

#[test]
fn entries_travel_by_export_and_migrate() {
    let place = Place::sqlite();
    filled(&place);
    let line = place.run(&["export", "run"]).json();
    assert_eq!(line["messages"].as_array().map(Vec::len), Some(2));
    let others: Vec<_> = line["other_entries"].as_array().expect("others").iter().map(|other| &other["after"]).collect();
    assert_eq!(others, [0, 1, 2]);
    assert_eq!(line["other_entries"][0]["entry"].to_string(), LINE);
    let file = place.file("run.jsonl", line.to_string());
    let other = Place::sqlite();
    let copy = place.path().join(&file).display().to_string();
    other.run(&["import", &copy]).done();
    let mut again = other.run(&["export", "run"]).json();
    again["created_at"] = line["created_at"].clone();
    assert_eq!(again, line);
    // Running it again continues after what is there.
    assert!(other.run(&["import", &copy]).done().contains("imported 0 turns"));

    let third = Place::sqlite();
    let copied = place.run(&["migrate", "--from", &place.store, "--to", &third.store, "--verify", "--json"]).json();
    assert_eq!(copied["failed"], json!([]), "{copied}");
    let mut again = third.run(&["export", "run"]).json();
    again["created_at"] = line["created_at"].clone();
    assert_eq!(again, line);

    for (bad, why) in [
        (r#"{"after": 3, "entry": {}}"#, "\"after\" is not a number from 0 to 2"),
        (r#"{"after": 0, "entry": []}"#, "\"entry\" is not an object"),
        (r#"{"after": 0, "entry": {}, "x": 1}"#, "unknown field \"x\""),
    ] {
        let line = format!(r#"{{"id": "bad", "messages": [{{"role": "user"}}, {{"role": "user"}}], "other_entries": [{bad}]}}"#);
        let ran = other.run_with(&["import", "-"], line);
        ran.fails(1, &["other_entries 1", why]);
    }
}
