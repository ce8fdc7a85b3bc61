//! SBOMs of the programs in CycloneDX: cargo-cyclonedx writes them, and they are reduced to what cargo builds in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::cargo::{cargo, metadata, root, run, target};
use crate::supply::Tool;

const CYCLONEDX: Tool = Tool::new("cargo-cyclonedx", "0.5.9");

/// A program, or a library that another program loads.
struct Product {
    /// The name of its file in `target/sbom`.
    name: &'static str,
    package: &'static str,
    features: &'static str,
    /// The file that cargo-cyclonedx writes next to the package's manifest.
    written: &'static str,
}

const PRODUCTS: [Product; 4] = [
    Product { name: "chat-memory", package: "chat-memory-cli", features: "", written: "chat-memory_bin.cdx.json" },
    Product {
        name: "chat-memory-lambda",
        package: "chat-memory-server",
        features: "lambda",
        written: "chat-memory-lambda_bin.cdx.json",
    },
    Product { name: "chat-memory-node", package: "chat-memory-node", features: "", written: "chat_memory_node_cdylib.cdx.json" },
    Product {
        name: "chat-memory-python",
        package: "chat-memory-python",
        features: "",
        written: "chat_memory_python_cdylib.cdx.json",
    },
];

/// Writes a file for each product into `target/sbom`, for builds for this target (this machine's by default).
pub fn write(triple: Option<&str>) -> Result {
    let folder = target().join("sbom");
    std::fs::create_dir_all(&folder).map_err(|e| format!("the folder {} could not be made: {e}.", folder.display()))?;
    for (product, text) in PRODUCTS.iter().zip(make(triple)?) {
        let path = folder.join(format!("{}.cdx.json", product.name));
        std::fs::write(&path, text).map_err(|e| format!("{} cannot be written: {e}.", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Generates them twice: both must be identical to the byte.
pub fn check() -> Result {
    if make(None)? == make(None)? {
        return Ok(());
    }
    Err("the second SBOM of the same commit is not the first one.".into())
}

/// Generates the products' files.
fn make(triple: Option<&str>) -> Result<Vec<String>> {
    let host = host()?;
    let triple = triple.unwrap_or(&host);
    let metadata = metadata("--all-features --no-deps")?;
    let packages: Vec<_> = metadata["packages"].as_array().into_iter().flatten().collect();
    let folders = packages.iter().filter_map(|package| Path::new(package["manifest_path"].as_str()?).parent());
    let folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
    let written = cyclonedx(triple);
    // It writes next to every manifest of the workspace, even when it fails half-way.
    let files = taken(&folders)?;
    written?;
    PRODUCTS.iter().map(|product| product.cut(triple, &files)).collect()
}

/// Writes files for all programs of the workspace, with everything that any feature adds.
fn cyclonedx(triple: &str) -> Result {
    let mut write = Command::new(CYCLONEDX.program()?);
    write.args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries", "--all-features"]);
    write.args(["--target", triple]).current_dir(root()).env("SOURCE_DATE_EPOCH", commit_time()?);
    run(&mut write)
}

/// Returns the files written in these folders, by name, and removes them.
fn taken(folders: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).map_err(|e| format!("{} cannot be read: {e}.", folder.display()))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.ends_with(".cdx.json") {
                let text = std::fs::read_to_string(&path).and_then(|text| std::fs::remove_file(&path).map(|()| text));
                files.push((name, text.map_err(|e| format!("{} cannot be taken away: {e}.", path.display()))?));
            }
        }
    }
    Ok(files)
}

impl Product {
    /// Returns its file without what only other programs of the workspace need.
    fn cut(&self, triple: &str, files: &[(String, String)]) -> Result<String> {
        let Self { name, written, .. } = self;
        let text = files.iter().find_map(|(found, text)| (found == written).then_some(text));
        let text = text.ok_or_else(|| format!("cargo-cyclonedx wrote no {written}."))?;
        // Remove the checkout's path: it is private, and files from another checkout must be identical.
        let text = text.replace(&format!("path+file://{}", root().display()), "path+file://");
        let mut sbom: Value = serde_json::from_str(&text).map_err(|e| format!("{written} is no JSON: {e}."))?;
        let mut wanted = self.tree(triple)?;
        cut(&mut sbom, &mut wanted).map_err(|e| format!("the SBOM of {name} is not whole: {e}."))?;
        let text = serde_json::to_string_pretty(&sbom).map_err(|e| format!("the SBOM of {name} cannot be written: {e}."))?;
        Ok(text + "\n")
    }

    /// The names and versions of all crates that cargo builds into it or builds it with. `cargo metadata`, which cargo-cyclonedx
    /// uses, unifies the features of all members; this counts only the product's own.
    fn tree(&self, triple: &str) -> Result<BTreeSet<(String, String)>> {
        let mut tree = cargo("tree --locked --edges normal,build --prefix none --format");
        tree.args(["{p}", "--package", self.package, "--features", self.features, "--target", triple]);
        let output = tree.output().map_err(|e| format!("cargo could not be run: {e}."))?;
        if !output.status.success() {
            return Err(format!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let lines = String::from_utf8_lossy(&output.stdout);
        let crates = lines.lines().filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
        });
        // The product itself is the file's subject, not one of its components.
        Ok(crates.filter(|(name, _)| name != self.package).collect())
    }
}

/// Keeps only the wanted crates, and checks that each is present and described.
fn cut(sbom: &mut Value, wanted: &mut BTreeSet<(String, String)>) -> Result {
    let name = |component: &Value| {
        let text = |name| component[name].as_str().unwrap_or_default().to_owned();
        (text("name"), text("version"))
    };
    let components = sbom["components"].as_array_mut().ok_or("it has no components")?;
    components.retain(|component| wanted.contains(&name(component)));
    let mut refs = BTreeSet::new();
    for component in components.iter() {
        let (name, version) = name(component);
        let reference = component["bom-ref"].as_str().unwrap_or_default();
        // Crates from crates.io have a checksum there; our own crates have a path.
        let own = reference.starts_with("path+file://");
        let needed = ["purl", "licenses", "hashes"].iter().filter(|field| !(own && **field == "hashes"));
        if let Some(lacking) = needed.into_iter().find(|field| component[**field].is_null()) {
            return Err(format!("{name} {version} has no {lacking}"));
        }
        refs.insert(reference.to_owned());
        wanted.remove(&(name, version));
    }
    if let Some((name, version)) = wanted.first() {
        return Err(format!("{name} {version} is built in, and not a component"));
    }
    let own = sbom["metadata"]["component"]["bom-ref"].as_str().ok_or("it does not say of what it is")?;
    refs.insert(own.to_owned());
    let kept = |value: &Value| value.as_str().is_some_and(|reference| refs.contains(reference));
    let dependencies = sbom["dependencies"].as_array_mut().ok_or("it has no dependencies")?;
    dependencies.retain(|dependency| kept(&dependency["ref"]));
    let lists = dependencies.iter_mut().filter_map(|dependency| dependency.get_mut("dependsOn")?.as_array_mut());
    lists.for_each(|list| list.retain(kept));
    Ok(())
}

/// The file's time: the commit's, in seconds since 1970, or SOURCE_DATE_EPOCH if set.
fn commit_time() -> Result<String> {
    if let Ok(time) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(time);
    }
    let output = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()).output();
    let output = output.map_err(|e| format!("git could not be started: {e}."))?;
    let time = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if time.is_empty() {
        return Err("this is no checkout of a commit, so its time is not known: set SOURCE_DATE_EPOCH.".into());
    }
    Ok(time)
}

