//! Test support, not for applications: multi-process tests use it to change the library inside their own processes. They can
//! advance the clocks, so that hours pass in a moment, and disable a rule of the protocol, to show what it is for.
//!
//! Both are set once for the whole process and cannot be unset.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::OnceLock;

/// Size of the file that drives the clocks: how far they are ahead, in milliseconds, as a little-endian `i64`.
pub const CLOCK_BYTES: usize = 8;

struct Led {
    /// All processes of a test read one file, so that time passes for all of them at once, including stopped ones.
    file: File,
    wrong_by_ms: i64,
}

static LED: OnceLock<Led> = OnceLock::new();
static TAKEN_OUT: OnceLock<String> = OnceLock::new();

/// From now on, this process's clocks are ahead by what this file says at each moment ([`CLOCK_BYTES`]); the wall clock is off by
/// a further `wrong_by_ms`. The value in the file may only grow.
///
/// # Errors
/// If the file cannot be opened, or the clocks are already driven by a file.
pub fn lead_clocks(file: &Path, wrong_by_ms: i64) -> io::Result<()> {
    let led = Led { file: File::open(file)?, wrong_by_ms };
    ahead_ms(&led)?;
    LED.set(led).map_err(|_| io::Error::other("the clocks of this process are led already"))
}

/// Disables this rule of the protocol, by its name in docs/design.md, for instance `IdCheck`.
///
/// # Errors
/// If a rule is already disabled. An unknown name disables nothing.
pub fn take_out(rule: &str) -> io::Result<()> {
    TAKEN_OUT.set(rule.to_owned()).map_err(|_| io::Error::other("a rule is out already"))
}

fn ahead_ms(led: &Led) -> io::Result<i64> {
    let mut bytes = [0; CLOCK_BYTES];
    led.file.read_exact_at(&mut bytes, 0)?;
    Ok(i64::from_le_bytes(bytes))
}

/// Returns how far the monotonic clock and the wall clock are ahead, in milliseconds.
pub(crate) fn clocks_ahead_ms() -> (u64, i64) {
    // The file was readable before. If it is truncated in the meantime, the test is broken and its times are wrong, too.
    let Some((led, ahead)) = LED.get().and_then(|led| Some((led, ahead_ms(led).ok()?))) else { return (0, 0) };
    (u64::try_from(ahead).unwrap_or(0), ahead + led.wrong_by_ms)
}

/// Whether this rule is disabled.
pub fn is_out(rule: &dyn std::fmt::Debug) -> bool {
    TAKEN_OUT.get().is_some_and(|out| *out == format!("{rule:?}"))
}
