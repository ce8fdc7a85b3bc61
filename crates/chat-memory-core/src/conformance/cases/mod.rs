//! The cases, by what they are about.

use super::Case;

/// Makes the list of a module's cases: the function, what it needs, and the promise that it proves.
macro_rules! cases {
    ($($name:ident $([$needs:ident])?: $proves:literal,)*) => {
        pub(super) const CASES: &[$crate::conformance::Case] = &[$(
            $crate::conformance::Case {
                name: stringify!($name),
                proves: $proves,
                needs: cases!(@needs $($needs)?),
                run: |trial| Box::pin($name(trial)),
            },
        )*];
    };
    (@needs) => { None };
    (@needs $needs:ident) => { Some($crate::conformance::Capability::$needs) };
}

mod append;
mod clear;
mod concurrency;
mod cost;
mod delete;
mod directory;
mod exact;
mod input;
mod key;
mod page;
mod position;
mod random;
mod rewind;
mod ticket;
mod window;

pub(super) const ALL: &[&[Case]] = &[
    append::CASES,
    concurrency::CASES,
    position::CASES,
    key::CASES,
    ticket::CASES,
    rewind::CASES,
    clear::CASES,
    exact::CASES,
    window::CASES,
    page::CASES,
    random::CASES,
    cost::CASES,
    directory::CASES,
    delete::CASES,
    input::CASES,
];
