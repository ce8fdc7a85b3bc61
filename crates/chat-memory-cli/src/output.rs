//! Standard output and standard error, for commands: nothing here panics when nobody reads.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::failure::Failure;
use crate::visible::{json_line, visible};

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

    /// Writes text as it is. It must not hold stored text that is not made [visible].
    pub fn text(&self, text: impl Display) -> Result<(), Failure> {
        Ok(write!(self.lock(), "{text}")?)
    }

    /// Writes bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.lock().write_all(bytes)?)
    }

    /// Writes a line of text as it is.
    pub fn line(&self, line: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.lock(), "{line}")?)
    }

    /// Writes a value as one line of JSON.
    pub fn json(&self, value: &Value) -> Result<(), Failure> {
        self.line(json_line(value))
    }

    /// Hands on what was written.
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

/// Says one line on standard error.
pub fn say(line: impl Display) {
    // When standard error is closed there is no one left to tell.
    let _ = writeln!(io::stderr().lock(), "{}", visible(&line.to_string()));
}
