//! The comparison with Python's libraries, which needs their packages: `cargo xtask test peers` sets the folder.

use std::process::Command;

#[test]
fn smoke_run_against_python_stores_prints_its_tables() {
    let packages =
        std::env::var_os("CHAT_MEMORY_EMBEDDED").expect("CHAT_MEMORY_EMBEDDED is not set; run `cargo xtask test peers`");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_chat-memory-bench"));
    let output = bench.args(["--smoke", "embedded"]).arg(packages).output().expect("the harness starts");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    for line in ["| 10 | the last 20 messages |", "| 30 | all messages |", "| 30 | append a turn |", "`journal_mode=wal`"] {
        assert!(table.contains(line), "{line} is missing in:\n{table}");
    }
    assert!(!table.contains("NaN"), "{table}");
}
