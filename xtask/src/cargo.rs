//! Running cargo, always in the workspace's root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Result;

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root().join(target)
}

/// The folder for what a run leaves: logs.
pub fn scratch() -> Result<PathBuf> {
    let scratch = target().join("xtask");
    std::fs::create_dir_all(&scratch).map_err(|e| format!("the folder {} could not be made: {e}.", scratch.display()))?;
    Ok(scratch)
}

/// Builds all libraries, programs and examples exactly as the tests do, so that no step compiles what another one has compiled.
/// Without `--examples`, cargo leaves out the features that only dev-dependencies turn on, and with the profile `dev` other
/// settings apply to a few crates: either compiles most dependencies a second time.
pub const BUILD: &str = "build --workspace --all-features --profile test --lib --bins --examples";

/// A cargo command from one line of words: `cargo("test --workspace")`.
pub fn cargo(words: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The cargo that started this program set it; it would mislead other crates' build scripts.
    command.args(words.split_whitespace()).current_dir(root()).stdin(Stdio::null()).env_remove("CARGO_MANIFEST_DIR");
    command
}

/// Prints a command, runs it to its end, and returns an error if it fails.
pub fn run(command: &mut Command) -> Result {
    let words = words(command);
    println!("$ {words}");
    let status = command.status().map_err(|e| format!("`{words}` could not be started: {e}."))?;
    if status.success() { Ok(()) } else { Err(format!("`{words}` failed ({status}).")) }
}

/// The program: CHAT_MEMORY_PROGRAM if set, otherwise built now.
pub fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("CHAT_MEMORY_PROGRAM").filter(|path| !path.is_empty()) {
        return std::path::absolute(&program).map_err(|e| format!("CHAT_MEMORY_PROGRAM names no usable path: {e}."));
    }
    run(&mut cargo(BUILD))?;
    Ok(target().join("debug").join(format!("chat-memory{}", std::env::consts::EXE_SUFFIX)))
}

/// A command's words, the program without its path.
pub fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The workspace's metadata from cargo, with these options.
pub fn metadata(options: &str) -> Result<Value> {
    let output = cargo(&format!("metadata --format-version 1 {options}")).output();
    let output = output.map_err(|e| format!("cargo could not be run: {e}."))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("cargo metadata did not answer ({e}): {}", String::from_utf8_lossy(&output.stderr)))
}

/// The features of a workspace package, without `default`.
pub fn features(package: &str) -> Result<Vec<String>> {
    let metadata = metadata("--no-deps")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let found = packages.into_iter().find(|found| found["name"] == package);
    let features = found.and_then(|found| found["features"].as_object());
    let features = features.ok_or_else(|| format!("the workspace has no package {package}; name the right one in xtask."))?;
    Ok(features.keys().filter(|name| *name != "default").cloned().collect())
}

/// Builds everything, and returns the name and the program of each example.
pub fn examples() -> Result<Vec<(String, PathBuf)>> {
    let mut build = cargo(BUILD);
    build.args(["--message-format", "json-render-diagnostics"]);
    println!("$ {}", words(&build));
    let output = build.stderr(Stdio::inherit()).output().map_err(|e| format!("cargo could not be run: {e}."))?;
    if !output.status.success() {
        return Err("the examples do not build.".into());
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let built = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let examples = built.filter(|line| line["target"]["kind"] == serde_json::json!(["example"]));
    let mut examples: Vec<_> = examples
        .filter_map(|line| Some((line["target"]["name"].as_str()?.to_owned(), PathBuf::from(line["executable"].as_str()?))))
        .collect();
    examples.sort();
    Ok(examples)
}
