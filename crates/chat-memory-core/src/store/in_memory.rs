//! The reference store: the contract in its shortest form. Nothing survives the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::directory::{check_title, first_words, numbers_in_view};
use super::{
    Append, AppendId, Appended, Capabilities, ChatStore, Cost, Deleted, Expiry, History, Identity, KEY_LIFETIME, Load, Position,
    Record, Redacted, Redaction, SessionInfo, SessionPage, SessionQuery, SessionUpdate, SweepStats, Walk,
};
use crate::backend::EntryIdCache;
use crate::error::Error;
use crate::session::SessionId;
use crate::timestamp::Timestamp;

/// A store in this process's memory, for tests and experiments.
///
/// ```
/// use chat_memory::store::{Append, ChatStore, InMemoryStore, Load};
/// use chat_memory::{Message, SessionId};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = InMemoryStore::new();
/// let session = SessionId::new("demo")?;
/// store.append(&session, &Append::new([Message::user("Hello"), Message::assistant("Hi!")])).await?;
/// let history = store.load(&session, &Load::last(1)).await?;
/// assert_eq!(history.records.len(), 1, "a load brings whole records");
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct InMemoryStore {
    logs: Arc<Mutex<HashMap<SessionId, Log>>>,
    entry_ids: Arc<EntryIdCache>,
    retention: Option<Duration>,
}

#[derive(Debug, Default)]
struct Log {
    /// All records; of cleared and swept ones, a stub.
    records: Vec<Record>,
    listed: Option<Listed>,
}

/// A session's entry in the directory.
#[derive(Debug)]
struct Listed {
    info: SessionInfo,
    /// When the last of all records since the session started expires.
    lasts: Expiry,
}

impl Log {
    /// Returns the session's directory entry; nothing once all its records have expired.
    fn info(&self, now: Timestamp) -> Option<SessionInfo> {
        let listed = self.listed.as_ref().filter(|listed| !listed.lasts.is_over(now))?;
        let clear = self.records.iter().rposition(|record| record.rewind == Some(0));
        // A clear that holds nothing is no record of the conversation.
        let from = clear.map_or(0, |at| at + usize::from(self.records[at].entries.is_empty()));
        let (from, next) = (from as u64, self.records.len() as u64);
        let rewinds: Vec<_> = self.records.iter().filter_map(|record| Some((record.seq, record.rewind?))).collect();
        let in_view = numbers_in_view(from, next, &rewinds).into_iter().map(|seq| &self.records[seq as usize]);
        let words = first_words(in_view.filter(|record| !record.is_expired(now)).flat_map(|record| &record.entries));
        Some(listed.info.clone().with_records(Some(next - from)).with_first_words(words))
    }

    fn position(&self) -> Position {
        Position::new(self.records.len() as u64, self.records.last().map(|record| record.append_id), Timestamp::now())
    }

    /// Returns the number of an earlier attempt at the same append.
    fn earlier(&self, append: &Append, id: AppendId, now: Timestamp) -> Option<usize> {
        let found = |record: &Record| record.append_id == id;
        match append.identity() {
            Identity::New => None,
            Identity::Key(_) => self.records.iter().rposition(|record| found(record) && record.created_at > now - KEY_LIFETIME),
            Identity::Ticket(ticket) => {
                let from = usize::try_from(ticket.lowest()).unwrap_or(usize::MAX).min(self.records.len());
                self.records[from..].iter().position(found).map(|n| n + from)
            }
        }
    }
}

