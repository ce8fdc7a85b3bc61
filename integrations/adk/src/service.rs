//! adk-rust's session service on a store.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adk_core::identity::{AdkIdentity, AppName, SessionId as AdkSession, UserId};
use adk_core::{Event, Result};
use adk_session::{
    AppendEventRequest, CreateRequest, DeleteRequest, GetRequest, KEY_PREFIX_TEMP, ListRequest, Session, SessionService,
    extract_state_deltas, merge_states,
};
use async_trait::async_trait;
use chat_memory::store::{Append, History, Load, Position, SessionQuery};
use chat_memory::{ChatStore, ChatStoreExt, Error, Message, SessionId};
use futures_util::future::{join_all, try_join};
use serde_json::{Value, json};

use crate::event::to_messages;
use crate::session::Loaded;
use crate::view::{SNAPSHOT_EVERY, StateMap, View, is_there, read, snapshot};
use crate::{failure, names, state};

/// The number of session ends that a service caches, so that an event takes one request.
const MAX_KNOWN: usize = 4096;

/// How long a cached end is used. Positions are valid for a day, and this stays far below that.
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

/// How often an event is retried after a conflict with another writer.
const MAX_TRIES: u32 = 200;

/// How many sessions a list reads concurrently.
const AT_ONCE: usize = 8;

/// adk-rust's sessions in a store. One event is one record, stored once, together with its change of state.
///
/// An event is appended only to an existing session in the state that the event was applied to. If another process wrote or deleted
/// the session since, the service reads it again and applies the event to what it finds, or returns an error that the session is
/// gone.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
/// use adk_session::{CreateRequest, SessionService};
/// use chat_memory::store::InMemoryStore;
/// use chat_memory_adk::ChatSessionService;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let service = ChatSessionService::new(Arc::new(InMemoryStore::new()));
/// let (app_name, user_id) = ("weather".to_owned(), "ada".to_owned());
/// let session = service.create(CreateRequest { app_name, user_id, session_id: None, state: HashMap::new() }).await?;
/// assert_eq!(session.user_id(), "ada");
/// # Ok::<(), adk_core::AdkError>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ChatSessionService {
    store: Arc<dyn ChatStore>,
    known: Mutex<HashMap<SessionId, Known>>,
}

/// The end of a session's log, as this service last read it.
#[derive(Debug, Clone)]
struct Known {
    position: Position,
    state: StateMap,
    since: usize,
    seen: Instant,
}

impl Known {
    fn new(position: Position, state: StateMap, since: usize) -> Self {
        Self { position, state, since, seen: Instant::now() }
    }
}

impl From<&View> for Known {
    fn from(view: &View) -> Self {
        Self::new(view.history.position.clone(), view.state.clone(), view.since)
    }
}

impl ChatSessionService {
    /// Creates a service on this store. The store must support rewinding and listing sessions; DynamoDB's `list` layout does not.
    pub fn new(store: Arc<dyn ChatStore>) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ChatStore> {
        &self.store
    }

