//! Notifies those who wait for new records of a session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use chat_memory::store::Load;
use chat_memory::{ChatStore, Namespace, SessionId};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

type Place = (Option<Namespace>, SessionId);

/// The watched sessions. Writers in this process notify at once. Other processes' writes are found by polling the session's end,
/// once per session however many watch it.
#[derive(Debug, Clone)]
pub struct Watch {
    watched: Arc<Mutex<HashMap<Place, Weak<Watched>>>>,
    every: Duration,
}

/// A watched session, for as long as this is held.
#[derive(Debug)]
pub struct Watched {
    changed: watch::Sender<u64>,
    _looking: AbortOnDropHandle<()>,
}

impl Watched {
    /// Becomes ready whenever there may be new records.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl Watch {
    pub(crate) fn new(every: Duration) -> Self {
        Self { watched: Arc::default(), every }
    }

    /// Watches a session.
    pub fn watch(&self, namespace: Option<&Namespace>, session: &SessionId, store: Arc<dyn ChatStore>) -> Arc<Watched> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, watched| watched.strong_count() > 0);
        let place = (namespace.cloned(), session.clone());
        if let Some(watched) = watched.get(&place).and_then(Weak::upgrade) {
            return watched;
        }
        let changed = watch::Sender::new(0);
        let looking = AbortOnDropHandle::new(tokio::spawn(look(store, session.clone(), changed.clone(), self.every)));
        let new = Arc::new(Watched { changed, _looking: looking });
        watched.insert(place, Arc::downgrade(&new));
        new
    }

    /// Notifies watchers that a session was written to.
    pub fn tell(&self, namespace: Option<&Namespace>, session: &SessionId) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = watched.get(&(namespace.cloned(), session.clone())).and_then(Weak::upgrade) {
            watched.changed.send_modify(|count| *count += 1);
        }
    }
}

/// Polls a session's end until it is stopped. Failed reads are ignored: the next may succeed.
async fn look(store: Arc<dyn ChatStore>, session: SessionId, changed: watch::Sender<u64>, every: Duration) {
    let mut seen = None;
    loop {
        tokio::time::sleep(every).await;
        let Ok(end) = store.load(&session, &Load::last(0).eventually_consistent()).await else { continue };
        if seen.replace(end.position.clone()).is_none_or(|seen| seen != end.position) {
            changed.send_modify(|count| *count += 1);
        }
    }
}
