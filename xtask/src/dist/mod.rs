//! `cargo xtask dist`: what people install without compiling, made for this machine's platform. A release makes the same for every
//! platform (`.github/workflows/release.yml`); `cargo xtask test dist` tries each from its file.

mod formula;
mod trial;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use sha2::{Digest as _, Sha256};

use crate::cargo::{cargo, root, run, target};
use crate::supply::Tool;
use crate::{Result, debian, node, sbom, wheel};

pub use formula::write as formula;
pub use trial::test;

/// The cargo profile of everything that is published.
const PROFILE: &str = "dist";

const DEB: Tool = Tool::new("cargo-deb", "3.8.0");

/// The user of the container: without a name, a shell or a home.
const IMAGE_USER: u32 = 10001;

/// A part of the release.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The static program, packed with its manual and licences
    Program,
    /// The Debian package: the program and its systemd unit
    Deb,
    /// What the container image adds to a base without a shell
    Image,
    /// The npm package, and this platform's with the addon
    Npm,
    /// The Python wheel
    Wheel,
    /// The lists of components, as CycloneDX
    Sbom,
}

impl Part {
    const ALL: [Self; 6] = [Self::Program, Self::Deb, Self::Image, Self::Npm, Self::Wheel, Self::Sbom];
}

/// The folder of what is made.
pub fn folder() -> PathBuf {
    target().join("artefacts")
}

/// Makes these parts, or all, and lists them with size and checksum. `triple` is the target of the program.
pub fn make(parts: &[Part], triple: Option<&str>) -> Result {
    let into = folder();
    std::fs::create_dir_all(&into).map_err(|e| format!("{} could not be made: {e}.", into.display()))?;
    let triple = triple.map_or_else(program_target, |triple| Ok(triple.to_owned()))?;
    let parts = if parts.is_empty() { &Part::ALL } else { parts };
    if parts.iter().any(|part| matches!(part, Part::Program | Part::Deb | Part::Image)) {
        program(&triple)?;
    }
    parts.iter().try_for_each(|part| match part {
        Part::Program => archive(&triple, &into),
        Part::Deb => deb(&triple, &into),
        Part::Image => image(&triple, &into),
        Part::Npm => npm(&into),
        Part::Wheel => wheels(&into),
        Part::Sbom => sboms(&triple, &into),
    })?;
    list(&into)
}

/// The target of the released program on this machine: musl on Linux, so that it is static, and the system's own elsewhere.
fn program_target() -> Result<String> {
    let arch = std::env::consts::ARCH;
    Ok(match std::env::consts::OS {
        "linux" => format!("{arch}-unknown-linux-musl"),
        "macos" => format!("{arch}-apple-darwin"),
        "windows" => format!("{arch}-pc-windows-msvc"),
        other => return Err(format!("no program is released for {other}; name a target with --target.")),
    })
}

/// Where cargo leaves the program.
fn built(triple: &str) -> PathBuf {
    let name = if triple.contains("windows") { "chat-memory.exe" } else { "chat-memory" };
    target().join(triple).join(PROFILE).join(name)
}

fn program(triple: &str) -> Result {
    if triple.ends_with("-linux-musl") && debian::find_in_path("musl-gcc").is_none() {
        debian::install("This machine has no C compiler for musl", &["musl-tools"], "install musl-gcc")?;
    }
    let mut build = cargo("build --locked -p chat-memory-cli --bin chat-memory");
    run(build.args(["--profile", PROFILE, "--target", triple]))
        .map_err(|e| format!("{e} If the target is missing, run `rustup target add {triple}`."))
}

/// Packs the program with its manual and licences, under the name that the installer, cargo binstall and Homebrew look for.
fn archive(triple: &str, into: &Path) -> Result {
    let name = format!("chat-memory-{triple}");
    let folder = into.join(&name);
    fresh(&folder)?;
    let program = built(triple);
    copy(&program, &folder.join(program.file_name().unwrap_or_default()))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&root().join(file), &folder.join(file))?;
    }
    let mut tar = Command::new("tar");
    if triple.contains("windows") {
        // The tar of Windows makes a zip file if its name ends so.
        tar.args(["-a", "-cf", &format!("{name}.zip"), &name]);
    } else {
        tar.args(["-czf", &format!("{name}.tar.gz"), &name]);
    }
    run(tar.current_dir(into))?;
    remove(&folder)
}

/// Makes the Debian package by `[package.metadata.deb]` in the program's manifest.
fn deb(triple: &str, into: &Path) -> Result {
    let mut deb = Command::new(DEB.program()?);
    deb.args(["deb", "--package", "chat-memory-cli", "--no-build", "--no-strip", "--locked"]);
    run(deb.args(["--profile", PROFILE, "--target", triple]).arg("--output").arg(into).current_dir(root()))
}

