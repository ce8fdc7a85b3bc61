//! `doctor`: what it finds, and what to do about it.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;

use crate::common::Place;
use chat_memory_testkit::{credentials_env, dynamodb_endpoint, table_name};
use serde_json::Value;

/// The findings about a subject.
fn about(report: &Value, subject: &str) -> Vec<(String, String)> {
    let findings = report["findings"].as_array().expect("a list").iter().filter(|finding| finding["subject"] == subject);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings
        .map(|finding| (text(&finding["severity"]), format!("{} {}", text(&finding["what"]), text(&finding["remedy"]))))
        .collect()
}

fn report(place: &Place, arguments: &[&str], code: i32) -> Value {
    let ran = place.run(&[&["doctor", "--json"], arguments].concat());
    assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).expect("JSON")
}

#[test]
fn healthy_file_needs_nothing() {
    let place = Place::sqlite();
    let before = report(&place, &[], 0);
    assert!(about(&before, "file")[0].1.contains("does not exist yet"), "{before}");
    assert!(!place.path().join("chats.db").exists(), "it creates nothing");
    place.run(&["append", "s", "Hi"]).done();
    let out = place.run(&["doctor"]).done();
    assert!(out.contains("is whole") && out.ends_with("nothing needs to be done\n"), "{out}");
    assert!(out.contains("CHAT_MEMORY_STORE"), "{out}");
    assert!(report(&place, &["--read-only"], 0)["store"].as_str().is_some_and(|store| store.starts_with("sqlite:")));
}

#[test]
fn file_that_others_can_read_is_a_warning() {
    let place = Place::sqlite();
    place.run(&["append", "s", "Hi"]).done();
    let file = place.path().join("chats.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let found = about(&report(&place, &[], 0), "permissions");
    assert!(found[0].0 == "warning" && found[0].1.contains("644") && found[0].1.contains("chmod 600"), "{found:?}");
    assert!(place.run(&["doctor"]).done().ends_with("0 errors, 1 warning\n"));
}

#[test]
fn damaged_file_is_an_error_with_a_remedy() {
    let place = Place::sqlite();
    for n in 0..200 {
        place
            .run_with(
                &["import", "-"],
                format!("{{\"id\":\"s{n}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}", "x".repeat(500)),
            )
            .done();
        if n == 20 {
            break;
        }
    }
    let file = place.path().join("chats.db");
    let mut bytes = std::fs::read(&file).expect("a file");
    // A page in the middle, but for its type.
    let page = 4096;
    let at = bytes.len() / page / 2 * page;
    bytes[at + 1..at + 200].fill(0xff);
    std::fs::write(&file, bytes).expect("a file");
    let found = about(&report(&place, &[], 1), "file");
    assert!(found.iter().any(|(severity, what)| severity == "error" && what.contains("backup")), "{found:?}");

    place.file("chats.db", "This is a text, and no database, whatever it is called. It is long enough for a header of SQLite's, too, which has 100 bytes.");
    let found = about(&report(&place, &[], 1), "file");
    assert_eq!(found[0].0, "error", "{found:?}");
}

#[test]
fn mistyped_settings_and_stores_are_named() {
    let place = Place::sqlite().with("CHAT_MEMORY_STROE", "sqlite:x").with("OPENAI_API_KEY", "sk-secret");
    let found = report(&place, &[], 0);
    let settings = about(&found, "settings");
    assert!(settings.iter().any(|(severity, what)| severity == "warning" && what.contains("CHAT_MEMORY_STROE")), "{found}");
    assert!(settings[0].1.contains("OPENAI_API_KEY") && !found.to_string().contains("sk-secret"), "{found}");
    let unknown = about(&report(&place, &["--store", "mongo://x"], 1), "store");
    assert!(unknown[0].1.contains("unknown store") && unknown[0].1.contains("--store"), "{unknown:?}");
    let variables = ["CHAT_MEMORY_LISTEN", "CHAT_MEMORY_KEYS_TEXT", "CHAT_MEMORY_CONFIG", "CHAT_MEMORY_PAGER"];
    let place = variables.into_iter().fold(Place::sqlite(), |place, name| place.with(name, "x"));
    assert!(about(&report(&place, &[], 0), "settings").iter().all(|(severity, _)| severity == "ok"), "they are known");
}

#[test]
fn key_file_is_checked() {
    let place = Place::sqlite();
    let missing = about(&report(&place, &["--keys", "keys.toml"], 1), "keys");
    assert!(missing[0].1.contains("key new"), "{missing:?}");
    place.run(&["key", "new", "--keys", "keys.toml", "--name", "app"]).done();
    assert!(about(&report(&place, &["--keys", "keys.toml"], 0), "keys")[0].1.contains("1 key"));
    std::fs::set_permissions(place.path().join("keys.toml"), std::fs::Permissions::from_mode(0o666)).expect("it is ours");
    let found = about(&report(&place.with("CHAT_MEMORY_KEYS", "keys.toml"), &[], 0), "keys");
    assert!(found.iter().any(|(severity, what)| severity == "warning" && what.contains("chmod 600")), "{found:?}");
}

#[test]
fn table_and_credentials_are_checked() {
    let table = table_name("cli-doctor");
    let url = format!("dynamodb://{table}?region=us-east-1&endpoint={}", dynamodb_endpoint());
    let place = credentials_env().into_iter().fold(Place::at(url), |place, (name, value)| place.with(name, value));
    let missing = report(&place, &[], 1);
    assert!(
        about(&missing, "table").iter().any(|(severity, what)| severity == "error" && what.contains("table create")),
        "{missing}"
    );
    place.run(&["table", "create"]).done();
    let found = report(&place, &[], 0);
    assert!(about(&found, "credentials")[0].1.contains("the environment"), "{found}");
    // All that `table check` finds is there.
    let checked = place.run(&["table", "check", "--json"]).json();
    for finding in checked["findings"].as_array().expect("a list") {
        assert!(found["findings"].as_array().expect("a list").contains(finding), "{finding} is not in {found}");
    }
    let unreachable = Place::at(format!("dynamodb://{table}?region=us-east-1&endpoint=http://127.0.0.1:1"));
    let found = report(&unreachable, &[], 1);
    assert_eq!(about(&found, "credentials")[0].0, "hint", "{found}");
}
