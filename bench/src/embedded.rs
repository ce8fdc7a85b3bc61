//! Our SQLite store compared with what stores conversations in SQLite in Python: LangChain's `SQLChatMessageHistory` and the OpenAI
//! Agents SDK's `SQLiteSession`. Ours is called from Rust, so the languages are part of the ratio.
//!
//! Each of the others is a process that measures its own times, so the communication with it does not count.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use chat_memory::SessionId;
use chat_memory::store::sqlite::SqliteStore;
use chat_memory::store::{ChatStore as _, Load};
use serde_json::{Value, json};

use crate::Result;
use crate::measure::{Ratio, Rounds};
use crate::scale::{median, thousands};
use crate::turns::{TEXT_BYTES, WINDOW, turn};

/// Calls of each side in a round.
const CALLS: usize = 5;

const OTHERS: [(&str, &str); 2] = [("langchain", "LangChain Python"), ("agents", "OpenAI Agents SDK")];

/// One line: an operation at a number of turns, ours first.
struct Line {
    turns: usize,
    operation: &'static str,
    times: Vec<Duration>,
    ratios: Vec<Ratio>,
}

/// Measures, and returns the result as Markdown. `packages` are the Python packages that `bench/embedded/requirements.txt` pins.
pub async fn run(packages: &Path, rounds: Rounds) -> Result<String> {
    let smoke = rounds == Rounds::SMOKE;
    let marks: &[usize] = if smoke { &[10, 30] } else { &[10, 100, 1_000, 10_000] };
    let pairs = if smoke { 2 } else { 11 };
    let folder = tempfile::tempdir()?;
    let ours = Ours { store: SqliteStore::open(folder.path().join("ours.db")).await?, session: SessionId::new("s")? };
    let mut others = Vec::new();
    for (kind, _) in OTHERS {
        others.push(Other::start(packages, kind, folder.path().join(format!("{kind}.db")))?);
    }
    let (mut lines, mut files) = (Vec::new(), Vec::new());
    let mut turns = 0;
    for &mark in marks {
        eprintln!("{mark} turns …");
        let more: Vec<usize> = (turns..mark).collect();
        ours.append(&more).await?;
        for other in &mut others {
            other.append(&more)?;
        }
        let bytes = |path: &Path| {
            let files = ["", "-wal", "-journal"].map(|end| PathBuf::from(format!("{}{end}", path.display())));
            files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>()
        };
        files.push((
            mark,
            std::iter::once(ours.store.path())
                .chain(others.iter().map(|other| other.file.as_path()))
                .map(bytes)
                .collect::<Vec<_>>(),
        ));
        turns = mark;
        for (operation, last) in [("the last 20 messages", Some(WINDOW)), ("all messages", None)] {
            let calls = if last.is_none() && mark > 1_000 { 1 } else { CALLS };
            let mut all = vec![Vec::new(); others.len() + 1];
            for round in 0..=pairs {
                let (own, texts) = ours.load(last, calls).await?;
                let mut times = vec![own];
                for other in &mut others {
                    let (seconds, read) = other.load(last, calls)?;
                    if read != texts {
                        return Err(format!("{} read other messages than ours with {mark} turns", other.kind).into());
                    }
                    times.push(seconds);
                }
                // The first round warms up.
                if round > 0 {
                    all.iter_mut().zip(times).for_each(|(side, time)| side.push(time));
                }
            }
            lines.push(line(mark, operation, &all));
        }
        let mut all = vec![Vec::new(); others.len() + 1];
        for _ in 0..pairs {
            let more: Vec<usize> = (turns..turns + CALLS).collect();
            all[0].push(ours.append(&more).await?);
            for (other, side) in others.iter_mut().zip(&mut all[1..]) {
                side.push(other.append(&more)?);
            }
            turns += CALLS;
        }
        lines.push(line(mark, "append a turn", &all));
    }
    let mut durable = Vec::new();
    for other in &mut others {
        durable.push((other.pragma("journal_mode")?, other.pragma("synchronous")?));
    }
    Ok(markdown(pairs, &lines, &files, &durable))
}

fn line(turns: usize, operation: &'static str, all: &[Vec<Duration>]) -> Line {
    let (ours, others) = all.split_at(1);
    // Their time divided by ours.
    let ratio = |side: &Vec<Duration>| Ratio::of(&side.iter().copied().zip(ours[0].iter().copied()).collect::<Vec<_>>());
    Line {
        turns,
        operation,
        times: all.iter().map(|side| median(side.clone())).collect(),
        ratios: others.iter().map(ratio).collect(),
    }
}

fn texts(number: usize) -> Vec<String> {
    turn(number).messages().map(|message| message.text().to_owned()).collect()
}

struct Ours {
    store: SqliteStore,
    session: SessionId,
}

impl Ours {
    /// Appends these turns; returns the mean time of one.
    async fn append(&self, numbers: &[usize]) -> Result<Duration> {
        let turns: Vec<_> = numbers.iter().copied().map(turn).collect();
        let start = Instant::now();
        for turn in &turns {
            self.store.append(&self.session, turn).await?;
        }
        Ok(start.elapsed() / u32::try_from(turns.len().max(1))?)
    }

