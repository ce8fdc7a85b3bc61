//! Standard output and standard error for commands; nothing here panics if the reader is gone.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::escape::{json_line, visible};
use crate::failure::Failure;

/// Standard output.
pub struct Output {
    to: Mutex<BufWriter<io::Stdout>>,
    /// Whether text may be coloured.
    pub colours: bool,
}

impl Output {
    /// Standard output, with colours on a terminal unless `NO_COLOR` says otherwise (<https://no-color.org>).
    pub fn new() -> Self {
        let stdout = io::stdout();
        let colours = may_colour(&stdout);
        Self { to: Mutex::new(BufWriter::new(stdout)), colours }
    }

    fn lock(&self) -> MutexGuard<'_, BufWriter<io::Stdout>> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes text verbatim. It must not contain stored text that was not made [visible].
    pub fn text(&self, text: impl Display) -> Result<(), Failure> {
        Ok(write!(self.lock(), "{text}")?)
    }

    /// Writes bytes verbatim.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.lock().write_all(bytes)?)
    }

    /// Writes a line of text verbatim.
    pub fn line(&self, line: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.lock(), "{line}")?)
    }

    /// Writes a value as one line of JSON.
    pub fn json(&self, value: &Value) -> Result<(), Failure> {
        self.line(json_line(value))
    }

    /// Flushes the output.
    pub fn flush(&self) -> Result<(), Failure> {
        Ok(self.lock().flush()?)
    }
}

/// Whether text may be coloured there.
pub fn may_colour(to: &impl IsTerminal) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    to.is_terminal() && !forbidden && !dumb
}

/// Prints one line to standard error.
pub fn say(line: impl Display) {
    // If standard error is closed, there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{}", visible(&line.to_string()));
}
