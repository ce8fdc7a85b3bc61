//! Entries that are not messages.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{Random, all, comes_back, seqs};
use crate::conformance::{Failure, TestContext};
use crate::entry::Entry;
use crate::message::Message;
use crate::store::{Append, ChatStoreExt, Load, MAX_TIME};
use crate::timestamp::Timestamp;

fn other(value: Value) -> Entry {
    if let Value::Object(fields) = value { Entry::from_object(fields) } else { Entry::Other(Map::new()) }
}

fn summary(text: &str) -> Entry {
    other(json!({"type": "summary", "summary": text}))
}

pub(super) async fn other_entries_come_back(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let mut entries = Vec::new();
    for text in [
        "{}",
        r#"{"type":"summary","summary":"A trip 👩‍👩‍👧‍👦 to \u0000 Rome\r\n"}"#,
        r#"{"parentUuid":null,"isSidechain":false,"type":"user","message":{"role":"user","content":[{"type":"text","text":"Hi"}]},"uuid":"u"}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAAA=="}"#,
        r#"{"n":[1,1.0,-0.0,-0,18446744073709551615,-9223372036854775808,0.10000000000000001,1e300,9007199254740993.0]}"#,
        r#"{"z":1,"y":{"b":[],"a":{}},"":"","role":"someone","content":{"not":"a message"}}"#,
        r#"{"role":"user","content":"no message, since its name is none","name":7}"#,
        r##"{"chat_memory":{"id":"x"},"langchain":{},"$ref":"#","S":"8","messages":[{"role":"user"}]}"##,
    ] {
        entries.push(Entry::from_json(text).map_err(|e| Failure::new(format!("{text}: {e}")))?);
    }
    comes_back(&context.store, &session, &entries).await?;
    let mut random = Random::new(7);
    entries.extend((0..20).map(|_| Entry::Other(random.fields(4))));
    // Between messages, and large enough to be stored apart.
    let large = other(json!({"type": "file", "data": (0..60_000).map(|_| random.below(10).to_string()).collect::<String>()}));
    let messages = (0..8).map(|_| Entry::from(random.message()));
    let mixed: Vec<_> = messages.zip(entries.drain(..8)).flat_map(|(message, entry)| [message, entry]).chain([large]).collect();
    comes_back(&context.open().await?, &session, &mixed).await?;
    comes_back(&context.store, &session, &entries).await?;
    let back = all(&context.open().await?, &session).await?.into_entries();
    ensure_eq!(back.len(), 8 + mixed.len() + entries.len(), "the number of entries in the session");
    ensure!(back.ends_with(&entries), "the entries are not loaded in the order in which they were appended");
    Ok(())
}

pub(super) async fn windows_pass_over_other_entries(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    context.store.append(&session, &Append::new([Message::user("1?"), Message::assistant("1!")])).await?;
    let turn = vec![summary("before"), Message::user("2?").into(), summary("between"), Message::assistant("2!").into()];
    context.store.append(&session, &Append::new(&turn)).await?;
    for n in 0..30 {
        context.store.append(&session, &Append::new([summary(&n.to_string())])).await?;
    }
    for (load, first) in [(Load::last(1), 1), (Load::last(2), 1), (Load::last(3), 0), (Load::turns(1), 1), (Load::turns(2), 0)] {
        let history = context.store.load(&session, &load).await?;
        ensure_eq!(history.records.first().map(|record| record.seq), Some(first), "{load:?}: the first record loaded");
        ensure_eq!(history.records.len(), 32 - first as usize, "{load:?}: the number of records loaded");
        let of_turn = history.records.iter().find(|record| record.seq == 1).map(|record| &record.entries);
        ensure_eq!(of_turn, Some(&turn), "{load:?}: a record that holds both kinds");
        ensure_eq!(history.messages().count(), 4 - 2 * first as usize, "{load:?}: the number of messages loaded");
    }
    let newest = context.store.load(&session, &Load::records(3)).await?;
    ensure_eq!(seqs(&newest), [29, 30, 31], "the last three records");
    let older = newest.older().ok_or_else(|| Failure::new("the last three of 32 records are reported as complete"))?;
    let page = context.store.load(&session, &Load::records(2).before(older)).await?;
    ensure_eq!(seqs(&page), [27, 28], "the two records before them");
    Ok(())
}

