//! One process: it opens the store cold, performs random operations, and records their results.

use std::collections::VecDeque;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chat_memory::store::{ChatStore, History, Load, Position, SessionQuery, SessionUpdate};
use chat_memory::{Error, ErrorKind, SessionId, Timestamp, torture};
use serde::{Deserialize, Serialize};

use crate::history::{Event, Loaded, Outcome, Shown};
use crate::now_us;
use crate::op::{self, Op, What};

/// The orders that a process gets when it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The store's URL.
    pub url: String,
    /// Its number, unique in the history.
    pub worker: u64,
    /// Its random seed.
    pub seed: u64,
    /// How many tasks share the store.
    pub tasks: usize,
    /// How many operations each performs.
    pub steps: usize,
    /// Which operations, and how often.
    pub workload: Workload,
    /// The sessions' ids.
    pub sessions: Vec<String>,
    /// The file that drives the clocks.
    pub clock: PathBuf,
    /// How far off its wall clock is, in milliseconds.
    pub wrong_by_ms: i64,
    /// A rule that is disabled.
    pub without: Option<String>,
    /// Whether some of its appends have keys.
    pub keys: bool,
    /// Whether it is the last process, which settles what it is given and then checks everything.
    pub settles: bool,
}

/// The operations of a task, by their shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Appends.
    pub adds: u32,
    /// Appends at the position that was last read.
    pub adds_expecting: u32,
    /// Repeats of what others tried.
    pub repeats: u32,
    /// Rewinds.
    pub rewinds: u32,
    /// Appends that remove everything, half of them clears, each followed by a sweep.
    pub replaces: u32,
    /// Sweeps.
    pub sweeps: u32,
    /// Deletes.
    pub deletes: u32,
    /// Loads.
    pub loads: u32,
    /// Updates of titles.
    pub titles: u32,
    /// Lists of sessions.
    pub lists: u32,
    /// The maximum length of a message, in characters; 0 for short ones and a few long ones.
    pub large: usize,
    /// How long it pauses after each operation, in milliseconds, on average.
    pub pause_ms: u64,
}

impl Workload {
    /// No operations.
    pub const NONE: Self = Self {
        adds: 0,
        adds_expecting: 0,
        repeats: 0,
        rewinds: 0,
        replaces: 0,
        sweeps: 0,
        deletes: 0,
        loads: 0,
        titles: 0,
        lists: 0,
        large: 0,
        pause_ms: 0,
    };

    /// A little of everything.
    pub const ALL: Self = Self {
        adds: 40,
        adds_expecting: 10,
        repeats: 12,
        rewinds: 6,
        replaces: 6,
        sweeps: 2,
        deletes: 4,
        loads: 22,
        titles: 3,
        lists: 4,
        ..Self::NONE
    };

    fn choose(&self, rng: &mut fastrand::Rng) -> Deed {
        let shares = [
            (Deed::Add, self.adds),
            (Deed::AddExpecting, self.adds_expecting),
            (Deed::Repeat, self.repeats),
            (Deed::Rewind, self.rewinds),
            (Deed::Replace, self.replaces),
            (Deed::Sweep, self.sweeps),
            (Deed::Delete, self.deletes),
            (Deed::Load, self.loads),
            (Deed::Title, self.titles),
            (Deed::List, self.lists),
        ];
        let mut point = rng.u32(0..shares.iter().map(|(_, share)| share).sum::<u32>().max(1));
        for (deed, share) in shares {
            match point.checked_sub(share) {
                Some(left) => point = left,
                None => return deed,
            }
        }
        Deed::Load
    }
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Add,
    AddExpecting,
    Repeat,
    Rewind,
    Replace,
    Sweep,
    Delete,
    Load,
    Title,
    List,
}

/// A line on a process's standard input: an append to repeat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repeat {
    /// The append.
    pub op: Op,
    /// The ticket to use.
    pub ticket: Option<String>,
}

impl Repeat {
    fn is_in_time(&self) -> bool {
        clock() - self.op.first_tried < REPEATED_MS
    }
}

/// The wall clock of this process, in milliseconds.
fn clock() -> i64 {
    Timestamp::now().as_millis()
}

/// How long appends are repeated: a little less than keys and tickets are valid for, since clocks differ.
const REPEATED_MS: i64 = 20 * 60 * 60 * 1000;

#[derive(Debug)]
struct Worker {
    orders: Orders,
    store: Arc<dyn ChatStore>,
    repeats: Mutex<VecDeque<Repeat>>,
    ops: AtomicU64,
    tries: AtomicU64,
}