/// Packs what the image adds to its base (`deploy/release.Dockerfile`): the program, and the folders that belong to its user.
fn image(triple: &str, into: &Path) -> Result {
    let image = into.join("image");
    let folder = image.join(image_arch(triple));
    fresh(&folder)?;
    for name in ["usr/local/bin", "data", "etc/chat-memory"] {
        let name = folder.join(name);
        std::fs::create_dir_all(&name).map_err(|e| format!("{} could not be made: {e}.", name.display()))?;
    }
    copy(&built(triple), &folder.join("usr/local/bin/chat-memory"))?;
    let pack = |mode: &str, user: u32, name: &str| {
        let mut tar = Command::new("tar");
        tar.arg(mode).arg(image_file(into, triple)).args([&format!("--owner={user}"), &format!("--group={user}"), name]);
        run(tar.current_dir(&folder))
    };
    pack("-cf", 0, "usr")?;
    pack("-rf", IMAGE_USER, "data")?;
    pack("-rf", IMAGE_USER, "etc/chat-memory")?;
    remove(&folder)
}

fn image_file(into: &Path, triple: &str) -> PathBuf {
    into.join("image").join(format!("{}.tar", image_arch(triple)))
}

/// The architecture as images name it.
fn image_arch(triple: &str) -> &'static str {
    if triple.starts_with("aarch64") { "arm64" } else { "amd64" }
}

fn npm(into: &Path) -> Result {
    node::build(PROFILE)?;
    let folder = into.join("npm");
    fresh(&folder)?;
    run(Command::new("node").arg("scripts/release.mjs").arg(folder).current_dir(node::folder()))
}

fn wheels(into: &Path) -> Result {
    let wheel = wheel::build(wheel::pythons()?.last().ok_or("no Python was found.")?, PROFILE)?;
    copy(&wheel, &into.join(wheel.file_name().unwrap_or_default()))
}

fn sboms(triple: &str, into: &Path) -> Result {
    sbom::write(Some(triple))?;
    ["chat-memory", "chat-memory-node", "chat-memory-python"].iter().try_for_each(|name| {
        let name = format!("{name}.cdx.json");
        copy(&target().join("sbom").join(&name), &into.join(&name))
    })
}

/// Prints the size of each file, and writes SHA256SUMS over those of a release, in the form of `sha256sum`.
fn list(into: &Path) -> Result {
    let mut sums = String::new();
    for path in files(into)?.into_iter().chain(files(&into.join("npm"))?) {
        let bytes = std::fs::read(&path).map_err(|e| format!("{} cannot be read: {e}.", path.display()))?;
        println!("{:>7.2} MB  {}", bytes.len() as f64 / 1e6, path.display());
        if path.parent() == Some(into) {
            sums += &format!("{:x}  {}\n", Sha256::digest(&bytes), name_of(&path));
        }
    }
    let file = into.join("SHA256SUMS");
    std::fs::write(&file, sums).map_err(|e| format!("{} cannot be written: {e}.", file.display()))
}

/// The files in a folder that are published; none if there is no such folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect::<std::io::Result<Vec<_>>>(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    };
    let entries = entries.map_err(|e| format!("{} cannot be read: {e}.", folder.display()))?;
    let mut found: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    found.retain(|path| path.is_file() && name_of(path) != "SHA256SUMS");
    found.sort();
    Ok(found)
}

/// The one artefact whose name begins and ends so.
fn artefact(begin: &str, end: &str) -> Result<PathBuf> {
    let fits = |path: &PathBuf| name_of(path).starts_with(begin) && name_of(path).ends_with(end);
    let found = files(&folder())?.into_iter().find(fits);
    found.ok_or_else(|| format!("{} has no {begin}…{end}: run `cargo xtask dist`.", folder().display()))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn copy(from: &Path, to: &Path) -> Result {
    std::fs::copy(from, to).map(|_| ()).map_err(|e| format!("{} could not be copied to {}: {e}.", from.display(), to.display()))
}

fn remove(folder: &Path) -> Result {
    match std::fs::remove_dir_all(folder) {
        Err(e) if folder.exists() => Err(format!("{} could not be removed: {e}.", folder.display())),
        _ => Ok(()),
    }
}

/// Makes an empty folder, in place of what was there.
fn fresh(folder: &Path) -> Result {
    remove(folder)?;
    std::fs::create_dir_all(folder).map_err(|e| format!("{} could not be made: {e}.", folder.display()))
}
