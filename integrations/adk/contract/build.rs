//! Finds the contract tests in cargo's own copy of adk-session's source.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../../Cargo.lock");
    let contract = source("adk-session").join("tests").join("common").join("session_contract.rs");
    assert!(contract.is_file(), "adk-session has no {}; its tests have moved, so name their new place here", contract.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("contract.rs");
    // Included as a module at its original path, so that the compiler's messages name the right file.
    let text = format!("#[path = {contract:?}]\n#[allow(clippy::all, dead_code)]\nmod session_contract;\n");
    std::fs::write(out, text).expect("the build's own folder can be written");
}

/// The folder with a dependency's source.
fn source(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo sets it");
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--format-version", "1", "--offline", "--filter-platform"]);
    metadata.arg(std::env::var_os("TARGET").expect("cargo sets it"));
    let output = metadata.output().expect("cargo runs");
    let packages: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("cargo metadata did not answer ({e}): {}", String::from_utf8_lossy(&output.stderr)));
    let found = packages["packages"].as_array().into_iter().flatten().find(|found| found["name"] == package);
    let manifest = found.and_then(|found| found["manifest_path"].as_str());
    let manifest = manifest.unwrap_or_else(|| panic!("{package} is not among the dependencies"));
    Path::new(manifest).parent().expect("a manifest is in a folder").to_owned()
}
