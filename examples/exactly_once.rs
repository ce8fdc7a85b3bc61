//! A request handler that may be called twice for one request: the caller's idempotency key stores the turn once.

use chat_memory::store::sqlite::SqliteStore;
use chat_memory::store::{Append, Load};
use chat_memory::{ChatStore, Error, Message, SessionId};

/// Stores a turn once, however often it is called with the same key within a day.
async fn store_turn(
    store: &impl ChatStore,
    session: &SessionId,
    request: &str,
    question: &str,
    answer: &str,
) -> Result<u64, Error> {
    let turn = Append::new([Message::user(question), Message::assistant(answer)]).with_key(request);
    match store.append(session, &turn).await {
        Ok(appended) => Ok(appended.seq),
        // The deadline passed with the outcome unknown: the ticket resolves it, from this process or any other.
        Err(error) if error.is_in_doubt() => match error.ticket() {
            Some(ticket) => Ok(store.append(session, &turn.with_ticket(*ticket)).await?.seq),
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let store = SqliteStore::open("exactly_once.db").await?;
    let session = SessionId::random();

    let first = store_turn(&store, &session, "request-17", "What is 2 + 2?", "4.").await?;
    let again = store_turn(&store, &session, "request-17", "What is 2 + 2?", "4.").await?;
    assert_eq!(first, again);

    let error = store_turn(&store, &session, "request-17", "What is 3 + 3?", "6.").await.expect_err("the same key, another turn");
    assert!(error.is_key_reused());
    println!("{error}");

    let history = store.load(&session, &Load::all()).await?;
    assert_eq!(history.messages().count(), 2);
    println!("{} messages after two calls", history.messages().count());
    Ok(())
}
