//! The `list` layout: damages each attribute of a session's item, its segments, notes and parts in every way.

use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::store::Load;
use chat_memory::store::dynamodb::{Dialect, DynamoDbStore, Roll};
use chat_memory::{Append, ChatStore, Message, SessionId, ToolCall};
use serde_json::json;

use super::readable::readable;
use super::table::Whole;
use super::values::{damages, some};
use super::{Shown, Tally, check_error, ends};
use crate::dynamodb::{Stored, noise, s, text};

pub struct Listed {
    pub whole: Whole,
    pub session: SessionId,
    pub dialect: Dialect,
    pub shown: Vec<Shown>,
}

pub async fn store(table: &str, dialect: Dialect) -> DynamoDbStore {
    let with = |options: chat_memory::store::dynamodb::Options| options.with_dialect(dialect).with_roll(Roll::At(8_000));
    crate::list::open(table.to_owned(), with).await.expect("a store")
}

/// A session with older parts in segments, one large record in parts, tool calls, and a rewind with its note.
pub async fn written(dialect: Dialect) -> Listed {
    let table = crate::list::new_table("id", None).await;
    let store = store(&table, dialect).await;
    let session = SessionId::new("the session").expect("a good id");
    let said = |n: usize| [Message::user(format!("{n} {}", "words ".repeat(80))), Message::assistant(format!("{n}, indeed"))];
    for n in 0..24 {
        store.append(&session, &Append::new(said(n))).await.expect("an append");
    }
    store.append(&session, &Append::new([Message::user(noise(250_000, 7))])).await.expect("an append");
    let call = ToolCall::function("call-1", "look", "{\"at\": 1.50}");
    let turn = [Message::tool_calls([call]), Message::tool("call-1", "found"), Message::assistant("It is there.")];
    let trace = json!({"trace": 7}).as_object().cloned().expect("an object");
    store.append(&session, &Append::new(turn).with_metadata(trace)).await.expect("an append");
    store.append(&session, &Append::new(said(98))).await.expect("an append");
    let history = store.load(&session, &Load::all()).await.expect("a load");
    let to = history.position.next() - 1;
    let rewind = Append::rewind(&history, to, [Message::user("instead")]).expect("a rewind");
    store.append(&session, &rewind).await.expect("a rewind");
    store.append(&session, &Append::new([Message::user("last")])).await.expect("an append");
    let shown = super::shown(&store, &session, &Load::all(), "nothing").await.expect("a load");
    let whole = Whole::of(table, &["id"]).await;
    assert!(whole.items().len() >= 5, "segments, a note, parts: {}", whole.items().len());
    Listed { whole, session, dialect, shown }
}

fn messages(shown: &[Shown]) -> Vec<&Message> {
    shown.iter().flat_map(|(.., messages)| messages).collect()
}

/// Runs every operation on a damaged session. It must show what was written, unless `may_differ`: the damage is then another
/// valid value.
pub async fn examine(listed: &Listed, may_differ: bool, what: &str, tally: &mut Tally) {
    let Listed { whole, session, dialect, shown } = listed;
    let store = store(&whole.table, *dialect).await;
    tally.tried += 1;
    let first = super::shown(&store, session, &Load::all(), what).await;
    match &first {
        Err(error) => {
            check_error(error, session, what);
            tally.refused += 1;
        }
        Ok(read) => {
            assert!(may_differ || messages(read) == messages(shown), "{what}: a different history was returned without an error");
            tally.harmless += 1;
        }
    }
    match super::shown(&store, session, &Load::last(3), what).await {
        Err(error) => check_error(&error, session, what),
        Ok(read) => {
            assert!(may_differ || messages(shown).ends_with(&messages(&read)), "{what}: a window returns a different history")
        }
    }
    for append in [Append::new([Message::user("more")]), Append::new([Message::user("more")]).with_key("a key")] {
        if let Err(error) = ends(&format!("an append with {what}"), store.append(session, &append)).await {
            check_error(&error, session, &format!("an append with {what}"));
        }
    }
    if let Err(error) = ends(what, store.list_all_sessions(None)).await {
        panic!("{what}: a list fails: {error}");
    }
    if let Err(error) = ends(&format!("a sweep with {what}"), store.sweep(session)).await {
        check_error(&error, session, &format!("a sweep with {what}"));
    }
    // It costs as much as all the rest.
    if tally.tried.is_multiple_of(5)
        && let Err(error) = ends(&format!("a sweep of the table with {what}"), store.sweep_table(&mut |_| {})).await
    {
        check_error(&error, session, &format!("a sweep of the table with {what}"));
    }
    match (first, super::shown(&store, session, &Load::all(), what).await) {
        (Ok(before), Ok(after)) => {
            let (before, after) = (messages(&before), messages(&after));
            assert!(after.starts_with(&before), "{what}: a sweep or an append altered the history");
        }
        (Ok(_), Err(error)) => panic!("{what}: an append or a sweep made it unreadable: {error}"),
        (Err(_), Err(error)) => check_error(&error, session, what),
        (Err(error), Ok(_)) => panic!("{what}: the damage went away by itself, it was: {error}"),
    }
}

