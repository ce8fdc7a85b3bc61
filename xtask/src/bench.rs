//! `cargo xtask bench`: runs the harness in `bench/` and keeps its table.

use std::process::Stdio;

use crate::Result;
use crate::cargo::{cargo, root, words};
use crate::emulator::Endpoint;

/// Measures, prints the table, and (but for a smoke run) writes it to `docs/benchmarks.md`.
pub fn run(smoke: bool) -> Result {
    let endpoint = Endpoint::from_env_or_start()?;
    // A smoke run measures nothing worth keeping, so it takes what `cargo xtask test` has compiled already.
    let mut bench =
        cargo(if smoke { "run --quiet -p chat-memory-bench -- --smoke" } else { "run --profile measure -p chat-memory-bench" });
    eprintln!("$ {}", words(&bench));
    let output =
        bench.envs(endpoint.env()).stderr(Stdio::inherit()).output().map_err(|e| format!("cargo could not be run: {e}."))?;
    let table = String::from_utf8_lossy(&output.stdout);
    print!("{table}");
    if !output.status.success() {
        return Err(format!("the benchmarks failed ({}).", output.status));
    }
    if !smoke {
        let path = root().join("docs").join("benchmarks.md");
        let written = std::fs::create_dir_all(root().join("docs")).and_then(|()| std::fs::write(&path, table.as_bytes()));
        written.map_err(|e| format!("{} could not be written: {e}.", path.display()))?;
        eprintln!("written to docs/benchmarks.md");
    }
    Ok(())
}
