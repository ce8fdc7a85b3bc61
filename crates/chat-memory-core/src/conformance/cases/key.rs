//! Idempotency keys.

use std::sync::Arc;

use serde_json::{Map, json};

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, saying, texts};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;
use crate::store::Append;

pub(super) async fn repeated_key_is_stored_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    say(&context.store, &session, "before").await?;
    let append = saying("once").with_key("request-1");
    let first = context.store.append(&session, &append).await?;
    ensure!(!first.repeated, "the first append with a key is reported as a repeat");
    say(&context.store, &session, "after").await?;
    for handle in context.handles(1).await? {
        let again = handle.append(&session, &append).await?;
        ensure!(again.repeated && !again.started, "a repeat is not reported as one");
        ensure_eq!(again.seq, first.seq, "the number returned for a repeat");
        ensure_eq!(again.position, first.position, "the position returned for a repeat: after its own record");
        ensure_eq!(again.created_at, first.created_at, "the time returned for a repeat");
    }
    ensure_eq!(texts(&context.store, &session).await?, ["before", "once", "after"], "the messages");
    Ok(())
}

pub(super) async fn key_with_another_body_is_refused(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let metadata = Map::from_iter([("a".to_owned(), json!(1))]);
    context.store.append(&session, &saying("this").with_key("k").with_metadata(metadata.clone())).await?;
    let other = Map::from_iter([("a".to_owned(), json!(1.0))]);
    for (what, append) in [
        ("another text", saying("that").with_metadata(metadata.clone())),
        ("a message more", Append::new([Message::user("this"), Message::user("")]).with_metadata(metadata.clone())),
        ("another role", Append::new([Message::assistant("this")]).with_metadata(metadata.clone())),
        ("no metadata", saying("this")),
        ("1.0 for 1 in the metadata", saying("this").with_metadata(other)),
        ("a clear", Append::replace_all([Message::user("this")]).with_metadata(metadata)),
    ] {
        ensure_err!(context.store.append(&session, &append.with_key("k")).await, KeyReused, "a key with another body ({what})");
    }
    ensure_eq!(texts(&context.store, &session).await?, ["this"], "the messages after the errors");
    ensure_eq!(all(&context.store, &session).await?.position.next(), 1, "the next number after the errors");
    Ok(())
}

pub(super) async fn key_applies_to_its_session_only(context: TestContext) -> Result<(), Failure> {
    let (one, two) = (context.session()?, context.session()?);
    for (session, text) in [(&one, "one"), (&two, "two")] {
        let appended = context.store.append(session, &saying(text).with_key("k")).await?;
        ensure!(!appended.repeated, "a key used in another session is taken for a repeat");
        ensure_eq!(texts(&context.store, session).await?, [text], "the messages");
    }
    Ok(())
}

pub(super) async fn key_ignores_the_field_order_of_its_body(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let message = |text| Message::from_json(text).map_err(|e| Failure::new(e.to_string()));
    let first = message(r#"{"role":"user","content":"x","a":{"p":1,"q":[{"r":1,"s":2}]},"b":2}"#)?;
    let again = message(r#"{"b":2,"a":{"q":[{"s":2,"r":1}],"p":1},"content":"x","role":"user"}"#)?;
    context.store.append(&session, &Append::new([first]).with_key("k")).await?;
    let appended = context.store.append(&session, &Append::new([again]).with_key("k")).await?;
    ensure!(appended.repeated, "a body with its fields in another order is taken for another append");
    ensure_eq!(all(&context.store, &session).await?.records.len(), 1, "the number of records");
    Ok(())
}

pub(super) async fn key_used_concurrently_is_stored_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let handles = context.handles(3).await?;
    for round in 0..4_u64 {
        let tasks = (0..12).map(|task| {
            let (handle, session) = (Arc::clone(&handles[task % 4]), session.clone());
            tokio::spawn(async move {
                // Others write in between, so that the tasks try different numbers.
                if task < 4 {
                    say(&handle, &session, format!("noise {round}/{task}")).await?;
                }
                let append = saying(format!("once {round}")).with_key(format!("key {round}"));
                let appended = handle.append(&session, &append).await?;
                Ok::<_, Failure>((appended.seq, appended.repeated))
            })
        });
        let answers = all_of(tasks).await?;
        let first = answers[0].0;
        ensure!(answers.iter().all(|(seq, _)| *seq == first), "one key got several numbers: {answers:?}");
        let fresh = answers.iter().filter(|(_, repeated)| !repeated).count();
        ensure!(fresh <= 1, "{fresh} appends with one key are reported as the first");
        let texts = texts(&handles[1], &session).await?;
        let stored = texts.iter().filter(|text| **text == format!("once {round}")).count();
        ensure_eq!(stored, 1, "how often the message is stored");
        ensure_eq!(texts.len() as u64, (round + 1) * 5, "the number of messages");
    }
    Ok(())
}

pub(super) async fn key_is_recognised_after_a_clear(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let append = saying("gone").with_key("k");
    let first = context.store.append(&session, &append).await?;
    context.store.append(&session, &Append::clear()).await?;
    ensure!(
        context.store.append(&session, &append).await?.repeated,
        "a repeat after a clear, before its sweep, is taken for a new append"
    );
    context.store.sweep(&session).await?;
    for handle in context.handles(1).await? {
        let again = handle.append(&session, &append).await?;
        ensure!(again.repeated, "a repeat after a clear and its sweep is taken for a new append");
        ensure_eq!(again.seq, first.seq, "the number returned for the repeat");
    }
    ensure_eq!(texts(&context.store, &session).await?, Vec::<String>::new(), "what a repeat restored after a clear");
    Ok(())
}

pub(super) async fn key_is_recognised_after_many_records(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let append = saying("far back").with_key("k");
    context.store.append(&session, &append).await?;
    count_to(&context.store, &session, 100).await?;
    let again = context.open().await?.append(&session, &append).await?;
    ensure!(again.repeated && again.seq == 0, "a repeat after a hundred records is taken for a new append");
    ensure_eq!(all(&context.store, &session).await?.records.len(), 101, "the number of records");
    Ok(())
}

pub(super) async fn repeated_key_wins_over_an_outdated_position(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let position = say(&context.store, &session, "a").await?.position;
    let append = saying("b").with_key("k").with_expected(position);
    let first = context.store.append(&session, &append).await?;
    say(&context.store, &session, "c").await?;
    let again = context.open().await?.append(&session, &append).await?;
    ensure!(again.repeated && again.seq == first.seq, "the repeat does not return what the first returned");
    // With a new key, the same append is too late.
    ensure_err!(context.store.append(&session, &append.with_key("k2")).await, Conflict, "the same position with another key");
    ensure_eq!(texts(&context.store, &session).await?, ["a", "b", "c"], "the messages");
    Ok(())
}

pub(super) async fn repeated_clear_clears_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    say(&context.store, &session, "before").await?;
    let clear = Append::clear().with_key("clear");
    context.store.append(&session, &clear).await?;
    say(&context.store, &session, "after").await?;
    let again = context.open().await?.append(&session, &clear).await?;
    ensure!(again.repeated, "a repeated clear is taken for a new one");
    context.store.sweep(&session).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["after"], "the messages after a clear was repeated");
    Ok(())
}
