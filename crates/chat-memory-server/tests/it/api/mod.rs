//! The HTTP API, called in this process on every kind of store: in memory, a SQLite file, DynamoDB Local.

mod appends;
mod client;
mod documents;
mod entries;
mod events;
mod exactness;
mod faults;
mod forks;
mod idempotency;
mod keys;
mod limits;
mod list;
mod metrics;
mod namespaces;
mod reads;
mod ready_store;
mod redactions;
mod refusals;
mod rewinds;
mod search;
mod sessions;
mod threads;
