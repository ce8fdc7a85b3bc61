//! The store with a fault, and the faults of its directory.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chat_memory::store::*;
use chat_memory::{Error, Message, SessionId};

use super::Fault;

/// The state of one handle, for faults that need memory.
#[derive(Debug, Default)]
pub struct Remembers {
    pub appends: AtomicU64,
    pub loaded: Mutex<HashMap<SessionId, History>>,
    /// What was rewound or cleared.
    pub hidden: Mutex<HashMap<SessionId, Vec<Record>>>,
    pub bodies: Mutex<HashMap<(SessionId, String), String>>,
    pub cursors: Mutex<HashMap<String, SessionId>>,
    pub cleared: Mutex<HashMap<SessionId, bool>>,
    pub first_words: Mutex<HashMap<SessionId, Option<String>>>,
}

/// How often each session was deleted, across all handles.
static DELETES: Mutex<Option<HashMap<SessionId, u64>>> = Mutex::new(None);

/// The in-memory store with a fault.
#[derive(Debug, Clone)]
pub struct Broken {
    pub inner: InMemoryStore,
    pub fault: Fault,
    pub(super) declares: Capabilities,
    pub remembers: Arc<Remembers>,
}

impl Broken {
    /// A session's entry with the fault.
    fn as_listed(&self, info: SessionInfo) -> SessionInfo {
        match self.fault {
            Fault::OldFirstWords => {
                let mut words = self.remembers.first_words.lock().unwrap();
                let first = words.entry(info.id.clone()).or_insert_with(|| info.first_words.clone()).clone();
                info.with_first_words(first)
            }
            Fault::CountsTooMany => {
                let more = info.records.map(|records| records + 1);
                info.with_records(more)
            }
            _ => info,
        }
    }

    /// Opens another handle on `data`, with this fault.
    pub fn new(data: InMemoryStore, fault: Fault) -> Self {
        let forgets = fault == Fault::Forgets;
        let inner = if forgets { InMemoryStore::new() } else { data };
        Self { inner, fault, declares: Capabilities::all().with_durable(forgets), remembers: Arc::default() }
    }

    /// Opens a handle without a fault that declares less than it can do.
    pub fn declaring(data: InMemoryStore, declares: Capabilities) -> Self {
        Self { inner: data, fault: Fault::None, declares, remembers: Arc::default() }
    }

    /// Returns the session that is used instead of this one.
    pub fn real(&self, session: &SessionId) -> SessionId {
        let id = match self.fault {
            Fault::IgnoresCase => session.as_str().to_lowercase(),
            Fault::OneSession => "all".to_owned(),
            Fault::DeletesTheLog => {
                let deletes = DELETES.lock().unwrap();
                format!("{session}~{}", deletes.as_ref().and_then(|deletes| deletes.get(session)).unwrap_or(&0))
            }
            _ => return session.clone(),
        };
        // The longest ids have no room for more, and no fault needs it there.
        SessionId::new(id).unwrap_or_else(|_| session.clone())
    }

    pub async fn everything(&self, session: &SessionId) -> Result<History, Error> {
        self.inner.load(session, &Load::all()).await
    }
}

#[async_trait]
impl ChatStore for Broken {
    fn capabilities(&self) -> Capabilities {
        self.declares
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.append_wrongly(&self.real(session), append).await
    }

