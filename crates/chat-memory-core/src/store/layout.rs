//! How sessions are stored in a DynamoDB table, as chosen by URLs and options.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Default item size above which older records move to a segment in the `list` layout, in bytes: 64 KB.
pub const DEFAULT_ROLL_BYTES: usize = 64_000;

/// The smallest item size from which older records may move. Below it, our own attributes would be most of the item.
pub const MIN_ROLL_BYTES: usize = 4_000;

/// The largest such size: an item is at most 400 KB and must have room for the next append.
pub const MAX_ROLL_BYTES: usize = 380_000;

/// How sessions are stored in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One item per record: our own format, for a table with a sort key.
    Turns,
    /// One item per session: the format of Flowise and LangChain.
    List,
}

/// Item size above which older records of a session move to a segment, in the `list` layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roll {
    /// Never: the session can grow up to DynamoDB's limit of 400 KB per item.
    Off,
    /// From this size on, in bytes.
    At(usize),
}

/// Whose format a session's list uses, in the `list` layout.
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
    /// LangChain.js and Flowise: attribute `messages`.
    Js,
    /// LangChain for Python: attribute `History`.
    Python,
}

/// Gives each variant of an enum a name, and parses it back.
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
