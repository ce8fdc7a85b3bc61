//! What all manifests say about the project: the repository's address and the version. Each has one place, the root's `Cargo.toml`;
//! what cannot inherit it is checked against it here, and rewritten by one command.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::cargo::{cargo, metadata, root};

/// What stands for the repository's address until the project has one.
const PLACEHOLDER: &str = "OWNER/REPOSITORY";

/// Files that name the placeholder itself, not the repository.
const NAMED: [&str; 1] = ["xtask/src/metadata.rs"];

/// Checks that all manifests have what a registry shows, and agree on the address and the version.
pub fn check() -> Result {
    let (address, version) = (field("repository")?, field("version")?);
    let mut faults = Vec::new();
    for package in published()? {
        let name = package["name"].as_str().unwrap_or_default();
        let mut expect = |field: &str, holds: bool| {
            if !holds {
                faults.push(format!("the crate {name} has no proper `{field}`"));
            }
        };
        expect("repository", package["repository"] == address.as_str());
        expect("version", package["version"] == version.as_str());
        expect("license", package["license"].is_string());
        expect("description", package["description"].is_string());
        expect("keywords", package["keywords"].as_array().is_some_and(|keywords| (1..=5).contains(&keywords.len())));
        expect("categories", package["categories"].as_array().is_some_and(|categories| !categories.is_empty()));
        let folder = package["manifest_path"].as_str().map(Path::new).and_then(Path::parent).unwrap_or(root());
        expect("readme", package["readme"].as_str().is_some_and(|readme| folder.join(readme).is_file()));
    }
    let npm: Value = serde_json::from_str(&read("bindings/node/package.json")?)
        .map_err(|e| format!("bindings/node/package.json is no JSON: {e}."))?;
    let mut expect = |file: &str, what: &str, holds: bool| {
        if !holds {
            faults.push(format!("{file}: {what} is not what the root's Cargo.toml says"));
        }
    };
    expect("bindings/node/package.json", "repository.url", npm["repository"]["url"] == format!("git+{address}.git"));
    expect("bindings/node/package.json", "version", npm["version"] == version.as_str());
    expect("bindings/node/package.json", "license", npm["license"] == field("license")?.as_str());
    let python = read("bindings/python/pyproject.toml")?;
    expect("bindings/python/pyproject.toml", "Repository", python.contains(&format!("Repository = \"{address}\"")));
    let session = read("integrations/rig-session/Cargo.toml")?;
    expect("integrations/rig-session/Cargo.toml", "repository", session.contains(&format!("repository = \"{address}\"")));
    expect("integrations/rig-session/Cargo.toml", "version", session.contains(&format!("\nversion = \"{version}\"")));
    for file in ["Cargo.toml", "integrations/rig-session/Cargo.toml"] {
        for (name, requirement) in own_requirements(file)? {
            expect(file, &format!("the version of {name}"), requirement == version);
        }
    }
    if !address.ends_with(PLACEHOLDER) {
        for name in files()?.iter().filter(|name| !NAMED.contains(&name.as_str())) {
            let quoted = std::fs::read_to_string(root().join(name)).is_ok_and(|text| text.contains(PLACEHOLDER));
            expect(name, &format!("{PLACEHOLDER}, the placeholder of the repository,"), !quoted);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("{}.", faults.join(";\n"))) }
}

/// Puts the repository's address wherever it is quoted: manifests, READMEs, the installer.
pub fn set_repository(url: &str) -> Result {
    let slug = |url: &str| url.strip_prefix("https://github.com/").map(str::to_owned);
    let wanted = slug(url).filter(|slug| {
        let parts: Vec<_> = slug.split('/').collect();
        let valid = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        parts.len() == 2 && parts.iter().all(valid) && !slug.ends_with(".git")
    });
    let wanted = wanted.ok_or_else(|| {
        format!("invalid repository {url:?}: expected https://github.com/OWNER/REPOSITORY, without .git or a slash at the end.")
    })?;
    let old =
        slug(&field("repository")?).ok_or("the root's Cargo.toml has a `repository` that is not on GitHub; set it by hand.")?;
    let owner = |slug: &str| slug.split('/').next().unwrap_or_default().to_owned();
    let changed = replace(|text| {
        // Images have names in lower case; the tap of Homebrew is another repository of the same owner.
        let text = text.replace(&format!("ghcr.io/{}", old.to_lowercase()), &format!("ghcr.io/{}", wanted.to_lowercase()));
        let text = text.replace(&old, &wanted);
        ["tap", "homebrew-tap"]
            .iter()
            .fold(text, |text, tap| text.replace(&format!("{}/{tap}", owner(&old)), &format!("{}/{tap}", owner(&wanted))))
    })?;
    println!("{changed} files now name https://github.com/{wanted}.");
    Ok(())
}

