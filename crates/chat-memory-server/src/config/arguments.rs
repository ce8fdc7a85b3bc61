//! The command line with its environment variables: an empty one counts as unset, and an error names the one that the value came from.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory, Error, FromArgMatches};

/// Parses this process's command line and environment.
///
/// # Errors
/// Those of clap, among them the texts of `--help` and `--version`.
pub fn parse<C: CommandFactory + FromArgMatches>() -> Result<C, Error> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let mut command = without_empty_variables(C::command());
    let parsed = command.try_get_matches_from_mut(&arguments).and_then(|matches| C::from_arg_matches(&matches));
    parsed.map_err(|error| naming_the_variable(error, &command, &arguments))
}

/// A variable that a script or a container leaves empty is one that is not set.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
    command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg }).mut_subcommands(without_empty_variables)
}

/// clap names the flag also for a value of its variable.
fn naming_the_variable(mut error: Error, command: &Command, arguments: &[OsString]) -> Error {
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && let Some(arg) = find(command, flag)
        && let (Some(long), Some(variable)) = (arg.get_long(), arg.get_env())
        && !arguments.iter().any(|given| given.to_string_lossy().split('=').next() == Some(&format!("--{long}")))
    {
        let variable = variable.to_string_lossy().into_owned();
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    error
}

/// The argument with a variable that clap calls this, as in `--max-body <SIZE>`, in a command or one below it.
fn find<'a>(command: &'a Command, called: &str) -> Option<&'a Arg> {
    let name = called.split([' ', '=']).next().and_then(|flag| flag.strip_prefix("--"));
    let own = command.get_arguments().find(|arg| arg.get_env().is_some() && arg.get_long() == name);
    own.or_else(|| command.get_subcommands().find_map(|below| find(below, called)))
}
