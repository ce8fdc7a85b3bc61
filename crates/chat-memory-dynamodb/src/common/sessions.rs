//! What the protocols of both layouts share: a table and a clock, the settings that mean the same in both, and the rules.

#[cfg(test)]
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use super::names::Partitions;
use super::queue::{Queues, Turn};
use super::retry::Retry;
use crate::table::{Clock, Table};
use chat_memory_core::backend::check_title;
use chat_memory_core::error::Error;
use chat_memory_core::store::{Append, AppendId, Identity, Ticket};
use chat_memory_core::{SessionId, Timestamp};

/// The protocol of a layout: what it adds to what both share.
pub(crate) trait Protocol {
    /// Its own settings.
    type Settings: Debug + Send + Sync;
    /// What a process remembers of the sessions that it read and wrote.
    type Known: Debug + Default + Send + Sync;
    /// Its rules. The product keeps them all; tests take one out at a time to prove that it is needed.
    type Rule: Debug + Copy + Ord + Send + Sync;
}

/// The settings of a store that mean the same in both layouts.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) partitions: Partitions,
    pub(crate) retention: Option<Duration>,
    pub(crate) eventual: bool,
    pub(crate) read_only: bool,
    pub(crate) deadline: Duration,
}

/// The sessions of a table, in the layout of a protocol.
#[derive(Debug)]
pub(crate) struct Sessions<T, C, P: Protocol> {
    pub(crate) table: T,
    pub(crate) clock: C,
    pub(crate) common: Common,
    pub(crate) settings: P::Settings,
    pub(crate) known: P::Known,
    /// Queues this process's appends per session. Unset in the simulations, whose writers race.
    queues: Option<Queues>,
    #[cfg(test)]
    pub(crate) broken: BTreeSet<P::Rule>,
}

impl<T: Table, C: Clock, P: Protocol> Sessions<T, C, P> {
    pub(crate) fn new(table: T, clock: C, common: Common, settings: P::Settings) -> Self {
        Self {
            table,
            clock,
            common,
            settings,
            known: P::Known::default(),
            queues: None,
            #[cfg(test)]
            broken: BTreeSet::new(),
        }
    }

    /// Makes appends to the same session go one after another.
    pub(crate) fn queued(mut self, queues: Queues) -> Self {
        self.queues = Some(queues);
        self
    }

    /// Waits for an append's turn, if there are queues.
    ///
    /// # Errors
    /// As [`Queues::turn`].
    pub(crate) async fn turn(&self, session: &SessionId, retry: &Retry<'_, C>) -> Result<Option<Turn>, Error> {
        match &self.queues {
            Some(queues) => queues.turn(session, retry).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether the protocol keeps this rule.
    #[cfg(any(test, all(feature = "torture", unix)))]
    pub(crate) fn keeps(&self, rule: P::Rule) -> bool {
        #[cfg(test)]
        if self.broken.contains(&rule) {
            return false;
        }
        #[cfg(all(feature = "torture", unix))]
        if chat_memory_core::torture::is_out(&rule) {
            return false;
        }
        true
    }

    /// Always: only tests take rules out.
    #[cfg(not(any(test, all(feature = "torture", unix))))]
    pub(crate) const fn keeps(&self, _: P::Rule) -> bool {
        true
    }

    pub(crate) fn writable(&self) -> Result<(), Error> {
        if self.common.read_only { Err(Error::read_only()) } else { Ok(()) }
    }

    /// Checks what can be checked of an append before anything is sent.
    pub(crate) fn check(&self, append: &Append) -> Result<(), Error> {
        append.check()?;
        append.title().map_or(Ok(()), check_title)?;
        self.writable()
    }

    pub(crate) fn retry(&self) -> Retry<'_, C> {
        Retry::new(&self.clock, self.common.deadline)
    }
}

/// The error of an append, first tried at this time, of which a request may have landed, or still may, at this number or a higher
/// one.
pub(crate) fn in_doubt(append: &Append, id: AppendId, from: u64, tried_at: Timestamp, error: Error) -> Error {
    let tried_at = match append.identity() {
        Identity::Ticket(ticket) => ticket.first_tried(),
        _ => tried_at,
    };
    Error::in_doubt(Ticket::new(id, from).tried_at(tried_at), &error).with_source(error)
}