/// The target that cargo builds for on this machine.
fn host() -> Result<String> {
    let output = cargo("--version --verbose").output().map_err(|e| format!("cargo could not be run: {e}."))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "cargo does not say for which target it builds.".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn component(name: &str) -> Value {
        json!({ "bom-ref": name, "name": name, "version": "1.0.0", "purl": "pkg", "licenses": [], "hashes": [] })
    }

    fn sbom() -> Value {
        json!({
            "metadata": { "component": { "bom-ref": "own" } },
            "components": [component("a"), component("b")],
            "dependencies": [{ "ref": "own", "dependsOn": ["a", "b"] }, { "ref": "a" }, { "ref": "b" }],
        })
    }

    fn wanted(names: &[&str]) -> BTreeSet<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), "1.0.0".to_owned())).collect()
    }

    #[test]
    fn unbuilt_components_are_removed_from_the_sbom() {
        let mut sbom = sbom();
        cut(&mut sbom, &mut wanted(&["a"])).expect("whole");
        assert_eq!(sbom["components"], json!([component("a")]));
        assert_eq!(sbom["dependencies"], json!([{ "ref": "own", "dependsOn": ["a"] }, { "ref": "a" }]));
    }

    #[test]
    fn missing_or_undescribed_component_is_an_error() {
        let error = cut(&mut sbom(), &mut wanted(&["a", "c"])).expect_err("c is missing");
        assert!(error.contains("c 1.0.0 is built in"), "{error}");
        let mut lacking = sbom();
        lacking["components"][0]["hashes"].take();
        let error = cut(&mut lacking, &mut wanted(&["a"])).expect_err("no checksum");
        assert!(error.contains("a 1.0.0 has no hashes"), "{error}");
    }
}
