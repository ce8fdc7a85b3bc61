//! Checks what the dependencies may be, and known vulnerabilities: cargo-deny, on every Cargo.lock.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::cache::{cache, kept};
use crate::cargo::{cargo, root, run};

/// The workspaces, each with its own Cargo.lock.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "integrations/rig-session/Cargo.toml", "fuzz/Cargo.toml"];

/// A program from crates.io. Its own Cargo.lock pins all its dependencies with checksums.
pub struct Tool {
    name: &'static str,
    version: &'static str,
}

const DENY: Tool = Tool::new("cargo-deny", "0.20.2");

impl Tool {
    /// A tool of this version.
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        Self { name, version }
    }

    /// The program; compiled if it is missing, within a minute, since nothing is optimised. The build folder is removed afterwards.
    pub fn program(&self) -> Result<PathBuf> {
        let folder = kept(&cache()?, &format!("{}-{}", self.name, self.version), |folder| {
            let build = folder.join("build");
            let mut install = cargo("install --locked --debug --no-default-features --quiet");
            install.arg(self.name).args(["--version", &format!("={}", self.version)]);
            install.arg("--root").arg(folder).arg("--target-dir").arg(&build);
            // Otherwise both would fill the disk for nothing.
            install.envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0")]);
            run(&mut install).map_err(|e| format!("{e} Installing {} needs crates.io.", self.name))?;
            std::fs::remove_dir_all(&build).map_err(|e| format!("{} cannot be removed: {e}.", build.display()))
        })?;
        Ok(folder.join("bin").join(self.name))
    }
}

/// Checks the dependencies of all workspaces against deny.toml: licences, sources, and banned crates.
pub fn check() -> Result {
    deny(&["bans", "licenses", "sources"])
}

/// Checks the dependencies for RustSec advisories and yanked versions.
pub fn advisories() -> Result {
    deny(&["advisories"]).map_err(|e| {
        format!(
            "{e} If the list could not be fetched: it is a Git repository on GitHub, so this needs Git and the network. \
            If something is known against a dependency: update it, or say in deny.toml, under [advisories], why it does no harm here."
        )
    })
}

fn deny(checks: &[&str]) -> Result {
    let program = DENY.program()?;
    WORKSPACES.iter().enumerate().try_for_each(|(n, manifest)| {
        let mut deny = Command::new(&program);
        deny.args(["--locked", "--config", "deny.toml", "--manifest-path", manifest]);
        deny.arg("check").args(["--hide-inclusion-graph", "-D", "warnings"]);
        // What deny.toml allows for one workspace may be absent from another.
        deny.args(["-A", "license-exception-not-encountered"]);
        if n > 0 {
            let unused = ["license-not-encountered", "unused-wrapper", "advisory-not-detected"];
            deny.args(unused.iter().flat_map(|unused| ["-A", unused]));
        }
        run(deny.args(checks).current_dir(root()))
    })
}
