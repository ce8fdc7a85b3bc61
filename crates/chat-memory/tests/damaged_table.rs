//! A table, or a file, whose items were damaged in every way: the library says what is wrong with which session, or what is damaged does not
//! matter and all is there. It never panics, hangs, takes memory without bound, or shows a history shortened or altered.
#![cfg(all(feature = "dynamodb", feature = "sqlite"))]

mod damaged;
mod dynamodb;
mod list;
