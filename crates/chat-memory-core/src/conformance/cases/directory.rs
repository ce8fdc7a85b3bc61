//! The directory of sessions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use uuid::Uuid;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, say, saying};
use crate::conformance::{Failure, Handle, Trial};
use crate::json;
use crate::session::{Owner, SessionId};
use crate::store::directory::{MAX_METADATA_BYTES, MAX_TITLE_BYTES};
use crate::store::{AppendId, MAX_TIME_MS, SessionInfo, SessionOrder, SessionQuery, SessionUpdate, Ticket};

cases! {
    a_session_is_listed_from_its_first_record [Directory]: "a session's first append lists it, with its owner, title and time; later ones change nothing of it",
    sessions_are_listed_newest_first [Directory]: "the sessions of an owner come newest first",
    a_session_starts_at_the_time_given [Directory]: "a session that is told when it started says so, and has its place in the list by it",
    owners_are_apart [Directory]: "each owner's list, and that of nobody, holds their own sessions only",
    pages_lose_and_double_nothing [Directory]: "page after page, every session is listed once, also while new ones are added",
    a_page_goes_on_after_its_session_is_gone [Directory]: "a listing goes on though the session at which its page ended was deleted meanwhile",
    a_session_can_be_titled_and_described [Directory]: "title and metadata can be set, replaced and taken away, each without the other, and come back equal",
    a_session_that_is_not_listed_is_none [Directory]: "nothing is known of a session that was never written to, and nothing can be said of it",
    a_clear_leaves_the_session_listed [Directory]: "a session that was cleared keeps its place, title and owner",
    a_deleted_session_is_not_listed [Directory]: "a deleted session is off the directory, and one that starts again is listed anew, as a new one",
    bad_titles_and_cursors_are_refused [Directory]: "a title that is too long, metadata that is too large or too deep, and a cursor of someone else's are errors, and change nothing",
    every_session_is_listed_whoever_owns_it [Directory]: "a listing of all sessions names each once, whoever owns it, and none that was deleted",
    sessions_are_listed_by_last_activity [LastActivity]: "the sessions of an owner come by last activity, which is known as exactly as the store says",
    pages_by_last_activity_lose_and_double_nothing [LastActivity]: "page after page by last activity, what nobody writes to is listed once, and what is written to meanwhile once at most",
    first_appends_at_once_list_a_session_once [Directory]: "however many begin a session at once, by one key, by keys of their own or by one ticket, it is listed once",
    deletes_next_to_appends_leave_one_entry_or_none [Directory]: "after any appends and deletes at once, a session with messages is listed once, and a delete leaves no entry",
    a_repeat_after_a_delete_lists_nothing [Directory]: "a repeat of an append that was deleted since does not list the session again",
    a_store_without_a_directory_says_so: "a store that keeps no directory refuses what it cannot do, and never shows an empty list instead (promise 8)",
}

/// An owner that nobody else has.
fn owner() -> Result<Owner, Failure> {
    Ok(Owner::new(format!("conformance {}", Uuid::new_v4()))?)
}

/// Starts a session of this owner, later than the one before it.
async fn start(trial: &Trial, owner: &Owner) -> Result<SessionId, Failure> {
    let session = trial.session()?;
    trial.store.append(&session, &saying("x").owned_by(owner.clone())).await?;
    // Sessions of the same millisecond have no order that a clock could tell.
    tokio::time::sleep(Duration::from_millis(3)).await;
    Ok(session)
}

/// Every session of a list, page after page.
async fn listed(store: &Handle, query: &SessionQuery) -> Result<Vec<SessionInfo>, Failure> {
    let mut sessions = Vec::new();
    let mut query = query.clone();
    for _ in 0..1_000 {
        let page = store.sessions(&query).await?;
        ensure!(page.sessions.len() <= query.limit.unwrap_or(100), "a page of {} sessions, more than asked", page.sessions.len());
        sessions.extend(page.sessions);
        match page.next {
            Some(cursor) => query = query.after(cursor),
            None => return Ok(sessions),
        }
    }
    Err(Failure::new("the list of sessions has no end: a thousand pages, and each names a next"))
}

