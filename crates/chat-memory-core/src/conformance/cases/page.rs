//! Pages of a history, backwards from its newest record, and loads of what is new since a number.

use super::window::uneven;
use crate::conformance::sample::{all, count_to, say, seqs};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;
use crate::session::SessionId;
use crate::store::{Append, ChatStoreExt, History, Load, PageCursor, Record};

/// Loads pages of at least this many messages, newest page first, each with its records oldest first.
async fn pages(context: &TestContext, session: &SessionId, messages: usize) -> Result<Vec<History>, Failure> {
    let mut pages = vec![context.store.load(session, &Load::last(messages)).await?];
    while let Some(older) = pages.last().and_then(History::older) {
        ensure!(pages.len() < 1_000, "more than a thousand pages");
        pages.push(context.store.load(session, &Load::last(messages).before(older)).await?);
    }
    Ok(pages)
}

async fn check_pages(context: &TestContext, session: &SessionId) -> Result<(), Failure> {
    let whole = all(&context.store, session).await?;
    for messages in [1, 2, 5, 1_000] {
        let pages = pages(context, session, messages).await?;
        let records: Vec<Record> = pages.iter().rev().flat_map(|page| page.records.clone()).collect();
        ensure_eq!(records, whole.records, "the records of the pages of {messages}, and of the whole");
        for page in &pages {
            ensure_eq!(page.position, whole.position, "the position of a page of {messages}");
            let filled = page.messages().count() >= messages;
            ensure!(
                filled || page.complete,
                "a page of {messages} has {} messages, although there are more",
                page.messages().count()
            );
        }
    }
    Ok(())
}

pub(super) async fn backward_pages_return_every_record_once(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    check_pages(&context, &session).await?;
    uneven(&context, &session, 20).await?;
    check_pages(&context, &session).await?;
    context.store.clear(&session).await?;
    check_pages(&context, &session).await?;
    uneven(&context, &session, 6).await?;
    check_pages(&context, &session).await
}

pub(super) async fn backward_pages_exclude_rewound_records(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    uneven(&context, &session, 12).await?;
    context.store.rewind_to(&session, 9).await?;
    uneven(&context, &session, 4).await?;
    check_pages(&context, &session).await?;
    let history = all(&context.store, &session).await?;
    context.store.append(&session, &Append::rewind(&history, 4, [Message::user("edit")])?).await?;
    check_pages(&context, &session).await?;
    uneven(&context, &session, 3).await?;
    check_pages(&context, &session).await
}

/// Checks a page of two before `older`: the newest visible records below the one that was seen last.
async fn check_page_before(
    context: &TestContext,
    session: &SessionId,
    older: PageCursor,
    seen: u64,
    what: &str,
) -> Result<(), Failure> {
    let below: Vec<_> = all(&context.store, session).await?.records.into_iter().filter(|record| record.seq < seen).collect();
    let page = context.store.load(session, &Load::last(2).before(older)).await?;
    let in_page: Vec<_> = page.records.iter().filter(|record| record.seq < seen).cloned().collect();
    ensure!(below.ends_with(&in_page), "{what}: the page holds {:?}, and the view {below:?}", seqs(&page));
    ensure!(page.messages().count() >= 2 || page.complete, "{what}: the page is short but not the last");
    Ok(())
}

pub(super) async fn continued_page_shows_only_currently_visible_records(context: TestContext) -> Result<(), Failure> {
    // Where the newest page ended, and the record from which a rewind then removes.
    for take_back in [Some(9), Some(8), Some(6), Some(5), Some(2), None] {
        let session = context.session()?;
        count_to(&context.store, &session, 10).await?;
        let newest = context.store.load(&session, &Load::last(2)).await?;
        let older = newest.older().ok_or_else(|| Failure::new("a page of ten messages is reported as the last"))?;
        let seen = newest.records.first().map_or(0, |record| record.seq);
        say(&context.store, &session, "since").await?;
        match take_back {
            Some(seq) => context.store.rewind_to(&session, seq).await?,
            None => context.store.append(&session, &Append::clear()).await?,
        };
        let what = take_back.map_or("cleared since".to_owned(), |seq| format!("removed from {seq} on since"));
        check_page_before(&context, &session, older, seen, &what).await?;
        say(&context.store, &session, "and after").await?;
        check_page_before(&context, &session, older, seen, &what).await?;
        if take_back.is_none() {
            context.store.sweep(&session).await?;
            check_page_before(&context, &session, older, seen, "cleared and swept since").await?;
        }
    }
    Ok(())
}

pub(super) async fn load_since_a_number_returns_newer_records(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let nothing = context.store.load(&session, &Load::all().since(3)).await?;
    ensure!(nothing.is_empty() && nothing.position.next() == 0, "a load of an empty session since 3: {nothing:?}");
    count_to(&context.store, &session, 8).await?;
    for handle in [context.store.clone(), context.open().await?] {
        let whole = all(&handle, &session).await?;
        for (since, seqs_wanted) in [(0, 0..8), (5, 5..8), (7, 7..8), (8, 8..8), (30, 30..30)] {
            let new = handle.load(&session, &Load::all().since(since)).await?;
            ensure_eq!(seqs(&new), seqs_wanted.collect::<Vec<_>>(), "the records since {since} of eight");
            ensure_eq!(new.position, whole.position, "the position of a load since {since}");
        }
        let new = handle.load(&session, &Load::last(2).since(3)).await?;
        ensure!(new.records.len() >= 2 && seqs(&new).iter().all(|seq| *seq >= 3), "the last two since 3: {:?}", seqs(&new));
    }
    context.store.clear(&session).await?;
    let new = context.store.load(&session, &Load::all().since(4)).await?;
    ensure!(new.is_empty(), "a load since 4 returns what was cleared: {:?}", seqs(&new));
    Ok(())
}

pub(super) async fn page_cursor_survives_conversion_to_text(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    count_to(&context.store, &session, 9).await?;
    let newest = context.store.load(&session, &Load::last(3)).await?;
    let older = newest.older().ok_or_else(|| Failure::new("a page of nine messages is reported as the last"))?;
    let read: PageCursor = older.to_string().parse()?;
    ensure_eq!(read, older, "a cursor, and the same parsed from its text");
    let page = context.open().await?.load(&session, &Load::last(3).before(read)).await?;
    let newest_of_page = page.records.last().map(|record| record.seq + 1);
    ensure_eq!(newest_of_page, newest.records.first().map(|record| record.seq), "where the earlier page begins");
    Ok(())
}
