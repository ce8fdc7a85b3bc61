//! Loads a session through a policy, reading no more than needed.

use crate::entry::Entry;
use crate::error::Error;
use crate::message::Message;
use crate::session::SessionId;
use crate::store::{ChatStore, Cost, History, Load, Position, Reach, Record};
use crate::timestamp::Timestamp;

use super::policy::{Omitted, Policy, View, Window};

/// How many more messages are read if the only question is whether the window's first messages continue what precedes them.
const LITTLE: usize = 8;

/// A session loaded through a policy.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recall {
    /// What the model is shown.
    pub window: Window,
    /// The position of the session's log: pass it to `with_expected` so that an append is refused if the session was modified since.
    pub position: Position,
    /// What it cost.
    pub cost: Cost,
}

/// Loads a session through a policy. The result is exactly [`Policy::window`] of the whole history, but only as much is read as
/// the window needs: one load, or a few if the first does not fill the window because messages have to be left out.
///
/// ```
/// use chat_memory::memory::{Policy, recall};
/// use chat_memory::store::{Append, ChatStore, InMemoryStore};
/// use chat_memory::{Message, SessionId};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (store, session) = (InMemoryStore::new(), SessionId::new("demo")?);
/// for n in 0..500 {
///     store.append(&session, &Append::new([Message::user(format!("{n}?")), Message::assistant(format!("{n}!"))])).await?;
/// }
/// let recalled = recall(&store, &session, &Policy::last_turns(2)).await?;
/// assert_eq!(recalled.window.messages.len(), 4);
/// assert!(recalled.window.left_out.unread, "the 498 turns before them were not read");
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`ChatStore::load`].
pub async fn recall<S: ChatStore + ?Sized>(store: &S, session: &SessionId, policy: &Policy) -> Result<Recall, Error> {
    recall_with(store, session, policy, Load::all()).await
}

/// Like [`recall`], with the options of `load` except its reach, which is the policy's: eventually consistent, or [written
/// singly](Load::single_message_records).
///
/// # Errors
/// As [`ChatStore::load`].
pub async fn recall_with<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    policy: &Policy,
    load: Load,
) -> Result<Recall, Error> {
    let (history, view) = read(store, session, policy, load).await?;
    let (position, cost) = (history.position.clone(), history.cost);
    Ok(Recall { window: view.window(history.into_messages()), position, cost })
}

/// A session loaded through a policy, with the records that its messages come from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecallRecords {
    /// Everything that was read, with what it cost.
    pub history: History,
    /// For each entry of the history, whether it is shown: messages that the model is shown. A policy shows no other entries.
    pub shown: Vec<bool>,
    /// The tokens of the shown messages, if the policy counts them.
    pub tokens: Option<u64>,
    /// What is not shown.
    pub left_out: Omitted,
}

impl RecallRecords {
    /// Shows everything that was read, as it is stored.
    pub fn whole(history: History) -> Self {
        let shown = vec![true; history.entries().count()];
        Self { history, shown, tokens: None, left_out: Omitted::default() }
    }

    /// Iterates over the records, each with those of its entries that are shown and when they were [sent](Record::entry_times).
    pub fn records(&self) -> impl Iterator<Item = (&Record, Vec<(&Entry, Option<Timestamp>)>)> {
        let mut shown = self.shown.iter();
        self.history.records.iter().map(move |record| {
            // The entries come first in the zip, so that no flag is consumed without its entry.
            let entries = record.entries.iter().zip(record.entry_times()).zip(shown.by_ref());
            (record, entries.filter_map(|(entry, shown)| shown.then_some(entry)).collect())
        })
    }

    /// Iterates over the messages that the model is shown, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.history.entries().zip(&self.shown).filter(|(_, shown)| **shown).filter_map(|(entry, _)| entry.as_message())
    }
}

/// Loads a session as [`recall_with`] does, and keeps the records, to show where each message comes from.
///
/// # Errors
/// As [`ChatStore::load`].
pub async fn recall_records<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    policy: &Policy,
    load: Load,
) -> Result<RecallRecords, Error> {
    let (history, View { shown, tokens, left_out, .. }) = read(store, session, policy, load).await?;
    let mut messages = shown.into_iter();
    let is_shown = |entry: &Entry| entry.as_message().is_some() && messages.next().unwrap_or_default();
    let shown = history.entries().map(is_shown).collect();
    Ok(RecallRecords { history, shown, tokens, left_out })
}

async fn read<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    policy: &Policy,
    mut load: Load,
) -> Result<(History, View), Error> {
    let mut cost = Cost::default();
    let mut read_before = None;
    load.reach = policy.reach();
    loop {
        let mut history = store.load(session, &load).await?;
        cost += history.cost;
        let messages: Vec<_> = history.messages().collect();
        let mut view = policy.view_of(&messages);
        if history.complete || view.settled {
            view.left_out.unread = !history.complete;
            history.cost = cost;
            return Ok((history, view));
        }
        // Prevents an endless loop with a store that returns no more when asked for more.
        let read = messages.len();
        let stuck = read_before.is_some_and(|before| read <= before);
        load.reach = if stuck { Reach::All } else { wider(policy, &messages, view.full && read_before.is_none()) };
        read_before = Some(read);
    }
}

/// Reaches farther back than what was read: slightly, if only the start of the window is in question, otherwise twice as far.
/// Doubling reads at most as much again as the last load alone.
fn wider(policy: &Policy, read: &[&Message], little: bool) -> Reach {
    let farther = |n: usize| if little { n.saturating_add(LITTLE) } else { n.saturating_mul(2) };
    match policy.reach() {
        // No policy counts records.
        Reach::All | Reach::Records(_) => Reach::All,
        Reach::Messages(n) => Reach::Messages(farther(n.max(read.len()))),
        Reach::Turns(n) => Reach::Turns(farther(n.max(read.iter().filter(|message| message.begins_turn()).count()).max(1))),
        Reach::Weight { budget, of } => {
            let sum = read.iter().map(|message| of(message)).fold(0, u64::saturating_add);
            let budget = budget.max(sum).max(1);
            Reach::Weight { budget: if little { budget.saturating_add(budget / 4 + 1) } else { budget.saturating_mul(2) }, of }
        }
    }
}

#[cfg(test)]
#[path = "recall_tests.rs"]
mod tests;