async fn every_session_is_listed_whoever_owns_it(trial: Trial) -> Result<(), Failure> {
    let mine = owner()?;
    let mut want = HashSet::new();
    for _ in 0..3 {
        want.insert(start(&trial, &mine).await?);
        want.insert(start(&trial, &owner()?).await?);
        let nobodys = trial.session()?;
        say(&trial.store, &nobodys, "x").await?;
        want.insert(nobodys);
    }
    let deleted = start(&trial, &mine).await?;
    trial.store.delete(&deleted).await?;
    let (mut after, mut found) = (None::<String>, Vec::new());
    for pages in 1.. {
        ensure!(pages < 100_000, "the list of all sessions has no end: {pages} pages, and each names a next");
        let page = trial.store.every_session(after.as_deref()).await?;
        found.extend(page.sessions.into_iter().map(|info| info.id).filter(|id| want.contains(id) || *id == deleted));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ensure!(!found.contains(&deleted), "a deleted session is listed");
    ensure_eq!(found.len(), want.len(), "the sessions listed, of {}", want.len());
    ensure_eq!(found.into_iter().collect::<HashSet<_>>(), want, "the sessions listed");
    Ok(())
}

fn ids(sessions: &[SessionInfo]) -> Vec<&SessionId> {
    sessions.iter().map(|info| &info.id).collect()
}

async fn a_session_is_listed_from_its_first_record(trial: Trial) -> Result<(), Failure> {
    let (session, owner) = (trial.session()?, owner()?);
    let first = saying("x").owned_by(owner.clone()).titled("Ünïcode 👍 title");
    let appended = trial.store.append(&session, &first).await?;
    let late = saying("y").owned_by(Owner::new("another")?).titled("another");
    trial.open().await?.append(&session, &late).await?;
    for handle in trial.handles(1).await? {
        let info = handle.session(&session).await?;
        let Some(info) = info else { return Err(Failure::new("a session with records is not listed")) };
        ensure_eq!(info.id, session, "the id");
        ensure_eq!(info.owner.as_ref(), Some(&owner), "the owner given with the first append");
        ensure_eq!(info.title.as_deref(), Some("Ünïcode 👍 title"), "the title given with the first append");
        ensure_eq!(info.metadata, None, "the metadata of a session that has none");
        let apart = (info.created_at - appended.created_at).abs();
        ensure!(apart < 60_000, "the session's time is {apart} ms from its first record's");
        ensure_eq!(listed(&handle, &SessionQuery::of(owner.clone())).await?, [info], "the owner's list");
    }
    Ok(())
}

async fn sessions_are_listed_newest_first(trial: Trial) -> Result<(), Failure> {
    let owner = owner()?;
    let mut want = Vec::new();
    for _ in 0..6 {
        want.insert(0, start(&trial, &owner).await?);
    }
    // Writing to an old one does not move it.
    say(&trial.store, &want[5], "more").await?;
    for limit in [1, 2, 5, 6, 100] {
        let sessions = listed(&trial.store, &SessionQuery::of(owner.clone()).limit(limit)).await?;
        ensure_eq!(ids(&sessions), want.iter().collect::<Vec<_>>(), "the list, {limit} a page");
    }
    Ok(())
}

async fn a_session_starts_at_the_time_given(trial: Trial) -> Result<(), Failure> {
    let owner = owner()?;
    let first = || saying("x").owned_by(owner.clone());
    let mut started = Vec::new();
    for at in [1_700_000_000_002, 1, 1_700_000_000_001] {
        let session = trial.session()?;
        trial.store.append(&session, &first().started_at(at)).await?;
        // It started before.
        trial.open().await?.append(&session, &first().started_at(5)).await?;
        started.push((session, at));
    }
    let (now, future) = (start(&trial, &owner).await?, trial.session()?);
    let appended = trial.store.append(&future, &first().started_at(MAX_TIME_MS)).await?;
    started.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
    let sessions = listed(&trial.store, &SessionQuery::of(owner.clone()).limit(2)).await?;
    let want: Vec<_> = [&future, &now].into_iter().chain(started.iter().map(|(session, _)| session)).collect();
    ensure_eq!(ids(&sessions), want, "the list, by the time given");
    for (session, at) in &started {
        let info = trial.store.session(session).await?;
        ensure_eq!(info.map(|info| info.created_at), Some(*at), "when {session} started");
    }
    let apart = (sessions[0].created_at - appended.created_at).abs();
    ensure!(apart < 60_000, "a session that is told to start in the future starts {apart} ms from now");
    // Deleted, it starts again at that time, and is listed once.
    let (session, at) = &started[0];
    trial.store.delete(session).await?;
    trial.store.append(session, &first().started_at(*at)).await?;
    let left = listed(&trial.store, &SessionQuery::of(owner)).await?;
    ensure_eq!(left.iter().filter(|info| info.id == *session).count(), 1, "how often a session is listed that started again");
    ensure_eq!(left.len(), want.len(), "the sessions of the owner");
    Ok(())
}

async fn owners_are_apart(trial: Trial) -> Result<(), Failure> {
    let (ada, bob) = (owner()?, owner()?);
    let longer = Owner::new(format!("{ada}x"))?;
    let (of_ada, of_bob, of_longer) = (start(&trial, &ada).await?, start(&trial, &bob).await?, start(&trial, &longer).await?);
    let of_nobody = trial.session()?;
    say(&trial.store, &of_nobody, "x").await?;
    for (owner, session) in [(&ada, &of_ada), (&bob, &of_bob), (&longer, &of_longer)] {
        let sessions = listed(&trial.store, &SessionQuery::of(owner.clone())).await?;
        ensure_eq!(ids(&sessions), [session], "the sessions of {owner}");
    }
    // Others may be writing, so only ours are looked for in the list of nobody.
    let nobodys = listed(&trial.store, &SessionQuery::of_nobody()).await?;
    let has = |session: &SessionId| nobodys.iter().any(|info| info.id == *session);
    ensure!(has(&of_nobody), "a session without an owner is not in the list of nobody");
    ensure!(!has(&of_ada) && !has(&of_bob), "a session with an owner is in the list of nobody");
    ensure_eq!(
        listed(&trial.store, &SessionQuery::of(Owner::new(Uuid::new_v4().to_string())?)).await?,
        [],
        "an owner without sessions"
    );
    Ok(())
}

async fn pages_lose_and_double_nothing(trial: Trial) -> Result<(), Failure> {
    let owner = owner()?;
    let mut old = HashSet::new();
    for _ in 0..9 {
        old.insert(start(&trial, &owner).await?);
    }
    let mut query = SessionQuery::of(owner.clone()).limit(2);
    let mut seen = Vec::new();
    loop {
        let page = trial.store.sessions(&query).await?;
        seen.extend(page.sessions.into_iter().map(|info| info.id));
        let Some(next) = page.next else { break };
        query = query.after(next);
        start(&trial, &owner).await?;
        ensure!(seen.len() < 100, "the list of sessions has no end");
    }
    let distinct: HashSet<_> = seen.iter().cloned().collect();
    ensure_eq!(distinct.len(), seen.len(), "the sessions listed, once each");
    ensure!(old.is_subset(&distinct), "sessions that were there from the start are not listed");
    Ok(())
}

async fn a_page_goes_on_after_its_session_is_gone(trial: Trial) -> Result<(), Failure> {
    let owner = owner()?;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.insert(0, start(&trial, &owner).await?);
    }
    let page = trial.store.sessions(&SessionQuery::of(owner.clone()).limit(2)).await?;
    let (Some(last), Some(next)) = (page.sessions.last(), page.next.clone()) else {
        return Err(Failure::new("a first page of two of four sessions has no session, or no next"));
    };
    trial.store.delete(&last.id).await?;
    let rest = listed(&trial.store, &SessionQuery::of(owner).limit(2).after(next)).await?;
    let seen: Vec<_> = ids(&page.sessions).into_iter().chain(ids(&rest)).collect();
    ensure_eq!(seen, sessions.iter().collect::<Vec<_>>(), "the two pages, with a session deleted between them");
    Ok(())
}