/// One item of each kind: the session's, a segment, the note of the rewind, a part.
pub fn one_of_each(listed: &Listed) -> Vec<(&'static str, Stored)> {
    let head = |item: &Stored| item.get("chat_memory").and_then(|text| text.as_s().ok().cloned()).unwrap_or_default();
    let kind = |item: &Stored| match () {
        () if text(item, "id") == listed.session.as_str() => "the session",
        () if item.contains_key("data") => "a part",
        () if head(item).contains("\"gone\"") => "a note",
        () => "a segment",
    };
    let mut found: Vec<(&'static str, Stored)> = Vec::new();
    for item in listed.whole.items() {
        if !found.iter().any(|(known, _)| *known == kind(&item)) {
            found.push((kind(&item), item));
        }
    }
    assert_eq!(found.len(), 4);
    found
}

async fn attributes(dialect: Dialect) {
    let listed = written(dialect).await;
    let names = ["messages", "History", "chat_memory", "chat_memory_generation", "chat_memory_ids", "v", "created_at", "data"];
    let mut tally = Tally::default();
    let mut cases = Vec::new();
    for (kind, item) in one_of_each(&listed) {
        for name in names.into_iter().filter(|name| item.contains_key(*name)) {
            cases.extend(damages().into_iter().map(|damage| (kind, item.clone(), name, damage)));
        }
    }
    for (kind, item, name, (how, value)) in some(cases) {
        // Removing the list, its name and its generation leaves a session that looks like a cleared one.
        let empty = matches!(&value, Some(AttributeValue::L(list)) if list.is_empty());
        if listed.whole.damage(&item, name, value).await {
            examine(&listed, empty && kind == "the session", &format!("{how} as {name:?} of {kind}"), &mut tally).await;
            listed.whole.mend().await;
        }
    }
    for (kind, item) in one_of_each(&listed) {
        listed.whole.delete(&item).await;
        examine(&listed, kind == "the session", &format!("{kind} gone"), &mut tally).await;
        listed.whole.mend().await;
    }
    tally.close(&format!("attributes of the list layout, {dialect}"), 300, 100, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_js_item_is_refused_or_whole() {
    attributes(Dialect::Js).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_python_item_is_refused_or_whole() {
    attributes(Dialect::Python).await;
}

/// It reads what it removes, so that a later repeat is recognised.
#[tokio::test(flavor = "multi_thread")]
async fn rewind_past_a_missing_segment_removes_nothing() {
    let listed = written(Dialect::Js).await;
    let Listed { whole, session, shown, .. } = &listed;
    let store = store(&whole.table, Dialect::Js).await;
    let history = store.load(session, &Load::all()).await.expect("a load");
    let rewind = Append::rewind(&history, 2, [Message::user("instead of most")]).expect("a rewind");
    let (_, segment) = one_of_each(&listed).into_iter().find(|(kind, _)| *kind == "a segment").expect("a segment");
    whole.delete(&segment).await;
    let error = store.append(session, &rewind).await.expect_err("some of what it removes cannot be read");
    check_error(&error, session, "a segment gone");
    let window =
        super::shown(&store, session, &Load::last(3), "a segment gone").await.expect("the newest are in the session's item");
    assert!(!window.is_empty() && messages(shown).ends_with(&messages(&window)), "it removed something");
    whole.mend().await;
    assert_eq!(super::shown(&store, session, &Load::all(), "nothing").await.expect("a load"), *shown);
    store.append(session, &rewind).await.expect("the same rewind, once everything is restored");
}

/// An unreadable element blocks no writer: a note written next to it leaves the damage as it is.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_element_is_rolled_unchanged() {
    let table = crate::list::new_table("SessionId", None).await;
    let store = store(&table, Dialect::Python).await;
    let session = SessionId::new("damaged").expect("a good id");
    let empty = Whole::of(table, &["SessionId"]).await;
    let map = |fields: Vec<(&str, AttributeValue)>| {
        AttributeValue::M(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let broken = || s("{broken");
    let element = |data| map(vec![("type", s("human")), ("data", map(data))]);
    let list = [
        element(vec![("type", s("human")), ("content", s("no JSON beside")), ("additional_kwargs", broken())]),
        element(vec![("type", s("human")), ("content", s("fine")), ("additional_kwargs", map(vec![]))]),
        element(vec![("type", s("human")), ("content", s("no JSON either")), ("additional_kwargs", broken())]),
    ];
    empty.put([("SessionId".to_owned(), s("damaged")), ("History".to_owned(), AttributeValue::L(list.into()))].into()).await;
    for n in 0..8 {
        store.append(&session, &Append::new([Message::user(format!("{n} {}", "words ".repeat(400)))])).await.expect("an append");
    }
    let items: Vec<Stored> = Whole::of(empty.table, &["SessionId"]).await.items().into_iter().map(readable).collect();
    let found: usize = items.iter().map(|item| format!("{item:?}").matches("{broken").count()).sum();
    assert!(items.len() > 1 && found == 2, "rolled, with what is wrong: {items:?}");
    let error = store.load(&session, &Load::all()).await.expect_err("two messages cannot be read");
    check_error(&error, &session, "additional_kwargs that are no JSON");
    store.clear(&session).await.expect("a clear");
    assert!(store.load(&session, &Load::all()).await.expect("a load").messages().count() == 0);
}
