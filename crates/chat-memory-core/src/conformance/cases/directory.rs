//! The directory of sessions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use uuid::Uuid;

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{all, say, saying};
use crate::conformance::{Failure, Handle, TestContext};
use crate::json;
use crate::message::Message;
use crate::session::{Owner, SessionId};
use crate::store::directory::{MAX_METADATA_BYTES, MAX_TITLE_BYTES};
use crate::store::{Append, AppendId, MAX_TIME, Redaction, SessionInfo, SessionOrder, SessionQuery, SessionUpdate, Ticket};
use crate::timestamp::Timestamp;

/// An owner that no other test uses.
fn owner() -> Result<Owner, Failure> {
    Ok(Owner::new(format!("conformance {}", Uuid::new_v4()))?)
}

/// Starts a session of this owner, later than the previous one.
async fn start(context: &TestContext, owner: &Owner) -> Result<SessionId, Failure> {
    let session = context.session()?;
    context.store.append(&session, &saying("x").with_owner(owner.clone())).await?;
    // Clocks cannot order sessions that start in the same millisecond.
    tokio::time::sleep(Duration::from_millis(3)).await;
    Ok(session)
}

/// Lists all sessions, page by page.
async fn listed(store: &Handle, query: &SessionQuery) -> Result<Vec<SessionInfo>, Failure> {
    let mut sessions = Vec::new();
    let mut query = query.clone();
    for _ in 0..1_000 {
        let page = store.sessions(&query).await?;
        ensure!(
            page.sessions.len() <= query.limit.unwrap_or(100),
            "a page of {} sessions, more than requested",
            page.sessions.len()
        );
        sessions.extend(page.sessions);
        match page.next {
            Some(cursor) => query = query.after(cursor),
            None => return Ok(sessions),
        }
    }
    Err(Failure::new("the list of sessions has no end: a thousand pages, each with a next one"))
}

