//! The tests of the running service, in `tests/service`: the README's examples in the shell, Python and JavaScript, and
//! schemathesis against the OpenAPI document. Also generates that document from the code.

use std::process::Command;

use crate::cargo::{BUILD, cargo, root, run, target};
use crate::{Result, debian, python};

const TESTS: &str = "tests/service";

/// Builds the program and runs the tests.
pub fn test() -> Result {
    if debian::find_in_path("curl").is_none() {
        let missing = "This machine has no curl, which the README's examples use";
        debian::install(missing, &["curl", "ca-certificates"], "install curl")?;
    }
    if debian::find_in_path("node").is_none() {
        return Err("the README's examples need Node 20 or newer: install it, so that `node` is in PATH.".into());
    }
    let packages = python::packages(TESTS, "schemathesis")?;
    run(&mut cargo(BUILD))?;
    let mut python = Command::new("python3");
    python.args(["-m", "unittest", "discover", "--verbose", "--start-directory", TESTS]).current_dir(root());
    python.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    run(python.env("CHAT_MEMORY_PROGRAM", target().join("debug").join("chat-memory")))
}

/// Regenerates `docs/openapi.json`.
pub fn generate() -> Result {
    let mut test = cargo("test --workspace --all-features --test it api::documents::committed_openapi_document_is_current");
    run(test.env("CHAT_MEMORY_GENERATE", "1"))
}
