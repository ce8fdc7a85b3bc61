//! Expected positions: no lost update.

use std::sync::Arc;
use std::time::Duration;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, saying, texts};
use crate::conformance::{Failure, Handle, TestContext};
use crate::message::Message;
use crate::session::SessionId;
use crate::store::{Append, AppendId, Position};

pub(super) async fn current_position_is_accepted(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    say(&context.store, &session, "a").await?;
    let read = all(&context.store, &session).await?.position;
    let b = context.store.append(&session, &saying("b").with_expected(read)).await?;
    let c = context.store.append(&session, &saying("c").with_expected(b.position)).await?;
    ensure_eq!(c.seq, 2, "the number of the third record");
    ensure_eq!(texts(&context.store, &session).await?, ["a", "b", "c"], "the messages");
    Ok(())
}

pub(super) async fn conflict_writes_nothing_and_carries_the_current_position(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let other = context.open().await?;
    let old = say(&context.store, &session, "a").await?.position;
    let b = say(&other, &session, "b").await?;
    let lost = saying("lost").with_expected(old);
    let error = ensure_err!(context.store.append(&session, &lost).await, Conflict, "an append at an old position");
    let Some(actual) = error.actual() else { return Err(Failure::new("the conflict does not name the actual position")) };
    ensure_eq!(*actual, b.position, "the actual position that the conflict names");
    ensure_eq!(texts(&other, &session).await?, ["a", "b"], "the messages after a conflict");
    ensure_eq!(all(&other, &session).await?.position, b.position, "the position after a conflict");
    context.store.append(&session, &saying("c").with_expected(actual.clone())).await?;
    ensure_eq!(
        texts(&other, &session).await?,
        ["a", "b", "c"],
        "the messages after an append at the position that the conflict named"
    );
    Ok(())
}

pub(super) async fn position_of_an_empty_log_is_valid_until_the_first_record(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let empty = all(&context.store, &session).await?.position;
    // A position ahead of an empty log is refused, too.
    let ahead = saying("x").with_expected(Position::new(1, Some(AppendId::random()), empty.read_at()));
    let error = ensure_err!(context.store.append(&session, &ahead).await, Conflict, "a position ahead of an empty log");
    ensure_eq!(error.actual(), Some(&empty), "the actual position");
    context.store.append(&session, &saying("a").with_expected(empty.clone())).await?;
    let error = ensure_err!(
        context.store.append(&session, &saying("b").with_expected(empty)).await,
        Conflict,
        "the position of an empty log, after its first record"
    );
    ensure_eq!(error.actual().map(Position::next), Some(1), "the number in the actual position");
    ensure_eq!(texts(&context.store, &session).await?, ["a"], "the messages");
    Ok(())
}

pub(super) async fn position_survives_conversion_to_text(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let other = context.open().await?;
    for n in 0..4 {
        let position: Position = all(&context.store, &session).await?.position.to_string().parse()?;
        let appended = other.append(&session, &saying("x").with_expected(position.clone())).await?;
        ensure_eq!(appended.seq, n, "the number of an append at a position read elsewhere");
        let again = other.append(&session, &saying("y").with_expected(position)).await;
        ensure_err!(again, Conflict, "a parsed position that is old");
    }
    Ok(())
}

pub(super) async fn position_ignores_the_time_it_was_read(context: TestContext) -> Result<(), Failure> {
    const HOUR: Duration = Duration::from_hours(1);
    let session = context.session()?;
    count_to(&context.store, &session, 2).await?;
    let now = all(&context.store, &session).await?.position.read_at();
    for (n, read_at) in [now - HOUR, now + HOUR, now - 23 * HOUR, now].into_iter().enumerate() {
        let read = all(&context.store, &session).await?.position;
        let old = Position::new(read.next(), read.last(), read_at);
        let appended = context.store.append(&session, &saying("x").with_expected(old.clone())).await?;
        ensure_eq!(appended.seq, n as u64 + 2, "the number of an append at a position read at {read_at}");
        let again = context.store.append(&session, &saying("y").with_expected(old)).await;
        ensure_err!(again, Conflict, "the same position after a write");
    }
    Ok(())
}

pub(super) async fn position_of_another_log_conflicts(context: TestContext) -> Result<(), Failure> {
    let (session, other) = (context.session()?, context.session()?);
    count_to(&context.store, &session, 3).await?;
    count_to(&context.store, &other, 3).await?;
    let here = all(&context.store, &session).await?.position;
    let elsewhere = all(&context.store, &other).await?.position;
    for wrong in [
        elsewhere,
        Position::new(3, Some(AppendId::random()), here.read_at()),
        Position::new(2, here.last(), here.read_at()),
        Position::new(4, here.last(), here.read_at()),
        Position::new(u64::MAX, here.last(), here.read_at()),
    ] {
        let result = context.store.append(&session, &saying("x").with_expected(wrong.clone())).await;
        let error = ensure_err!(result, Conflict, "{wrong:?} in a log at {here:?}");
        ensure_eq!(error.actual(), Some(&here), "the actual position");
    }
    ensure_eq!(texts(&context.store, &session).await?, ["0", "1", "2"], "the messages after the conflicts");
    Ok(())
}

pub(super) async fn position_from_before_a_clear_conflicts(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 2).await?;
    let before = all(&context.store, &session).await?.position;
    let cleared = context.open().await?.clear(&session).await?;
    let result = context.store.append(&session, &saying("x").with_expected(before.clone())).await;
    let error = ensure_err!(result, Conflict, "a position from before a clear");
    ensure_eq!(error.actual(), Some(&cleared.appended.position), "the actual position");
    let result = context.store.append(&session, &Append::clear().with_expected(before)).await;
    ensure_err!(result, Conflict, "a clear at a position from before another clear");
    context.store.append(&session, &saying("y").with_expected(cleared.appended.position)).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["y"], "the messages");
    Ok(())
}

pub(super) async fn one_of_many_appends_at_one_position_wins(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    say(&context.store, &session, "first").await?;
    let handles = context.handles(3).await?;
    for round in 1..7 {
        one_of_eight_wins(&handles, &session, round).await?;
    }
    Ok(())
}

pub(super) async fn one_of_many_first_appends_wins(context: TestContext) -> Result<(), Failure> {
    let handles = context.handles(3).await?;
    for _ in 0..3 {
        one_of_eight_wins(&handles, &context.session()?, 0).await?;
    }
    Ok(())
}

/// Eight writers that read the same position; the next record must be number `next`.
async fn one_of_eight_wins(handles: &[Handle], session: &SessionId, next: u64) -> Result<(), Failure> {
    let position = all(&handles[0], session).await?.position;
    let writers = (0..8).map(|writer| {
        let (handle, session) = (Arc::clone(&handles[writer % handles.len()]), session.clone());
        let append = saying(format!("{next}/{writer}")).with_expected(position.clone());
        tokio::spawn(async move {
            match handle.append(&session, &append).await {
                Ok(appended) => Ok(Some((writer, appended.seq))),
                Err(e) if e.is_conflict() => Ok(None),
                Err(e) => Err(e.into()),
            }
        })
    });
    let won: Vec<_> = all_of(writers).await?.into_iter().flatten().collect();
    ensure_eq!(won.len(), 1, "how many of eight writers at one position were accepted");
    let (writer, seq) = won[0];
    ensure_eq!(seq, next, "the winner's number");
    let last = all(&handles[1], session).await?.messages().last().map(Message::text);
    ensure_eq!(last, Some(format!("{next}/{writer}")), "the message of the one that was accepted");
    Ok(())
}
