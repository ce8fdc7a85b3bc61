//! Following a session: each new record as it comes, to many readers within limits of memory.

use std::sync::Arc;
use std::time::Duration;

use chat_memory::store::{ChatStore as _, Load, Position, Record};
use chat_memory::{SessionId, Timestamp};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::read::behind;
use crate::auth::Access;
use crate::memory::{Held, SMALL};
use crate::problem::Problem;
use crate::watch::Watched;

/// How often the key of an idle stream is checked.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The longest pause of a stream after a failed read of the store.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many updates may be queued for a reader.
const WAITING: usize = 1;

/// How long a reader may take nothing before its queued updates are dropped, and before its stream ends.
const GRACE: Duration = Duration::from_secs(1);
const STALLED: Duration = Duration::from_secs(30);

/// How long a log certainly continues from a position: a record lives for at least an hour.
const SURE_FOR: Duration = Duration::from_hours(1);

/// What happened in a session.
#[derive(Debug)]
pub(crate) enum Update {
    /// A record was appended; `behind` is the position after it.
    Record { behind: Position, text: String },
    /// The session started again: what was sent so far is void.
    Reset,
}

/// Streams a session's records from this position, or from now on, each formatted by `write`, until the service stops or the key
/// is revoked.
pub(crate) async fn follow(
    access: Access,
    session: SessionId,
    seen: Option<Position>,
    write: impl Fn(&Record) -> String + Send + Sync + 'static,
) -> Result<impl Stream<Item = Update> + Send + 'static, Problem> {
    let seen = match seen {
        Some(seen) => seen,
        None => access.store.load(&session, &Load::last(0)).await.map_err(|e| access.problem(&e))?.position,
    };
    let service = access.service.clone();
    let open = service.streams().open(access.key.as_ref().map(|key| key.id.as_str()))?;
    let watched = service.watch().watch(access.namespace.as_ref(), &session, access.store.clone());
    let mut changes = watched.changes();
    // The first look finds what was written before the watching began.
    changes.mark_changed();
    // A reader's position may belong to a deleted log that was replaced by another.
    let follower = Follower { access, session, seen, is_sure: false, changes, failures: 0, _watched: watched };
    let counted = service.metrics().stream();
    let (to, updates) = mpsc::channel(WAITING);
    // The task ends with the stream.
    let following = AbortOnDropHandle::new(tokio::spawn(send(follower, to, write).in_current_span()));
    let updates = stream::unfold((updates, Held::default()), |(mut updates, last)| async move {
        // The last update has reached its reader, or nearly.
        drop(last);
        updates.recv().await.map(|(update, held)| (update, (updates, held)))
    });
    let updates = updates.map(move |update| {
        let _open = (&open, &counted, &following);
        update
    });
    Ok(updates.take_until(async move { service.stopped().await }))
}

/// An update to send, the reader's position after it, and its size in memory.
struct Found {
    update: Update,
    behind: Position,
    bytes: usize,
}

struct Follower {
    access: Access,
    session: SessionId,
    /// The client's position.
    seen: Position,
    /// Whether the log is known to contain the record before that position.
    is_sure: bool,
    changes: watch::Receiver<u64>,
    failures: u32,
    _watched: Arc<Watched>,
}

impl Follower {
    /// Waits for a change and returns the new events; `None` if the stream must end.
    async fn next(&mut self, write: &(impl Fn(&Record) -> String + Sync)) -> Option<Vec<Found>> {
        // Checked even without changes, so that no stream of a revoked key stays open.
        loop {
            let change = tokio::time::timeout(ASK_EVERY, self.changes.changed()).await;
            if matches!(change, Ok(Err(_))) || self.is_revoked() {
                return None;
            }
            if change.is_ok() {
                break;
            }
        }
        Some(self.look(write).await)
    }

    /// Makes the next look read again from this position.
    fn go_back(&mut self, to: Position) {
        self.seen = to;
        self.is_sure = false;
        self.changes.mark_changed();
    }

