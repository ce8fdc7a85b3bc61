//! `completions`

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use crate::app::App;
use crate::completion;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  source <(chat-memory completions bash)     in ~/.bashrc
  source <(chat-memory completions zsh)      in ~/.zshrc, below compinit
  chat-memory completions fish | source      in ~/.config/fish/config.fish

Commands, options, their values, roles and the ids of sessions are completed. For ids the shell runs the program, which reads \
the store that --store or CHAT_MEMORY_STORE names, with a short time limit, and changes nothing. On a DynamoDB table that is one query of \
the sessions without an owner, or with --owner of that owner's.

A script that was saved to a file may not fit another version of the program: print it again after an update.";

/// Print the script that lets a shell complete commands, options and session ids
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

pub fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let shell = match arguments.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    let program = std::env::args_os().next().unwrap_or_else(|| OsString::from("chat-memory"));
    let script = completion::script(shell, &program);
    app.out.bytes(&script.ok_or_else(|| Failure::other(format!("no completions for {shell}")))?)
}
