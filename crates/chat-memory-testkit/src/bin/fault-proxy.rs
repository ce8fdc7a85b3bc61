//! The fault proxy as a program, for multi-process tests and experiments.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use chat_memory_testkit::{FaultProxy, Seeded};
use clap::Parser;

/// A proxy in front of DynamoDB Local that injects random faults; prints its URL and runs until it is stopped.
#[derive(Parser)]
#[command(after_help = "Example:\n  fault-proxy --upstream http://127.0.0.1:8000 --drop-answers 0.2 --seed 7")]
struct Args {
    /// The URL of DynamoDB Local
    #[arg(long, value_name = "URL", env = "DYNAMODB_ENDPOINT")]
    upstream: String,
    /// Address to listen on; port 0 chooses a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// Seed: the same one gives the n-th request of an operation the same fault
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only requests of this operation, for instance PutItem; may be repeated
    #[arg(long, value_name = "OPERATION")]
    only: Vec<String>,
    /// The share of requests that never arrive
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    drop_requests: f64,
    /// The share of requests that arrive, but whose response is lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    drop_answers: f64,
    /// The share of requests that arrive twice
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    duplicates: f64,
    /// The share of requests that are throttled
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    throttles: f64,
    /// The share of requests answered with status 500, half of them carried out
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    errors: f64,
    /// The share of requests that are delayed, or whose response is
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    delays: f64,
    /// The delay, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50)]
    delay_ms: u64,
    /// The share of requests that are held for longer than a client waits, and then arrive
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    holds: f64,
    /// How long they are held, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    hold_ms: u64,
    /// The share of requests whose connection is reset, half of them after their response has come
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    resets: f64,
    /// The share of requests that arrive, but whose response breaks off in the middle
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    truncations: f64,
    /// The share of writes and transactions that are refused because of another transaction
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    conflicts: f64,
    /// The share of requests whose credentials are refused: unknown, expired or with a wrong signature
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    refusals: f64,
    /// Refuse requests that were signed this many minutes away from the service's clock, as AWS does (5, or 15)
    #[arg(long, value_name = "MINUTES")]
    check_clocks: Option<u64>,
    /// How many seconds the service's clock is ahead of this machine's; negative for behind
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    clock_ahead: i64,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "a share is a number from 0 to 1".into())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let plan = Seeded {
        seed: args.seed,
        only: args.only,
        drop_requests: args.drop_requests,
        drop_answers: args.drop_answers,
        duplicates: args.duplicates,
        throttles: args.throttles,
        errors: args.errors,
        delays: args.delays,
        delay: Duration::from_millis(args.delay_ms),
        holds: args.holds,
        hold: Duration::from_millis(args.hold_ms),
        resets: args.resets,
        truncations: args.truncations,
        conflicts: args.conflicts,
        refusals: args.refusals,
    };
    let proxy = match FaultProxy::listen(&args.listen, &args.upstream, plan) {
        Ok(proxy) => proxy,
        Err(e) => {
            eprintln!("error: the fault proxy cannot listen at {}: {e}", args.listen);
            return ExitCode::FAILURE;
        }
    };
    if let Some(minutes) = args.check_clocks {
        proxy.check_clocks(Duration::from_secs(minutes * 60));
    }
    proxy.set_clock_ahead(args.clock_ahead);
    let mut stdout = std::io::stdout();
    if writeln!(stdout, "{}", proxy.url()).and_then(|()| stdout.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        std::thread::park();
    }
}