pub(super) async fn list_of_all_sessions_covers_every_owner(context: TestContext) -> Result<(), Failure> {
    let mine = owner()?;
    let mut want = HashSet::new();
    for _ in 0..3 {
        want.insert(start(&context, &mine).await?);
        want.insert(start(&context, &owner()?).await?);
        let nobodys = context.session()?;
        say(&context.store, &nobodys, "x").await?;
        want.insert(nobodys);
    }
    let deleted = start(&context, &mine).await?;
    context.store.delete(&deleted).await?;
    let (mut after, mut found) = (None::<String>, Vec::new());
    for pages in 1.. {
        ensure!(pages < 100_000, "the list of all sessions has no end: {pages} pages, each with a next one");
        let page = context.store.list_all_sessions(after.as_deref()).await?;
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

pub(super) async fn session_is_listed_from_its_first_record(context: TestContext) -> Result<(), Failure> {
    let (session, owner) = (context.session()?, owner()?);
    let first = saying("x").with_owner(owner.clone()).with_title("Ünïcode 👍 title");
    let appended = context.store.append(&session, &first).await?;
    let late = saying("y").with_owner(Owner::new("another")?).with_title("another");
    context.open().await?.append(&session, &late).await?;
    for handle in context.handles(1).await? {
        let info = handle.session(&session).await?;
        let Some(info) = info else { return Err(Failure::new("a session with records is not listed")) };
        ensure_eq!(info.id, session, "the id");
        ensure_eq!(info.owner.as_ref(), Some(&owner), "the owner given with the first append");
        ensure_eq!(info.title.as_deref(), Some("Ünïcode 👍 title"), "the title given with the first append");
        ensure_eq!(info.metadata, None, "the metadata of a session that has none");
        let apart = info.created_at.abs_diff(appended.created_at);
        ensure!(apart < Duration::from_mins(1), "the session's time is {apart:?} from its first record's");
        ensure_eq!(listed(&handle, &SessionQuery::of(owner.clone())).await?, [info], "the owner's list");
    }
    Ok(())
}

pub(super) async fn sessions_are_listed_newest_first(context: TestContext) -> Result<(), Failure> {
    let owner = owner()?;
    let mut want = Vec::new();
    for _ in 0..6 {
        want.insert(0, start(&context, &owner).await?);
    }
    // Writing to an old one does not move it.
    say(&context.store, &want[5], "more").await?;
    for limit in [1, 2, 5, 6, 100] {
        let sessions = listed(&context.store, &SessionQuery::of(owner.clone()).limit(limit)).await?;
        ensure_eq!(ids(&sessions), want.iter().collect::<Vec<_>>(), "the list, {limit} a page");
    }
    Ok(())
}

pub(super) async fn session_is_listed_by_its_given_start_time(context: TestContext) -> Result<(), Failure> {
    let owner = owner()?;
    let first = || saying("x").with_owner(owner.clone());
    let mut started = Vec::new();
    for at in [1_700_000_000_002, 1, 1_700_000_000_001].map(Timestamp::from_millis) {
        let session = context.session()?;
        context.store.append(&session, &first().started_at(at)).await?;
        // It started earlier.
        context.open().await?.append(&session, &first().started_at(Timestamp::from_millis(5))).await?;
        started.push((session, at));
    }
    let (now, future) = (start(&context, &owner).await?, context.session()?);
    let appended = context.store.append(&future, &first().started_at(MAX_TIME)).await?;
    started.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
    let sessions = listed(&context.store, &SessionQuery::of(owner.clone()).limit(2)).await?;
    let want: Vec<_> = [&future, &now].into_iter().chain(started.iter().map(|(session, _)| session)).collect();
    ensure_eq!(ids(&sessions), want, "the list, by the time given");
    for (session, at) in &started {
        let info = context.store.session(session).await?;
        ensure_eq!(info.map(|info| info.created_at), Some(*at), "when {session} started");
    }
    let apart = sessions[0].created_at.abs_diff(appended.created_at);
    ensure!(apart < Duration::from_mins(1), "a session with a start time in the future starts {apart:?} from now");
    // After a delete, it starts again at that time and is listed once.
    let (session, at) = &started[0];
    context.store.delete(session).await?;
    context.store.append(session, &first().started_at(*at)).await?;
    let left = listed(&context.store, &SessionQuery::of(owner)).await?;
    ensure_eq!(left.iter().filter(|info| info.id == *session).count(), 1, "how often a restarted session is listed");
    ensure_eq!(left.len(), want.len(), "the sessions of the owner");
    Ok(())
}

pub(super) async fn each_owner_lists_only_its_own_sessions(context: TestContext) -> Result<(), Failure> {
    let (ada, bob) = (owner()?, owner()?);
    let longer = Owner::new(format!("{ada}x"))?;
    let (of_ada, of_bob, of_longer) =
        (start(&context, &ada).await?, start(&context, &bob).await?, start(&context, &longer).await?);
    let unowned = context.session()?;
    say(&context.store, &unowned, "x").await?;
    for (owner, session) in [(&ada, &of_ada), (&bob, &of_bob), (&longer, &of_longer)] {
        let sessions = listed(&context.store, &SessionQuery::of(owner.clone())).await?;
        ensure_eq!(ids(&sessions), [session], "the sessions of {owner}");
    }
    // Others may be writing, so look only for our sessions in the list of unowned ones.
    let nobodys = listed(&context.store, &SessionQuery::unowned()).await?;
    let has = |session: &SessionId| nobodys.iter().any(|info| info.id == *session);
    ensure!(has(&unowned), "a session without an owner is not in the list of unowned sessions");
    ensure!(!has(&of_ada) && !has(&of_bob), "a session with an owner is in the list of unowned sessions");
    ensure_eq!(
        listed(&context.store, &SessionQuery::of(Owner::new(Uuid::new_v4().to_string())?)).await?,
        [],
        "an owner without sessions"
    );
    Ok(())
}

pub(super) async fn pages_list_every_session_once(context: TestContext) -> Result<(), Failure> {
    let owner = owner()?;
    let mut old = HashSet::new();
    for _ in 0..9 {
        old.insert(start(&context, &owner).await?);
    }
    let mut query = SessionQuery::of(owner.clone()).limit(2);
    let mut seen = Vec::new();
    loop {
        let page = context.store.sessions(&query).await?;
        seen.extend(page.sessions.into_iter().map(|info| info.id));
        let Some(next) = page.next else { break };
        query = query.after(next);
        start(&context, &owner).await?;
        ensure!(seen.len() < 100, "the list of sessions has no end");
    }
    let distinct: HashSet<_> = seen.iter().cloned().collect();
    ensure_eq!(distinct.len(), seen.len(), "the sessions listed, once each");
    ensure!(old.is_subset(&distinct), "sessions that were there from the start are not listed");
    Ok(())
}

pub(super) async fn listing_continues_after_its_last_session_is_deleted(context: TestContext) -> Result<(), Failure> {
    let owner = owner()?;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.insert(0, start(&context, &owner).await?);
    }
    let page = context.store.sessions(&SessionQuery::of(owner.clone()).limit(2)).await?;
    let (Some(last), Some(next)) = (page.sessions.last(), page.next.clone()) else {
        return Err(Failure::new("a first page of two of four sessions has no session, or no next"));
    };
    context.store.delete(&last.id).await?;
    let rest = listed(&context.store, &SessionQuery::of(owner).limit(2).after(next)).await?;
    let seen: Vec<_> = ids(&page.sessions).into_iter().chain(ids(&rest)).collect();
    ensure_eq!(seen, sessions.iter().collect::<Vec<_>>(), "the two pages, with a session deleted between them");
    Ok(())
}

pub(super) async fn title_and_metadata_are_updated_independently(context: TestContext) -> Result<(), Failure> {
    let session = start(&context, &owner()?).await?;
    let other = context.open().await?;
    let metadata = Map::from_iter([("n".to_owned(), json!([1, 1.0, u64::MAX, null, {"": ""}]))]);
    let title = SessionUpdate { title: Some(Some("A title".into())), metadata: None };
    let described = SessionUpdate { title: None, metadata: Some(Some(metadata.clone())) };
    let untitled = SessionUpdate { title: Some(None), metadata: None };
    let neither = SessionUpdate { title: Some(None), metadata: Some(None) };
    let emptied = SessionUpdate::default().with_title(String::new());
    let nothing = SessionUpdate::default();
    let before = context.store.session(&session).await?;
    for (update, title, metadata) in [
        (title.clone(), Some("A title"), None),
        (described, Some("A title"), Some(&metadata)),
        (nothing, Some("A title"), Some(&metadata)),
        (untitled, None, Some(&metadata)),
        (title.clone(), Some("A title"), Some(&metadata)),
        (emptied, None, Some(&metadata)),
        (title, Some("A title"), Some(&metadata)),
        (neither, None, None),
    ] {
        let returned = context.store.update_session(&session, &update).await?;
        let stored = other.session(&session).await?;
        ensure_eq!(returned, stored, "what {update:?} returned, and what is stored");
        let Some(info) = stored else { return Err(Failure::new("an update removed the session from the directory")) };
        ensure_eq!(info.title.as_deref(), title, "the title after {update:?}");
        ensure_eq!(info.metadata.as_ref(), metadata, "the metadata after {update:?}");
        ensure_eq!(Some(info.created_at), before.as_ref().map(|info| info.created_at), "the time after {update:?}");
        ensure_eq!(Some(&info.owner), before.as_ref().map(|info| &info.owner), "the owner after {update:?}");
    }
    Ok(())
}

pub(super) async fn unlisted_session_has_no_entry_and_cannot_be_updated(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    ensure_eq!(context.store.session(&session).await?, None, "the directory entry of a session never written to");
    let update = SessionUpdate { title: Some(Some("t".into())), metadata: None };
    ensure_eq!(context.store.update_session(&session, &update).await?, None, "an update of a session never written to");
    ensure_eq!(context.store.session(&session).await?, None, "its directory entry after the update");
    Ok(())
}

pub(super) async fn cleared_session_stays_listed(context: TestContext) -> Result<(), Failure> {
    let owner = owner()?;
    let session = start(&context, &owner).await?;
    let before = context.store.session(&session).await?;
    context.store.clear(&session).await?;
    say(&context.store, &session, "on").await?;
    // Ignores its last activity, and what is about its records.
    let known = |info: Option<SessionInfo>| info.map(|info| info.with_last_at(None).with_records(None).with_first_words(None));
    let after = context.store.session(&session).await?;
    ensure_eq!(known(after), known(before), "the directory entry before and after a clear");
    ensure_eq!(listed(&context.store, &SessionQuery::of(owner)).await?.len(), 1, "the sessions of its owner");
    Ok(())
}

pub(super) async fn deleted_session_is_not_listed(context: TestContext) -> Result<(), Failure> {
    let (one, two) = (owner()?, owner()?);
    let (session, kept) = (start(&context, &one).await?, start(&context, &one).await?);
    let update = SessionUpdate { title: Some(Some("old".into())), metadata: Some(Some(Map::new())) };
    context.store.update_session(&session, &update).await?;
    context.store.delete(&session).await?;
    for handle in context.handles(1).await? {
        ensure_eq!(handle.session(&session).await?, None, "the directory entry of a deleted session");
        let left = listed(&handle, &SessionQuery::of(one.clone())).await?;
        ensure_eq!(ids(&left), [&kept], "the owner's sessions after one was deleted");
    }
    // It starts again, with another owner.
    let again = context.open().await?.append(&session, &saying("y").with_owner(two.clone())).await?;
    ensure!(again.started, "the first append after a delete does not start the session");
    let Some(info) = context.store.session(&session).await? else {
        return Err(Failure::new("a session that started again is not listed"));
    };
    ensure_eq!(
        (info.owner.as_ref(), info.title, info.metadata),
        (Some(&two), None, None),
        "owner, title and metadata of the new session"
    );
    ensure_eq!(ids(&listed(&context.store, &SessionQuery::of(two)).await?), [&session], "the new owner's sessions");
    ensure_eq!(ids(&listed(&context.store, &SessionQuery::of(one)).await?), [&kept], "the first owner's sessions");
    Ok(())
}

/// Metadata of this many bytes of JSON.
fn of_bytes(bytes: usize) -> Map<String, serde_json::Value> {
    Map::from_iter([("x".to_owned(), json!("x".repeat(bytes - r#"{"x":""}"#.len())))])
}

pub(super) async fn invalid_titles_metadata_and_cursors_are_refused(context: TestContext) -> Result<(), Failure> {
    let session = start(&context, &owner()?).await?;
    let before = context.store.session(&session).await?;
    let deep = (0..json::MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    let deep = Map::from_iter([("deep".to_owned(), deep)]);
    for (what, update) in [
        ("a title that is too long", SessionUpdate { title: Some(Some("x".repeat(MAX_TITLE_BYTES + 1))), metadata: None }),
        ("a title with a line feed", SessionUpdate { title: Some(Some("a\nb".into())), metadata: None }),
        ("metadata that is too deep", SessionUpdate { title: None, metadata: Some(Some(deep)) }),
        ("metadata that is too large", SessionUpdate { title: None, metadata: Some(Some(of_bytes(MAX_METADATA_BYTES + 1))) }),
    ] {
        ensure_err!(context.store.update_session(&session, &update).await, Invalid, "{what}");
    }
    let (title, metadata) = ("é".repeat(MAX_TITLE_BYTES / 2), of_bytes(MAX_METADATA_BYTES));
    let largest = SessionUpdate { title: Some(Some(title)), metadata: Some(Some(metadata.clone())) };
    let info = context.store.update_session(&session, &largest).await?;
    ensure_eq!(info.and_then(|info| info.metadata), Some(metadata), "the largest metadata");
    context.store.update_session(&session, &SessionUpdate { title: Some(None), metadata: Some(None) }).await?;
    ensure_eq!(context.store.session(&session).await?, before, "the directory entry after the errors");
    for cursor in ["", "!", "nonsense", "AAAA"] {
        ensure_err!(context.store.sessions(&SessionQuery::unowned().after(cursor)).await, Invalid, "the cursor {cursor:?}");
    }
    Ok(())
}

pub(super) async fn sessions_are_listed_by_last_activity(context: TestContext) -> Result<(), Failure> {
    let owner = owner()?;
    let query = SessionQuery::of(owner.clone()).recent();
    let within = context.store.capabilities().last_activity.unwrap_or_default();
    // When each was last written to, and in which order, newest first.
    let mut last: HashMap<SessionId, Timestamp> = HashMap::new();
    let mut want = Vec::new();
    for _ in 0..5 {
        let session = start(&context, &owner).await?;
        last.insert(session.clone(), created(&context, &session).await?);
        want.insert(0, session);
    }
    for moved in [4, 2, 0, 3] {
        let session = want.remove(moved);
        let appended = context.open().await?.append(&session, &saying("more")).await?;
        tokio::time::sleep(Duration::from_millis(3)).await;
        last.insert(session.clone(), appended.created_at);
        want.insert(0, session);
    }
    for limit in [1, 2, 5, 100] {
        let page = context.store.sessions(&query.clone().limit(limit)).await?;
        ensure_eq!(page.order, SessionOrder::Recent, "the reported order of a page of {limit}");
        let sessions = listed(&context.store, &query.clone().limit(limit)).await?;
        ensure_eq!(sessions.len(), want.len(), "the sessions listed, {limit} a page");
        let mut above = Timestamp::MAX;
        for info in &sessions {
            let (Some(at), Some(really)) = (info.last_at, last.get(&info.id)) else {
                return Err(Failure::new("a session in a list by last activity has none, or another owner"));
            };
            ensure!(at <= above, "a session with a later activity comes below one with an earlier");
            ensure!(
                at <= *really && really.since(at) <= within,
                "the last activity {at} of a session last written to at {really}"
            );
            above = at;
        }
        if within.is_zero() {
            ensure_eq!(ids(&sessions), want.iter().collect::<Vec<_>>(), "the list by last activity, {limit} a page");
        }
    }
    // By start, nothing has moved.
    let page = context.store.sessions(&SessionQuery::of(owner).limit(2)).await?;
    ensure_eq!(page.order, SessionOrder::Started, "the reported order of a page where none was requested");
    let times: Vec<_> = page.sessions.iter().map(|info| info.created_at).collect();
    ensure!(times.is_sorted_by(|a, b| a >= b), "a list by start is not sorted: {times:?}");
    let Some(next) = page.next else { return Err(Failure::new("a page of two of five sessions has no next page")) };
    ensure_err!(context.store.sessions(&query.after(next)).await, Invalid, "a cursor of a list in another order");
    Ok(())
}

/// Returns when a session started.
async fn created(context: &TestContext, session: &SessionId) -> Result<Timestamp, Failure> {
    let info = context.store.session(session).await?;
    info.map(|info| info.created_at).ok_or_else(|| Failure::new("a session with a record is not listed"))
}

pub(super) async fn pages_by_last_activity_list_unchanged_sessions_once(context: TestContext) -> Result<(), Failure> {
    let owner = owner()?;
    let mut sessions = Vec::new();
    for _ in 0..9 {
        sessions.push(start(&context, &owner).await?);
    }
    let mut query = SessionQuery::of(owner.clone()).recent().limit(2);
    let (mut seen, mut moved) = (Vec::new(), HashSet::new());
    loop {
        let page = context.store.sessions(&query).await?;
        seen.extend(page.sessions.into_iter().map(|info| info.id));
        let Some(next) = page.next else { break };
        query = query.after(next);
        // The oldest, which has not been listed yet, one that was, and a new one.
        for session in [sessions.remove(0), seen[0].clone()] {
            say(&context.store, &session, "more").await?;
            moved.insert(session);
        }
        moved.insert(start(&context, &owner).await?);
        ensure!(seen.len() < 100, "the list of sessions has no end");
    }
    let distinct: HashSet<_> = seen.iter().cloned().collect();
    ensure_eq!(distinct.len(), seen.len(), "the sessions listed, once each");
    let still: Vec<_> = sessions.iter().filter(|session| !moved.contains(*session)).collect();
    ensure!(still.iter().all(|session| distinct.contains(*session)), "an unchanged session is not listed");
    Ok(())
}

/// Checks what each handle lists of a session, and reads of it: up to this many records, and these first words, unless the store does not
/// know them.
async fn shows(
    context: &TestContext,
    session: &SessionId,
    owner: &Owner,
    records: u64,
    words: Option<&str>,
) -> Result<(), Failure> {
    for handle in context.handles(1).await? {
        let one = handle.session(session).await?.ok_or_else(|| Failure::new("a session with records is not listed"))?;
        ensure_eq!(listed(&handle, &SessionQuery::of(owner.clone())).await?, std::slice::from_ref(&one), "the owner's list");
        for info in [&one, &read(&handle, &one).await?] {
            if let Some(shown) = info.records {
                let is_right = if info.records_exact { shown == records } else { shown <= records };
                ensure!(is_right, "{shown} records are listed of {records}");
            }
            ensure!(
                info.first_words.is_none() || info.first_words.as_deref() == words,
                "the first words {:?}, not {words:?}",
                info.first_words
            );
        }
    }
    Ok(())
}

/// Reads what a list did not say of a session. Only that may change.
async fn read(store: &Handle, listed: &SessionInfo) -> Result<SessionInfo, Failure> {
    let mut read = [listed.clone()];
    store.read_contents(&mut read).await?;
    let [read] = read;
    let restored = SessionInfo {
        records: listed.records,
        records_exact: listed.records_exact,
        first_words: listed.first_words.clone(),
        ..read.clone()
    };
    ensure_eq!(restored, *listed, "what a list said of a session, once its contents were read");
    Ok(read)
}

/// Returns what each handle lists of a session, and what it then reads of it.
async fn listed_and_read(context: &TestContext, session: &SessionId) -> Result<Vec<SessionInfo>, Failure> {
    let mut infos = Vec::new();
    for handle in context.handles(1).await? {
        let listed = handle.session(session).await?.ok_or_else(|| Failure::new("a session with an entry is not listed"))?;
        infos.extend([read(&handle, &listed).await?, listed]);
    }
    Ok(infos)
}

pub(super) async fn listed_records_and_first_words_are_those_in_view(context: TestContext) -> Result<(), Failure> {
    let (session, owner) = (context.session()?, owner()?);
    let first =
        Append::new([Message::system("Be brief."), Message::user("Where\nshould we go?"), Message::assistant("To Rome.")]);
    context.store.append(&session, &first.with_owner(owner.clone())).await?;
    shows(&context, &session, &owner, 1, Some("Where should we go?")).await?;
    for n in 2..=5 {
        say(&context.store, &session, "more").await?;
        shows(&context, &session, &owner, n, Some("Where should we go?")).await?;
    }
    if context.store.capabilities().rewind {
        let history = all(&context.store, &session).await?;
        context.store.append(&session, &Append::rewind(&history, 0, [Message::user("To Oslo?")])?).await?;
        for info in listed_and_read(&context, &session).await? {
            let words = info.first_words.as_deref();
            ensure!(
                words.is_none_or(|words| words == "To Oslo?"),
                "the first words {words:?} after the first message was edited"
            );
            // A store may count what was taken back.
            ensure!(
                info.records.is_none_or(|records| (1..=6).contains(&records)),
                "{:?} records are listed of 1 in view and 6 in all",
                info.records
            );
        }
        if context.store.capabilities().redact {
            context.store.redact(&session, 5, &Redaction::new()).await?;
            for info in listed_and_read(&context, &session).await? {
                let words = info.first_words.as_deref();
                ensure!(words.is_none_or(|words| !words.contains("Oslo")), "the first words {words:?} after their redaction");
            }
        }
    }
    context.store.clear(&session).await?;
    for words in [None, Some("Again from the start")] {
        if let Some(words) = words {
            say(&context.store, &session, words).await?;
        }
        for info in listed_and_read(&context, &session).await? {
            ensure!(
                info.first_words.is_none() || info.first_words.as_deref() == words,
                "the first words {:?} after a clear",
                info.first_words
            );
            let records = u64::from(words.is_some());
            ensure!(
                !info.records_exact || info.records == Some(records),
                "{:?} records are listed of {records} since the clear",
                info.records
            );
        }
    }
    // All in one record, in place of everything, and nothing swept.
    context.store.append(&session, &Append::replace_all([Message::user("Replaced")])).await?;
    for info in listed_and_read(&context, &session).await? {
        let words = info.first_words.as_deref();
        ensure!(words.is_none_or(|words| words == "Replaced"), "the first words {words:?} after all was replaced");
    }
    context.store.delete(&session).await?;
    context.store.append(&session, &saying("A new one").with_owner(owner.clone())).await?;
    shows(&context, &session, &owner, 1, Some("A new one")).await
}

pub(super) async fn contents_are_those_of_the_listed_session(context: TestContext) -> Result<(), Failure> {
    let owner = owner()?;
    // Short ones, and one that no list reads whole.
    let (mut sessions, long) = (Vec::new(), context.session()?);
    for n in 0..10 {
        let session = context.session()?;
        for m in 0..=n {
            context.store.append(&session, &saying(format!("Message {m} of {n}")).with_owner(owner.clone())).await?;
        }
        sessions.push(session);
    }
    for n in 0..40 {
        // It does not get much smaller.
        let text: String = (0..80).map(|_| Uuid::new_v4().to_string()).collect();
        context.store.append(&long, &saying(format!("Long {n} {text}")).with_owner(owner.clone())).await?;
    }
    let mut infos = listed(&context.store, &SessionQuery::of(owner.clone())).await?;
    let before = infos.clone();
    context.store.read_contents(&mut infos).await?;
    for info in &infos {
        let number = sessions.iter().position(|session| *session == info.id);
        let records = number.map_or(40, |n| n as u64 + 1);
        ensure!(
            !info.records_exact || info.records == Some(records),
            "{:?} records are read of the {records} of a session",
            info.records
        );
        let words = number.map_or_else(|| "Long 0".to_owned(), |n| format!("Message 0 of {n}"));
        ensure!(
            info.first_words.as_ref().is_none_or(|shown| shown.starts_with(&words)),
            "the first words {:?}, not {words:?}",
            info.first_words
        );
    }
    // Another session under an id that was listed, and one that is gone.
    context.store.delete(&sessions[0]).await?;
    context.store.append(&sessions[0], &saying("Another").with_owner(owner.clone())).await?;
    context.store.delete(&sessions[1]).await?;
    for session in &sessions[..2] {
        let listed = before.iter().find(|info| info.id == *session);
        let listed = listed.ok_or_else(|| Failure::new("a session with a record is not listed"))?;
        ensure_eq!(read(&context.store, listed).await?, *listed, "what was listed of a session that was deleted since");
    }
    Ok(())
}

pub(super) async fn sessions_of_all_owners_are_listed_in_one_order(context: TestContext) -> Result<(), Failure> {
    let (one, other) = (owner()?, owner()?);
    let mut want = Vec::new();
    for n in 0..9 {
        let session = context.session()?;
        let append = saying("x");
        let append = match n % 3 {
            0 => append.with_owner(one.clone()),
            1 => append.with_owner(other.clone()),
            _ => append,
        };
        context.store.append(&session, &append).await?;
        tokio::time::sleep(Duration::from_millis(3)).await;
        want.insert(0, session);
    }
    let in_order = async |query: &SessionQuery, want: &[SessionId]| {
        for limit in [2, 100] {
            let query = query.clone().limit(limit);
            let page = context.store.sessions(&query).await?;
            ensure_eq!(page.order, query.order, "the reported order of all sessions");
            let all = listed(&context.store, &query).await?;
            // Others may use the same store.
            let mine: Vec<_> = ids(&all).into_iter().filter(|id| want.contains(id)).collect();
            ensure_eq!(mine, want.iter().collect::<Vec<_>>(), "all sessions, {limit} a page, by {:?}", query.order);
        }
        Ok::<_, Failure>(())
    };
    in_order(&SessionQuery::of_any_owner(), &want).await?;
    if context.store.capabilities().last_activity == Some(Duration::ZERO) {
        for moved in [8, 4] {
            let session = want.remove(moved);
            say(&context.store, &session, "more").await?;
            tokio::time::sleep(Duration::from_millis(3)).await;
            want.insert(0, session);
        }
        in_order(&SessionQuery::of_any_owner().recent(), &want).await?;
    }
    let deleted = want.remove(3);
    context.store.delete(&deleted).await?;
    let all = listed(&context.store, &SessionQuery::of_any_owner()).await?;
    ensure!(!ids(&all).contains(&&deleted), "a deleted session is listed among all");
    Ok(())
}

/// Counts how often a session is listed under an owner.
async fn entries(store: &Handle, owner: &Owner, session: &SessionId) -> Result<usize, Failure> {
    let sessions = listed(store, &SessionQuery::of(owner.clone())).await?;
    Ok(sessions.iter().filter(|info| info.id == *session).count())
}

pub(super) async fn concurrent_first_appends_list_the_session_once(context: TestContext) -> Result<(), Failure> {
    let handles = context.handles(4).await?;
    for round in 0..6 {
        let (session, owner) = (context.session()?, owner()?);
        let ticket = Ticket::new(AppendId::random(), 0);
        let tasks = handles.iter().enumerate().map(|(n, handle)| {
            let append = saying("x").with_owner(owner.clone()).with_title("t");
            let append = match round % 3 {
                0 => append.with_key("k"),
                1 => append.with_key(format!("k{n}")),
                _ => append.with_ticket(ticket),
            };
            let (handle, session) = (Arc::clone(handle), session.clone());
            tokio::spawn(async move { Ok::<_, Failure>(handle.append(&session, &append).await?) })
        });
        all_of(tasks.collect::<Vec<_>>()).await?;
        for handle in context.handles(1).await? {
            ensure_eq!(
                entries(&handle, &owner, &session).await?,
                1,
                "the entries of a session started by five appends at once ({round})"
            );
        }
        context.store.delete(&session).await?;
        ensure_eq!(entries(&context.store, &owner, &session).await?, 0, "the entries left by a delete");
    }
    Ok(())
}

pub(super) async fn concurrent_deletes_and_appends_leave_one_entry_or_none(context: TestContext) -> Result<(), Failure> {
    let handles = context.handles(5).await?;
    for round in 0..6 {
        let (session, owner) = (context.session()?, owner()?);
        let tasks = handles.iter().enumerate().map(|(n, handle)| {
            let (handle, session, owner) = (Arc::clone(handle), session.clone(), owner.clone());
            tokio::spawn(async move {
                for m in 0..3 {
                    if (n + m + round) % 3 == 0 {
                        handle.delete(&session).await?;
                    } else {
                        // Some of them with the same key.
                        let append = saying("x").with_owner(owner.clone()).with_key(format!("{}", (n * 3 + m) / 2));
                        handle.append(&session, &append).await?;
                    }
                }
                Ok::<_, Failure>(())
            })
        });
        all_of(tasks.collect::<Vec<_>>()).await?;
        let want = usize::from(!all(&context.store, &session).await?.is_empty());
        for handle in context.handles(1).await? {
            let found = entries(&handle, &owner, &session).await?;
            // A session that was cleared since it started, or whose messages all were, may be listed without messages.
            ensure!(found == want || (want == 0 && found <= 1), "{found} entries of a session instead of {want} (round {round})");
            ensure_eq!(handle.session(&session).await?.is_some(), found == 1, "whether the listed session has an entry");
        }
        context.open().await?.delete(&session).await?;
        ensure_eq!(entries(&context.store, &owner, &session).await?, 0, "the entries left by a delete");
        ensure_eq!(context.store.session(&session).await?, None, "the directory entry of a deleted session");
    }
    Ok(())
}

pub(super) async fn repeat_after_a_delete_does_not_list_the_session(context: TestContext) -> Result<(), Failure> {
    let (session, owner) = (context.session()?, owner()?);
    let append = saying("x").with_owner(owner.clone()).with_key("k");
    context.store.append(&session, &append).await?;
    context.store.delete(&session).await?;
    ensure!(
        context.open().await?.append(&session, &append).await?.repeated,
        "a repeat of a deleted append is taken for a new one"
    );
    ensure_eq!(entries(&context.store, &owner, &session).await?, 0, "the entries of a deleted session after a repeat");
    ensure_eq!(context.store.session(&session).await?, None, "the directory entry of a deleted session after a repeat");
    Ok(())
}

pub(super) async fn store_without_a_directory_reports_unsupported(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    say(&context.store, &session, "x").await?;
    let query = SessionQuery::of(owner()?);
    if context.store.capabilities().directory {
        ensure!(context.store.sessions(&query).await?.sessions.is_empty(), "an owner without sessions has some");
        ensure!(context.store.session(&session).await?.is_some(), "a session with a record is not listed");
        if !context.store.capabilities().any_owner {
            ensure_err!(
                context.store.sessions(&SessionQuery::of_any_owner()).await,
                Unsupported,
                "a list of all owners' sessions"
            );
        }
    } else {
        ensure_err!(context.store.sessions(&query).await, Unsupported, "a list of sessions");
        ensure_err!(context.store.session(&session).await, Unsupported, "the directory entry");
        ensure_err!(context.store.update_session(&session, &SessionUpdate::default()).await, Unsupported, "an update");
    }
    Ok(())
}
