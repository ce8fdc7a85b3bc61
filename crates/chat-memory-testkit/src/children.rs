//! Starts the test binary again as other processes, each with a role. They run the test called `role` in the module that starts
//! them, which is otherwise ignored.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const ROLE: &str = "CHAT_MEMORY_TEST_ROLE";

/// Returns the role of this process, if it was [started](start) with one. The test called `role` calls this.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Returns the path of this test binary.
///
/// # Panics
/// If the system does not report it.
pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("this test binary")
}

/// Builds the command that starts the program (a copy of this test binary) with a role: it runs only the test called `role` of
/// this module (`module_path!()`).
pub fn start(module: &str, program: &Path, role: &str) -> Command {
    let mut command = Command::new(program);
    // The first part is the crate, which the test harness omits.
    let test = module.split_once("::").map_or_else(|| "role".to_owned(), |(_, module)| format!("{module}::role"));
    command.args(["--exact", &test, "--ignored", "--nocapture"]).env(ROLE, role).current_dir("/");
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Sends a line to the parent.
pub fn say(what: impl std::fmt::Display) {
    // Standard output is a pipe: without a line end the parent would receive it late, or never.
    println!("said: {what}");
}

/// Iterates over the lines that a process sends, as it sends them.
///
/// # Panics
/// If the process was not created by [`start`].
pub fn said(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let stdout: ChildStdout = child.stdout.take().expect("its output");
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    // The child's test harness may write before us on the same line.
    lines.filter_map(|line| line.split_once("said: ").map(|(_, said)| said.to_owned()))
}

/// Parses a writer's turn and its record's number from the line that it sent.
///
/// # Panics
/// If the line is not two numbers.
pub fn pair(said: &str) -> (usize, u64) {
    let (n, seq) = said.split_once(' ').expect("a turn and its number");
    (n.parse().expect("a turn"), seq.parse().expect("a number"))
}

/// Runs this test binary with a role of this module and these variables until it ends; returns the lines that it sent.
///
/// # Panics
/// If it fails.
pub fn run(module: &str, role: &str, env: &[(&str, &str)]) -> Vec<String> {
    let mut child = start(module, &this_program(), role).envs(env.iter().copied()).spawn().expect("a process");
    let lines = said(&mut child).collect();
    assert!(child.wait().expect("its end").success(), "the process in the role {role} failed");
    lines
}

/// Runs an example, as built with this test, until it ends; returns its trimmed output.
///
/// # Panics
/// If it fails or was not built.
pub fn example(name: &str, args: &[&str]) -> String {
    built(&format!("examples/{name}"), args)
}

/// Runs a program of the workspace, as built with this test, until it ends; returns its trimmed output.
///
/// # Panics
/// If it fails or was not built.
pub fn built(program: &str, args: &[&str]) -> String {
    // This binary is in `deps`, next to the programs and the directory of examples.
    let here = this_program();
    let folder = here.parent().and_then(Path::parent).expect("the build's folder");
    let program = folder.join(program);
    let output = Command::new(&program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}; `cargo build --workspace --examples` makes it", program.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}
