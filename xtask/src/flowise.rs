//! `cargo xtask flowise`: Flowise's real server with our node in it. It is no part of CI, for its size.

use std::process::Command;

use crate::cargo::{root, run};
use crate::emulator::Endpoint;
use crate::{Result, node, peers};

/// Installs Flowise where it is not there yet, and holds conversations with it, on a DynamoDB Local and a chat model of this machine.
pub fn test() -> Result {
    // Flowise names this version as the one it runs on.
    let node = node::runtime("v24")?;
    let (variable, flowise) = peers::flowise_server()?;
    node::build("dev")?;
    let endpoint = Endpoint::from_env_or_start()?;
    let mut tests = Command::new(node);
    tests.args(["--test", "--test-reporter=spec", "server.test.mjs"]);
    tests.current_dir(root().join("tests").join("peers").join("flowise-server"));
    run(tests.envs(endpoint.env()).env(variable, flowise).env("NODE_NO_WARNINGS", "1"))
}
