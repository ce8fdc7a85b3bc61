//! `completions`

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::app::App;
use crate::cli::Cli;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chat-memory completions bash | sudo tee /etc/bash_completion.d/chat-memory
  chat-memory completions zsh > ~/.zfunc/_chat-memory
  chat-memory completions fish > ~/.config/fish/completions/chat-memory.fish";

/// Print what lets a shell complete the commands
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    // Into memory first: the generator panics when its writer fails.
    let mut script = Vec::new();
    generate(arguments.shell, &mut Cli::command(), "chat-memory", &mut script);
    app.out.bytes(&script)
}
