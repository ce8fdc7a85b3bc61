//! Operations take as many instructions as recorded in `bench/instructions.json`, so that a change that makes one dearer is seen.
//! The counts are those of Linux, where Valgrind is.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

/// `cargo xtask bench instructions` sets this to record the counts.
const RECORD: &str = "CHAT_MEMORY_RECORD_INSTRUCTIONS";

#[test]
fn operations_take_the_recorded_instructions() {
    let mut harness = Command::new(env!("CARGO_BIN_EXE_chat-memory-bench"));
    harness.arg("compare").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json"));
    if std::env::var_os(RECORD).is_some() {
        harness.arg("--record");
    }
    let output = harness.output().expect("the harness starts");
    let (counts, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{counts}{errors}");
    println!("{counts}");
}
