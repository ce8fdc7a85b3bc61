//! Tickets: finishing an append that ended in doubt.

use std::sync::Arc;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, saying, texts};
use crate::conformance::{Failure, Trial};
use crate::store::{Append, AppendId, Ticket};

cases! {
    a_ticket_of_an_append_that_never_landed_lands_once: "an append repeated through the ticket of one that never landed is stored once, however often (promise 2)",
    a_ticket_of_an_append_that_landed_is_found: "an append repeated through the ticket of one that landed is found, wherever above the ticket's number it stands (promise 2)",
    a_ticket_used_at_once_lands_once: "many tasks with one ticket at the same time: one record, and the same number for all (promise 2)",
    a_ticket_with_another_body_is_refused: "a ticket does not store other messages than those it was given for (promise 2)",
    a_ticket_is_known_after_a_clear: "an append that landed and was cleared since is found through its ticket, and brings nothing back (promises 2, 5)",
    a_ticket_keeps_its_position: "an append through a ticket that never landed still heeds its expected position (promise 4)",
}

async fn a_ticket_of_an_append_that_never_landed_lands_once(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    // In a new session, too: the ticket may be of the first append.
    let first = Ticket::new(AppendId::random(), 0);
    let appended = trial.store.append(&session, &saying("0").with_ticket(first)).await?;
    ensure!(!appended.repeated && appended.seq == 0, "what never landed says that it was there already");
    count_to(&trial.store, &session, 3).await?;

    let position = all(&trial.store, &session).await?.position;
    let ticket = Ticket::new(AppendId::random(), position.next());
    count_to(&trial.store, &session, 2).await?;
    let append = saying("late").with_ticket(ticket.to_string().parse()?);
    let landed = trial.store.append(&session, &append).await?;
    ensure!(!landed.repeated, "what never landed says that it was there already");
    say(&trial.store, &session, "after").await?;
    for handle in trial.handles(1).await? {
        let again = handle.append(&session, &append).await?;
        ensure!(again.repeated, "a ticket used again says that it was not there");
        ensure_eq!(again.seq, landed.seq, "the number that a ticket used again is given");
        ensure_eq!(again.created_at, landed.created_at, "the time that a ticket used again is given");
    }
    ensure_eq!(texts(&trial.store, &session).await?, ["0", "0", "1", "2", "0", "1", "late", "after"], "the messages");
    Ok(())
}

async fn a_ticket_of_an_append_that_landed_is_found(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 30).await?;
    let records = all(&trial.store, &session).await?.records;
    for seq in [0, 1, 14, 29_u64] {
        for lowest in [0, seq.saturating_sub(3), seq] {
            let ticket = Ticket::new(records[seq as usize].append_id, lowest);
            let found = trial.open().await?.append(&session, &saying(seq.to_string()).with_ticket(ticket)).await?;
            ensure!(
                found.repeated && found.seq == seq,
                "record {seq} was not found from {lowest} on, but stored as {}",
                found.seq
            );
        }
    }
    ensure_eq!(all(&trial.store, &session).await?.records, records, "the records");
    Ok(())
}

async fn a_ticket_used_at_once_lands_once(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let handles = trial.handles(3).await?;
    for round in 0..4_u64 {
        let ticket = Ticket::new(AppendId::random(), all(&trial.store, &session).await?.position.next());
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
        ensure!(answers.iter().all(|seq| *seq == answers[0]), "one ticket was given several numbers: {answers:?}");
        let texts = texts(&handles[1], &session).await?;
        let stored = texts.iter().filter(|text| **text == format!("once {round}")).count();
        ensure_eq!(stored, 1, "how often the message is stored");
        ensure_eq!(texts.len() as u64, (round + 1) * 5, "the messages in all");
    }
    Ok(())
}

async fn a_ticket_with_another_body_is_refused(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let ticket = Ticket::new(AppendId::random(), 0);
    trial.store.append(&session, &saying("this").with_ticket(ticket)).await?;
    ensure_err!(trial.store.append(&session, &saying("that").with_ticket(ticket)).await, KeyReused, "a ticket with another body");
    ensure_eq!(texts(&trial.store, &session).await?, ["this"], "the messages after the error");
    Ok(())
}

async fn a_ticket_is_known_after_a_clear(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 5).await?;
    let landed = all(&trial.store, &session).await?.records.swap_remove(3);
    trial.store.clear(&session).await?;
    let append = saying("3").with_ticket(Ticket::new(landed.append_id, 2));
    let again = trial.open().await?.append(&session, &append).await?;
    ensure!(again.repeated && again.seq == 3, "what landed and was cleared is stored again, as record {}", again.seq);
    ensure_eq!(texts(&trial.store, &session).await?, Vec::<String>::new(), "what the ticket brought back after a clear");
    let clear = Append::clear().with_ticket(Ticket::new(AppendId::random(), 0));
    trial.store.append(&session, &clear).await?;
    say(&trial.store, &session, "after").await?;
    ensure!(trial.store.append(&session, &clear).await?.repeated, "a clear through a ticket used again is taken for a new one");
    ensure_eq!(texts(&trial.store, &session).await?, ["after"], "the messages after a clear's ticket was used again");
    Ok(())
}

async fn a_ticket_keeps_its_position(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let position = say(&trial.store, &session, "a").await?.position;
    let ticket = Ticket::new(AppendId::random(), position.next());
    say(&trial.store, &session, "b").await?;
    let late = saying("late").expecting(position).with_ticket(ticket);
    ensure_err!(trial.store.append(&session, &late).await, Conflict, "an append through a ticket at an old position");
    ensure_eq!(texts(&trial.store, &session).await?, ["a", "b"], "the messages");
    Ok(())
}
