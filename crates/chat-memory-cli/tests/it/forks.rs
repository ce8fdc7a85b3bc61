//! `fork`, and `delete --owner`.

use serde_json::json;

use crate::common::{Place, json_lines};

fn with_trip() -> Place {
    let place = Place::sqlite();
    place.run(&["append", "trip", "Where to?", "--owner", "ada", "--title", "Trip"]).done();
    place.run(&["append", "trip", "--role", "assistant", "To Rome."]).done();
    place.run(&["append", "trip", "How?"]).done();
    place
}

#[test]
fn fork_copies_up_to_a_record() {
    let place = with_trip();
    let planned = place.run(&["fork", "trip", "rome", "--at", "1", "--dry-run"]).done();
    assert_eq!(planned, "would copy 2 records of trip, up to record 1 (2 messages)\n");
    assert!(place.messages("rome").is_empty(), "a dry run writes nothing");
    assert_eq!(
        place.run(&["fork", "trip", "rome", "--at", "1"]).done(),
        "forked trip up to record 1 as rome (2 records, 2 messages)\n"
    );
    assert_eq!(place.messages("rome"), place.messages("trip")[..2]);
    place.run(&["append", "rome", "By train?"]).done();
    assert_eq!(place.messages("trip").len(), 3);
    let listed = place.run(&["sessions", "--owner", "ada"]).done();
    assert!(listed.contains("rome  Trip  (3 records)  (fork of trip at record 1)\n"), "{listed}");
    let listed = json_lines(&place.run(&["sessions", "--owner", "ada", "--json"]).done());
    let rome = listed.iter().find(|info| info["id"] == "rome").expect("it is listed");
    assert_eq!(rome["metadata"], json!({"forked_from": {"session": "trip", "seq": 1}}));

    let made = place.run(&["fork", "trip", "--json", "--title", "Other"]).json();
    assert_eq!(
        (&made["from"], &made["seq"], &made["records"], &made["entries"]),
        (&json!("trip"), &json!(2), &json!(3), &json!(3))
    );
    assert_eq!(place.messages(made["session"].as_str().expect("an id")), place.messages("trip"));
    place.run(&["fork", "trip", "rome"]).fails(3, &["rome", "already exists"]);
    place.run(&["fork", "trip", "other", "--at", "9"]).fails(1, &["record 9"]);
    place.run(&["fork", "never-was", "other"]).fails(1, &["never-was", "no messages"]);
    place.run(&["fork", "trip", "--idempotency-key", "k"]).fails(2, &["NEW"]);
    let keyed = ["fork", "trip", "keyed", "--idempotency-key", "k"];
    assert!(place.run(&keyed).done().starts_with("forked trip"));
    assert!(place.run(&keyed).done().starts_with("already forked trip"));
}

#[test]
fn sessions_of_an_owner_are_deleted_and_listed_again() {
    let place = with_trip();
    place.run(&["append", "work", "Hi", "--owner", "ada"]).done();
    place.run(&["append", "bobs", "Hi", "--owner", "bob"]).done();
    let would = place.run(&["delete", "--owner", "ada", "--dry-run"]);
    assert_eq!(would.err, "would delete 2 sessions of ada\n");
    let mut ids: Vec<String> = would.done().lines().map(str::to_owned).collect();
    ids.sort();
    assert_eq!(ids, ["trip", "work"]);
    place.run(&["delete", "--owner", "ada"]).fails(2, &["--yes", "ada"]);
    place.run(&["delete", "trip", "--owner", "ada", "--yes"]).fails(2, &["--owner"]);
    place.run(&["delete", "trip", "--dry-run"]).fails(2, &["--owner"]);
    assert_eq!(place.messages("trip").len(), 3);
    assert_eq!(
        place.run(&["delete", "--owner", "ada", "--yes"]).done(),
        "deleted 2 sessions of ada (4 records erased); none is left\n"
    );
    assert!(place.messages("trip").is_empty());
    assert_eq!(place.messages("bobs").len(), 1);
    let again = place.run(&["delete", "--owner", "ada", "--yes", "--json"]).json();
    assert_eq!((&again["sessions"], &again["failed"], &again["left"]), (&json!(0), &json!([]), &json!(0)));
}
