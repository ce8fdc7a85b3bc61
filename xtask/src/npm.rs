//! npm packages, each pinned by version and file checksum.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256, Sha512};

use crate::Result;

/// A package that is unpacked as it is, without its dependencies.
pub struct Package {
    /// Its name and version: `name@1.2.3`.
    pub package: &'static str,
    /// The SHA-512 of its file, in npm's notation.
    pub sha512: &'static str,
    /// What to unpack, and how many leading folders to strip.
    pub paths: &'static [&'static str],
    pub strip: usize,
}

impl Package {
    /// The name without the version.
    pub fn name(&self) -> &str {
        self.package.rsplit_once('@').map_or(self.package, |(name, _)| name)
    }

    /// The checksum's first digits, for a folder's name.
    pub fn short(&self) -> Result<String> {
        let digest = BASE64.decode(self.sha512).map_err(|e| format!("the checksum of {} is no base64: {e}.", self.package))?;
        Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Downloads the package, verifies it, and unpacks it into this folder.
    pub fn unpack_into(&self, folder: &Path) -> Result {
        self.unpack_from(folder, pack)
    }

    /// The same with another way to download it.
    pub fn unpack_from(&self, folder: &Path, fetch: impl FnOnce(&Path, &str) -> Result<PathBuf>) -> Result {
        let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempdir_in(folder));
        let temporary = made.map_err(|e| format!("no folder could be made in {}: {e}.", folder.display()))?;
        let tarball = fetch(temporary.path(), self.package)?;
        self.check(&tarball)?;
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(&tarball).arg("-C").arg(folder).arg(format!("--strip-components={}", self.strip));
        run(tar.args(self.paths))
    }

    /// Refuses a file that differs from the one whose checksum was recorded.
    fn check(&self, tarball: &Path) -> Result {
        let bytes = std::fs::read(tarball).map_err(|e| format!("{} cannot be read: {e}.", tarball.display()))?;
        let (found, Self { package, sha512, .. }) = (BASE64.encode(Sha512::digest(&bytes)), self);
        if found == *sha512 {
            return Ok(());
        }
        Err(format!(
            "what npm fetched as {package} is not what it was: its SHA-512 is {found} and should be {sha512}. Nothing of it was \
            unpacked. Look at the registry or the proxy that npm uses."
        ))
    }
}

/// Downloads a package's file into this folder.
fn pack(folder: &Path, package: &str) -> Result<PathBuf> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--ignore-scripts", "--silent", "--pack-destination", "."]).arg(package).current_dir(folder);
    run(&mut npm).map_err(|e| format!("{e} Fetching {package} needs Node's npm and the npm registry."))?;
    let files = std::fs::read_dir(folder).map_err(|e| format!("{} cannot be read: {e}.", folder.display()))?;
    let mut files = files.filter_map(|file| Some(file.ok()?.path()));
    let tarball = files.find(|file| file.extension().is_some_and(|extension| extension == "tgz"));
    tarball.ok_or_else(|| format!("npm fetched {package} but left no .tgz file; is this npm version known to work?"))
}

/// Installs what a folder's package-lock.json pins. The packages' own scripts are not run.
pub fn ci(folder: &Path, more: &[&str]) -> Result {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).args(more);
    run(npm.current_dir(folder)).map_err(|e| format!("{e} It needs Node 20 or newer with npm."))
}

/// The same, unless it is done already for this package-lock.json. `shown` names the folder.
pub fn ci_once(folder: &Path, shown: &str) -> Result {
    let (lock, modules) = (folder.join("package-lock.json"), folder.join("node_modules"));
    let stamp = modules.join(".installed");
    let bytes = std::fs::read(&lock).map_err(|e| format!("{} cannot be read: {e}.", lock.display()))?;
    let wanted = format!("{:x}", Sha256::digest(&bytes));
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    println!("$ npm ci (in {shown})");
    ci(folder, &["--prefer-offline"])?;
    std::fs::write(&stamp, wanted).map_err(|e| format!("{} cannot be written: {e}.", stamp.display()))
}

/// Runs the install script of one installed package, for instance to compile its addon.
pub fn rebuild(folder: &Path, package: &str) -> Result {
    let mut npm = Command::new("npm");
    npm.args(["rebuild", package, "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
    run(&mut npm).map_err(|e| format!("{e} Compiling {package} needs Python 3, make and a C++ compiler."))
}

/// Runs a program to its end; shows its output only if it fails.
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
    fn file_with_another_checksum_is_refused_and_removed() {
        let package = Package { package: "some@1.0.0", sha512: "c2hhNTEy", paths: &["package"], strip: 1 };
        let folder = tempfile::tempdir().expect("a folder");
        let fetch = |folder: &Path, _: &str| {
            let path = folder.join("some.tgz");
            std::fs::write(&path, b"something else").expect("a file");
            Ok(path)
        };
        let error = package.unpack_from(folder.path(), fetch).expect_err("the wrong file");
        assert!(error.contains("some@1.0.0 is not what it was") && error.contains("c2hhNTEy"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }

    #[test]
    fn package_name_excludes_its_version() {
        let package = Package { package: "@scope/some@1.0.0", sha512: "AAECAwQFBgcICQ==", paths: &[], strip: 0 };
        assert_eq!((package.name(), package.short()), ("@scope/some", Ok("0001020304050607".to_owned())));
    }
}
