//! A store that counts its operations.

use std::sync::Arc;

use async_trait::async_trait;
use chat_memory::backend::EntryIdCache;
use chat_memory::store::{
    Append, Appended, Capabilities, ChatStore, ClearOutcome, Cost, Deleted, History, Identity, Load, Redacted, Redaction,
    SearchPage, SearchQuery, SessionInfo, SessionPage, SessionQuery, SessionUpdate, SweepStats,
};
use chat_memory::{Error, ErrorKind, SessionId};

use crate::metrics::{Metrics, Operation};

/// Counts what each operation of a store cost, and its outcome.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn ChatStore>,
    metrics: Arc<Metrics>,
}

impl Metered {
    /// Counts this store's operations in these metrics.
    pub fn new(inner: Arc<dyn ChatStore>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn count<T>(&self, operation: Operation, result: Result<T, Error>, cost: impl FnOnce(&T) -> Cost) -> Result<T, Error> {
        match &result {
            Ok(done) => self.metrics.operation(operation, "ok", cost(done)),
            Err(error) => self.metrics.operation(operation, error.kind().as_str(), Cost::default()),
        }
        result
    }
}

#[async_trait]
impl ChatStore for Metered {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        if matches!(append.identity(), Identity::Ticket(_)) {
            self.metrics.retry(ErrorKind::InDoubt.as_str());
        }
        let operation = if append.rewinds_to().is_some() { Operation::Rewind } else { Operation::Append };
        let appended = self.count(operation, self.inner.append(session, append).await, |appended| appended.cost)?;
        if appended.repeated {
            self.metrics.replay();
        }
        Ok(appended)
    }

    async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        let appended = self.inner.append_all(session, appends).await;
        let appended = self.count(Operation::Fork, appended, |appended| appended.cost)?;
        if appended.repeated {
            self.metrics.replay();
        }
        Ok(appended)
    }

    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        self.count(Operation::Load, self.inner.load(session, load).await, |history| history.cost)
    }

    async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        self.count(Operation::Sweep, self.inner.sweep(session).await, |swept| swept.cost)
    }

    async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        self.count(Operation::Redact, self.inner.redact(session, seq, redaction).await, |redacted| redacted.cost)
    }

    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        self.count(Operation::Delete, self.inner.delete(session).await, |deleted| deleted.cost)
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        self.count(Operation::Sessions, self.inner.sessions(query).await, |page| page.cost)
    }

    async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        self.count(Operation::Sessions, self.inner.list_all_sessions(after).await, |page| page.cost)
    }

    async fn read_contents(&self, sessions: &mut [SessionInfo]) -> Result<Cost, Error> {
        match self.inner.read_contents(sessions).await {
            // The list had said it all.
            Ok(cost) if cost.requests == 0 => Ok(cost),
            read => self.count(Operation::Sessions, read, |cost| *cost),
        }
    }

    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        self.count(Operation::Session, self.inner.session(session).await, |_| Cost::default())
    }

    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        self.count(Operation::Session, self.inner.update_session(session, update).await, |_| Cost::default())
    }

    async fn search(&self, query: &SearchQuery) -> Result<SearchPage, Error> {
        self.count(Operation::Search, self.inner.search(query).await, |page| page.cost)
    }

    fn write_units(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        self.inner.write_units(session, appends)
    }

    fn write_units_of_all(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        self.inner.write_units_of_all(session, appends)
    }

    fn entry_ids(&self) -> Option<&EntryIdCache> {
        self.inner.entry_ids()
    }

    async fn clear(&self, session: &SessionId) -> Result<ClearOutcome, Error> {
        self.count(Operation::Clear, self.inner.clear(session).await, ClearOutcome::cost)
    }
}
