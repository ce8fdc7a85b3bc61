//! A dry run writes nothing, so it works on a store that is open read-only, which sends no request that writes. Every command with a dry
//! run, on every store.

use chat_memory_testkit::{dynamodb_endpoint, table_name};

use crate::common::{Place, Ran};

fn at(url: impl Into<String>) -> Place {
    Place::at(url).with("AWS_ACCESS_KEY_ID", "local").with("AWS_SECRET_ACCESS_KEY", "local")
}

/// A store with a session of two records, in each of our forms.
fn stores() -> Vec<(Place, bool)> {
    let table = |layout: &str| {
        let url = format!("dynamodb://{}?region=us-east-1&endpoint={}{layout}", table_name("dry"), dynamodb_endpoint());
        let place = at(url);
        place.run(&["table", "create"]).done();
        place
    };
    let stores = vec![(Place::sqlite(), true), (table(""), true), (table("&layout=list&partition_key=id"), false)];
    for (place, has_directory) in &stores {
        let owner: &[&str] = if *has_directory { &["--owner", "ada"] } else { &[] };
        place.run(&[&["append", "trip", "Where to?"], owner].concat()).done();
        place.run(&["append", "trip", "--role", "assistant", "To Rome."]).done();
    }
    stores
}

#[test]
fn dry_runs_work_on_a_read_only_store_of_every_kind() {
    for (place, has_directory) in stores() {
        let read_only = |arguments: &[&str]| -> Ran { place.run(&[&["--read-only"], arguments].concat()) };
        let tried = read_only(&["redact", "trip", "0", "--dry-run"]);
        assert!(tried.err.contains("would redact 1 message of record 0 of trip"), "{}", tried.err);
        tried.done();
        assert!(read_only(&["fork", "trip", "--dry-run"]).done().starts_with("would copy 2 records of trip"));
        if has_directory {
            assert_eq!(read_only(&["delete", "--owner", "ada", "--dry-run"]).done(), "trip\n");
        }
        let messages = place.messages("trip");
        read_only(&["redact", "trip", "0", "--yes"]).fails(1, &["read"]);
        read_only(&["fork", "trip", "rome"]).fails(1, &["read"]);
        assert_eq!((place.messages("trip"), place.messages("rome").len()), (messages, 0));
    }
}

#[test]
fn dry_run_of_a_migration_works_between_read_only_stores_of_every_kind() {
    let (stores, targets) = (stores(), stores());
    for (from, _) in &stores {
        for (to, _) in &targets {
            let read_only =
                |place: &Place| format!("{}{}read_only=true", place.store, if place.store.contains('?') { "&" } else { "?" });
            let from = at(&from.store);
            let plan = from.run(&[
                "migrate",
                "--from",
                &read_only(&from),
                "--to",
                &read_only(to),
                "--dry-run",
                "--rename",
                "trip",
                "other",
            ]);
            assert!(plan.done().starts_with("would copy 1 session: 2 messages in "));
            assert!(to.messages("other").is_empty());
        }
    }
}
