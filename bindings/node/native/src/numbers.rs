//! Integers that a JavaScript number cannot hold. They cross the interface as marked strings, and become a `BigInt` in JavaScript.

use std::io::{Result, Write};
use std::sync::OnceLock;

use serde_json::ser::{CompactFormatter, Formatter};

/// The largest integer up to which a JavaScript number holds every integer (`Number.MAX_SAFE_INTEGER`).
const MAX_SAFE: u64 = (1 << 53) - 1;

/// The mark of this load of the addon: 128 random bits, so that no text contains it by chance or by design.
pub fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!("{:032x}:", fastrand::Rng::new().u128(..)))
}

/// Compact JSON in which each integer beyond [`MAX_SAFE`] is a marked string.
pub struct Marked;

impl Formatter for Marked {
    fn write_u64<W: ?Sized + Write>(&mut self, writer: &mut W, n: u64) -> Result<()> {
        if n > MAX_SAFE { write!(writer, "\"{}{n}\"", mark()) } else { CompactFormatter.write_u64(writer, n) }
    }

    fn write_i64<W: ?Sized + Write>(&mut self, writer: &mut W, n: i64) -> Result<()> {
        if n.unsigned_abs() > MAX_SAFE { write!(writer, "\"{}{n}\"", mark()) } else { CompactFormatter.write_i64(writer, n) }
    }
}
