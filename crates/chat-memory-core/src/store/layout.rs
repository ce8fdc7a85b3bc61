//! How sessions lie in a DynamoDB table, as URLs and options say it.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// From which size on a session's item is rolled in the `list` layout, in bytes: 64 KB.
pub const DEFAULT_ROLL_BYTES: usize = 64_000;

/// The smallest size from which on an item may be rolled. Below it, most of an item would be what we add to it.
pub const MIN_ROLL_BYTES: usize = 4_000;

/// The largest: an item must hold what is appended next, too, and has 400 KB at most.
pub const MAX_ROLL_BYTES: usize = 380_000;

/// How sessions lie in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One item a record: ours, for a table with a sort key.
    Turns,
    /// One item a session: Flowise's and LangChain's.
    List,
}

/// From which size on the older part of a session moves out of its item, in the `list` layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roll {
    /// Never: the item grows until DynamoDB's limit of 400 KB ends the session.
    Off,
    /// From so many bytes on.
    At(usize),
}

/// In whose form a session's list is, in the `list` layout.
///
/// ```
/// use chat_memory::store::url::{Dialect, StoreUrl};
/// let url: StoreUrl = "dynamodb://chats?layout=list&dialect=python".parse()?;
/// let StoreUrl::DynamoDb(url) = url else { unreachable!() };
/// assert_eq!(url.dialect, Some(Dialect::Python));
/// # Ok::<(), chat_memory::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// LangChain.js's and Flowise's: attribute `messages`.
    Js,
    /// LangChain Python's: attribute `History`.
    Python,
}

/// Gives an enum its names, in both directions.
macro_rules! named {
    ($type:ident, $what:literal, $($name:literal => $value:ident),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self, Error> {
                match name {
                    $($name => Ok(Self::$value),)+
                    other => Err(Error::invalid(format!("it is {}, not {other:?}", $what))),
                }
            }
        }
    };
}

named!(Layout, "turns (one item a record) or list (one item a session, as Flowise and LangChain make it)", "turns" => Turns, "list" => List);
named!(Dialect, "js (LangChain.js, Flowise) or python (LangChain Python)", "js" => Js, "python" => Python);
