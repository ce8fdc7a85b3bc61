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

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::app::App;
use crate::cli::Cli;
use crate::failure::Failure;

/// Runs the command that this process's arguments give; returns its exit code.
pub fn run() -> ExitCode {
    if completion::answer(Cli::command) {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            // A closed pipe must not make `--help | head` fail.
            let _ = help_or_error.print();
            return if help_or_error.use_stderr() { ExitCode::from(failure::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let app = App::new(cli.globals);
    let outcome = carry_out(&app, cli.command);
    // Also after a failure, which is printed when the pager is gone.
    let ended = app.out.end();
    app.end(outcome.and(ended))
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
