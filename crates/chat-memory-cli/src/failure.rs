//! How a command fails, and its exit code.

use std::io;

use chat_memory::Error;
use serde_json::{Value, json};

/// The exit codes; 0 is success.
pub const FAILED: u8 = 1;
/// Usage error.
pub const USAGE: u8 = 2;
/// The session was modified in the meantime.
pub const CONFLICT: u8 = 3;
/// Ended by Ctrl-C: 128 plus the signal's number, as in shells.
pub const INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// An error from the library.
    Store(Error),
    /// A usage error, in one sentence.
    Usage(String),
    /// Anything else, in one sentence.
    Other(String),
    /// Ctrl-C, in one sentence that says what became of the work.
    Interrupted(String),
    /// The error is already printed; only the exit code is left.
    Printed(u8),
    /// The reader of our output is gone, so there is nothing left to do.
    Closed,
}

impl Failure {
    /// A usage error.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::Usage(sentence.into())
    }

    /// A failure that the library has no error for.
    pub fn other(sentence: impl Into<String>) -> Self {
        Self::Other(sentence.into())
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Store(error) if error.is_conflict() => CONFLICT,
            Self::Store(_) | Self::Other(_) => FAILED,
            Self::Usage(_) => USAGE,
            Self::Interrupted(_) => INTERRUPTED,
            Self::Printed(code) => *code,
            Self::Closed => 0,
        }
    }

    /// The sentence for standard error.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::Store(error) => Some(error.to_string()),
            Self::Usage(sentence) | Self::Other(sentence) | Self::Interrupted(sentence) => Some(sentence.clone()),
            Self::Printed(_) | Self::Closed => None,
        }
    }

    /// The same for a program, with `--json`.
    pub fn to_json(&self) -> Option<Value> {
        let mut error = json!({ "kind": self.kind(), "message": self.sentence()? });
        if let Self::Store(of) = self {
            if let Some(actual) = of.actual() {
                error["actual"] = actual.to_string().into();
            }
            if let Some(ticket) = of.ticket() {
                error["ticket"] = ticket.to_string().into();
            }
            error["retryable"] = of.is_retryable().into();
        }
        Some(json!({ "error": error }))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Store(error) => error.kind().as_str(),
            Self::Usage(_) => "usage",
            Self::Interrupted(_) => "interrupted",
            _ => "failed",
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Failure {
    /// For failures of standard output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::other(format!("standard output cannot be written: {error}"))
        }
    }
}

/// For invalid values on the command line.
pub trait OnCommandLine<T> {
    /// The same, as a usage error.
    fn on_command_line(self) -> Result<T, Failure>;
}

impl<T, E: ToString> OnCommandLine<T> for Result<T, E> {
    fn on_command_line(self) -> Result<T, Failure> {
        self.map_err(|e| Failure::usage(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_memory::ErrorKind;

    #[test]
    fn each_kind_of_error_has_an_exit_code_and_a_name() {
        for kind in ErrorKind::ALL {
            let failure = Failure::from(Error::new(*kind, "no"));
            let code = if *kind == ErrorKind::Conflict { CONFLICT } else { FAILED };
            assert_eq!((failure.code(), failure.kind()), (code, kind.as_str()));
            assert_eq!(failure.to_json().expect("it is printed")["error"]["kind"], kind.as_str());
        }
    }

    #[test]
    fn closed_pipe_exits_with_zero() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).code(), 0);
        assert_eq!(Failure::from(io::Error::other("full")).code(), FAILED);
    }
}
