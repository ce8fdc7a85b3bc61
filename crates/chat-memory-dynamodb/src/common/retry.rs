//! How long an operation keeps retrying, and how it waits between failed requests.

use std::time::Duration;

use crate::table::sdk::Failure;
use crate::table::{Clock, Fault};
use chat_memory_core::backend::Moment;
use chat_memory_core::error::{Error, ErrorKind};

/// How long an operation retries failed requests, and how it waits between them.
pub(crate) struct Retry<'a, C> {
    clock: &'a C,
    started: Moment,
    pub(crate) deadline: Duration,
    faults: u32,
    /// Whether a request of this operation had a connection, as far as its faults show: it may then still be in flight.
    connected: bool,
}

/// The first wait after a fault, and the longest wait of any kind. DynamoDB's throttling usually passes within a second.
const FIRST_WAIT_MS: f64 = 50.0;
const LONGEST_WAIT_MS: f64 = 2_000.0;

/// The longest wait while there is no connection: retrying costs nothing, and the caller should learn of the failure soon.
const LONGEST_WAIT_UNCONNECTED_MS: f64 = 500.0;

/// How long a writer waits after it lost to another: at most the duration of the request that lost, doubled for each loss in a row, up
/// to this many times. So the wait suits a fast service and a slow one; at the longest, of 64 writers about one tries at a time.
const LEAST_REQUEST_MS: f64 = 5.0;
const MOST_REQUESTS: f64 = 128.0;

impl<'a, C: Clock> Retry<'a, C> {
    pub(crate) fn new(clock: &'a C, deadline: Duration) -> Self {
        Self { clock, started: clock.now(), deadline, faults: 0, connected: false }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.age() >= self.deadline
    }

    /// Fails once the time of an append that other writers are ahead of is over.
    pub(crate) fn check_contention(&self) -> Result<(), Error> {
        if !self.is_over() {
            return Ok(());
        }
        let ms = self.deadline.as_millis();
        Err(Error::new(
            ErrorKind::Contended,
            format!("append contended: other writers to the session came first for {ms} ms; retry"),
        ))
    }

    fn age(&self) -> Duration {
        self.started.age(self.clock.now())
    }

    /// Waits until the deadline.
    pub(crate) async fn ends(&self) {
        while !self.is_over() {
            self.clock.sleep(self.deadline.saturating_sub(self.age())).await;
        }
    }

    /// Waits after a fault, or returns its error if it is time to give up.
    pub(crate) async fn after(&mut self, fault: Fault) -> Result<(), Error> {
        let repeat = fault.retry || fault.may_have_landed;
        let unconnected_until = unconnected_until(&fault.error);
        self.connected |= unconnected_until.is_none();
        // If nothing was ever reached, the cause is usually a wrong name, a wrong port or no network: report it soon.
        let is_hopeless = !self.connected && unconnected_until.is_some_and(|until| self.age() >= until);
        if !repeat || is_hopeless || self.is_over() {
            return Err(fault.error);
        }
        self.faults += 1;
        let longest = if self.connected { LONGEST_WAIT_MS } else { LONGEST_WAIT_UNCONNECTED_MS };
        let most = (FIRST_WAIT_MS * 2_f64.powi(self.faults.min(10) as i32 - 1)).min(longest);
        self.wait(most).await;
        // Give up now, while the cause is known, rather than at the next check of the clock.
        if self.is_over() { Err(fault.error) } else { Ok(()) }
    }

    /// Waits after this many losses in a row to other writers, the last by a request sent at this time. Never waits more than half of
    /// what is left until the deadline, so that an append that has lost often tries more often at its end.
    pub(crate) async fn wait_for_others(&self, losses: u32, sent_at: Moment) {
        let took = (sent_at.age(self.clock.now()).as_millis() as f64).max(LEAST_REQUEST_MS);
        let requests = 2_f64.powi(losses.clamp(1, 10) as i32 - 1).min(MOST_REQUESTS);
        let left = self.deadline.saturating_sub(self.age()).as_millis() as f64;
        self.wait((took * requests).min(LONGEST_WAIT_MS).min(left / 2.0)).await;
    }

    /// Waits a random time below this, so that writers that collided do not collide again.
    pub(crate) async fn wait(&self, most_ms: f64) {
        self.clock.sleep(Duration::from_millis((self.clock.random() * most_ms) as u64)).await;
    }
}

/// The age until which an operation that never had a connection retries a request that got none; `None` if it had one.
fn unconnected_until(error: &Error) -> Option<Duration> {
    Failure::of(error)?.unconnected_until()
}

