//! Forgetting a session.

use std::sync::Arc;
use std::time::Duration;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, saying, texts};
use crate::conformance::{Failure, Trial};
use crate::message::Message;

const NOTHING: [String; 0] = [];

cases! {
    a_deleted_session_is_empty: "a deleted session is an empty history on every handle, and deleting it again, or one that never was, is no error",
    a_delete_says_whether_there_was_anything: "a delete says that there was a session, and a repeat, or one of a session that never was, that there was none",
    a_deleted_session_can_start_again: "appends after a delete are seen, and nothing from before it; its numbers never come twice (promise 3)",
    a_position_before_a_delete_conflicts: "a position from before a delete never matches the log after it (promise 4)",
    a_key_is_known_after_a_delete: "a repeat of an append that was deleted since is recognised, and brings nothing back (promise 2)",
    an_append_is_before_or_after_a_delete: "an append concurrent with a delete is wholly gone or wholly there, and not lost if it came after (promises 4, 5)",
}

async fn a_deleted_session_is_empty(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    trial.store.delete(&session).await?;
    ensure_eq!(texts(&trial.store, &session).await?, NOTHING, "the messages of a session deleted before it began");
    count_to(&trial.store, &session, 5).await?;
    trial.store.delete(&session).await?;
    trial.store.delete(&session).await?;
    for handle in trial.handles(1).await? {
        let history = all(&handle, &session).await?;
        ensure!(history.is_empty() && history.complete, "a deleted session has messages, or says that there are more");
    }
    Ok(())
}

async fn a_delete_says_whether_there_was_anything(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    for round in 0..3 {
        for handle in trial.handles(1).await? {
            let deleted = handle.delete(&session).await?;
            ensure_eq!((deleted.existed, deleted.records), (false, 0), "what a delete of nothing says (round {round})");
        }
        count_to(&trial.store, &session, 3).await?;
        let deleted = trial.open().await?.delete(&session).await?;
        ensure!(deleted.existed, "a delete of a session with messages says that there was none");
        // A clear before them may count, too.
        ensure!(deleted.records >= 3, "a delete of three records says that it erased {}", deleted.records);
    }
    Ok(())
}

async fn a_deleted_session_can_start_again(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let mut before = 0;
    for round in 0..3 {
        let first = say(&trial.store, &session, format!("{round}/a")).await?;
        ensure!(round == 0 || first.seq > before, "the number {} was given before the delete", first.seq);
        before = say(&trial.open().await?, &session, format!("{round}/b")).await?.seq;
        let want = [format!("{round}/a"), format!("{round}/b")];
        ensure_eq!(texts(&trial.store, &session).await?, want, "the messages after {round} deletes");
        trial.store.delete(&session).await?;
    }
    Ok(())
}

async fn a_position_before_a_delete_conflicts(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let empty = all(&trial.store, &session).await?.position;
    count_to(&trial.store, &session, 3).await?;
    let before = all(&trial.store, &session).await?.position;
    trial.open().await?.delete(&session).await?;
    for old in [empty, before] {
        let result = trial.store.append(&session, &saying("x").expecting(old)).await;
        ensure_err!(result, Conflict, "a position from before a delete");
    }
    ensure_eq!(texts(&trial.store, &session).await?, NOTHING, "the messages after the conflicts");
    let now = all(&trial.store, &session).await?.position;
    trial.store.append(&session, &saying("y").expecting(now)).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["y"], "the messages after an append at the position after the delete");
    Ok(())
}

async fn a_key_is_known_after_a_delete(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let append = saying("gone").with_key("k");
    trial.store.append(&session, &append).await?;
    trial.store.delete(&session).await?;
    let again = trial.open().await?.append(&session, &append).await?;
    ensure!(again.repeated, "a repeat of a deleted append is taken for a new one");
    ensure_eq!(texts(&trial.store, &session).await?, NOTHING, "what a repeat brought back after a delete");
    Ok(())
}

async fn an_append_is_before_or_after_a_delete(trial: Trial) -> Result<(), Failure> {
    let handles = trial.handles(2).await?;
    for _ in 0..6 {
        let session = trial.session()?;
        count_to(&trial.store, &session, 2).await?;
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
        let history = all(&trial.store, &session).await?;
        let seen: Vec<_> = history.messages().map(Message::text).collect();
        // The delete's own number is the one that no append was given.
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
