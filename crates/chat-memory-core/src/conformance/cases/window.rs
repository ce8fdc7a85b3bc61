//! Windows: the newest part of a history.

use std::sync::Arc;

use crate::conformance::sample::{all, count_to, say};
use crate::conformance::{Failure, Trial};
use crate::message::{Message, Role};
use crate::session::SessionId;
use crate::store::{Append, ChatStoreExt, History, Load, Reach, Record};
use crate::wire::openai;

cases! {
    windows_bring_what_was_asked: "a load brings at least the last messages, turns or weight that it asks for, whole records, newest last",
    turns_are_counted_in_every_form: "a load of turns counts a user's message that holds a tool's result as a part of the turn before it",
    windows_follow_rewinds [Rewind]: "a window goes back along the view, not along the log: what was taken back does not count",
    windows_end_at_clears: "a window never reaches behind a clear, swept or not (promise 5)",
    a_window_says_whether_it_is_all: "a load says that it is complete just when nothing older is left",
    an_empty_window_still_says_where_the_log_is: "a load of nothing costs no messages and gives the position",
}

/// Checks windows of every kind and size against the whole view.
pub(super) async fn check_windows(trial: &Trial, session: &SessionId, sizes: &[usize]) -> Result<(), Failure> {
    let whole = all(&trial.store, session).await?;
    ensure!(whole.complete, "the load of everything does not say that it is complete");
    for &n in sizes {
        let one = |_: &Message| 1;
        let user = |message: &Message| u64::from(message.begins_turn());
        let bytes = |message: &Message| message.text().len() as u64;
        check(trial, session, &whole, Reach::Messages(n), n as u64, one).await?;
        check(trial, session, &whole, Reach::Turns(n), n as u64, user).await?;
        let budget = n as u64 * 3;
        check(trial, session, &whole, Reach::Weight { budget, of: Arc::new(bytes) }, budget, bytes).await?;
    }
    Ok(())
}

async fn check(
    trial: &Trial,
    session: &SessionId,
    whole: &History,
    reach: Reach,
    wanted: u64,
    weight: impl Fn(&Message) -> u64,
) -> Result<(), Failure> {
    let what = format!("{reach:?}");
    let window = trial.store.load(session, &Load::reaching(reach)).await?;
    ensure_eq!(window.position, whole.position, "{what}: the position");
    let (got, all) = (&window.records, &whole.records);
    ensure!(got.len() <= all.len(), "{what}: {} records in a window of a view of {}", got.len(), all.len());
    ensure_eq!(got[..], all[all.len() - got.len()..], "{what}: the window, and the newest part of the view");
    let sum = |records: &[Record]| records.iter().flat_map(|record| &record.messages).map(&weight).sum::<u64>();
    ensure!(
        got.len() == all.len() || sum(got) >= wanted,
        "{what}: the window holds {} of {wanted}, and leaves out older records",
        sum(got)
    );
    ensure!(!window.complete || got.len() == all.len(), "{what}: it says that it is complete, and older records are left");
    // A window that was not filled went to the end, and knows it.
    ensure!(window.complete || sum(got) >= wanted, "{what}: there is nothing older, and it does not say that it is complete");
    Ok(())
}

const SIZES: [usize; 10] = [0, 1, 2, 3, 5, 8, 13, 40, 1_000, usize::MAX / 3];

/// Records of one to four messages, some of them without a user's.
pub(super) async fn uneven(trial: &Trial, session: &SessionId, records: usize) -> Result<(), Failure> {
    for n in 0..records {
        let roles = [Role::User, Role::Assistant, Role::Tool, Role::Assistant];
        let messages = (0..=n % 4).map(|i| Message::new(roles[(i + n / 3) % 4], format!("{n}/{i}")));
        trial.store.append(session, &Append::new(messages)).await?;
    }
    Ok(())
}

async fn windows_bring_what_was_asked(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    uneven(&trial, &session, 24).await?;
    check_windows(&trial, &session, &SIZES).await
}

async fn turns_are_counted_in_every_form(trial: Trial) -> Result<(), Failure> {
    for (question, call, result) in turns_with_tools() {
        let session = trial.session()?;
        for _ in 0..3 {
            for message in [&question, &call, &result, &Message::assistant("!")] {
                trial.store.append(&session, &Append::new([message.clone()])).await?;
            }
        }
        let whole = all(&trial.store, &session).await?;
        ensure_eq!(whole.messages().nth(2), Some(&result), "a result as it was stored");
        for n in 1..=3 {
            let window = trial.store.load(&session, &Load::turns(n)).await?;
            let questions = window.messages().filter(|message| **message == question).count();
            ensure!(questions >= n, "a load of {n} turns brings {questions} questions");
        }
        check_windows(&trial, &session, &SIZES).await?;
    }
    Ok(())
}

