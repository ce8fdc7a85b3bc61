//! Python packages that a requirements.txt pins, with all dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha512};

use crate::cache::{cache, kept};
use crate::cargo::root;
use crate::{Result, npm};

/// Returns the folder of the packages that `requirements.txt` in this folder of the checkout pins, and installs them if they are
/// missing. `what` names them.
pub fn packages(folder: &str, what: &str) -> Result<PathBuf> {
    packages_for(Path::new("python3"), folder, what)
}

/// The same for this Python.
pub fn packages_for(python: &Path, folder: &str, what: &str) -> Result<PathBuf> {
    let source = root().join(folder).join("requirements.txt");
    let pins = std::fs::read(&source).map_err(|e| format!("{} cannot be read: {e}.", source.display()))?;
    let short: String = Sha512::digest(&pins).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = kept(&cache()?, &format!("{what}-{short}"), |folder| {
        let copied = std::fs::write(folder.join("requirements.txt"), &pins);
        copied.map_err(|e| format!("{} cannot be written to: {e}.", folder.display()))?;
        install_for(python, folder, what)
    })?;
    Ok(folder.join("packages"))
}

/// Installs what the folder's requirements.txt pins into its `packages`. It makes no virtual environment, since not every Python
/// includes the module for it. `what` says what needs the packages.
pub fn install(folder: &Path, what: &str) -> Result {
    install_for(Path::new("python3"), folder, what)
}

fn install_for(python: &Path, folder: &Path, what: &str) -> Result {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", "packages"]);
    pip.args(["-r", "requirements.txt"]).current_dir(folder);
    npm::run(&mut pip).map_err(|e| format!("{e} {what} needs Python 3.10 or newer with pip."))
}
