//! The fault proxy as a program, for tests of separate processes and for trying things out.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use chat_memory_testkit::{FaultProxy, Seeded};
use clap::Parser;

/// A proxy before DynamoDB Local that makes faults by chance; prints its URL and runs until it is stopped.
#[derive(Parser)]
#[command(after_help = "Example:\n  fault-proxy --upstream http://127.0.0.1:8000 --drop-answers 0.2 --seed 7")]
struct Args {
    /// The URL of DynamoDB Local
    #[arg(long, value_name = "URL", env = "DYNAMODB_ENDPOINT")]
    upstream: String,
    /// Where to listen; port 0 is a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// The same seed gives the n-th request of an operation the same fault
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only requests of this operation, for instance PutItem; may be given several times
    #[arg(long, value_name = "OPERATION")]
    only: Vec<String>,
    /// The share of requests that never arrive
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    drop_requests: f64,
    /// The share of requests that arrive, but whose answer is lost
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
    /// The share of requests that are late, or whose answer is
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    delays: f64,
    /// How late, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50)]
    delay_ms: u64,
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
    };
    let proxy = match FaultProxy::listen(&args.listen, &args.upstream, plan) {
        Ok(proxy) => proxy,
        Err(e) => {
            eprintln!("error: the fault proxy cannot listen at {}: {e}", args.listen);
            return ExitCode::FAILURE;
        }
    };
    let mut stdout = std::io::stdout();
    if writeln!(stdout, "{}", proxy.url()).and_then(|()| stdout.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        std::thread::park();
    }
}
