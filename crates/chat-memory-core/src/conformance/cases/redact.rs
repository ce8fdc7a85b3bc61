//! Redactions: what they replace, and what they leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, json};
use uuid::Uuid;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, say, saying, texts};
use crate::conformance::{Failure, TestContext};
use crate::message::{Message, ToolCall};
use crate::store::{Append, ChatStoreExt as _, Load, Record, Redaction, SearchQuery, SearchScope, Ticket};
use crate::timestamp::Timestamp;

/// Redacts a whole record.
fn whole() -> Redaction {
    Redaction::new()
}

/// A record without its entries.
fn place(record: &Record) -> Record {
    Record { entries: Vec::new(), ..record.clone() }
}

pub(super) async fn redacted_message_is_replaced_in_its_place(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    say(&context.store, &session, "before").await?;
    let asked = Timestamp::from_millis(1_700_000_000_123);
    let note = Map::from_iter([("note".to_owned(), json!({"n": 1.0}))]);
    let turn = Append::new([Message::user("my secret").with_name("ada").with_id("m-1"), Message::assistant("noted")]);
    let turn = turn.sent_at([Some(asked), None]).with_metadata(note);
    let seq = context.store.append(&session, &turn).await?.seq;
    say(&context.store, &session, "after").await?;
    let was = all(&context.store, &session).await?;

    let redacted = context.store.redact(&session, seq, &whole().message(0)).await?;
    ensure_eq!((redacted.changed, redacted.entries), (true, 1), "what a redaction reports");
    ensure_eq!(redacted.before, was.records[1], "the record as the redaction found it");
    for handle in context.handles(1).await? {
        let is = all(&handle, &session).await?;
        ensure_eq!(is.position, was.position, "the position after a redaction");
        ensure_eq!(
            is.records.iter().map(place).collect::<Vec<_>>(),
            was.records.iter().map(place).collect::<Vec<_>>(),
            "the records, apart from their messages"
        );
        ensure_eq!((&is.records[0], &is.records[2]), (&was.records[0], &was.records[2]), "the records around it");
        ensure_eq!(is.records[1].entries[1], was.records[1].entries[1], "the other message of the record");
        let Some(message) = is.records[1].entries[0].as_message() else { return Err(Failure::new("it is no message any more")) };
        let (name, id) = (message.name.as_deref(), message.id.as_deref());
        ensure_eq!((message.text().as_str(), name, id), ("[redacted]", Some("ada"), Some("m-1")), "the redacted message");
        ensure_eq!(is.records[1], redacted.after, "the record that the redaction returned");
        let window = handle.load(&session, &Load::last(3)).await?;
        ensure!(window.messages().all(|message| !message.text().contains("secret")), "a window shows the text");
    }
    let again = saying("still there").with_expected(was.position);
    context.store.append(&session, &again).await?;
    context.store.redact(&session, seq, &whole().with_replacement("gone")).await?;
    ensure_eq!(
        texts(&context.store, &session).await?,
        ["before", "gone", "gone", "after", "still there"],
        "the texts after a redaction of the whole record"
    );
    Ok(())
}

pub(super) async fn redacted_calls_keep_their_results(context: TestContext) -> Result<(), Failure> {
    let message = |value| Message::from_value(value).map_err(|e| Failure::new(e.to_string()));
    let forms = [
        [Message::tool_calls([ToolCall::function("c", "f", "{\"secret\": 1}")]), Message::tool("c", "secret")],
        [
            message(
                json!({"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"secret": 1}}]}),
            )?,
            message(json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "secret"}]}))?,
        ],
        [
            message(
                json!({"role": "assistant", "content": [{"toolUse": {"toolUseId": "c", "name": "f", "input": {"secret": 1}}}]}),
            )?,
            message(json!({"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": "secret"}]}}]}))?,
        ],
        [
            message(json!({"role": "assistant", "parts": [{"functionCall": {"name": "f", "args": {"secret": 1}}}]}))?,
            message(json!({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"secret": 1}}}]}))?,
        ],
    ];
    for [call, result] in forms {
        let session = context.session()?;
        let turn = [Message::user("how is it?"), call.clone(), result.clone(), Message::assistant("well")];
        context.store.append(&session, &Append::new(&turn)).await?;
        context.store.redact(&session, 0, &whole().message(1)).await?;
        context.store.redact(&session, 0, &whole().message(2)).await?;
        let history = context.open().await?.load(&session, &Load::all()).await?;
        let is: Vec<&Message> = history.messages().collect();
        ensure_eq!((is.len(), is[0], is[3]), (4, &turn[0], &turn[3]), "the messages around the call");
        let references = |message: &Message| {
            let of = crate::message::tools::ToolUse::of(message);
            format!("{:?} {:?} {:?}", of.form, of.calls, of.results)
        };
        for (is, was) in [(is[1], &call), (is[2], &result)] {
            ensure_eq!(references(is), references(was), "what a redacted message calls or answers");
            ensure_eq!(is.begins_turn(), was.begins_turn(), "whether it begins a turn");
            ensure!(!is.to_json().contains("secret"), "text is left: {}", is.to_json());
        }
    }
    Ok(())
}

