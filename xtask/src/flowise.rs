//! `cargo xtask flowise`: runs Flowise's real server with our node in it. Too large for CI.

use std::process::Command;

use crate::cargo::{root, run};
use crate::emulator::Endpoint;
use crate::{Result, node, peers};

/// Installs Flowise if necessary and runs conversations on it, with a DynamoDB Local and a chat model on this machine.
pub fn test() -> Result {
    // The version that Flowise declares.
    let node = node::runtime("v24")?;
    let (variable, flowise) = peers::flowise_server()?;
    node::build("dev")?;
    let endpoint = Endpoint::from_env_or_start()?;
    let mut tests = Command::new(node);
    tests.args(["--test", "--test-reporter=spec", "server.test.mjs"]);
    tests.current_dir(root().join("tests").join("peers").join("flowise-server"));
    run(tests.envs(endpoint.env()).env(variable, flowise).env("NODE_NO_WARNINGS", "1"))
}
