//! Not for programs: what the tests of separate processes change in the library, in a process of their own. The clocks can be led, so
//! that hours pass in a moment, and a rule of the protocols can be taken out, so that it is seen what it is for.
//!
//! Both are set once for the whole process, and neither can be unset.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::OnceLock;

/// Bytes of the file that leads the clocks: how far ahead they go, in milliseconds, as an `i64` with the lowest byte first.
pub const CLOCK_BYTES: usize = 8;

struct Led {
    /// All processes of a test read one file, so that time passes for all of them at once, for those that are stopped as well.
    file: File,
    wrong_by_ms: i64,
}

static LED: OnceLock<Led> = OnceLock::new();
static TAKEN_OUT: OnceLock<String> = OnceLock::new();

/// From now on, this process's clocks go ahead by what this file says at each moment ([`CLOCK_BYTES`]); the wall clock is wrong by
/// `wrong_by_ms` besides. What the file says may only grow.
///
/// # Errors
/// Where the file cannot be opened, or the clocks are led already.
pub fn lead_clocks(file: &Path, wrong_by_ms: i64) -> io::Result<()> {
    let led = Led { file: File::open(file)?, wrong_by_ms };
    ahead_ms(&led)?;
    LED.set(led).map_err(|_| io::Error::other("the clocks of this process are led already"))
}

/// Takes this rule of the protocols out, by its name in docs/design.md, for instance `IdCheck`.
///
/// # Errors
/// Where one is out already. A name that no rule has takes nothing out.
pub fn take_out(rule: &str) -> io::Result<()> {
    TAKEN_OUT.set(rule.to_owned()).map_err(|_| io::Error::other("a rule is out already"))
}

/// The wall clock, as the library reads it in this process, in epoch milliseconds.
pub fn wall_ms() -> i64 {
    crate::backend::wall_ms()
}

fn ahead_ms(led: &Led) -> io::Result<i64> {
    let mut bytes = [0; CLOCK_BYTES];
    led.file.read_exact_at(&mut bytes, 0)?;
    Ok(i64::from_le_bytes(bytes))
}

/// How far the monotonic clock and the wall clock go ahead, in milliseconds.
pub(crate) fn clocks_ahead_ms() -> (u64, i64) {
    // The file was read before: one that is cut off meanwhile is a test gone wrong, whose times are then wrong, too.
    let Some((led, ahead)) = LED.get().and_then(|led| Some((led, ahead_ms(led).ok()?))) else { return (0, 0) };
    (u64::try_from(ahead).unwrap_or(0), ahead + led.wrong_by_ms)
}

/// Whether this rule is taken out.
pub fn is_out(rule: &dyn std::fmt::Debug) -> bool {
    TAKEN_OUT.get().is_some_and(|out| *out == format!("{rule:?}"))
}
