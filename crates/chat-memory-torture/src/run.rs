//! Executes a plan and collects the output of the processes.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use chat_memory_testkit::Plan as _;
use chat_memory_testkit::{Fault, FaultProxy, Request, credentials_env, dynamodb_endpoint};
use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::environment::{Clock, Table};
use crate::history::{Event, Outcome};
use crate::plan::{Act, Plan, REQUEST_TIMEOUT, Store};
use crate::worker::{Orders, Repeat};

/// No schedule takes this long, however busy the machine is: it must be hanging.
const LONGEST: Duration = Duration::from_secs(180);
/// AWS documents five minutes.
const TOLERATED: Duration = Duration::from_secs(5 * 60);

/// Executes a plan with this program (the `torture` binary) as its processes, and returns the resulting history.
///
/// # Errors
/// If it could not be executed, or if a process did not end.
pub fn run(program: &Path, plan: &Plan) -> Result<Vec<Event>> {
    let folder = tempfile::tempdir().map_err(|e| format!("creating a temporary folder failed: {e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let table = match plan.store {
        Store::Turns => Some(runtime.block_on(Table::new(&["session_id", "sk"]))),
        Store::ListJs => Some(runtime.block_on(Table::new(&["id"]))),
        Store::ListPython => Some(runtime.block_on(Table::new(&["SessionId"]))),
        Store::Sqlite | Store::Memory => None,
    };
    let proxy = table.as_ref().map(|_| {
        let faults = plan.faults.clone();
        // The layout is requested once, and a plan does not test how that fails.
        FaultProxy::start(&dynamodb_endpoint(), move |request: &Request| {
            if request.operation == "DescribeTable" { Fault::Pass } else { faults.fault(request) }
        })
    });
    if let Some(proxy) = &proxy
        && plan.checks_clocks
    {
        proxy.check_clocks(TOLERATED);
    }
    let (said, hears) = channel();
    let mut show = Show {
        program,
        plan,
        folder: folder.path(),
        table: table.as_ref(),
        proxy: proxy.as_ref(),
        clock: Clock::new(folder.path())?,
        rng: fastrand::Rng::with_seed(plan.seed),
        said,
        hears,
        workers: Vec::new(),
        speaking: BTreeSet::new(),
        started: 0,
        history: Vec::new(),
        unsettled: Vec::new(),
    };
    let done = show.play(&runtime);
    let history = std::mem::take(&mut show.history);
    drop(show);
    if let Some(table) = &table {
        runtime.block_on(table.delete());
    }
    done.map(|()| history)
}

/// What a process sends.
enum Report {
    Event(Box<Event>),
    /// The process with this number sends no more.
    Ended(u64),
}

struct Worker {
    number: u64,
    /// Which of the concurrent processes it is.
    place: usize,
    child: Child,
    input: Option<ChildStdin>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // If it has already ended, there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Show<'a> {
    program: &'a Path,
    plan: &'a Plan,
    folder: &'a Path,
    table: Option<&'a Table>,
    proxy: Option<&'a FaultProxy>,
    clock: Clock,
    rng: fastrand::Rng,
    said: Sender<Report>,
    hears: Receiver<Report>,
    workers: Vec<Worker>,
    /// The processes that may still send output, including killed ones: their last output may be on its way.
    speaking: BTreeSet<u64>,
    started: u64,
    history: Vec<Event>,
    /// Attempts that have not ended, or ended in doubt.
    unsettled: Vec<(u64, Repeat)>,
}

impl Show<'_> {
    fn play(&mut self, runtime: &tokio::runtime::Runtime) -> Result {
        for place in 0..self.plan.processes {
            self.start(place, false)?;
        }
        let begin = Instant::now();
        let mut next = begin;
        for (after, act) in &self.plan.acts {
            next += Duration::from_millis(*after);
            self.hear_until(next)?;
            if self.speaking.is_empty() {
                break;
            }
            self.act(*act, runtime)?;
        }
        self.hear_until(begin + LONGEST)?;
        if !self.speaking.is_empty() {
            return Err("a process did not end".to_owned());
        }
        if let Some(proxy) = self.proxy {
            proxy.set_plan(|_: &Request| Fault::Pass);
            runtime.block_on(proxy.idle());
        }
        if self.plan.store == Store::Memory {
            return Ok(());
        }
        self.start(0, true)?;
        let unsettled = std::mem::take(&mut self.unsettled);
        for (_, repeat) in &unsettled {
            // Without a key and a ticket it cannot be repeated: its process was killed.
            if self.plan.checks_clocks && (repeat.ticket.is_some() || repeat.op.keyed) {
                self.tell(0, repeat);
            }
        }
        self.workers[0].input = None;
        self.hear_until(Instant::now() + LONGEST)?;
        if self.speaking.is_empty() { Ok(()) } else { Err("the last process did not end".to_owned()) }
    }

    fn url(&self, place: usize, settles: bool) -> String {
        let table = self.table.map_or("", Table::name);
        let kept = self.plan.retention_of(place).map_or_else(String::new, |seconds| format!("retention={seconds}s"));
        let endpoint = self.proxy.map_or_else(String::new, FaultProxy::url);
        let mine = format!("{}ms", REQUEST_TIMEOUT.as_millis());
        let (timeout, deadline) = if settles { ("5s", "10s") } else { (mine.as_str(), "3s") };
        let remote =
            format!("dynamodb://{table}?region=us-east-1&endpoint={endpoint}&request_timeout={timeout}&deadline={deadline}");
        let roll = self.plan.roll_bytes;
        match self.plan.store {
            Store::Turns => format!("{remote}&layout=turns&{kept}"),
            Store::ListJs => format!("{remote}&layout=list&partition_key=id&dialect=js&roll={roll}&{kept}"),
            Store::ListPython => format!("{remote}&layout=list&partition_key=SessionId&dialect=python&roll={roll}&{kept}"),
            Store::Sqlite => format!("sqlite:{}?{kept}", self.folder.join("chat.db").display()),
            Store::Memory => format!("memory:?{kept}"),
        }
    }

    fn start(&mut self, place: usize, settles: bool) -> Result {
        self.started += 1;
        let number = self.started;
        let orders = Orders {
            url: self.url(place, settles),
            worker: number,
            seed: self.plan.seed.wrapping_mul(1_000_003) ^ number,
            tasks: self.plan.tasks,
            steps: self.plan.steps,
            workload: self.plan.workload,
            sessions: (0..self.plan.sessions).map(|n| format!("session {n}")).collect(),
            clock: self.clock.path().to_owned(),
            wrong_by_ms: if settles { 0 } else { self.plan.wrong_by_ms[place] },
            without: self.plan.without.clone(),
            keys: self.plan.checks_clocks,
            settles,
        };
        let orders = serde_json::to_string(&orders).map_err(|e| e.to_string())?;
        let mut command = Command::new(self.program);
        command.arg("worker").arg(orders).envs(credentials_env()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{} could not be started: {e}", self.program.display()))?;
        let output = child.stdout.take().ok_or("a process without an output")?;
        let input = child.stdin.take();
        let said = self.said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                // The last line of a killed process may be incomplete.
                if let Ok(event) = serde_json::from_str(&line)
                    && said.send(Report::Event(Box::new(event))).is_err()
                {
                    return;
                }
            }
            // If the receiver is gone, the schedule is over.
            let _ = said.send(Report::Ended(number));
        });
        self.speaking.insert(number);
        self.workers.push(Worker { number, place, child, input });
        Ok(())
    }

    /// Receives output until then, or until no process is left.
    fn hear_until(&mut self, end: Instant) -> Result {
        while !self.speaking.is_empty() {
            match self.hears.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Report::Event(event)) => self.hear(*event),
                Ok(Report::Ended(number)) => {
                    self.speaking.remove(&number);
                    if let Some(at) = self.workers.iter().position(|worker| worker.number == number) {
                        let mut worker = self.workers.remove(at);
                        let status = worker.child.wait().map_err(|e| e.to_string())?;
                        if !status.success() {
                            return Err(format!("process {number} failed: {status}"));
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) {
        match &event {
            Event::Tries { number, op, .. } => {
                self.unsettled.push((*number, Repeat { op: op.clone(), ticket: None }));
            }
            Event::Tried { number, outcome, .. } => {
                let at = self.unsettled.iter().position(|(other, _)| other == number);
                let tried = at.map(|at| self.unsettled.swap_remove(at).1);
                match (outcome, tried) {
                    (Outcome::InDoubt { ticket }, Some(tried)) => {
                        let repeat = Repeat { ticket: Some(ticket.clone()), ..tried };
                        self.pass_on(&repeat);
                        self.unsettled.push((*number, repeat));
                    }
                    (_, Some(tried)) if tried.op.keyed && self.rng.u8(0..3) == 0 => self.pass_on(&tried),
                    _ => {}
                }
            }
            _ => {}
        }
        self.history.push(event);
    }

    /// Lets some process repeat it, this one or another.
    fn pass_on(&mut self, repeat: &Repeat) {
        if !self.workers.is_empty() && self.plan.checks_clocks {
            let at = self.rng.usize(..self.workers.len());
            self.tell(at, repeat);
        }
    }

    fn tell(&mut self, at: usize, repeat: &Repeat) {
        let mut line = serde_json::to_vec(repeat).unwrap_or_default();
        line.push(b'\n');
        if let Some(input) = &mut self.workers[at].input {
            // It may have ended: then others repeat it, or the last one does.
            let _ = input.write_all(&line);
        }
    }

    fn act(&mut self, act: Act, runtime: &tokio::runtime::Runtime) -> Result {
        match act {
            Act::Pass(ms) => self.pass(ms),
            Act::Kill(place) => {
                let Some(at) = self.workers.iter().position(|worker| worker.place == place) else { return Ok(()) };
                let mut killed = self.workers.remove(at);
                killed.child.kill().map_err(|e| e.to_string())?;
                let keyed = |(number, repeat): &&(u64, Repeat)| number >> 32 == killed.number && repeat.op.keyed;
                let keyed: Vec<Repeat> = self.unsettled.iter().filter(keyed).map(|(_, repeat)| repeat.clone()).collect();
                drop(killed);
                self.start(place, false)?;
                // As a caller would that has lost its response.
                keyed.iter().for_each(|repeat| self.pass_on(repeat));
                Ok(())
            }
            Act::Stop(place, for_ms, pass_ms) => {
                self.signal(place, Signal::STOP);
                self.pass(pass_ms)?;
                std::thread::sleep(Duration::from_millis(for_ms));
                self.signal(place, Signal::CONT);
                Ok(())
            }
            Act::Freeze(place) => {
                self.signal(place, Signal::STOP);
                Ok(())
            }
            Act::Thaw(place) => {
                self.signal(place, Signal::CONT);
                Ok(())
            }
            Act::Purge(chance) => match self.table {
                Some(table) => runtime.block_on(table.purge(&self.clock, chance, &mut self.rng)).map(drop),
                None => Ok(()),
            },
        }
    }

    /// Suspends a process, or resumes it. It may have ended by itself.
    fn signal(&self, place: usize, signal: Signal) {
        let worker = self.workers.iter().find(|worker| worker.place == place);
        if let Some(pid) = worker.and_then(|worker| Pid::from_raw(i32::try_from(worker.child.id()).ok()?)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Lets time pass for everyone, including the service.
    fn pass(&mut self, ms: i64) -> Result {
        let ahead_ms = self.clock.pass(ms)?;
        if let Some(proxy) = self.proxy {
            proxy.set_clock_ahead(ahead_ms / 1000);
        }
        Ok(())
    }
}
