//! How sessions are stored in a DynamoDB table, as chosen by URLs and options.

use std::fmt;

use chat_memory_core::backend::settings;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// LangChain.js and Flowise: attribute `messages`.
    Js,
    /// LangChain for Python: attribute `History`.
    Python,
}

impl Layout {
    /// Parses the setting's value.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        let expected = "turns (one item per record) or list (one item per session, as Flowise and LangChain store it)";
        settings::one_of(value, expected, &[("turns", Self::Turns), ("list", Self::List)])
    }
}

impl Dialect {
    /// Parses the setting's value.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        let expected = "js (LangChain.js, Flowise) or python (LangChain Python)";
        settings::one_of(value, expected, &[("js", Self::Js), ("python", Self::Python)])
    }
}

impl Roll {
    /// Parses the setting's value.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        if value == "off" {
            return Ok(Self::Off);
        }
        match settings::bytes(value) {
            Ok(bytes) if (MIN_ROLL_BYTES..=MAX_ROLL_BYTES).contains(&bytes) => Ok(Self::At(bytes)),
            _ => Err(format!("expected off, or a size from {MIN_ROLL_BYTES} to {MAX_ROLL_BYTES} bytes, such as 64KB")),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turns => "turns",
            Self::List => "list",
        })
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Js => "js",
            Self::Python => "python",
        })
    }
}

impl fmt::Display for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(bytes) => f.write_str(&settings::spell_bytes(*bytes)),
        }
    }
}