/// Runs the process to its end.
///
/// # Errors
/// If it cannot start.
pub fn run(orders: Orders) -> crate::Result {
    let io = |e: std::io::Error| e.to_string();
    torture::lead_clocks(&orders.clock, orders.wrong_by_ms).map_err(io)?;
    if let Some(rule) = &orders.without {
        torture::take_out(rule).map_err(io)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(io)?;
    runtime.block_on(async move {
        let store = chat_memory::open(&orders.url).await.map_err(|e| e.to_string())?;
        let worker = Worker { orders, store, repeats: Mutex::default(), ops: AtomicU64::new(0), tries: AtomicU64::new(0) };
        let worker = Arc::new(worker);
        if worker.orders.settles {
            worker.settle().await;
            return Ok(());
        }
        let hears = Arc::clone(&worker);
        std::thread::spawn(move || repeats().for_each(|repeat| lock(&hears.repeats).push_back(repeat)));
        let tasks: Vec<_> = (0..worker.orders.tasks as u64)
            .map(|task| {
                let rng = fastrand::Rng::with_seed(worker.orders.seed ^ (task << 32));
                tokio::spawn(Task { worker: Arc::clone(&worker), rng, read: None }.live())
            })
            .collect();
        for task in tasks {
            task.await.map_err(|e| e.to_string())?;
        }
        if !worker.store.capabilities().durable {
            // Nobody can check it later.
            worker.look_at_everything().await;
        }
        Ok(())
    })
}

fn repeats() -> impl Iterator<Item = Repeat> {
    std::io::stdin().lock().lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok())
}

fn say(event: &Event) {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    // Whole lines, written at once: the next operation may be the last of this process. If the reader is gone, there is nothing
    // to report.
    let _ = std::io::stdout().lock().write_all(&line);
}

impl Worker {
    /// Makes one attempt of an append.
    async fn try_op(&self, op: &Op, ticket: Option<&str>) -> Option<Position> {
        let number = self.number();
        let append = op.append().and_then(|append| {
            let ticket = ticket.map(str::parse).transpose()?;
            Ok(match ticket {
                Some(ticket) => append.with_ticket(ticket),
                None => append,
            })
        });
        let (append, session) = match append.and_then(|append| Ok((append, op.session()?))) {
            Ok(made) => made,
            Err(error) => {
                say(&Event::Wrong { at: now_us(), what: format!("making op {}", op.number), why: error.to_string() });
                return None;
            }
        };
        say(&Event::Tries { at: now_us(), number, op: op.clone(), ticket: ticket.map(str::to_owned) });
        let answer = self.store.append(&session, &append).await;
        let (at, clock) = (now_us(), clock());
        let outcome = match &answer {
            Ok(appended) => {
                Outcome::Appended { seq: appended.seq, id: appended.position.last().map(|id| id.to_string()).unwrap_or_default() }
            }
            Err(error) => match (error.kind(), error.ticket()) {
                (_, Some(ticket)) => Outcome::InDoubt { ticket: ticket.to_string() },
                (ErrorKind::Conflict, _) => Outcome::Conflict { next: error.actual().map(Position::next) },
                _ => Outcome::NotWritten { why: error.to_string() },
            },
        };
        say(&Event::Tried { at, number, clock, outcome });
        match answer {
            Ok(appended) => Some(appended.position),
            Err(error) => {
                let fits = error.is_in_doubt() || error.is_conflict() && op.expected.is_some();
                if !fits {
                    self.heed(&format!("the append of op {}", op.number), &error);
                }
                None
            }
        }
    }

    /// Records an error that no fault explains.
    fn heed(&self, what: &str, error: &Error) {
        // A sweep or a delete may report that its own clear is in doubt, or was contended.
        let refused = error.is_unavailable() || error.is_throttled() || error.is_contended() || error.is_access_denied();
        let explained = refused || error.is_in_doubt();
        let too_old = error.is_invalid() && error.to_string().contains("day");
        if !explained && !too_old {
            say(&Event::Wrong { at: now_us(), what: what.to_owned(), why: format!("{:?}: {error}", error.kind()) });
        }
    }

    async fn delete(&self, session: &str) {
        let Ok(id) = SessionId::new(session) else { return };
        let number = self.number();
        say(&Event::Deletes { at: now_us(), number, session: session.to_owned() });
        let answer = self.store.delete(&id).await;
        let settled = !answer.as_ref().is_err_and(Error::is_in_doubt);
        say(&Event::Deleted { at: now_us(), number, clock: clock(), settled });
        if let Err(error) = answer {
            self.heed(&format!("a delete of {session}"), &error);
        }
    }

    /// Returns the number of an attempt.
    fn number(&self) -> u64 {
        self.orders.worker << 32 | self.tries.fetch_add(1, Ordering::Relaxed)
    }