/// A question, a call and its result, in forms that give results in a user's message or without a role.
pub(super) fn turns_with_tools() -> Vec<(Message, Message, Message)> {
    let forms = [
        [
            r#"{"role":"user","content":"?"}"#,
            r#"{"role":"assistant","content":[{"type":"text","text":"let me"},{"type":"tool_use","id":"t1","name":"f","input":{}}]}"#,
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"21"}]}"#,
        ],
        [
            r#"{"role":"user","content":[{"text":"?"}]}"#,
            r#"{"role":"assistant","content":[{"toolUse":{"toolUseId":"t1","name":"f","input":{}}}]}"#,
            r#"{"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"text":"21"}]}}]}"#,
        ],
        [
            r#"{"role":"user","parts":[{"text":"?"}]}"#,
            r#"{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]}"#,
            r#"{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":21}}}]}"#,
        ],
        [
            r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"?"}]}"#,
            r#"{"type":"function_call","id":"fc_1","call_id":"t1","name":"f","arguments":"{}","status":"completed"}"#,
            r#"{"type":"function_call_output","call_id":"t1","output":"21"}"#,
        ],
    ];
    let read = |text: &str| crate::json::parse(text).ok().and_then(|value| openai::from_value(value).ok());
    let turns = forms.iter().map(|[question, call, result]| Some((read(question)?, read(call)?, read(result)?)));
    turns.collect::<Option<_>>().unwrap_or_default()
}

async fn windows_follow_rewinds(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    uneven(&trial, &session, 10).await?;
    trial.store.rewind_to(&session, 7).await?;
    check_windows(&trial, &session, &SIZES).await?;
    uneven(&trial, &session, 5).await?;
    let history = all(&trial.store, &session).await?;
    trial.store.append(&session, &Append::rewind(&history, 3, [Message::user("edit")])?).await?;
    check_windows(&trial, &session, &SIZES).await?;
    uneven(&trial, &session, 6).await?;
    check_windows(&trial, &session, &SIZES).await
}

async fn windows_end_at_clears(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    uneven(&trial, &session, 8).await?;
    trial.store.append(&session, &Append::clear()).await?;
    check_windows(&trial, &session, &SIZES).await?;
    uneven(&trial, &session, 5).await?;
    check_windows(&trial, &session, &SIZES).await?;
    trial.store.sweep(&session).await?;
    check_windows(&trial, &session, &SIZES).await?;
    trial.store.append(&session, &Append::replace_all([Message::user("a"), Message::assistant("b")])).await?;
    check_windows(&trial, &session, &SIZES).await?;
    trial.store.sweep(&session).await?;
    uneven(&trial, &session, 3).await?;
    check_windows(&trial, &session, &SIZES).await
}

async fn a_window_says_whether_it_is_all(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 6).await?;
    for (n, complete) in [(1, false), (5, false), (6, true), (7, true)] {
        let window = trial.store.load(&session, &Load::last(n)).await?;
        ensure!(window.records.len() >= n.min(6), "a window of {n} has {} records", window.records.len());
        // A store may bring more than was asked, and then it is complete earlier.
        let all_there = window.records.len() == 6;
        ensure_eq!(window.complete, all_there, "whether a window of {n} with {} records of 6 is complete", window.records.len());
        ensure!(complete == all_there || all_there, "a window of {n} of 6");
    }
    Ok(())
}

async fn an_empty_window_still_says_where_the_log_is(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let appended = say(&trial.store, &session, "a").await?;
    for load in [Load::last(0), Load::turns(0), Load::reaching(Reach::Weight { budget: 0, of: Arc::new(|_| 1) })] {
        let window = trial.store.load(&session, &load).await?;
        ensure_eq!(window.position, appended.position, "{load:?}: the position");
        ensure!(!window.complete || !window.is_empty(), "{load:?}: nothing was loaded, and it says that this is all there is");
    }
    // Weights so large that their sum overflows are the caller's own, but the load must come back.
    count_to(&trial.store, &session, 2).await?;
    let heavy = Load::reaching(Reach::Weight { budget: 10, of: Arc::new(|_| u64::MAX) });
    ensure!(!trial.store.load(&session, &heavy).await?.is_empty(), "a message heavier than the budget is left out");
    Ok(())
}
