//! What the dependencies may be, and what is known against them: cargo-deny, on every Cargo.lock.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::cache::{cache, kept};
use crate::cargo::{cargo, root, run};

/// The workspaces, each with a Cargo.lock of its own.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "integrations/rig-session/Cargo.toml", "fuzz/Cargo.toml"];

/// A program of crates.io, with the versions of all that it is made of: its own Cargo.lock names them with their checksums.
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

    /// The program, compiled where it is not there yet: within a minute, since nothing is optimised. What it was compiled in is taken away.
    pub fn program(&self) -> Result<PathBuf> {
        let folder = kept(&cache()?, &format!("{}-{}", self.name, self.version), |folder| {
            let build = folder.join("build");
            let mut install = cargo("install --locked --debug --no-default-features --quiet");
            install.arg(self.name).args(["--version", &format!("={}", self.version)]);
            install.arg("--root").arg(folder).arg("--target-dir").arg(&build);
            // Else both would fill the disk for nothing.
            install.envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0")]);
            run(&mut install).map_err(|e| format!("{e} Installing {} needs crates.io.", self.name))?;
            std::fs::remove_dir_all(&build).map_err(|e| format!("{} cannot be removed: {e}.", build.display()))
        })?;
        Ok(folder.join("bin").join(self.name))
    }
}

/// Holds the dependencies of all workspaces to deny.toml: their licences, where they come from, and which are not wanted at all.
pub fn check() -> Result {
    deny(&["bans", "licenses", "sources"])
}

/// Looks for what is known against the dependencies: advisories of RustSec, versions that were taken back.
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
        // What deny.toml allows for one workspace need not be in another.
        deny.args(["-A", "license-exception-not-encountered"]);
        if n > 0 {
            let unused = ["license-not-encountered", "unused-wrapper", "advisory-not-detected"];
            deny.args(unused.iter().flat_map(|unused| ["-A", unused]));
        }
        run(deny.args(checks).current_dir(root()))
    })
}