    /// Returns the mean time of a load, and what it loaded.
    async fn load(&self, last: Option<usize>, calls: usize) -> Result<(Duration, Vec<String>)> {
        let load = last.map_or_else(Load::all, Load::last);
        let (mut took, mut texts) = (Duration::ZERO, Vec::new());
        for _ in 0..calls {
            let start = Instant::now();
            let history = self.store.load(&self.session, &load).await?;
            took += start.elapsed();
            texts = history.messages().map(|message| message.text().to_owned()).collect();
        }
        Ok((took / u32::try_from(calls)?, texts))
    }
}

/// One of the others.
struct Other {
    kind: &'static str,
    file: PathBuf,
    process: Child,
    asked: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Other {
    fn start(packages: &Path, kind: &'static str, file: PathBuf) -> Result<Self> {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded").join("driver.py");
        let mut python = Command::new("python3");
        python.arg(driver).arg(kind).arg(&file).env("PYTHONPATH", packages).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process =
            python.spawn().map_err(|e| format!("python3 could not be started ({e}); install Python 3.10 or newer."))?;
        let (asked, said) = (process.stdin.take().ok_or("no input")?, process.stdout.take().ok_or("no output")?);
        Ok(Self { kind, file, process, asked, said: BufReader::new(said) })
    }

    fn ask(&mut self, what: &Value) -> Result<Value> {
        writeln!(self.asked, "{what}")?;
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        serde_json::from_str(&line)
            .map_err(|e| format!("the process of {} did not answer ({e}); what it said is above", self.kind).into())
    }

    fn append(&mut self, numbers: &[usize]) -> Result<Duration> {
        let turns: Vec<_> = numbers.iter().copied().map(texts).collect();
        mean(&self.ask(&json!({"append": turns}))?)
    }

    fn load(&mut self, last: Option<usize>, calls: usize) -> Result<(Duration, Vec<String>)> {
        let answer = self.ask(&json!({"loads": calls, "last": last}))?;
        let texts = answer["texts"].as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned()));
        Ok((mean(&answer)?, texts.collect()))
    }

    fn pragma(&mut self, name: &str) -> Result<String> {
        let value = &self.ask(&json!({"pragma": name}))?["value"];
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have exited by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn mean(answer: &Value) -> Result<Duration> {
    let seconds: Vec<f64> = answer["seconds"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    if seconds.is_empty() {
        return Ok(Duration::ZERO);
    }
    Ok(Duration::try_from_secs_f64(seconds.iter().sum::<f64>() / seconds.len() as f64)?)
}

fn markdown(pairs: usize, lines: &[Line], files: &[(usize, Vec<u64>)], durable: &[(String, String)]) -> String {
    let pins = include_str!("../embedded/requirements.txt");
    let pin =
        |name: &str| pins.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("==")).unwrap_or_default().to_owned();
    let mut page = format!(
        "# In a file, compared with Python's usual choices\n\n\
        Written by `cargo xtask bench embedded`: our SQLite store, called from Rust, compared with LangChain Python's `SQLChatMessageHistory` \
        (`langchain-community` {}) and the OpenAI Agents SDK's `SQLiteSession` (`openai-agents` {}), as installed, called from Python, each with \
        its own file and one session. The languages differ, and are part of the ratio. All three wait for the disk at each append \
        (`synchronous=FULL`): ours in WAL mode, LangChain's with `journal_mode={}` and `synchronous={}`, the Agents SDK's with \
        `journal_mode={}` and `synchronous={}` (2 is FULL). {pairs} rounds of {CALLS} calls, taking turns; what was read was compared. \
        The ratio is **their time divided by ours**: the median over the rounds, and the middle half. A turn is a question and an answer of \
        {TEXT_BYTES} bytes each.\n\n\
        | turns | operation | ours | {} | ratio | {} | ratio |\n|---|---|---|---|---|---|---|\n",
        pin("langchain-community"),
        pin("openai-agents"),
        durable[0].0,
        durable[0].1,
        durable[1].0,
        durable[1].1,
        OTHERS[0].1,
        OTHERS[1].1
    );
    for Line { turns, operation, times, ratios } in lines {
        let time = |time: &Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let _ = write!(page, "| {} | {operation} | {} |", thousands(*turns), time(&times[0]));
        for (took, ratio) in times[1..].iter().zip(ratios) {
            let _ = write!(page, " {} | {:.1} ({:.1}–{:.1}) |", time(took), ratio.median, ratio.low, ratio.high);
        }
        page.push('\n');
    }
    let _ = write!(
        page,
        "\nBytes of the files, including SQLite's additional ones:\n\n| turns | ours | {} | {} |\n|---|---|---|---|\n",
        OTHERS[0].1, OTHERS[1].1
    );
    for (turns, bytes) in files {
        let cells: Vec<_> = bytes.iter().map(|bytes| thousands(usize::try_from(*bytes).unwrap_or(usize::MAX))).collect();
        let _ = writeln!(page, "| {} | {} |", thousands(*turns), cells.join(" | "));
    }
    page
}
