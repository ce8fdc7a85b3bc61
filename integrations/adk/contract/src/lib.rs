//! adk-rust's own contract tests, from the source of the `adk-session` that cargo has fetched, run on `chat-memory-adk`. There is
//! nothing here to use: `tests/contract.rs` is all of it.
