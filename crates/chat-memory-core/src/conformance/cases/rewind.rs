//! Taking back.

use std::sync::Arc;

use crate::conformance::cases::window::turns_with_tools;
use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, count_to, say, seqs, texts};
use crate::conformance::{Failure, Trial};
use crate::message::Message;
use crate::store::{Append, ChatStoreExt, Load};

cases! {
    a_rewind_takes_back_to_any_record [Rewind]: "the view after a rewind to record k is what it was before k, for each k; the log itself only grows",
    a_rewind_may_bring_messages [Rewind]: "a rewind with messages puts them in the place of what it takes back, in one step (promise 1)",
    a_rewind_of_a_rewind [Rewind]: "what was taken back stays taken back, also when the rewind itself is taken back; rewinds may follow each other",
    a_rewind_at_an_old_position_conflicts [Rewind]: "what another writer added meanwhile never vanishes unseen (promise 4)",
    a_rewind_needs_its_record_in_view [Rewind]: "a record that the load did not show cannot be taken back",
    a_rewind_is_stored_once [Rewind]: "a rewind repeated under its key is stored once, and takes nothing more back (promise 2)",
    one_of_many_rewinds_wins [Rewind]: "of rewinds that saw the same history, just one is accepted (promise 4)",
    a_rewind_does_not_undo_a_clear [Rewind]: "what was cleared stays gone, whatever is taken back after it (promise 5)",
    a_turn_is_taken_back_with_its_tools [Rewind]: "a turn is taken back as a whole in every form: no call stays without the result that a user's message holds",
    the_last_turns_are_taken_back [Rewind]: "turns are taken back from their user's message on, also where a record holds more than one turn",
}

async fn a_rewind_takes_back_to_any_record(trial: Trial) -> Result<(), Failure> {
    for k in 0..5_u64 {
        let session = trial.session()?;
        count_to(&trial.store, &session, 5).await?;
        let history = all(&trial.store, &session).await?;
        let appended = trial.store.append(&session, &Append::rewind(&history, k, [])?).await?;
        ensure_eq!(appended.seq, 5, "the number of a rewind to {k}: it is a record as any other");
        let want: Vec<String> = (0..k).map(|i| i.to_string()).collect();
        for handle in trial.handles(1).await? {
            ensure_eq!(texts(&handle, &session).await?, want, "the messages after a rewind to {k}");
        }
        let after = say(&trial.store, &session, "on").await?;
        ensure_eq!(after.seq, 6, "the number after a rewind");
        ensure_eq!(
            texts(&trial.store, &session).await?,
            [want, vec!["on".into()]].concat(),
            "the messages after the next append"
        );
    }
    Ok(())
}

async fn a_rewind_may_bring_messages(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 4).await?;
    let history = all(&trial.store, &session).await?;
    let edit = [Message::user("2, edited"), Message::assistant("so be it")];
    trial.store.append(&session, &Append::rewind(&history, 2, edit)?).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["0", "1", "2, edited", "so be it"], "the messages after an edit");
    ensure_eq!(seqs(&all(&trial.store, &session).await?), [0, 1, 4], "the records in view after an edit");
    ensure!(all(&trial.store, &session).await?.complete, "all was loaded, and the history says it was not");
    Ok(())
}

async fn a_rewind_of_a_rewind(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 4).await?;
    let rewind = trial.store.rewind_to(&session, 1).await?;
    say(&trial.store, &session, "a").await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["0", "a"], "the messages after the first rewind");
    // The rewind is a record in view, so it can be taken back; what it hid stays hidden.
    trial.store.rewind_to(&session, rewind.seq).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["0"], "the messages after the rewind was taken back");
    let b = say(&trial.store, &session, "b").await?;
    say(&trial.store, &session, "c").await?;
    let history = all(&trial.store, &session).await?;
    let edit = trial.store.append(&session, &Append::rewind(&history, b.seq, [Message::user("b, edited")])?).await?;
    let history = all(&trial.store, &session).await?;
    trial.store.append(&session, &Append::rewind(&history, edit.seq, [Message::user("b, edited again")])?).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["0", "b, edited again"], "the messages after an edit was edited");
    trial.store.rewind_to(&session, 0).await?;
    ensure_eq!(texts(&trial.store, &session).await?, Vec::<String>::new(), "the messages after a rewind to the first");
    Ok(())
}

async fn a_rewind_at_an_old_position_conflicts(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 3).await?;
    let history = all(&trial.store, &session).await?;
    say(&trial.open().await?, &session, "by another").await?;
    let result = trial.store.append(&session, &Append::rewind(&history, 1, [Message::user("edit")])?).await;
    ensure_err!(result, Conflict, "a rewind at an old position");
    ensure_eq!(texts(&trial.store, &session).await?, ["0", "1", "2", "by another"], "the messages after the conflict");
    // A clear in between conflicts, too: an edit must not bring back what it hid.
    let history = all(&trial.store, &session).await?;
    trial.open().await?.clear(&session).await?;
    let result = trial.store.append(&session, &Append::rewind(&history, 2, [Message::user("edit")])?).await;
    ensure_err!(result, Conflict, "a rewind at a position from before a clear");
    ensure_eq!(texts(&trial.store, &session).await?, Vec::<String>::new(), "the messages after the conflict");
    Ok(())
}

