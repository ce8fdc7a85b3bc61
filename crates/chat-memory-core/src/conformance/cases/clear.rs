//! Clearing, sweeping, replacing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, texts};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;
use crate::store::{Append, Load};

const NOTHING: [String; 0] = [];

pub(super) async fn clear_empties_the_session_on_every_handle(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 7).await?;
    let cleared = context.store.clear(&session).await?;
    ensure_eq!(cleared.appended.seq, 7, "the number of a clear, which is a record like any other");
    for handle in context.handles(1).await? {
        for load in [Load::all(), Load::last(100), Load::turns(100)] {
            let history = handle.load(&session, &load).await?;
            ensure!(history.is_empty(), "{load:?} shows messages after a clear: {:?}", history.records);
            ensure!(history.complete, "{load:?} reports an empty view as incomplete");
            ensure_eq!(history.position, cleared.appended.position, "the position after a clear");
        }
    }
    ensure_eq!(say(&context.store, &session, "on").await?.seq, 8, "the number after a clear");
    Ok(())
}

pub(super) async fn clear_of_an_empty_session_succeeds(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    for _ in 0..3 {
        context.store.clear(&session).await?;
        ensure_eq!(texts(&context.store, &session).await?, NOTHING, "the messages after a clear of nothing");
    }
    say(&context.store, &session, "a").await?;
    ensure_eq!(texts(&context.open().await?, &session).await?, ["a"], "the messages after clears of nothing and an append");
    Ok(())
}

pub(super) async fn clear_takes_effect_before_its_sweep(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 5).await?;
    context.store.append(&session, &Append::clear()).await?;
    for handle in context.handles(1).await? {
        ensure_eq!(texts(&handle, &session).await?, NOTHING, "the messages after a clear that was not swept");
    }
    count_to(&context.store, &session, 2).await?;
    ensure_eq!(
        texts(&context.store, &session).await?,
        ["0", "1"],
        "the messages after a clear that was not swept, and two appends"
    );
    Ok(())
}

pub(super) async fn only_appends_after_a_clear_are_visible(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    for round in 0..3 {
        count_to(&context.store, &session, 4).await?;
        context.store.clear(&session).await?;
        let mut want = Vec::new();
        for i in 0..3 {
            say(&context.store, &session, format!("{round}/{i}")).await?;
            want.push(format!("{round}/{i}"));
            for load in [Load::all(), Load::last(50), Load::turns(50)] {
                let history = context.store.load(&session, &load).await?;
                ensure!(history.complete, "{load:?} after a clear is not reported as complete");
                ensure_eq!(history.into_messages().iter().map(Message::text).collect::<Vec<_>>(), want, "{load:?} after a clear");
            }
        }
    }
    Ok(())
}

pub(super) async fn sweep_never_changes_a_load(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    ensure_eq!(context.store.sweep(&session).await?.records, 0, "the records swept of a session never written to");
    count_to(&context.store, &session, 6).await?;
    ensure_eq!(context.store.sweep(&session).await?.records, 0, "the records swept of a session never cleared");
    ensure_eq!(texts(&context.store, &session).await?.len(), 6, "the messages after a sweep without a clear");
    context.store.append(&session, &Append::clear()).await?;
    count_to(&context.store, &session, 3).await?;
    let before = all(&context.store, &session).await?;
    for _ in 0..3 {
        for handle in context.handles(1).await? {
            handle.sweep(&session).await?;
            let after = all(&handle, &session).await?;
            ensure_eq!(after.records, before.records, "the records before and after a sweep");
            ensure_eq!(after.position, before.position, "the position before and after a sweep");
        }
    }
    ensure_eq!(context.store.sweep(&session).await?.records, 0, "the records swept again after all were");
    Ok(())
}

pub(super) async fn load_during_a_clear_sees_all_or_nothing(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let (writer, done) = (context.open().await?, Arc::new(AtomicBool::new(false)));
    let readers = context.handles(1).await?;
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
                // Only one round, from its first message on, without a gap.
                let round = texts.first().and_then(|text| text.split('/').next()).unwrap_or("none").to_owned();
                let want: Vec<String> = (0..texts.len()).map(|i| format!("{round}/{i}")).collect();
                ensure_eq!(texts, want, "a load during appends and clears");
                // A round only grows, until all of it disappears at once.
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
    ensure_eq!(texts(&context.store, &session).await?, NOTHING, "the messages after the last clear");
    Ok(())
}

pub(super) async fn append_is_ordered_before_or_after_a_clear(context: TestContext) -> Result<(), Failure> {
    let handles = context.handles(2).await?;
    for _ in 0..8 {
        let session = context.session()?;
        count_to(&context.store, &session, 3).await?;
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

pub(super) async fn concurrent_clears_keep_what_follows_the_last(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 10).await?;
    let tasks = context.handles(3).await?.into_iter().enumerate().map(|(task, handle)| {
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
    ensure_eq!(texts(&context.open().await?, &session).await?, want, "the messages after the last clear, number {cleared}");
    Ok(())
}

pub(super) async fn replacement_is_one_step(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let (writer, done) = (context.open().await?, Arc::new(AtomicBool::new(false)));
    let version = |n: usize| (0..=n % 4).map(move |i| Message::user(format!("{n}/{i}")));
    context.store.append(&session, &Append::replace_all(version(0))).await?;
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
        let texts = texts(&context.store, &session).await?;
        let n: usize = texts.first().and_then(|text| text.split('/').next()?.parse().ok()).unwrap_or(usize::MAX);
        let want: Vec<String> =
            if n < 12 { version(n).map(|message| message.text()).collect() } else { vec!["a version".into()] };
        ensure_eq!(texts, want, "a load during replacements");
        tokio::task::yield_now().await;
    }
    all_of([writing]).await?;
    let history = all(&context.store, &session).await?;
    ensure_eq!(history.records.len(), 1, "the records in view after the last replacement");
    ensure_eq!(
        texts(&context.open().await?, &session).await?,
        ["11/0", "11/1", "11/2", "11/3"],
        "the messages after the last replacement"
    );
    Ok(())
}

pub(super) async fn clear_at_an_outdated_position_conflicts(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let read = say(&context.store, &session, "a").await?.position;
    say(&context.store, &session, "b").await?;
    for append in [Append::clear(), Append::replace_all([Message::user("c")])] {
        ensure_err!(
            context.store.append(&session, &append.with_expected(read.clone())).await,
            Conflict,
            "a clear at an old position"
        );
    }
    ensure_eq!(texts(&context.store, &session).await?, ["a", "b"], "the messages after the conflicts");
    let read = all(&context.store, &session).await?.position;
    context.store.append(&session, &Append::replace_all([Message::user("c")]).with_expected(read)).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["c"], "the messages after a replacement at the right position");
    Ok(())
}
