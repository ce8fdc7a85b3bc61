//! What is in `deploy/`, checked by tools at pinned versions: AWS's linter, Terraform, CDK, Helm, Prometheus. `tests/deploy` has the
//! tests, and pins the tools that are Python packages; a wheel may hold a whole program, as those of Terraform and Helm do.

use std::process::Command;

use crate::cache::{cache, kept};
use crate::cargo::{program, root, run};
use crate::npm::{self, Package};
use crate::{Result, debian, python};

const TESTS: &str = "tests/deploy";

/// The types of the resources of Terraform's provider for AWS, which CDK Terrain generates from the provider's schema. No package
/// registry has the provider itself.
const TERRAFORM_SCHEMA: Package = Package {
    package: "@cdktn/provider-aws@25.7.0",
    sha512: "E/nhu0yVZE4mXMgIPuI8tEFt1BExLkA7ARjihdG+/HmfDfzLr+OEF3dkFRvI6glRt30lrrBWQLwXqCJBxcmyUg==",
    paths: &[
        "package/lib/cloudwatch-metric-alarm/index.d.ts",
        "package/lib/dynamodb-table/index.d.ts",
        "package/lib/iam-policy/index.d.ts",
        "package/lib/iam-role/index.d.ts",
        "package/lib/iam-role-policy-attachment/index.d.ts",
    ],
    strip: 1,
};

/// Checks the templates against CloudFormation's schemas and best practices, then runs the tests.
pub fn check() -> Result {
    let packages = python::packages(TESTS, "deploy")?;
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
    run(python.args(templates).current_dir(root()).env("PYTHONPATH", &packages))?;

    debian::prometheus()?;
    let cdk = folder.join("cdk");
    npm::ci_once(&cdk, "deploy/cdk")?;
    run(Command::new("node").arg("node_modules/typescript/bin/tsc").current_dir(&cdk))?;
    let schema = format!("terraform-schema-{}", TERRAFORM_SCHEMA.short()?);
    let schema = kept(&cache()?, &schema, |folder| TERRAFORM_SCHEMA.unpack_into(folder))?;
    let program = program()?;
    let mut python = Command::new("python3");
    python.args(["-m", "unittest", "discover", "--verbose", "--start-directory", TESTS]).current_dir(root());
    python.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    python.env("CHAT_MEMORY_CDK", cdk).env("CHAT_MEMORY_TERRAFORM_SCHEMA", schema);
    run(python.env("CHAT_MEMORY_PROGRAM", program))
}
