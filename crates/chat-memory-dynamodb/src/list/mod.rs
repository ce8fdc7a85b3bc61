//! The `list` layout: one item per session, as Flowise and LangChain store it. The protocol runs on any [`ListTable`] and
//! [`Clock`].
//!
//! docs/design.md gives the reasons; the simulation in `sim/` runs it alongside writers of each original.

mod append;
mod contents;
mod element;
mod find;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod generations;
mod ids;
mod load;
mod rewrite;
mod roll;
mod sessions;
mod side;
#[cfg(test)]
mod sim;
mod state;
mod sweep;
mod sweep_table;
mod table;
mod value;

use aws_sdk_dynamodb::types::AttributeValue;

pub(crate) use contents::Contents;
pub(crate) use element::Dialect;
pub(crate) use ids::Sort;
pub(crate) use state::Lists;
pub(crate) use table::{Change, Changed, Generation, Guard, ListTable, Share, Slice};

use super::names::Partitions;
use super::queue::Queues;
use super::retry::{Retry, retry};
use super::table::{Attributes, Clock};
use chat_memory_core::SessionId;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{Append, Capabilities, ClearOutcome, Cost, SessionInfo, SessionPage, SessionQuery, SessionUpdate};
use state::State;

/// The capabilities of this layout: it has no directory, and below the rolling size an append costs as much as the whole item.
pub(crate) const CAPABILITIES: Capabilities =
    Capabilities { directory: false, last_activity: None, bounded_cost: false, ..Capabilities::all() };

/// The settings of a store.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) partitions: Partitions,
    pub(crate) lists: Lists,
    /// The dialect of a new session, if it is configured or implied by the name of the table's key.
    pub(crate) dialect: Option<Dialect>,
    /// The partition key's name, for errors.
    pub(crate) partition_key: String,
    pub(crate) sort: Sort,
    /// The attribute by which items expire, if it is configured.
    pub(crate) ttl_attribute: Option<String>,
    pub(crate) retention_s: Option<u64>,
    pub(crate) eventual: bool,
    pub(crate) read_only: bool,
    /// Item size in bytes above which it is rolled.
    pub(crate) roll_bytes: Option<usize>,
    /// The limit on a record's messages, in bytes of JSON.
    pub(crate) record_bytes: usize,
    /// The limit on an item; smaller than DynamoDB's in the simulation.
    pub(crate) item_bytes: usize,
    pub(crate) deadline_ms: u64,
}

/// The sessions of a table.
#[derive(Debug)]
pub(crate) struct Listed<T, C> {
    table: T,
    clock: C,
    settings: Settings,
    generations: generations::GenerationCache,
    tried_out: tokio::sync::OnceCell<()>,
    /// The dialect of a new session, if the table's items show it.
    usual: tokio::sync::OnceCell<Dialect>,
    /// Queues this process's appends per session. Unset in the simulation, whose writers race.
    queues: Option<Queues>,
    #[cfg(test)]
    broken: std::collections::BTreeSet<Rule>,
}

/// A rule of the protocol. The product keeps them all; the simulation takes one out at a time to prove that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(test), allow(dead_code, reason = "only the simulation takes rules out"))]
pub(crate) enum Rule {
    /// An append is refused if the item remembers its id.
    Once,
    /// An append requires the generation that its writer knows.
    Generation,
    /// A rewrite requires the exact list that was read.
    WholeList,
    /// After an unknown outcome, the append is searched for wherever it may have gone.
    LookBack,
    /// Rewound and cleared records are noted, so that a repeat finds them.
    Gone,
    /// A load that misses a segment re-reads the list.
    LookAgain,
    /// A repeat requires the generation that the previous request required, whatever other appends have learned meanwhile.
    OwnGeneration,
}

impl<T: ListTable, C: Clock> Listed<T, C> {
    pub(crate) fn new(table: T, clock: C, settings: Settings) -> Self {
        let (generations, tried_out, usual) = Default::default();
        Self {
            table,
            clock,
            settings,
            generations,
            tried_out,
            usual,
            queues: None,
            #[cfg(test)]
            broken: Default::default(),
        }
    }

    /// Makes appends to the same session go one after another.
    pub(crate) fn queued(mut self, queues: Queues) -> Self {
        self.queues = Some(queues);
        self
    }

