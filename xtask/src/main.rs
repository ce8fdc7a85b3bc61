//! The project's own commands, run as `cargo xtask …`: its tests, its benchmarks, and AWS's DynamoDB Local, which both
//! need and which is fetched, checked and started here.

mod bench;
mod cache;
mod cargo;
mod console;
mod debian;
mod deploy;
mod emulator;
mod flowise;
mod node;
mod npm;
mod peers;
mod plot;
mod python;
mod sbom;
mod service;
mod steps;
mod supply;

use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

use crate::emulator::Endpoint;

/// An error is one or a few sentences: what is wrong, where, and what to do.
type Result<T = ()> = std::result::Result<T, String>;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run everything that must hold before a change is good: format, clippy, docs, features, examples, tests
    ///
    /// Stops at the first step that fails and says what to do. DynamoDB Local is fetched, checked and started on a free
    /// port for the steps that need it, unless DYNAMODB_ENDPOINT names one that runs already.
    Test {
        /// Only what needs Rust and DynamoDB Local, nothing of another language
        #[arg(long)]
        quick: bool,
        /// Only these steps, in their usual order
        #[arg(value_name = "STEP", value_parser = clap::builder::PossibleValuesParser::new(steps::names()))]
        steps: Vec<String>,
    },
    /// Install the originals (LangChain.js, Flowise's node, LangChain Python) that tests share tables with, and what else is measured beside
    /// ours (Mastra, LangGraph), and say where
    Peers,
    /// Write anew what is generated from the code: docs/openapi.json
    Gen,
    /// Measure the library against raw calls of the SDK and of SQLite, the HTTP service beside the library, the npm package beside
    /// LangChain.js, and LangChain and Flowise beside ours; write the tables
    ///
    /// They go to docs/benchmarks.md, but the npm package's into bindings/node/README.md.
    Bench {
        /// Only one of them
        what: Option<bench::What>,
        /// Fewer and shorter rounds: whether it works, not how fast; nothing is written
        #[arg(long)]
        smoke: bool,
    },
    /// Run random schedules of many processes on every store, under faults, and check what they were told; `-- --help` says more
    ///
    /// For instance `cargo xtask torture --seed 1 --seconds 600`, or `--store turns --without IdCheck` to see what a rule is for.
    /// `cargo xtask torture check FILE` looks again at the history that a schedule left behind.
    Torture {
        /// What the `torture` program takes: --seed, --seconds, --schedules, --store, --without, --leading-to, --hours, --keep; or `check FILE`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        options: Vec<String>,
    },
    /// Try the node in Flowise's real server: conversations, a restart, a clear; it installs Flowise (2.5 GB in the cache folder) once
    Flowise,
    /// Ask RustSec's list what is known against the dependencies; it is fetched from GitHub with Git
    Advisories,
    /// Write what the program, the Lambda's program and the npm package's addon are made of, as CycloneDX 1.5, into target/sbom
    ///
    /// The crates built into each or used to build it, with licences and checksums. The same commit gives the same files.
    Sbom {
        /// The target that they are built for, such as aarch64-unknown-linux-gnu; this machine's by default
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// Make pictures of the console's pages, light, dark and as wide as a phone, in target/screenshots
    Screenshots,
    /// Run DynamoDB Local until Ctrl-C, or as long as a command runs
    Emulator {
        /// The port; a free one by default
        #[arg(long)]
        port: Option<u16>,
        /// A command to run with DYNAMODB_ENDPOINT set, after which DynamoDB Local is stopped
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

const HELP: &str = "\
Examples:
  cargo xtask test                      all of it, as CI does
  cargo xtask test clippy docs          two steps of it
  cargo xtask emulator                  DynamoDB Local until Ctrl-C
  cargo xtask emulator -- cargo test -p chat-memory --features dynamodb conformance
  cargo xtask bench                     all tables; `cargo xtask bench service` makes one

Environment:
  DYNAMODB_ENDPOINT    a DynamoDB Local that runs already (started with -sharedDb); none is started then
  CHAT_MEMORY_CACHE    where DynamoDB Local is kept; by default chat-memory in the user's cache folder
  CHAT_MEMORY_SHARED   the folder with data/conversations.jsonl; by default ../shared beside the checkout
  JAVA_HOME            the Java (17 or newer) that runs DynamoDB Local; else the one in PATH";

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test { quick, steps } => steps::run(quick, &steps).map(|()| ExitCode::SUCCESS),
        Task::Peers => peers::install().map(|peers| {
            peers.iter().for_each(|(name, folder)| println!("export {name}={}", folder.display()));
            ExitCode::SUCCESS
        }),
        Task::Gen => service::generate().map(|()| ExitCode::SUCCESS),
        Task::Bench { what, smoke } => bench::run(what, smoke).map(|()| ExitCode::SUCCESS),
        Task::Flowise => flowise::test().map(|()| ExitCode::SUCCESS),
        Task::Advisories => supply::advisories().map(|()| ExitCode::SUCCESS),
        Task::Sbom { target } => sbom::write(target.as_deref()).map(|()| ExitCode::SUCCESS),
        Task::Screenshots => console::screenshots().map(|()| ExitCode::SUCCESS),
        Task::Torture { options } => torture(&options),
        Task::Emulator { port, command } => emulate(port, &command),
    };
    done.unwrap_or_else(|error| {
        eprintln!("\nerror: {error}");
        ExitCode::FAILURE
    })
}

/// Runs schedules on every store, the remote ones on a DynamoDB Local of their own.
fn torture(options: &[String]) -> Result<ExitCode> {
    let mut program = cargo::cargo("run --quiet -p chat-memory-torture --bin torture --");
    if options.first().is_some_and(|first| first == "check") {
        // It needs no DynamoDB. The program runs in the workspace's root, and a file's name is meant from here.
        let here = |word: &String| {
            if word.starts_with('-') { word.into() } else { std::path::absolute(word).unwrap_or_else(|_| word.into()) }
        };
        cargo::run(program.arg("check").args(options[1..].iter().map(here)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let endpoint = Endpoint::from_env_or_start()?;
    cargo::run(program.arg("run").args(options).envs(endpoint.env()))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs DynamoDB Local in the foreground, or around a command, whose exit code it then takes over.
fn emulate(port: Option<u16>, command: &[String]) -> Result<ExitCode> {
    let mut endpoint = Endpoint::start(port)?;
    if let [program, args @ ..] = command {
        let status = Command::new(program).args(args).envs(endpoint.env()).status();
        let status = status.map_err(|e| format!("{program} could not be started: {e}."))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        return Ok(ExitCode::from(code));
    }
    println!("DynamoDB Local is running; Ctrl-C stops it. In the other terminal:\n");
    let line: Vec<_> = endpoint.env().map(|(name, value)| format!("{name}={value}")).collect();
    println!("export {}", line.join(" "));
    endpoint.wait()?;
    Ok(ExitCode::SUCCESS)
}
