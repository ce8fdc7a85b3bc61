//! The Python package in `bindings/python`: its wheel, and the Python versions that its tests run on.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::cache::{cache, kept};
use crate::cargo::{BUILD, cargo, root, run, scratch, target};
use crate::npm::Package;
use crate::python;

/// The folders of the tests whose requirements.txt are installed. Those of frameworks run on the newest Python only: the frameworks'
/// newest versions do not run on the oldest.
const TESTS: &str = "bindings/python/tests";
const FRAMEWORKS: &str = "bindings/python/tests/frameworks";

/// The folder of the comparison with other packages, whose requirements.txt is installed as well.
const BENCH: &str = "bindings/python/bench";

/// The oldest version that the package supports: 3.10.
const OLDEST: u32 = 10;

/// The newest version that is searched for by its name in PATH.
const NEWEST: u32 = 20;

const PYRIGHT: Package = Package {
    package: "pyright@1.1.414",
    sha512: "FPZZb51jepDX4eP7TEYDeNFtmE3WgwkkEcJpvH3/QmUSsj0EAy3LXu+xB4T/FWDejtsXlCfFr/rbWFjwuwuXww==",
    paths: &["package"],
    strip: 1,
};

/// The package's folder.
pub fn folder() -> PathBuf {
    root().join("bindings").join("python")
}

/// A Python 3 of this machine.
pub struct Python {
    program: PathBuf,
    minor: u32,
}

/// Returns the oldest and the newest Python of this machine that the package supports; one, if there is only one.
pub fn pythons() -> Result<Vec<Python>> {
    let named = (OLDEST..=NEWEST).map(|minor| PathBuf::from(format!("python3.{minor}")));
    let mut found: Vec<_> = std::iter::once("python3".into()).chain(named).chain(of_pyenv()).filter_map(Python::at).collect();
    found.sort_by_key(|python| python.minor);
    found.dedup_by_key(|python| python.minor);
    let newest = found.pop().ok_or("no Python 3.10 or newer was found: install one, so that `python3` is in PATH.")?;
    let oldest = (!found.is_empty()).then(|| found.swap_remove(0));
    Ok(oldest.into_iter().chain([newest]).collect())
}

/// The versions that pyenv has installed, if there is a pyenv; its programs in PATH only start the one that it has selected.
fn of_pyenv() -> Vec<PathBuf> {
    let root = Command::new("pyenv").arg("root").output().ok().filter(|output| output.status.success());
    let root = root.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let versions = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok());
    versions.into_iter().flatten().filter_map(|version| Some(version.ok()?.path().join("bin").join("python3"))).collect()
}

impl Python {
    fn at(program: PathBuf) -> Option<Self> {
        let mut command = Command::new(&program);
        let output = command.args(["-c", "import sys; print(*sys.version_info[:2])"]).output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().strip_prefix("3 ").map(str::parse);
        let minor = version?.ok()?;
        (minor >= OLDEST).then_some(Self { program, minor })
    }

    /// Returns the packages of the requirements.txt in this folder; `what` is a part of their name.
    fn packages(&self, folder: &str, what: &str) -> Result<PathBuf> {
        python::packages_for(&self.program, folder, &format!("{what}python3.{}", self.minor))
    }

    fn tools(&self) -> Result<PathBuf> {
        self.packages(TESTS, "")
    }

    fn frameworks(&self) -> Result<PathBuf> {
        self.packages(FRAMEWORKS, "frameworks-")
    }

    /// Makes a virtual environment with this wheel and these packages; returns its Python.
    pub fn environment(&self, wheel: &Path, packages: &[PathBuf]) -> Result<PathBuf> {
        let folder = scratch()?.join(format!("python3.{}", self.minor));
        let mut make = Command::new(&self.program);
        make.args(["-m", "venv", "--clear", "--without-pip"]).arg(&folder);
        run(&mut make).map_err(|e| format!("{e} On Debian, the package python3-venv has the module."))?;
        let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        let mut pip = Command::new(&self.program);
        pip.args(["-m", "pip", "--python"]).arg(&python).args(["install", "--quiet", "--no-deps", "--no-index"]).arg(wheel);
        run(&mut pip)?;
        let output = Command::new(&python).args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).output();
        let output = output.map_err(|e| format!("{} could not be started: {e}.", python.display()))?;
        let site = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).join("tests.pth");
        let paths: String = packages.iter().map(|folder| format!("{}\n", folder.display())).collect();
        let written = std::fs::write(&site, paths);
        written.map_err(|e| format!("{} could not be written: {e}.", site.display()))?;
        Ok(python)
    }
}

