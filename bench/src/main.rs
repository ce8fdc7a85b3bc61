//! What the library adds to raw calls, and the HTTP service to the library, as ratios; how cost grows; what compression saves.
//! `cargo xtask bench` runs it and stores the printed tables in `docs/benchmarks.md`.
//!
//! Both sides of a comparison do the same work on the same kind of file or table, in one run, in alternating rounds, so that other
//! load on the machine affects both. Times of one machine say little about another, so only ratios are printed. Before anything is
//! timed, each comparison checks that both sides did the same: the library reads what the raw side wrote.

mod compression;
mod dynamodb;
mod embedded;
mod measure;
mod plots;
mod report;
mod resident;
mod scale;
mod service;
mod sqlite;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::measure::Rounds;

/// Any error; it ends the run.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measure what the library adds to raw calls, or the HTTP service to the library, and print tables in Markdown.
#[derive(Parser)]
struct Args {
    /// Fewer and shorter rounds, to check that it works
    #[arg(long)]
    smoke: bool,
    /// What to measure
    #[arg(value_enum, default_value_t = What::Library, conflicts_with = "service")]
    what: What,
    /// Measure the service, with this `chat-memory` program
    #[arg(long, value_name = "PROGRAM")]
    service: Option<PathBuf>,
    /// Compare the SQLite store with Python's, whose packages are in this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "service")]
    embedded: Option<PathBuf>,
}

/// What to measure.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// The library compared with raw calls
    Library,
    /// How cost, time and memory grow
    Scale,
    /// What compression saves, and what it costs
    Compression,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let rounds = if args.smoke { Rounds::SMOKE } else { Rounds::FULL };
    let report = match (&args.service, &args.embedded, args.what) {
        (_, Some(packages), _) => embedded::run(packages, rounds).await,
        (Some(program), _, _) => {
            service::run(program, if args.smoke { service::Extent::SMOKE } else { service::Extent::FULL }).await
        }
        (None, None, What::Library) => run(rounds).await,
        (None, None, What::Scale) => scale::run(if args.smoke { scale::Extent::SMOKE } else { scale::Extent::FULL }).await,
        (None, None, What::Compression) => compression::run(rounds).await,
    };
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

async fn run(rounds: Rounds) -> Result<String> {
    eprintln!("DynamoDB …");
    let lengths: &[usize] = if rounds == Rounds::SMOKE { &[1, 2, 20] } else { &[1, 100, 1000] };
    let (mut comparisons, counts) = dynamodb::compare(rounds, lengths).await?;
    eprintln!("SQLite …");
    comparisons.extend(sqlite::compare(rounds).await?);
    Ok(report::markdown(rounds, &comparisons, &counts))
}
