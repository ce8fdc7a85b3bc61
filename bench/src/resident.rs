//! The memory that a process uses.

use std::process::Command;

use crate::Result;

/// Bytes of the process's memory that are in RAM (RSS).
pub fn resident(id: u32) -> Result<u64> {
    let kilobytes: u64 = if cfg!(target_os = "linux") {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the system does not say VmRSS")?;
        line.trim().trim_end_matches(" kB").parse()?
    } else {
        let said = Command::new("ps").args(["-o", "rss=", "-p", &id.to_string()]).output()?;
        String::from_utf8(said.stdout)?.trim().parse()?
    };
    Ok(kilobytes * 1024)
}