    /// Whether the protocol keeps this rule: always, except in the simulation and in tests that take one out.
    fn keeps(&self, rule: Rule) -> bool {
        #[cfg(all(feature = "torture", unix))]
        if chat_memory_core::torture::is_out(&rule) {
            return false;
        }
        #[cfg(test)]
        if self.broken.contains(&rule) {
            return false;
        }
        let _ = rule;
        true
    }

    fn retry(&self) -> Retry<'_, C> {
        Retry::new(&self.clock, self.settings.deadline_ms)
    }

    fn writable(&self) -> Result<(), Error> {
        if self.settings.read_only { Err(Error::read_only()) } else { Ok(()) }
    }

    /// The dialect in which a session continues: its own, or else that of new sessions as far as it is known.
    fn form(&self, state: &State) -> Dialect {
        state.dialect(self.form_of_new())
    }

    fn form_of_new(&self) -> Dialect {
        self.settings.dialect.or_else(|| self.usual.get().copied()).unwrap_or(Dialect::Js)
    }

    /// Determines the dialect of a new session: the one that is configured or implied by the key's name, else that of the table's
    /// other sessions.
    ///
    /// # Errors
    /// Invalid if nothing shows the dialect: then it must be configured, since the originals cannot read one another's.
    async fn choose_form(&self, session: &SessionId, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<(), Error> {
        if self.settings.dialect.is_some() {
            return Ok(());
        }
        let chosen = self.usual.get_or_try_init(|| async {
            let items = match retry!(retry, self.table.sample(cost)) {
                // Then nothing shows it.
                Err(error) if error.is_access_denied() => Vec::new(),
                items => items?,
            };
            let has = |name: &str| items.iter().any(|item| element::is_messages(item.attributes.get(name)));
            match (has(&self.settings.lists.js), has(&self.settings.lists.python)) {
                (true, false) => Ok(Dialect::Js),
                (false, true) => Ok(Dialect::Python),
                (js, _) => Err(Error::invalid(format!(
                    "session {:?} cannot be started: neither the name of the table's key ({:?}) nor {} whether LangChain.js or LangChain \
                     Python is to read it; give dialect=js (Flowise, too) or dialect=python in the store URL",
                    session.as_str(),
                    self.settings.partition_key,
                    if js { "its sessions, which are in both forms, tell" } else { "its other sessions tell" },
                ))),
            }
        });
        chosen.await.map(drop)
    }

    fn list_name(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Js => &self.settings.lists.js,
            Dialect::Python => &self.settings.lists.python,
        }
    }

    /// The attribute by which a session expires, if that matters.
    async fn ttl_attribute(&self, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<Option<String>, Error> {
        if self.settings.retention_s.is_none() || self.settings.ttl_attribute.is_some() {
            return Ok(self.settings.ttl_attribute.clone());
        }
        let told = retry!(retry, self.table.purges_by(cost))?;
        Ok(Some(told.unwrap_or_else(|| super::names::LIST_TTL.to_owned())))
    }

    fn read_state(&self, session: &SessionId, attributes: Option<&Attributes>, ttl: Option<&str>) -> Result<State, Error> {
        if self.is_ours(&self.key(session)?, attributes) {
            return Err(Error::invalid(format!(
                "session id {:?} cannot be used: it is the key of an older part of another session; give another id",
                session.as_str()
            )));
        }
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
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<State, Error> {
        let key = self.key(session)?;
        let item = retry!(retry, self.table.read(&key, eventual, cost))?;
        if let (None, Sort::Free(name)) = (&item, &self.settings.sort) {
            // An id with a slash may be stored the way LangChain.js's sortKey does. That session must not be mistaken for an empty
            // one.
            let other = self.by_sort_key_name(session, name);
            if retry!(retry, self.table.read(&other, eventual, cost))?.is_some() {
                return Err(Error::invalid(format!(
                    "session {:?} is ambiguous: there is one of that partition key under the sort key {name:?}; name it {:?}, or fix the sort \
                     key's value in the store URL (sort_value={name})",
                    session.as_str(),
                    ids::join(session.as_str(), name)
                )));
            }
        }
        self.read_state(session, item.as_ref(), ttl)
    }

    pub(crate) async fn clear(&self, session: &SessionId) -> Result<ClearOutcome, Error> {
        let appended = self.append(session, &Append::clear()).await.map_err(|e| e.of_repeatable("cleared"))?;
        let swept = self.sweep(session).await.map_err(|e| {
            e.context("the session is cleared, but what it held is not yet erased; clear it again, or sweep, to finish")
        })?;
        Ok(ClearOutcome::new(appended, swept))
    }

    /// This layout has no directory, since the originals keep none.
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
