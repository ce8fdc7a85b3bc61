//! The Java that runs DynamoDB Local.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::debian::{self, find_in_path};

/// The oldest Java that we run DynamoDB Local on.
const OLDEST: u32 = 17;
/// Debian's package of it, headless.
const DEBIAN_PACKAGE: &str = "openjdk-17-jre-headless";

/// Finds a Java that is new enough on this machine. If there is none, [installs](debian::install) one if allowed.
pub fn find_or_install() -> Result<PathBuf> {
    match find() {
        Ok(java) => Ok(java),
        Err(missing) => {
            let otherwise = format!("install a Java {OLDEST} or newer, or name one in JAVA_HOME");
            debian::install(&format!("{missing} DynamoDB Local needs it"), &[DEBIAN_PACKAGE], &otherwise)?;
            find().map_err(|missing| format!("{missing} Its installation did not bring it; name one in JAVA_HOME."))
        }
    }
}

/// Returns the first Java that is new enough: JAVA_HOME's, the one in PATH, or one of Debian's, which may not be in PATH. The error
/// lists what was found instead.
fn find() -> std::result::Result<PathBuf, String> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    candidates.extend(std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin").join("java")));
    candidates.extend(find_in_path("java"));
    let jvms = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    candidates.extend(jvms.map(|jvm| jvm.path().join("bin").join("java")));
    let mut too_old = Vec::new();
    for java in candidates.into_iter().filter(|java| java.is_file()) {
        match version(&java) {
            Some(version) if version >= OLDEST => return Ok(java),
            Some(version) => too_old.push(format!("{} is version {version}", java.display())),
            None => too_old.push(format!("{} does not say its version", java.display())),
        }
    }
    let found = if too_old.is_empty() { String::new() } else { format!(" ({})", too_old.join("; ")) };
    Err(format!("This machine has no Java {OLDEST} or newer{found}."))
}

fn version(java: &Path) -> Option<u32> {
    let output = Command::new(java).arg("-version").stdin(Stdio::null()).output().ok()?;
    // It writes its version to stderr.
    major_version(&String::from_utf8_lossy(&output.stderr))
}

/// The version in `openjdk version "17.0.15" 2025-04-15`, and 8 in the old style of `java version "1.8.0_292"`.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("version \"")?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_java_versions_are_parsed() {
        for (text, version) in [
            ("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime", Some(17)),
            ("openjdk version \"21\" 2023-09-19", Some(21)),
            ("openjdk version \"22-ea\" 2024-03-19", Some(22)),
            ("java version \"1.8.0_292\"", Some(8)),
            ("No Java runtime present, requesting install.", None),
            ("version \"", None),
        ] {
            assert_eq!(major_version(text), version, "{text}");
        }
    }
}
