//! The console in a real browser: its tests and its screenshots, in `tests/console`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::cargo::{program, root, run, target};
use crate::{debian, npm};

fn folder() -> PathBuf {
    root().join("tests").join("console")
}

/// The command that runs the tests.
pub fn tests() -> Result<Command> {
    let mut command = node()?;
    // One file after the other: two browsers at once are too many for a small machine.
    command.args(["--test", "--test-reporter=spec", "--test-concurrency=1"]).args(["console.test.mjs", "login.test.mjs"]);
    Ok(command)
}

/// Takes the screenshots and prints where they are. One of them is the README's.
pub fn screenshots() -> Result {
    let into = target().join("screenshots");
    run(node()?.arg("screenshots.mjs").arg(&into))?;
    let (picture, readmes) = (into.join("session-unfolded-light.png"), root().join("docs").join("console.png"));
    std::fs::copy(&picture, &readmes).map_err(|e| format!("cannot copy {} to {}: {e}.", picture.display(), readmes.display()))?;
    println!("{} is the README's picture", readmes.display());
    Ok(())
}

/// Node in the tests' folder, with everything the tests need: a browser, their packages, and the program.
fn node() -> Result<Command> {
    chromium()?;
    println!("$ npm ci (in tests/console)");
    npm::ci(&folder(), &["--prefer-offline"])?;
    let program = program()?;
    let mut node = Command::new("node");
    node.current_dir(folder()).env("CHAT_MEMORY_PROGRAM", program).env("NODE_NO_WARNINGS", "1");
    Ok(node)
}

/// Debian's Chromium, unless CHROMIUM is set.
fn chromium() -> Result {
    let named = std::env::var_os("CHROMIUM").filter(|path| !path.is_empty());
    if let Some(path) = named {
        if Path::new(&path).is_file() {
            return Ok(());
        }
        return Err(format!("CHROMIUM names {}, which is no file; name the program itself.", Path::new(&path).display()));
    }
    if ["chromium", "chromium-browser"].iter().any(|name| debian::find_in_path(name).is_some()) {
        return Ok(());
    }
    let missing = "This machine has no Chromium, in which the console is tested";
    debian::install(missing, &["chromium"], "install Chromium, or name it in CHROMIUM")
}
