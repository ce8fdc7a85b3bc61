//! Python packages that a requirements.txt pins, with all that they need.

use std::path::Path;
use std::process::Command;

use crate::{Result, npm};

/// Installs them into the folder's `packages`, rather than into an environment of its own: what makes those is not part of every Python.
/// `what` says what needs them.
pub fn install(folder: &Path, what: &str) -> Result {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", "packages"]);
    pip.args(["-r", "requirements.txt"]).current_dir(folder);
    npm::run(&mut pip).map_err(|e| format!("{e} {what} needs Python 3.10 or newer with pip."))
}
