//! Clearing, sweeping, replacing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, texts};
use crate::conformance::{Failure, Trial};
use crate::message::Message;
use crate::store::{Append, Load};

const NOTHING: [String; 0] = [];

cases! {
    a_clear_forgets_everything: "after a clear, every handle loads an empty history, complete, and the numbers go on (promise 5)",
    a_clear_of_an_empty_session: "clearing a session that holds nothing is no error, and neither is clearing twice",
    a_clear_takes_effect_before_its_sweep: "the clear's own append is the clear: nothing is seen even if its sweep never runs (promise 5)",
    a_session_goes_on_after_a_clear: "appends after a clear are seen, and nothing from before it, for every reach (promise 5)",
    a_sweep_changes_no_load: "a sweep may be repeated, may come late, and changes nothing that is loaded (promise 5)",
    loads_see_all_or_nothing_of_what_is_cleared: "a load during a clear sees everything or nothing of what it clears (promise 5)",
    an_append_is_before_or_after_a_clear: "an append concurrent with a clear is wholly gone or wholly there, as their numbers say (promise 5)",
    clears_at_once: "clears, sweeps and appends of several handles at once leave what came after the last clear (promise 5)",
    a_replacement_is_one_step: "replacing all messages is one record: a load sees the old or the new, never both or neither (promises 1, 5)",
    a_clear_heeds_its_position: "a clear may be made to conflict with what was written since (promise 4)",
}

async fn a_clear_forgets_everything(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 7).await?;
    let cleared = trial.store.clear(&session).await?;
    ensure_eq!(cleared.appended.seq, 7, "the clear's number: it is a record as any other");
    for handle in trial.handles(1).await? {
        for load in [Load::all(), Load::last(100), Load::turns(100)] {
            let history = handle.load(&session, &load).await?;
            ensure!(history.is_empty(), "{load:?} shows messages after a clear: {:?}", history.records);
            ensure!(history.complete, "{load:?} does not say that an empty view is complete");
            ensure_eq!(history.position, cleared.appended.position, "the position after a clear");
        }
    }
    ensure_eq!(say(&trial.store, &session, "on").await?.seq, 8, "the number after a clear");
    Ok(())
}

async fn a_clear_of_an_empty_session(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    for _ in 0..3 {
        trial.store.clear(&session).await?;
        ensure_eq!(texts(&trial.store, &session).await?, NOTHING, "the messages after a clear of nothing");
    }
    say(&trial.store, &session, "a").await?;
    ensure_eq!(texts(&trial.open().await?, &session).await?, ["a"], "the messages after clears of nothing and an append");
    Ok(())
}

async fn a_clear_takes_effect_before_its_sweep(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 5).await?;
    trial.store.append(&session, &Append::clear()).await?;
    for handle in trial.handles(1).await? {
        ensure_eq!(texts(&handle, &session).await?, NOTHING, "the messages after a clear that was not swept");
    }
    count_to(&trial.store, &session, 2).await?;
    ensure_eq!(
        texts(&trial.store, &session).await?,
        ["0", "1"],
        "the messages after a clear that was not swept, and two appends"
    );
    Ok(())
}

async fn a_session_goes_on_after_a_clear(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    for round in 0..3 {
        count_to(&trial.store, &session, 4).await?;
        trial.store.clear(&session).await?;
        let mut want = Vec::new();
        for i in 0..3 {
            say(&trial.store, &session, format!("{round}/{i}")).await?;
            want.push(format!("{round}/{i}"));
            for load in [Load::all(), Load::last(50), Load::turns(50)] {
                let history = trial.store.load(&session, &load).await?;
                ensure!(history.complete, "{load:?} after a clear does not say that it is complete");
                ensure_eq!(history.into_messages().iter().map(Message::text).collect::<Vec<_>>(), want, "{load:?} after a clear");
            }
        }
    }
    Ok(())
}

async fn a_sweep_changes_no_load(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    ensure_eq!(trial.store.sweep(&session).await?.records, 0, "the records swept of a session never written to");
    count_to(&trial.store, &session, 6).await?;
    ensure_eq!(trial.store.sweep(&session).await?.records, 0, "the records swept of a session never cleared");
    ensure_eq!(texts(&trial.store, &session).await?.len(), 6, "the messages after a sweep without a clear");
    trial.store.append(&session, &Append::clear()).await?;
    count_to(&trial.store, &session, 3).await?;
    let before = all(&trial.store, &session).await?;
    for _ in 0..3 {
        for handle in trial.handles(1).await? {
            handle.sweep(&session).await?;
            let after = all(&handle, &session).await?;
            ensure_eq!(after.records, before.records, "the records before and after a sweep");
            ensure_eq!(after.position, before.position, "the position before and after a sweep");
        }
    }
    ensure_eq!(trial.store.sweep(&session).await?.records, 0, "the records swept once all were");
    Ok(())
}

