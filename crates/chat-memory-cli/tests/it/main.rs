//! The tests of the program, in one binary: each module states what it tests. They start the program itself, as a user does.

mod common;

mod bad_input;
mod chat;
#[cfg(target_os = "linux")]
mod chat_terminal;
mod commands;
mod completions;
mod crashes;
mod deploy;
mod doctor;
mod dry_runs;
mod dynamodb;
mod entries;
mod forks;
mod imports;
mod migrate;
#[cfg(target_os = "linux")]
mod pager;
mod readme;
mod redact;
mod remarks;
mod replicas;
mod search;
mod secrets;
mod serve;
mod threads;
mod transfer;
