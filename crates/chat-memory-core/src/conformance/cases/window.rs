//! Windows: the newest part of a history.

use std::sync::Arc;

use crate::conformance::sample::{all, count_to, say};
use crate::conformance::{Failure, TestContext};
use crate::message::{Message, Role};
use crate::session::SessionId;
use crate::store::{Append, ChatStoreExt, History, Load, Reach, Record};
use crate::wire::openai;

/// Checks windows of every kind and size against the whole view.
pub(super) async fn check_windows(context: &TestContext, session: &SessionId, sizes: &[usize]) -> Result<(), Failure> {
    let whole = all(&context.store, session).await?;
    ensure!(whole.complete, "the load of everything is not complete");
    for &n in sizes {
        let one = |_: &Message| 1;
        let user = |message: &Message| u64::from(message.begins_turn());
        let bytes = |message: &Message| message.text().len() as u64;
        check(context, session, &whole, Reach::Messages(n), n as u64, one).await?;
        check(context, session, &whole, Reach::Turns(n), n as u64, user).await?;
        let budget = n as u64 * 3;
        check(context, session, &whole, Reach::Weight { budget, of: Arc::new(bytes) }, budget, bytes).await?;
    }
    Ok(())
}

async fn check(
    context: &TestContext,
    session: &SessionId,
    whole: &History,
    reach: Reach,
    wanted: u64,
    weight: impl Fn(&Message) -> u64,
) -> Result<(), Failure> {
    let what = format!("{reach:?}");
    let window = context.store.load(session, &Load::reaching(reach)).await?;
    ensure_eq!(window.position, whole.position, "{what}: the position");
    let (got, all) = (&window.records, &whole.records);
    ensure!(got.len() <= all.len(), "{what}: {} records in a window of a view of {}", got.len(), all.len());
    ensure_eq!(got[..], all[all.len() - got.len()..], "{what}: the window, and the newest part of the view");
    let sum = |records: &[Record]| records.iter().flat_map(Record::messages).map(&weight).sum::<u64>();
    ensure!(
        got.len() == all.len() || sum(got) >= wanted,
        "{what}: the window holds {} of {wanted}, and leaves out older records",
        sum(got)
    );
    ensure!(!window.complete || got.len() == all.len(), "{what}: it is reported as complete, although older records are left");
    // A window that was not filled reached the start of the history and must report that.
    ensure!(window.complete || sum(got) >= wanted, "{what}: nothing is older, but it is not reported as complete");
    Ok(())
}

const SIZES: [usize; 10] = [0, 1, 2, 3, 5, 8, 13, 40, 1_000, usize::MAX / 3];

/// Records of one to four messages, some without a user's message.
pub(super) async fn uneven(context: &TestContext, session: &SessionId, records: usize) -> Result<(), Failure> {
    for n in 0..records {
        let roles = [Role::User, Role::Assistant, Role::Tool, Role::Assistant];
        let messages = (0..=n % 4).map(|i| Message::new(roles[(i + n / 3) % 4], format!("{n}/{i}")));
        context.store.append(session, &Append::new(messages)).await?;
    }
    Ok(())
}

pub(super) async fn windows_return_at_least_what_was_requested(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    uneven(&context, &session, 24).await?;
    check_windows(&context, &session, &SIZES).await
}

pub(super) async fn turns_are_counted_in_every_message_form(context: TestContext) -> Result<(), Failure> {
    for (question, call, result) in turns_with_tools() {
        let session = context.session()?;
        for _ in 0..3 {
            for message in [&question, &call, &result, &Message::assistant("!")] {
                context.store.append(&session, &Append::new([message.clone()])).await?;
            }
        }
        let whole = all(&context.store, &session).await?;
        ensure_eq!(whole.messages().nth(2), Some(&result), "a result as it was stored");
        for n in 1..=3 {
            let window = context.store.load(&session, &Load::turns(n)).await?;
            let questions = window.messages().filter(|message| **message == question).count();
            ensure!(questions >= n, "a load of {n} turns returns {questions} questions");
        }
        check_windows(&context, &session, &SIZES).await?;
    }
    Ok(())
}

/// A question, a call and its result, in forms that put results into a user's message or a message without a role.
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

pub(super) async fn windows_exclude_rewound_records(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    uneven(&context, &session, 10).await?;
    context.store.rewind_to(&session, 7).await?;
    check_windows(&context, &session, &SIZES).await?;
    uneven(&context, &session, 5).await?;
    let history = all(&context.store, &session).await?;
    context.store.append(&session, &Append::rewind(&history, 3, [Message::user("edit")])?).await?;
    check_windows(&context, &session, &SIZES).await?;
    uneven(&context, &session, 6).await?;
    check_windows(&context, &session, &SIZES).await
}

pub(super) async fn windows_never_reach_past_a_clear(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    uneven(&context, &session, 8).await?;
    context.store.append(&session, &Append::clear()).await?;
    check_windows(&context, &session, &SIZES).await?;
    uneven(&context, &session, 5).await?;
    check_windows(&context, &session, &SIZES).await?;
    context.store.sweep(&session).await?;
    check_windows(&context, &session, &SIZES).await?;
    context.store.append(&session, &Append::replace_all([Message::user("a"), Message::assistant("b")])).await?;
    check_windows(&context, &session, &SIZES).await?;
    context.store.sweep(&session).await?;
    uneven(&context, &session, 3).await?;
    check_windows(&context, &session, &SIZES).await
}

pub(super) async fn window_reports_whether_it_is_complete(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 6).await?;
    for (n, complete) in [(1, false), (5, false), (6, true), (7, true)] {
        let window = context.store.load(&session, &Load::last(n)).await?;
        ensure!(window.records.len() >= n.min(6), "a window of {n} has {} records", window.records.len());
        // A store may return more than was asked for, and is then complete earlier.
        let all_there = window.records.len() == 6;
        ensure_eq!(window.complete, all_there, "whether a window of {n} with {} records of 6 is complete", window.records.len());
        ensure!(complete == all_there || all_there, "a window of {n} of 6");
    }
    Ok(())
}

pub(super) async fn empty_window_still_returns_the_position(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let appended = say(&context.store, &session, "a").await?;
    for load in [Load::last(0), Load::turns(0), Load::reaching(Reach::Weight { budget: 0, of: Arc::new(|_| 1) })] {
        let window = context.store.load(&session, &load).await?;
        ensure_eq!(window.position, appended.position, "{load:?}: the position");
        ensure!(!window.complete || !window.is_empty(), "{load:?}: nothing was loaded, but it is reported as complete");
    }
    // Weights so large that their sum overflows are the caller's choice, but the load must return.
    count_to(&context.store, &session, 2).await?;
    let heavy = Load::reaching(Reach::Weight { budget: 10, of: Arc::new(|_| u64::MAX) });
    ensure!(!context.store.load(&session, &heavy).await?.is_empty(), "a message heavier than the budget is left out");
    Ok(())
}