/// Builds the wheel with this cargo profile.
pub fn build(python: &Python, profile: &str) -> Result<PathBuf> {
    let wheels = scratch()?.join("wheels");
    // Only one wheel is there afterwards.
    match std::fs::remove_dir_all(&wheels) {
        Err(e) if wheels.exists() => return Err(format!("{} could not be removed: {e}.", wheels.display())),
        _ => {}
    }
    let mut maturin = Command::new(python.tools()?.join("bin").join("maturin"));
    maturin.args(["build", "--quiet", "--locked", "--profile", profile, "--interpreter"]).arg(&python.program);
    run(maturin.arg("--out").arg(&wheels).current_dir(folder()))?;
    let files = std::fs::read_dir(&wheels).map_err(|e| format!("{} cannot be read: {e}.", wheels.display()))?;
    let wheel = files.filter_map(|file| Some(file.ok()?.path())).find(|file| file.extension().is_some_and(|e| e == "whl"));
    wheel.ok_or_else(|| format!("maturin left no wheel in {}.", wheels.display()))
}

/// Builds the wheel, checks its types, and runs its tests with the oldest and the newest Python, those of the frameworks with the
/// newest only; `prepare` adds DynamoDB Local.
pub fn test(mut prepare: impl FnMut(&mut Command) -> Result) -> Result {
    let pythons = pythons()?;
    let newest = pythons.last().ok_or("no Python was found.")?;
    // For the fault proxy.
    run(&mut cargo(BUILD))?;
    let wheel = build(newest, "dev")?;
    for python in &pythons {
        println!("Python 3.{}", python.minor);
        let is_newest = std::ptr::eq(python, newest);
        let mut packages = vec![python.tools()?];
        if is_newest {
            packages.push(python.frameworks()?);
        }
        let program = python.environment(&wheel, &packages)?;
        if is_newest {
            types(&program)?;
        }
        let mut tests = Command::new(&program);
        tests.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]).current_dir(folder());
        if !is_newest {
            tests.args(["--ignore", "tests/frameworks"]);
        }
        tests.env("PYTHONDONTWRITEBYTECODE", "1");
        tests.env("CHAT_MEMORY_FAULT_PROXY", target().join("debug").join("fault-proxy"));
        prepare(&mut tests)?;
        run(&mut tests)?;
    }
    if let [only] = pythons.as_slice() {
        println!("Only Python 3.{} was found: the tests have not run on another one.", only.minor);
    }
    Ok(())
}

/// Returns the command that runs a script which compares the package, built with this cargo profile, with others.
pub fn bench(profile: &str, script: &str) -> Result<Command> {
    let pythons = pythons()?;
    let python = pythons.last().ok_or("no Python was found.")?;
    let packages = [python.tools()?, python.frameworks()?, python.packages(BENCH, "bench-")?];
    let mut compare = Command::new(python.environment(&build(python, profile)?, &packages)?);
    compare.arg(script).current_dir(root().join(BENCH)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(compare)
}

/// Checks the types of the package, and of a user's file against the installed package.
fn types(python: &Path) -> Result {
    let mut mypy = Command::new(python);
    mypy.args(["-m", "mypy", "--no-incremental", "--cache-dir"]).arg(scratch()?.join("mypy"));
    run(mypy.args(["src", "tests"]).current_dir(folder()))?;
    let pyright = kept(&cache()?, &format!("pyright-{}", PYRIGHT.short()?), |folder| PYRIGHT.unpack_into(folder))?;
    let mut node = Command::new("node");
    node.arg(pyright.join("index.js")).arg("--pythonpath").arg(python).args(["--project", "."]);
    run(node.current_dir(folder()))
}
