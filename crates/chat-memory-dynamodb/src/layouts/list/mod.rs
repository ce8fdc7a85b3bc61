//! The `list` layout: one item per session, as Flowise and LangChain store it. The protocol runs on any [`Table`] and [`Clock`].
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
mod mark;
mod redact;
mod rewrite;
mod roll;
mod sessions;
mod side;
#[cfg(test)]
mod sim;
mod state;
mod sweep;
mod sweep_table;
mod value;

use std::sync::atomic::AtomicBool;

use aws_sdk_dynamodb::types::AttributeValue;

pub(crate) use contents::Contents;
pub(crate) use element::Dialect;
pub(crate) use ids::{Ids, Sort};
pub(crate) use state::Lists;

use crate::common::names::{LIST_PARTITION_KEY, LIST_PYTHON_KEY};
use crate::common::retry::{Retry, retry};
use crate::common::sessions::{Protocol, Sessions};
use crate::table::{Attributes, Clock, Item, Scan, Table};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{Append, Capabilities, ClearOutcome, Cost, SessionInfo, SessionPage, SessionQuery, SessionUpdate};
use chat_memory_core::{SessionId, Timestamp};
use state::State;

/// The capabilities of this layout: it has no directory, and below the rolling size an append costs as much as the whole item.
pub(crate) const CAPABILITIES: Capabilities =
    Capabilities::all().with_directory(false).with_bounded_cost(false).with_entries(false);

/// The settings of this layout.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) ids: Ids,
    pub(crate) lists: Lists,
    /// The dialect of a new session, if it is configured or implied by the name of the table's key.
    pub(crate) dialect: Option<Dialect>,
    /// The partition key's name, for errors.
    pub(crate) partition_key: String,
    /// The attribute by which items expire, if it is configured.
    pub(crate) ttl_attribute: Option<String>,
    /// Item size in bytes above which it is rolled.
    pub(crate) roll_bytes: Option<usize>,
    /// The limit on a record's messages, in bytes of JSON.
    pub(crate) record_bytes: usize,
    /// The limit on an item; smaller than DynamoDB's in the simulation.
    pub(crate) item_bytes: usize,
}

/// The sessions of a table with one item per session.
pub(crate) type Listed<T, C> = Sessions<T, C, PerSession>;

/// The protocol of this layout.
#[derive(Debug)]
pub(crate) enum PerSession {}

impl Protocol for PerSession {
    type Settings = Settings;
    type Known = Known;
    type Rule = Rule;
}

/// What a process remembers of the sessions that it read and wrote.
#[derive(Debug, Default)]
pub(crate) struct Known {
    generations: generations::GenerationCache,
    /// Set once this process was denied to write segments: it does not ask again with each append.
    roll_denied: AtomicBool,
    /// The dialect of a new session, if the table's items show it.
    usual: tokio::sync::OnceCell<Dialect>,
}

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// A segment is stored before a list leads to it.
    SegmentFirst,
    /// A page continues in the segment that its cursor names only if the list still leads to it.
    SameChain,
}

impl<T: Table, C: Clock> Listed<T, C> {
    /// The dialect in which a session continues: its own, or else that of new sessions as far as it is known.
    fn form(&self, state: &State) -> Dialect {
        state.dialect(self.form_of_new())
    }

