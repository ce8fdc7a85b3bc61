//! The progress of an import, and its report.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::Path;

use chat_memory::store::Cost;
use chat_memory::{Error, SessionId};
use indicatif::ProgressBar;
use serde_json::json;

use super::super::count;
use super::super::progress::{Failures, bar};
use super::conversation::{Conversation, MadeId};
use super::source::Place;
use crate::app::App;
use crate::failure::Failure;
use crate::output::say;

/// The result for one session.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) started: u64,
    pub(super) turns: u64,
    pub(super) messages: u64,
    pub(super) there: u64,
    /// Sessions whose owner, title or metadata the store cannot hold.
    pub(super) described: u64,
    /// Whether it was interrupted in the middle.
    pub(super) is_cut: bool,
    pub(super) cost: Cost,
}

/// The whole import: its progress, its totals, its failures.
pub(super) struct Import<'a> {
    app: &'a App,
    file: &'a Path,
    pub(super) bar: ProgressBar,
    /// Whether to read more of the file.
    pub(super) reading: bool,
    /// The place of each session in the file.
    seen: HashMap<SessionId, Place>,
    done: Written,
    sessions: u64,
    made_ids: Vec<(Place, SessionId, MadeId)>,
    left_out: BTreeMap<String, u64>,
    failures: Failures,
    /// Whether a part of the file was not read.
    unread: bool,
    pub(super) interrupted: bool,
}

impl<'a> Import<'a> {
    pub(super) fn new(app: &'a App, size: Option<u64>, file: &'a Path) -> Self {
        let template = if size.is_some() { "{bar:30} {percent}% {msg} ({eta} left)" } else { "{spinner} {msg}" };
        let bar = bar(size, template);
        Self {
            app,
            file,
            bar,
            reading: true,
            seen: HashMap::new(),
            done: Written::default(),
            sessions: 0,
            made_ids: Vec::new(),
            left_out: BTreeMap::new(),
            failures: Failures::default(),
            unread: false,
            interrupted: false,
        }
    }

    /// Two conversations of one session would race each other.
    pub(super) fn first_time(&mut self, conversation: &Conversation) -> Result<(), Error> {
        match self.seen.insert(conversation.id.clone(), conversation.place) {
            None => Ok(()),
            Some(before) => Err(Error::invalid(format!("duplicate session in the file: it is also at {before}"))),
        }
    }

    pub(super) fn stop(&mut self) {
        self.unread |= self.reading;
        self.reading = false;
    }

    pub(super) fn interrupt(&mut self) {
        self.stop();
        self.interrupted = true;
    }

    pub(super) fn cannot_read(&mut self, error: Error) {
        self.stop();
        let how = "nothing after this was read; fix it and run the import again, which continues after what is already stored";
        let (kind, file) = (error.kind(), self.file.display());
        self.fail(None, Error::new(kind, format!("{file}: {error}; {how}")));
    }

    pub(super) fn add(&mut self, at: u64, conversation: &Conversation, written: &Written) {
        if written.is_cut {
            self.unread = true;
        }
        self.sessions += 1;
        self.done.started += written.started;
        self.done.turns += written.turns;
        self.done.messages += written.messages;
        self.done.there += written.there;
        self.done.described += written.described;
        if let Some(why) = &conversation.made_id {
            self.made_ids.push((conversation.place, conversation.id.clone(), why.clone()));
        }
        for field in &conversation.left_out {
            *self.left_out.entry(field.clone()).or_default() += 1;
        }
        self.app.add_cost(written.cost);
        self.bar.set_position(at.max(self.bar.position()));
        self.bar.set_message(format!("{}, {}", count(self.sessions, "session"), count(self.done.turns, "turn")));
    }

    pub(super) fn fail(&mut self, of: Option<&Conversation>, error: Error) {
        let (line, id) = (of.map(|of| of.place.line), of.map(|of| of.id.as_str()));
        let place = of.map_or_else(String::new, |of| format!("{}, session {}: ", of.place, of.id));
        let described = json!({ "line": line, "id": id, "error": error.to_string() });
        self.failures.add(self.app, &self.bar, &place, &error, described);
    }

    pub(super) fn end(mut self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        // Several are stored concurrently and end in any order.
        self.made_ids.sort_by_key(|(place, ..)| (place.line, place.nth));
        self.failures.list.sort_by_key(|failed| failed["line"].as_u64());
        let Written { started, turns, messages, there, described, .. } = self.done;
        if self.app.json() {
            let made_ids = self.made_ids.iter().map(|(place, id, why)| {
                let of = if let MadeId::Refused(id) = why { Some(id) } else { None };
                json!({ "line": place.line, "id": id.as_str(), "of": of })
            });
            self.app.out.json(&json!({
                "sessions": self.sessions,
                "started": started,
                "turns": turns,
                "messages": messages,
                "messages_there": there,
                "described": described,
                "made_ids": made_ids.collect::<Vec<_>>(),
                "left_out": self.left_out,
                "failed": self.failures.list,
                "complete": !self.unread,
                "cost": self.app.cost(),
            }))?;
        } else {
            let (turns, messages, sessions) = (count(turns, "turn"), count(messages, "message"), count(self.sessions, "session"));
            let mut line = format!("imported {turns} ({messages}) of {sessions}, {started} of them new");
            self.failures.complete(&mut line, there, described, "store");
            self.say_made_ids();
            if !self.left_out.is_empty() {
                let fields = self.left_out.iter().map(|(name, n)| format!("{:?} ({})", name, count(*n, "conversation")));
                say(format_args!("omitted, since a session cannot hold them: {}", listed(fields)));
            }
            self.app.out.line(line)?;
        }
        self.failures.end(self.app, self.interrupted)
    }

    /// Lists the sessions whose id is not the file's.
    fn say_made_ids(&self) {
        let without: Vec<_> = self.made_ids.iter().filter(|(_, _, why)| *why == MadeId::None).map(|(_, id, _)| id).collect();
        if !without.is_empty() {
            let ids = without.iter().map(|id| id.as_str());
            let of = count(without.len() as u64, "conversation");
            say(format_args!(
                "{of} without an id: stored under ids derived from their content, the same each time: {}",
                listed(ids)
            ));
        }
        for (place, id, why) in &self.made_ids {
            if let MadeId::Refused(refused) = why {
                say(format_args!("{place}: no store accepts the id {refused:?}; stored as {id}"));
            }
        }
    }
}

/// The first few, and how many more there are.
fn listed(items: impl ExactSizeIterator<Item = impl Display>) -> String {
    const SHOWN: usize = 5;
    let more = items.len().saturating_sub(SHOWN);
    let shown: Vec<_> = items.take(SHOWN).map(|item| item.to_string()).collect();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
