//! Idempotency keys.

use std::sync::Arc;

use serde_json::{Map, json};

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, saying, texts};
use crate::conformance::{Failure, Trial};
use crate::message::Message;
use crate::store::Append;

cases! {
    a_repeated_key_is_stored_once: "an append repeated under its key is stored once, and answered as the first was (promise 2)",
    a_key_with_another_body_is_refused: "the same key with other messages, metadata or rewind is an error, and nothing is written (promise 2)",
    a_key_belongs_to_its_session: "the same key in another session is another append",
    a_key_knows_its_body_in_any_field_order: "a body whose JSON has its fields in another order is the same body",
    a_key_used_at_once_is_stored_once: "many tasks with one key at the same time: one record, and the same number for all (promise 2)",
    a_key_is_known_after_a_clear: "a repeat after the record was cleared and swept is recognised, and brings nothing back (promises 2, 5)",
    a_key_is_known_far_back: "a repeat is recognised behind a hundred later records (promise 2)",
    a_key_comes_before_the_position: "a repeat of an append that landed is answered as such, though its expected position is old by now (promise 2)",
    a_repeated_clear_clears_once: "a clear repeated under its key does not clear what came after it (promise 2)",
}

async fn a_repeated_key_is_stored_once(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    say(&trial.store, &session, "before").await?;
    let append = saying("once").with_key("request-1");
    let first = trial.store.append(&session, &append).await?;
    ensure!(!first.repeated, "the first append under a key says that it was there already");
    say(&trial.store, &session, "after").await?;
    for handle in trial.handles(1).await? {
        let again = handle.append(&session, &append).await?;
        ensure!(again.repeated && !again.started, "a repeat does not say that it was there already");
        ensure_eq!(again.seq, first.seq, "the number that a repeat is given");
        ensure_eq!(again.position, first.position, "the position that a repeat is given: behind its own record");
        ensure_eq!(again.created_at, first.created_at, "the time that a repeat is given");
    }
    ensure_eq!(texts(&trial.store, &session).await?, ["before", "once", "after"], "the messages");
    Ok(())
}

async fn a_key_with_another_body_is_refused(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let metadata = Map::from_iter([("a".to_owned(), json!(1))]);
    trial.store.append(&session, &saying("this").with_key("k").with_metadata(metadata.clone())).await?;
    let other = Map::from_iter([("a".to_owned(), json!(1.0))]);
    for (what, append) in [
        ("another text", saying("that").with_metadata(metadata.clone())),
        ("a message more", Append::new([Message::user("this"), Message::user("")]).with_metadata(metadata.clone())),
        ("another role", Append::new([Message::assistant("this")]).with_metadata(metadata.clone())),
        ("no metadata", saying("this")),
        ("1.0 for 1 in the metadata", saying("this").with_metadata(other)),
        ("a clear", Append::replace_all([Message::user("this")]).with_metadata(metadata)),
    ] {
        ensure_err!(trial.store.append(&session, &append.with_key("k")).await, KeyReused, "a key with another body ({what})");
    }
    ensure_eq!(texts(&trial.store, &session).await?, ["this"], "the messages after the errors");
    ensure_eq!(all(&trial.store, &session).await?.position.next(), 1, "the next number after the errors");
    Ok(())
}

async fn a_key_belongs_to_its_session(trial: Trial) -> Result<(), Failure> {
    let (one, two) = (trial.session()?, trial.session()?);
    for (session, text) in [(&one, "one"), (&two, "two")] {
        let appended = trial.store.append(session, &saying(text).with_key("k")).await?;
        ensure!(!appended.repeated, "a key used in another session is taken for a repeat");
        ensure_eq!(texts(&trial.store, session).await?, [text], "the messages");
    }
    Ok(())
}

async fn a_key_knows_its_body_in_any_field_order(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let message = |text| Message::from_json(text).map_err(|e| Failure::new(e.to_string()));
    let first = message(r#"{"role":"user","content":"x","a":{"p":1,"q":[{"r":1,"s":2}]},"b":2}"#)?;
    let again = message(r#"{"b":2,"a":{"q":[{"s":2,"r":1}],"p":1},"content":"x","role":"user"}"#)?;
    trial.store.append(&session, &Append::new([first]).with_key("k")).await?;
    let appended = trial.store.append(&session, &Append::new([again]).with_key("k")).await?;
    ensure!(appended.repeated, "a body with its fields in another order is taken for another append");
    ensure_eq!(all(&trial.store, &session).await?.records.len(), 1, "the number of records");
    Ok(())
}

async fn a_key_used_at_once_is_stored_once(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let handles = trial.handles(3).await?;
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
        ensure!(answers.iter().all(|(seq, _)| *seq == first), "one key was given several numbers: {answers:?}");
        let fresh = answers.iter().filter(|(_, repeated)| !repeated).count();
        ensure!(fresh <= 1, "{fresh} of the appends under one key say that they were the first");
        let texts = texts(&handles[1], &session).await?;
        let stored = texts.iter().filter(|text| **text == format!("once {round}")).count();
        ensure_eq!(stored, 1, "how often the message is stored");
        ensure_eq!(texts.len() as u64, (round + 1) * 5, "the messages in all");
    }
    Ok(())
}

async fn a_key_is_known_after_a_clear(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let append = saying("gone").with_key("k");
    let first = trial.store.append(&session, &append).await?;
    trial.store.append(&session, &Append::clear()).await?;
    ensure!(
        trial.store.append(&session, &append).await?.repeated,
        "a repeat after a clear, before its sweep, is taken for a new append"
    );
    trial.store.sweep(&session).await?;
    for handle in trial.handles(1).await? {
        let again = handle.append(&session, &append).await?;
        ensure!(again.repeated, "a repeat after a clear and its sweep is taken for a new append");
        ensure_eq!(again.seq, first.seq, "the number that the repeat is given");
    }
    ensure_eq!(texts(&trial.store, &session).await?, Vec::<String>::new(), "what a repeat brought back after a clear");
    Ok(())
}

async fn a_key_is_known_far_back(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let append = saying("far back").with_key("k");
    trial.store.append(&session, &append).await?;
    count_to(&trial.store, &session, 100).await?;
    let again = trial.open().await?.append(&session, &append).await?;
    ensure!(again.repeated && again.seq == 0, "a repeat behind a hundred records is taken for a new append");
    ensure_eq!(all(&trial.store, &session).await?.records.len(), 101, "the number of records");
    Ok(())
}

async fn a_key_comes_before_the_position(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let position = say(&trial.store, &session, "a").await?.position;
    let append = saying("b").with_key("k").expecting(position);
    let first = trial.store.append(&session, &append).await?;
    say(&trial.store, &session, "c").await?;
    let again = trial.open().await?.append(&session, &append).await?;
    ensure!(again.repeated && again.seq == first.seq, "the repeat is not answered as the first was");
    // Under a new key, the same append is late.
    ensure_err!(trial.store.append(&session, &append.with_key("k2")).await, Conflict, "the same position under another key");
    ensure_eq!(texts(&trial.store, &session).await?, ["a", "b", "c"], "the messages");
    Ok(())
}

async fn a_repeated_clear_clears_once(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    say(&trial.store, &session, "before").await?;
    let clear = Append::clear().with_key("clear");
    trial.store.append(&session, &clear).await?;
    say(&trial.store, &session, "after").await?;
    let again = trial.open().await?.append(&session, &clear).await?;
    ensure!(again.repeated, "a repeated clear is taken for a new one");
    trial.store.sweep(&session).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["after"], "the messages after a clear was repeated");
    Ok(())
}
