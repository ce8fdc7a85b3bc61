//! Editing a question: two editors of one conversation never silently overwrite each other.

use chat_memory::store::{Append, InMemoryStore, Load};
use chat_memory::{ChatStore, ChatStoreExt, Error, Message, SessionId};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let store = InMemoryStore::new();
    let session = SessionId::new("trip")?;
    store.append(&session, &Append::new([Message::user("Where to in May?"), Message::assistant("To Lisbon.")])).await?;
    store.append(&session, &Append::new([Message::user("And in June?"), Message::assistant("To Oslo.")])).await?;

    // Two people view the conversation, and both edit the second question.
    let seen_by_ann = store.load(&session, &Load::all()).await?;
    let seen_by_bob = store.load(&session, &Load::all()).await?;
    let edit = |seen, question: &str| Append::rewind(seen, 1, [Message::user(question)]);

    store.append(&session, &edit(&seen_by_ann, "And in July?")?).await?;
    let conflict = store.append(&session, &edit(&seen_by_bob, "And in August?")?).await.expect_err("Ann was first");
    assert!(conflict.is_conflict());
    println!("Bob gets: {conflict}");

    let last = store.load(&session, &Load::last(1)).await?.into_messages();
    assert_eq!(last.last().map(Message::text), Some("And in July?".to_owned()));

    // Rewinding by one turn is an append too; nothing is overwritten.
    store.rewind_turns(&session, 1).await?;
    let left = store.load(&session, &Load::all()).await?;
    assert_eq!(left.messages().count(), 2);
    println!("after rewinding one turn, {} messages are left", left.messages().count());
    Ok(())
}
