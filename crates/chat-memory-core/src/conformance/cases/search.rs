//! Search: what it finds, and what it must not.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use crate::conformance::sample::{all, say, saying};
use crate::conformance::{Failure, Handle, TestContext};
use crate::message::{Content, Message, Part, Role};
use crate::session::{Owner, SessionId};
use crate::store::{Append, ChatStoreExt as _, Load, SearchHit, SearchPage, SearchQuery, SearchScope, SessionUpdate};
use crate::timestamp::Timestamp;

/// A word that no other test uses, not at its beginning either.
fn word() -> String {
    format!("w{}", Uuid::new_v4().simple())
}

/// Searches to the end, and checks each page.
async fn found(store: &Handle, query: &SearchQuery) -> Result<Vec<SearchHit>, Failure> {
    let (mut hits, mut query) = (Vec::new(), query.clone());
    for _ in 0..10_000 {
        let page = store.search(&query).await?;
        let SearchPage { hits: more, next, warnings, .. } = page;
        ensure!(more.len() <= query.page_size(), "a page of {} hits, more than requested", more.len());
        ensure!(warnings.is_empty(), "a search of readable sessions warns: {warnings:?}");
        hits.extend(more);
        match next {
            Some(next) => query = query.after(next),
            None => return Ok(hits),
        }
    }
    Err(Failure::new("the search has no end: 10,000 pages, each with a next one"))
}

/// Returns the record and entry of each message found in a session, in order.
async fn places(store: &Handle, session: &SessionId, words: &str) -> Result<Vec<(u64, usize)>, Failure> {
    let query = SearchQuery::new(words).within(SearchScope::Session(session.clone()));
    let hits = found(store, &query).await?;
    ensure!(hits.iter().all(|hit| hit.session.id == *session), "a search of one session found another");
    let mut places: Vec<_> = hits.iter().filter_map(|hit| hit.message).map(|message| (message.seq, message.index)).collect();
    places.sort_unstable();
    Ok(places)
}

pub(super) async fn search_finds_messages_with_all_words(context: TestContext) -> Result<(), Failure> {
    let (session, store) = (context.session()?, &context.store);
    let turn = [Message::user("Wohin im Mai? Nach ZÜRICH!"), Message::assistant("To Lisbon in May; not to Rome.")];
    store.append(&session, &Append::new(turn)).await?;
    let parts = [Part::text("May I"), Part::text("see lisbon\u{0}castle?"), Part::image_url("https://rome.example/image")];
    let parts = Message::new(Role::User, Content::Parts(parts.to_vec()));
    store.append(&session, &Append::new([Message::system("brief"), parts])).await?;
    store.append(&session, &Append::new([Message::user("明日は東京に行く")])).await?;
    let other = context.session()?;
    say(store, &other, "Lisbon in May").await?;
    for handle in context.handles(1).await? {
        for (words, want) in [
            ("lisbon", &[(0, 1), (1, 1)][..]),
            ("LISB may", &[(0, 1), (1, 1)]),
            ("may, lisbon?", &[(0, 1), (1, 1)]),
            ("rome", &[(0, 1)]),
            ("rome lisbon", &[(0, 1)]),
            ("castle", &[(1, 1)]),
            ("mai lisbon", &[]),
            ("isbon", &[]),
            ("zurich", &[(0, 0)]),
            ("zürich", &[(0, 0)]),
            ("東京", &[(2, 0)]),
            ("absent", &[]),
            ("image", &[]),
        ] {
            ensure_eq!(places(&handle, &session, words).await?, want, "the messages found by {words:?}");
        }
    }
    let hits = found(store, &SearchQuery::new("rome").within(SearchScope::Session(session))).await?;
    let hit = hits.first().ok_or_else(|| Failure::new("nothing was found"))?;
    ensure_eq!(hit.message.and_then(|message| message.role), Some(Role::Assistant), "the author");
    ensure_eq!(hit.snippet.text, "To Lisbon in May; not to Rome.", "the snippet");
    let marked: Vec<_> = hit.snippet.parts().filter(|(_, is_match)| *is_match).map(|(part, _)| part).collect();
    ensure_eq!(marked, ["Rome"], "what the snippet marks");
    Ok(())
}

