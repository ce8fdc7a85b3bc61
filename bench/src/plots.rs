//! Data for plots.

use std::path::Path;

use serde_json::Value;

use crate::Result;

/// Writes a plot's data for `cargo xtask bench`, which draws `docs/NAME.svg` from it. Does nothing when run by hand.
pub fn keep(name: &str, drawing: &Value) -> Result {
    match std::env::var_os("CHAT_MEMORY_PLOTS") {
        Some(folder) => Ok(std::fs::write(Path::new(&folder).join(format!("{name}.json")), drawing.to_string())?),
        None => Ok(()),
    }
}