async fn a_session_can_be_titled_and_described(trial: Trial) -> Result<(), Failure> {
    let session = start(&trial, &owner()?).await?;
    let other = trial.open().await?;
    let metadata = Map::from_iter([("n".to_owned(), json!([1, 1.0, u64::MAX, null, {"": ""}]))]);
    let title = SessionUpdate { title: Some(Some("A title".into())), metadata: None };
    let described = SessionUpdate { title: None, metadata: Some(Some(metadata.clone())) };
    let untitled = SessionUpdate { title: Some(None), metadata: None };
    let neither = SessionUpdate { title: Some(None), metadata: Some(None) };
    let nothing = SessionUpdate::default();
    let before = trial.store.session(&session).await?;
    for (update, title, metadata) in [
        (title.clone(), Some("A title"), None),
        (described, Some("A title"), Some(&metadata)),
        (nothing, Some("A title"), Some(&metadata)),
        (untitled, None, Some(&metadata)),
        (title, Some("A title"), Some(&metadata)),
        (neither, None, None),
    ] {
        let returned = trial.store.update_session(&session, &update).await?;
        let stored = other.session(&session).await?;
        ensure_eq!(returned, stored, "what {update:?} returned, and what is stored");
        let Some(info) = stored else { return Err(Failure::new("an update took the session off the directory")) };
        ensure_eq!(info.title.as_deref(), title, "the title after {update:?}");
        ensure_eq!(info.metadata.as_ref(), metadata, "the metadata after {update:?}");
        ensure_eq!(Some(info.created_at), before.as_ref().map(|info| info.created_at), "the time after {update:?}");
        ensure_eq!(Some(&info.owner), before.as_ref().map(|info| &info.owner), "the owner after {update:?}");
    }
    Ok(())
}

