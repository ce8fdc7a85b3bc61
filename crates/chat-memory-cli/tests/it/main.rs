//! The tests of the program, in one binary: each module states what it tests. They start the program itself, as a user does.

mod common;

mod bad_input;
mod chat;
mod commands;
mod completions;
mod crashes;
mod deploy;
mod dynamodb;
mod entries;
mod imports;
mod migrate;
mod readme;
mod replicas;
mod search;
mod secrets;
mod serve;
mod threads;
mod transfer;
