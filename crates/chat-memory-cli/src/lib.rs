//! The program `chat-memory`: durable chat memory on DynamoDB or SQLite, from the command line. A crate with another store registers its
//! scheme and runs the program with it:
//!
//! ```no_run
//! # fn register() -> Result<(), chat_memory::Error> { Ok(()) }
//! fn main() -> std::process::ExitCode {
//!     if let Err(error) = register() {
//!         eprintln!("{error}");
//!         return std::process::ExitCode::FAILURE;
//!     }
//!     chat_memory_cli::run()
//! }
//! ```

mod app;
mod cli;
mod commands;
mod completion;
mod endpoint;
mod escape;
mod failure;
mod interrupt;
mod output;
mod pager;
mod render;
mod window;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::CommandFactory as _;
use serde_json::Value;

use crate::app::App;
use crate::cli::Cli;
use crate::failure::Failure;

/// Runs the command that this process's arguments give; returns its exit code.
pub fn run() -> ExitCode {
    if completion::answer(Cli::command) {
        return ExitCode::SUCCESS;
    }
    let cli: Cli = match chat_memory_server::config::parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            // A closed pipe must not make `--help | head` fail.
            let _ = match as_json(&help_or_error) {
                Some(json) => writeln!(io::stderr(), "{json}"),
                None => help_or_error.print(),
            };
            return if help_or_error.use_stderr() { ExitCode::from(failure::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let app = App::new(cli.globals);
    let outcome = carry_out(&app, cli.command);
    // Also after a failure, which is printed when the pager is gone.
    let ended = app.out.end();
    app.end(outcome.and(ended))
}

/// A usage error as JSON, if the command line has `--json`.
fn as_json(error: &clap::Error) -> Option<Value> {
    let mut arguments = std::env::args_os().skip(1).take_while(|argument| argument != "--");
    if !error.use_stderr() || !arguments.any(|argument| argument == "--json") {
        return None;
    }
    // Without the usage, which comes after an empty line, and the word that begins it.
    let text = error.render().to_string();
    let cause = text.split("\n\n").next().unwrap_or(&text);
    let cause: Vec<&str> = cause.strip_prefix("error: ").unwrap_or(cause).split_whitespace().collect();
    Failure::usage(cause.join(" ")).to_json()
}

fn carry_out(app: &App, command: cli::Command) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|e| Failure::other(format!("cannot start the program's threads: {e}")))?;
    let outcome = runtime.block_on(command.run(app));
    // A model's answer that nobody waits for any more must not keep the program running.
    runtime.shutdown_background();
    outcome
}
