//! Kills processes with SIGKILL at each of their requests, one after the other, while that request is in flight.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{FaultProxy, Gate, Request};

/// What happens to the request that was in flight when its process was killed, and to those concurrent with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives, but its response is never received.
    Arrives,
    /// It arrives after the next run.
    ArrivesLate,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lost, Self::Arrives, Self::ArrivesLate];
}

/// A process and where it was cut off.
#[derive(Debug)]
pub struct Cut {
    /// The request in flight; `None` if the process ended before it sent that many.
    pub request: Option<Request>,
    proxy: FaultProxy,
    gate: Gate,
    fate: Fate,
}

/// Starts the process that `command` builds for the URL of a proxy in front of the service at `upstream`, and kills it when its
/// request number `nth` (from 0) is in flight. That request and later ones are held until [`next_run`](Cut::next_run) or
/// [`over`](Cut::over); earlier ones arrive. `hears` gets the process first, to read its output.
///
/// # Panics
/// If the process cannot be started or killed, or fails by itself.
pub fn cut<T>(
    upstream: &str,
    nth: u64,
    fate: Fate,
    command: impl FnOnce(&str) -> Command,
    hears: impl FnOnce(&mut Child) -> T,
) -> (Cut, T) {
    let gate = Gate::new();
    let (reached, reaches) = std::sync::mpsc::channel();
    let held = gate.clone();
    let proxy = FaultProxy::start(upstream, move |request: &Request| {
        if request.index < nth {
            return crate::Fault::Pass;
        }
        // Only the first is awaited; for concurrent ones the receiver may be gone.
        let _ = reached.send(request.clone());
        crate::Fault::Hold(held.clone())
    });
    let mut command = command(&proxy.url());
    let mut child = command.stdin(Stdio::null()).spawn().expect("the process starts");
    let heard = hears(&mut child);
    let request = loop {
        if let Ok(request) = reaches.recv_timeout(Duration::from_millis(1)) {
            child.kill().expect("it can be killed");
            child.wait().expect("its end");
            // Requests that it had sent but nobody has read yet must not interfere later.
            proxy.set_plan(|_: &Request| crate::Fault::DropRequest);
            break Some(request);
        }
        if let Some(status) = child.try_wait().expect("its status") {
            // Its last request may have been held just now.
            let request = reaches.try_recv().ok();
            assert!(status.success(), "the process failed by itself ({status}) before its request {nth}");
            break request;
        }
    };
    (Cut { request, proxy, gate, fate }, heard)
}

impl Cut {
    /// Whether the request in flight only reads, so that its arrival has no visible effect.
    pub fn only_reads(&self) -> bool {
        let reads = ["Query", "GetItem", "Scan", "DescribeTable", "DescribeTimeToLive"];
        self.request.as_ref().is_some_and(|request| reads.contains(&request.operation.as_str()))
    }

    /// Call before the next run: what is [lost](Fate::Lost) is lost, and what [arrives](Fate::Arrives) has arrived, as have
    /// earlier requests.
    pub async fn next_run(&self) {
        match self.fate {
            Fate::Lost => self.gate.lose(),
            Fate::Arrives => self.gate.open(),
            // A process sends several requests at once: one from before the cut may still be in flight.
            Fate::ArrivesLate => return self.proxy.idle_but_for_held().await,
        }
        self.proxy.idle().await;
    }

    /// Call after the next run: what arrives [late](Fate::ArrivesLate) has arrived.
    pub async fn over(&self) {
        if self.fate == Fate::ArrivesLate {
            self.gate.open();
        }
        self.proxy.idle().await;
    }
}