pub(super) async fn search_finds_only_what_a_load_returns(context: TestContext) -> Result<(), Failure> {
    let (session, store, word) = (context.session()?, &context.store, word());
    let saying = |n: u64| Append::new([Message::user(format!("{word} number {n}"))]);
    for n in 0..6 {
        store.append(&session, &saying(n)).await?;
    }
    let agree = async |what: &str| -> Result<(), Failure> {
        for handle in context.handles(1).await? {
            let history = handle.load(&session, &Load::all()).await?;
            let has = |message: &Message| message.text().contains(&word);
            let want = history.records.iter().filter(|record| record.messages().any(has)).map(|record| (record.seq, 0));
            ensure_eq!(places(&handle, &session, &word).await?, want.collect::<Vec<_>>(), "the messages found {what}");
        }
        Ok(())
    };
    agree("after six appends").await?;
    if store.capabilities().rewind {
        store.rewind_to(&session, 4).await?;
        agree("after a rewind").await?;
        store.append(&session, &saying(6)).await?;
        let history = all(store, &session).await?;
        store.append(&session, &Append::rewind(&history, 2, [Message::user(format!("instead {word}"))])?).await?;
        agree("after a rewind that replaces").await?;
        ensure_eq!(places(store, &session, &word).await?.len(), 3, "the messages found after two rewinds");
    }
    // Only the clear, without its sweep: what it hides is still stored.
    store.append(&session, &Append::clear()).await?;
    ensure_eq!(places(store, &session, &word).await?, [], "the messages found after a clear");
    store.append(&session, &saying(7)).await?;
    agree("after a clear and an append").await?;
    store.sweep(&session).await?;
    agree("after a sweep").await?;
    store.append(&session, &Append::replace_all([Message::user(format!("only {word}"))])).await?;
    agree("after all was replaced").await?;
    ensure_eq!(places(store, &session, &word).await?.len(), 1, "the messages found after all was replaced");
    store.delete(&session).await?;
    let query = SearchQuery::new(&word).within(SearchScope::Session(session.clone()));
    ensure_eq!(found(store, &query).await?, [], "what is found after a delete");
    store.append(&session, &saying(8)).await?;
    agree("after a delete and an append").await
}

pub(super) async fn search_finds_sessions_by_title_id_and_owner(context: TestContext) -> Result<(), Failure> {
    let (store, word) = (&context.store, word());
    let owner = Owner::new(format!("owner {}", Uuid::new_v4()))?;
    let [lisbon, rome, other] = [context.session()?, context.session()?, context.session()?];
    let start = |session: SessionId, owner: Owner, title: String| async move {
        store.append(&session, &saying("x").with_owner(owner).with_title(title)).await
    };
    start(lisbon.clone(), owner.clone(), format!("A trip to Lisbon {word}")).await?;
    start(rome.clone(), owner.clone(), format!("{word} to Rome")).await?;
    start(other.clone(), Owner::new("another")?, format!("{word} to Lisbon")).await?;
    let ids = async |words: &str, scope: SearchScope| -> Result<BTreeSet<SessionId>, Failure> {
        let hits = found(store, &SearchQuery::new(words).within(scope).titles_only()).await?;
        ensure!(hits.iter().all(|hit| hit.message.is_none()), "a search of titles found a message");
        Ok(hits.into_iter().map(|hit| hit.session.id).collect())
    };
    let mine = || SearchScope::Owner(owner.clone());
    let set = |ids: &[&SessionId]| ids.iter().copied().cloned().collect::<BTreeSet<_>>();
    ensure_eq!(ids(&word, mine()).await?, set(&[&lisbon, &rome]), "the owner's sessions found by title");
    ensure_eq!(ids(&format!("lisbon {word}"), mine()).await?, set(&[&lisbon]), "those found by two words");
    ensure_eq!(ids(rome.as_str(), mine()).await?, set(&[&rome]), "those found by id");
    ensure_eq!(ids(owner.as_str(), mine()).await?, set(&[&lisbon, &rome]), "those found by owner");
    ensure_eq!(ids(&format!("rome {owner}"), mine()).await?, set(&[&rome]), "those found by title and owner");
    ensure_eq!(ids(&word, SearchScope::Unowned).await?, set(&[]), "the unowned sessions found");
    ensure_eq!(ids(&word, SearchScope::All).await?, set(&[&lisbon, &rome, &other]), "the sessions found, of all");
    // Text is found, too, but for titles only.
    say(store, &lisbon, format!("said {word}")).await?;
    let hits = found(store, &SearchQuery::new(format!("said {word}")).within(mine())).await?;
    ensure_eq!(hits.iter().filter(|hit| hit.message.is_some()).count(), 1, "the messages found by text");
    store.update_session(&rome, &SessionUpdate::default().with_title("Paris".to_owned())).await?;
    store.delete(&lisbon).await?;
    ensure_eq!(ids(&word, mine()).await?, set(&[]), "those found after a rename and a delete");
    ensure_eq!(ids("paris", mine()).await?, set(&[&rome]), "those found by the new title");
    Ok(())
}