    async fn load(&self, session: &str, load: &Load, messages: Option<usize>) -> Option<History> {
        let id = SessionId::new(session).ok()?;
        let (from, clock_from) = (now_us(), clock());
        let history = match self.store.load(&id, load).await {
            Ok(history) => history,
            Err(error) => {
                self.heed(&format!("a load of {session}"), &error);
                return None;
            }
        };
        let (to, clock_to) = (now_us(), clock());
        let shown = history.records.iter().map(|record| {
            let (op, equal) = op::recognize(record);
            let (seq, id) = (record.seq, record.append_id.to_string());
            Shown {
                seq,
                id,
                rewind: record.rewind,
                expires_at: record.expires_at.map(Timestamp::as_secs),
                messages: record.entries.len(),
                op,
                equal,
            }
        });
        let loaded = Loaded {
            from,
            to,
            clock_from,
            clock_to,
            session: session.to_owned(),
            messages,
            since: load.since,
            shown: shown.collect(),
            complete: history.complete,
            next: history.position.next(),
            last: history.position.last().map(|id| id.to_string()),
        };
        say(&Event::Loaded(loaded));
        Some(history)
    }

    /// At the end, undisturbed: settles what is in doubt, and checks everything.
    async fn settle(&self) {
        for repeat in repeats().filter(Repeat::is_in_time) {
            self.try_op(&repeat.op, repeat.ticket.as_deref()).await;
        }
        self.look_at_everything().await;
    }

    async fn look_at_everything(&self) {
        for session in &self.orders.sessions {
            self.load(session, &Load::all(), None).await;
            let Ok(id) = SessionId::new(session) else { continue };
            if let Err(error) = self.store.sweep(&id).await {
                self.heed(&format!("the last sweep of {session}"), &error);
            }
            let Some(history) = self.load(session, &Load::all(), None).await else { continue };
            self.check_directory(&id, !history.is_empty()).await;
        }
    }

