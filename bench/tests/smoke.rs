//! The harness runs, and both sides of each comparison do the same work; how fast is no matter here.

use std::process::Command;

#[test]
fn a_smoke_run_prints_the_table() {
    // So that it fails with the sentence that says what to do.
    let endpoint = chat_memory_testkit::dynamodb_endpoint();
    let output = Command::new(env!("CARGO_BIN_EXE_chat-memory-bench"))
        .arg("--smoke")
        .env("DYNAMODB_ENDPOINT", endpoint)
        .envs(chat_memory_testkit::credentials_env())
        .output()
        .expect("the harness starts");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    for line in
        ["| DynamoDB: append a turn |", "| DynamoDB: load a window |", "| SQLite: append a turn |", "| SQLite: load a window |"]
    {
        assert!(table.contains(line), "{line} is missing in:\n{table}");
    }
    assert!(!table.contains("NaN"), "{table}");
}
