//! `redact`.

use serde_json::json;

use crate::common::Place;

fn with_secret() -> Place {
    let place = Place::sqlite();
    place.run(&["append", "trip", "Where to?", "--owner", "ada"]).done();
    place.run(&["append", "trip", "My card is 4111 1111"]).done();
    place.run(&["append", "trip", "--role", "assistant", "To Rome."]).done();
    place
}

#[test]
fn record_is_redacted_in_place() {
    let place = with_secret();
    let tried = place.run(&["redact", "trip", "1", "--dry-run"]);
    assert_eq!(tried.err, "would redact 1 message of record 1 of trip\n");
    assert!(tried.done().contains("My card is 4111 1111"));
    let planned = place.run(&["redact", "trip", "1", "--dry-run", "--json"]).json();
    assert_eq!((&planned["changed"], &planned["replaces"][0]["content"]), (&json!(true), &json!("My card is 4111 1111")));
    place.run(&["redact", "trip", "1"]).fails(2, &["--yes", "record 1 of trip"]);
    assert_eq!(place.messages("trip")[1]["content"], "My card is 4111 1111", "nothing was changed");

    assert_eq!(place.run(&["redact", "trip", "1", "--yes"]).done(), "redacted 1 message of record 1 of trip\n");
    let messages = place.messages("trip");
    let texts: Vec<_> = messages.iter().map(|message| message["content"].as_str().expect("a text")).collect();
    assert_eq!(texts, ["Where to?", "[redacted]", "To Rome."]);
    assert!(messages[1]["redacted"].as_str().is_some_and(|at| at.ends_with('Z')), "{messages:?}");
    assert!(!place.run(&["export"]).done().contains("4111"));
    assert_eq!(place.run(&["redact", "trip", "1", "--yes"]).done(), "record 1 of trip was redacted already\n");
    assert_eq!(place.run(&["redact", "trip", "1", "--dry-run"]).done(), "record 1 of trip is redacted already\n");

    let other = place.run(&["redact", "trip", "2", "--message", "0", "--replacement", "(gone)", "--yes", "--json"]).json();
    assert_eq!((&other["seq"], &other["changed"], &other["entries"]), (&json!(2), &json!(true), &json!(1)));
    assert_eq!(place.messages("trip")[2]["content"], "(gone)");
}

#[test]
fn redaction_of_what_is_not_there_fails() {
    let place = with_secret();
    place.run(&["redact", "trip", "9", "--yes"]).fails(1, &["record 9", "trip", "no such record"]);
    place.run(&["redact", "never-was", "0", "--yes"]).fails(1, &["never-was"]);
    place.run(&["redact", "trip", "1", "--message", "3", "--yes"]).fails(1, &["it has one message"]);
    place.run(&["redact", "trip", "1", "--replacement", "", "--yes"]).fails(2, &["replacement"]);
    place.run(&["clear", "trip", "--yes"]).done();
    place.run(&["redact", "trip", "1", "--yes"]).fails(1, &["erased already"]);
    assert!(place.messages("trip").is_empty());
}