pub(super) async fn other_entries_keep_their_place_and_time(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let entries = vec![summary("first"), Message::user("Where to?").into(), summary("last")];
    let times = [Some(Timestamp::from_millis(7)), None, Some(MAX_TIME)];
    let append = Append::new(&entries).sent_at(times).with_key("once");
    let appended = context.store.append(&session, &append).await?;
    let record = all(&context.store, &session).await?.records.pop().ok_or_else(|| Failure::new("no record was loaded"))?;
    ensure_eq!(record.entry_times().collect::<Vec<_>>(), times, "the time of each entry");
    ensure_eq!(record.timed_messages().map(|(_, at)| at).collect::<Vec<_>>(), [None], "the time of the message");
    let again = context.open().await?.append(&session, &append).await?;
    ensure!(again.repeated && again.seq == appended.seq, "an append of other entries is not recognised by its key: {again:?}");
    let changed = Append::new([summary("first"), Message::user("Where to?").into(), summary("other")]).with_key("once");
    ensure_err!(context.store.append(&session, &changed).await, KeyReused, "the same key with another entry");
    if context.store.capabilities().rewind {
        context.store.rewind_turns(&session, 1).await?;
        let left = all(&context.store, &session).await?;
        ensure_eq!(
            left.records.last().map(|record| &record.entries),
            Some(&vec![summary("first")]),
            "what comes before the turn"
        );
    }
    context.store.clear(&session).await?;
    ensure!(all(&context.store, &session).await?.is_empty(), "a clear leaves entries");
    Ok(())
}

pub(super) async fn other_entries_are_stored_or_refused(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let append = Append::new([Message::user("a message").into(), summary("and another entry")]);
    let appended = context.store.append(&session, &append).await;
    if context.store.capabilities().entries {
        appended?;
        ensure_eq!(all(&context.store, &session).await?.into_entries(), append.entries(), "the entries of the session");
        return Ok(());
    }
    ensure_err!(appended, Unsupported, "an entry that is not a message");
    let history = all(&context.store, &session).await?;
    ensure!(history.is_empty() && history.position.next() == 0, "a refused append has written something");
    Ok(())
}

/// Messages, which every store holds, with these ids.
fn with_ids(ids: impl IntoIterator<Item = usize>) -> Vec<Message> {
    ids.into_iter().map(|id| Message::user(format!("line {id}")).with_id(id.to_string())).collect()
}

pub(super) async fn an_id_is_stored_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let store = &context.store;
    let times = [Some(5), None, Some(6), Some(7)].map(|at| at.map(Timestamp::from_millis));
    let first = store.append_new(&session, Append::new(with_ids([0, 1, 0, 2])).sent_at(times)).await?;
    ensure_eq!(first.new, [true, true, false, true], "which entries of the first append are new");
    ensure_eq!(first.appended.as_ref().map(|appended| appended.seq), Some(0), "the number of the first record");
    let unnamed = [Message::user("without an id"), Message::user("without an id")];
    let overlapping = with_ids([1, 2, 3, 4]).into_iter().chain(unnamed.clone());
    let second = context.open().await?.append_new(&session, Append::new(overlapping)).await?;
    ensure_eq!(second.new, [false, false, true, true, true, true], "which entries of an overlapping append are new");
    let third = store.append_new(&session, Append::new(with_ids(0..5))).await?;
    ensure!(third.appended.is_none() && !third.new.contains(&true), "a repeat appended something: {third:?}");
    ensure_eq!(third.position, second.position, "the position after a repeat");
    store.append_new(&session, Append::new(unnamed.clone())).await?;
    let history = all(store, &session).await?;
    let ids: Vec<_> = history.messages().filter_map(|message| message.id.clone()).collect();
    ensure_eq!(ids, ["0", "1", "2", "3", "4"], "the ids in the session");
    ensure_eq!(history.entries().count(), 9, "the entries in the session, of which those without an id are appended each time");
    let kept: Vec<_> = history.records[0].entry_times().collect();
    ensure_eq!(kept, [times[0], times[1], times[3]], "the times of the entries that were appended");

    let stale = Append::new(with_ids([9])).with_expected(first.position.clone());
    ensure_err!(store.append_new(&session, stale).await, Conflict, "new entries at an outdated position");
    let known = Append::new(with_ids([4])).with_expected(first.position);
    ensure!(store.append_new(&session, known).await?.appended.is_none(), "known entries at an outdated position were appended");
    for unfit in [Append::replace_all(with_ids([9])), Append::new(with_ids([9])).with_key("key")] {
        ensure_err!(store.append_new(&session, unfit).await, Invalid, "new entries only, with a rewind or a key");
    }
    // More records than are read at once.
    for n in 0..120 {
        store.append(&session, &Append::new([Message::user(n.to_string())])).await?;
    }
    let far = store.append_new(&session, Append::new(with_ids([3, 9]))).await?;
    ensure_eq!(far.new, [false, true], "which entries are new, after 120 more records");
    if store.capabilities().entries {
        let lines = |ids: &[&str]| ids.iter().map(|id| other(json!({"type": "user", "uuid": id}))).collect::<Vec<_>>();
        store.append_new(&session, Append::new(lines(&["a", "b"]))).await?;
        ensure_eq!(store.append_new(&session, Append::new(lines(&["b", "c"]))).await?.new, [false, true], "which lines are new");
    }
    Ok(())
}

