//! The service as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chat_memory_testkit::credentials_env;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::Result;
use crate::resident::resident;

/// How long the service may take to print its address, and to exit.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running service; it is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts the program on a store and waits until it listens.
    pub async fn start(program: &Path, store: &str, keys: &Path) -> Result<Self> {
        let mut command = clean(program);
        command.args(["--store", store, "serve", "--listen", "127.0.0.1:0", "--keys"]).arg(keys);
        Self::of(command, program).await
    }

    /// Starts the [bare handler](super::bare) on a file and waits until it listens.
    pub async fn bare(file: &Path, clients: usize) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(&program);
        command.arg("serve").arg(file).arg(clients.to_string());
        Self::of(command, &program).await
    }

    async fn of(command: Command, program: &Path) -> Result<Self> {
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().map_err(|e| missing(program, &e))?;
        let said = process.stdout.take().ok_or("the service has no output")?;
        let mut lines = BufReader::new(said).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line()).await??.ok_or("the service ended before it listened")?;
        let address =
            first.strip_prefix("listening on http://").ok_or_else(|| format!("the service began with {first:?}"))?.parse()?;
        // Drain the rest of its output, so that the pipe does not fill.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { process, address })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its memory, in bytes.
    pub fn resident(&self) -> Result<u64> {
        let id = self.process.id().ok_or("the service has ended")?;
        resident(id)
    }

    /// Stops it.
    pub async fn stop(mut self) -> Result {
        self.process.start_kill()?;
        tokio::time::timeout(PATIENCE, self.process.wait()).await??;
        Ok(())
    }
}

/// Creates a key that may read and write.
pub fn key(program: &Path, keys: &Path) -> Result<String> {
    let mut command = clean(program);
    command.args(["key", "new", "--name", "bench", "--right", "read", "--right", "write", "--keys"]).arg(keys);
    let output = command.output().map_err(|e| missing(program, &e))?;
    if !output.status.success() {
        return Err(format!("no key could be made: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The program, without environment variables that could change its behaviour.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    let settings = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("CHAT_MEMORY_"));
    for name in settings {
        command.env_remove(name);
    }
    command.envs(credentials_env());
    command
}

fn missing(program: &Path, error: &std::io::Error) -> String {
    format!(
        "{} cannot be started ({error}); `cargo xtask bench service` builds it, and `cargo build -p chat-memory-cli` by hand",
        program.display()
    )
}
