//! The originals that tests share tables with, at pinned versions: LangChain.js, Flowise's node, LangChain Python. Each is installed
//! into a folder of its own outside the checkout, once for each set of pins.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha512};

use crate::Result;
use crate::emulator::package::{cache, fetch_npm, run};

/// Flowise's node comes without the hundreds of packages that all of Flowise needs: `tests/peers/flowise/package.json` names those
/// that the node itself requires.
const FLOWISE: &str = "flowise-components@3.1.4";
const FLOWISE_SHA512: &str = "6dF7FKxZNMODqRf/pjlkWz9R2zsHvFkxIJJEsjopAU7hplY3dFVKOimD8TFMRx244hMjj3lfLgQaU1O5ZF5Fxg==";

/// One original: its name, its folder under `tests/peers`, the files that pin it, and how it is installed.
struct Peer {
    name: &'static str,
    variable: &'static str,
    files: &'static [&'static str],
    install: fn(&Path) -> Result,
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "js",
        variable: "CHAT_MEMORY_PEER_JS",
        files: &["package.json", "package-lock.json", "driver.mjs"],
        install: |folder| npm(folder),
    },
    Peer {
        name: "flowise",
        variable: "CHAT_MEMORY_PEER_FLOWISE",
        files: &["package.json", "package-lock.json", "driver.cjs"],
        install: |folder| {
            npm(folder)?;
            let tarball = fetch_npm(folder, FLOWISE, FLOWISE_SHA512)?;
            let inside = folder.join("node_modules").join("flowise-components");
            std::fs::create_dir_all(&inside).map_err(|e| format!("{} cannot be made: {e}.", inside.display()))?;
            let mut tar = Command::new("tar");
            tar.arg("-xzf").arg(&tarball).arg("-C").arg(&inside).args([
                "--strip-components=1",
                "package/package.json",
                "package/dist",
            ]);
            run(&mut tar)
        },
    },
    Peer {
        name: "python",
        variable: "CHAT_MEMORY_PEER_PYTHON",
        files: &["requirements.txt", "driver.py"],
        // Into a folder rather than an environment of its own: what makes those is not part of every Python.
        install: |folder| {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", "packages"]);
            pip.args(["-r", "requirements.txt"]).current_dir(folder);
            run(&mut pip).map_err(|e| format!("{e} LangChain Python needs Python 3.10 or newer with pip."))
        },
    },
];

/// Installs what is not there yet; the variables that tell tests where.
pub fn install() -> Result<Vec<(&'static str, PathBuf)>> {
    PEERS.iter().map(|peer| Ok((peer.variable, peer.folder()?))).collect()
}

impl Peer {
    fn folder(&self) -> Result<PathBuf> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers").join(self.name);
        let mut hash = Sha512::new();
        for file in self.files {
            let path = source.join(file);
            hash.update(std::fs::read(&path).map_err(|e| format!("{} cannot be read: {e}.", path.display()))?);
        }
        hash.update(FLOWISE_SHA512);
        let short: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let cache = cache()?;
        let folder = cache.join(format!("peer-{}-{short}", self.name));
        if folder.is_dir() {
            return Ok(folder);
        }
        println!("installing the peer {} (once for this machine)", self.name);
        let make =
            std::fs::create_dir_all(&cache).and_then(|()| tempfile::Builder::new().prefix("installing-").tempdir_in(&cache));
        let temporary = make.map_err(|e| {
            format!("no folder could be made in {}: {e}. Name a folder to write to in CHAT_MEMORY_CACHE.", cache.display())
        })?;
        for file in self.files {
            let copied = std::fs::copy(source.join(file), temporary.path().join(file));
            copied.map_err(|e| format!("{file} cannot be copied to {}: {e}.", temporary.path().display()))?;
        }
        (self.install)(temporary.path())?;
        // One rename, so that the folder is whole or not there. Where another run was faster, its folder is as good.
        match std::fs::rename(temporary.path(), &folder) {
            Err(e) if !folder.is_dir() => Err(format!("the peer {} could not be moved to {}: {e}.", self.name, folder.display())),
            _ => Ok(folder),
        }
    }
}

fn npm(folder: &Path) -> Result {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", "--loglevel=error"]);
    run(npm.current_dir(folder)).map_err(|e| format!("{e} The peers in JavaScript need Node 20 or newer with npm."))
}