    async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        self.append_all_wrongly(&self.real(session), appends).await
    }

    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        self.load_wrongly(&self.real(session), load).await
    }

    async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        let session = self.real(session);
        let is_late = self.remembers.cleared.lock().unwrap().remove(&session).is_some();
        let log_is_empty = self.everything(&session).await?.position.next() == 0;
        if is_late || (self.fault == Fault::SweepsTooMuch && !log_is_empty) {
            self.inner.append(&session, &Append::clear()).await?;
        }
        self.inner.sweep(&session).await
    }

    async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        let session = &self.real(session);
        let redact = async |redaction: &Redaction| self.inner.redact(session, seq, redaction).await;
        match self.fault {
            Fault::RedactsNothing => redact(&redaction.clone().dry_run()).await,
            Fault::RedactsRecords if !redaction.is_dry_run() => redact(&Redaction::new()).await,
            Fault::RedactsAgain => redact(redaction).await.map(|mut redacted| {
                redacted.changed = true;
                redacted
            }),
            Fault::RedactsAnything => match redact(redaction).await {
                Err(error) if error.is_not_found() => self.inner.redact(session, 0, redaction).await,
                redacted => redacted,
            },
            _ => redact(redaction).await,
        }
    }

    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        match self.fault {
            Fault::DeletesNothing => Ok(Deleted::new(true, SweepStats::default())),
            Fault::DeletesTheLog => {
                *DELETES.lock().unwrap().get_or_insert_default().entry(session.clone()).or_default() += 1;
                Ok(Deleted::new(true, SweepStats::default()))
            }
            Fault::DeletesAlwaysExisted => {
                let mut deleted = self.inner.delete(session).await?;
                deleted.existed = true;
                Ok(deleted)
            }
            Fault::DeletesKeepListed => {
                self.inner.append(session, &Append::clear()).await?;
                Ok(Deleted::new(true, self.inner.sweep(session).await?))
            }
            Fault::DeletesLate => {
                self.inner.delete(session).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.inner.delete(session).await
            }
            _ => self.inner.delete(&self.real(session)).await,
        }
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        if query.any_owner && !self.declares.any_owner {
            return Err(Error::new(chat_memory::ErrorKind::Unsupported, "not declared"));
        }
        let (mut query, asked) = (query.clone(), query.order);
        match (self.fault, &query.after) {
            (Fault::ListsNothing, _) => return Ok(SessionPage::new(Vec::new(), None)),
            (Fault::SharedLists, _) => query.owner = None,
            (Fault::ListsNobodysForAll, _) => query.any_owner = false,
            (Fault::ListsByStart, _) => {
                query.order = SessionOrder::Started;
                query.after = None;
                query.limit = Some(usize::MAX);
            }
            (Fault::PagesNeedTheirSession, Some(cursor)) => {
                let last = self.remembers.cursors.lock().unwrap().get(cursor).cloned();
                if let Some(last) = last
                    && self.inner.session(&last).await?.is_none()
                {
                    return Err(Error::invalid("that session is gone"));
                }
            }
            _ => {}
        }
        let mut page = self.inner.sessions(&query).await?;
        match self.fault {
            Fault::ListsByStart => page.order = asked,
            Fault::ListsTwice => {
                page.sessions = page.sessions.into_iter().flat_map(|info| [info.clone(), info]).collect();
            }
            Fault::OldestFirst => page.sessions.reverse(),
            Fault::OldFirstWords | Fault::CountsTooMany => {
                page.sessions = page.sessions.into_iter().map(|info| self.as_listed(info)).collect();
            }
            Fault::PagesLose if query.after.is_some() && !page.sessions.is_empty() => drop(page.sessions.remove(0)),
            _ => {}
        }
        if let (Some(next), Some(last)) = (&page.next, page.sessions.last()) {
            self.remembers.cursors.lock().unwrap().insert(next.clone(), last.id.clone());
        }
        Ok(page)
    }

    async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let mut page = self.inner.list_all_sessions(after).await?;
        if self.fault == Fault::ListsNobodysOnly {
            page.sessions.retain(|info| info.owner.is_none());
        }
        Ok(page)
    }

    async fn read_contents(&self, sessions: &mut [SessionInfo]) -> Result<Cost, Error> {
        if self.fault == Fault::ReadsAnothers {
            for info in sessions.iter_mut() {
                let now = self.inner.session(&info.id).await?;
                info.first_words = now.and_then(|now| now.first_words);
            }
        }
        self.inner.read_contents(sessions).await
    }

    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        match self.fault {
            Fault::ListsNothing | Fault::ForksBlindly => Ok(None),
            _ => Ok(self.inner.session(&self.real(session)).await?.map(|info| self.as_listed(info))),
        }
    }

    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        let mut update = update.clone();
        match self.fault {
            Fault::UpdatesHalf => update.metadata = None,
            Fault::AcceptsTitles if update.check().is_err() => update = SessionUpdate::default(),
            Fault::UpdatesList if self.inner.session(session).await?.is_none() => {
                self.inner.append(session, &Append::new([Message::user("ghost")])).await?;
            }
            _ => {}
        }
        self.inner.update_session(&self.real(session), &update).await
    }

    async fn search(&self, query: &SearchQuery) -> Result<SearchPage, Error> {
        let mut query = query.clone();
        match self.fault {
            Fault::FindsNothing => return Ok(SearchPage::default()),
            Fault::FindsOthers if matches!(query.scope, SearchScope::Owner(_)) => query.scope = SearchScope::All,
            Fault::FindsAllTimes => (query.since, query.until) = (None, None),
            Fault::FindsByAnyCursor => {
                let page = self.inner.search(&query).await;
                query.after = None;
                return if page.as_ref().is_err_and(|e| e.to_string().contains("cursor")) {
                    self.inner.search(&query).await
                } else {
                    page
                };
            }
            _ => {}
        }
        let mut page = self.inner.search(&query).await?;
        if self.fault == Fault::FindsTwice && query.after.is_some() {
            page.hits.extend(page.hits.first().cloned());
        }
        if let (Fault::FindsHidden, None, SearchScope::Session(session)) = (self.fault, &query.after, &query.scope) {
            let matcher = chat_memory::backend::Matcher::new(&query, &self.declares)?;
            let info = SessionInfo::new(session.clone(), chat_memory::Timestamp::now());
            let hidden = self.remembers.hidden.lock().unwrap();
            page.hits.extend(hidden.get(session).into_iter().flatten().flat_map(|record| matcher.record(&info, record)));
        }
        Ok(page)
    }
}
