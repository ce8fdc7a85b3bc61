//! Writers in separate processes, all to one DynamoDB session: the requests, the time and the fairness of contention.
//!
//! This program runs itself once per writer. Within one process appends to a session queue; between processes only the condition on
//! each write decides, and a writer that lost waits and retries.

use std::process::Stdio;
use std::time::{Duration, Instant};

use chat_memory::SessionId;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::{ChatStore, Cost, Load};
use chat_memory_testkit::{client, table_name};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Result;
use crate::scale::number;
use crate::turns::turn;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Processes, one number for each line of the table.
    writers: &'static [usize],
    /// Appends of all writers together.
    appends: usize,
    /// Runs of each line; counts are averaged over them.
    runs: usize,
}

impl Extent {
    /// For results worth keeping.
    pub const FULL: Self = Self { writers: &[1, 2, 8, 64], appends: 1_280, runs: 3 };
    /// To check that it works.
    pub const SMOKE: Self = Self { writers: &[1, 4], appends: 16, runs: 1 };
}

/// The longest pause between a writer's appends, where it pauses.
const PAUSE_MS: u64 = 200;

/// The work of one writer's process.
#[derive(Debug, clap::Args)]
pub struct Writer {
    table: String,
    session: String,
    /// The number of its first turn
    first: usize,
    appends: usize,
    /// The longest pause after an append
    pause_ms: u64,
}

impl Writer {
    /// Appends once the parent gives the word, and returns the cost and the slowest append as a line of JSON.
    pub async fn run(&self) -> Result<String> {
        let (store, session) = (store(&self.table)?, SessionId::new(&*self.session)?);
        let turns: Vec<_> = (0..self.appends).map(|number| turn(self.first + number)).collect();
        // Opens the connection and reads the log's tail, which every process does once.
        store.load(&session, &Load::records(1)).await?;
        println!("ready");
        // Blocks the thread, which has nothing else to do.
        std::io::stdin().read_line(&mut String::new())?;
        let (mut cost, mut slowest) = (Cost::default(), Duration::ZERO);
        for turn in &turns {
            let start = Instant::now();
            cost += store.append(&session, turn).await?.cost;
            slowest = slowest.max(start.elapsed());
            if self.pause_ms > 0 {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..self.pause_ms))).await;
            }
        }
        Ok(format!("{}\n", json!({"requests": cost.requests, "slowest_ms": slowest.as_millis() as u64})))
    }
}

fn store(table: &str) -> Result<DynamoDbStore> {
    Ok(DynamoDbStore::from_client(&client(), Options::new(table))?)
}

/// The result for a number of processes.
#[derive(Debug, Default)]
struct Written {
    requests: u64,
    slowest_ms: u64,
    seconds: f64,
    appends: usize,
}

/// Measures, and returns the section as Markdown.
pub async fn run(extent: Extent) -> Result<String> {
    let table = table_name("writers");
    Admin::from_client(&client(), &Options::new(&table))?.create_table().await?;
    let mut lines = String::new();
    for &writers in extent.writers {
        let mut cells = Vec::new();
        for pause_ms in [0, PAUSE_MS] {
            eprintln!("{writers} processes, pauses up to {pause_ms} ms …");
            let mut all = Written::default();
            for run in 0..extent.runs {
                let session = format!("{writers}-{pause_ms}-{run}");
                // A pausing writer takes a tenth of a second for an append, so it gets fewer.
                let each = if pause_ms == 0 { extent.appends / writers } else { (extent.appends / writers).min(40) };
                let one = write(&table, &session, writers, each, pause_ms).await?;
                all.requests += one.requests;
                all.slowest_ms = all.slowest_ms.max(one.slowest_ms);
                all.seconds += one.seconds;
                all.appends += one.appends;
            }
            let appends = all.appends as f64;
            let requests = number(all.requests as f64 / appends);
            cells.push(format!("{requests} | {:.0} | {} ms", appends / all.seconds, all.slowest_ms));
        }
        lines += &format!("| {writers} | {} |\n", cells.join(" | "));
    }
    let Extent { appends, runs, .. } = extent;
    Ok(format!(
        "Written by `cargo xtask bench writers`. Each writer is a separate process with its own connection; all append turns of a question and an answer of 300 bytes to one session of a `turns` table on DynamoDB Local, which shares the machine with them. \
         Back to back, they make {appends} appends together; with pauses of up to {PAUSE_MS} ms after each append, up to 40 each. {runs} runs of each; the slowest append is that of all runs. \
         Requests are per append, as the appends report them, and depend less on the machine than the times do. Afterwards all turns were stored, each once.\n\n\
         | processes | back to back: requests | appends/s | slowest append | with pauses: requests | appends/s | slowest append |\n\
         |---|---|---|---|---|---|---|\n{lines}"
    ))
}

async fn write(table: &str, session: &str, writers: usize, each: usize, pause_ms: u64) -> Result<Written> {
    let id = SessionId::new(session)?;
    let reader = store(table)?;
    // The first append of a session also enters it in the list of sessions.
    reader.append(&id, &turn(usize::MAX / 4)).await?;
    let mut processes = Vec::new();
    for writer in 0..writers {
        processes.push(Process::start(table, session, writer * each, each, pause_ms)?);
    }
    for process in &mut processes {
        process.line().await?;
    }
    let start = Instant::now();
    for process in &mut processes {
        process.input.write_all(b"go\n").await?;
        process.input.flush().await?;
    }
    let mut written = Written { appends: writers * each, ..Written::default() };
    for process in &mut processes {
        let line: Value = serde_json::from_str(&process.line().await?)?;
        let count = |name: &str| line[name].as_u64().ok_or_else(|| format!("a writer reported {line}"));
        written.requests += count("requests")?;
        written.slowest_ms = written.slowest_ms.max(count("slowest_ms")?);
    }
    written.seconds = start.elapsed().as_secs_f64();
    for mut process in processes {
        process.child.wait().await?;
    }
    let mut texts = std::collections::HashSet::new();
    let history = reader.load(&id, &Load::all()).await?;
    for record in &history.records {
        texts.extend(record.messages().map(|message| message.text().to_owned()));
    }
    let wanted = writers * each + 1;
    if history.records.len() != wanted || texts.len() != 2 * wanted {
        let (records, texts) = (history.records.len(), texts.len());
        return Err(format!("{wanted} turns were appended; there are {records} records with {texts} different messages").into());
    }
    Ok(written)
}

/// A writer's process; it is killed when this is dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(table: &str, session: &str, first: usize, appends: usize, pause_ms: u64) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["write", table, session]);
        command.args([first.to_string(), appends.to_string(), pause_ms.to_string()]);
        // One thread is enough for one append at a time, and 64 processes share the machine.
        command.env("TOKIO_WORKER_THREADS", "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let input = child.stdin.take().ok_or("a writer has no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("a writer has no output")?).lines();
        Ok(Self { child, input, output })
    }

    async fn line(&mut self) -> Result<String> {
        Ok(self.output.next_line().await?.ok_or("a writer ended early; its error is above")?)
    }
}
