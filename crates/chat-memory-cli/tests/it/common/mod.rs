//! What the program's tests share: running it, and stores to run it on.

pub mod http;
pub mod scenarios;
pub mod service;
#[cfg(target_os = "linux")]
pub mod terminal;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own, and the environment in which the program runs there; it inherits nothing from the tester's.
pub struct Place {
    pub folder: TempDir,
    /// The value of `--store` in the environment.
    pub store: String,
    variables: Vec<(String, String)>,
}

/// The result of a run of the program.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    /// Checks that it succeeded; returns its standard output.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "standard error: {}", self.err);
        self.out
    }

    /// Checks that it succeeded, and parses its standard output as one JSON value.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.done();
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    }

    /// Checks that it failed with this exit code, and that standard error contains all of these, in one sentence and without a
    /// trace of a panic.
    #[track_caller]
    pub fn fails(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "standard error: {}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for part in says {
            assert!(self.err.contains(part), "{part:?} is not in: {}", self.err);
        }
    }
}

impl Place {
    /// A new SQLite file.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = format!("sqlite:{}", folder.path().join("chats.db").display());
        Self { folder, store, variables: Vec::new() }
    }

    /// The store at this URL.
    pub fn at(store: impl Into<String>) -> Self {
        Self { store: store.into(), ..Self::sqlite() }
    }

    /// With this variable in the environment.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program with these arguments, ready to run.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-memory"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.envs(self.environment());
        command
    }

    /// The variables that the program runs with.
    pub fn environment(&self) -> Vec<(String, String)> {
        let home = self.path().display().to_string();
        let mut variables = vec![("HOME".to_owned(), home), ("TZ".to_owned(), "UTC".to_owned())];
        if !self.store.is_empty() {
            variables.push(("CHAT_MEMORY_STORE".to_owned(), self.store.clone()));
        }
        variables.extend(self.variables.iter().cloned());
        variables
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().expect("the program starts").into()
    }

    /// Runs the program with this on its standard input.
    pub fn run_with(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let mut command = self.command(arguments);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the program starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.as_ref().to_vec();
        // The program may answer before it has read everything, or read nothing at all.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("the program ends");
        writer.join().expect("the writer ends");
        output.into()
    }

    /// Writes a file; returns its name.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path().join(name), content).expect("the folder can be written");
        name.to_owned()
    }

    /// The messages of a session; none before anything was stored, when there is no file yet.
    pub fn messages(&self, session: &str) -> Vec<Value> {
        let ran = self.run(&["show", session, "--format", "openai"]);
        if ran.err.contains("there is no such file") {
            return Vec::new();
        }
        json_lines(&ran.done())
    }
}

/// Sends Ctrl-C to a running program.
#[cfg(unix)]
pub fn interrupt(child: &std::process::Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("a shell's kill");
    assert!(sent.success(), "the program runs");
}

/// Each line as JSON.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