pub(super) async fn search_pages_have_every_hit_once(context: TestContext) -> Result<(), Failure> {
    let (store, word) = (&context.store, word());
    let owner = Owner::new(format!("owner {}", Uuid::new_v4()))?;
    let mut want = BTreeSet::new();
    for n in 0..4_u64 {
        let session = context.session()?;
        // Sessions with 1, 2, 4 and 80 records, of two messages each.
        for _ in 0..[1, 2, 4, 80][n as usize] {
            let turn = [Message::user(format!("ask {word}")), Message::assistant(format!("{word} {n}")), Message::user("?")];
            let appended = store.append(&session, &Append::new(turn).with_owner(owner.clone())).await?;
            want.extend([0, 1].map(|index| (session.clone(), appended.seq, index)));
        }
    }
    let query = SearchQuery::new(&word).within(SearchScope::Owner(owner));
    for query in [
        query.clone().limit(7),
        query.clone().limit(1),
        query.clone().limit(500).reading_at_most(1, u64::MAX),
        query.clone().limit(500).reading_at_most(100, 1),
        query.limit(3).reading_at_most(1, 1),
    ] {
        let hits = found(store, &query).await?;
        let places: Vec<_> =
            hits.iter().filter_map(|hit| Some((hit.session.id.clone(), hit.message?.seq, hit.message?.index))).collect();
        ensure_eq!(places.len(), want.len(), "the hits, of {}", want.len());
        ensure_eq!(places.into_iter().collect::<BTreeSet<_>>(), want, "the hits across pages");
    }
    Ok(())
}

pub(super) async fn search_keeps_to_the_given_time(context: TestContext) -> Result<(), Failure> {
    let (session, store, word) = (context.session()?, &context.store, word());
    let at = |day: i64| Timestamp::from_secs(1_700_000_000 + day * 86_400);
    let messages = (0..4).map(|day| Message::user(format!("{word} of day {day}")));
    let times: Vec<_> = (0..4).map(|day| Some(at(day))).collect();
    store.append(&session, &Append::new(messages).sent_at(times).started_at(at(0))).await?;
    let in_session = SearchQuery::new(&word).within(SearchScope::Session(session));
    let far = Timestamp::now() + Duration::from_hours(24);
    for (since, until, want) in [
        (None, None, 0..4),
        (Some(at(1)), None, 1..4),
        (None, Some(at(1)), 0..1),
        (Some(at(1)), Some(at(3)), 1..3),
        (Some(far), None, 0..0),
        (None, Some(at(-1)), 0..0),
    ] {
        let hits = found(store, &in_session.clone().since(since).until(until)).await?;
        let mut days: Vec<_> = hits.iter().filter_map(|hit| hit.message).map(|message| message.index).collect();
        days.sort_unstable();
        ensure_eq!(days, want.collect::<Vec<_>>(), "the messages found since {since:?} until {until:?}");
    }
    Ok(())
}

pub(super) async fn invalid_search_is_refused(context: TestContext) -> Result<(), Failure> {
    let (session, store, word) = (context.session()?, &context.store, word());
    for n in 0..3 {
        say(store, &session, format!("{word} {n}")).await?;
    }
    let query = |words: &str| SearchQuery::new(words).within(SearchScope::Session(session.clone()));
    for words in ["", " ", "?!", &"x".repeat(1025)] {
        ensure_err!(store.search(&query(words)).await, Invalid, "a search for {words:?}");
    }
    let now = Timestamp::now();
    ensure_err!(store.search(&query(&word).since(now).until(now)).await, Invalid, "a search that ends before it begins");
    ensure_err!(store.search(&query(&word).after("x")).await, Invalid, "a cursor that is none");
    let page = store.search(&query(&word).limit(1)).await?;
    let Some(next) = page.next else { return Err(Failure::new("a page of one of three hits is the last")) };
    let other = SearchQuery::new(&word).within(SearchScope::Session(context.session()?));
    for other in [query("other"), other, query(&word).titles_only()] {
        ensure_err!(store.search(&other.after(next.clone())).await, Invalid, "a cursor of another search");
    }
    ensure_eq!(store.search(&query(&word).after(next)).await?.hits.len(), 2, "the hits after the first page");
    Ok(())
}