async fn a_session_that_is_not_listed_is_none(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    ensure_eq!(trial.store.session(&session).await?, None, "what is known of a session never written to");
    let update = SessionUpdate { title: Some(Some("t".into())), metadata: None };
    ensure_eq!(trial.store.update_session(&session, &update).await?, None, "an update of a session never written to");
    ensure_eq!(trial.store.session(&session).await?, None, "what is known of it after the update");
    Ok(())
}

async fn a_clear_leaves_the_session_listed(trial: Trial) -> Result<(), Failure> {
    let owner = owner()?;
    let session = start(&trial, &owner).await?;
    let before = trial.store.session(&session).await?;
    trial.store.clear(&session).await?;
    say(&trial.store, &session, "on").await?;
    // But for its last activity.
    let known = |info: Option<SessionInfo>| info.map(|info| SessionInfo { last_at: None, ..info });
    let after = trial.store.session(&session).await?;
    ensure_eq!(known(after), known(before), "what is known of a session before and after its clear");
    ensure_eq!(listed(&trial.store, &SessionQuery::of(owner)).await?.len(), 1, "the sessions of its owner");
    Ok(())
}

async fn a_deleted_session_is_not_listed(trial: Trial) -> Result<(), Failure> {
    let (one, two) = (owner()?, owner()?);
    let (session, kept) = (start(&trial, &one).await?, start(&trial, &one).await?);
    let update = SessionUpdate { title: Some(Some("old".into())), metadata: Some(Some(Map::new())) };
    trial.store.update_session(&session, &update).await?;
    trial.store.delete(&session).await?;
    for handle in trial.handles(1).await? {
        ensure_eq!(handle.session(&session).await?, None, "what is known of a deleted session");
        let left = listed(&handle, &SessionQuery::of(one.clone())).await?;
        ensure_eq!(ids(&left), [&kept], "the owner's sessions after one was deleted");
    }
    // It starts again, as another's.
    let again = trial.open().await?.append(&session, &saying("y").owned_by(two.clone())).await?;
    ensure!(again.started, "the first append after a delete does not start the session");
    let Some(info) = trial.store.session(&session).await? else {
        return Err(Failure::new("a session that started again is not listed"));
    };
    ensure_eq!(
        (info.owner.as_ref(), info.title, info.metadata),
        (Some(&two), None, None),
        "owner, title and metadata of the new session"
    );
    ensure_eq!(ids(&listed(&trial.store, &SessionQuery::of(two)).await?), [&session], "the new owner's sessions");
    ensure_eq!(ids(&listed(&trial.store, &SessionQuery::of(one)).await?), [&kept], "the first owner's sessions");
    Ok(())
}

