//! Rewinds.

use std::sync::Arc;

use crate::conformance::cases::window::turns_with_tools;
use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, seqs, texts};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;
use crate::store::{Append, ChatStoreExt, Load};

pub(super) async fn rewind_restores_the_view_before_any_record(context: TestContext) -> Result<(), Failure> {
    for k in 0..5_u64 {
        let session = context.session()?;
        count_to(&context.store, &session, 5).await?;
        let history = all(&context.store, &session).await?;
        let appended = context.store.append(&session, &Append::rewind(&history, k, None::<Message>)?).await?;
        ensure_eq!(appended.seq, 5, "the number of a rewind to {k}, which is a record like any other");
        let want: Vec<String> = (0..k).map(|i| i.to_string()).collect();
        for handle in context.handles(1).await? {
            ensure_eq!(texts(&handle, &session).await?, want, "the messages after a rewind to {k}");
        }
        let after = say(&context.store, &session, "on").await?;
        ensure_eq!(after.seq, 6, "the number after a rewind");
        ensure_eq!(
            texts(&context.store, &session).await?,
            [want, vec!["on".into()]].concat(),
            "the messages after the next append"
        );
    }
    Ok(())
}

pub(super) async fn rewind_replaces_messages_in_one_step(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 4).await?;
    let history = all(&context.store, &session).await?;
    let edit = [Message::user("2, edited"), Message::assistant("so be it")];
    context.store.append(&session, &Append::rewind(&history, 2, edit)?).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["0", "1", "2, edited", "so be it"], "the messages after an edit");
    ensure_eq!(seqs(&all(&context.store, &session).await?), [0, 1, 4], "the records in view after an edit");
    ensure!(all(&context.store, &session).await?.complete, "everything was loaded, but the history is not complete");
    Ok(())
}

pub(super) async fn rewinding_a_rewind_restores_nothing(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 4).await?;
    let rewind = context.store.rewind_to(&session, 1).await?;
    say(&context.store, &session, "a").await?;
    ensure_eq!(texts(&context.store, &session).await?, ["0", "a"], "the messages after the first rewind");
    // The rewind is a visible record, so it can be removed; what it hid stays hidden.
    context.store.rewind_to(&session, rewind.seq).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["0"], "the messages after the rewind was removed");
    let b = say(&context.store, &session, "b").await?;
    say(&context.store, &session, "c").await?;
    let history = all(&context.store, &session).await?;
    let edit = context.store.append(&session, &Append::rewind(&history, b.seq, [Message::user("b, edited")])?).await?;
    let history = all(&context.store, &session).await?;
    context.store.append(&session, &Append::rewind(&history, edit.seq, [Message::user("b, edited again")])?).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["0", "b, edited again"], "the messages after an edit was edited");
    context.store.rewind_to(&session, 0).await?;
    ensure_eq!(texts(&context.store, &session).await?, Vec::<String>::new(), "the messages after a rewind to the first");
    Ok(())
}

pub(super) async fn rewind_at_an_outdated_position_conflicts(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 3).await?;
    let history = all(&context.store, &session).await?;
    say(&context.open().await?, &session, "by another").await?;
    let result = context.store.append(&session, &Append::rewind(&history, 1, [Message::user("edit")])?).await;
    ensure_err!(result, Conflict, "a rewind at an old position");
    ensure_eq!(texts(&context.store, &session).await?, ["0", "1", "2", "by another"], "the messages after the conflict");
    // A clear in between conflicts, too: an edit must not bring back what it hid.
    let history = all(&context.store, &session).await?;
    context.open().await?.clear(&session).await?;
    let result = context.store.append(&session, &Append::rewind(&history, 2, [Message::user("edit")])?).await;
    ensure_err!(result, Conflict, "a rewind at a position from before a clear");
    ensure_eq!(texts(&context.store, &session).await?, Vec::<String>::new(), "the messages after the conflict");
    Ok(())
}

pub(super) async fn rewind_to_a_record_not_in_view_is_refused(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 4).await?;
    context.store.rewind_to(&session, 2).await?;
    let history = all(&context.store, &session).await?;
    for hidden in [2, 3, 5, u64::MAX] {
        ensure_err!(
            Append::rewind(&history, hidden, None::<Message>),
            Invalid,
            "a rewind to record {hidden}, which is not in view"
        );
        ensure_err!(
            context.store.rewind_to(&session, hidden).await,
            Invalid,
            "a rewind to record {hidden}, which is not in view"
        );
    }
    let window = context.store.load(&session, &Load::last(1)).await?;
    if !window.records.iter().any(|record| record.seq == 0) {
        ensure_err!(Append::rewind(&window, 0, None::<Message>), Invalid, "a rewind to a record that the window does not hold");
    }
    ensure_eq!(texts(&context.store, &session).await?, ["0", "1"], "the messages after the errors");
    Ok(())
}

