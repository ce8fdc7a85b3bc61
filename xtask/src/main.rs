//! The project's own commands, run as `cargo xtask …`: tests, benchmarks, and AWS's DynamoDB Local, which both need. DynamoDB Local
//! is downloaded, verified and started here.

mod bench;
mod cache;
mod cargo;
mod console;
mod debian;
mod deploy;
mod dist;
mod emulator;
mod flowise;
mod metadata;
mod node;
mod npm;
mod peers;
mod plot;
mod python;
mod sbom;
mod service;
mod steps;
mod supply;
mod wheel;
mod words;
mod workflows;

use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

use crate::emulator::Endpoint;

/// Errors are one to a few sentences: what is wrong, where, and what to do.
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
    /// Run all checks that a change must pass: format, clippy, docs, features, examples, tests
    ///
    /// Stops at the first step that fails and says what to do. DynamoDB Local is downloaded, verified and started on a free port
    /// for the steps that need it, unless DYNAMODB_ENDPOINT names a running one.
    Test {
        /// Only the steps that need just Rust and DynamoDB Local
        #[arg(long)]
        quick: bool,
        /// Only these steps, in their usual order
        #[arg(value_name = "STEP", value_parser = clap::builder::PossibleValuesParser::new(steps::names()))]
        steps: Vec<String>,
    },
    /// Install the originals (LangChain.js, Flowise's node, LangChain Python) that tests share tables with, and what benchmarks
    /// compare with (Mastra, LangGraph), and print where
    Peers,
    /// Regenerate what is generated from the code: docs/openapi.json
    Gen,
    /// Measure the library against raw calls of the SDK and of SQLite, the HTTP service against the library, the npm package
    /// against LangChain.js, and LangChain and Flowise against ours; write the tables
    ///
    /// The tables go to docs/benchmarks.md, the npm package's to bindings/node/README.md.
    Bench {
        /// Only this benchmark
        what: Option<bench::What>,
        /// Fewer and shorter rounds, to check that it works; nothing is written
        #[arg(long)]
        smoke: bool,
    },
    /// Run random schedules of many processes on every store, under faults, and check all results; `-- --help` says more
    ///
    /// For instance `cargo xtask torture --seed 1 --seconds 600`, or `--store turns --without IdCheck` to see what a rule is for.
    /// `cargo xtask torture check FILE` checks again the history that a schedule left behind.
    Torture {
        /// Options of the `torture` program: --seed, --seconds, --schedules, --store, --without, --leading-to, --hours, --keep; or
        /// `check FILE`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        options: Vec<String>,
    },
    /// Test the node in Flowise's real server: conversations, a restart, a clear; installs Flowise (2.5 GB in the cache folder)
    /// once
    Flowise,
    /// Check the dependencies against RustSec's advisories, fetched from GitHub with Git
    Advisories,
    /// Write SBOMs of the program, the Lambda's program, the npm package's addon and the Python package's native part, in CycloneDX 1.5, into target/sbom
    ///
    /// Each lists the crates built into it or used to build it, with licences and checksums. The same commit gives the same files.
    Sbom {
        /// The target triple to build for, such as aarch64-unknown-linux-gnu; this machine's by default
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// Make what people install without compiling, for this platform, in target/artefacts, with SHA256SUMS
    ///
    /// The static program in an archive, the Debian package, the image's own files, the npm packages, the Python wheel and the SBOMs.
    /// `cargo xtask test dist` makes them and tries each. docs/releasing.md describes a release.
    Dist {
        /// Only these parts; all by default
        parts: Vec<dist::Part>,
        /// The target triple of the program; static for this machine by default
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// Write the Homebrew formula, chat-memory.rb, next to the SHA256SUMS of a release's archives
    Formula {
        /// The folder with SHA256SUMS
        folder: std::path::PathBuf,
    },
    /// Put the repository's address into all manifests, READMEs and the installer
    Repository {
        /// https://github.com/OWNER/NAME
        url: String,
    },
    /// Put a version into all manifests and lock files
    Version {
        /// Such as 0.2.0
        version: String,
    },
    /// Take screenshots of the console's pages, light, dark and as wide as a phone, into target/screenshots
    Screenshots,
    /// Run DynamoDB Local until Ctrl-C, or while a command runs
    Emulator {
        /// The port; a free one by default
        #[arg(long)]
        port: Option<u16>,
        /// A command to run with DYNAMODB_ENDPOINT set; DynamoDB Local stops after it
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
  CHAT_MEMORY_SHARED   the folder with data/conversations.jsonl; by default ../shared next to the checkout
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
        Task::Dist { parts, target } => dist::make(&parts, target.as_deref()).map(|()| ExitCode::SUCCESS),
        Task::Formula { folder } => dist::formula(&folder).map(|()| ExitCode::SUCCESS),
        Task::Repository { url } => metadata::set_repository(&url).map(|()| ExitCode::SUCCESS),
        Task::Version { version } => metadata::set_version(&version).map(|()| ExitCode::SUCCESS),
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
        // It needs no DynamoDB. The program runs in the workspace's root, but file names are relative to the current directory.
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

/// Runs DynamoDB Local in the foreground, or around a command, and returns the command's exit code.
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