impl InMemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty store whose records expire this long after they were written.
    pub fn with_retention(kept: Duration) -> Self {
        Self { retention: Some(kept), entry_ids: Arc::new(EntryIdCache::new(Some(kept))), ..Self::default() }
    }

    /// Appends these records. The first one identifies them and starts the session.
    fn put(&self, session: &SessionId, append: &Append, more: &[Append]) -> Result<Appended, Error> {
        append.title().map_or(Ok(()), check_title)?;
        let (append_id, now) = (append.id_in(session), Timestamp::now());
        let mut logs = self.logs();
        let log = logs.entry(session.clone()).or_default();
        if let Some(at) = log.earlier(append, append_id, now) {
            let record = &log.records[at];
            if !record.is_stub() && !append.is_body_of(record) {
                return Err(append.reused(record.seq));
            }
            let after = more.len() as u64;
            let position = Position::new(record.seq + after + 1, Some(append_id.following(after)), now);
            let appended = Appended::new(record.seq, position, record.created_at);
            return Ok(Appended { repeated: true, cost: one_request(), ..appended });
        }
        if let Identity::Ticket(ticket) = append.identity() {
            ticket.check_age(now)?;
        }
        let actual = log.position();
        if append.expected().is_some_and(|expected| *expected != actual) {
            return Err(Error::conflict(actual));
        }
        let seq = actual.next();
        let record = append.record(seq, append_id, now, self.retention);
        let lasts = Expiry::of(record.expires_at);
        log.records.push(record);
        let after = more.len() as u64;
        let followers = (1..).zip(more).map(|(n, next)| next.record(seq + n, append_id.following(n), now, self.retention));
        log.records.extend(followers);
        // A session whose records have all expired has ended: this starts another, with its own owner and title.
        let goes_on = log.listed.as_mut().filter(|listed| !listed.lasts.is_over(now));
        let started = goes_on.is_none();
        match goes_on {
            Some(listed) => {
                // A clock that is set back must not move a session down, or two pages of a list would both show it.
                listed.info.last_at =
                    listed.info.last_at.max(more.iter().chain([append]).map(|append| append.active_at(now)).max());
                listed.lasts = listed.lasts.max(lasts);
            }
            None => {
                log.listed = Some(Listed { info: SessionInfo::started_by(session.clone(), append, now), lasts });
            }
        }
        let position = Position::new(seq + after + 1, Some(append_id.following(after)), now);
        let appended = Appended::new(seq, position, now);
        Ok(Appended { started, cost: one_request(), ..appended })
    }

    fn list(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        let now = if query.expired { Timestamp::MIN } else { Timestamp::now() };
        let logs = self.logs();
        let sessions = logs.values().filter_map(|log| log.info(now)).filter(|info| query.includes(info)).collect();
        Ok(SessionPage::of(sessions, query)?.with_cost(one_request()))
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<SessionId, Log>> {
        // Nothing panics between two changes that belong together, so the lock's data is consistent.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one_request() -> Cost {
    Cost { requests: 1, ..Cost::default() }
}

#[async_trait]
impl ChatStore for InMemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all().with_durable(false)
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        session.check()?;
        append.check()?;
        self.put(session, append, &[])
    }

    async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        session.check()?;
        let (first, more) = Append::check_all(appends)?;
        self.put(session, first, more)
    }

    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        session.check()?;
        let logs = self.logs();
        let none = Log::default();
        let log = logs.get(session).unwrap_or(&none);
        let mut walk = Walk::new(load, (log.records.len() as u64).checked_sub(1), Timestamp::now());
        while let Some(seq) = walk.wants() {
            let record = &log.records[seq as usize];
            if record.is_stub() { walk.end() } else { walk.take(record.clone()) }
        }
        let (records, complete) = walk.finish();
        let mut history = History::new(records, complete, log.position());
        history.cost = one_request();
        Ok(history)
    }

    fn entry_ids(&self) -> Option<&EntryIdCache> {
        Some(&self.entry_ids)
    }

    async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        session.check()?;
        let mut swept = SweepStats { records: 0, cost: one_request() };
        if let Some(log) = self.logs().get_mut(session) {
            let hidden = log.records.iter().rposition(|record| record.rewind == Some(0)).unwrap_or(0);
            for record in log.records[..hidden].iter_mut().filter(|record| !record.is_stub()) {
                *record = record.stub();
                swept.records += 1;
            }
        }
        Ok(swept)
    }

    async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        session.check()?;
        redaction.check()?;
        let mut logs = self.logs();
        let found = usize::try_from(seq).ok().and_then(|at| logs.get_mut(session)?.records.get_mut(at));
        let record = found.ok_or_else(|| Redaction::missing(session, seq))?;
        let redacted = redaction.apply(session, record.clone(), Timestamp::now())?;
        if !redaction.is_dry_run() {
            record.entries.clone_from(&redacted.after.entries);
        }
        Ok(redacted.with_cost(one_request()))
    }

    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        session.check()?;
        let now = Timestamp::now();
        let mut existed = false;
        if let Some(log) = self.logs().get_mut(session)
            && let Some(listed) = log.listed.take()
        {
            existed = !listed.lasts.is_over(now);
            log.records.push(Append::clear().record(log.position().next(), AppendId::random(), now, None));
        }
        Ok(Deleted::new(existed, self.sweep(session).await?))
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        self.list(query)
    }

    async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        self.list(&SessionQuery { after: after.map(str::to_owned), ..SessionQuery::of_any_owner() })
    }

    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        session.check()?;
        Ok(self.logs().get(session).and_then(|log| log.info(Timestamp::now())))
    }

    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        session.check()?;
        update.check()?;
        let mut logs = self.logs();
        let now = Timestamp::now();
        let Some(log) = logs.get_mut(session) else { return Ok(None) };
        if let Some(listed) = log.listed.as_mut().filter(|listed| !listed.lasts.is_over(now)) {
            update.apply(&mut listed.info);
        }
        Ok(log.info(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::session::Owner;
    use crate::store::ChatStoreExt as _;

    fn saying(text: &str) -> Append {
        Append::new([Message::user(text)])
    }

    /// Moves every expiry in the store back, as if this many seconds had passed.
    fn pass(store: &InMemoryStore, seconds: u64) {
        for log in store.logs().values_mut() {
            for record in &mut log.records {
                record.expires_at = record.expires_at.map(|at| at - Duration::from_secs(seconds));
            }
            if let Some(Listed { lasts: Expiry::Until(at), .. }) = &mut log.listed {
                *at = *at - Duration::from_secs(seconds);
            }
        }
    }

    #[tokio::test]
    async fn session_stays_listed_until_its_last_message_expires() {
        let session = SessionId::random();
        for (retentions, is_listed) in [
            (&[None, Some(3600)][..], true),
            (&[Some(3600), None], true),
            (&[Some(90_000), Some(3600)], true),
            (&[Some(3600), Some(60)], false),
        ] {
            let store = InMemoryStore::new();
            for retention in retentions {
                let writer = InMemoryStore { retention: retention.map(Duration::from_secs), ..store.clone() };
                writer.append(&session, &saying("x").with_title("Old")).await.expect("in memory");
            }
            pass(&store, 7200);
            let page = store.sessions(&SessionQuery::unowned()).await.expect("in memory");
            assert_eq!(page.sessions.len(), usize::from(is_listed), "{retentions:?}");
            assert_eq!(store.session(&session).await.expect("in memory").is_some(), is_listed, "{retentions:?}");
            assert_eq!(store.list_all_sessions(None).await.expect("in memory").sessions.len(), page.sessions.len());
            let appended = store.append(&session, &saying("y")).await.expect("in memory");
            assert_eq!(appended.started, !is_listed, "{retentions:?}");
            let info = store.session(&session).await.expect("in memory").expect("it is listed");
            assert_eq!(info.title.is_some(), is_listed, "{retentions:?}");
        }
    }

    #[tokio::test]
    async fn expired_sessions_of_an_owner_are_deleted() {
        let (store, ada) = (InMemoryStore::with_retention(Duration::from_secs(3600)), Owner::new("ada").expect("a name"));
        let session = SessionId::random();
        store.append(&session, &saying("x").with_owner(ada.clone())).await.expect("in memory");
        pass(&store, 7200);
        let listed = async |query: SessionQuery| store.sessions(&query).await.expect("in memory").sessions.len();
        assert_eq!(listed(SessionQuery::of(ada.clone())).await, 0);
        assert_eq!(listed(SessionQuery::of(ada.clone()).with_expired()).await, 1);
        let done = store.delete_owner(&ada, None, &mut |_| {}).await.expect("in memory");
        assert_eq!((done.sessions, done.records, done.more), (1, 1, false));
        assert_eq!(listed(SessionQuery::of(ada).with_expired()).await, 0);
    }

    #[tokio::test]
    async fn delete_of_a_missing_session_writes_nothing() {
        let (store, never, deleted) = (InMemoryStore::new(), SessionId::random(), SessionId::random());
        store.append(&deleted, &saying("x")).await.expect("in memory");
        assert!(store.delete(&deleted).await.expect("in memory").existed);
        for session in [&never, &deleted, &never, &deleted] {
            let position = store.load(session, &Load::all()).await.expect("in memory").position;
            let done = store.delete(session).await.expect("in memory");
            assert_eq!((done.existed, done.records), (false, 0));
            assert_eq!(store.load(session, &Load::all()).await.expect("in memory").position, position);
        }
    }
}
