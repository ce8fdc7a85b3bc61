//! `cargo xtask bench`: runs the harnesses in `bench/` and `bindings/node/bench`, and stores their tables and plots.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::Result;
use crate::cargo::{cargo, root, run as run_command, scratch, target, words};
use crate::emulator::Endpoint;
use crate::{debian, node, peers, plot, wheel};

/// What to measure.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum What {
    /// The library, compared with raw calls of the SDK and of SQLite
    Library,
    /// The HTTP service, compared with direct library calls, and its memory
    Service,
    /// The npm package, compared with LangChain.js's own class
    Node,
    /// LangChain, Flowise, Mastra and LangGraph, compared with ours
    Peers,
    /// How cost, time and memory grow: a long session, many sessions, many writers
    Scale,
    /// Writers in separate processes to one DynamoDB session: requests, time and the slowest append
    Writers,
    /// The SQLite store, compared with LangChain Python's and the OpenAI Agents SDK's
    Embedded,
    /// What compression saves by size, and what it costs
    Compression,
    /// The modules of the Python package, compared with other packages for the same frameworks
    Python,
    /// The instructions of operations, counted by Valgrind; and those that the tests compare with, in `bench/instructions.json`
    Instructions,
    /// LangGraph's checkpointers for DynamoDB, SQLite and memory, compared with ours
    Langgraph,
}

/// Measures, prints the tables and, except in a smoke run, writes them into the documents that show them.
pub fn run(what: Option<What>, smoke: bool) -> Result {
    let endpoint = Endpoint::from_env_or_start()?;
    let wanted = |one| what.is_none_or(|what| what == one);
    if wanted(What::Library) {
        harness(&endpoint, "library", &["library".as_ref()], smoke)?;
    }
    if wanted(What::Service) {
        service(&endpoint, smoke)?;
    }
    if wanted(What::Node) {
        let readme = node::folder().join("README.md");
        package(&endpoint, "bench/beside-langchain.mjs", &["--turns", "20"], (&readme, "bench"), smoke)?;
    }
    if wanted(What::Scale) {
        harness(&endpoint, "scale", &["scale".as_ref()], smoke)?;
    }
    if wanted(What::Writers) {
        harness(&endpoint, "writers", &["writers".as_ref()], smoke)?;
    }
    if wanted(What::Embedded) {
        let packages = peers::python_embedded()?;
        harness(&endpoint, "embedded", &["embedded".as_ref(), packages.as_os_str()], smoke)?;
    }
    if wanted(What::Compression) {
        harness(&endpoint, "compression", &["compression".as_ref()], smoke)?;
    }
    if wanted(What::Instructions) {
        instructions(&endpoint, smoke)?;
    }
    if wanted(What::Python) {
        python(&endpoint, "compare.py", "python", smoke)?;
    }
    if wanted(What::Langgraph) {
        python(&endpoint, "checkpoints.py", "langgraph", smoke)?;
    }
    if wanted(What::Peers) {
        package(&endpoint, "bench/peers.mjs", &["--smoke"], (&benchmarks(), "peers"), smoke)?;
    }
    Ok(())
}

/// The profile to build with, and its folder in `target`. A smoke run keeps no measurements, so it uses what `cargo xtask test` has
/// already compiled.
fn profile(smoke: bool) -> (&'static str, &'static str) {
    if smoke { ("dev", "debug") } else { ("measure", "measure") }
}

/// Runs the harness and writes its output into this section of `docs/benchmarks.md`.
fn harness(endpoint: &Endpoint, section: &str, args: &[&std::ffi::OsStr], smoke: bool) -> Result {
    let (profile, _) = profile(smoke);
    let mut bench = cargo(&format!("run --quiet --profile {profile} -p chat-memory-bench --"));
    if smoke {
        bench.arg("--smoke");
    }
    keep(bench.args(args).envs(endpoint.env()), &benchmarks(), section, smoke)
}

fn benchmarks() -> PathBuf {
    root().join("docs").join("benchmarks.md")
}

fn service(endpoint: &Endpoint, smoke: bool) -> Result {
    let (profile, folder) = profile(smoke);
    run_command(&mut cargo(&format!("build --profile {profile} -p chat-memory-cli")))?;
    let program = target().join(folder).join(format!("chat-memory{}", std::env::consts::EXE_SUFFIX));
    harness(endpoint, "service", &["service".as_ref(), program.as_os_str()], smoke)
}

/// Counts the instructions of an optimised build for the document, and then those of a build for tests.
fn instructions(endpoint: &Endpoint, smoke: bool) -> Result {
    debian::valgrind()?;
    harness(endpoint, "instructions", &["instructions".as_ref()], smoke)?;
    if smoke {
        return Ok(());
    }
    let mut record = cargo("test --workspace --all-features --test instructions");
    run_command(record.env("CHAT_MEMORY_RECORD_INSTRUCTIONS", "yes"))
}

/// Runs a script of the npm package, with these arguments in a smoke run, and writes its output into a section of a file.
fn package(endpoint: &Endpoint, script: &str, smoke_args: &[&str], (file, section): (&Path, &str), smoke: bool) -> Result {
    let peers = peers::install()?;
    node::build(if smoke { "dev" } else { "measure" })?;
    let mut bench = Command::new("node");
    bench.arg(script).current_dir(node::folder()).env("NODE_NO_WARNINGS", "1");
    if smoke {
        bench.args(smoke_args);
    }
    keep(bench.envs(endpoint.env()).envs(peers), file, section, smoke)
}

/// Runs a script of the Python package and writes its output into a section of `docs/benchmarks.md`.
fn python(endpoint: &Endpoint, script: &str, section: &str, smoke: bool) -> Result {
    let mut bench = wheel::bench(profile(smoke).0, script)?;
    if smoke {
        bench.arg("--smoke");
    }
    keep(bench.envs(endpoint.env()), &benchmarks(), section, smoke)
}

/// Runs a harness, writes its output into a section of a file, and its plots into `docs`. A smoke run writes nothing.
fn keep(bench: &mut Command, file: &Path, section: &str, smoke: bool) -> Result {
    let plots = tempfile::tempdir_in(scratch()?).map_err(|e| format!("no folder could be made in target: {e}."))?;
    let table = output(bench.env("CHAT_MEMORY_PLOTS", plots.path()))?;
    if smoke {
        return plot::draw_all(plots.path(), plots.path());
    }
    plot::draw_all(plots.path(), &root().join("docs"))?;
    write(file, section, &table)
}

/// Runs a harness, prints its table and returns it.
fn output(bench: &mut Command) -> Result<String> {
    eprintln!("$ {}", words(bench));
    let output = bench.stderr(Stdio::inherit()).output().map_err(|e| format!("{} could not be run: {e}.", words(bench)))?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{table}");
    if output.status.success() { Ok(table) } else { Err(format!("the benchmarks failed ({}).", output.status)) }
}

/// Writes a text into its section of a file, between `<!-- section -->` and `<!-- /section -->`.
fn write(path: &Path, section: &str, table: &str) -> Result {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{} could not be read: {e}.", path.display()))?;
    let (start, end) = (format!("<!-- {section} -->\n"), format!("<!-- /{section} -->"));
    let parts = text.split_once(&start).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{} has no place for the table: {start}{end}.", path.display()))?;
    let text = format!("{before}{start}{table}{end}{after}");
    std::fs::write(path, text).map_err(|e| format!("{} could not be written: {e}.", path.display()))?;
    eprintln!("written to {}", path.strip_prefix(root()).unwrap_or(path).display());
    Ok(())
}
