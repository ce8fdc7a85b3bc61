//! Concurrent writers and readers on several handles.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, say, seqs, texts};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;
use crate::store::Append;

const WRITERS: usize = 8;
const APPENDS: usize = 25;

pub(super) async fn concurrent_appends_are_all_stored_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let handles = context.handles(3).await?;
    let writers = (0..WRITERS).map(|writer| {
        let (handle, session) = (Arc::clone(&handles[writer % 4]), session.clone());
        tokio::spawn(async move {
            let mut seqs = Vec::new();
            for n in 0..APPENDS {
                seqs.push(say(&handle, &session, format!("{writer}/{n}")).await?.seq);
            }
            Ok::<_, Failure>(seqs)
        })
    });
    let answered = all_of(writers).await?;

    let history = all(&handles[0], &session).await?;
    ensure_eq!(seqs(&history), (0..(WRITERS * APPENDS) as u64).collect::<Vec<_>>(), "the numbers in the log");
    let found: Vec<String> = history.messages().map(Message::text).collect();
    let distinct: HashSet<&String> = found.iter().collect();
    ensure_eq!(distinct.len(), WRITERS * APPENDS, "the number of different messages");
    for (writer, seqs) in answered.iter().enumerate() {
        for (n, seq) in seqs.iter().enumerate() {
            ensure_eq!(
                found[*seq as usize],
                format!("{writer}/{n}"),
                "the message at number {seq}, which writer {writer} received"
            );
        }
        ensure!(seqs.is_sorted(), "writer {writer}'s own appends are out of order: {seqs:?}");
    }
    for (i, handle) in handles.iter().enumerate() {
        ensure_eq!(texts(handle, &session).await?, found, "what handle {i} sees, and what the first sees");
    }
    Ok(())
}

pub(super) async fn append_order_follows_real_time(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let handles = context.handles(3).await?;
    let writers = handles.iter().map(|handle| {
        let (handle, session) = (Arc::clone(handle), session.clone());
        tokio::spawn(async move {
            let mut spans = Vec::new();
            for _ in 0..15 {
                let asked = Instant::now();
                let seq = say(&handle, &session, "x").await?.seq;
                spans.push((asked, Instant::now(), seq));
            }
            Ok::<_, Failure>(spans)
        })
    });
    let spans: Vec<_> = all_of(writers).await?.into_iter().flatten().collect();
    for (_, answered, earlier) in &spans {
        for (asked, _, later) in &spans {
            ensure!(
                asked <= answered || later > earlier,
                "record {later} was requested after record {earlier} had been returned"
            );
        }
    }
    Ok(())
}

pub(super) async fn concurrent_loads_see_whole_prefixes(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let (writer, reader) = (context.open().await?, context.open().await?);
    let done = Arc::new(AtomicBool::new(false));
    let writing = {
        let (session, done) = (session.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut result = Ok(());
            for n in 0..30 {
                let record = (0..3).map(|part| Message::user(format!("{n}/{part}")));
                result = writer.append(&session, &Append::new(record)).await.map(drop);
                if result.is_err() {
                    break;
                }
            }
            done.store(true, Ordering::SeqCst);
            Ok::<_, Failure>(result?)
        })
    };
    let mut seen = 0;
    while !done.load(Ordering::SeqCst) {
        let texts = texts(&reader, &session).await?;
        let want: Vec<String> = (0..texts.len()).map(|i| format!("{}/{}", i / 3, i % 3)).collect();
        ensure_eq!(texts, want, "a load during appends");
        ensure!(texts.len().is_multiple_of(3), "a load saw a part of a record: {} messages of records of 3", texts.len());
        ensure!(texts.len() >= seen, "a load saw {} messages after another had seen {seen}", texts.len());
        seen = texts.len();
        tokio::task::yield_now().await;
    }
    all_of([writing]).await?;
    ensure_eq!(texts(&reader, &session).await?.len(), 90, "the messages at the end");
    Ok(())
}

pub(super) async fn concurrent_writers_of_different_sessions_do_not_interfere(context: TestContext) -> Result<(), Failure> {
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (session, handle) = (context.session()?, context.open().await?);
        writers.push(tokio::spawn(async move {
            for n in 0..10 {
                let seq = say(&handle, &session, format!("{session}/{n}")).await?.seq;
                ensure_eq!(seq, n, "the number in a session with one writer");
            }
            let want: Vec<String> = (0..10).map(|n| format!("{session}/{n}")).collect();
            ensure_eq!(texts(&handle, &session).await?, want, "the messages of a session with one writer");
            Ok(())
        }));
    }
    all_of(writers).await.map(drop)
}
