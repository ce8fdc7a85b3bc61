//! Sequential appends and loads.

use serde_json::{Map, json};

use crate::conformance::sample::{all, count_to, say, seqs, texts};
use crate::conformance::{Failure, TestContext};
use crate::message::{Message, ToolCall};
use crate::session::SessionId;
use crate::store::{Append, Load, MAX_TIME, Position};
use crate::timestamp::Timestamp;

pub(super) async fn new_session_is_empty(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    for load in [Load::all(), Load::last(3), Load::turns(1), Load::last(0)] {
        let history = context.store.load(&session, &load).await?;
        ensure!(history.is_empty() && history.records.is_empty(), "{load:?}: a session never written to has records");
        ensure!(history.complete, "{load:?}: an empty session is not complete");
        ensure_eq!(history.position, Position::new(0, None, Timestamp::UNIX_EPOCH), "{load:?}: the position of an empty log");
    }
    if context.store.capabilities().directory {
        ensure_eq!(context.store.session(&session).await?, None, "loading a session lists it");
    }
    ensure!(say(&context.store, &session, "first").await?.seq == 0, "loading a session wrote to it");
    Ok(())
}

pub(super) async fn append_is_one_record(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let turn = [
        Message::user("What is the weather in Paris?"),
        Message::tool_calls([ToolCall::function("call_1", "get_weather", r#"{"city": "Paris"}"#)]),
        Message::tool("call_1", "18 °C"),
        Message::assistant("It is 18 °C in Paris."),
    ];
    context.store.append(&session, &Append::new(turn.clone())).await?;
    let history = all(&context.store, &session).await?;
    ensure_eq!(history.records.len(), 1, "the number of records after one append");
    ensure_eq!(history.records[0].clone().into_messages(), turn, "the record's messages");
    ensure!(history.complete, "everything was loaded, but the history is not complete");
    Ok(())
}

pub(super) async fn load_returns_whole_records(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let turn = |n: usize| [Message::user(format!("q{n}")), Message::assistant(format!("a{n}")), Message::assistant("…")];
    for n in 0..3 {
        context.store.append(&session, &Append::new(turn(n))).await?;
    }
    for n in 1..=9 {
        let history = context.store.load(&session, &Load::last(n)).await?;
        for record in &history.records {
            ensure_eq!(
                record.clone().into_messages(),
                turn(record.seq as usize),
                "record {} in a load of {n} messages",
                record.seq
            );
        }
    }
    Ok(())
}

pub(super) async fn messages_load_in_append_order(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 40).await?;
    let want: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    ensure_eq!(texts(&context.store, &session).await?, want, "the messages of 40 appends");
    Ok(())
}

pub(super) async fn record_numbers_are_consecutive(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    for n in 0..12 {
        ensure_eq!(say(&context.store, &session, "x").await?.seq, n, "the number of the next record");
    }
    let history = all(&context.store, &session).await?;
    ensure_eq!(seqs(&history), (0..12).collect::<Vec<_>>(), "the numbers loaded");
    ensure_eq!(history.position.next(), 12, "the number that comes next");
    Ok(())
}

pub(super) async fn append_returns_number_time_and_position(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    for n in 0..3 {
        let appended = say(&context.store, &session, "x").await?;
        let history = all(&context.store, &session).await?;
        let record = &history.records[n];
        ensure_eq!(appended.seq, record.seq, "the number in the answer, and in the log");
        ensure_eq!(appended.created_at, record.created_at, "the time in the answer, and in the log");
        ensure_eq!(appended.position, history.position, "the position in the answer, and of a load after it");
        ensure_eq!(appended.position.last(), Some(record.append_id), "the id of the record before the position");
        ensure!(!appended.repeated, "a first append is reported as a repeat");
        ensure!(appended.cost.requests > 0, "an append without a request");
    }
    Ok(())
}

pub(super) async fn only_the_first_append_reports_a_started_session(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    ensure!(say(&context.store, &session, "x").await?.started, "the first append did not start the session");
    ensure!(!say(&context.store, &session, "y").await?.started, "the second append started the session again");
    ensure!(!say(&context.open().await?, &session, "z").await?.started, "another handle's append started the session again");
    Ok(())
}

pub(super) async fn message_times_round_trip(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let turn = || Append::new([Message::user("q"), Message::tool("c", "t"), Message::assistant("a")]);
    let at = Timestamp::from_millis;
    let times = [Some(at(1)), None, Some(MAX_TIME)];
    let given = turn().sent_at(times).with_key("times");
    context.store.append(&session, &given).await?;
    context.store.append(&session, &turn()).await?;
    // So large that a store may keep its messages apart from the rest.
    let large = Append::new([Message::user("x".repeat(900_000)), Message::assistant("y")]);
    context.store.append(&session, &large.sent_at([None, Some(at(1_700_000_000_123))])).await?;
    // Times are ignored when a repeat is compared.
    let again = context.open().await?.append(&session, &turn().sent_at([None; 3]).with_key("times")).await?;
    ensure!(again.repeated && again.seq == 0, "the same append with other times is not recognised as a repeat");
    for handle in context.handles(1).await? {
        let history = all(&handle, &session).await?;
        let of = |n: usize| history.records[n].entry_times().collect::<Vec<_>>();
        ensure_eq!(history.records[0].sent_at, times, "the times that were given");
        ensure_eq!(of(0), times, "the times of the messages");
        ensure_eq!(history.records[1].sent_at, [], "the times of an append that gave none");
        ensure_eq!(of(1), [Some(history.records[1].created_at); 3], "the times of messages without given times");
        ensure_eq!(of(2), [None, Some(at(1_700_000_000_123))], "the times of a large record's messages");
        let window = handle.load(&session, &Load::last(1)).await?;
        ensure_eq!(window.records[0].sent_at, history.records[2].sent_at, "the times in a window");
    }
    if context.store.capabilities().rewind {
        let history = all(&context.store, &session).await?;
        let rewind = Append::rewind(&history, 1, [Message::user("again")])?.sent_at([Some(at(7))]);
        context.store.append(&session, &rewind).await?;
        let history = all(&context.store, &session).await?;
        let got: Vec<_> = history.records.iter().flat_map(|record| record.entry_times()).collect();
        ensure_eq!(got, [Some(at(1)), None, Some(MAX_TIME), Some(at(7))], "the times after a rewind");
    }
    context.store.append(&session, &Append::replace_all([Message::user("new")]).sent_at([Some(at(8))])).await?;
    let history = all(&context.store, &session).await?;
    ensure_eq!(history.records[0].sent_at, [Some(at(8))], "the times of the replacement");
    Ok(())
}

pub(super) async fn appends_are_visible_on_every_handle(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let handles = context.handles(2).await?;
    let mut want = Vec::new();
    for n in 0..12 {
        let appended = say(&handles[n % 3], &session, n.to_string()).await?;
        ensure_eq!(appended.seq, n as u64, "the number of an append through handle {}", n % 3);
        want.push(n.to_string());
        for (i, handle) in handles.iter().enumerate() {
            ensure_eq!(
                texts(handle, &session).await?,
                want,
                "what handle {i} sees right after an append through handle {}",
                n % 3
            );
        }
    }
    Ok(())
}

pub(super) async fn idle_handle_follows_writes_of_others(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let (here, there) = (&context.store, context.open().await?);
    say(here, &session, "a").await?;
    ensure_eq!(texts(here, &session).await?, ["a"], "what the handle itself appended");
    for i in 0..5 {
        say(&there, &session, i.to_string()).await?;
    }
    ensure_eq!(say(here, &session, "b").await?.seq, 6, "the number after five appends of another handle");
    ensure_eq!(texts(here, &session).await?, ["a", "0", "1", "2", "3", "4", "b"], "what both wrote");
    there.clear(&session).await?;
    ensure_eq!(texts(here, &session).await?, Vec::<String>::new(), "what is left after another handle's clear");
    ensure_eq!(say(here, &session, "c").await?.seq, 8, "the number after another handle's clear");
    there.append(&session, &Append::replace_all([Message::user("d")])).await?;
    ensure_eq!(say(here, &session, "e").await?.seq, 10, "the number after another handle replaced all");
    ensure_eq!(texts(&there, &session).await?, ["d", "e"], "what both wrote");
    Ok(())
}

pub(super) async fn similar_session_ids_stay_separate(context: TestContext) -> Result<(), Failure> {
    let base = context.session()?;
    let ends = ["", " ", "a", "A", "a ", "a/", "a/b", "a#b", "a%", "a_", "é", "e\u{301}", "'", "\"", "ns", "00"];
    let ids: Vec<_> = ends.iter().map(|end| SessionId::new(format!("{base}{end}"))).collect::<Result<_, _>>()?;
    for id in &ids {
        say(&context.store, id, id.as_str()).await?;
    }
    for id in &ids {
        ensure_eq!(texts(&context.store, id).await?, [id.as_str()], "the messages of session {id:?}");
    }
    context.store.clear(&ids[0]).await?;
    for id in &ids[1..] {
        ensure_eq!(texts(&context.store, id).await?, [id.as_str()], "the messages of session {id:?} after another was cleared");
    }
    Ok(())
}

pub(super) async fn metadata_round_trips(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let metadata = Map::from_iter([
        ("model".to_owned(), json!("m-1")),
        ("usage".to_owned(), json!({"tokens": 18_446_744_073_709_551_615_u64, "cost": 1.0, "cached": null})),
        ("tags".to_owned(), json!([])),
    ]);
    context.store.append(&session, &Append::new([Message::user("with")]).with_metadata(metadata.clone())).await?;
    context.store.append(&session, &Append::new([Message::user("empty")]).with_metadata(Map::new())).await?;
    say(&context.store, &session, "without").await?;
    let records = all(&context.store, &session).await?.records;
    let back: Vec<_> = records.into_iter().map(|record| record.metadata).collect();
    ensure_eq!(back, [Some(metadata), Some(Map::new()), None], "the metadata of three records");
    Ok(())
}

pub(super) async fn acknowledged_append_survives_reopening(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let first = context.open().await?;
    count_to(&first, &session, 3).await?;
    let before = all(&first, &session).await?;
    drop(first);
    drop(context.store);
    let again = (context.suite.open)().await?;
    let after = all(&again, &session).await?;
    ensure_eq!(after.records, before.records, "the records before and after the store was reopened");
    ensure_eq!(after.position, before.position, "the position before and after the store was reopened");
    ensure_eq!(say(&again, &session, "more").await?.seq, 3, "the number of the next append");
    Ok(())
}