    fn remember(&self, session: &SessionId, known: Option<Known>) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_KNOWN {
            all.clear();
        }
        match known {
            Some(known) => drop(all.insert(session.clone(), known)),
            None => drop(all.remove(session)),
        }
    }

    /// Returns the session's end, cached or read; `None` if there is no such session.
    async fn known(&self, session: &SessionId) -> Result<Option<Known>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned();
        if known.as_ref().is_some_and(|known| known.seen.elapsed() < KNOWN_FOR) {
            return Ok(known);
        }
        let view = read(&*self.store, session, Some(1)).await.map_err(failure::store)?;
        let known = view.as_ref().map(Known::from);
        self.remember(session, known.clone());
        Ok(known)
    }

    async fn append_in(&self, identity: &AdkIdentity, mut event: Event) -> Result<()> {
        event.actions.state_delta.retain(|name, _| !name.starts_with(KEY_PREFIX_TEMP));
        let session = names::session(identity).map_err(failure::store)?;
        let gone = || failure::not_found(identity.app_name.as_ref(), identity.user_id.as_ref(), identity.session_id.as_ref());
        let (app, user, delta) = extract_state_deltas(&event.actions.state_delta);
        let messages =
            to_messages(&event).map_err(|e| failure::invalid("session.invalid", format!("the event cannot be stored: {e}")))?;
        let mut known = self.known(&session).await?.ok_or_else(gone)?;
        // Before the event: if the process ends in between, the event is not acknowledged, and setting the keys again does no harm.
        self.change_states(identity, &app, &user).await?;
        for attempt in 0..MAX_TRIES {
            let Known { position, mut state, since, .. } = known;
            state.extend(delta.clone());
            let mut append = Append::new(messages.clone()).with_expected(position);
            let mut since = since + 1;
            if since >= SNAPSHOT_EVERY {
                append = append.with_metadata(snapshot(&state));
                since = 0;
            }
            match self.store.append_with_retry(&session, append).await {
                Ok(appended) => {
                    self.remember(&session, Some(Known::new(appended.position, state, since)));
                    return Ok(());
                }
                Err(error) if error.is_conflict() => {
                    self.remember(&session, None);
                    // A random delay, so that two conflicting writers do not conflict again.
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=u64::from(attempt.min(20)) * 5))).await;
                    known = self.known(&session).await?.ok_or_else(gone)?;
                }
                Err(error) => {
                    self.remember(&session, None);
                    return Err(failure::store(error));
                }
            }
        }
        Err(adk_core::AdkError::unavailable(
            adk_core::ErrorComponent::Session,
            "session.contended",
            format!("event not written: other writers to the session came first {MAX_TRIES} times in a row; retry"),
        ))
    }

    async fn change_states(&self, identity: &AdkIdentity, app: &StateMap, user: &StateMap) -> Result<()> {
        let (app_name, user_id) = (identity.app_name.as_ref(), identity.user_id.as_ref());
        let (app_log, user_log) = names::app_state(app_name)
            .and_then(|app| Ok((app, names::user_state(app_name, user_id)?)))
            .map_err(failure::store)?;
        let changes = try_join(state::change(&*self.store, &app_log, app), state::change(&*self.store, &user_log, user));
        changes.await.map(drop).map_err(failure::store)
    }

    /// Reads the states of the app and of the user.
    async fn states(&self, app: &str, user: &str) -> std::result::Result<(StateMap, StateMap), Error> {
        let (app_log, user_log) = (names::app_state(app)?, names::user_state(app, user)?);
        try_join(state::read(&*self.store, &app_log), state::read(&*self.store, &user_log)).await
    }

    /// Builds the session from what was read and the states that it shares.
    fn loaded(identity: AdkIdentity, view: View, shared: &(StateMap, StateMap)) -> Loaded {
        let state = merge_states(&shared.0, &shared.1, &view.state);
        Loaded { identity, state, events: view.events.into_iter().map(|(_, event)| event).collect(), updated_at: view.updated_at }
    }

    /// Returns the one session that has this id, whoever its user is.
    async fn only(&self, session_id: &str) -> Result<AdkIdentity> {
        let log = names::ids(session_id).map_err(failure::store)?;
        let history = self.store.load(&log, &Load::all()).await.map_err(failure::store)?;
        let mut there = noted(&history).into_iter();
        match (there.next(), there.next()) {
            (Some((app, user)), None) => identity(&app, &user, session_id),
            (None, _) => Err(failure::not_found("any", "any", session_id)),
            (Some(_), Some(_)) => Err(failure::invalid(
                "session.ambiguous",
                format!(
                    "several users have a session '{session_id}'; address it by its whole identity (append_event_for_identity)"
                ),
            )),
        }
    }

    /// Records that an identity has a session of this id.
    async fn note(&self, identity: &AdkIdentity) -> std::result::Result<(), Error> {
        let (app, user) = (identity.app_name.as_ref(), identity.user_id.as_ref());
        let append = Append::new([note(app, user)]).with_owner(names::own()?);
        self.store.append_with_retry(&names::ids(identity.session_id.as_ref())?, append).await.map(drop)
    }

    /// Removes an identity from the list of those that have its session's id, and erases its entry.
    async fn forget(&self, identity: &AdkIdentity) -> std::result::Result<(), Error> {
        let log = names::ids(identity.session_id.as_ref())?;
        loop {
            let history = self.store.load(&log, &Load::all()).await?;
            let mut there = noted(&history);
            if !there.remove(&(identity.app_name.as_ref().to_owned(), identity.user_id.as_ref().to_owned())) {
                return Ok(());
            }
            let rest = there.iter().map(|(app, user)| note(app, user));
            let append = Append::replace_all(rest).with_expected(history.position).with_owner(names::own()?);
            match self.store.append_with_retry(&log, append).await {
                // The list changed in the meantime: read it again.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
                Ok(_) => return self.store.sweep(&log).await.map(drop),
            }
        }
    }

    /// Lists a user's sessions in an app from the directory.
    async fn listed(&self, app: &str, user: &str) -> Result<Vec<SessionId>> {
        let mut query = SessionQuery::of(names::owner(app, user).map_err(failure::store)?);
        let mut all = Vec::new();
        loop {
            let page = self.store.sessions(&query).await.map_err(failure::store)?;
            all.extend(page.sessions.into_iter().map(|info| info.id));
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(all),
            }
        }
    }

    async fn rewind_before(&self, identity: AdkIdentity, view: View, keep: usize) -> Result<Box<dyn Session>> {
        let session = names::session(&identity).map_err(failure::store)?;
        if let Some((seq, _)) = view.events.get(keep) {
            let rest = view.state_after(keep);
            // Another program's record has an event for each message; its first messages may stay.
            let stay = view.events[..keep].iter().filter(|(own, _)| own == seq).count();
            let record = view.history.records.iter().find(|record| record.seq == *seq);
            let messages = record.into_iter().flat_map(|record| record.messages().take(stay));
            let append = Append::rewind(&view.history, *seq, messages).map_err(failure::store)?.with_metadata(snapshot(&rest));
            self.remember(&session, None);
            self.store.append_with_retry(&session, append).await.map_err(failure::store)?;
        }
        self.get_for_identity(&identity).await
    }
}

