//! Counts the instructions of operations, by Valgrind: the same on every run, however busy the machine is.
//!
//! Each driver runs twice in a process of its own, with few and with more operations. The difference is what the operations took, without
//! the start of the process.

mod canned;
mod drivers;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};

use crate::Result;
pub use drivers::Driver;

/// Operations of the shorter run, which also warms caches.
const FEW: u64 = 20;

/// Operations of the longer run.
const MORE: u64 = 80;

/// How far a count may be from the recorded one, in per cent: with the tools that the record names, and with others.
const TOLERANCE: [u64; 2] = [3, 10];

/// A line of the table.
struct Line {
    operation: &'static str,
    driver: Driver,
    against: Option<(&'static str, Driver)>,
}

const fn alone(operation: &'static str, driver: Driver) -> Line {
    Line { operation, driver, against: None }
}

const fn against(operation: &'static str, driver: Driver, other: &'static str, by: Driver) -> Line {
    Line { operation, driver, against: Some((other, by)) }
}

const LINES: &[Line] = &[
    against(
        "SQLite: append a turn",
        Driver::SqliteAppend,
        "the same statements on rusqlite, with QPSG",
        Driver::BareSqliteAppend,
    ),
    against("SQLite: load a window", Driver::SqliteWindow, "the same, its JSON parsed", Driver::BareSqliteWindow),
    alone("SQLite: load 200 turns", Driver::SqliteHistory),
    against("DynamoDB: append a turn", Driver::DynamodbAppend, "the same PutItem by the SDK", Driver::SdkAppend),
    against("DynamoDB: load a window", Driver::DynamodbWindow, "the same Query by the SDK, its JSON parsed", Driver::SdkWindow),
    alone("HTTP: append a turn, in memory", Driver::HttpAppend),
    alone("HTTP: read a window, in memory", Driver::HttpWindow),
    alone("Bindings: append a turn, in memory", Driver::BindingsAppend),
    alone("Bindings: load a window, in memory", Driver::BindingsOpenai),
    alone("Bindings: load a window in LangChain's form, in memory", Driver::BindingsLangchain),
    alone("Checkpoints: put a turn of a chat, in memory", Driver::CheckpointPut),
    alone("Checkpoints: load turn 200 in a new process, in memory", Driver::CheckpointLoad),
];

/// Counts everything and returns the section of `docs/benchmarks.md`.
pub fn run() -> Result<String> {
    let mut page = format!(
        "# Instructions\n\n\
        Written by `cargo xtask bench instructions`: the instructions of one operation in user space, all threads included, counted by \
        Valgrind, in thousands. The ratio is the library's count divided by the other. A turn is a question and an answer of 300 bytes each; \
        a window is the newest 20 messages. DynamoDB's answers are canned, and HTTP's requests are handed to the service without a socket. \
        The compilers and the C library were {}.\n\n\
        | operation | instructions | compared with | instructions | ratio |\n|---|---|---|---|---|\n",
        tools()?
    );
    for line in LINES {
        let ours = count(line.driver)?;
        page.push_str(&match line.against {
            None => format!("| {} | {} | – | – | – |\n", line.operation, thousands(ours)),
            Some((other, driver)) => {
                let theirs = count(driver)?;
                let ratio = ours as f64 / theirs as f64;
                format!("| {} | {} | {other} | {} | {ratio:.2} |\n", line.operation, thousands(ours), thousands(theirs))
            }
        });
    }
    Ok(page)
}

/// Counts as they are recorded: of this build's profile and features, to find a change that makes an operation dearer.
#[derive(Serialize, Deserialize)]
pub struct Record {
    tools: String,
    instructions: BTreeMap<String, u64>,
}

impl Record {
    /// Counts our side of each line.
    pub fn count() -> Result<Self> {
        let counts = LINES.iter().map(|line| Ok((line.operation.to_owned(), count(line.driver)?)));
        Ok(Self { tools: tools()?, instructions: counts.collect::<Result<_>>()? })
    }