    /// Whether the key that opened the stream was revoked or changed.
    fn is_revoked(&self) -> bool {
        let Some(key) = &self.access.key else { return false };
        let now = self.access.service.keys().and_then(|keys| keys.by_id(&key.id));
        now.is_none_or(|now| now != *key)
    }

    async fn look(&mut self, write: &(impl Fn(&Record) -> String + Sync)) -> Vec<Found> {
        let next = self.seen.next();
        // Reads the last record too, to check that it is still the same: numbers may start again after records expired.
        let is_sure = self.is_sure && Timestamp::now().since(self.seen.read_at()) < SURE_FOR;
        let from = if is_sure { next } else { next.saturating_sub(1) };
        let service = self.access.service.clone();
        let permit = service.streams().reads().acquire().await;
        match self.access.store.load(&self.session, &Load::all().since(from)).await {
            Ok(history) => {
                self.failures = 0;
                if history.position == self.seen {
                    self.is_sure = true;
                    self.seen = history.position;
                    return Vec::new();
                }
                let last = history.records.iter().find(|record| record.seq.saturating_add(1) == next);
                let is_other = self.seen.last().zip(last).is_some_and(|(seen, last)| seen != last.append_id);
                if history.position.next() <= next || is_other {
                    // The numbers started again: the client has another log's records.
                    self.seen = Position::new(0, None, Timestamp::UNIX_EPOCH);
                    self.changes.mark_changed();
                    return vec![Found { update: Update::Reset, behind: self.seen.clone(), bytes: 0 }];
                }
                self.is_sure = true;
                self.seen = history.position.clone();
                let read = history.position.clone();
                let mut found = Vec::new();
                for record in history.records.into_iter().filter(|record| record.seq >= next) {
                    let (behind, text) = (behind(&record, &read), write(&record));
                    let bytes = text.len();
                    found.push(Found { update: Update::Record { behind: behind.clone(), text }, behind, bytes });
                    if bytes > SMALL {
                        // Let other tasks run between two large events.
                        tokio::task::yield_now().await;
                    }
                }
                found
            }
            Err(error) => {
                tracing::warn!(%error, "an event stream could not read its session; it retries");
                self.failures += 1;
                drop(permit);
                tokio::time::sleep(Duration::from_millis(250 << self.failures.min(8)).min(LONGEST_PAUSE)).await;
                self.changes.mark_changed();
                Vec::new()
            }
        }
    }
}

/// Sends a follower's events as fast as its client reads them. If the client pauses, its queued events are dropped to free memory,
/// and read again once it continues. A client that reads nothing for long is disconnected.
async fn send(
    mut follower: Follower,
    to: mpsc::Sender<(Update, Held)>,
    write: impl Fn(&Record) -> String + Send + Sync + 'static,
) {
    let service = follower.access.service.clone();
    let room = service.streams().found();
    // The size of the events that did not fit into memory.
    let mut needed = 0;
    loop {
        let before = follower.seen.clone();
        let mut held = room.hold(needed).await;
        let Some(found) = follower.next(&write).await else { return };
        let bytes = found.iter().map(|found| found.bytes).sum();
        if bytes > needed {
            drop(held);
            let Some(now) = room.try_hold(bytes) else {
                needed = bytes;
                follower.go_back(before);
                continue;
            };
            held = now;
        }
        needed = 0;
        let mut sent = before;
        for Found { update, behind, bytes } in found {
            let room = match tokio::time::timeout(GRACE, to.reserve()).await {
                Ok(room) => room.ok(),
                Err(_) => {
                    // The rest is read again from the client's position.
                    follower.go_back(sent);
                    break;
                }
            };
            let Some(room) = room else { return };
            room.send((update, held.split_off(bytes)));
            sent = behind;
        }
        drop(held);
        match tokio::time::timeout(STALLED, to.reserve()).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::info!("an event stream was closed: its client read nothing for {} s", STALLED.as_secs());
                return;
            }
        }
    }
}
