//! Shows long output a page at a time.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::process::{Child, Command, Stdio};

use clap::Args;

/// The variables that name the pager, the first one first.
pub const VARIABLES: [&str; 2] = ["CHAT_MEMORY_PAGER", "PAGER"];

/// The options of commands that page.
#[derive(Debug, Clone, Copy, Args)]
pub struct PagerOptions {
    /// Do not page on a terminal. The pager is $CHAT_MEMORY_PAGER, otherwise $PAGER, otherwise less; empty means none
    #[arg(long)]
    pub no_pager: bool,
}

/// Starts the pager, if standard output is a terminal that has use for one. Returns `None` also if it cannot be started: the output is
/// then printed as it is.
pub fn start() -> Option<Child> {
    let dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    if dumb || !cfg!(unix) || !io::stdout().is_terminal() {
        return None;
    }
    let pager = VARIABLES.iter().find_map(std::env::var_os).unwrap_or_else(|| OsString::from("less"));
    if pager.is_empty() || pager == "cat" {
        return None;
    }
    // By the shell, as the variable may hold arguments. Whether there is such a program must show before it is needed.
    let first = pager.to_string_lossy().split_whitespace().next().unwrap_or_default().to_owned();
    let is_name = !first.contains(['=', '"', '\'', '$', '\\']);
    let is_there = || Command::new("sh").args(["-c", "command -v -- \"$0\" >/dev/null 2>&1", &first]).status();
    if is_name && !is_there().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new("sh");
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Ends at once if all fits on the screen; lets colours through; leaves the text on the screen.
        command.env("LESS", "FRX");
    }
    command.spawn().ok()
}
