//! What the library adds to raw calls, and the HTTP service to the library, as ratios; how cost grows; what compression saves.
//! `cargo xtask bench` runs it and stores the printed tables in `docs/benchmarks.md`.
//!
//! Both sides of a comparison do the same work on the same kind of file or table, in one run, in alternating rounds, so that other
//! load on the machine affects both. Times of one machine say little about another, so only ratios are printed. Before anything is
//! timed, each comparison checks that both sides did the same: the library reads what the raw side wrote.

mod compression;
mod dynamodb;
mod embedded;
mod instructions;
mod measure;
mod plots;
mod report;
mod resident;
mod scale;
mod service;
mod sqlite;
mod turns;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::instructions::Driver;
use crate::measure::Rounds;

/// Any error; it ends the run.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measure what the library adds to raw calls, or the HTTP service to the library, and print tables in Markdown.
#[derive(Parser)]
struct Args {
    /// Fewer and shorter rounds, to check that it works
    #[arg(long, global = true)]
    smoke: bool,
    #[command(subcommand)]
    what: What,
}

/// What to measure.
#[derive(Subcommand)]
enum What {
    /// The library compared with raw calls
    Library,
    /// The service compared with the library
    Service {
        /// A `chat-memory` program
        program: PathBuf,
    },
    /// What it is compared with: a handler on bare rusqlite
    #[command(hide = true)]
    Serve(service::Bare),
    /// How cost, time and memory grow
    Scale,
    /// Writers in separate processes, to one session
    Writers,
    /// One of these processes
    #[command(hide = true)]
    Write(writers::Writer),
    /// The SQLite store compared with Python's
    Embedded {
        /// The folder of Python's packages
        packages: PathBuf,
    },
    /// What compression saves, and what it costs
    Compression,
    /// The instructions of operations
    Instructions,
    /// The same of this build, compared with those in a file
    Compare {
        /// The file
        file: PathBuf,
        /// Write them to the file instead
        #[arg(long)]
        record: bool,
    },
    /// Do one operation many times, to have its instructions counted
    Drive { driver: Driver, operations: usize },
}

fn main() -> ExitCode {
    let args = Args::parse();
    // One thread counts alike on every machine.
    let mut runtime = match args.what {
        What::Drive { .. } => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let report = runtime.enable_all().build().map_err(Into::into).and_then(|runtime| runtime.block_on(measure(args)));
    match report {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(Args { smoke, what }: Args) -> Result<String> {
    let rounds = if smoke { Rounds::SMOKE } else { Rounds::FULL };
    match what {
        What::Library => run(rounds).await,
        What::Service { program } => {
            service::run(&program, if smoke { service::Extent::SMOKE } else { service::Extent::FULL }).await
        }
        What::Serve(bare) => bare.run().await,
        What::Scale => scale::run(if smoke { scale::Extent::SMOKE } else { scale::Extent::FULL }).await,
        What::Writers => writers::run(if smoke { writers::Extent::SMOKE } else { writers::Extent::FULL }).await,
        What::Write(writer) => writer.run().await,
        What::Embedded { packages } => embedded::run(&packages, rounds).await,
        What::Compression => compression::run(rounds).await,
        What::Instructions => instructions::run(),
        What::Compare { file, record } => {
            let counted = instructions::Record::count()?;
            if record {
                std::fs::write(file, format!("{}\n", serde_json::to_string_pretty(&counted)?))?;
                return Ok(String::new());
            }
            counted.compare(&serde_json::from_slice(&std::fs::read(file)?)?)
        }
        What::Drive { driver, operations } => driver.run(operations).await.map(|()| String::new()),
    }
}

async fn run(rounds: Rounds) -> Result<String> {
    eprintln!("DynamoDB …");
    let lengths: &[usize] = if rounds == Rounds::SMOKE { &[1, 2, 20] } else { &[1, 100, 1000] };
    let (mut comparisons, counts) = dynamodb::compare(rounds, lengths).await?;
    eprintln!("SQLite …");
    comparisons.extend(sqlite::compare(rounds).await?);
    Ok(report::markdown(rounds, &comparisons, &counts))
}
