//! `torture`: runs schedules, seed by seed, until time is up or one breaks a promise.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chat_memory_torture::check::{Contract, Counts, check};
use chat_memory_torture::history::Event;
use chat_memory_torture::{Plan, Result, Scenario, Store, run, worker};
use clap::{Parser, Subcommand};

/// Runs random schedules of many processes under faults, and checks their responses
#[derive(Parser)]
#[command(name = "torture", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run schedules until time is up, or until one breaks a promise: then print its seed and its history
    Run(Run),
    /// Check a saved history
    Check {
        /// The file
        file: PathBuf,
    },
    /// Run as one of a schedule's processes
    #[command(hide = true)]
    Worker {
        /// Its orders, as JSON
        orders: String,
    },
}

#[derive(clap::Args)]
struct Run {
    /// The first schedule's seed; each further one has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how many seconds to run; the schedule in progress is completed
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// At most this many schedules of each store
    #[arg(long)]
    schedules: Option<u64>,
    /// Only these stores: turns, list-js, list-python, sqlite, memory
    #[arg(long, value_delimiter = ',')]
    store: Vec<Store>,
    /// Disable this rule of the protocol, to show that it is needed: the run then looks for a broken promise
    #[arg(long, value_name = "RULE")]
    without: Option<String>,
    /// Only plans that exercise this rule, on the stores that have it: StubNamesClear, CachedTailAge, CheckBefore; Generation,
    /// OwnGeneration, LookAgain. Implied by --without
    #[arg(long, value_name = "RULE", value_parser = |rule: &str| Scenario::of(rule).ok_or("no rule that plans lead to"))]
    leading_to: Option<Scenario>,
    /// The processes' clocks are wrong by hours, and the service accepts that
    #[arg(long)]
    hours: bool,
    /// Where to save the history of a schedule that broke a promise
    #[arg(long, default_value = "target/torture")]
    keep: PathBuf,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Worker { orders } => serde_json::from_str(&orders).map_err(|e| e.to_string()).and_then(worker::run),
        Task::Run(args) => torture(&args),
        Task::Check { file } => recheck(&file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn torture(args: &Run) -> Result {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let stores = if args.store.is_empty() { Store::ALL.to_vec() } else { args.store.clone() };
    let begin = Instant::now();
    let (mut ran, mut sums) = (0, vec![Counts::default(); stores.len()]);
    'all: for seed in (args.seed..).take(args.schedules.map_or(usize::MAX, |n| n as usize)) {
        for (store, sum) in stores.iter().zip(&mut sums) {
            if begin.elapsed() >= Duration::from_secs(args.seconds) {
                break 'all;
            }
            let plan = match (&args.without, args.leading_to) {
                (Some(rule), None) => Plan::without(rule, seed, *store),
                (without, Some(scenario)) if scenario.is_of(*store) => {
                    Plan { without: without.clone(), ..Plan::leading_to(scenario, seed, *store) }
                }
                (without, _) => Plan { without: without.clone(), ..Plan::new(seed, *store) },
            };
            let plan = if args.hours { plan.with_clocks_wrong_by_hours() } else { plan };
            let history = run::run(&program, &plan).map_err(|e| format!("{store}, seed {seed}: {e}"))?;
            ran += 1;
            match check(&history, Contract::of(&plan)) {
                Ok(counts) => *sum += counts,
                Err(why) if args.without.is_some() => {
                    println!(
                        "without {}, {store}, seed {seed}, schedule {ran}: {why}",
                        args.without.as_deref().unwrap_or_default()
                    );
                    return Ok(());
                }
                Err(why) => {
                    let file = keep(&args.keep, &plan, &history)?;
                    return Err(format!(
                        "{store}, seed {seed}: {why}\nIts history is in {}; `cargo xtask torture --store {store} --seed {seed} \
                        --schedules 1{}` runs it again.",
                        file.display(),
                        if args.hours { " --hours" } else { "" }
                    ));
                }
            }
        }
    }
    if let Some(rule) = &args.without {
        return Err(format!("{ran} schedules hold without {rule}: either the rule is not needed, or they are too few"));
    }
    println!("{ran} schedules hold, in {} s:", begin.elapsed().as_secs());
    for (store, sum) in stores.iter().zip(&sums) {
        println!(
            "  {store}: {} append attempts ({} in doubt or killed, {} conflicts), {} landed; {} loads",
            sum.tries, sum.in_doubt, sum.conflicts, sum.landed, sum.loads
        );
    }
    Ok(())
}

/// Saves a history. The first line states what was promised.
fn keep(folder: &Path, plan: &Plan, history: &[Event]) -> Result<PathBuf> {
    let contract = Contract::of(plan);
    let mut text = serde_json::to_string(&contract).map_err(|e| e.to_string())? + "\n";
    for event in history {
        text.push_str(&serde_json::to_string(event).map_err(|e| e.to_string())?);
        text.push('\n');
    }
    let file = folder.join(format!("{}-{}.jsonl", plan.store, plan.seed));
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, text)).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(file)
}

fn recheck(file: &Path) -> Result {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut lines = text.lines();
    let contract = serde_json::from_str(lines.next().unwrap_or_default())
        .map_err(|e| format!("{}: not a history, whose first line says what was promised: {e}", file.display()))?;
    let history: Vec<Event> = lines
        .enumerate()
        .map(|(at, line)| serde_json::from_str(line).map_err(|e| format!("{}:{}: {e}", file.display(), at + 2)))
        .collect::<Result<_>>()?;
    let counts = check(&history, contract)?;
    println!("it holds: {} appends landed, {} loads", counts.landed, counts.loads);
    Ok(())
}
