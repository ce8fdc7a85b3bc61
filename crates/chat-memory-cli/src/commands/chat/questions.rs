//! Reads questions from standard input where lines cannot be edited: from a pipe, or from a terminal that can do nothing. Joins lines that
//! belong together.

use std::io::{self, BufRead, IsTerminal};

use tokio::sync::mpsc;

/// Lines that arrived at once: several if they were pasted.
#[derive(Debug)]
struct Lines(Vec<String>);

/// The result of reading a terminal's lines.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// A complete question.
    Whole(String),
    /// The question continues: this many lines were pasted, or a line ended with a backslash.
    Open { pasted: Option<usize> },
}

/// Joins the lines from a terminal.
#[derive(Debug, Default)]
pub struct Typing {
    open: Vec<String>,
}

impl Typing {
    /// Takes lines that arrived at once. Several are a paste, whose last line may still wait for Enter: that line, or an empty one,
    /// ends the question. So does the first line without a final backslash after lines that had one.
    fn take(&mut self, Lines(lines): Lines) -> Typed {
        if lines.len() > 1 {
            let pasted = Some(lines.len());
            self.open.extend(lines);
            return Typed::Open { pasted };
        }
        let line = lines.into_iter().next().unwrap_or_default();
        if let Some(line) = line.strip_suffix('\\') {
            self.open.push(line.to_owned());
            return Typed::Open { pasted: None };
        }
        self.open.push(line);
        Typed::Whole(std::mem::take(&mut self.open).join("\n").trim_end_matches('\n').to_owned())
    }
}

/// The questions of standard input.
pub struct Questions {
    lines: mpsc::Receiver<io::Result<Lines>>,
    /// Whether standard input is a terminal.
    pub terminal: bool,
    typing: Typing,
}

impl Questions {
    /// Starts to read, in a thread of its own, which may block for ever.
    pub fn of_stdin() -> Self {
        let terminal = io::stdin().is_terminal();
        let (sender, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            while let Some(lines) = at_once(&mut input, || terminal && more_is_there()).transpose() {
                let failed = lines.is_err();
                if sender.blocking_send(lines).is_err() || failed {
                    break;
                }
            }
        });
        Self { lines, terminal, typing: Typing::default() }
    }

    /// The next lines: from a terminal perhaps several, otherwise one, which is a question. `None` at the end.
    pub async fn next(&mut self) -> Option<io::Result<Typed>> {
        Some(self.lines.recv().await?.map(|lines| match self.terminal {
            true => self.typing.take(lines),
            false => Typed::Whole(lines.0.concat()),
        }))
    }
}

/// Reads a line, and those that arrived together with it. `None` at the end.
fn at_once(input: &mut impl BufRead, more: impl Fn() -> bool) -> io::Result<Option<Lines>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(if lines.is_empty() { None } else { Some(Lines(lines)) });
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        lines.push(line);
        if !more() {
            return Ok(Some(Lines(lines)));
        }
    }
}

/// Whether a terminal has another line at once, as within a paste; nobody types one that fast.
#[cfg(unix)]
fn more_is_there() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let stdin = io::stdin();
    let mut files = [PollFd::new(&stdin, PollFlags::IN)];
    poll(&mut files, Some(&AT_ONCE)).is_ok_and(|ready| ready > 0) && files[0].revents().contains(PollFlags::IN)
}

/// On other systems each line is a question.
#[cfg(not(unix))]
fn more_is_there() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Lines {
        Lines(lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn pasted_lines_form_one_question() {
        let mut typing = Typing::default();
        assert_eq!(typing.take(lines(&["one", "two"])), Typed::Open { pasted: Some(2) });
        assert_eq!(typing.take(lines(&["three"])), Typed::Whole("one\ntwo\nthree".into()));
        assert_eq!(typing.take(lines(&["one", "", "two"])), Typed::Open { pasted: Some(3) });
        assert_eq!(typing.take(lines(&[""])), Typed::Whole("one\n\ntwo".into()), "its last line had an end");
        assert_eq!(typing.take(lines(&["a line"])), Typed::Whole("a line".into()));
    }

    #[test]
    fn trailing_backslash_continues_the_line() {
        let mut typing = Typing::default();
        assert_eq!(typing.take(lines(&["one\\"])), Typed::Open { pasted: None });
        assert_eq!(typing.take(lines(&["two"])), Typed::Whole("one\ntwo".into()));
    }

    #[test]
    fn lines_are_read_while_input_is_available() {
        let left = std::cell::Cell::new(2);
        let more = || {
            left.set(left.get() - 1);
            left.get() > 0
        };
        let mut input = &b"one\r\ntwo\nthree"[..];
        assert_eq!(at_once(&mut input, more).expect("readable").expect("lines").0, ["one", "two"]);
        assert_eq!(at_once(&mut input, || false).expect("readable").expect("lines").0, ["three"]);
        assert!(at_once(&mut input, || false).expect("readable").is_none());
    }
}
