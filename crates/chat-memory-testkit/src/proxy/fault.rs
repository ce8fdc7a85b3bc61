//! Faults between a client and DynamoDB, and the plan that chooses them.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::answer::Answer;

/// A received request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The operation, for instance `PutItem`; the method and the path if it is not a DynamoDB request.
    pub operation: String,
    /// Its number among the requests of its operation, from 0.
    pub nth: u64,
    /// Its number among all requests, from 0.
    pub index: u64,
    /// Its body; null if that is not JSON.
    pub body: Value,
}

impl Request {
    /// Whether it is the `nth` request (from 0) of this operation.
    pub fn is(&self, operation: &str, nth: u64) -> bool {
        self.operation == operation && self.nth == nth
    }
}

/// What is done to a request. Once it is forwarded, it arrives, whatever the client does in the meantime.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: it is forwarded, and its response is returned.
    Pass,
    /// It never arrives; the connection is closed.
    DropRequest,
    /// It arrives, and the connection is closed instead of sending the response.
    DropAnswer,
    /// It arrives at once, and its response is delayed by this much.
    Delay(Duration),
    /// It arrives twice, one after the other; the client gets the first response.
    Duplicate,
    /// It arrives twice, one after the other; the client gets the second response, as if an intermediary had lost the first and
    /// repeated the request.
    Repeat,
    /// It arrives this much later, although the client may have given up by then.
    HoldFor(Duration),
    /// It arrives when the gate is opened, although the client may have given up by then; or never, if the gate
    /// [loses](Gate::lose) it.
    Hold(Gate),
    /// It never arrives; the client gets this response.
    Answer(Answer),
    /// It never arrives; the connection is reset (RST), which a client notices at once and distinguishes from a close.
    ResetRequest,
    /// It arrives, and when the proxy has its response, the connection is reset (RST) instead of passing it on.
    ResetAnswer,
    /// It arrives, and its response breaks off in the middle of its body, before its `Content-Length`.
    Truncate,
}

/// Keeps [held](Fault::Hold) requests back until a test opens it or loses them. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<Way>);

/// What happens to those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Closed,
    Open,
    Lost,
}

impl Gate {
    /// Creates a closed gate.
    pub fn new() -> Self {
        Self(watch::Sender::new(Way::Closed))
    }

    /// Lets everything pass that waits now or comes later.
    pub fn open(&self) {
        self.0.send_replace(Way::Open);
    }

    /// Loses everything that waits now or comes later: it never arrives, and the connection is closed.
    pub fn lose(&self) {
        self.0.send_replace(Way::Lost);
    }

    /// Waits for the gate; returns whether it was opened.
    pub(super) async fn passed(&self) -> bool {
        // It cannot fail: this gate holds the sender itself.
        self.0.subscribe().wait_for(|way| *way != Way::Closed).await.is_ok_and(|way| *way == Way::Open)
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// Decides on each request, one after the other. A closure works, too: `|request: &Request| …`. It cannot call the proxy, which
/// waits for the decision.
pub trait Plan: Send + Sync + 'static {
    /// Returns what is done to this request.
    fn fault(&self, request: &Request) -> Fault;
}

impl<F: Fn(&Request) -> Fault + Send + Sync + 'static> Plan for F {
    fn fault(&self, request: &Request) -> Fault {
        self(request)
    }
}

/// Random faults: each field is the share (0 to 1) of requests that get that fault. The same seed gives the n-th request of an
/// operation the same fault in every run, in whatever order the operations come.
///
/// ```
/// use chat_memory_testkit::Seeded;
/// let plan = Seeded { drop_answers: 0.2, ..Seeded::new(7) };
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Seeded {
    /// The seed.
    pub seed: u64,
    /// Only these operations; all if it is empty.
    pub only: Vec<String>,
    /// Of [`Fault::DropRequest`].
    pub drop_requests: f64,
    /// Of [`Fault::DropAnswer`].
    pub drop_answers: f64,
    /// Of [`Fault::Duplicate`] and [`Fault::Repeat`], half of each.
    pub duplicates: f64,
    /// Of [`Answer::throttling`].
    pub throttles: f64,
    /// Of [`Answer::internal_server_error`], which leaves open whether the request arrived: half of them did.
    pub errors: f64,
    /// Of [`Fault::Delay`] and [`Fault::HoldFor`], half of each.
    pub delays: f64,
    /// The delay.
    pub delay: Duration,
    /// Of [`Fault::HoldFor`], for `hold`: longer than the client waits, so that a write arrives after its repeat.
    pub holds: f64,
    /// How long a request is held.
    pub hold: Duration,
    /// Of [`Fault::ResetRequest`] and [`Fault::ResetAnswer`], half of each.
    pub resets: f64,
    /// Of [`Fault::Truncate`].
    pub truncations: f64,
    /// Of [`Answer::conflict`], of the operations that can get one.
    pub conflicts: f64,
    /// Of [`Answer::unrecognized_client`], [`Answer::invalid_signature`] and [`Answer::expired_token`], a third of each.
    pub refusals: f64,
}

impl Seeded {
    /// Creates a plan without faults; delays are 50 ms, holds 5 s.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            only: Vec::new(),
            drop_requests: 0.0,
            drop_answers: 0.0,
            duplicates: 0.0,
            throttles: 0.0,
            errors: 0.0,
            delays: 0.0,
            delay: Duration::from_millis(50),
            holds: 0.0,
            hold: Duration::from_secs(5),
            resets: 0.0,
            truncations: 0.0,
            conflicts: 0.0,
            refusals: 0.0,
        }
    }
}

