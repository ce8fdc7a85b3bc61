//! Pages of a history, from its newest record backwards, and what is new since a number.

use super::window::uneven;
use crate::conformance::sample::{all, count_to, say, seqs};
use crate::conformance::{Failure, Trial};
use crate::message::Message;
use crate::session::SessionId;
use crate::store::{Append, ChatStoreExt, History, Load, Older, Record};

cases! {
    pages_back_are_the_whole: "page by page from the newest record backwards, each record of the view comes once, and the last page says that it is the last",
    pages_back_follow_rewinds [Rewind]: "pages go back along the view: what was taken back is in none",
    a_page_before_shows_what_is_in_view_now [Rewind]: "a page behind one that was read earlier shows what is in view now: nothing that was taken back or cleared since (promise 5)",
    a_load_since_a_number_brings_what_is_new: "a load since a number brings the records of that number and later, and the position",
    a_cursor_travels_as_text: "the cursor of a page goes through text and to another handle",
}

/// The pages of at least so many messages, newest page first, each with its records oldest first.
async fn pages(trial: &Trial, session: &SessionId, messages: usize) -> Result<Vec<History>, Failure> {
    let mut pages = vec![trial.store.load(session, &Load::last(messages)).await?];
    while let Some(older) = pages.last().and_then(History::older) {
        ensure!(pages.len() < 1_000, "after a thousand pages there is still one more");
        pages.push(trial.store.load(session, &Load::last(messages).before(older)).await?);
    }
    Ok(pages)
}

async fn check_pages(trial: &Trial, session: &SessionId) -> Result<(), Failure> {
    let whole = all(&trial.store, session).await?;
    for messages in [1, 2, 5, 1_000] {
        let pages = pages(trial, session, messages).await?;
        let records: Vec<Record> = pages.iter().rev().flat_map(|page| page.records.clone()).collect();
        ensure_eq!(records, whole.records, "the records of the pages of {messages}, and of the whole");
        for page in &pages {
            ensure_eq!(page.position, whole.position, "the position of a page of {messages}");
            let filled = page.messages().count() >= messages;
            ensure!(filled || page.complete, "a page of {messages} has {} messages, and there are more", page.messages().count());
        }
    }
    Ok(())
}

async fn pages_back_are_the_whole(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    check_pages(&trial, &session).await?;
    uneven(&trial, &session, 20).await?;
    check_pages(&trial, &session).await?;
    trial.store.clear(&session).await?;
    check_pages(&trial, &session).await?;
    uneven(&trial, &session, 6).await?;
    check_pages(&trial, &session).await
}

async fn pages_back_follow_rewinds(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    uneven(&trial, &session, 12).await?;
    trial.store.rewind_to(&session, 9).await?;
    uneven(&trial, &session, 4).await?;
    check_pages(&trial, &session).await?;
    let history = all(&trial.store, &session).await?;
    trial.store.append(&session, &Append::rewind(&history, 4, [Message::user("edit")])?).await?;
    check_pages(&trial, &session).await?;
    uneven(&trial, &session, 3).await?;
    check_pages(&trial, &session).await
}

/// What a page of two before `older` must be: the newest of what is in view below the record that was seen last.
async fn check_page_before(trial: &Trial, session: &SessionId, older: Older, seen: u64, what: &str) -> Result<(), Failure> {
    let below: Vec<_> = all(&trial.store, session).await?.records.into_iter().filter(|record| record.seq < seen).collect();
    let page = trial.store.load(session, &Load::last(2).before(older)).await?;
    let in_page: Vec<_> = page.records.iter().filter(|record| record.seq < seen).cloned().collect();
    ensure!(below.ends_with(&in_page), "{what}: the page holds {:?}, and the view {below:?}", seqs(&page));
    ensure!(page.messages().count() >= 2 || page.complete, "{what}: the page is short, and not the last");
    Ok(())
}

async fn a_page_before_shows_what_is_in_view_now(trial: Trial) -> Result<(), Failure> {
    // Where the newest page ended, and from which record on is taken back then.
    for take_back in [Some(9), Some(8), Some(6), Some(5), Some(2), None] {
        let session = trial.session()?;
        count_to(&trial.store, &session, 10).await?;
        let newest = trial.store.load(&session, &Load::last(2)).await?;
        let older = newest.older().ok_or_else(|| Failure::new("a page of ten messages says that it is the last"))?;
        let seen = newest.records.first().map_or(0, |record| record.seq);
        say(&trial.store, &session, "since").await?;
        match take_back {
            Some(seq) => trial.store.rewind_to(&session, seq).await?,
            None => trial.store.append(&session, &Append::clear()).await?,
        };
        let what = take_back.map_or("cleared since".to_owned(), |seq| format!("taken back from {seq} on since"));
        check_page_before(&trial, &session, older, seen, &what).await?;
        say(&trial.store, &session, "and after").await?;
        check_page_before(&trial, &session, older, seen, &what).await?;
        if take_back.is_none() {
            trial.store.sweep(&session).await?;
            check_page_before(&trial, &session, older, seen, "cleared and swept since").await?;
        }
    }
    Ok(())
}

async fn a_load_since_a_number_brings_what_is_new(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let nothing = trial.store.load(&session, &Load::all().since(3)).await?;
    ensure!(nothing.is_empty() && nothing.position.next() == 0, "a load of an empty session since 3: {nothing:?}");
    count_to(&trial.store, &session, 8).await?;
    for handle in [trial.store.clone(), trial.open().await?] {
        let whole = all(&handle, &session).await?;
        for (since, seqs_wanted) in [(0, 0..8), (5, 5..8), (7, 7..8), (8, 8..8), (30, 30..30)] {
            let new = handle.load(&session, &Load::all().since(since)).await?;
            ensure_eq!(seqs(&new), seqs_wanted.collect::<Vec<_>>(), "the records since {since} of eight");
            ensure_eq!(new.position, whole.position, "the position of a load since {since}");
        }
        let new = handle.load(&session, &Load::last(2).since(3)).await?;
        ensure!(new.records.len() >= 2 && seqs(&new).iter().all(|seq| *seq >= 3), "the last two since 3: {:?}", seqs(&new));
    }
    trial.store.clear(&session).await?;
    let new = trial.store.load(&session, &Load::all().since(4)).await?;
    ensure!(new.is_empty(), "what was cleared comes back by a load since 4: {:?}", seqs(&new));
    Ok(())
}

async fn a_cursor_travels_as_text(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    count_to(&trial.store, &session, 9).await?;
    let newest = trial.store.load(&session, &Load::last(3)).await?;
    let older = newest.older().ok_or_else(|| Failure::new("a page of nine messages says that it is the last"))?;
    let read: Older = older.to_string().parse()?;
    ensure_eq!(read, older, "a cursor, and its text read again");
    let page = trial.open().await?.load(&session, &Load::last(3).before(read)).await?;
    let newest_of_page = page.records.last().map(|record| record.seq + 1);
    ensure_eq!(newest_of_page, newest.records.first().map(|record| record.seq), "where the page before begins");
    Ok(())
}
