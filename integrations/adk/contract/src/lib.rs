//! Runs adk-rust's own contract tests, from cargo's copy of the `adk-session` source, on `chat-memory-adk`. The crate has no API:
//! `tests/contract.rs` is all of it.
