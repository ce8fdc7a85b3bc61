//! The `list` layout: one item a session, as Flowise and LangChain made it. The protocol, over any [`ListTable`] and [`Clock`].
//!
//! docs/design.md says why it is so; the simulation in `sim/` runs it beside writers of each original.

mod append;
mod beside;
mod element;
mod find;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod known;
mod load;
mod rewrite;
mod roll;
mod sessions;
#[cfg(test)]
mod sim;
mod state;
mod sweep;
mod sweep_table;
mod table;
mod value;

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;

pub(crate) use element::Dialect;
pub(crate) use state::Lists;
pub(crate) use table::{Change, Changed, Generation, Guard, ListTable, Share, Slice};

use super::names::{Partitions, SEGMENT};
use super::patience::{Patience, persist};
use super::queue::{Queues, Turn};
use super::table::{Attributes, Clock, Key};
use crate::error::{Error, ErrorKind};
use crate::session::SessionId;
use crate::store::{Append, Capabilities, Cleared, Receipt, SessionInfo, SessionPage, SessionQuery, SessionUpdate};
use state::State;

/// What this layout can do: it keeps no directory, and below the rolling size each append costs what the item has.
pub(crate) const CAPABILITIES: Capabilities = Capabilities { directory: false, bounded_cost: false, ..Capabilities::all() };

/// How a store keeps its sessions.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) partitions: Partitions,
    pub(crate) lists: Lists,
    /// The form of a new session.
    pub(crate) dialect: Dialect,
    /// The sort key's value, in a table that has one.
    pub(crate) sort_value: Option<String>,
    /// The attribute by which items expire, where it is said.
    pub(crate) ttl_attribute: Option<String>,
    pub(crate) retention_s: Option<u64>,
    pub(crate) eventual: bool,
    pub(crate) read_only: bool,
    /// From which size on an item is rolled, in bytes.
    pub(crate) roll_bytes: Option<usize>,
    /// A record's messages, in bytes of JSON.
    pub(crate) record_bytes: usize,
    /// An item; a smaller one than DynamoDB's in the simulation.
    pub(crate) item_bytes: usize,
    pub(crate) deadline_ms: u64,
}

/// The sessions of a table.
#[derive(Debug)]
pub(crate) struct Listed<T, C> {
    table: T,
    clock: C,
    settings: Settings,
    known: known::Known,
    tried_out: tokio::sync::OnceCell<()>,
    /// Of this process's appends to each session; the simulation's writers race.
    queues: Option<Queues>,
    broken: BTreeSet<Rule>,
}

/// A rule of the protocol. The product keeps them all; the simulation takes one out to prove that it would be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(test), allow(dead_code, reason = "only the simulation takes rules out"))]
pub(crate) enum Rule {
    /// An append is refused where the item remembers its id.
    Once,
    /// An append heeds the generation that its writer knows.
    Generation,
    /// A rewrite is made on the very list that was read.
    WholeList,
    /// After an unknown outcome the append is looked for where it may have gone.
    LookBack,
    /// What was taken back or cleared is noted, so that a repeat finds it.
    Gone,
    /// A load that misses a segment looks at the list again.
    LookAgain,
    /// A repeat asks for the generation that the request before it asked for, whatever others have learnt meanwhile.
    OwnGeneration,
}

impl<T: ListTable, C: Clock> Listed<T, C> {
    pub(crate) fn new(table: T, clock: C, settings: Settings) -> Self {
        let (known, tried_out) = (known::Known::default(), tokio::sync::OnceCell::new());
        Self { table, clock, settings, known, tried_out, queues: None, broken: BTreeSet::new() }
    }

    /// The same, with appends to one session that go one after another.
    pub(crate) fn queued(mut self, queues: Queues) -> Self {
        self.queues = Some(queues);
        self
    }