pub(super) async fn repeated_redaction_changes_nothing(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    say(&context.store, &session, "secret").await?;
    let tried = context.store.redact(&session, 0, &whole().dry_run()).await?;
    ensure!(
        tried.changed && texts(&context.store, &session).await? == ["secret"],
        "a dry run redacts, or says that it would not"
    );
    ensure!(context.store.redact(&session, 0, &whole()).await?.changed, "a first redaction says that it changed nothing");
    let once = all(&context.store, &session).await?.records;
    for handle in context.handles(1).await? {
        let again = handle.redact(&session, 0, &whole()).await?;
        ensure_eq!((again.changed, again.entries), (false, 0), "what a repeat reports");
        ensure!(
            !handle.redact(&session, 0, &whole().dry_run()).await?.changed,
            "a dry run of a repeat says that it would change something"
        );
        ensure_eq!(all(&handle, &session).await?.records, once, "the records after a repeat");
    }
    Ok(())
}

pub(super) async fn hidden_record_is_redacted_or_erased(context: TestContext) -> Result<(), Failure> {
    let can_rewind = context.store.capabilities().rewind;
    for clear in if can_rewind { &[false, true][..] } else { &[true] } {
        let session = context.session()?;
        say(&context.store, &session, "kept").await?;
        let seq = say(&context.store, &session, "secret").await?.seq;
        let hide = match clear {
            true => Append::clear(),
            false => Append::rewind(&all(&context.store, &session).await?, seq, None::<Message>)?,
        };
        context.store.append(&session, &hide).await?;
        let shown = texts(&context.store, &session).await?;
        match context.store.redact(&session, seq, &whole()).await {
            Ok(redacted) => {
                ensure!(redacted.changed, "a hidden record is reported as redacted");
                let left = context.open().await?.redact(&session, seq, &whole().dry_run()).await?;
                ensure_eq!(
                    (left.changed, left.before.messages().map(Message::text).collect::<Vec<_>>()),
                    (false, vec!["[redacted]".to_owned()]),
                    "what is left of a hidden record"
                );
            }
            Err(error) => ensure!(error.is_not_found(), "a hidden record cannot be redacted: {error}"),
        }
        ensure_eq!(texts(&context.store, &session).await?, shown, "what is visible");
    }
    Ok(())
}

pub(super) async fn redaction_of_what_is_not_there_is_refused(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let not_found = async |seq, redaction: Redaction| {
        let done = context.store.redact(&session, seq, &redaction).await;
        if let Err(error) = &done {
            let named = error.is_not_found().then_some(seq);
            ensure_eq!(error.missing_record(), named, "which record the error says is missing");
        }
        Ok::<_, Failure>(done)
    };
    ensure_err!(not_found(0, whole()).await?, NotFound, "a record of a session that was never written to");
    say(&context.store, &session, "0").await?;
    let other = say(&context.store, &session, "1").await?.position.last();
    for seq in [2, u64::MAX] {
        ensure_err!(not_found(seq, whole()).await?, NotFound, "a record that is not there");
    }
    ensure_err!(not_found(0, whole().message(1)).await?, Invalid, "a message that is not there");
    for text in [String::new(), "x".repeat(1025)] {
        ensure_err!(not_found(0, whole().with_replacement(text)).await?, Invalid, "an invalid replacement");
    }
    if let Some(other) = other {
        ensure_err!(not_found(0, whole().with_expected(other)).await?, NotFound, "another append's record");
        ensure!(not_found(1, whole().with_expected(other).dry_run()).await??.changed, "an expected record is refused");
    }
    ensure_eq!(texts(&context.store, &session).await?, ["0", "1"], "the messages after refused redactions");
    context.store.clear(&session).await?;
    ensure_err!(not_found(0, whole()).await?, NotFound, "a record that was swept");
    Ok(())
}

pub(super) async fn repeat_of_a_redacted_append_is_recognised(context: TestContext) -> Result<(), Failure> {
    let ticket = Ticket::new(crate::store::AppendId::random(), 0);
    let turn =
        || Append::new([Message::user("my secret"), Message::tool_calls([ToolCall::function("c", "f", "{\"secret\": 1}")])]);
    for by_key in [true, false] {
        let session = context.session()?;
        let named = |append: Append| if by_key { append.with_key("k") } else { append.with_ticket(ticket) };
        let first = context.store.append(&session, &named(turn())).await?;
        context.store.redact(&session, first.seq, &whole()).await?;
        for handle in context.handles(1).await? {
            let again = handle.append(&session, &named(turn())).await?;
            ensure_eq!((again.repeated, again.seq), (true, first.seq), "what a repeat of a redacted append returns");
            let other = named(Append::new([Message::user("my secret"), Message::tool("c", "another")]));
            ensure_err!(handle.append(&session, &other).await, KeyReused, "another body");
        }
        ensure_eq!(texts(&context.store, &session).await?, ["[redacted]", ""], "the messages after repeats");
    }
    let session = context.session()?;
    let named = || Append::new([Message::user("my secret").with_id("a"), Message::user("other").with_id("b")]);
    context.store.append_new(&session, named()).await?;
    context.store.redact(&session, 0, &whole().message(0)).await?;
    for handle in context.handles(1).await? {
        ensure_eq!(handle.append_new(&session, named()).await?.new, [false, false], "which entries are new after a redaction");
        let left = all(&handle, &session).await?.into_entries();
        ensure_eq!(
            handle.append_new(&session, Append::new(&left)).await?.new,
            [false, false],
            "which of the entries that are left are new"
        );
    }
    Ok(())
}

