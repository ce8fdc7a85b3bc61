//! The originals that tests share tables with, at pinned versions: LangChain.js, Flowise's nodes, LangChain Python; and what is
//! only measured for comparison: Mastra's storage and LangGraph's saver. Each is installed into a folder of its own outside the
//! checkout, one per set of pins.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha512};

use crate::Result;
use crate::cache::{cache, kept};
use crate::npm::{self, Package};
use crate::{node, python};

/// Flowise's nodes and the part of its server that finds them, without their dependencies, which are hundreds of packages and
/// gigabytes. `tests/peers/flowise/package.json` names those that the tested nodes themselves require.
const FLOWISE: [Package; 2] = [
    Package {
        package: "flowise-components@3.1.4",
        sha512: "6dF7FKxZNMODqRf/pjlkWz9R2zsHvFkxIJJEsjopAU7hplY3dFVKOimD8TFMRx244hMjj3lfLgQaU1O5ZF5Fxg==",
        paths: &["package/package.json", "package/dist"],
        strip: 1,
    },
    Package {
        package: "flowise@3.1.4",
        sha512: "vzJwKmuFybms7XG5ZM8Ty6wOR7xjEiY3zpf9FwULr47D4B7zJBYxF7FSnZ4JkexsZwZPegcyRRHBJkpVAcvkwg==",
        paths: &["package/package.json", "package/dist/NodesPool.js"],
        strip: 1,
    },
];

/// One original: its name, its folder under `tests/peers`, the files that pin it, and how to install it.
struct Peer {
    name: &'static str,
    variable: &'static str,
    files: &'static [&'static str],
    install: fn(&Path) -> Result,
    /// What is unpacked in addition.
    alone: &'static [Package],
}

const PEERS: [Peer; 5] = [
    Peer {
        name: "js",
        variable: "CHAT_MEMORY_PEER_JS",
        files: &["package.json", "package-lock.json", "driver.mjs"],
        install: npm_install,
        alone: &[],
    },
    Peer {
        name: "flowise",
        variable: "CHAT_MEMORY_PEER_FLOWISE",
        files: &["package.json", "package-lock.json", "driver.cjs"],
        install: npm_install,
        alone: &FLOWISE,
    },
    Peer {
        name: "python",
        variable: "CHAT_MEMORY_PEER_PYTHON",
        files: &["requirements.txt", "driver.py"],
        install: |folder| python::install(folder, "LangChain Python"),
        alone: &[],
    },
    Peer {
        name: "mastra",
        variable: "CHAT_MEMORY_PEER_MASTRA",
        files: &["package.json", "package-lock.json", "driver.mjs"],
        install: npm_install,
        alone: &[],
    },
    Peer {
        name: "langgraph",
        variable: "CHAT_MEMORY_PEER_LANGGRAPH",
        files: &["requirements.txt", "driver.py"],
        install: |folder| python::install(folder, "langgraph-checkpoint-aws"),
        alone: &[],
    },
];

/// Flowise's whole server, which only `cargo xtask flowise` installs.
const FLOWISE_SERVER: Peer = Peer {
    name: "flowise-server",
    variable: "CHAT_MEMORY_FLOWISE",
    files: &["package.json", "package-lock.json"],
    install: |folder| {
        npm_install(folder)?;
        // Its database is the only part that must be compiled, or downloaded in compiled form.
        npm::rebuild(folder, "sqlite3")
    },
    alone: &[],
};

/// Installs Flowise's server if it is missing (some 2.5 GB); returns the variable that tells its test where.
pub fn flowise_server() -> Result<(&'static str, PathBuf)> {
    Ok((FLOWISE_SERVER.variable, FLOWISE_SERVER.folder()?))
}

/// Installs what is missing; returns the variables that tell tests where.
pub fn install() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut all = PEERS.iter().map(|peer| Ok((peer.variable, peer.folder()?))).collect::<Result<Vec<_>>>()?;
    // Mastra needs at least this version.
    all.push(("CHAT_MEMORY_NODE_24", node::runtime("v24")?));
    all.push(("CHAT_MEMORY_EMBEDDED", python_embedded()?));
    Ok(all)
}

/// The Python packages that the SQLite store is compared with.
pub fn python_embedded() -> Result<PathBuf> {
    python::packages("bench/embedded", "embedded")
}

impl Peer {
    fn folder(&self) -> Result<PathBuf> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers").join(self.name);
        let mut hash = Sha512::new();
        for file in self.files {
            let path = source.join(file);
            hash.update(std::fs::read(&path).map_err(|e| format!("{} cannot be read: {e}.", path.display()))?);
        }
        self.alone.iter().for_each(|alone| hash.update(alone.sha512));
        let short: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        kept(&cache()?, &format!("peer-{}-{short}", self.name), |folder| {
            for file in self.files {
                let copied = std::fs::copy(source.join(file), folder.join(file));
                copied.map_err(|e| format!("{file} cannot be copied to {}: {e}.", folder.display()))?;
            }
            (self.install)(folder)?;
            let unpack = |alone: &Package| alone.unpack_into(&folder.join("node_modules").join(alone.name()));
            self.alone.iter().try_for_each(unpack)
        })
    }
}

fn npm_install(folder: &Path) -> Result {
    npm::ci(folder, &["--omit=optional"])
}
