//! What is to be drawn.

use std::path::Path;

use serde_json::Value;

use crate::Result;

/// Leaves a drawing for `cargo xtask bench`, which makes `docs/NAME.svg` of it; run by hand, nothing is left.
pub fn keep(name: &str, drawing: &Value) -> Result {
    match std::env::var_os("CHAT_MEMORY_PLOTS") {
        Some(folder) => Ok(std::fs::write(Path::new(&folder).join(format!("{name}.json")), drawing.to_string())?),
        None => Ok(()),
    }
}
