//! The tests of the library from outside, in one program: each module says what it proves. `secrets` and `peers` are programs of their own,
//! the one since it takes all that the process logs, the other since it needs other languages' packages.

#[cfg(feature = "conformance")]
mod broken;
mod data;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "dynamodb")]
mod list;

mod clocks;
mod conformance;
mod conformance_catches;
mod conformance_dynamodb;
mod conformance_list;
mod costs;
mod crashes;
mod damaged;
mod deadlines;
mod doubt;
mod format_1;
mod fuzz_targets;
mod iam;
mod large;
mod list_hidden;
mod list_layout;
mod processes;
mod real_data;
mod retention;
mod sqlite_failing_disk;
mod sqlite_processes;
mod tokens;