async fn loads_see_all_or_nothing_of_what_is_cleared(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let (writer, done) = (trial.open().await?, Arc::new(AtomicBool::new(false)));
    let readers = trial.handles(1).await?;
    let writing = {
        let (session, done) = (session.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let rounds = async {
                for round in 0..8 {
                    for i in 0..6 {
                        say(&writer, &session, format!("{round}/{i}")).await?;
                    }
                    writer.clear(&session).await?;
                }
                Ok::<_, Failure>(())
            };
            let result = rounds.await;
            done.store(true, Ordering::SeqCst);
            result
        })
    };
    let reading = readers.into_iter().map(|reader| {
        let (session, done) = (session.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut newest = (0, 0);
            while !done.load(Ordering::SeqCst) {
                let texts = texts(&reader, &session).await?;
                // Of one round only, from its first message on, without a gap.
                let round = texts.first().and_then(|text| text.split('/').next()).unwrap_or("none").to_owned();
                let want: Vec<String> = (0..texts.len()).map(|i| format!("{round}/{i}")).collect();
                ensure_eq!(texts, want, "a load during appends and clears");
                // And a round only grows, until all of it goes at once.
                if let Ok(round) = round.parse::<u32>() {
                    let seen = (round, texts.len());
                    ensure!(seen >= newest, "a load saw {seen:?} (round, messages) after another had seen {newest:?}");
                    newest = seen;
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    });
    let tasks: Vec<_> = reading.chain([writing]).collect();
    all_of(tasks).await?;
    ensure_eq!(texts(&trial.store, &session).await?, NOTHING, "the messages after the last clear");
    Ok(())
}

async fn an_append_is_before_or_after_a_clear(trial: Trial) -> Result<(), Failure> {
    let handles = trial.handles(2).await?;
    for _ in 0..8 {
        let session = trial.session()?;
        count_to(&trial.store, &session, 3).await?;
        let appending = {
            let (handle, session) = (Arc::clone(&handles[1]), session.clone());
            tokio::spawn(async move {
                let mut seqs = Vec::new();
                for i in 0..4 {
                    let pair = [Message::user(format!("{i}/0")), Message::assistant(format!("{i}/1"))];
                    seqs.push(handle.append(&session, &Append::new(pair)).await?.seq);
                }
                Ok::<_, Failure>(seqs)
            })
        };
        let cleared = handles[2].clear(&session).await?.appended.seq;
        let seqs = all_of([appending]).await?.concat();
        let mut want = Vec::new();
        for (i, _) in seqs.iter().enumerate().filter(|(_, seq)| **seq > cleared) {
            want.extend([format!("{i}/0"), format!("{i}/1")]);
        }
        for handle in &handles {
            ensure_eq!(
                texts(handle, &session).await?,
                want,
                "the messages after a clear with number {cleared} among appends {seqs:?}"
            );
        }
    }
    Ok(())
}

async fn clears_at_once(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 10).await?;
    let tasks = trial.handles(3).await?.into_iter().enumerate().map(|(task, handle)| {
        let session = session.clone();
        tokio::spawn(async move {
            let (mut appended, mut cleared) = (Vec::new(), 0);
            for i in 0..4 {
                let text = format!("{task}/{i}");
                appended.push((say(&handle, &session, text.clone()).await?.seq, text));
                cleared = cleared.max(handle.clear(&session).await?.appended.seq);
                handle.sweep(&session).await?;
            }
            let text = format!("{task}/last");
            appended.push((say(&handle, &session, text.clone()).await?.seq, text));
            Ok::<_, Failure>((appended, cleared))
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let done = all_of(tasks).await?;
    let cleared = done.iter().map(|(_, cleared)| *cleared).max().unwrap_or(0);
    let mut want: Vec<_> = done.into_iter().flat_map(|(appended, _)| appended).filter(|(seq, _)| *seq > cleared).collect();
    want.sort_unstable();
    let want: Vec<String> = want.into_iter().map(|(_, text)| text).collect();
    ensure_eq!(texts(&trial.open().await?, &session).await?, want, "the messages after the last clear, number {cleared}");
    Ok(())
}

async fn a_replacement_is_one_step(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let (writer, done) = (trial.open().await?, Arc::new(AtomicBool::new(false)));
    let version = |n: usize| (0..=n % 4).map(move |i| Message::user(format!("{n}/{i}")));
    trial.store.append(&session, &Append::replace_all(version(0))).await?;
    let writing = {
        let (session, done) = (session.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut result = Ok(());
            for n in 1..12 {
                result = writer.append(&session, &Append::replace_all(version(n))).await.map(drop);
                if n % 3 == 0 && result.is_ok() {
                    result = writer.sweep(&session).await.map(drop);
                }
                if result.is_err() {
                    break;
                }
            }
            done.store(true, Ordering::SeqCst);
            Ok::<_, Failure>(result?)
        })
    };
    while !done.load(Ordering::SeqCst) {
        let texts = texts(&trial.store, &session).await?;
        let n: usize = texts.first().and_then(|text| text.split('/').next()?.parse().ok()).unwrap_or(usize::MAX);
        let want: Vec<String> =
            if n < 12 { version(n).map(|message| message.text()).collect() } else { vec!["a version".into()] };
        ensure_eq!(texts, want, "a load during replacements");
        tokio::task::yield_now().await;
    }
    all_of([writing]).await?;
    let history = all(&trial.store, &session).await?;
    ensure_eq!(history.records.len(), 1, "the records in view after the last replacement");
    ensure_eq!(
        texts(&trial.open().await?, &session).await?,
        ["11/0", "11/1", "11/2", "11/3"],
        "the messages after the last replacement"
    );
    Ok(())
}

async fn a_clear_heeds_its_position(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let read = say(&trial.store, &session, "a").await?.position;
    say(&trial.store, &session, "b").await?;
    for append in [Append::clear(), Append::replace_all([Message::user("c")])] {
        ensure_err!(trial.store.append(&session, &append.expecting(read.clone())).await, Conflict, "a clear at an old position");
    }
    ensure_eq!(texts(&trial.store, &session).await?, ["a", "b"], "the messages after the conflicts");
    let read = all(&trial.store, &session).await?.position;
    trial.store.append(&session, &Append::replace_all([Message::user("c")]).expecting(read)).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["c"], "the messages after a replacement at the right position");
    Ok(())
}
