//! Where the lines of a chat come from: a line editor, or standard input as it is.

use std::io::{self, IsTerminal as _, Write as _};

use super::editor::{self, Editor};
use super::interrupts::Interrupts;
use super::questions::{Questions, Typed};
use crate::app::App;
use crate::failure::Failure;
use crate::output::say;

/// Where the questions come from.
pub enum Input {
    /// A terminal, with a line editor.
    Editor(Box<Editor>),
    /// Lines, from a terminal or not.
    Lines(Questions),
}

impl Input {
    /// A line editor if both sides are a terminal that can; lines otherwise.
    pub fn new(app: &App, keeps_history: bool) -> Self {
        let can = std::env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb") || cfg!(windows);
        if can && !app.json() && io::stdin().is_terminal() && io::stdout().is_terminal() {
            Self::Editor(Box::new(Editor::new(keeps_history, app.out.colours)))
        } else {
            Self::Lines(Questions::of_stdin())
        }
    }

    pub fn edits_lines(&self) -> bool {
        matches!(self, Self::Editor(_))
    }

    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Editor(_) => true,
            Self::Lines(questions) => questions.terminal,
        }
    }

    /// The next text; `None` at the end.
    pub async fn next(&mut self, app: &App, interrupts: &Interrupts) -> Result<Option<String>, Failure> {
        let cannot = |e: io::Error| Failure::other(format!("standard input cannot be read: {e}"));
        let questions = match self {
            Self::Editor(editor) => return tokio::task::block_in_place(|| edited(editor)).map_err(cannot),
            Self::Lines(questions) => questions,
        };
        let mut sign = ">";
        loop {
            if questions.terminal {
                prompt(app, sign);
            }
            let typed = tokio::select! {
                typed = questions.next() => typed,
                () = interrupts.next() => None,
            };
            let Some(typed) = typed else {
                if questions.terminal {
                    say("");
                }
                return Ok(None);
            };
            match typed.map_err(cannot)? {
                Typed::Whole(text) => return Ok(Some(text)),
                Typed::Open { pasted } => {
                    if let Some(lines) = pasted {
                        say(format_args!("({lines} lines were pasted; Enter sends them)"));
                    }
                    sign = "…";
                }
            }
        }
    }
}

fn prompt(app: &App, sign: &str) {
    let mut err = io::stderr().lock();
    let _ = write!(err, "{} ", app.style().author(chat_memory::Role::User, sign));
    let _ = err.flush();
}

/// A text from the editor; `None` at the end, and for a second Ctrl-C in a row.
fn edited(editor: &mut Editor) -> io::Result<Option<String>> {
    let mut discarded = false;
    loop {
        match editor.read()? {
            editor::Typed::Text(text) => return Ok(Some(text)),
            editor::Typed::End => return Ok(None),
            editor::Typed::Discarded if discarded => return Ok(None),
            editor::Typed::Discarded => {
                say("(press Ctrl-C again, or Ctrl-D, to end the chat)");
                discarded = true;
            }
        }
    }
}