pub(super) async fn redacted_text_is_not_found(context: TestContext) -> Result<(), Failure> {
    let (session, word) = (context.session()?, format!("w{}", Uuid::new_v4().simple()));
    for n in 0..3 {
        context
            .store
            .append(&session, &Append::new([Message::user(format!("{word} own{n}x")), Message::assistant("yes")]))
            .await?;
    }
    let left = format!("left{}", Uuid::new_v4().simple());
    context.store.redact(&session, 1, &whole().message(0).with_replacement(&left)).await?;
    for handle in context.handles(1).await? {
        for (words, count) in [(word.clone(), 2), (format!("{word} own1x"), 0), (format!("{word} own2x"), 1), (left.clone(), 1)] {
            let query = SearchQuery::new(words.clone()).within(SearchScope::Session(session.clone()));
            let page = handle.search(&query).await?;
            ensure_eq!(page.hits.len(), count, "how many messages have {words:?}");
        }
    }
    Ok(())
}

pub(super) async fn large_record_is_redacted(context: TestContext) -> Result<(), Failure> {
    // Not compressible.
    let large = || (0..14_000).map(|_| Uuid::new_v4().to_string()).collect::<String>();
    let session = context.session()?;
    let turn = [Message::user(format!("secret {}", large())), Message::assistant(large())];
    // Not the first of the session, and the first.
    for seq in 0..2 {
        context.store.append(&session, &Append::new(&turn)).await?;
        let redacted = context.store.redact(&session, seq, &whole().message(0)).await?;
        ensure!(redacted.changed, "a large record is reported as redacted");
        let reader = context.open().await?;
        let record = all(&reader, &session).await?.records.pop();
        let messages = record.map(Record::into_messages).unwrap_or_default();
        ensure_eq!((messages.len(), messages[0].text()), (2, "[redacted]".to_owned()), "the redacted message");
        ensure!(messages[1] == turn[1], "the other message of the record has changed");
        context.store.redact(&session, seq, &whole()).await?;
        ensure_eq!(
            texts(&reader, &session).await?.split_off(2 * seq as usize),
            ["[redacted]", "[redacted]"],
            "the messages of the record"
        );
    }
    Ok(())
}

pub(super) async fn redactions_at_once_all_hold(context: TestContext) -> Result<(), Failure> {
    const MESSAGES: usize = 6;
    let session = context.session()?;
    let handles = context.handles(2).await?;
    let turn = (0..MESSAGES).map(|n| Message::user(format!("secret {n}")));
    context.store.append(&session, &Append::new(turn)).await?;
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, session, done) = (Arc::clone(&handles[2]), session.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut last = 0;
            while !done.load(Ordering::SeqCst) {
                let history = all(&store, &session).await?;
                let record = &history.records[0];
                ensure_eq!(record.entries.len(), MESSAGES, "the number of messages");
                let texts: Vec<_> = record.messages().map(Message::text).collect();
                for (n, text) in texts.iter().enumerate() {
                    ensure!(*text == format!("secret {n}") || text == "[redacted]", "a load sees {text:?}");
                }
                let redacted = texts.iter().filter(|text| *text == "[redacted]").count();
                ensure!(redacted >= last, "a later load shows what was redacted");
                last = redacted;
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    };
    let redactions = (0..MESSAGES).map(|n| {
        let (store, session) = (Arc::clone(&handles[n % 2]), session.clone());
        tokio::spawn(async move {
            say(&store, &session, format!("meanwhile {n}")).await?;
            let redacted = store.redact(&session, 0, &whole().message(n)).await?;
            ensure!(redacted.changed, "a redaction says that it changed nothing");
            Ok(())
        })
    });
    let redacted = all_of(redactions).await;
    done.store(true, Ordering::SeqCst);
    let read = all_of([reader]).await;
    redacted?;
    read?;
    let texts = texts(&context.open().await?, &session).await?;
    ensure_eq!(texts.iter().filter(|text| *text == "[redacted]").count(), MESSAGES, "how many messages are redacted");
    ensure_eq!(texts.iter().filter(|text| text.starts_with("meanwhile")).count(), MESSAGES, "how many were appended meanwhile");
    Ok(())
}