/// Metadata of so many bytes of JSON.
fn of_bytes(bytes: usize) -> Map<String, serde_json::Value> {
    Map::from_iter([("x".to_owned(), json!("x".repeat(bytes - r#"{"x":""}"#.len())))])
}

async fn bad_titles_and_cursors_are_refused(trial: Trial) -> Result<(), Failure> {
    let session = start(&trial, &owner()?).await?;
    let before = trial.store.session(&session).await?;
    let deep = (0..json::MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    let deep = Map::from_iter([("deep".to_owned(), deep)]);
    for (what, update) in [
        ("a title that is too long", SessionUpdate { title: Some(Some("x".repeat(MAX_TITLE_BYTES + 1))), metadata: None }),
        ("a title with a line feed", SessionUpdate { title: Some(Some("a\nb".into())), metadata: None }),
        ("metadata that is too deep", SessionUpdate { title: None, metadata: Some(Some(deep)) }),
        ("metadata that is too large", SessionUpdate { title: None, metadata: Some(Some(of_bytes(MAX_METADATA_BYTES + 1))) }),
    ] {
        ensure_err!(trial.store.update_session(&session, &update).await, Invalid, "{what}");
    }
    let (title, metadata) = ("é".repeat(MAX_TITLE_BYTES / 2), of_bytes(MAX_METADATA_BYTES));
    let largest = SessionUpdate { title: Some(Some(title)), metadata: Some(Some(metadata.clone())) };
    let info = trial.store.update_session(&session, &largest).await?;
    ensure_eq!(info.and_then(|info| info.metadata), Some(metadata), "the largest metadata");
    trial.store.update_session(&session, &SessionUpdate { title: Some(None), metadata: Some(None) }).await?;
    ensure_eq!(trial.store.session(&session).await?, before, "what is known of the session after the errors");
    for cursor in ["", "!", "nonsense", "AAAA"] {
        ensure_err!(trial.store.sessions(&SessionQuery::of_nobody().after(cursor)).await, Invalid, "the cursor {cursor:?}");
    }
    Ok(())
}

async fn sessions_are_listed_by_last_activity(trial: Trial) -> Result<(), Failure> {
    let owner = owner()?;
    let query = SessionQuery::of(owner.clone()).recent();
    let within = trial.store.capabilities().last_activity.unwrap_or_default();
    let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    // When each was last written to, and, the newest first, in which order.
    let mut last: HashMap<SessionId, i64> = HashMap::new();
    let mut want = Vec::new();
    for _ in 0..5 {
        let session = start(&trial, &owner).await?;
        last.insert(session.clone(), created(&trial, &session).await?);
        want.insert(0, session);
    }
    for moved in [4, 2, 0, 3] {
        let session = want.remove(moved);
        let appended = trial.open().await?.append(&session, &saying("more")).await?;
        tokio::time::sleep(Duration::from_millis(3)).await;
        last.insert(session.clone(), appended.created_at);
        want.insert(0, session);
    }
    for limit in [1, 2, 5, 100] {
        let page = trial.store.sessions(&query.clone().limit(limit)).await?;
        ensure_eq!(page.order, SessionOrder::Recent, "the order that a page of {limit} says it has");
        let sessions = listed(&trial.store, &query.clone().limit(limit)).await?;
        ensure_eq!(sessions.len(), want.len(), "the sessions listed, {limit} a page");
        let mut above = i64::MAX;
        for info in &sessions {
            let (Some(at), Some(really)) = (info.last_at, last.get(&info.id)) else {
                return Err(Failure::new("a session in a list by last activity has none, or is another's"));
            };
            ensure!(at <= above, "a session with a later activity comes below one with an earlier");
            ensure!(
                at <= *really && *really - at <= within_ms,
                "the last activity {at} of a session last written to at {really}"
            );
            above = at;
        }
        if within.is_zero() {
            ensure_eq!(ids(&sessions), want.iter().collect::<Vec<_>>(), "the list by last activity, {limit} a page");
        }
    }
    // By start, nothing has moved.
    let page = trial.store.sessions(&SessionQuery::of(owner).limit(2)).await?;
    ensure_eq!(page.order, SessionOrder::Started, "the order that a page says it has where none was asked for");
    let times: Vec<_> = page.sessions.iter().map(|info| info.created_at).collect();
    ensure!(times.is_sorted_by(|a, b| a >= b), "a list by start is not sorted: {times:?}");
    let Some(next) = page.next else { return Err(Failure::new("a page of two of five sessions has no next")) };
    ensure_err!(trial.store.sessions(&query.after(next)).await, Invalid, "a cursor of a list in another order");
    Ok(())
}

/// When a session was begun.
async fn created(trial: &Trial, session: &SessionId) -> Result<i64, Failure> {
    let info = trial.store.session(session).await?;
    info.map(|info| info.created_at).ok_or_else(|| Failure::new("a session with a record is not listed"))
}

async fn pages_by_last_activity_lose_and_double_nothing(trial: Trial) -> Result<(), Failure> {
    let owner = owner()?;
    let mut sessions = Vec::new();
    for _ in 0..9 {
        sessions.push(start(&trial, &owner).await?);
    }
    let mut query = SessionQuery::of(owner.clone()).recent().limit(2);
    let (mut seen, mut moved) = (Vec::new(), HashSet::new());
    loop {
        let page = trial.store.sessions(&query).await?;
        seen.extend(page.sessions.into_iter().map(|info| info.id));
        let Some(next) = page.next else { break };
        query = query.after(next);
        // The oldest, which is yet to come, and one that was seen; and a new one.
        for session in [sessions.remove(0), seen[0].clone()] {
            say(&trial.store, &session, "more").await?;
            moved.insert(session);
        }
        moved.insert(start(&trial, &owner).await?);
        ensure!(seen.len() < 100, "the list of sessions has no end");
    }
    let distinct: HashSet<_> = seen.iter().cloned().collect();
    ensure_eq!(distinct.len(), seen.len(), "the sessions listed, once each");
    let still: Vec<_> = sessions.iter().filter(|session| !moved.contains(*session)).collect();
    ensure!(still.iter().all(|session| distinct.contains(*session)), "a session that nobody wrote to is not listed");
    Ok(())
}

/// How often a session is listed under an owner.
async fn entries(store: &Handle, owner: &Owner, session: &SessionId) -> Result<usize, Failure> {
    let sessions = listed(store, &SessionQuery::of(owner.clone())).await?;
    Ok(sessions.iter().filter(|info| info.id == *session).count())
}

async fn first_appends_at_once_list_a_session_once(trial: Trial) -> Result<(), Failure> {
    let handles = trial.handles(4).await?;
    for round in 0..6 {
        let (session, owner) = (trial.session()?, owner()?);
        let ticket = Ticket::new(AppendId::random(), 0);
        let tasks = handles.iter().enumerate().map(|(n, handle)| {
            let append = saying("x").owned_by(owner.clone()).titled("t");
            let append = match round % 3 {
                0 => append.with_key("k"),
                1 => append.with_key(format!("k{n}")),
                _ => append.with_ticket(ticket),
            };
            let (handle, session) = (Arc::clone(handle), session.clone());
            tokio::spawn(async move { Ok::<_, Failure>(handle.append(&session, &append).await?) })
        });
        all_of(tasks.collect::<Vec<_>>()).await?;
        for handle in trial.handles(1).await? {
            ensure_eq!(
                entries(&handle, &owner, &session).await?,
                1,
                "the entries of a session that five began at once ({round})"
            );
        }
        trial.store.delete(&session).await?;
        ensure_eq!(entries(&trial.store, &owner, &session).await?, 0, "the entries that a delete left");
    }
    Ok(())
}

async fn deletes_next_to_appends_leave_one_entry_or_none(trial: Trial) -> Result<(), Failure> {
    let handles = trial.handles(5).await?;
    for round in 0..6 {
        let (session, owner) = (trial.session()?, owner()?);
        let tasks = handles.iter().enumerate().map(|(n, handle)| {
            let (handle, session, owner) = (Arc::clone(handle), session.clone(), owner.clone());
            tokio::spawn(async move {
                for m in 0..3 {
                    if (n + m + round) % 3 == 0 {
                        handle.delete(&session).await?;
                    } else {
                        // Some of them by the same key.
                        let append = saying("x").owned_by(owner.clone()).with_key(format!("{}", (n * 3 + m) / 2));
                        handle.append(&session, &append).await?;
                    }
                }
                Ok::<_, Failure>(())
            })
        });
        all_of(tasks.collect::<Vec<_>>()).await?;
        let want = usize::from(!all(&trial.store, &session).await?.is_empty());
        for handle in trial.handles(1).await? {
            let found = entries(&handle, &owner, &session).await?;
            // One that was cleared since it began, or all of whose messages were, may be listed without messages.
            ensure!(
                found == want || (want == 0 && found <= 1),
                "{found} entries of a session, where {want} were to be (round {round})"
            );
            ensure_eq!(handle.session(&session).await?.is_some(), found == 1, "whether the session is known that is in the list");
        }
        trial.open().await?.delete(&session).await?;
        ensure_eq!(entries(&trial.store, &owner, &session).await?, 0, "the entries that a delete left");
        ensure_eq!(trial.store.session(&session).await?, None, "what is known of a deleted session");
    }
    Ok(())
}

async fn a_repeat_after_a_delete_lists_nothing(trial: Trial) -> Result<(), Failure> {
    let (session, owner) = (trial.session()?, owner()?);
    let append = saying("x").owned_by(owner.clone()).with_key("k");
    trial.store.append(&session, &append).await?;
    trial.store.delete(&session).await?;
    ensure!(trial.open().await?.append(&session, &append).await?.repeated, "a repeat of a deleted append is taken for a new one");
    ensure_eq!(entries(&trial.store, &owner, &session).await?, 0, "the entries of a deleted session after a repeat");
    ensure_eq!(trial.store.session(&session).await?, None, "what is known of a deleted session after a repeat");
    Ok(())
}

async fn a_store_without_a_directory_says_so(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    say(&trial.store, &session, "x").await?;
    let query = SessionQuery::of(owner()?);
    if trial.store.capabilities().directory {
        ensure!(trial.store.sessions(&query).await?.sessions.is_empty(), "an owner without sessions has some");
        ensure!(trial.store.session(&session).await?.is_some(), "a session with a record is not listed");
    } else {
        ensure_err!(trial.store.sessions(&query).await, Unsupported, "a list of sessions");
        ensure_err!(trial.store.session(&session).await, Unsupported, "what is known of a session");
        ensure_err!(trial.store.update_session(&session, &SessionUpdate::default()).await, Unsupported, "an update");
    }
    Ok(())
}
