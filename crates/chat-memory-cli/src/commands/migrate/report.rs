//! The progress of a migration, and its report.

use chat_memory::store::Cost;
use chat_memory::{Error, SessionId};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::super::count;
use super::super::progress::{Failures, bar};
use super::Arguments;
use super::plan::Compared;
use crate::app::App;
use crate::escape::visible_line;
use crate::failure::Failure;
use crate::output::say;

/// What was or would be done for one session.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) messages: u64,
    pub(super) appends: u64,
    pub(super) there: u64,
    pub(super) write_units: Option<f64>,
    /// It has an owner, a title or metadata that the target cannot hold.
    pub(super) loses: bool,
    /// Its id in the target, if that differs.
    pub(super) renamed: Option<SessionId>,
    /// What was compared at the end.
    pub(super) verified: Option<Compared>,
    /// Whether it was interrupted in the middle.
    pub(super) is_cut: bool,
    pub(super) cost: Cost,
}

/// The whole migration: its progress, its totals, its failures.
pub(super) struct Migration<'a> {
    app: &'a App,
    pub(super) bar: ProgressBar,
    dry_run: bool,
    verify: bool,
    price: f64,
    pub(super) seen: u64,
    done: Copied,
    described: u64,
    units_known: bool,
    verified: Compared,
    verified_sessions: u64,
    renamed: Vec<Value>,
    failures: Failures,
    /// Whether sessions, or parts of some, were omitted because it ended early.
    pub(super) is_cut: bool,
}

impl<'a> Migration<'a> {
    pub(super) fn new(app: &'a App, arguments: &Arguments) -> Self {
        // The number of messages is known only of sessions already read: the bar grows with them.
        let template = if arguments.dry_run {
            "{spinner} {msg} ({elapsed})"
        } else {
            "{bar:30} {human_pos} of {human_len} messages, {msg} ({elapsed})"
        };
        let bar = bar(Some(0), template);
        bar.set_message("listing sessions");
        Self {
            app,
            bar,
            dry_run: arguments.dry_run,
            verify: arguments.verify,
            price: arguments.price_per_million,
            seen: 0,
            done: Copied { write_units: Some(0.0), ..Copied::default() },
            described: 0,
            units_known: true,
            verified: Compared::default(),
            verified_sessions: 0,
            renamed: Vec::new(),
            failures: Failures::default(),
            is_cut: false,
        }
    }

    pub(super) fn add(&mut self, id: &SessionId, copied: Copied, error: Option<Error>) {
        self.app.add_cost(copied.cost);
        self.done.cost += copied.cost;
        self.done.messages += copied.messages;
        self.done.appends += copied.appends;
        self.done.there += copied.there;
        self.described += u64::from(copied.loses);
        self.is_cut |= copied.is_cut;
        match copied.write_units {
            Some(units) => self.done.write_units = self.done.write_units.map(|sum| sum + units),
            None => self.units_known = false,
        }
        if let Some(compared) = copied.verified {
            self.verified += compared;
            self.verified_sessions += 1;
        }
        if let Some(to) = copied.renamed {
            if !self.app.json() {
                let how = if self.dry_run { "would be" } else { "is" };
                self.bar.suspend(|| say(format_args!("session {:?} {how} copied as {to}", id.as_str())));
            }
            self.renamed.push(json!({ "id": id.as_str(), "to": to.as_str() }));
        }
        if let Some(error) = error {
            self.fail(id.as_str(), &error);
        }
        let sessions = count(self.seen, "session");
        let messages = if self.dry_run { format!(", {}", count(self.done.messages, "message")) } else { String::new() };
        self.bar.set_message(format!("{sessions}{messages}"));
    }

    pub(super) fn fail(&mut self, id: &str, error: &Error) {
        let place = format!("session {}: ", visible_line(id));
        self.failures.add(self.app, &self.bar, &place, error, json!({ "id": id, "error": error.to_string() }));
    }

    pub(super) fn end(self, interrupted: bool) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let Copied { messages, appends, there, cost, .. } = self.done;
        let units = self.done.write_units.filter(|_| self.units_known && self.seen > 0);
        if self.app.json() {
            let mut summary = json!({
                "sessions": self.seen,
                "messages": messages,
                "appends": appends,
                "renamed": self.renamed,
                "failed": self.failures.list,
                "complete": !self.is_cut,
                "cost": cost,
            });
            summary["messages_there"] = there.into();
            if self.verify {
                let Compared { messages, other_times, redacted } = self.verified;
                let sessions = self.verified_sessions;
                summary["verified"] =
                    json!({ "sessions": sessions, "messages": messages, "other_times": other_times, "redacted": redacted });
            }
            if self.dry_run {
                summary["write_units"] = json!(units);
                summary["dollars"] = json!(units.map(|units| units * self.price / 1e6));
                summary["described"] = self.described.into();
            }
            self.app.out.json(&summary)?;
        } else {
            let (sessions, appends, messages) =
                (count(self.seen, "session"), count(appends, "append"), count(messages, "message"));
            let mut line = if self.dry_run {
                let cost = match units {
                    Some(units) => {
                        format!("about {units:.0} write units, ${:.4} at ${} per million", units * self.price / 1e6, self.price)
                    }
                    None => "no write units: the target is not billed by them".to_owned(),
                };
                format!("would copy {sessions}: {messages} in {appends}, {cost}; nothing was written")
            } else {
                format!("copied {messages} in {appends}, of {sessions}")
            };
            self.failures.complete(&mut line, there, self.described, "target");
            self.app.out.line(line)?;
            if self.verify {
                self.app.out.line(self.verified_line())?;
            }
        }
        self.failures.end(self.app, interrupted)
    }

    fn verified_line(&self) -> String {
        let Compared { messages, other_times, redacted } = self.verified;
        let (sessions, messages) = (count(self.verified_sessions, "session"), count(messages, "message"));
        let times = match other_times {
            0 => "and so are the times at which they were sent".to_owned(),
            n => format!("but the target has other times for {n} of them: they were copied before times were"),
        };
        let redacted = match redacted {
            0 => String::new(),
            n => format!(", except the time and the words of {n} that each side redacted by itself"),
        };
        format!("verified {sessions}: read again, all fields of {messages} are equal on both sides{redacted}, {times}")
    }
}