impl Plan for Seeded {
    fn fault(&self, request: &Request) -> Fault {
        if !self.only.is_empty() && !self.only.contains(&request.operation) {
            return Fault::Pass;
        }
        let mut chance = fastrand::Rng::with_seed(mix(self.seed, &request.operation, request.nth));
        let (mut point, first_kind) = (chance.f64(), chance.bool());
        let mut falls_in = |share: f64| {
            let within = (0.0..share).contains(&point);
            point -= share;
            within
        };
        if falls_in(self.drop_requests) {
            Fault::DropRequest
        } else if falls_in(self.drop_answers) {
            Fault::DropAnswer
        } else if falls_in(self.duplicates) {
            if first_kind { Fault::Duplicate } else { Fault::Repeat }
        } else if falls_in(self.throttles) {
            Fault::Answer(Answer::throttling())
        } else if falls_in(self.errors) {
            let error = Answer::internal_server_error();
            Fault::Answer(if first_kind { error } else { error.although_done() })
        } else if falls_in(self.delays) {
            if first_kind { Fault::Delay(self.delay) } else { Fault::HoldFor(self.delay) }
        // Later additions come last, so that an old seed still produces its old faults.
        } else if falls_in(self.holds) {
            Fault::HoldFor(self.hold)
        } else if falls_in(self.resets) {
            if first_kind { Fault::ResetRequest } else { Fault::ResetAnswer }
        } else if falls_in(self.truncations) {
            Fault::Truncate
        } else if falls_in(self.conflicts) {
            Answer::conflict(request, chance.usize(..)).map_or(Fault::Pass, Fault::Answer)
        } else if falls_in(self.refusals) {
            let refusals = [Answer::unrecognized_client, Answer::invalid_signature, Answer::expired_token];
            Fault::Answer(refusals[chance.usize(..refusals.len())]())
        } else {
            Fault::Pass
        }
    }
}

/// Mixes the three into one number with FNV-1a, since the standard library's hash may change between versions.
fn mix(seed: u64, operation: &str, nth: u64) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(nth.to_le_bytes()).chain(operation.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operation: &str, nth: u64) -> Request {
        Request { operation: operation.into(), nth, index: nth, body: Value::Null }
    }

    #[test]
    fn newer_faults_meet_their_rates_without_changing_old_ones() {
        let old = Seeded { drop_answers: 0.2, delays: 0.1, ..Seeded::new(7) };
        let new = Seeded { holds: 0.1, resets: 0.1, truncations: 0.1, conflicts: 0.1, refusals: 0.1, ..old.clone() };
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for nth in 0..10_000 {
            let request = request("PutItem", nth);
            let (before, after) = (format!("{:?}", old.fault(&request)), format!("{:?}", new.fault(&request)));
            assert!(before == after || before == "Pass", "{before} became {after}");
            let kind = match new.fault(&request) {
                Fault::HoldFor(time) => format!("HoldFor {}", time.as_millis()),
                Fault::Answer(answer) => serde_json::from_str::<Value>(&answer.body).expect("JSON")["__type"].to_string(),
                other => format!("{other:?}"),
            };
            *counts.entry(kind).or_default() += 1;
        }
        let share = |name: &str| counts.iter().filter(|(kind, _)| kind.contains(name)).map(|(_, count)| *count).sum::<u32>();
        for (name, about) in [
            ("HoldFor 5000", 1_000),
            ("ResetRequest", 500),
            ("ResetAnswer", 500),
            ("Truncate", 1_000),
            ("TransactionConflictException", 1_000),
            ("UnrecognizedClientException", 333),
            ("InvalidSignatureException", 333),
            ("ExpiredTokenException", 333),
            ("DropAnswer", 2_000),
        ] {
            assert!((about * 8 / 10..about * 12 / 10).contains(&share(name)), "{name}: {}", share(name));
        }
    }

    #[test]
    fn seed_reproduces_faults_at_the_configured_rates() {
        let plan = Seeded { drop_answers: 0.2, drop_requests: 0.1, throttles: 0.05, ..Seeded::new(7) };
        let faults =
            |plan: &Seeded| (0..10_000).map(|nth| format!("{:?}", plan.fault(&request("PutItem", nth)))).collect::<Vec<_>>();
        let first = faults(&plan);
        assert_eq!(first, faults(&plan));
        assert_ne!(first, faults(&Seeded { seed: 8, ..plan.clone() }));
        let share = |name: &str| first.iter().filter(|fault| fault.starts_with(name)).count();
        assert!((1_800..2_200).contains(&share("DropAnswer")), "{}", share("DropAnswer"));
        assert!((850..1_150).contains(&share("DropRequest")), "{}", share("DropRequest"));
        assert!((400..600).contains(&share("Answer")), "{}", share("Answer"));
        assert!((6_300..6_700).contains(&share("Pass")), "{}", share("Pass"));
    }

    #[test]
    fn unselected_operations_pass() {
        let plan = Seeded { drop_requests: 1.0, only: vec!["PutItem".into()], ..Seeded::new(1) };
        assert!(matches!(plan.fault(&request("PutItem", 0)), Fault::DropRequest));
        assert!(matches!(plan.fault(&request("Query", 0)), Fault::Pass));
    }
}
