//! Checks that the files and tests named in docs/guarantees.md exist.
//!
//! A code span of the page names them: a file below one of the code directories, then a colon and its tests, separated by commas.
//! For a script, each span has one title, since a title may contain commas.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/guarantees.md");

const FOLDERS: [&str; 6] = ["bench/", "bindings/", "crates/", "integrations/", "tests/", "xtask/"];

const ENDS: [&str; 3] = [".rs", ".mjs", ".py"];

/// With fewer tests, the page has lost some or is parsed wrongly here.
const FEWEST: usize = 30;

/// Returns the file that a code span names, and the tests in it (none for a file alone); `None` for any other code span.
fn named(span: &str) -> Option<(&str, &str)> {
    let (file, tests) = span.split_once(':').unwrap_or((span, ""));
    let is_code = FOLDERS.iter().any(|folder| file.starts_with(*folder)) && ENDS.iter().any(|end| file.ends_with(*end));
    is_code.then_some((file, tests.trim()))
}

/// Whether a text has a function of this name, in Rust or in Python.
fn has_function(text: &str, name: &str) -> bool {
    ["fn", "def"].iter().any(|keyword| text.contains(&format!("{keyword} {name}(")))
}

/// Whether a text has this title: at the end of a quoted string, since what comes before it may differ from store to store.
fn has_title(text: &str, title: &str) -> bool {
    ['"', '\'', '`'].iter().any(|quote| text.contains(&format!("{title}{quote}")))
}

#[test]
fn every_test_in_guarantees_exists() {
    assert!(!PAGE.contains("```"), "backquotes must only mark code spans");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut found, mut missing) = (0, Vec::new());
    for (file, tests) in PAGE.split('`').skip(1).step_by(2).filter_map(named) {
        let Ok(text) = fs::read_to_string(root.join(file)) else {
            missing.push(format!("the file {file}"));
            continue;
        };
        let is_script = file.ends_with(".mjs");
        let tests: Vec<&str> = if is_script { vec![tests] } else { tests.split(',').map(str::trim).collect() };
        for test in tests.into_iter().filter(|test| !test.is_empty()) {
            found += 1;
            let is_there = if is_script { has_title(&text, test) } else { has_function(&text, test) };
            if !is_there {
                missing.push(format!("{test:?} in {file}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/guarantees.md names missing files or tests:\n{}", missing.join("\n"));
    assert!(found >= FEWEST, "docs/guarantees.md names {found} tests; it must name {FEWEST} at least");
}

#[test]
fn missing_tests_would_be_detected() {
    assert_eq!(named("crates/a/tests/b.rs: c, d"), Some(("crates/a/tests/b.rs", "c, d")));
    assert_eq!(named("crates/a/src/b.rs"), Some(("crates/a/src/b.rs", "")));
    for other in ["Append::clear", "tests/peers", "table sweep", "docs/a.rs: b", ""] {
        assert_eq!(named(other), None, "{other}");
    }
    let text = "async fn one(trial: Trial) {}\ntest(`${name}: two, and three`, async () => {});";
    assert!(has_function(text, "one") && has_title(text, "two, and three"));
    assert!(!has_function(text, "on") && !has_function(text, "ne") && !has_title(text, "two"));
}
