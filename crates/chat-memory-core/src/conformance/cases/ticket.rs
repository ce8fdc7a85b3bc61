//! Tickets: finishing an append whose outcome is unknown.

use std::sync::Arc;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, saying, texts};
use crate::conformance::{Failure, TestContext};
use crate::store::{Append, AppendId, Ticket};

pub(super) async fn ticket_of_an_unstored_append_stores_it_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    // In a new session, too: the ticket may belong to the first append.
    let first = Ticket::new(AppendId::random(), 0);
    let appended = context.store.append(&session, &saying("0").with_ticket(first)).await?;
    ensure!(!appended.repeated && appended.seq == 0, "a first append is reported as a repeat");
    count_to(&context.store, &session, 3).await?;

    let position = all(&context.store, &session).await?.position;
    let ticket = Ticket::new(AppendId::random(), position.next());
    count_to(&context.store, &session, 2).await?;
    let append = saying("late").with_ticket(ticket.to_string().parse()?);
    let landed = context.store.append(&session, &append).await?;
    ensure!(!landed.repeated, "a first append is reported as a repeat");
    say(&context.store, &session, "after").await?;
    for handle in context.handles(1).await? {
        let again = handle.append(&session, &append).await?;
        ensure!(again.repeated, "a reused ticket is not reported as a repeat");
        ensure_eq!(again.seq, landed.seq, "the number returned for a reused ticket");
        ensure_eq!(again.created_at, landed.created_at, "the time returned for a reused ticket");
    }
    ensure_eq!(texts(&context.store, &session).await?, ["0", "0", "1", "2", "0", "1", "late", "after"], "the messages");
    Ok(())
}

pub(super) async fn ticket_finds_its_stored_append(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 30).await?;
    let records = all(&context.store, &session).await?.records;
    for seq in [0, 1, 14, 29_u64] {
        for lowest in [0, seq.saturating_sub(3), seq] {
            let ticket = Ticket::new(records[seq as usize].append_id, lowest);
            let found = context.open().await?.append(&session, &saying(seq.to_string()).with_ticket(ticket)).await?;
            ensure!(
                found.repeated && found.seq == seq,
                "record {seq} was not found from {lowest} on but stored again as {}",
                found.seq
            );
        }
    }
    ensure_eq!(all(&context.store, &session).await?.records, records, "the records");
    Ok(())
}

pub(super) async fn ticket_used_concurrently_stores_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let handles = context.handles(3).await?;
    for round in 0..4_u64 {
        let ticket = Ticket::new(AppendId::random(), all(&context.store, &session).await?.position.next());
        let tasks = (0..12).map(|task| {
            let (handle, session) = (Arc::clone(&handles[task % 4]), session.clone());
            tokio::spawn(async move {
                if task < 4 {
                    say(&handle, &session, format!("noise {round}/{task}")).await?;
                }
                let append = saying(format!("once {round}")).with_ticket(ticket);
                Ok::<_, Failure>(handle.append(&session, &append).await?.seq)
            })
        });
        let answers = all_of(tasks).await?;
        ensure!(answers.iter().all(|seq| *seq == answers[0]), "one ticket got several numbers: {answers:?}");
        let texts = texts(&handles[1], &session).await?;
        let stored = texts.iter().filter(|text| **text == format!("once {round}")).count();
        ensure_eq!(stored, 1, "how often the message is stored");
        ensure_eq!(texts.len() as u64, (round + 1) * 5, "the number of messages");
    }
    Ok(())
}

pub(super) async fn ticket_with_another_body_is_refused(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let ticket = Ticket::new(AppendId::random(), 0);
    context.store.append(&session, &saying("this").with_ticket(ticket)).await?;
    ensure_err!(
        context.store.append(&session, &saying("that").with_ticket(ticket)).await,
        KeyReused,
        "a ticket with another body"
    );
    ensure_eq!(texts(&context.store, &session).await?, ["this"], "the messages after the error");
    Ok(())
}

pub(super) async fn ticket_is_recognised_after_a_clear(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 5).await?;
    let landed = all(&context.store, &session).await?.records.swap_remove(3);
    context.store.clear(&session).await?;
    let append = saying("3").with_ticket(Ticket::new(landed.append_id, 2));
    let again = context.open().await?.append(&session, &append).await?;
    ensure!(again.repeated && again.seq == 3, "an append that was stored and cleared is stored again, as record {}", again.seq);
    ensure_eq!(texts(&context.store, &session).await?, Vec::<String>::new(), "what the ticket restored after a clear");
    let clear = Append::clear().with_ticket(Ticket::new(AppendId::random(), 0));
    context.store.append(&session, &clear).await?;
    say(&context.store, &session, "after").await?;
    ensure!(context.store.append(&session, &clear).await?.repeated, "a clear repeated with its ticket is taken for a new one");
    ensure_eq!(texts(&context.store, &session).await?, ["after"], "the messages after a clear's ticket was reused");
    Ok(())
}

pub(super) async fn ticket_still_checks_the_expected_position(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let position = say(&context.store, &session, "a").await?.position;
    let ticket = Ticket::new(AppendId::random(), position.next());
    say(&context.store, &session, "b").await?;
    let late = saying("late").with_expected(position).with_ticket(ticket);
    ensure_err!(context.store.append(&session, &late).await, Conflict, "an append with a ticket at an old position");
    ensure_eq!(texts(&context.store, &session).await?, ["a", "b"], "the messages");
    Ok(())
}
