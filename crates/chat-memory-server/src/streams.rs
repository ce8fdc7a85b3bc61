//! The open event streams, and their limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use crate::memory::Part;
use crate::problem::Problem;

/// How many streams may read the store concurrently.
const READS: usize = 8;

/// The memory for events that clients have not read yet, in bytes; small events need no reservation.
const FOUND: usize = 64 * 1024 * 1024;

/// After how many seconds a client should retry.
const AGAIN: u32 = 5;

/// The open streams.
#[derive(Debug)]
pub(crate) struct Streams {
    open: Arc<Mutex<Open>>,
    most: usize,
    most_of_key: usize,
    reads: Semaphore,
    found: Part,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    /// By the id of their key; `None` if there are no keys.
    of_key: HashMap<Option<String>, usize>,
}

/// A stream, open until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenOfKey {
    open: Arc<Mutex<Open>>,
    key: Option<String>,
}

impl Streams {
    pub(crate) fn new(most: usize, most_of_key: usize) -> Self {
        Self { open: Arc::default(), most, most_of_key, reads: Semaphore::new(READS), found: Part::new(FOUND) }
    }

    /// Opens a stream for the key with this id.
    ///
    /// # Errors
    /// Retry later, if the limit is reached.
    pub(crate) fn open(&self, key: Option<&str>) -> Result<OpenOfKey, Problem> {
        let key = key.map(str::to_owned);
        let mut open = lock(&self.open);
        let of_key = open.of_key.get(&key).copied().unwrap_or(0);
        // Without keys there are no clients to keep apart.
        if key.is_some() && of_key >= self.most_of_key {
            let detail =
                format!("too many event streams: this key has {of_key} open, which is its limit; close one, or retry later");
            let problem = Problem::later(StatusCode::TOO_MANY_REQUESTS, "too-many-streams", AGAIN, detail);
            return Err(problem.with("limit", self.most_of_key));
        }
        if open.all >= self.most {
            let detail = format!("too many event streams: {} are open, which is the service's limit; retry later", open.all);
            return Err(
                Problem::later(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", AGAIN, detail).with("limit", self.most)
            );
        }
        open.all += 1;
        *open.of_key.entry(key.clone()).or_default() += 1;
        Ok(OpenOfKey { open: Arc::clone(&self.open), key })
    }

    /// The permits of streams that read the store.
    pub(crate) fn reads(&self) -> &Semaphore {
        &self.reads
    }

    /// The memory for the events that they find.
    pub(crate) fn found(&self) -> &Part {
        &self.found
    }
}

impl Drop for OpenOfKey {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        if let Some(count) = open.of_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.of_key.remove(&self.key);
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_limited_per_key_and_in_total() {
        let streams = Streams::new(3, 2);
        let status = |opened: Result<OpenOfKey, Problem>| opened.map(drop).map_err(|problem| problem.status().as_u16());
        let first = streams.open(Some("a")).expect("the first");
        let _second = streams.open(Some("a")).expect("the second");
        assert_eq!(status(streams.open(Some("a"))), Err(429));
        let _other = streams.open(Some("b")).expect("another key's");
        assert_eq!(status(streams.open(Some("b"))), Err(503));
        drop(first);
        assert_eq!(status(streams.open(Some("a"))), Ok(()));
        assert_eq!(lock(&streams.open).of_key.len(), 2, "a key without streams takes no memory");
    }
}