    /// The turn of an append to a session.
    async fn turn(&self, session: &SessionId, patience: &Patience<'_, C>) -> Result<Option<Turn>, Error> {
        match &self.queues {
            Some(queues) => queues.turn(session, patience).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether the protocol keeps this rule: always, outside of the simulation and the tests that take one out.
    fn keeps(&self, rule: Rule) -> bool {
        #[cfg(all(feature = "torture", unix))]
        if crate::torture::is_out(&rule) {
            return false;
        }
        !self.broken.contains(&rule)
    }

    fn patience(&self) -> Patience<'_, C> {
        Patience::new(&self.clock, self.settings.deadline_ms)
    }

    fn writable(&self) -> Result<(), Error> {
        if self.settings.read_only { Err(Error::read_only()) } else { Ok(()) }
    }

    /// The key of a session's item.
    ///
    /// # Errors
    /// Invalid for a session whose id begins as the keys of our own items do.
    fn key(&self, session: &SessionId) -> Result<Key, Error> {
        if session.as_str().starts_with(SEGMENT) {
            return Err(Error::invalid(format!(
                "in a table of this layout a session id must not start with {SEGMENT:?}, which is kept for the older parts of long sessions"
            )));
        }
        Ok(Key { pk: self.settings.partitions.session(session), sk: self.settings.sort_value.clone().unwrap_or_default() })
    }

    /// The key of an item of ours beside a session's.
    fn beside(&self, session: &SessionId, id: &str) -> Key {
        match &self.settings.sort_value {
            Some(_) => Key { pk: self.settings.partitions.session(session), sk: format!("{SEGMENT}{id}") },
            None => Key { pk: format!("{}{SEGMENT}{session}#{id}", self.settings.partitions.prefix()), sk: String::new() },
        }
    }

    fn list_name(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Js => &self.settings.lists.js,
            Dialect::Python => &self.settings.lists.python,
        }
    }

    /// The attribute by which a session expires, where that matters.
    async fn ttl_attribute(&self, receipt: &mut Receipt, patience: &mut Patience<'_, C>) -> Result<Option<String>, Error> {
        if self.settings.retention_s.is_none() || self.settings.ttl_attribute.is_some() {
            return Ok(self.settings.ttl_attribute.clone());
        }
        let told = persist!(patience, self.table.purges_by(receipt))?;
        Ok(Some(told.unwrap_or_else(|| super::names::LIST_TTL.to_owned())))
    }

    fn read_state(&self, session: &SessionId, attributes: Option<&Attributes>, ttl: Option<&str>) -> Result<State, Error> {
        let mut state = State::of(session.as_str(), &self.settings.lists, attributes)?;
        if self.settings.retention_s.is_some()
            && let Some(AttributeValue::N(at)) = ttl.and_then(|ttl| attributes?.get(ttl))
        {
            state.expires_at = at.parse().ok();
        }
        Ok(state)
    }

    async fn state(
        &self,
        session: &SessionId,
        eventual: bool,
        ttl: Option<&str>,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<State, Error> {
        let key = self.key(session)?;
        let item = persist!(patience, self.table.read(&key, eventual, receipt))?;
        self.read_state(session, item.as_ref(), ttl)
    }

    pub(crate) async fn clear(&self, session: &SessionId) -> Result<Cleared, Error> {
        let appended = self.append(session, &Append::clear()).await?;
        let swept = self.sweep(session).await.map_err(|e| {
            e.context("the session is cleared, but what it held is not yet erased; clear it again, or sweep, to finish")
        })?;
        Ok(Cleared { appended, swept })
    }

    /// This layout has no directory: its makers keep none.
    pub(crate) async fn sessions(&self, _: &SessionQuery) -> Result<SessionPage, Error> {
        Err(no_directory())
    }

    pub(crate) async fn session(&self, _: &SessionId) -> Result<Option<SessionInfo>, Error> {
        Err(no_directory())
    }

    pub(crate) async fn update_session(&self, _: &SessionId, _: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        Err(no_directory())
    }

    fn is_expired(&self, state: &State) -> bool {
        state.expires_at.is_some_and(|at| at <= self.clock.now().wall_ms.div_euclid(1000))
    }
}

fn no_directory() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a table of the list layout keeps no directory of its sessions, so they have no owner and no title; \
         they can be listed all together (`chat-memory sessions --all`), or migrated to a table of the turns layout",
    )
}

fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}
