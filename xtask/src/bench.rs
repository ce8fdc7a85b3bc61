//! `cargo xtask bench`: runs the harness in `bench/` and the one in `bindings/node/bench`, and keeps their tables.

use std::path::Path;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::Result;
use crate::cargo::{cargo, root, words};
use crate::emulator::Endpoint;
use crate::{node, peers};

/// What is measured.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum What {
    /// The library, against raw calls of the SDK and of SQLite
    Library,
    /// The npm package, beside LangChain.js's own class
    Node,
}

/// Measures, prints the tables, and (but for a smoke run) writes them where they are read.
pub fn run(what: Option<What>, smoke: bool) -> Result {
    let endpoint = Endpoint::from_env_or_start()?;
    if what != Some(What::Node) {
        library(&endpoint, smoke)?;
    }
    if what != Some(What::Library) {
        package(&endpoint, smoke)?;
    }
    Ok(())
}

fn library(endpoint: &Endpoint, smoke: bool) -> Result {
    // A smoke run measures nothing worth keeping, so it takes what `cargo xtask test` has compiled already.
    let mut bench =
        cargo(if smoke { "run --quiet -p chat-memory-bench -- --smoke" } else { "run --profile measure -p chat-memory-bench" });
    let table = output(bench.envs(endpoint.env()))?;
    if smoke { Ok(()) } else { write(&root().join("docs").join("benchmarks.md"), &table) }
}

fn package(endpoint: &Endpoint, smoke: bool) -> Result {
    let peers = peers::install()?;
    node::build(if smoke { "dev" } else { "measure" })?;
    let mut bench = Command::new("node");
    bench.arg("bench/beside-langchain.mjs").current_dir(node::folder()).env("NODE_NO_WARNINGS", "1");
    if smoke {
        bench.args(["--turns", "20"]);
    }
    let table = output(bench.envs(endpoint.env()).envs(peers))?;
    if smoke {
        return Ok(());
    }
    let path = node::folder().join("README.md");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{} could not be read: {e}.", path.display()))?;
    let (start, end) = ("<!-- bench -->\n", "<!-- /bench -->");
    let parts = text.split_once(start).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{} has no place for the table: {start}{end}.", path.display()))?;
    write(&path, &format!("{before}{start}{table}{end}{after}"))
}

/// Runs a harness: its table, which it prints too.
fn output(bench: &mut Command) -> Result<String> {
    eprintln!("$ {}", words(bench));
    let output = bench.stderr(Stdio::inherit()).output().map_err(|e| format!("{} could not be run: {e}.", words(bench)))?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{table}");
    if output.status.success() { Ok(table) } else { Err(format!("the benchmarks failed ({}).", output.status)) }
}

fn write(path: &Path, text: &str) -> Result {
    std::fs::write(path, text).map_err(|e| format!("{} could not be written: {e}.", path.display()))?;
    eprintln!("written to {}", path.strip_prefix(root()).unwrap_or(path).display());
    Ok(())
}
