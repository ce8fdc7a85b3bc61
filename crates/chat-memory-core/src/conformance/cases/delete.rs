//! Deleting a session.

use std::sync::Arc;
use std::time::Duration;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, saying, texts};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;

const NOTHING: [String; 0] = [];

pub(super) async fn deleted_session_is_empty(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    context.store.delete(&session).await?;
    ensure_eq!(texts(&context.store, &session).await?, NOTHING, "the messages of a session deleted before it began");
    count_to(&context.store, &session, 5).await?;
    context.store.delete(&session).await?;
    context.store.delete(&session).await?;
    for handle in context.handles(1).await? {
        let history = all(&handle, &session).await?;
        ensure!(history.is_empty() && history.complete, "a deleted session has messages or is not complete");
    }
    Ok(())
}

pub(super) async fn delete_reports_whether_the_session_existed(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    for round in 0..3 {
        for handle in context.handles(1).await? {
            let deleted = handle.delete(&session).await?;
            ensure_eq!((deleted.existed, deleted.records), (false, 0), "the result of deleting nothing (round {round})");
        }
        count_to(&context.store, &session, 3).await?;
        let deleted = context.open().await?.delete(&session).await?;
        ensure!(deleted.existed, "a delete of a session with messages reports that it did not exist");
        // A clear before them may count, too.
        ensure!(deleted.records >= 3, "a delete of three records reports {} erased", deleted.records);
    }
    Ok(())
}

pub(super) async fn deleted_session_can_be_restarted(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let mut before = 0;
    for round in 0..3 {
        let first = say(&context.store, &session, format!("{round}/a")).await?;
        ensure!(round == 0 || first.seq > before, "the number {} was already used before the delete", first.seq);
        before = say(&context.open().await?, &session, format!("{round}/b")).await?.seq;
        let want = [format!("{round}/a"), format!("{round}/b")];
        ensure_eq!(texts(&context.store, &session).await?, want, "the messages after {round} deletes");
        context.store.delete(&session).await?;
    }
    Ok(())
}

pub(super) async fn position_from_before_a_delete_conflicts(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let empty = all(&context.store, &session).await?.position;
    count_to(&context.store, &session, 3).await?;
    let before = all(&context.store, &session).await?.position;
    context.open().await?.delete(&session).await?;
    for old in [empty, before] {
        let result = context.store.append(&session, &saying("x").with_expected(old)).await;
        ensure_err!(result, Conflict, "a position from before a delete");
    }
    ensure_eq!(texts(&context.store, &session).await?, NOTHING, "the messages after the conflicts");
    let now = all(&context.store, &session).await?.position;
    context.store.append(&session, &saying("y").with_expected(now)).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["y"], "the messages after an append at the position after the delete");
    Ok(())
}

pub(super) async fn key_is_recognised_after_a_delete(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let append = saying("gone").with_key("k");
    context.store.append(&session, &append).await?;
    context.store.delete(&session).await?;
    let again = context.open().await?.append(&session, &append).await?;
    ensure!(again.repeated, "a repeat of a deleted append is taken for a new one");
    ensure_eq!(texts(&context.store, &session).await?, NOTHING, "what a repeat restored after a delete");
    Ok(())
}

pub(super) async fn append_is_ordered_before_or_after_a_delete(context: TestContext) -> Result<(), Failure> {
    let handles = context.handles(2).await?;
    for _ in 0..6 {
        let session = context.session()?;
        count_to(&context.store, &session, 2).await?;
        let deleting = {
            let (handle, session) = (Arc::clone(&handles[1]), session.clone());
            tokio::spawn(async move { Ok::<_, Failure>(handle.delete(&session).await?) })
        };
        let mut appended = Vec::new();
        for i in 0..6 {
            // Some before the delete, some while it runs, some after it.
            tokio::time::sleep(Duration::from_millis(i % 2)).await;
            appended.push((say(&handles[2], &session, format!("during {i}")).await?.seq, format!("during {i}")));
        }
        all_of([deleting]).await?;
        let history = all(&context.store, &session).await?;
        let seen: Vec<_> = history.messages().map(Message::text).collect();
        // The delete's own number is the one that no append received.
        let given = |seq: u64| seq < 2 || appended.iter().any(|(other, _)| *other == seq);
        let Some(deleted) = (0..history.position.next()).find(|seq| !given(*seq)) else {
            return Err(Failure::new("a delete of a session with messages left no record"));
        };
        let after = appended.iter().filter(|(seq, _)| *seq > deleted);
        let want: Vec<_> = after.map(|(_, text)| text.clone()).collect();
        ensure_eq!(seen, want, "the messages after a delete with number {deleted} among appends");
    }
    Ok(())
}
