//! The harness runs, and both sides of each comparison do the same work. Speed does not matter here.

use std::path::Path;
use std::process::Command;

fn smoke(args: &[&str]) -> String {
    smoke_with(args, &[])
}

fn smoke_with(args: &[&str], env: &[(&str, &std::ffi::OsStr)]) -> String {
    // So that it fails with the sentence that says what to do.
    let endpoint = chat_memory_testkit::dynamodb_endpoint();
    let output = Command::new(env!("CARGO_BIN_EXE_chat-memory-bench"))
        .arg("--smoke")
        .args(args)
        .env("DYNAMODB_ENDPOINT", endpoint)
        .envs(chat_memory_testkit::credentials_env())
        .envs(env.iter().copied())
        .output()
        .expect("the harness starts");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(!table.contains("NaN"), "{table}");
    table.into_owned()
}

#[test]
fn smoke_run_prints_the_table() {
    let table = smoke(&["library"]);
    for line in
        ["| DynamoDB: append a turn |", "| DynamoDB: load a window |", "| SQLite: append a turn |", "| SQLite: load a window |"]
    {
        assert!(table.contains(line), "{line} is missing in:\n{table}");
    }
}

#[test]
fn service_smoke_run_prints_its_tables() {
    // `cargo test --workspace` builds the program next to this one; without it the harness says what to do.
    let program = Path::new(env!("CARGO_BIN_EXE_chat-memory-bench")).with_file_name("chat-memory");
    let table = smoke(&["service", &program.display().to_string()]);
    for store in ["SQLite", "DynamoDB Local"] {
        for line in [format!("| {store} | append a turn | 4 |"), format!("| {store} | read a window | 1 |")] {
            assert!(table.contains(&line), "{line} is missing in:\n{table}");
        }
        let memory = table.lines().rfind(|line| line.starts_with(&format!("| {store} |"))).expect("a line about memory");
        assert!(memory.matches('|').count() == 13 && !memory.contains(" 0.0 "), "{memory}");
    }
}

#[test]
fn scale_smoke_run_prints_tables_and_writes_plots() {
    let plots = tempfile::tempdir().expect("a folder");
    let table = smoke_with(&["scale"], &[("CHAT_MEMORY_PLOTS", plots.path().as_os_str())]);
    for line in [
        "| DynamoDB, `turns`: turns |",
        "| SQLite: sessions |",
        "| DynamoDB, `turns`: 4 |",
        "| 40 | 1 / 1 |",
        "| 20 | 4 / 0 / 2 |",
    ] {
        assert!(table.contains(line), "{line} is missing in:\n{table}");
    }
    for name in ["benchmarks-scale-units.json", "benchmarks-scale-time.json"] {
        assert!(plots.path().join(name).is_file(), "{name} is missing");
    }
}

#[test]
fn compression_smoke_run_prints_its_tables() {
    let table = smoke(&["compression"]);
    for line in ["| 64 | 1 → 1 | 1 → 1 | 1 → 1 |", "| 1500 |", "compressed |"] {
        assert!(table.contains(line), "{line} is missing in:\n{table}");
    }
}

#[test]
fn writers_smoke_run_prints_its_table() {
    let table = smoke(&["writers"]);
    for line in ["| 1 | 1 | ", "| 4 | "] {
        assert!(table.contains(line), "{line} is missing in:\n{table}");
    }
}