/// The message field with an identity, in the list of those that have one id.
const ID: &str = "adk_id";

fn note(app: &str, user: &str) -> Message {
    let mut message = Message::system("");
    message.extra.insert(ID.into(), json!({"app": app, "user": user}));
    message
}

/// The apps and users in a list of those that have one id.
fn noted(history: &History) -> BTreeSet<(String, String)> {
    let text = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let entries = history.messages().filter_map(|message| message.extra.get(ID));
    entries.map(|entry| (text(entry, "app"), text(entry, "user"))).collect()
}

fn identity(app: &str, user: &str, session: &str) -> Result<AdkIdentity> {
    Ok(AdkIdentity::new(AppName::try_from(app)?, UserId::try_from(user)?, AdkSession::try_from(session)?))
}

#[async_trait]
impl SessionService for ChatSessionService {
    /// Creates a session. Fails if it exists already.
    async fn create(&self, req: CreateRequest) -> Result<Box<dyn Session>> {
        let id = req.session_id.unwrap_or_else(|| SessionId::random().to_string());
        let identity = identity(&req.app_name, &req.user_id, &id)?;
        let session = names::session(&identity).map_err(failure::store)?;
        let owner = names::owner(&req.app_name, &req.user_id).map_err(failure::store)?;
        let there = || failure::invalid("session.exists", format!("session '{id}' already exists; use another id"));
        let end = self.store.load(&session, &Load::last(1)).await.map_err(failure::store)?;
        if is_there(&end) {
            return Err(there());
        }
        let (app, user, state) = extract_state_deltas(&req.state);
        self.change_states(&identity, &app, &user).await?;
        self.note(&identity).await.map_err(failure::store)?;
        let append =
            Append::replace_all(None::<Message>).with_metadata(snapshot(&state)).with_owner(owner).with_expected(end.position);
        match self.store.append_with_retry(&session, append).await {
            Err(error) if error.is_conflict() => return Err(there()),
            Err(error) => return Err(failure::store(error)),
            Ok(appended) => self.remember(&session, Some(Known::new(appended.position, state, 0))),
        }
        self.get_for_identity(&identity).await
    }

    async fn get(&self, req: GetRequest) -> Result<Box<dyn Session>> {
        let identity = req.try_identity()?;
        let session = names::session(&identity).map_err(failure::store)?;
        // Without a limit on the number, any events may be after the given time.
        let events = req.num_recent_events;
        let read = try_join(read(&*self.store, &session, events), self.states(&req.app_name, &req.user_id));
        let (view, shared) = read.await.map_err(failure::store)?;
        let view = view.ok_or_else(|| failure::not_found(&req.app_name, &req.user_id, &req.session_id))?;
        self.remember(&session, Some(Known::from(&view)));
        let mut loaded = Self::loaded(identity, view, &shared);
        if let Some(n) = events {
            loaded.events.drain(..loaded.events.len().saturating_sub(n));
        }
        if let Some(after) = req.after {
            loaded.events.retain(|event| event.timestamp >= after);
        }
        Ok(Box::new(loaded))
    }

