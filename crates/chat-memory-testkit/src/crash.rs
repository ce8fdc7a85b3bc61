//! Processes that are killed with SIGKILL at one request of theirs after the other, while that request is on its way.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{FaultProxy, Gate, Request};

/// What becomes of the request that was on its way when its process was killed, and of those beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives, and nobody hears of it.
    Arrives,
    /// It arrives when the next run is over.
    ArrivesLate,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lost, Self::Arrives, Self::ArrivesLate];
}

/// A process, and where it was cut off.
#[derive(Debug)]
pub struct Cut {
    /// The request that was on its way; `None` where the process ended before it made so many.
    pub request: Option<Request>,
    proxy: FaultProxy,
    gate: Gate,
    fate: Fate,
}

/// Starts the process that `command` makes for the URL of a proxy in front of the service at `upstream`, and kills it when its request
/// number `nth` (from 0) is on its way. That one and those after it are kept back until [`next_run`](Cut::next_run) or
/// [`over`](Cut::over); the earlier ones arrive. `hears` gets the process first, to read what it says.
///
/// # Panics
/// Where the process cannot be started or killed, and where it fails by itself.
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
        // Only the first is waited for; there may be nobody any more for those beside it.
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
            // What it had sent, and nobody has read yet, is not to come in between later.
            proxy.set_plan(|_: &Request| crate::Fault::DropRequest);
            break Some(request);
        }
        if let Some(status) = child.try_wait().expect("it can be asked") {
            // Its last request may have been kept back just now.
            let request = reaches.try_recv().ok();
            assert!(status.success(), "the process failed by itself ({status}) before its request {nth}");
            break request;
        }
    };
    (Cut { request, proxy, gate, fate }, heard)
}

impl Cut {
    /// Whether the request on its way would change nothing, so that nothing more is to be seen where it arrives.
    pub fn only_reads(&self) -> bool {
        let reads = ["Query", "GetItem", "Scan", "DescribeTable", "DescribeTimeToLive"];
        self.request.as_ref().is_some_and(|request| reads.contains(&request.operation.as_str()))
    }

    /// Before the next run: what is [lost](Fate::Lost) is lost, and what [arrives](Fate::Arrives) has arrived, as has what was sent
    /// before.
    pub async fn next_run(&self) {
        match self.fate {
            Fate::Lost => self.gate.lose(),
            Fate::Arrives => self.gate.open(),
            // A process makes several requests at once: one from before the cut may still be on its way.
            Fate::ArrivesLate => return self.proxy.idle_but_for_held().await,
        }
        self.proxy.idle().await;
    }

    /// After the next run: what arrives [late](Fate::ArrivesLate) has arrived.
    pub async fn over(&self) {
        if self.fate == Fate::ArrivesLate {
            self.gate.open();
        }
        self.proxy.idle().await;
    }
}
