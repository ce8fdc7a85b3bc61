//! The prompt on a terminal: a line editor with a history, where a paste of several lines is one text.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;

use etcetera::BaseStrategy;
use reedline::{
    ColumnarMenu, Completer, CompletionResult, EditCommand, Emacs, FileBackedHistory, Highlighter, KeyCode, KeyModifiers,
    MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, Span, StyledText,
    Suggestion, default_emacs_keybindings,
};

use super::command::COMMANDS;
use crate::output::say;

/// How many questions the history keeps.
const HISTORY: usize = 1000;

const MENU: &str = "commands";

/// What was typed.
#[derive(Debug)]
pub enum Typed {
    /// A text, perhaps of several lines.
    Text(String),
    /// Ctrl-C: the text was discarded.
    Discarded,
    /// Ctrl-D on an empty line.
    End,
}

/// The editor.
pub struct Editor {
    editor: Reedline,
}

impl Editor {
    /// Creates the editor. With `keeps_history`, questions are read from and kept in a file in the data directory.
    pub fn new(keeps_history: bool, colours: bool) -> Self {
        let mut keys = default_emacs_keybindings();
        // In raw mode Ctrl-J is what a line break is that was typed or pasted before the prompt was there: it must not send anything.
        for (modifier, key) in [
            (KeyModifiers::ALT, KeyCode::Enter),
            (KeyModifiers::SHIFT, KeyCode::Enter),
            (KeyModifiers::CONTROL, KeyCode::Char('j')),
        ] {
            keys.add_binding(modifier, key, ReedlineEvent::Edit(vec![EditCommand::InsertNewline]));
        }
        let complete = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
        let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU).with_columns(1)));
        let mut editor = Reedline::create()
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_completer(Box::new(Commands))
            .with_menu(menu)
            .with_highlighter(Box::new(Plain))
            .with_quick_completions(true)
            .with_ansi_colors(colours)
            .with_history_exclusion_prefix(Some(" ".to_owned()))
            .use_bracketed_paste(true);
        if keeps_history {
            match history() {
                Ok(history) => editor = editor.with_history(Box::new(history)),
                Err(cause) => say(format_args!("chat-memory: warning: questions are not kept for later chats: {cause}")),
            }
        }
        Self { editor }
    }

    /// Waits for a text. Blocks the thread.
    pub fn read(&mut self) -> io::Result<Typed> {
        let signal = self.editor.read_line(&Sign).map_err(|e| io::Error::other(e.to_string()))?;
        // Kept at once: the program may end in any way.
        let _ = self.editor.sync_history();
        Ok(match signal {
            Signal::Success(text) => Typed::Text(text),
            Signal::CtrlD => Typed::End,
            _ => Typed::Discarded,
        })
    }
}

/// The history's file, which only its owner may read: questions are private.
fn history() -> Result<FileBackedHistory, String> {
    let file = history_file()?;
    let shown = file.display().to_string();
    let cannot = |e: io::Error| format!("{shown} cannot be written ({e}); change its permissions, or give --no-history");
    file.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(cannot)?;
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&file).map_err(cannot)?;
    FileBackedHistory::with_file(HISTORY, file)
        .map_err(|e| format!("{shown} cannot be read ({e}); delete it, or give --no-history"))
}

fn history_file() -> Result<PathBuf, String> {
    let folders =
        etcetera::choose_base_strategy().map_err(|e| format!("no home folder for the file ({e}); give --no-history"))?;
    Ok(folders.data_dir().join("chat-memory").join("chat_history"))
}

/// The prompt.
struct Sign;

impl Prompt for Sign {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "… ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(search: {}) ", search.term).into()
    }
}

/// Leaves what is typed in the terminal's own colour. The default is white, which is not legible on white.
struct Plain;

impl Highlighter for Plain {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut text = StyledText::new();
        text.push((Default::default(), line.to_owned()));
        text
    }
}

/// Completes commands.
struct Commands;

impl Completer for Commands {
    fn complete(&mut self, line: &str, at: usize) -> CompletionResult {
        let typed = line.get(..at).unwrap_or_default();
        let fits = |name: &str| typed.starts_with('/') && name.starts_with(typed) && !name.ends_with('…');
        let suggestions = COMMANDS.iter().filter(|(name, ..)| fits(name)).map(|(name, argument, about)| Suggestion {
            value: (*name).to_owned(),
            description: Some((*about).to_owned()),
            span: Span::new(0, at),
            append_whitespace: !argument.is_empty(),
            ..Suggestion::default()
        });
        CompletionResult::fresh(suggestions.collect::<Vec<_>>())
    }
}
