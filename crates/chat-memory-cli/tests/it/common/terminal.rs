//! The program on a pseudo-terminal, which util-linux's `script` provides, and what a terminal would show of it.

use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Place;

/// A terminal of 80 columns and 40 rows.
pub struct Terminal {
    child: Child,
    parser: vt100::Parser,
    /// What was printed since the last wait.
    new: Vec<u8>,
    /// All that was printed.
    pub printed: String,
}

impl Terminal {
    /// Starts the program with these arguments and these variables in addition to the place's.
    pub fn start(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let words = [env!("CARGO_BIN_EXE_chat-memory")].into_iter().chain(arguments.iter().copied());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        Self::run(place, &words.join(" "), variables)
    }

    /// Runs a shell's command line, likewise.
    pub fn run(place: &Place, line: &str, variables: &[(&str, &str)]) -> Self {
        // The command itself, so that its exit code is script's.
        let line = format!("stty cols 80 rows 40; exec {line}");
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(place.path()).env_clear();
        for (name, value) in place.environment() {
            command.env(name, value);
        }
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("SHELL", "/bin/sh").env("TERM", "xterm-256color");
        command.envs(variables.iter().copied());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("util-linux is there");
        let (rows, columns) = (NonZero::new(40).expect("some"), NonZero::new(80).expect("some"));
        Self { child, parser: vt100::Parser::new(rows, columns, 1000), new: Vec::new(), printed: String::new() }
    }

    /// Types a text.
    pub fn type_(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("piped").write_all(text.as_bytes()).expect("it reads");
    }

    /// Reads one byte; returns false at the end. Answers the question for the cursor's place, as terminals do.
    fn read(&mut self) -> bool {
        let mut byte = [0];
        self.wait_for_output();
        if self.child.stdout.as_mut().expect("piped").read(&mut byte).expect("readable") == 0 {
            return false;
        }
        self.new.push(byte[0]);
        self.parser.process(&byte);
        if self.new.ends_with(b"\x1b[6n") {
            let (row, column) = self.parser.screen().cursor_position();
            self.type_(&format!("\u{1b}[{};{}R", row + 1, column + 1));
        }
        true
    }

    /// Fails where nothing comes for minutes, since a test that waits for ever says nothing.
    fn wait_for_output(&self) {
        let output = self.child.stdout.as_ref().expect("piped");
        let longest = Timespec { tv_sec: 300, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&longest)).expect("a pipe can be polled");
        assert!(ready > 0, "nothing was printed for 5 minutes after {}{}", self.printed, String::from_utf8_lossy(&self.new));
    }

    /// Waits until this is printed, after what was waited for before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        while !self.new.ends_with(text.as_bytes()) {
            let more = self.read();
            assert!(more, "it ended before {text:?}: {}{}", self.printed, String::from_utf8_lossy(&self.new));
        }
        self.printed.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.new)));
    }

    /// Waits until the line editor takes keys.
    #[track_caller]
    pub fn wait_for_prompt(&mut self) {
        // It asks for the cursor's place when keys are no longer the terminal's, and shows the cursor when it has drawn the prompt.
        self.wait_for("\u{1b}[6n");
        self.wait_for("\u{1b}[?25h");
    }

    /// Types a line, when the prompt is there.
    #[track_caller]
    pub fn enter(&mut self, line: &str) {
        self.wait_for_prompt();
        self.type_(&format!("{line}\r"));
    }

    /// What is on the screen.
    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Waits for the end; returns how it ended.
    pub fn end(&mut self) -> ExitStatus {
        while self.read() {}
        self.printed.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.new)));
        self.child.wait().expect("it ends")
    }
}

impl Drop for Terminal {
    /// Where a test fails, nothing of it stays behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
