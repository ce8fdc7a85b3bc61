//! A session through a policy, reading no more than it takes.

use crate::error::Error;
use crate::session::SessionId;
use crate::store::{ChatStore, Load, Position, Reach, Receipt};

use super::policy::{Limit, Policy, Window};

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
    mut load: Load,
) -> Result<Recalled, Error> {
    let mut receipt = Receipt::default();
    let mut read_before = None;
    load.reach = policy.reach();
    loop {
        let history = store.load(session, &load).await?;
        receipt += history.receipt;
        let (complete, position) = (history.complete, history.position.clone());
        let messages = history.into_messages();
        let read = messages.len();
        let wider = wider(policy, &messages);
        let (mut window, settled) = policy.window_of(messages);
        if complete || settled {
            window.left_out.unread = !complete;
            return Ok(Recalled { window, position, receipt });
        }
        // A store that brings no more when asked for more would keep us here for ever.
        load.reach = if read_before.is_some_and(|before| read <= before) { Reach::All } else { wider };
        read_before = Some(read);
    }
}

/// Twice as far back as what was read. Doubling costs at most as much again as the last load alone.
fn wider(policy: &Policy, read: &[crate::Message]) -> Reach {
    match policy.reach() {
        Reach::All => Reach::All,
        Reach::Messages(n) => Reach::Messages(n.max(read.len()).saturating_mul(2)),
        Reach::Turns(n) => Reach::Turns(n.max(read.len()).saturating_mul(2)),
        Reach::Weight { budget, of } => {
            debug_assert!(matches!(policy.limit(), Limit::Tokens { .. }));
            let sum = read.iter().map(|message| of(message)).fold(0, u64::saturating_add);
            Reach::Weight { budget: budget.max(sum).saturating_mul(2), of }
        }
    }
}

#[cfg(test)]
#[path = "recall_tests.rs"]
mod tests;
