//! Integration tests of the library, in one program; each module states what it tests. `secrets` and `peers` are separate
//! programs: the first because it captures everything that the process logs, the second because it needs other languages'
//! packages.

#[cfg(feature = "conformance")]
mod broken;
mod data;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "dynamodb")]
mod list;
#[cfg(any(feature = "dynamodb", all(feature = "sqlite", unix)))]
mod thread;

mod checkpoints;
mod clocks;
mod conformance;
mod conformance_catches;
mod conformance_dynamodb;
mod conformance_list;
mod contents;
mod costs;
mod costs_list;
mod crashes;
mod damaged;
mod deadlines;
mod doubt;
mod forks;
mod format_1;
mod format_2;
mod fuzz_targets;
mod iam;
mod kinds;
mod large;
mod list_format_1;
#[cfg(feature = "dynamodb")]
mod list_hidden;
mod list_layout;
mod processes;
mod real_data;
mod redactions;
mod retention;
mod sqlite_checkpoints;
mod sqlite_failing_disk;
mod sqlite_processes;
mod tokens;
