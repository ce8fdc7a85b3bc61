//! What the library adds to raw calls, and the HTTP service to the library, as ratios: run by `cargo xtask bench`, which keeps the printed
//! tables in `docs/benchmarks.md`.
//!
//! Both sides of a comparison do the same work on the same kind of file or table, in one run, in alternating rounds, so that
//! what else the machine does falls on both. Times of one machine say little on another, so only ratios are printed. Before
//! anything is timed, each comparison proves that both sides did the same: what the raw side wrote, the library reads.

mod dynamodb;
mod measure;
mod report;
mod service;
mod sqlite;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::measure::Rounds;

/// What a comparison may fail with; it ends the run.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures what the library adds to raw calls, or the HTTP service to the library, and prints tables in Markdown.
#[derive(Parser)]
struct Args {
    /// Fewer and shorter rounds: whether it works, not how fast
    #[arg(long)]
    smoke: bool,
    /// Measure the service, which is this program: `chat-memory`
    #[arg(long, value_name = "PROGRAM")]
    service: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let report = match &args.service {
        Some(program) => service::run(program, if args.smoke { service::Extent::SMOKE } else { service::Extent::FULL }).await,
        None => run(if args.smoke { Rounds::SMOKE } else { Rounds::FULL }).await,
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