    /// Lists a user's sessions, the last updated first, each with its state and without its events. Reads the end of each.
    async fn list(&self, req: ListRequest) -> Result<Vec<Box<dyn Session>>> {
        let listed = self.listed(req.try_app_name()?.as_ref(), req.try_user_id()?.as_ref()).await?;
        let shared = self.states(&req.app_name, &req.user_id).await.map_err(failure::store)?;
        let mut found = Vec::new();
        for some in listed.chunks(AT_ONCE) {
            let views = join_all(some.iter().map(|session| read(&*self.store, session, Some(1)))).await;
            for (session, view) in some.iter().zip(views) {
                if let (Some(view), Some(id)) = (view.map_err(failure::store)?, names::id_in(session)) {
                    let mut loaded = Self::loaded(identity(&req.app_name, &req.user_id, &id)?, view, &shared);
                    loaded.events.clear();
                    found.push(loaded);
                }
            }
        }
        found.sort_by_key(|session| std::cmp::Reverse(session.updated_at));
        let page = found.into_iter().skip(req.offset.unwrap_or(0)).take(req.limit.unwrap_or(usize::MAX));
        Ok(page.map(|session| Box::new(session) as Box<dyn Session>).collect())
    }

    /// Deletes a session; a missing one is not an error.
    async fn delete(&self, req: DeleteRequest) -> Result<()> {
        let identity = req.try_identity()?;
        let session = names::session(&identity).map_err(failure::store)?;
        self.remember(&session, None);
        self.store.delete(&session).await.map_err(failure::store)?;
        self.forget(&identity).await.map_err(failure::store)
    }

    /// Appends an event to the one session that has this id. [`append_event_for_identity`](Self::append_event_for_identity), which
    /// adk-rust's runner uses, does not need to search for it.
    async fn append_event(&self, session_id: &str, event: Event) -> Result<()> {
        let identity = self.only(session_id).await?;
        self.append_in(&identity, event).await
    }

    async fn append_event_for_identity(&self, req: AppendEventRequest) -> Result<()> {
        self.append_in(&req.identity, req.event).await
    }

    async fn delete_all_sessions(&self, app_name: &str, user_id: &str) -> Result<()> {
        for session_id in self.listed(app_name, user_id).await?.iter().filter_map(names::id_in) {
            let (app_name, user_id) = (app_name.to_owned(), user_id.to_owned());
            self.delete(DeleteRequest { app_name, user_id, session_id }).await?;
        }
        Ok(())
    }

    /// Rewinds to this event: removes all events after it. The states of the app and the user stay as they are.
    async fn rewind(&self, session_id: &str, target_event_id: &str) -> Result<Box<dyn Session>> {
        let (identity, view) = self.whole(session_id).await?;
        let at = view.events.iter().position(|(_, event)| event.id == target_event_id);
        let at =
            at.ok_or_else(|| failure::invalid("session.no_event", format!("the session has no event '{target_event_id}'")))?;
        self.rewind_before(identity, view, at + 1).await
    }

    async fn rewind_steps(&self, session_id: &str, steps: usize) -> Result<Box<dyn Session>> {
        let (identity, view) = self.whole(session_id).await?;
        let count = view.events.len();
        let keep = count.checked_sub(steps).ok_or_else(|| {
            failure::invalid("session.too_many_steps", format!("cannot rewind {steps} events: the session has {count}"))
        })?;
        self.rewind_before(identity, view, keep).await
    }

    /// Reads from the store.
    async fn health_check(&self) -> Result<()> {
        let log = names::app_state("health-check").map_err(failure::store)?;
        self.store.load(&log, &Load::last(1)).await.map(drop).map_err(failure::store)
    }
}

impl ChatSessionService {
    async fn whole(&self, session_id: &str) -> Result<(AdkIdentity, View)> {
        let identity = self.only(session_id).await?;
        let session = names::session(&identity).map_err(failure::store)?;
        let view = read(&*self.store, &session, None).await.map_err(failure::store)?;
        let view = view.ok_or_else(|| failure::not_found(identity.app_name.as_ref(), identity.user_id.as_ref(), session_id))?;
        Ok((identity, view))
    }
}