async fn a_rewind_needs_its_record_in_view(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 4).await?;
    trial.store.rewind_to(&session, 2).await?;
    let history = all(&trial.store, &session).await?;
    for hidden in [2, 3, 5, u64::MAX] {
        ensure_err!(Append::rewind(&history, hidden, []), Invalid, "a rewind to record {hidden}, which is not in view");
        ensure_err!(trial.store.rewind_to(&session, hidden).await, Invalid, "a rewind to record {hidden}, which is not in view");
    }
    let window = trial.store.load(&session, &Load::last(1)).await?;
    if !window.records.iter().any(|record| record.seq == 0) {
        ensure_err!(Append::rewind(&window, 0, []), Invalid, "a rewind to a record that the window does not hold");
    }
    ensure_eq!(texts(&trial.store, &session).await?, ["0", "1"], "the messages after the errors");
    Ok(())
}

async fn a_rewind_is_stored_once(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 3).await?;
    let rewind = Append::rewind(&all(&trial.store, &session).await?, 1, [Message::user("edit")])?.with_key("edit");
    let first = trial.store.append(&session, &rewind).await?;
    say(&trial.store, &session, "after").await?;
    let again = trial.open().await?.append(&session, &rewind).await?;
    ensure!(again.repeated && again.seq == first.seq, "a repeated rewind is not answered as the first was");
    ensure_eq!(texts(&trial.store, &session).await?, ["0", "edit", "after"], "the messages after a repeated rewind");
    Ok(())
}

async fn one_of_many_rewinds_wins(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 6).await?;
    let handles = trial.handles(3).await?;
    let history = all(&trial.store, &session).await?;
    let mut tasks = Vec::new();
    for k in 0..6_u64 {
        let (handle, session) = (Arc::clone(&handles[k as usize % 4]), session.clone());
        let rewind = Append::rewind(&history, k, [])?;
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

async fn a_rewind_does_not_undo_a_clear(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 3).await?;
    // The clear alone, without its sweep: what it hid is still on the disk.
    let clear = trial.store.append(&session, &Append::replace_all([Message::user("a")])).await?;
    count_to(&trial.store, &session, 2).await?;
    let history = all(&trial.store, &session).await?;
    ensure_eq!(history.records.first().map(|record| record.seq), Some(clear.seq), "the first record in view after a clear");
    trial.store.append(&session, &Append::rewind(&history, clear.seq, [Message::user("b")])?).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["b"], "the messages after all since the clear was taken back");
    trial.store.sweep(&session).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["b"], "the messages after a sweep");
    Ok(())
}

async fn a_turn_is_taken_back_with_its_tools(trial: Trial) -> Result<(), Failure> {
    let turns = turns_with_tools();
    ensure_eq!(turns.len(), 4, "the forms that are tried");
    for (question, call, result) in turns {
        let session = trial.session()?;
        let system = Message::system("be brief");
        trial.store.append(&session, &Append::new([system.clone()])).await?;
        let first = [Message::user("first"), Message::assistant("!")];
        trial.store.append(&session, &Append::new([first.to_vec(), vec![question, call]].concat())).await?;
        trial.store.append(&session, &Append::new([result, Message::assistant("!")])).await?;
        trial.store.rewind_turns(&session, 1).await?;
        let left = all(&trial.store, &session).await?.into_messages();
        ensure_eq!(left, [vec![system], first.to_vec()].concat(), "the messages after one turn was taken back");
    }
    Ok(())
}

async fn the_last_turns_are_taken_back(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    ensure!(trial.store.rewind_turns(&session, 1).await?.is_none(), "turns were taken back of an empty session");
    let record = |texts: &[&str]| {
        Append::new(texts.iter().map(|text| match text.as_bytes().first() {
            Some(b'q') => Message::user(*text),
            Some(b's') => Message::system(*text),
            _ => Message::assistant(*text),
        }))
    };
    trial.store.append(&session, &record(&["s"])).await?;
    trial.store.append(&session, &record(&["q1", "a1", "q2", "a2"])).await?;
    trial.store.append(&session, &record(&["q3"])).await?;
    trial.store.append(&session, &record(&["a3"])).await?;
    trial.store.rewind_turns(&session, 2).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["s", "q1", "a1"], "the messages after two turns were taken back");
    trial.store.append(&session, &record(&["q4", "a4"])).await?;
    trial.store.rewind_turns(&session, 1).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["s", "q1", "a1"], "the messages after one turn was taken back");
    ensure!(trial.store.rewind_turns(&session, 0).await?.is_none(), "no turn at all was taken back");
    trial.store.rewind_turns(&session, 9).await?;
    ensure_eq!(texts(&trial.store, &session).await?, ["s"], "the messages after more turns were taken back than there are");
    ensure!(trial.store.rewind_turns(&session, 1).await?.is_none(), "turns were taken back of a session without any");
    Ok(())
}
