//! The conformance suite: proves of a store what the contract promises.
