//! A test binary, started again as other processes, each in a role. The test that they run is called `role` in the module that starts them,
//! and ignored otherwise.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const ROLE: &str = "CHAT_MEMORY_TEST_ROLE";

/// The role of this process, if it was [started](start) in one. The test called `role` asks for it.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// This test binary.
///
/// # Panics
/// Where the system does not tell.
pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("this test binary")
}

/// How to start the program (a copy of this test binary) in a role: the test called `role` of this module (`module_path!()`) runs, and
/// nothing else.
pub fn start(module: &str, program: &Path, role: &str) -> Command {
    let mut command = Command::new(program);
    // The first part is the crate, which the harness leaves out.
    let test = module.split_once("::").map_or_else(|| "role".to_owned(), |(_, module)| format!("{module}::role"));
    command.args(["--exact", &test, "--ignored", "--nocapture"]).env(ROLE, role).current_dir("/");
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Says something to the parent.
pub fn say(what: impl std::fmt::Display) {
    // Standard output is a pipe: without this line's end the parent would hear of it late, or never.
    println!("said: {what}");
}

/// The lines that a process says, as it says them.
///
/// # Panics
/// For a process that [`start`] did not make.
pub fn said(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let stdout: ChildStdout = child.stdout.take().expect("its output");
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    // The test harness of the child may write before us on the same line.
    lines.filter_map(|line| line.split_once("said: ").map(|(_, said)| said.to_owned()))
}

/// A writer's turn and the number that its record got, as it said them.
///
/// # Panics
/// Where the line is not two numbers.
pub fn pair(said: &str) -> (usize, u64) {
    let (n, seq) = said.split_once(' ').expect("a turn and its number");
    (n.parse().expect("a turn"), seq.parse().expect("a number"))
}

/// Runs this test binary in a role of this module with these variables to its end; what it said.
///
/// # Panics
/// Where it fails.
pub fn run(module: &str, role: &str, env: &[(&str, &str)]) -> Vec<String> {
    let mut child = start(module, &this_program(), role).envs(env.iter().copied()).spawn().expect("a process");
    let lines = said(&mut child).collect();
    assert!(child.wait().expect("its end").success(), "the process in the role {role} failed");
    lines
}

/// Runs an example, as it was built with this test, to its end; its output without blanks around it.
///
/// # Panics
/// Where it fails, or was not built.
pub fn example(name: &str, args: &[&str]) -> String {
    built(&format!("examples/{name}"), args)
}

/// Runs a program of the workspace, as it was built with this test, to its end; its output without blanks around it.
///
/// # Panics
/// Where it fails, or was not built.
pub fn built(program: &str, args: &[&str]) -> String {
    // This binary is in `deps`, beside the programs and the folder of examples.
    let here = this_program();
    let folder = here.parent().and_then(Path::parent).expect("the build's folder");
    let program = folder.join(program);
    let output = Command::new(&program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}; `cargo build --workspace --examples` makes it", program.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}
