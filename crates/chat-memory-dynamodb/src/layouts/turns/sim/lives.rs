//! The sessions of a schedule from start to end, and what a listing may show of them.

use super::world::{MAX_SKEW_MS, Made};
use crate::table::sim::SIGNATURE_MS;
use chat_memory_core::Timestamp;
use chat_memory_core::store::{Expiry, SessionInfo};

/// A session from its start to its end.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pk: String,
    owner: Option<String>,
    began: Timestamp,
    /// The event with which it started.
    start: u64,
    lasts: Expiry,
    /// The event that ended it: a delete, or the start of another session after it had expired.
    over: Option<u64>,
}

/// A change of a title as its caller saw it: from its first to its last event.
#[derive(Debug, Clone)]
pub(super) struct Patch {
    pub(super) title: String,
    pub(super) start: u64,
    /// `None` while it may still land.
    pub(super) end: Option<u64>,
    /// The entry that the response returned: its session, and when it was created.
    pub(super) entry: Option<(String, Timestamp)>,
}

#[derive(Debug, Default)]
pub(super) struct Lives {
    lives: Vec<Life>,
    /// Counts landings, and the starts and ends of listings and of title changes.
    events: u64,
    pub(super) patches: Vec<Patch>,
}

/// The state at the start of a listing.
pub(super) struct Begun {
    event: u64,
    clock: Timestamp,
    /// The indices of the sessions alive at that time, with how long they lasted.
    alive: Vec<(usize, Expiry)>,
}

impl Lives {
    /// A record has landed.
    pub(super) fn landed(&mut self, made: &Made, now_ms: i64) -> Result<(), String> {
        let now = self.event();
        let current = self.lives.iter_mut().rev().find(|life| life.pk == made.pk).filter(|life| life.over.is_none());
        let Some(began) = made.began else {
            if let Some(life) = current {
                life.over = Some(now);
            }
            return Ok(());
        };
        if let Some(life) = current {
            if !made.starts && life.began == began {
                if life.lasts.is_over(Timestamp::from_millis(now_ms - SIGNATURE_MS - MAX_SKEW_MS)) {
                    return Err("an expired session continues, with its old title".to_owned());
                }
                life.lasts = life.lasts.max(made.lasts);
                return Ok(());
            }
            if !life.lasts.is_over(Timestamp::from_millis(now_ms + MAX_SKEW_MS + 1_000)) {
                return Err("a session starts again while it lives".to_owned());
            }
            life.over = Some(now);
        }
        if !made.starts {
            return Err("a record continues a session that has ended".to_owned());
        }
        let Made { pk, owner, lasts, .. } = made.clone();
        self.lives.push(Life { pk, owner, began, start: now, lasts, over: None });
        Ok(())
    }

    /// Counts an event.
    pub(super) fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// A listing begins.
    pub(super) fn begin(&mut self, clock: Timestamp) -> Begun {
        let event = self.event();
        let alive = self.lives.iter().enumerate().filter(|(_, life)| life.over.is_none());
        Begun { event, clock, alive: alive.map(|(place, life)| (place, life.lasts)).collect() }
    }

    /// A session is listed exactly once, under the owner that began it, while it has a record that has not expired and was not
    /// deleted; never otherwise. A title that was set is not undone.
    pub(super) fn check(
        &self,
        owner: Option<&str>,
        shown: &[SessionInfo],
        begun: &Begun,
        clock: Timestamp,
    ) -> Result<(), String> {
        for (n, info) in shown.iter().enumerate() {
            let pk = info.id.as_str();
            if shown[..n].iter().any(|other| other.id == info.id) {
                return Err(format!("session {pk} is listed twice"));
            }
            let is_it = |life: &&Life| {
                life.pk == pk
                    && life.owner.as_deref() == owner
                    && life.over.is_none_or(|over| over > begun.event)
                    && !life.lasts.is_over(begun.clock)
            };
            let fitting: Vec<&Life> = self.lives.iter().filter(is_it).collect();
            if fitting.is_empty() {
                return Err(format!("session {pk} is listed, though deleted, expired or never started"));
            }
            let Some(life) = fitting.into_iter().find(|life| life.began == info.created_at) else {
                return Err(format!("the entry of another session {pk} is shown"));
            };
            self.check_title(life, info, begun)?;
        }
        for (place, lasted) in &begun.alive {
            let life = &self.lives[*place];
            let lives_on = life.over.is_none() && !lasted.is_over(clock) && life.owner.as_deref() == owner;
            if lives_on && !shown.iter().any(|info| info.id.as_str() == life.pk) {
                return Err(format!("session {} lives and is not listed", life.pk));
            }
        }
        Ok(())
    }

    fn check_title(&self, life: &Life, info: &SessionInfo, begun: &Begun) -> Result<(), String> {
        let shown = self.patches.iter().find(|patch| Some(&patch.title) == info.title.as_ref());
        if shown.is_some_and(|patch| patch.end.is_some_and(|end| end < life.start)) {
            return Err(format!("session {} has a title of before it started", life.pk));
        }
        let here = |patch: &&Patch| patch.entry.as_ref().is_some_and(|(pk, began)| *pk == life.pk && *began == life.began);
        for patch in self.patches.iter().filter(here) {
            let was_set = patch.end.is_some_and(|end| end < begun.event);
            let is_shown = Some(&patch.title) == info.title.as_ref();
            let is_older = shown.is_none_or(|shown| shown.end.is_some_and(|end| end < patch.start));
            if was_set && !is_shown && is_older {
                return Err(format!("session {} shows {:?} after it was titled {:?}", life.pk, info.title, patch.title));
            }
        }
        Ok(())
    }
}