/// Repeats a request that reads, or that is safe to carry out twice, until it succeeds or its time is over.
macro_rules! retry {
    ($retry:ident, $request:expr) => {
        loop {
            match $request.await {
                Ok(answer) => break Ok(answer),
                Err(fault) => {
                    if let Err(error) = $retry.after(fault).await {
                        break Err(error);
                    }
                }
            }
        }
    };
}
pub(crate) use retry;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::iam::Operation;
    use crate::table::sdk::Cause;
    use chat_memory_core::Timestamp;

    /// A clock on which only waiting takes time.
    #[derive(Debug, Default)]
    struct Waited(AtomicU64);

    #[async_trait]
    impl Clock for Waited {
        fn now(&self) -> Moment {
            Moment { mono_ms: self.0.load(Ordering::Relaxed), wall: Timestamp::UNIX_EPOCH }
        }

        async fn sleep(&self, duration: Duration) {
            self.0.fetch_add(duration.as_millis() as u64, Ordering::Relaxed);
        }

        fn random(&self) -> f64 {
            1.0
        }
    }

    fn fault(cause: Cause) -> Fault {
        let failure = Failure { operation: Operation::PutItem, sent: true, cause };
        let error = Error::new(ErrorKind::Unavailable, "no").with_source(failure);
        Fault { error, may_have_landed: false, retry: true }
    }

    fn refused(until_ms: u64) -> Fault {
        fault(Cause::NoConnection { why: "refused".to_owned(), repeat_until: Duration::from_millis(until_ms) })
    }

    /// How long it takes to give up on these faults when they keep recurring.
    async fn given_up_after(faults: impl Fn(u32) -> Fault) -> u64 {
        let clock = Waited::default();
        let mut retry = Retry::new(&clock, Duration::from_secs(30));
        let mut n = 0;
        while retry.after(faults(n)).await.is_ok() {
            n += 1;
        }
        clock.0.load(Ordering::Relaxed)
    }

    /// The waits after losses to other writers, by a request that takes so long.
    async fn waits(deadline_ms: u64, request_ms: u64, losses: &[u32]) -> Vec<u64> {
        let clock = Waited::default();
        let retry = Retry::new(&clock, Duration::from_millis(deadline_ms));
        let mut waits = Vec::new();
        for &losses in losses {
            let sent_at = clock.now();
            clock.sleep(Duration::from_millis(request_ms)).await;
            let before = clock.now().mono_ms;
            retry.wait_for_others(losses, sent_at).await;
            waits.push(clock.now().mono_ms - before);
        }
        waits
    }

    #[tokio::test]
    async fn waits_after_losses_double_up_to_a_multiple_of_the_request() {
        let losses = [1, 2, 3, 4, 7, 8, 9, 50, u32::MAX];
        assert_eq!(waits(60_000, 0, &losses).await, [5, 10, 20, 40, 320, 640, 640, 640, 640]);
        assert_eq!(waits(60_000, 10, &losses).await, [10, 20, 40, 80, 640, 1_280, 1_280, 1_280, 1_280]);
        assert_eq!(waits(60_000, 100, &losses).await, [100, 200, 400, 800, 2_000, 2_000, 2_000, 2_000, 2_000]);
    }

    #[tokio::test]
    async fn waits_after_losses_leave_time_for_another_try() {
        assert_eq!(waits(1_000, 0, &[20; 6]).await, [500, 250, 125, 62, 31, 16]);
    }

    #[tokio::test]
    async fn unreachable_service_fails_early() {
        assert_eq!(given_up_after(|_| refused(0)).await, 0, "at once, where that is wanted");
        let after = given_up_after(|_| refused(2_000)).await;
        assert!((2_000..3_000).contains(&after), "{after} ms");
    }

    #[tokio::test]
    async fn reached_service_is_retried_until_the_deadline() {
        let lost = |n| if n == 0 { fault(Cause::Lost("broke".to_owned())) } else { refused(0) };
        assert!(given_up_after(lost).await >= 30_000);
    }

    /// Waits grow to two seconds: none of them may carry an operation that never had a connection beyond three.
    #[tokio::test]
    async fn backoff_never_far_exceeds_the_limit() {
        for until in [500, 1_000, 2_000, 2_500] {
            let after = given_up_after(|_| refused(until)).await;
            assert!(after <= until + 500, "{after} ms for {until}");
        }
    }
}
