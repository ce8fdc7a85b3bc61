//! Observes requests on the wire: whether one was sent, which operations were, where to, and how far the server's clock is from
//! ours.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use aws_sdk_dynamodb::config::interceptors::{BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::date_time::{DateTime, Format};

use chat_memory_core::Timestamp;

/// No time: not sent yet, or no server time seen yet.
const NONE: i64 = i64::MIN;

/// What was observed across all requests to a table.
#[derive(Debug)]
pub(crate) struct Wire {
    operations: Mutex<BTreeSet<String>>,
    endpoint: OnceLock<String>,
    skew_ms: AtomicI64,
    answered: AtomicBool,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            operations: Mutex::default(),
            endpoint: OnceLock::new(),
            skew_ms: AtomicI64::new(NONE),
            answered: AtomicBool::new(false),
        }
    }
}

impl Wire {
    /// The operations that were sent, by name from their `X-Amz-Target` header.
    pub(crate) fn operations(&self) -> BTreeSet<String> {
        self.operations.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |operations| operations.clone())
    }

    /// The endpoint, once a request was sent.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.endpoint.get().map(String::as_str)
    }

    /// The least amount by which the server's clock is ahead of ours, in milliseconds (negative: behind), by its last response.
    pub(crate) fn skew_ms(&self) -> Option<i64> {
        Some(self.skew_ms.load(Ordering::Relaxed)).filter(|skew| *skew != NONE)
    }

    /// Whether anything has ever answered.
    pub(crate) fn was_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    fn saw_operation(&self, target: &str) {
        let name = target.rsplit('.').next().unwrap_or(target);
        let mut operations = self.operations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !operations.contains(name) {
            operations.insert(name.to_owned());
        }
    }
}

/// What was observed of one request. It is the request's interceptor, and outlives it.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    wire: Arc<Wire>,
    sent_at: Arc<AtomicI64>,
}

impl Trace {
    pub(crate) fn new(wire: Arc<Wire>) -> Self {
        Self { wire, sent_at: Arc::new(AtomicI64::new(NONE)) }
    }

    /// Whether sending began. Before that (while credentials are fetched, for example) nothing can have landed.
    pub(crate) fn sent(&self) -> bool {
        self.sent_at.load(Ordering::Acquire) != NONE
    }
}

impl Intercept for Trace {
    fn name(&self) -> &'static str {
        "ChatMemoryTrace"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.sent_at.store(Timestamp::now().as_millis(), Ordering::Release);
        let request = context.request();
        if let Some(target) = request.headers().get("x-amz-target") {
            self.wire.saw_operation(target);
        }
        if self.wire.endpoint.get().is_none() {
            // Another request of the same client may have been faster; the endpoint is the same.
            let _ = self.wire.endpoint.set(request.uri().trim_end_matches('/').to_owned());
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.wire.answered.store(true, Ordering::Relaxed);
        let date = context.response().headers().get("date").and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        if let Some(served_at) = date.and_then(|date| date.to_millis().ok()) {
            let skew = skew_ms(self.sent_at.load(Ordering::Acquire), served_at, Timestamp::now().as_millis());
            self.wire.skew_ms.store(skew, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The smallest skew that explains a response dated `served_at` (in whole seconds, rounded down) to a request sent and answered at
/// these local times; 0 if none is needed.
fn skew_ms(sent_at: i64, served_at: i64, answered_at: i64) -> i64 {
    let (at_least, at_most) = (served_at - answered_at, served_at.saturating_add(1000) - sent_at);
    if at_least > 0 {
        at_least
    } else if at_most < 0 {
        at_most
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::skew_ms;

    #[test]
    fn clock_skew_excludes_round_trip_and_rounding() {
        assert_eq!(skew_ms(10_900, 10_000, 11_100), 0, "the date is rounded down");
        assert_eq!(skew_ms(10_000, 14_000, 15_000), 0, "a slow answer");
        assert_eq!(skew_ms(10_000, 400_000, 10_100), 389_900, "ours is behind");
        assert_eq!(skew_ms(400_000, 10_000, 400_100), -389_000, "ours is ahead");
    }
}
