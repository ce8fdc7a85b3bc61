//! What the commands over many sessions share: the progress bar, the failures of single sessions, and the end.

use std::time::Duration;

use chat_memory::Error;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::count;
use crate::app::App;
use crate::failure::{CONFLICT, FAILED, Failure, INTERRUPTED};
use crate::output::say;

/// Creates a progress bar of this length, if it is known. It is drawn on a terminal only.
pub(super) fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Whether other sessions may succeed after this error.
pub(super) fn concerns_one_session(error: &Error) -> bool {
    error.is_conflict() || error.is_invalid() || error.is_too_large() || error.is_corrupt() || error.is_unsupported()
}

/// The sessions that failed, and the exit code for that.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Each as it is described with --json.
    pub(super) list: Vec<Value>,
    code: Option<u8>,
}

impl Failures {
    /// Adds a failure, and prints it unless the command prints JSON: `place` names the session.
    pub(super) fn add(&mut self, app: &App, bar: &ProgressBar, place: &str, error: &Error, described: Value) {
        let code = if error.is_conflict() { CONFLICT } else { FAILED };
        // The conflict exit code is used only if nothing worse happened.
        self.code = Some(self.code.map_or(code, |before| if before == code { code } else { FAILED }));
        if !app.json() {
            bar.suspend(|| say(format_args!("chat-memory: {place}{error}")));
        }
        self.list.push(described);
    }

    /// Completes the summary for people: how many messages were stored before, how many sessions have a description that the `store`
    /// cannot hold, and how many failed.
    pub(super) fn complete(&self, line: &mut String, there: u64, described: u64, store: &str) {
        if there > 0 {
            line.push_str(&format!("; {} already stored", count(there, "message")));
        }
        if described > 0 {
            let sessions = count(described, "session");
            line.push_str(&format!("; {sessions} with an owner, a title or metadata, which the {store} cannot hold"));
        }
        if !self.list.is_empty() {
            line.push_str(&format!("; {} failed: fix that and run it again", self.list.len()));
        }
    }

    /// Ends the command, after its summary was printed.
    pub(super) fn end(self, app: &App, interrupted: bool) -> Result<(), Failure> {
        if interrupted {
            app.out.flush()?;
            say("interrupted: run the same command again to continue; nothing is stored twice");
            return Err(Failure::Printed(INTERRUPTED));
        }
        self.code.map_or(Ok(()), |code| Err(Failure::Printed(code)))
    }
}
