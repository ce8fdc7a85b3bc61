//! Concurrent clients, over HTTP or by direct calls, in alternating rounds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_memory::store::{Append, ChatStore, ChatStoreExt as _, Load};
use chat_memory::{Message, SessionId};
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::{self, Client};
use super::{Extent, kept_turn};
use crate::Result;
use crate::measure::Ratio;
use crate::turns::WINDOW;

/// How many different turns there are.
pub const TURNS: usize = 64;

/// The operation to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// An append of a turn.
    Append,
    /// A read of the newest messages.
    Window,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append a turn",
            Self::Window => "read a window",
        })
    }
}

/// The session of the client with this number.
pub fn session_of(number: usize) -> Result<SessionId> {
    Ok(SessionId::new(format!("client-{number}"))?)
}

/// One client, with a session of its own.
#[derive(Debug)]
pub struct Worker {
    session: String,
    by: By,
    appended: usize,
}

#[derive(Debug)]
enum By {
    Http { client: Client, bodies: Vec<Bytes> },
    Calls { store: Arc<dyn ChatStore>, appends: Vec<Append> },
}

impl Worker {
    /// A client that calls the service.
    pub fn served(client: Client, number: usize) -> Self {
        let bodies = (0..TURNS).map(|number| body(&kept_turn(number))).collect();
        Self { session: format!("client-{number}"), by: By::Http { client, bodies }, appended: 0 }
    }

    /// A client that calls the library.
    pub fn called(store: Arc<dyn ChatStore>, number: usize) -> Self {
        let appends = (0..TURNS).map(kept_turn).collect();
        Self { session: format!("client-{number}"), by: By::Calls { store, appends }, appended: 0 }
    }

    /// Appends turns, so that there is a window to read.
    pub async fn fill(&mut self, turns: usize) -> Result {
        for _ in 0..turns {
            self.append().await?;
        }
        Ok(())
    }

    /// Returns the window's messages.
    pub async fn window(&mut self) -> Result<Vec<Value>> {
        match &mut self.by {
            By::Http { client, .. } => client::messages(&client.window(&self.session).await?),
            By::Calls { store, .. } => {
                let history = store.load(&SessionId::new(self.session.as_str())?, &Load::last(WINDOW)).await?;
                Ok(history.messages().map(Message::to_value).collect())
            }
        }
    }

    async fn append(&mut self) -> Result {
        let number = self.appended % TURNS;
        self.appended += 1;
        match &mut self.by {
            By::Http { client, bodies } => client.append(&self.session, bodies[number].clone()).await,
            By::Calls { store, appends } => {
                store.append_with_retry(&SessionId::new(self.session.as_str())?, appends[number].clone()).await?;
                Ok(())
            }
        }
    }

    /// Reads the window and keeps it undecoded: as bytes, or as messages.
    async fn read(&mut self) -> Result {
        match &mut self.by {
            By::Http { client, .. } => client.window(&self.session).await.map(drop),
            By::Calls { store, .. } => {
                store.load(&SessionId::new(self.session.as_str())?, &Load::last(WINDOW)).await?;
                Ok(())
            }
        }
    }

    /// Repeats the operation this many times; returns the time of each.
    async fn work(&mut self, operation: Operation, times: usize) -> Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            let start = Instant::now();
            match operation {
                Operation::Append => self.append().await?,
                Operation::Window => self.read().await?,
            }
            took.push(start.elapsed());
        }
        Ok(took)
    }
}

/// A turn as a request body.
pub fn body(turn: &Append) -> Bytes {
    let messages: Vec<Value> = turn.messages().map(Message::to_value).collect();
    json!({ "messages": messages }).to_string().into()
}

/// The result of one side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Requests per second: the median over the rounds.
    pub rate: f64,
    /// The median time of a request.
    pub p50: Duration,
    /// The 99th percentile of the times.
    pub p99: Duration,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The operation.
    pub operation: Operation,
    /// Concurrent clients.
    pub clients: usize,
    /// By the service.
    pub served: Pace,
    /// By what it is compared with.
    pub other: Pace,
    /// The service's time divided by the other's.
    pub ratio: Ratio,
}

/// Times both sides in alternating rounds; the first pair warms up and does not count.
pub async fn compare(
    operation: Operation,
    served: &mut Vec<Worker>,
    others: &mut Vec<Worker>,
    extent: Extent,
) -> Result<Comparison> {
    let clients = served.len();
    let each = extent.each.max(extent.together / clients);
    let (mut service, mut other) = (Side::default(), Side::default());
    for pair in 0..=extent.pairs {
        let (first, second) = if pair % 2 == 0 { (&mut *served, &mut *others) } else { (&mut *others, &mut *served) };
        let times = [round(operation, first, each).await?, round(operation, second, each).await?];
        if pair == 0 {
            continue;
        }
        let [mut one, mut two] = times;
        if pair % 2 == 1 {
            std::mem::swap(&mut one, &mut two);
        }
        service.add(one);
        other.add(two);
    }
    let pairs: Vec<_> = service.rounds.iter().copied().zip(other.rounds.iter().copied()).collect();
    let requests = clients * each;
    Ok(Comparison { operation, clients, served: service.pace(requests), other: other.pace(requests), ratio: Ratio::of(&pairs) })
}

/// Runs all workers concurrently, each this many times; returns the total time and each request's.
async fn round(operation: Operation, workers: &mut Vec<Worker>, each: usize) -> Result<(Duration, Vec<Duration>)> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for mut worker in workers.drain(..) {
        tasks.spawn(async move {
            let took = worker.work(operation, each).await?;
            Result::Ok((worker, took))
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (worker, took) = done??;
        workers.push(worker);
        all.extend(took);
    }
    let elapsed = start.elapsed();
    // In the order of their sessions, so that the rounds of both sides stay alike.
    workers.sort_by_key(|worker| worker.session.trim_start_matches("client-").parse::<usize>().unwrap_or(0));
    Ok((elapsed, all))
}

/// The times of one side.
#[derive(Default)]
struct Side {
    rounds: Vec<Duration>,
    requests: Vec<Duration>,
}

impl Side {
    fn add(&mut self, (round, requests): (Duration, Vec<Duration>)) {
        self.rounds.push(round);
        self.requests.extend(requests);
    }

    fn pace(mut self, requests: usize) -> Pace {
        self.rounds.sort();
        self.requests.sort();
        Pace {
            rate: requests as f64 / at(&self.rounds, 0.5).as_secs_f64(),
            p50: at(&self.requests, 0.5),
            p99: at(&self.requests, 0.99),
        }
    }
}

fn at(sorted: &[Duration], share: f64) -> Duration {
    sorted.get(((sorted.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_combines_the_median_rate_and_all_latencies() {
        let mut side = Side::default();
        for seconds in [1, 2, 4] {
            side.add((Duration::from_secs(seconds), (1..=100).map(Duration::from_millis).collect()));
        }
        let pace = side.pace(100);
        assert_eq!((pace.rate, pace.p50, pace.p99), (50.0, Duration::from_millis(51), Duration::from_millis(99)));
    }
}