    /// Compares the counts with those recorded before, and returns all of them.
    pub fn compare(&self, before: &Self) -> Result<String> {
        let tolerance = TOLERANCE[usize::from(self.tools != before.tools)];
        let (mut all, mut wrong) = (String::new(), String::new());
        for (operation, count) in &self.instructions {
            let recorded = before.instructions.get(operation).copied().unwrap_or_default();
            let line = format!("{operation}: {} thousand instructions, recorded {}\n", thousands(*count), thousands(recorded));
            if count.abs_diff(recorded) * 100 > recorded * tolerance {
                wrong.push_str(&line);
            }
            all.push_str(&line);
        }
        if wrong.is_empty() && self.instructions.len() == before.instructions.len() {
            return Ok(all);
        }
        Err(format!(
            "{all}\ncounts of instructions differ from the recorded ones by more than {tolerance} %:\n{wrong}\
            `cargo xtask bench instructions` records them, if the change is meant"
        )
        .into())
    }
}

/// A count in thousands, with one digit after the point.
fn thousands(count: u64) -> String {
    let tenths = (count + 50) / 100;
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if whole < 1000 { format!("{whole}.{tenth}") } else { format!("{},{:03}.{tenth}", whole / 1000, whole % 1000) }
}

/// What decides how many instructions a program takes: the compilers, and the C library with the instructions that it may choose from.
fn tools() -> Result<String> {
    let first_line = |program: &str, args: &[&str]| -> Result<String> {
        let output = Command::new(program).args(args).output().map_err(|e| format!("{program} could not be started: {e}"))?;
        Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or_default().to_owned())
    };
    let avx2 = std::fs::read_to_string("/proc/cpuinfo")?.contains(" avx2");
    Ok([
        first_line("rustc", &["--version"])?,
        first_line("cc", &["--version"])?,
        first_line("getconf", &["GNU_LIBC_VERSION"])?,
        if avx2 { "AVX2" } else { "no AVX2" }.to_owned(),
    ]
    .join(", "))
}

/// The instructions of one operation.
fn count(driver: Driver) -> Result<u64> {
    eprintln!("{driver:?} …");
    Ok((of_process(driver, MORE)?.saturating_sub(of_process(driver, FEW)?)) / (MORE - FEW))
}

/// The instructions of a process that does this many operations.
fn of_process(driver: Driver, operations: u64) -> Result<u64> {
    let name = driver.to_possible_value().ok_or("a driver has a name")?;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    valgrind.arg(format!("--log-file={}", log.display())).arg(std::env::current_exe()?);
    valgrind.args(["drive", name.get_name(), &operations.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
    let output =
        valgrind.output().map_err(|e| format!("valgrind could not be started: {e}; install it (Debian's package valgrind)"))?;
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    if !output.status.success() {
        return Err(
            format!("{name:?} under valgrind: {}: {}\n{log}", output.status, String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    let total = log.lines().rev().find_map(|line| line.split_once("I refs:").or_else(|| line.split_once("I   refs:")));
    let (_, total) = total.ok_or_else(|| format!("no count in valgrind's output:\n{log}"))?;
    Ok(total.trim().replace(',', "").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_the_tolerance_are_refused() {
        let of =
            |tools: &str, count| Record { tools: tools.into(), instructions: BTreeMap::from([("append".to_owned(), count)]) };
        let before = of("rustc 1", 100_000);
        for (now, is_same) in [
            (of("rustc 1", 103_000), true),
            (of("rustc 1", 103_001), false),
            (of("rustc 1", 96_999), false),
            (of("rustc 2", 110_000), true),
            (of("rustc 2", 110_001), false),
        ] {
            assert_eq!(now.compare(&before).is_ok(), is_same, "{:?}", now.instructions);
        }
        let other = Record { instructions: BTreeMap::new(), ..of("rustc 1", 0) };
        assert!(before.compare(&other).is_err() && other.compare(&before).is_err());
    }
}
