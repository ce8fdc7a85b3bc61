//! The memory that the service uses under a stream of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::client::Client;
use super::kept_turn;
use super::load::{TURNS, body};
use super::server::Server;
use crate::Result;

/// Concurrent clients.
const CLIENTS: usize = 16;

/// Requests to a session, appends and reads in turn, before the next session is started. So there are always new sessions.
const OF_A_SESSION: usize = 20;

/// How often the memory is measured.
const LOOKS: usize = 10;

/// The result.
#[derive(Debug)]
pub struct Memory {
    /// Requests so far, and the service's memory in bytes at that time.
    pub looks: Vec<(usize, u64)>,
}

/// Sends requests, half of them appends and half reads, and measures the memory in between.
pub async fn watch(server: &Server, key: &str, requests: usize) -> Result<Memory> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(server.address(), key).await?);
    }
    let bodies: Arc<Vec<_>> = Arc::new((0..TURNS).map(|number| body(&kept_turn(number))).collect());
    let mut looks = vec![(0, server.resident()?)];
    for look in 1..=LOOKS {
        let until = requests * look / LOOKS;
        let next = Arc::new(AtomicUsize::new(requests * (look - 1) / LOOKS));
        let mut tasks = JoinSet::new();
        for mut client in clients.drain(..) {
            let (next, bodies) = (Arc::clone(&next), Arc::clone(&bodies));
            tasks.spawn(async move {
                loop {
                    // One session at a time, so that its requests come one after another.
                    let first = next.fetch_add(OF_A_SESSION, Ordering::Relaxed);
                    if first >= until {
                        return Result::Ok(client);
                    }
                    let session = format!("session-{}", first / OF_A_SESSION);
                    for number in first..until.min(first + OF_A_SESSION) {
                        match number % 2 {
                            0 => client.append(&session, bodies[number % TURNS].clone()).await?,
                            _ => client.window(&session).await.map(drop)?,
                        }
                    }
                }
            });
        }
        while let Some(client) = tasks.join_next().await {
            clients.push(client??);
        }
        looks.push((until, server.resident()?));
    }
    Ok(Memory { looks })
}
