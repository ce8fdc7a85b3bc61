//! The memory that requests' bodies take, within a budget for all of them together.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// The budget is counted in units of this many bytes, since a semaphore takes 32 bits at once.
const UNIT: usize = 1_024;

/// What a body takes in memory while it is read and stored, in bytes for each of its own: as text, as values, and as it is written.
const OF_BYTE: usize = 3;

/// What a value takes besides, while it is read; and an object that is not empty.
const OF_VALUE: usize = 160;
const OF_OBJECT: usize = 560;

/// A body that takes no more than this has room always.
const SMALL: usize = 64 * 1_024;

/// How long a body is waited with until there is room for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a request that found no room should come again, in seconds.
const AGAIN: u32 = 1;

/// The budget.
#[derive(Debug)]
pub(crate) struct Memory {
    room: Arc<Semaphore>,
    units: usize,
}

/// A part of the budget, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<OwnedSemaphorePermit>);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(units)), units }
    }

    /// Waits a little for room for a body of this many bytes, of which nothing is read yet. A small one needs none: there are as many of those
    /// at most as there are connections.
    ///
    /// # Errors
    /// Too large, where the budget as a whole has no room for it; to be repeated, where others have taken it.
    pub(crate) async fn wait_for(&self, bytes: usize) -> Result<Held, Problem> {
        let wanted = bytes.saturating_mul(OF_BYTE);
        let mut held = Held::default();
        if let Some(permits) = self.wanted(&held, wanted)? {
            let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.room).acquire_many_owned(permits)).await;
            held.0.push(permit.map_err(|_| busy())?.map_err(|_| busy())?);
        }
        Ok(held)
    }

    /// Takes room for what a body takes in all, as far as it is not held already. It is not waited for: those that hold a part would wait for
    /// each other.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub(crate) fn take(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        if let Some(permits) = self.wanted(held, bytes)? {
            held.0.push(Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_| busy())?);
        }
        Ok(())
    }

    /// How many more units this many bytes in all take; `None` for none.
    fn wanted(&self, held: &Held, bytes: usize) -> Result<Option<u32>, Problem> {
        if bytes <= SMALL {
            return Ok(None);
        }
        let all = bytes.div_ceil(UNIT);
        if all > self.units {
            let limit = self.units * UNIT;
            let detail = format!(
                "reading this body would take more memory than the {limit} bytes that all bodies may take together; send fewer messages at \
                 once, or fewer and larger values"
            );
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).with("limit", limit));
        }
        let holds: usize = held.0.iter().map(OwnedSemaphorePermit::num_permits).sum();
        Ok(u32::try_from(all.saturating_sub(holds)).ok().filter(|more| *more > 0))
    }
}

fn busy() -> Problem {
    let detail = "the service is reading as many large bodies as its memory allows; send this one again in a moment";
    Problem::later(StatusCode::SERVICE_UNAVAILABLE, "busy", AGAIN, detail)
}

/// What reading this JSON takes at most, in bytes, by the marks that stand between its values. It need not be well-formed.
pub(crate) fn estimate(json: &[u8]) -> usize {
    let (mut values, mut objects) = (1_usize, 0_usize);
    let mut in_string = false;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            // The first value of a list or an object has no comma before it.
            b',' | b'[' => values += 1,
            b'{' => {
                values += 1;
                let next = json[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
                objects += usize::from(next != Some(&b'}'));
            }
            _ => {}
        }
        at += 1;
    }
    json.len() * OF_BYTE + values * OF_VALUE + objects * OF_OBJECT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_waits_and_is_refused_in_the_end() {
        let memory = Memory::new(10 * SMALL);
        let mut first = Held::default();
        memory.take(&mut first, 6 * SMALL).expect("there is room");
        memory.take(&mut first, 6 * SMALL).expect("it is held already");
        let full = memory.take(&mut Held::default(), 5 * SMALL).expect_err("no room is left");
        assert_eq!((full.status(), full.kind()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
        assert_eq!(memory.wait_for(2 * SMALL).await.expect_err("no room comes back").kind(), "busy");
        memory.wait_for(SMALL / OF_BYTE).await.expect("what is small has room");
        let waits = memory.wait_for(3 * SMALL);
        let frees = async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        };
        let (waited, ()) = tokio::join!(waits, frees);
        let mut held = waited.expect("the room came back");
        memory.take(&mut held, 10 * SMALL).expect("there is room for the rest");
        let never = memory.take(&mut held, 10 * SMALL + 1).expect_err("more than there is");
        assert_eq!((never.status(), never.kind()), (StatusCode::PAYLOAD_TOO_LARGE, "too-large"));
        assert!(memory.take(&mut Held::default(), usize::MAX).is_err() && memory.wait_for(usize::MAX).await.is_err());
    }

    #[test]
    fn values_count_and_text_does_not() {
        let of = |json: &str| estimate(json.as_bytes()) - json.len() * OF_BYTE;
        assert_eq!(of(r#""a,b[{\",""#), OF_VALUE, "a string is one value");
        assert_eq!(of("[0,0,0]"), 4 * OF_VALUE);
        assert_eq!(of("{ }"), 2 * OF_VALUE);
        assert_eq!(of(r#"{"a": 1, "b": 2}"#), 3 * OF_VALUE + OF_OBJECT);
        for broken in ["\"\\", "{", "[", "\\", ""] {
            assert!(estimate(broken.as_bytes()) > 0);
        }
    }
}
