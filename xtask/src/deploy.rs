//! The templates in `deploy/`, checked by AWS's own linter at a pinned version.

use std::process::Command;

use crate::cargo::{root, run};
use crate::{Result, python};

/// Checks each template against CloudFormation's schemas and best practices.
pub fn check() -> Result {
    let packages = python::packages("tests/deploy", "cfn-lint")?;
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
