//! Many sessions, each with its first turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use chat_memory::SessionId;
use chat_memory::store::{ChatStore, SessionQuery};
use tokio::task::JoinSet;

use super::{Measured, median};
use crate::Result;
use crate::resident::resident;
use crate::turns::turn;

/// Sessions that are started concurrently while the store is filled.
const AT_ONCE: usize = 64;

/// Sessions of a page.
pub const PAGE: usize = 20;

/// The result for one kind of store.
#[derive(Debug)]
pub struct Filled {
    pub name: &'static str,
    pub units: bool,
    pub at: Vec<At>,
}

/// The result at a number of sessions.
#[derive(Debug)]
pub struct At {
    pub sessions: usize,
    /// The first turn of one more session.
    pub first: Measured,
    /// One more turn of a session that this store has cached, and of one that it has not.
    pub known: Measured,
    pub unknown: Measured,
    /// The directory's first page, and the next one.
    pub page: Measured,
    pub next: Measured,
    pub resident: u64,
}

fn session(number: usize) -> Result<SessionId> {
    Ok(SessionId::new(format!("session-{number:06}"))?)
}

/// Starts sessions up to the greatest of these numbers, and measures at each. `open` opens the store, as another process would.
pub async fn fill(
    name: &'static str,
    units: bool,
    open: &dyn Fn() -> Result<Arc<dyn ChatStore>>,
    marks: &[usize],
    times: usize,
) -> Result<Filled> {
    let store = open()?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut at = Vec::new();
    for &sessions in marks {
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (store, next) = (Arc::clone(&store), Arc::clone(&next));
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= sessions {
                        return Result::Ok(());
                    }
                    store.append(&session(number)?, &turn(number)).await?;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        eprintln!("{name}: {sessions} sessions …");
        let resident = resident(std::process::id())?;
        let (mut first, mut known, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for time in 0..times {
            // Counted as the next ones when the filling resumes.
            let new = session(sessions + time)?;
            first.push(append(store.as_ref(), &new, sessions + time).await?);
            known.push(append(store.as_ref(), &new, time).await?);
            unknown.push(append(open()?.as_ref(), &session(sessions / 2)?, time).await?);
        }
        next.store(sessions + times, Ordering::Relaxed);
        let (page, cursor) = directory(store.as_ref(), times, None).await?;
        let cursor = cursor.filter(|_| sessions > PAGE);
        let (following, _) = directory(store.as_ref(), times, cursor).await?;
        let (first, known, unknown) = (middle(&first), middle(&known), middle(&unknown));
        at.push(At { sessions, first, known, unknown, page, next: following, resident });
    }
    Ok(Filled { name, units, at })
}

async fn append(store: &dyn ChatStore, session: &SessionId, number: usize) -> Result<Measured> {
    let turn = turn(number);
    let start = Instant::now();
    let cost = store.append(session, &turn).await?.cost;
    Ok(Measured { cost, time: start.elapsed() })
}

async fn directory(store: &dyn ChatStore, times: usize, after: Option<String>) -> Result<(Measured, Option<String>)> {
    let query = SessionQuery::unowned().limit(PAGE);
    let query = match after {
        Some(after) => query.after(after),
        None => query,
    };
    let (mut costs, mut next) = (Vec::new(), None);
    for _ in 0..times {
        let start = Instant::now();
        let page = store.sessions(&query).await?;
        costs.push(Measured { cost: page.cost, time: start.elapsed() });
        next = page.next;
    }
    Ok((middle(&costs), next))
}

/// The counts of the last one, and the median time.
fn middle(costs: &[Measured]) -> Measured {
    let cost = costs.last().map(|of| of.cost).unwrap_or_default();
    Measured { cost, time: median(costs.iter().map(|of| of.time).collect()) }
}
