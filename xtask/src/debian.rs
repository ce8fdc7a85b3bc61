//! Debian packages: what a machine may lack, and how to install it.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Result;

/// Installs packages: at once in CI as root, on a terminal after asking. Otherwise the error says how to install them or, without
/// apt-get, what to do `otherwise`. `missing` says what is missing and what needs it, without a full stop.
pub fn install(missing: &str, packages: &[&str], otherwise: &str) -> Result {
    let is_root = id_is_root();
    let sudo = if is_root { "" } else { "sudo " };
    let packages = packages.join(" ");
    let by_hand = format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {packages}");
    if find_in_path("apt-get").is_none() {
        return Err(format!("{missing}: {otherwise}."));
    }
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let may = (in_ci && is_root) || ask(&format!("{missing}. Run `{by_hand}` now?"));
    if !may {
        return Err(format!("{missing}: run `{by_hand}`, or {otherwise}."));
    }
    let install = by_hand.replace(" install ", " install -qq ").replace(" update ", " update -qq ");
    println!("$ {install}");
    let mut shell = Command::new("sh");
    let status = shell.args(["-c", &install]).env("DEBIAN_FRONTEND", "noninteractive").status();
    let status = status.map_err(|e| format!("`sh` could not be started: {e}."))?;
    if status.success() { Ok(()) } else { Err(format!("`{by_hand}` failed ({status}); {otherwise}.")) }
}

/// OpenSSL's headers, which langchain-rust's dependencies are compiled with. On systems other than Linux its crate finds them
/// itself.
pub fn openssl() -> Result {
    let named = ["OPENSSL_DIR", "OPENSSL_LIB_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if named || !cfg!(target_os = "linux") || has_openssl() {
        return Ok(());
    }
    let missing = "This machine has no OpenSSL headers that pkg-config finds; langchain-rust needs them to build";
    install(
        missing,
        &["libssl-dev", "pkg-config"],
        "install OpenSSL's headers and pkg-config, or name their folder in OPENSSL_DIR",
    )
}

fn has_openssl() -> bool {
    let found = Command::new("pkg-config").args(["--exists", "openssl"]).stdin(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Valgrind, which counts instructions; on Linux, where the counts are compared.
pub fn valgrind() -> Result {
    if !cfg!(target_os = "linux") || find_in_path("valgrind").is_some() {
        return Ok(());
    }
    install(
        "This machine has no Valgrind, which counts the instructions of operations",
        &["valgrind"],
        "install Valgrind with the system's package manager",
    )
}

/// Prometheus, which evaluates the dashboard's queries.
pub fn prometheus() -> Result {
    if find_in_path("prometheus").is_some() {
        return Ok(());
    }
    install(
        "This machine has no Prometheus, which evaluates the queries of the Grafana dashboard",
        &["prometheus"],
        "install Prometheus, so that `prometheus` is in PATH",
    )
}

/// The shells that the tests complete command lines in, next to bash; on Linux, where the tests have a pseudo-terminal.
pub fn shells() -> Result {
    let missing: Vec<_> = ["zsh", "fish"].into_iter().filter(|shell| find_in_path(shell).is_none()).collect();
    if !cfg!(target_os = "linux") || missing.is_empty() {
        return Ok(());
    }
    let what = format!("This machine has no {}; the tests complete session ids in it", missing.join(" and no "));
    install(&what, &missing, "install zsh and fish with the system's package manager")
}

/// The first program of this name in PATH.
pub fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn id_is_root() -> bool {
    let id = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Asks the person at the terminal for a yes; returns no without a terminal.
fn ask(question: &str) -> bool {
    let (stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    if !stdin.is_terminal() || !stdout.is_terminal() {
        return false;
    }
    let mut answer = String::new();
    let asked = write!(stdout, "{question} [y/N] ").and_then(|()| stdout.flush());
    asked.is_ok() && stdin.lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
