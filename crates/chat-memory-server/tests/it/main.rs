//! The tests of the service, in one program; each module states what it tests. `secrets` is a program of its own, because it captures
//! everything that the process logs.

mod console_client;

mod api;
mod console;
mod console_offers;
mod deploying;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "lambda")]
mod lambda_runtime;
mod walls;
