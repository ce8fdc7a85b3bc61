//! What is downloaded and installed once per machine, outside the checkout.

use std::path::{Path, PathBuf};

use crate::Result;

/// The folder of this machine for what can be downloaded again.
pub fn cache() -> Result<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = var("CHAT_MEMORY_CACHE")
        .or_else(|| Some(var("XDG_CACHE_HOME").filter(|path| path.is_absolute())?.join("chat-memory")))
        .or_else(|| Some(var("HOME")?.join(".cache").join("chat-memory")));
    let cache = cache.ok_or("no place to keep what is fetched: set CHAT_MEMORY_CACHE to a folder.")?;
    std::path::absolute(&cache).map_err(|e| format!("{} is no usable path: {e}.", cache.display()))
}

/// Returns the folder of this name in `cache`; `make` creates it if it is missing. The name must identify the content: another
/// version then gets another folder, and an old checkout still finds its own.
pub fn kept(cache: &Path, name: &str, make: impl FnOnce(&Path) -> Result) -> Result<PathBuf> {
    let folder = cache.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    println!("installing {name} (once for this machine)");
    let made = std::fs::create_dir_all(cache).and_then(|()| tempfile::Builder::new().prefix("installing-").tempdir_in(cache));
    let temporary = made.map_err(|e| {
        format!("no folder could be made in {}: {e}. Name a folder to write to in CHAT_MEMORY_CACHE.", cache.display())
    })?;
    make(temporary.path())?;
    // One rename, so the folder is complete or absent. If another run was faster, its folder is just as good.
    match std::fs::rename(temporary.path(), &folder) {
        Err(e) if !folder.is_dir() => Err(format!("{name} could not be moved to {}: {e}.", folder.display())),
        _ => Ok(folder),
    }
}