    fn form_of_new(&self) -> Dialect {
        self.settings.dialect.or_else(|| self.known.usual.get().copied()).unwrap_or(Dialect::Js)
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
        let chosen = self.known.usual.get_or_try_init(|| async {
            let items = match retry!(retry, self.table.scan(&Scan::sample(), None, cost)) {
                // Then nothing shows it.
                Err(error) if error.is_access_denied() => Vec::new(),
                page => page?.items,
            };
            let has = |name: &str| items.iter().any(|item| element::is_messages(item.attributes.get(name)));
            match (has(&self.settings.lists.js), has(&self.settings.lists.python)) {
                (true, false) => Ok(Dialect::Js),
                (false, true) => Ok(Dialect::Python),
                (js, _) => Err(Error::invalid(format!(
                    "session {:?} cannot be started: neither the name of the table's key ({:?}) nor {} whether LangChain.js or \
                     LangChain Python reads it; give dialect=js (also for Flowise) or dialect=python in the store URL",
                    session.as_str(),
                    self.settings.partition_key,
                    if js { "its sessions, which are in both dialects, show" } else { "its other sessions show" },
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
        if self.common.retention.is_none() || self.settings.ttl_attribute.is_some() {
            return Ok(self.settings.ttl_attribute.clone());
        }
        let told = retry!(retry, self.table.ttl_attribute(&[], cost))?;
        Ok(Some(told.unwrap_or_else(|| crate::common::names::LIST_TTL.to_owned())))
    }

    fn read_state(&self, session: &SessionId, attributes: Option<&Attributes>, ttl: Option<&str>) -> Result<State, Error> {
        if self.settings.ids.is_ours(&self.settings.ids.key(session)?, attributes) {
            return Err(Error::invalid(format!(
                "session id {:?} cannot be used: it is the key of an older part of another session; give another id",
                session.as_str()
            )));
        }
        let mut state = State::of(session.as_str(), &self.settings.lists, attributes)?;
        if self.common.retention.is_some()
            && let Some(AttributeValue::N(at)) = ttl.and_then(|ttl| attributes?.get(ttl))
        {
            state.expires_at = at.parse().ok().map(Timestamp::from_secs);
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
        let key = self.settings.ids.key(session)?;
        let item = retry!(retry, self.table.get(&key, eventual, cost))?;
        if let (None, Sort::Free(name)) = (&item, &self.settings.ids.sort) {
            // An id with a slash may be stored the way LangChain.js's sortKey does. That session must not be mistaken for an empty
            // one.
            let other = self.settings.ids.by_sort_key_name(session, name);
            if retry!(retry, self.table.get(&other, eventual, cost))?.is_some() {
                return Err(Error::invalid(format!(
                    "session {:?} is ambiguous: another one has that partition key, under the sort key {name:?}; name it {:?}, or fix the sort \
                     key's value in the store URL (sort_value={name})",
                    session.as_str(),
                    ids::join(session.as_str(), name)
                )));
            }
        }
        self.read_state(session, attributes(item.as_ref()), ttl)
    }

    pub(crate) async fn clear(&self, session: &SessionId) -> Result<ClearOutcome, Error> {
        let appended = self.append(session, &Append::clear()).await.map_err(|e| e.of_repeatable("cleared"))?;
        let swept = self.sweep(session).await.map_err(|e| {
            e.context("the session is cleared, but its records are not erased yet; clear it again, or sweep, to finish")
        })?;
        Ok(ClearOutcome::new(appended, swept))
    }

    /// This layout has no directory, since the originals keep none.
    pub(crate) async fn sessions(&self, _: &SessionQuery) -> Result<SessionPage, Error> {
        Err(no_directory())
    }

    /// Adds nothing: a list has the first words, and the number of records is known only from the whole item.
    #[allow(clippy::unused_async, reason = "the other layout reads")]
    pub(crate) async fn read_contents(&self, _: &mut [SessionInfo]) -> Result<Cost, Error> {
        Ok(Cost::default())
    }

    pub(crate) async fn session(&self, _: &SessionId) -> Result<Option<SessionInfo>, Error> {
        Err(no_directory())
    }

    pub(crate) async fn update_session(&self, _: &SessionId, _: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        Err(no_directory())
    }

    fn is_expired(&self, state: &State) -> bool {
        state.expires_at.is_some_and(|at| at <= self.clock.now().wall)
    }
}

/// The dialect of a new session, if the keys' names imply it: LangChain Python's and LangChain.js's own names differ.
pub(crate) fn dialect_of_keys<'a>(mut keys: impl Iterator<Item = &'a str>) -> Option<Dialect> {
    let partition_key = keys.next()?;
    if partition_key == LIST_PYTHON_KEY || keys.any(|name| name == LIST_PYTHON_KEY) {
        return Some(Dialect::Python);
    }
    (partition_key == LIST_PARTITION_KEY).then_some(Dialect::Js)
}

fn no_directory() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a table of the list layout has no directory of sessions, so they have no owner and no title; list all sessions \
         (`chat-memory sessions --all`), or migrate them to a table of the turns layout",
    )
}

fn attributes(item: Option<&Item>) -> Option<&Attributes> {
    item.map(|item| &item.attributes)
}

fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}