/// Puts a version into all manifests that have one, and into the lock files.
pub fn set_version(version: &str) -> Result {
    let parts: Vec<_> = version.split('.').collect();
    if parts.len() != 3 || parts.iter().any(|part| part.parse::<u32>().is_err()) {
        return Err(format!("invalid version {version:?}: expected three numbers such as 0.2.0."));
    }
    let old = field("version")?;
    let edit = |name: &str, change: &dyn Fn(&str) -> String| -> Result {
        let text = change(&read(name)?);
        std::fs::write(root().join(name), text).map_err(|e| format!("{name} could not be written: {e}."))
    };
    let (before, after) = (format!("version = \"{old}\""), format!("version = \"{version}\""));
    for name in ["Cargo.toml", "integrations/rig-session/Cargo.toml"] {
        edit(name, &|text| {
            let lines = text.lines().map(|line| {
                let own = line.starts_with("version = ") || line.starts_with("chat-memory");
                if own { line.replace(&before, &after) } else { line.to_owned() }
            });
            lines.collect::<Vec<_>>().join("\n") + "\n"
        })?;
    }
    for name in ["bindings/node/package.json", "bindings/node/package-lock.json"] {
        // The lock file repeats the version of the package itself in its head, twice.
        let limit = if name.ends_with("lock.json") { 2 } else { 1 };
        edit(name, &|text| text.replacen(&format!("\"version\": \"{old}\""), &format!("\"version\": \"{version}\""), limit))?;
    }
    for manifest in ["Cargo.toml", "integrations/rig-session/Cargo.toml", "fuzz/Cargo.toml"] {
        crate::cargo::run(cargo("update --quiet --workspace").args(["--manifest-path", manifest]))?;
    }
    println!("The version is now {version}: `cargo xtask test metadata` checks it.");
    Ok(())
}

/// The crates that are published, as `cargo metadata` describes them.
pub fn published() -> Result<Vec<Value>> {
    let metadata = metadata("--no-deps")?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    // `publish = false` is an empty list of registries.
    Ok(packages.into_iter().filter(|package| package["publish"] != serde_json::json!([])).collect())
}

/// A field of the workspace's packages, as the crate `chat-memory` inherits it.
pub fn field(name: &str) -> Result<String> {
    let packages = published()?;
    let package = packages.iter().find(|package| package["name"] == "chat-memory");
    let value = package.and_then(|package| package[name].as_str());
    value.map(str::to_owned).ok_or_else(|| format!("the root's Cargo.toml has no {name} in [workspace.package]."))
}

/// The versions that a manifest requires of the project's own crates.
fn own_requirements(file: &str) -> Result<Vec<(String, String)>> {
    let text = read(file)?;
    let lines = text.lines().filter(|line| line.starts_with("chat-memory") && line.contains("version = \""));
    let parts = lines.filter_map(|line| {
        let name = line.split_whitespace().next()?;
        Some((name.to_owned(), line.split("version = \"").nth(1)?.split('"').next()?.to_owned()))
    });
    Ok(parts.collect())
}

/// Rewrites all files of the checkout that a change applies to; returns how many those are.
fn replace(change: impl Fn(&str) -> String) -> Result<usize> {
    let mut changed = 0;
    for name in files()?.iter().filter(|name| !NAMED.contains(&name.as_str())) {
        // Pictures and other binary files are no text.
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        let new = change(&text);
        if new != text {
            std::fs::write(root().join(name), new).map_err(|e| format!("{name} could not be written: {e}."))?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// The files that Git tracks.
fn files() -> Result<Vec<String>> {
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let listed = listed.map_err(|e| format!("git could not list the files: {e}."))?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
}

fn read(name: &str) -> Result<String> {
    std::fs::read_to_string(root().join(name)).map_err(|e| format!("{name} could not be read: {e}."))
}
