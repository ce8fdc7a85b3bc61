//! Appends that end in doubt, settled here where they can be.

use std::time::Duration;

use chat_memory::store::Appended;
use chat_memory::{Append, ChatStore, Error, ErrorKind, SessionId};

/// How often an append in doubt is repeated through its ticket. Each attempt has the store's own repeats and deadline inside.
const REPEATS: u32 = 3;

/// Appends, and repeats through the ticket what ended in doubt.
///
/// # Errors
/// As [`ChatStore::append`]: in doubt still, when no repeat could tell.
pub async fn append_surely(store: &dyn ChatStore, session: &SessionId, append: Append) -> Result<Appended, Error> {
    let doubt = match store.append(session, &append).await {
        Err(error) if error.is_in_doubt() => error,
        settled => return settled,
    };
    let Some(ticket) = doubt.ticket().copied() else { return Err(doubt) };
    let repeat = append.with_ticket(ticket);
    for attempt in 1..=REPEATS {
        tokio::time::sleep(Duration::from_millis(200) * attempt).await;
        match store.append(session, &repeat).await {
            // These say nothing of the first attempt, so the doubt stands.
            Err(error) if error.is_in_doubt() || error.is_retryable() || error.kind() == ErrorKind::AccessDenied => {}
            settled => return settled,
        }
    }
    Err(doubt)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use chat_memory::Message;
    use chat_memory::store::{AppendId, Capabilities, History, InMemoryStore, Load, Ticket};

    use super::*;

    /// A store whose first answers are lost; what it was told to write is written, or not.
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
                chat_memory::store::Identity::Ticket(ticket) => *ticket,
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
            let appended = append_surely(&store, &session, Append::new([Message::user("once")])).await;
            assert_eq!(appended.is_ok(), lose < 100);
            assert!(appended.map_or_else(|e| e.ticket().is_some(), |a| a.seq == 0));
            let history = store.load(&session, &Load::all()).await.expect("in memory");
            assert_eq!(history.messages().count(), 1, "lands: {lands}, lost: {lose}");
        }
    }
}
