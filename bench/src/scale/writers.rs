//! Concurrent writers, each to its own session and all to one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use chat_memory::SessionId;
use chat_memory::store::{ChatStore, Cost, Load};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::Result;
use crate::turns::turn;

/// The result for a number of writers.
#[derive(Debug)]
pub struct Written {
    pub name: &'static str,
    pub writers: usize,
    /// All to one session, instead of each to its own.
    pub shared: bool,
    pub per_second: f64,
    /// Per append, on average.
    pub requests: f64,
}

/// Measures each number of writers, to their own sessions and to one. `open` opens the store, as another process would.
pub async fn run(
    name: &'static str,
    open: &dyn Fn() -> Result<Arc<dyn ChatStore>>,
    writers: &[usize],
    appends: usize,
) -> Result<Vec<Written>> {
    let mut all = Vec::new();
    for shared in [false, true] {
        for &writers in writers {
            eprintln!("{name}: {writers} writers …");
            all.push(write(name, open, writers, appends / writers, shared).await?);
        }
    }
    Ok(all)
}

async fn write(
    name: &'static str,
    open: &dyn Fn() -> Result<Arc<dyn ChatStore>>,
    writers: usize,
    each: usize,
    shared: bool,
) -> Result<Written> {
    let session = |writer: usize| {
        let of = if shared { "all".to_owned() } else { writer.to_string() };
        SessionId::new(format!("writers-{writers}-{shared}-{of}"))
    };
    let barrier = Arc::new(Barrier::new(writers + 1));
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (store, session, barrier) = (open()?, session(writer)?, Arc::clone(&barrier));
        // Excludes the cost of a session's first turn and a process's first read.
        store.append(&session, &turn(1_000_000 + writer)).await?;
        tasks.spawn(async move {
            let turns: Vec<_> = (0..each).map(|number| turn(writer * each + number)).collect();
            barrier.wait().await;
            let mut cost = Cost::default();
            for turn in &turns {
                cost += store.append(&session, turn).await?.cost;
            }
            Result::Ok(cost)
        });
    }
    barrier.wait().await;
    let start = Instant::now();
    let mut cost = Cost::default();
    while let Some(done) = tasks.join_next().await {
        cost += done??;
    }
    let took = start.elapsed().as_secs_f64();
    let store = open()?;
    let mut texts = HashSet::new();
    let mut records = 0;
    for writer in 0..if shared { 1 } else { writers } {
        let history = store.load(&session(writer)?, &Load::all()).await?;
        records += history.records.len();
        texts.extend(
            history.messages().filter(|message| message.role == chat_memory::Role::User).map(|message| message.text().to_owned()),
        );
    }
    let wanted = writers * (each + 1);
    if records != wanted || texts.len() != wanted {
        let found = texts.len();
        return Err(format!("{writers} writers appended {wanted} turns, of which {found} are there in {records} records").into());
    }
    let appends = (writers * each) as f64;
    Ok(Written { name, writers, shared, per_second: appends / took, requests: cost.requests as f64 / appends })
}
