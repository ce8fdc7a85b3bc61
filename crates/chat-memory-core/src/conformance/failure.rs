//! Why a case failed.

use std::fmt;
use std::panic::Location;

use tokio::task::{JoinError, JoinHandle};

use crate::error::Error;

/// Why a case failed: the cause, and the line of the suite that found it.
#[derive(Debug)]
pub struct Failure {
    what: String,
    at: &'static Location<'static>,
}

impl Failure {
    #[track_caller]
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), at: Location::caller() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.what, self.at.file(), self.at.line())
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(format!("the store returned an error: {error} ({:?})", error.kind()))
    }
}

/// The failure of a task that panicked.
#[track_caller]
pub(super) fn of_join(error: JoinError) -> Failure {
    let said = error.try_into_panic().ok().and_then(|panic| {
        panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
    });
    Failure::new(format!("the store panicked: {}", said.as_deref().unwrap_or("(no message)")))
}

/// Waits for all tasks and returns their results.
pub(super) fn all<T, I>(tasks: I) -> impl Future<Output = Result<Vec<T>, Failure>> + use<T, I>
where
    I: IntoIterator<Item = JoinHandle<Result<T, Failure>>>,
{
    // All tasks start before the first is awaited.
    let tasks: Vec<_> = tasks.into_iter().collect();
    async move {
        let mut given = Vec::new();
        for task in tasks {
            given.push(task.await.map_err(of_join)??);
        }
        Ok(given)
    }
}

/// Ends the case with a failure unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::conformance::Failure::new(format!($($what)+)));
        }
    };
}

/// Ends the case with a failure unless both are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($what:tt)+) => {
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => {
                let (what, got, not) = (format!($($what)+), format!("{left:?}"), format!("{right:?}"));
                return Err($crate::conformance::failure::unequal(&what, &got, &not));
            }
        }
    };
}

/// Ends the case with a failure unless it is an error of this kind; returns the error.
macro_rules! ensure_err {
    ($result:expr, $kind:ident, $($what:tt)+) => {
        match $result {
            Err(error) if error.kind() == $crate::ErrorKind::$kind => error,
            Err(error) => {
                let (what, kind) = (format!($($what)+), error.kind());
                let must = stringify!($kind);
                return Err($crate::conformance::Failure::new(format!("{what}: the error is {kind:?}, not {must}: {error}")));
            }
            Ok(_) => {
                let (what, must) = (format!($($what)+), stringify!($kind));
                return Err($crate::conformance::Failure::new(format!("{what}: it must be refused ({must}), and was not")));
            }
        }
    };
}

/// The failure for two values that should be equal; long ones (a message of a megabyte) are shown from where they differ.
#[track_caller]
pub(super) fn unequal(what: &str, got: &str, not: &str) -> Failure {
    let part = got.bytes().zip(not.bytes()).position(|(a, b)| a != b).unwrap_or(got.len().min(not.len()));
    let from = if got.len().max(not.len()) > 800 { part.saturating_sub(100) } else { 0 };
    let show = |text: &str| {
        let text: String = text.bytes().skip(from).take(800).map(|b| if b.is_ascii() { b as char } else { '?' }).collect();
        if from > 0 { format!("…{text}") } else { text }
    };
    Failure::new(format!("{what}\n   got: {}\n  want: {}", show(got), show(not)))
}
