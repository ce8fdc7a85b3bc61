//! A session through a policy, reading no more than it takes.

use crate::error::Error;
use crate::message::Message;
use crate::session::SessionId;
use crate::store::{ChatStore, History, Load, Position, Reach, Receipt, Record};

use super::policy::{LeftOut, Policy, View, Window};

/// How many messages more are read where it is in question only whether the window's first messages continue what is before them.
const LITTLE: usize = 8;

/// What a session's memory is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recalled {
    /// What the model is shown.
    pub window: Window,
    /// Where the session's log was: the position to expect in an append that must not cross another's.
    pub position: Position,
    /// What it cost.
    pub receipt: Receipt,
}

/// Takes a session's memory from a store, through a policy. It is exactly [`Policy::window`] of the whole history, but
/// only as much is read as the window takes: one load, or a few where so many messages have to be left out that the first
/// does not fill the window.
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
pub async fn recall<S: ChatStore + ?Sized>(store: &S, session: &SessionId, policy: &Policy) -> Result<Recalled, Error> {
    recall_by(store, session, policy, Load::all()).await
}

/// The same, loading as `load` says in all but its reach, which is the policy's: eventually consistent, or [written
/// singly](Load::written_singly).
///
/// # Errors
/// As [`ChatStore::load`].
pub async fn recall_by<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    policy: &Policy,
    load: Load,
) -> Result<Recalled, Error> {
    let (history, view) = read(store, session, policy, load).await?;
    let (position, receipt) = (history.position.clone(), history.receipt);
    Ok(Recalled { window: view.window(history.into_messages()), position, receipt })
}

/// What a session's memory is, in the records that it comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecalledRecords {
    /// All that was read, with what it cost.
    pub history: History,
    /// Of each of the history's messages, whether the model is shown it.
    pub shown: Vec<bool>,
    /// The tokens of those that are shown, where the policy counts them.
    pub tokens: Option<u64>,
    /// What is not shown.
    pub left_out: LeftOut,
}

impl RecalledRecords {
    /// All of what was read, as it is stored.
    pub fn whole(history: History) -> Self {
        let shown = vec![true; history.messages().count()];
        Self { history, shown, tokens: None, left_out: LeftOut::default() }
    }

    /// Each record, with those of its messages that the model is shown, each with when it was
    /// [sent](Record::message_times).
    pub fn records(&self) -> impl Iterator<Item = (&Record, Vec<(&Message, Option<i64>)>)> {
        let mut shown = self.shown.iter();
        self.history.records.iter().map(move |record| {
            // The messages come first, so that no flag is taken for a message that is not there.
            let messages = record.messages.iter().zip(record.message_times()).zip(shown.by_ref());
            (record, messages.filter_map(|(message, shown)| shown.then_some(message)).collect())
        })
    }

    /// The messages that the model is shown, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.history.messages().zip(&self.shown).filter_map(|(message, shown)| shown.then_some(message))
    }
}

/// Takes a session's memory from a store as [`recall_by`] does, and gives the records with it: for showing where each message
/// comes from.
///
/// # Errors
/// As [`ChatStore::load`].
pub async fn recall_records<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    policy: &Policy,
    load: Load,
) -> Result<RecalledRecords, Error> {
    let (history, View { shown, tokens, left_out, .. }) = read(store, session, policy, load).await?;
    Ok(RecalledRecords { history, shown, tokens, left_out })
}

async fn read<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    policy: &Policy,
    mut load: Load,
) -> Result<(History, View), Error> {
    let mut receipt = Receipt::default();
    let mut read_before = None;
    load.reach = policy.reach();
    loop {
        let mut history = store.load(session, &load).await?;
        receipt += history.receipt;
        let messages: Vec<_> = history.messages().collect();
        let mut view = policy.view_of(&messages);
        if history.complete || view.settled {
            view.left_out.unread = !history.complete;
            history.receipt = receipt;
            return Ok((history, view));
        }
        // A store that brings no more when asked for more would keep us here for ever.
        let read = messages.len();
        let stuck = read_before.is_some_and(|before| read <= before);
        load.reach = if stuck { Reach::All } else { wider(policy, &messages, view.full && read_before.is_none()) };
        read_before = Some(read);
    }
}

/// Farther back than what was read: a little where only the start of the window is in question, else twice as far. Doubling costs at
/// most as much again as the last load alone.
fn wider(policy: &Policy, read: &[&Message], little: bool) -> Reach {
    let farther = |n: usize| if little { n.saturating_add(LITTLE) } else { n.saturating_mul(2) };
    match policy.reach() {
        Reach::All => Reach::All,
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
