//! The tests of the torture, in one program; each module states what it tests.

mod checker;
mod rules;
mod schedules;
