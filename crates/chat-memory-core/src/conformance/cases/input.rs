//! Bad input: refused, with nothing written.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};

use crate::conformance::sample::{all, say, saying, texts, with_field};
use crate::conformance::{Failure, TestContext};
use crate::json;
use crate::message::Message;
use crate::store::directory::MAX_TITLE_BYTES;
use crate::store::{Append, AppendId, Load, MAX_KEY_BYTES, MAX_TIME, PageCursor, Position, Reach, Ticket};
use crate::timestamp::Timestamp;

fn bad() -> Vec<(&'static str, Append)> {
    let deep = (0..json::MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    let twice = Message { extra: Map::from_iter([("content".to_owned(), json!("other"))]), ..Message::user("text") };
    let bad_second = Append::new([Message::user("good"), twice.clone()]);
    vec![
        ("no message", Append::new(None::<Message>)),
        ("an empty key", saying("x").with_key("")),
        ("a key that is too long", saying("x").with_key("k".repeat(MAX_KEY_BYTES + 1))),
        ("a title that is too long", saying("x").with_title("t".repeat(MAX_TITLE_BYTES + 1))),
        ("a title with a line feed", saying("x").with_title("a\nb")),
        ("one time for no message", Append::clear().sent_at([None])),
        ("fewer times than messages", Append::new([Message::user("q"), Message::assistant("a")]).sent_at([Some(MAX_TIME)])),
        ("a time before 1970", saying("x").sent_at([Some(Timestamp::UNIX_EPOCH)])),
        ("a time that is too late", saying("x").sent_at([Some(MAX_TIME + Duration::from_millis(1))])),
        ("a start before 1970", saying("x").started_at(Timestamp::from_millis(-1))),
        ("a message that is too deep", Append::new([with_field("deep", deep.clone())])),
        ("metadata that is too deep", saying("x").with_metadata(Map::from_iter([("deep".to_owned(), deep)]))),
        ("a field given twice", Append::new([twice])),
        ("a bad message after a good one", bad_second),
    ]
}

pub(super) async fn invalid_input_writes_nothing(context: TestContext) -> Result<(), Failure> {
    let (session, fresh) = (context.session()?, context.session()?);
    say(&context.store, &session, "before").await?;
    let before = all(&context.store, &session).await?;
    for (what, append) in bad() {
        ensure_err!(context.store.append(&fresh, &append).await, Invalid, "{what}, in a new session");
        ensure_err!(context.store.append(&session, &append).await, Invalid, "{what}");
        let after = all(&context.open().await?, &session).await?;
        ensure_eq!(after.records, before.records, "the records after {what}");
        ensure_eq!(after.position, before.position, "the position after {what}");
    }
    ensure_eq!(
        all(&context.store, &fresh).await?.position.next(),
        0,
        "the next number of a session that only bad input was sent to"
    );
    if context.store.capabilities().directory {
        ensure_eq!(
            context.store.session(&fresh).await?,
            None,
            "the directory entry of a session that only bad input was sent to"
        );
    }
    ensure_eq!(say(&context.store, &session, "after").await?.seq, 1, "the next number after the errors");
    Ok(())
}

pub(super) async fn values_at_the_limits_are_accepted(context: TestContext) -> Result<(), Failure> {
    let base = context.session()?;
    let session = crate::SessionId::new(format!("{base}{}", "i".repeat(crate::SessionId::MAX_BYTES - base.as_str().len())))?;
    let append = saying("x").with_key("k".repeat(MAX_KEY_BYTES)).with_title("t".repeat(MAX_TITLE_BYTES));
    context.store.append(&session, &append).await?;
    ensure!(context.store.append(&session, &append).await?.repeated, "the longest key is not recognised");
    ensure_eq!(all(&context.store, &session).await?.records.len(), 1, "the records of the session with the longest id");
    Ok(())
}

pub(super) async fn extreme_numbers_get_a_defined_outcome(context: TestContext) -> Result<(), Failure> {
    let (session, store) = (context.session()?, &context.store);
    for text in ["a", "b", "c"] {
        say(store, &session, text).await?;
    }
    let heavy = Reach::Weight { budget: u64::MAX, of: Arc::new(|_| u64::MAX) };
    for load in [Load::last(usize::MAX), Load::turns(usize::MAX), Load::last(i64::MAX as usize), Load::reaching(heavy)] {
        let history = store.load(&session, &load).await?;
        let texts: Vec<String> = history.messages().map(Message::text).collect();
        ensure!(texts.ends_with(&["c".to_owned()]), "the newest message is missing from {load:?}: {texts:?}");
    }
    for number in [u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1, 1_000_000_000_000] {
        let newer = store.load(&session, &Load::all().since(number)).await?;
        ensure_eq!(newer.records.len(), 0, "the records since number {number}");
        ensure_eq!(newer.position.next(), 3, "the next number, read since number {number}");
        for read_at in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            store.load(&session, &Load::last(1).before(PageCursor::new(number, number, read_at))).await?;
            let position = Position::new(number, Some(AppendId::random()), read_at);
            ensure_err!(
                store.append(&session, &saying("x").with_expected(position)).await,
                Conflict,
                "a position of number {number}"
            );
            let ticket = Ticket::new(AppendId::random(), number).tried_at(read_at);
            match store.append(&context.session()?, &saying("x").with_ticket(ticket)).await {
                Ok(appended) => ensure_eq!(appended.seq, 0, "the number of an append by {ticket:?}"),
                Err(error) => ensure!(error.is_invalid(), "an append by {ticket:?}: {error}"),
            }
        }
    }
    ensure_eq!(texts(store, &session).await?, ["a", "b", "c"], "the messages afterwards");
    Ok(())
}