pub(super) async fn an_id_with_another_body_is_refused(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let store = &context.store;
    store.append_new(&session, Append::new(with_ids(0..3))).await?;
    let changed = Message::user("other").with_id("1");
    let batches = [
        with_ids([7]).into_iter().chain([changed.clone()]).collect::<Vec<_>>(),
        vec![Message::user("one").with_id("1 twice"), Message::user("two").with_id("1 twice")],
    ];
    for batch in batches {
        match store.append_new(&session, Append::new(batch)).await {
            Err(error) if error.is_key_reused() && error.to_string().contains("\"1") => {}
            result => return Err(Failure::new(format!("a known id with another body: {result:?}"))),
        }
    }
    ensure_eq!(all(store, &session).await?.position.next(), 1, "the records after refused appends");
    Ok(())
}

pub(super) async fn a_cleared_id_may_be_appended_again(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let store = &context.store;
    store.append_new(&session, Append::new(with_ids(0..2))).await?;
    store.clear(&session).await?;
    let again = context.open().await?.append_new(&session, Append::new(with_ids(0..3))).await?;
    ensure_eq!(again.new, [true; 3], "which entries are new after a clear");
    let changed = Append::replace_all([Message::user("changed").with_id("1")]);
    store.append(&session, &changed).await?;
    let after = store.append_new(&session, Append::new(with_ids([2]))).await?;
    ensure_eq!(after.new, [true], "an entry that was replaced is new");
    Ok(())
}

pub(super) async fn remembered_ids_follow_other_writers(context: TestContext) -> Result<(), Failure> {
    let (store, other) = (&context.store, context.open().await?);
    // What another handle does to a session with ids 0, 1 and 2, and which of 1, 2 and 3 are new after it.
    for (what, new) in [
        ("nothing", [false, false, true]),
        ("append 3", [false, false, false]),
        ("append 9", [false, false, true]),
        ("rewind 2", [false, true, true]),
        ("replace", [true, false, true]),
        ("clear", [true; 3]),
        ("delete", [true; 3]),
        ("restart", [true, true, false]),
    ] {
        // The first appends something at any rate, the second nothing if nothing has changed, the third an id with another body.
        for (batch, known_body) in
            [(with_ids(1..4), true), (with_ids(1..3), true), (vec![Message::user("x").with_id("1")], false)]
        {
            let session = context.session()?;
            for id in 0..3 {
                store.append_new(&session, Append::new(with_ids([id]))).await?;
            }
            match what {
                "append 3" => other.append(&session, &Append::new(with_ids([3]))).await.map(|_| ())?,
                "append 9" => other.append_new(&session, Append::new(with_ids([2, 9]))).await.map(|_| ())?,
                "rewind 2" if !store.capabilities().rewind => continue,
                "rewind 2" => other.rewind_to(&session, 2).await.map(|_| ())?,
                "replace" => other.append(&session, &Append::replace_all(with_ids([2]))).await.map(|_| ())?,
                "clear" => other.clear(&session).await.map(|_| ())?,
                "delete" => other.delete(&session).await.map(|_| ())?,
                "restart" => {
                    other.delete(&session).await?;
                    for id in [7, 8, 3] {
                        other.append(&session, &Append::new(with_ids([id]))).await?;
                    }
                }
                _ => {}
            }
            let length = batch.len();
            match store.append_new(&session, Append::new(batch)).await {
                Ok(appended) if known_body || new[0] => {
                    ensure_eq!(appended.new, new[..length], "which entries are new after another handle's {what}");
                    let history = all(&other, &session).await?;
                    ensure_eq!(appended.position, history.position, "the position after another handle's {what}");
                }
                Err(error) if error.is_key_reused() && !(known_body || new[0]) => {}
                result => return Err(Failure::new(format!("new entries after another handle's {what}: {result:?}"))),
            }
        }
    }
    Ok(())
}

pub(super) async fn overlapping_batches_at_once_store_each_id_once(context: TestContext) -> Result<(), Failure> {
    const WRITERS: usize = 8;
    const LINES: usize = 30;
    let session = context.session()?;
    // On a table of Flowise's, whether a first append got through cannot always be told.
    context.store.append(&session, &Append::new([Message::user("first")])).await?;
    let handles = context.handles(3).await?;
    let writers = (0..WRITERS).map(|writer| {
        let (handle, session) = (Arc::clone(&handles[writer % 4]), session.clone());
        tokio::spawn(async move {
            let mut appended = 0;
            for from in (0..LINES).step_by(5) {
                let batch = with_ids(from..(from + 8).min(LINES));
                let new = handle.append_new(&session, Append::new(batch)).await?.new;
                appended += new.into_iter().filter(|new| *new).count();
            }
            Ok::<_, Failure>(appended)
        })
    });
    let appended: usize = all_of(writers).await?.into_iter().sum();
    let mut ids: Vec<usize> = Vec::new();
    for message in all(&handles[0], &session).await?.messages() {
        ids.extend(message.id.as_deref().and_then(|id| id.parse::<usize>().ok()));
    }
    ensure_eq!(appended, LINES, "the entries that the writers together reported as new");
    ids.sort_unstable();
    ensure_eq!(ids, (0..LINES).collect::<Vec<_>>(), "the ids in the session");
    Ok(())
}