    /// At the end, undisturbed: a session with messages is listed once, under one owner, in every list; a deleted one in none.
    async fn check_directory(&self, session: &SessionId, has_messages: bool) {
        if !self.store.capabilities().directory {
            return;
        }
        let wrong = |why: String| {
            say(&Event::Wrong { at: now_us(), what: format!("the directory entry of {session}"), why });
        };
        let checked = async {
            let known = self.store.session(session).await?;
            let times = self.listed(session).await?;
            let want = usize::from(known.is_some());
            if times.iter().any(|times| *times != want) {
                wrong(format!("it is listed {times:?} times (by start, by last activity, among all), and expected {want} times"));
            } else if has_messages && known.is_none() {
                wrong("it has messages, and the directory does not know it".to_owned());
            }
            self.store.delete(session).await?;
            let times = self.listed(session).await?;
            if times.iter().any(|times| *times > 0) || self.store.session(session).await?.is_some() {
                wrong(format!("it is deleted, and listed {times:?} times (by start, by last activity, among all)"));
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = checked.await {
            wrong(error.to_string());
        }
    }

    /// Counts how often a session is listed: by start and by last activity, under any owner, and among all sessions.
    async fn listed(&self, session: &SessionId) -> Result<Vec<usize>, Error> {
        let mut times = Vec::new();
        let can = self.store.capabilities().last_activity.is_some();
        for recent in [false, true].into_iter().filter(|recent| can || !recent) {
            let mut found = 0;
            for owner in op::OWNERS {
                let query = op::owner(owner)?.map_or_else(SessionQuery::unowned, SessionQuery::of).limit(1_000);
                let page = self.store.sessions(&if recent { query.recent() } else { query }).await?;
                found += page
                    .sessions
                    .iter()
                    .filter(|info| info.id == *session && info.owner == op::owner(owner).ok().flatten())
                    .count();
            }
            times.push(found);
        }
        let (mut found, mut after) = (0, None::<String>);
        loop {
            let page = self.store.list_all_sessions(after.as_deref()).await?;
            found += page.sessions.iter().filter(|info| info.id == *session).count();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        times.push(found);
        Ok(times)
    }

    /// Lists sessions during all other operations: no session may appear twice in a page of one owner.
    async fn list(&self) {
        if !self.store.capabilities().directory {
            return;
        }
        for owner in op::OWNERS {
            let Ok(owner) = op::owner(owner) else { continue };
            let query = owner.map_or_else(SessionQuery::unowned, SessionQuery::of).limit(1_000);
            match self.store.sessions(&query).await {
                Ok(page) => {
                    let mut ids: Vec<_> = page.sessions.iter().map(|info| info.id.to_string()).collect();
                    ids.sort_unstable();
                    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
                        let why = format!("{:?} is listed twice", twice[0]);
                        say(&Event::Wrong { at: now_us(), what: "a list of sessions".to_owned(), why });
                    }
                }
                Err(error) => self.heed("a list of sessions", &error),
            }
        }
    }
}

/// One thread of operations in a process.
struct Task {
    worker: Arc<Worker>,
    rng: fastrand::Rng,
    /// The position that was last read, and its session.
    read: Option<(String, Position)>,
}

impl Task {
    async fn live(mut self) {
        for _ in 0..self.worker.orders.steps {
            self.step().await;
            let pause_ms = self.worker.orders.workload.pause_ms;
            if pause_ms > 0 {
                tokio::time::sleep(Duration::from_millis(self.rng.u64(0..2 * pause_ms))).await;
            }
        }
    }

    async fn step(&mut self) {
        let session = self.worker.orders.sessions[self.rng.usize(..self.worker.orders.sessions.len())].clone();
        match self.worker.orders.workload.choose(&mut self.rng) {
            Deed::Add => {
                let keyed = self.rng.u8(0..3) == 0;
                let op = self.op(&session, What::Add, None, keyed);
                self.append(op).await;
            }
            Deed::AddExpecting => {
                if let Some((session, position)) = self.read.clone() {
                    let keyed = self.rng.u8(0..4) == 0;
                    let op = self.op(&session, What::Add, Some(position), keyed);
                    self.append(op).await;
                }
            }
            Deed::Repeat => self.repeat().await,
            Deed::Rewind => {
                let Some(history) = self.worker.load(&session, &Load::all(), None).await else { return };
                let seqs: Vec<u64> = history.records.iter().map(|record| record.seq).collect();
                let Some(seq) = (!seqs.is_empty()).then(|| seqs[self.rng.usize(..seqs.len())]) else { return };
                let Some(what) = op::rewind(&history, seq) else { return };
                let keyed = self.rng.u8(0..4) == 0;
                let op = self.op(&session, what, Some(history.position), keyed);
                self.append(op).await;
            }
            Deed::Replace => {
                let keyed = self.rng.u8(0..4) == 0;
                let mut op = self.op(&session, What::ReplaceAll, None, keyed);
                if self.rng.bool() {
                    op.messages = 0;
                }
                self.append(op).await;
                self.sweep(&session).await;
            }
            Deed::Sweep => self.sweep(&session).await,
            Deed::Delete => self.worker.delete(&session).await,
            Deed::Load => self.load(&session).await,
            Deed::Title => self.entitle(&session).await,
            Deed::List => self.worker.list().await,
        }
    }

    fn op(&mut self, session: &str, what: What, expected: Option<Position>, keyed: bool) -> Op {
        let number = self.worker.orders.worker << 32 | self.worker.ops.fetch_add(1, Ordering::Relaxed);
        let large = self.worker.orders.workload.large;
        let length = match self.rng.u8(0..60) {
            _ if large > 0 => self.rng.usize(large / 2..large),
            // In parts.
            0 => 450_000,
            1..4 => 5_000,
            _ => self.rng.usize(0..60),
        };
        let messages = self.rng.usize(1..4);
        let messages = if length > 10_000 { 1 } else { messages };
        let expected = expected.map(|position| position.to_string());
        let keyed = keyed && self.worker.orders.keys;
        Op { number, session: session.to_owned(), what, messages, length, expected, keyed, first_tried: clock() }
    }

    async fn append(&mut self, op: Op) {
        let position = self.worker.try_op(&op, None).await;
        self.read = position.map(|position| (op.session, position)).or(self.read.take());
    }

    async fn repeat(&mut self) {
        let repeat = lock(&self.worker.repeats).pop_front();
        if let Some(repeat) = repeat.filter(Repeat::is_in_time) {
            self.worker.try_op(&repeat.op, repeat.ticket.as_deref()).await;
        }
    }

    async fn entitle(&mut self, session: &str) {
        let Ok(id) = SessionId::new(session) else { return };
        if !self.worker.store.capabilities().directory {
            return;
        }
        let title = self.rng.bool().then(|| format!("set {}", self.rng.u32(..)));
        let update = SessionUpdate::default().with_title(title);
        if let Err(error) = self.worker.store.update_session(&id, &update).await {
            self.worker.heed(&format!("a title of {session}"), &error);
        }
    }

    async fn sweep(&self, session: &str) {
        let Ok(id) = SessionId::new(session) else { return };
        if let Err(error) = self.worker.store.sweep(&id).await {
            self.worker.heed(&format!("a sweep of {session}"), &error);
        }
    }

    async fn load(&mut self, session: &str) {
        let (load, messages) = match self.rng.u8(0..5) {
            0..2 => (Load::all(), None),
            2 => (Load::all().since(self.rng.u64(0..30)), None),
            _ => {
                let messages = self.rng.usize(0..8);
                (Load::last(messages), Some(messages))
            }
        };
        if let Some(history) = self.worker.load(session, &load, messages).await {
            self.read = Some((session.to_owned(), history.position));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
