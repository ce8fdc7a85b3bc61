//! The templates in `deploy/`, checked by AWS's own linter at a pinned version.

use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest as _, Sha512};

use crate::Result;
use crate::cache::{cache, kept};
use crate::cargo::{root, run};
use crate::npm;

/// Checks each template: against CloudFormation's schemas, and for what works but should not be done.
pub fn check() -> Result {
    let packages = linter()?;
    let folder = root().join("deploy");
    let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.map_err(|e| format!("{} cannot be read: {e}.", folder.display()))?;
    let mut templates: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    templates.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    templates.sort();
    if templates.is_empty() {
        return Err(format!("there is no template in {}.", folder.display()));
    }
    let mut python = Command::new("python3");
    python.args(["-c", "import sys; from cfnlint.runner import main; sys.exit(main())", "--"]);
    run(python.args(templates).current_dir(root()).env("PYTHONPATH", packages))
}

/// The folder with the linter, installed there if it is not yet.
fn linter() -> Result<PathBuf> {
    let requirements = root().join("tests/deploy/requirements.txt");
    let text = std::fs::read(&requirements).map_err(|e| format!("{} cannot be read: {e}.", requirements.display()))?;
    let short: String = Sha512::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    kept(&cache()?, &format!("cfn-lint-{short}"), |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]).arg(folder);
        npm::run(pip.arg("-r").arg(&requirements)).map_err(|e| format!("{e} cfn-lint needs Python 3.10 or newer with pip."))
    })
}
