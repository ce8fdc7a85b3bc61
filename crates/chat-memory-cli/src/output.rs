//! Standard output and standard error for commands; nothing here panics if the reader is gone.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::escape::{json_line, visible};
use crate::failure::Failure;

/// Standard output, or the pager in front of it.
pub struct Output {
    to: Mutex<To>,
    /// Whether text may be coloured.
    pub colours: bool,
}

/// Where the output goes.
struct To {
    writer: BufWriter<Box<dyn Write + Send>>,
    pager: Option<Child>,
}

impl Output {
    /// Standard output, with colours on a terminal unless `NO_COLOR` says otherwise (<https://no-color.org>).
    pub fn new() -> Self {
        let stdout = io::stdout();
        let colours = may_colour(&stdout);
        Self { to: Mutex::new(To { writer: BufWriter::new(Box::new(stdout)), pager: None }), colours }
    }

    fn lock(&self) -> MutexGuard<'_, To> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pages what follows, where there is a use for it. Call it when the first line is ready: until the pager has something to show,
    /// nobody could end it.
    pub fn page(&self) {
        let mut to = self.lock();
        if to.pager.is_some() {
            return;
        }
        let Some(mut pager) = crate::pager::start() else { return };
        let Some(input) = pager.stdin.take() else { return };
        *to = To { writer: BufWriter::new(Box::new(input)), pager: Some(pager) };
        // The terminal sends Ctrl-C to both: it is the pager's, and this program must not leave it without its input.
        tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    }

    /// Whether the output is paged: a message on standard error would then be drawn over it.
    pub fn is_paged(&self) -> bool {
        self.lock().pager.is_some()
    }

    /// Flushes the output and, if it is paged, waits until the user has left the pager.
    pub fn end(&self) -> Result<(), Failure> {
        let mut to = self.lock();
        let flushed = to.writer.flush();
        if let Some(mut pager) = to.pager.take() {
            // Closes the pager's input.
            to.writer = BufWriter::new(Box::new(io::stdout()));
            let _ = pager.wait();
        }
        Ok(flushed?)
    }

    /// Writes text verbatim. It must not contain stored text that was not made [visible].
    pub fn text(&self, text: impl Display) -> Result<(), Failure> {
        Ok(write!(self.lock().writer, "{text}")?)
    }

    /// Writes bytes verbatim.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.lock().writer.write_all(bytes)?)
    }

    /// Writes a line of text verbatim.
    pub fn line(&self, line: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.lock().writer, "{line}")?)
    }

    /// Writes a value as one line of JSON.
    pub fn json(&self, value: &Value) -> Result<(), Failure> {
        self.line(json_line(value))
    }

    /// Flushes the output.
    pub fn flush(&self) -> Result<(), Failure> {
        Ok(self.lock().writer.flush()?)
    }
}

/// Whether text may be coloured there.
pub fn may_colour(to: &impl IsTerminal) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    to.is_terminal() && !forbidden && !dumb
}

/// Prints text to standard error that has its colours, and what would control the terminal escaped.
pub fn say_escaped(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints one line to standard error.
pub fn say(line: impl Display) {
    // If standard error is closed, there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{}", visible(&line.to_string()));
}