pub(super) async fn repeated_rewind_is_stored_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 3).await?;
    let rewind = Append::rewind(&all(&context.store, &session).await?, 1, [Message::user("edit")])?.with_key("edit");
    let first = context.store.append(&session, &rewind).await?;
    say(&context.store, &session, "after").await?;
    let again = context.open().await?.append(&session, &rewind).await?;
    ensure!(again.repeated && again.seq == first.seq, "a repeated rewind does not return what the first returned");
    ensure_eq!(texts(&context.store, &session).await?, ["0", "edit", "after"], "the messages after a repeated rewind");
    Ok(())
}

pub(super) async fn one_of_many_concurrent_rewinds_wins(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 6).await?;
    let handles = context.handles(3).await?;
    let history = all(&context.store, &session).await?;
    let mut tasks = Vec::new();
    for k in 0..6_u64 {
        let (handle, session) = (Arc::clone(&handles[k as usize % 4]), session.clone());
        let rewind = Append::rewind(&history, k, None::<Message>)?;
        tasks.push(tokio::spawn(async move {
            match handle.append(&session, &rewind).await {
                Ok(_) => Ok(Some(k)),
                Err(e) if e.is_conflict() => Ok(None),
                Err(e) => Err(Failure::from(e)),
            }
        }));
    }
    let won: Vec<u64> = all_of(tasks).await?.into_iter().flatten().collect();
    ensure_eq!(won.len(), 1, "how many of six rewinds of one history were accepted");
    let want: Vec<String> = (0..won[0]).map(|i| i.to_string()).collect();
    ensure_eq!(texts(&handles[2], &session).await?, want, "the messages after the one rewind that was accepted");
    Ok(())
}

pub(super) async fn rewind_does_not_undo_a_clear(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 3).await?;
    // Only the clear, without its sweep: what it hid is still on disk.
    let clear = context.store.append(&session, &Append::replace_all([Message::user("a")])).await?;
    count_to(&context.store, &session, 2).await?;
    let history = all(&context.store, &session).await?;
    ensure_eq!(history.records.first().map(|record| record.seq), Some(clear.seq), "the first record in view after a clear");
    context.store.append(&session, &Append::rewind(&history, clear.seq, [Message::user("b")])?).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["b"], "the messages after everything since the clear was removed");
    context.store.sweep(&session).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["b"], "the messages after a sweep");
    Ok(())
}

pub(super) async fn turn_is_removed_with_its_tool_calls(context: TestContext) -> Result<(), Failure> {
    let turns = turns_with_tools();
    ensure_eq!(turns.len(), 4, "the forms that are tried");
    for (question, call, result) in turns {
        let session = context.session()?;
        let system = Message::system("be brief");
        context.store.append(&session, &Append::new([system.clone()])).await?;
        let first = [Message::user("first"), Message::assistant("!")];
        context.store.append(&session, &Append::new([first.to_vec(), vec![question, call]].concat())).await?;
        context.store.append(&session, &Append::new([result, Message::assistant("!")])).await?;
        context.store.rewind_turns(&session, 1).await?;
        let left = all(&context.store, &session).await?.into_messages();
        ensure_eq!(left, [vec![system], first.to_vec()].concat(), "the messages after one turn was removed");
    }
    Ok(())
}

pub(super) async fn last_turns_are_removed_even_within_a_record(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    ensure!(context.store.rewind_turns(&session, 1).await?.is_none(), "turns were removed from an empty session");
    let record = |texts: &[&str]| {
        Append::new(texts.iter().map(|text| match text.as_bytes().first() {
            Some(b'q') => Message::user(*text),
            Some(b's') => Message::system(*text),
            _ => Message::assistant(*text),
        }))
    };
    context.store.append(&session, &record(&["s"])).await?;
    context.store.append(&session, &record(&["q1", "a1", "q2", "a2"])).await?;
    context.store.append(&session, &record(&["q3"])).await?;
    context.store.append(&session, &record(&["a3"])).await?;
    context.store.rewind_turns(&session, 2).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["s", "q1", "a1"], "the messages after two turns were removed");
    context.store.append(&session, &record(&["q4", "a4"])).await?;
    context.store.rewind_turns(&session, 1).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["s", "q1", "a1"], "the messages after one turn was removed");
    ensure!(context.store.rewind_turns(&session, 0).await?.is_none(), "a rewind of no turns wrote a record");
    context.store.rewind_turns(&session, 9).await?;
    ensure_eq!(texts(&context.store, &session).await?, ["s"], "the messages after more turns were removed than there are");
    ensure!(context.store.rewind_turns(&session, 1).await?.is_none(), "turns were removed from a session without any");
    Ok(())
}
