//! Queues: one process's appends to one session go one after another.
//!
//! Writers that race for the tail of one log are costly to each other: all but one are too late and must retry. Nothing can be done
//! about writers in other processes. Those of this process wait here, in order of arrival, and then find the tail where the last of
//! them left it. Sessions do not wait for each other, and a session without appends takes no memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{Either, select};
use tokio::sync::OwnedMutexGuard;

use super::retry::Retry;
use crate::table::Clock;
use chat_memory_core::SessionId;
use chat_memory_core::error::{Error, ErrorKind};

/// How many appends may wait for one session. Each holds its messages in memory meanwhile.
const MOST_WAITING: usize = 1_000;

/// The queues of all sessions that have one. Clones share the same queues.
#[derive(Debug, Clone)]
pub(crate) struct Queues {
    lines: Arc<Mutex<HashMap<SessionId, Line>>>,
    most_waiting: usize,
}

/// The queue of one session.
#[derive(Debug, Default)]
struct Line {
    /// tokio's mutex is fair: it is granted in order of arrival, skipping those that were cancelled.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many wait or hold the turn.
    inside: usize,
}

impl Default for Queues {
    fn default() -> Self {
        Self { lines: Arc::default(), most_waiting: MOST_WAITING }
    }
}

impl Queues {
    /// Waits for this append's turn, which lasts until the returned value is dropped. A cancelled caller leaves the queue.
    ///
    /// # Errors
    /// Contended if the deadline passes first, or too many are waiting. Nothing was written in that case.
    pub(crate) async fn turn<C: Clock>(&self, session: &SessionId, retry: &Retry<'_, C>) -> Result<Turn, Error> {
        let (place, turn) = self.join(session)?;
        // Without contention, the usual case, no timer is needed.
        let turn = match Arc::clone(&turn).try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => {
                let waits = std::pin::pin!(turn.lock_owned());
                let late = std::pin::pin!(retry.ends());
                match select(waits, late).await {
                    Either::Left((turn, _)) => turn,
                    Either::Right(((), _)) => {
                        let before = place.others();
                        return Err(Error::new(
                            ErrorKind::Contended,
                            format!(
                                "append to session {session:?} timed out: {before} other appends of this process were ahead of \
                                 it for {} ms, and nothing was written; retry later, send fewer appends to this session at once, \
                                 or put several messages into one append",
                                retry.deadline.as_millis()
                            ),
                        ));
                    }
                }
            }
        };
        Ok(Turn { _turn: turn, _place: place })
    }

    fn join(&self, session: &SessionId) -> Result<(Place, Arc<tokio::sync::Mutex<()>>), Error> {
        let mut lines = self.lines();
        let line = lines.entry(session.clone()).or_default();
        // One of them holds the turn.
        if line.inside > self.most_waiting {
            let waiting = self.most_waiting;
            return Err(Error::new(
                ErrorKind::Contended,
                format!(
                    "append to session {session:?} refused: {waiting} appends of this process are already waiting, which is the \
                     limit, and nothing was written; retry later, or put several messages into one append"
                ),
            ));
        }
        line.inside += 1;
        let turn = Arc::clone(&line.turn);
        drop(lines);
        Ok((Place { queues: self.clone(), session: session.clone() }, turn))
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<SessionId, Line>> {
        // No panic can occur between two changes that belong together.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of one append. Dropping it gives the turn to the next.
#[derive(Debug)]
pub(crate) struct Turn {
    // In this order: the queue is removed after its last turn.
    _turn: OwnedMutexGuard<()>,
    _place: Place,
}

/// A place in a session's queue, released on drop.
#[derive(Debug)]
struct Place {
    queues: Queues,
    session: SessionId,
}

impl Place {
    /// How many others are in the queue.
    fn others(&self) -> usize {
        self.queues.lines().get(&self.session).map_or(0, |line| line.inside.saturating_sub(1))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.queues.lines();
        let Some(line) = lines.get_mut(&self.session) else { return };
        line.inside -= 1;
        if line.inside == 0 {
            lines.remove(&self.session);
            // Release the memory of a large crowd.
            if lines.capacity() > 1024 && lines.len() * 8 < lines.capacity() {
                lines.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use futures_util::future::poll_immediate;
    use tokio::sync::watch;

    use super::*;
    use chat_memory_core::Timestamp;
    use chat_memory_core::backend::Moment;

    /// A clock that the test controls.
    #[derive(Debug)]
    struct Led(watch::Sender<u64>);

    #[async_trait]
    impl Clock for Led {
        fn now(&self) -> Moment {
            Moment { mono_ms: *self.0.borrow(), wall: Timestamp::UNIX_EPOCH }
        }

        async fn sleep(&self, duration: Duration) {
            let until = *self.0.borrow() + duration.as_millis() as u64;
            let _ = self.0.subscribe().wait_for(|now| *now >= until).await;
        }

        fn random(&self) -> f64 {
            0.5
        }
    }

    fn clock() -> Led {
        Led(watch::Sender::new(0))
    }

    fn session(id: &str) -> SessionId {
        SessionId::new(id).expect("a good id")
    }

    #[tokio::test]
    async fn queue_turns_follow_arrival_order() {
        let (queues, clock) = (Queues::default(), clock());
        let (retry, busy) = (Retry::new(&clock, Duration::from_secs(1)), session("busy"));
        let mut current = queues.turn(&busy, &retry).await.expect("the first turn");
        let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(queues.turn(&busy, &retry))).collect();
        for wait in &mut waiting {
            assert!(poll_immediate(wait).await.is_none());
        }
        while !waiting.is_empty() {
            drop(current);
            let first = waiting.remove(0);
            for later in &mut waiting {
                assert!(poll_immediate(later).await.is_none(), "a later append had its turn first");
            }
            current = first.await.expect("the next turn");
        }
        drop(current);
        assert!(queues.lines().is_empty(), "queues without appends take no memory");
    }

    #[tokio::test]
    async fn cancelled_append_leaves_the_queue() {
        let (queues, clock) = (Queues::default(), clock());
        let (retry, busy) = (Retry::new(&clock, Duration::from_secs(1)), session("busy"));
        let current = queues.turn(&busy, &retry).await.expect("the first turn");
        let (mut gone, mut stays) = (Box::pin(queues.turn(&busy, &retry)), Box::pin(queues.turn(&busy, &retry)));
        assert!(poll_immediate(&mut gone).await.is_none() && poll_immediate(&mut stays).await.is_none());
        drop(current);
        // It was given the turn, and is cancelled without having taken it.
        drop(gone);
        let turn = poll_immediate(&mut stays).await.expect("the turn of a cancelled append is passed on");
        drop((turn.expect("its turn"), stays));
        assert!(queues.lines().is_empty());
    }

    #[tokio::test]
    async fn waiting_past_the_deadline_is_contention() {
        let (queues, clock) = (Queues::default(), clock());
        let busy = session("busy");
        let current = queues.turn(&busy, &Retry::new(&clock, Duration::from_secs(1))).await.expect("the first turn");
        let retry = Retry::new(&clock, Duration::from_secs(1));
        let mut waits = Box::pin(queues.turn(&busy, &retry));
        assert!(poll_immediate(&mut waits).await.is_none());
        clock.0.send_replace(999);
        assert!(poll_immediate(&mut waits).await.is_none());
        clock.0.send_replace(1_000);
        let Some(Err(error)) = poll_immediate(&mut waits).await else { panic!("it waits beyond its deadline") };
        assert_eq!(error.kind(), ErrorKind::Contended);
        for part in ["nothing was written", "\"busy\"", "1 other append", "1000 ms", "retry"] {
            assert!(error.to_string().contains(part), "{part} in {error}");
        }
        drop((current, waits));
        assert!(queues.lines().is_empty());
    }

    #[tokio::test]
    async fn queue_wait_counts_towards_the_deadline() {
        let (queues, clock) = (Queues::default(), clock());
        let busy = session("busy");
        let current = queues.turn(&busy, &Retry::new(&clock, Duration::from_secs(1))).await.expect("the first turn");
        let retry = Retry::new(&clock, Duration::from_secs(1));
        let mut waits = Box::pin(queues.turn(&busy, &retry));
        assert!(poll_immediate(&mut waits).await.is_none());
        clock.0.send_replace(900);
        drop(current);
        let _turn = waits.await.expect("in time");
        assert!(!retry.is_over());
        clock.0.send_replace(1_000);
        assert!(retry.is_over(), "it has what the waiting left");
    }

    #[tokio::test]
    async fn queue_is_bounded_and_separate_for_each_session() {
        let (queues, clock) = (Queues { most_waiting: 2, ..Queues::default() }, clock());
        let retry = Retry::new(&clock, Duration::from_secs(1));
        let (busy, idle) = (session("busy"), session("idle"));
        let _current = queues.turn(&busy, &retry).await.expect("the first turn");
        let mut waiting = [Box::pin(queues.turn(&busy, &retry)), Box::pin(queues.turn(&busy, &retry))];
        for wait in &mut waiting {
            assert!(poll_immediate(wait).await.is_none());
        }
        let error = queues.turn(&busy, &retry).await.expect_err("a full queue");
        assert_eq!(error.kind(), ErrorKind::Contended);
        assert!(error.to_string().contains("nothing was written"), "{error}");
        queues.turn(&idle, &retry).await.expect("another session's turn comes at once");
    }
}
