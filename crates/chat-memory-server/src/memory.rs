//! The memory for request bodies, within one budget for all requests.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// The budget is counted in units of this many bytes, since a semaphore counts in 32 bits.
const UNIT: usize = 1_024;

/// Additional memory per byte of a body while it is read and stored: as values, and as it is written.
const OF_BYTE: usize = 2;

/// Additional memory per value while it is read, and per non-empty object.
const OF_VALUE: usize = 160;
const OF_OBJECT: usize = 560;

/// Bodies up to this size need no reservation.
pub(crate) const SMALL: usize = 64 * 1_024;

/// How long a body waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// After how many seconds a request that got no memory should be retried.
const AGAIN: u32 = 1;

/// The budget, in two parts: a quarter for incoming bodies, the rest for reading and storing them. A request that holds a share of
/// the first may wait for the second, but never the other way round, so there is no deadlock.
#[derive(Debug)]
pub(crate) struct Memory {
    coming: Part,
    reading: Part,
}

/// A part of a budget.
#[derive(Debug)]
pub(crate) struct Part {
    room: Arc<Semaphore>,
    units: u32,
}

/// A share of the budget, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<OwnedSemaphorePermit>);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { coming: Part::new(bytes / 4), reading: Part::new(bytes - bytes / 4) }
    }

    /// The longest body that can ever get memory, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.coming.bytes()
    }

    /// Waits a little for the memory of an incoming body of this many bytes, of which little has been received.
    ///
    /// # Errors
    /// Too large, if it exceeds the whole budget; retry later, if other requests hold the memory.
    pub(crate) async fn for_coming(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        self.coming.wait(held, bytes).await
    }

    /// Waits a little for the memory to read and store a body.
    ///
    /// # Errors
    /// As [`for_coming`](Self::for_coming).
    pub(crate) async fn for_reading(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        self.reading.wait(held, bytes).await
    }
}

impl Held {
    /// Splits off the share for this many bytes, as far as it is held.
    pub(crate) fn split_off(&mut self, bytes: usize) -> Self {
        let part = self.0.last_mut().and_then(|permit| permit.split(bytes.div_ceil(UNIT).min(permit.num_permits())));
        Self(part.into_iter().collect())
    }
}

impl Part {
    /// Reserves this many bytes at once; `None` if others hold them.
    pub(crate) fn try_hold(&self, bytes: usize) -> Option<Held> {
        if bytes <= SMALL {
            return Some(Held::default());
        }
        let permit = Arc::clone(&self.room).try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(Held(vec![permit]))
    }

    /// Waits until this many bytes can be reserved.
    pub(crate) async fn hold(&self, bytes: usize) -> Held {
        if bytes <= SMALL {
            return Held::default();
        }
        Held(Arc::clone(&self.room).acquire_many_owned(self.units_of(bytes)).await.into_iter().collect())
    }

    /// A size in units; anything larger than the whole budget counts as the whole budget.
    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units)
    }

    pub(crate) fn new(bytes: usize) -> Self {
        let units = u32::try_from((bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { room: Arc::new(Semaphore::new(units as usize)), units }
    }

    fn bytes(&self) -> usize {
        (self.units as usize).saturating_mul(UNIT)
    }

    async fn wait(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        // The number of connections limits how many small ones there can be.
        if bytes <= SMALL {
            return Ok(());
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok().filter(|units| *units <= self.units);
        let units = units.ok_or_else(|| {
            let limit = self.bytes();
            let detail = format!(
                "body too large: reading it takes an estimated {bytes} bytes of memory, and the limit is {limit}; send fewer messages \
                 at once, or fewer and larger values"
            );
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).with("limit", limit)
        })?;
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.room).acquire_many_owned(units)).await;
        match permit {
            Ok(Ok(permit)) => {
                held.0.push(permit);
                Ok(())
            }
            _ => {
                let detail = "the service is busy: it is reading as many large bodies as its memory allows; retry in a moment";
                Err(Problem::later(StatusCode::SERVICE_UNAVAILABLE, "busy", AGAIN, detail))
            }
        }
    }
}

/// The most memory that reading this JSON takes, in bytes, estimated from the marks between its values. It need not be well-formed.
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
    async fn body_without_free_memory_waits_then_is_refused() {
        let memory = Memory::new(40 * SMALL);
        assert_eq!(memory.longest(), 10 * SMALL);
        let (mut first, mut second) = (Held::default(), Held::default());
        memory.for_coming(&mut first, 6 * SMALL).await.expect("there is room");
        let full = memory.for_coming(&mut second, 5 * SMALL).await.expect_err("no room comes back");
        assert_eq!((full.status(), full.kind()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
        memory.for_coming(&mut second, SMALL).await.expect("what is small has room");
        memory.for_reading(&mut second, 30 * SMALL).await.expect("reading has room of its own");
        let frees = async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        };
        let (waited, ()) = tokio::join!(memory.for_coming(&mut second, 10 * SMALL), frees);
        waited.expect("the room came back");
        for never in [10 * SMALL + 1, usize::MAX] {
            let never = memory.for_coming(&mut Held::default(), never).await.expect_err("more than there is");
            assert_eq!((never.status(), never.kind()), (StatusCode::PAYLOAD_TOO_LARGE, "too-large"));
        }
    }

    #[test]
    fn memory_estimate_counts_values_outside_strings() {
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
