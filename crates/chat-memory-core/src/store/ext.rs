//! Operations built on the store contract, for any store.

use std::time::Duration;

use async_trait::async_trait;

use super::new_entries::{AppendedNew, append_new};
use super::{Append, Appended, ChatStore, Load};
use crate::entry::Entry;
use crate::error::Error;
use crate::session::SessionId;

/// How often an append whose outcome is unknown is repeated with its ticket. Each attempt has the store's own retries and
/// deadline.
const REPEATS: u32 = 3;

/// The delay before the first repeat; it grows with each repeat.
const PAUSE: Duration = Duration::from_millis(200);

/// Convenience methods for any store.
#[async_trait]
pub trait ChatStoreExt: ChatStore {
    /// Removes the last `turns` turns, each from a message that [begins a turn](crate::Message::begins_turn) to the next; all of
    /// them if there are fewer. Returns `None` if there was nothing to remove.
    ///
    /// # Errors
    /// Conflict if another writer wrote in the meantime; otherwise as [`ChatStore::load`] and [`ChatStore::append`].
    async fn rewind_turns(&self, session: &SessionId, turns: usize) -> Result<Option<Appended>, Error> {
        let history = self.load(session, &Load::turns(turns)).await?;
        let Some(append) = Append::rewind_turns(&history, turns, None::<Entry>)? else { return Ok(None) };
        let mut appended = self.append(session, &append).await?;
        appended.cost += history.cost;
        Ok(Some(appended))
    }

    /// Removes the records from number `seq` on.
    ///
    /// # Errors
    /// Invalid if no visible record has this number; conflict if another writer wrote in the meantime; otherwise as
    /// [`ChatStore::load`] and [`ChatStore::append`].
    async fn rewind_to(&self, session: &SessionId, seq: u64) -> Result<Appended, Error> {
        let history = self.load(session, &Load::all().since(seq)).await?;
        let mut appended = self.append(session, &Append::rewind(&history, seq, None::<Entry>)?).await?;
        appended.cost += history.cost;
        Ok(appended)
    }

    /// Appends and, if the outcome is unknown, repeats the append with its ticket a few times. For callers that cannot hand on a
    /// ticket. It takes at most four times the store's own deadline.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory::{Append, ChatStoreExt, Message, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let turn = Append::new([Message::user("Where to?"), Message::assistant("To Lisbon.")]);
    /// let appended = InMemoryStore::new().append_with_retry(&SessionId::new("trip")?, turn).await?;
    /// assert_eq!(appended.seq, 0);
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChatStore::append`]: in doubt, with the ticket, if no repeat could determine the outcome.
    async fn append_with_retry(&self, session: &SessionId, append: Append) -> Result<Appended, Error> {
        let doubt = match self.append(session, &append).await {
            Err(error) if error.is_in_doubt() => error,
            settled => return settled,
        };
        let Some(ticket) = doubt.ticket().copied() else { return Err(doubt) };
        let repeat = append.with_ticket(ticket);
        for attempt in 1..=REPEATS {
            tokio::time::sleep(PAUSE * attempt).await;
            match self.append(session, &repeat).await {
                // These errors do not reveal the outcome of the first attempt, so it stays in doubt.
                Err(error) if error.is_in_doubt() || error.is_retryable() || error.is_access_denied() => {}
                settled => return settled,
            }
        }
        Err(doubt)
    }

    /// Appends the entries whose [ids](Entry::id) the session does not contain yet, so that overlapping batches, such as the lines
    /// of a growing transcript, are stored once.
    ///
    /// An entry is left out if a visible record of the last 24 hours ([`KEY_LIFETIME_MS`](super::KEY_LIFETIME_MS), as for
    /// idempotency keys) has one with the same id, or if it comes a second time in the append. Entries without an id are always
    /// appended. What was rewound or cleared may be appended again. If another writer appends in the meantime, what is new is read
    /// and the append is tried again. A repeat of a call is safe for all entries with an id, whatever the outcome of the first one.
    ///
    /// It reads the records of the last 24 hours, from the newest back to the one that completes the ids.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory::{Append, ChatStoreExt, Entry, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let (store, session) = (InMemoryStore::new(), SessionId::new("agent")?);
    /// let line = |n: u32| Entry::from_json(&format!(r#"{{"type": "progress", "uuid": "line-{n}"}}"#));
    /// store.append_new(&session, Append::new([line(1)?, line(2)?])).await?;
    /// let again = store.append_new(&session, Append::new([line(2)?, line(3)?])).await?;
    /// assert_eq!(again.new, [false, true]);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Key reused, naming the id, if an entry with a known id has another body; invalid for an append that rewinds, or that has an
    /// idempotency key or a ticket, since the ids take their place; conflict if the append expects another position and something
    /// is new; contended if other writers kept it from getting through; otherwise as [`ChatStore::load`] and
    /// [`append_with_retry`](Self::append_with_retry). After an error, repeat the call.
    async fn append_new(&self, session: &SessionId, append: Append) -> Result<AppendedNew, Error> {
        append_new(self, session, append).await
    }
}

impl<S: ChatStore + ?Sized> ChatStoreExt for S {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::message::Message;
    use crate::store::{AppendId, Capabilities, History, Identity, InMemoryStore, Ticket};

    /// A store whose first responses are lost, with the write stored or not.
    #[derive(Debug)]
    struct Lossy {
        store: InMemoryStore,
        lose: AtomicUsize,
        lands: bool,
    }

    #[async_trait]
    impl ChatStore for Lossy {
        fn capabilities(&self) -> Capabilities {
            self.store.capabilities()
        }

        async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
            let ticket = match append.identity() {
                Identity::Ticket(ticket) => *ticket,
                _ => Ticket::new(AppendId::random(), 0),
            };
            let through = append.clone().with_ticket(ticket);
            if self.lose.load(Ordering::SeqCst) == 0 {
                return self.store.append(session, &through).await;
            }
            self.lose.fetch_sub(1, Ordering::SeqCst);
            if self.lands {
                self.store.append(session, &through).await?;
            }
            Err(Error::in_doubt(ticket, "the answer was lost"))
        }

        async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
            self.store.load(session, load).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_doubles_nothing() {
        for (lands, lose) in [(true, 1), (false, 1), (true, 3), (false, 3), (true, 100)] {
            let store = Lossy { store: InMemoryStore::new(), lose: AtomicUsize::new(lose), lands };
            let session = SessionId::random();
            let appended = store.append_with_retry(&session, Append::new([Message::user("once")])).await;
            assert_eq!(appended.is_ok(), lose < 100);
            assert!(appended.map_or_else(|e| e.ticket().is_some(), |a| a.seq == 0));
            let history = store.load(&session, &Load::all()).await.expect("in memory");
            assert_eq!(history.messages().count(), 1, "lands: {lands}, lost: {lose}");
        }
    }
}
