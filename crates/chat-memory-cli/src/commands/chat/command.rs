//! The commands of a chat: lines that begin with a slash.

/// What a line of a chat asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Ask the model this.
    Ask(String),
    /// List the commands.
    Help,
    /// Start a new session.
    New,
    /// Remove the last turn.
    Undo,
    /// Ask the last question again.
    Retry,
    /// Print the title, or set it to this.
    Title(Option<String>),
    /// List the sessions, or continue this one.
    Sessions(Option<String>),
    /// Continue in a copy of the session, up to the record with this number.
    Fork(Option<u64>),
    /// End the chat.
    Quit,
    /// An unknown command.
    Unknown(String),
}

/// Each command, what follows it, and what it does. The completion of the prompt offers them in this order.
pub const COMMANDS: &[(&str, &str, &str)] = &[
    ("/help", "", "list the commands"),
    ("/new", "", "start a new session"),
    ("/undo", "", "remove the last question and its answer"),
    ("/retry", "", "ask the last question again; the new answer replaces the old one"),
    ("/title", "[TEXT]", "name the session, or print its name"),
    ("/sessions", "[N|ID]", "list the sessions, or continue one of them"),
    ("/fork", "[N]", "continue in a copy of the session, up to record N"),
    ("/quit", "", "end the chat; so does Ctrl-D"),
    ("//…", "", "a question that begins with /"),
];

impl Line {
    /// Parses one line or a text of several. A first word of `/` and letters is a command; `//` escapes a `/`.
    pub fn read(text: String) -> Self {
        let word = text.split_whitespace().next().unwrap_or_default();
        let is_command = |name: &str| name == "?" || (!name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic()));
        let Some(name) = word.strip_prefix('/').filter(|name| text.starts_with('/') && is_command(name) && !text.contains('\n'))
        else {
            return Self::Ask(if text.starts_with("//") { text[1..].to_owned() } else { text });
        };
        let rest = text[word.len()..].trim();
        let argument = Some(rest.to_owned()).filter(|rest| !rest.is_empty());
        match (name, argument) {
            ("title", title) => Self::Title(title),
            ("sessions", session) => Self::Sessions(session),
            ("fork", None) => Self::Fork(None),
            ("fork", Some(seq)) => seq.parse().map_or(Self::Unknown(text), |seq| Self::Fork(Some(seq))),
            ("help" | "h" | "?", None) => Self::Help,
            ("new", None) => Self::New,
            ("undo", None) => Self::Undo,
            ("retry", None) => Self::Retry,
            ("quit" | "exit" | "q" | "bye", None) => Self::Quit,
            // What follows a command that takes nothing was meant for something else.
            (_, Some(_)) if COMMANDS.iter().any(|(known, ..)| *known == word) => Self::Unknown(text),
            _ => Self::Unknown(word.to_owned()),
        }
    }
}

/// The list of commands, for people.
pub fn help(edits_lines: bool) -> String {
    let mut text = String::new();
    for (name, argument, about) in COMMANDS {
        text.push_str(&format!("{:17} {about}\n", format!("{name} {argument}")));
    }
    text.push_str(if edits_lines {
        "Alt-Enter or Ctrl-J begins a new line; a paste of several lines is one question. Tab completes a command.\n\
         Ctrl-R searches earlier questions."
    } else {
        "A line that ends in \\ continues on the next. Several lines that are pasted are one question: Enter sends it."
    });
    text.push_str("\nCtrl-C stops an answer; nothing of its turn is stored, and /retry asks again.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_not_questions() {
        let read = |text: &str| Line::read(text.to_owned());
        assert_eq!((read("/help"), read("/?"), read("/quit "), read("/exit")), (Line::Help, Line::Help, Line::Quit, Line::Quit));
        assert_eq!((read("/title"), read("/title  A trip ")), (Line::Title(None), Line::Title(Some("A trip".into()))));
        assert_eq!(read("/sessions 3"), Line::Sessions(Some("3".into())));
        assert_eq!((read("/fork"), read("/fork 12")), (Line::Fork(None), Line::Fork(Some(12))));
        assert_eq!(read("/fork Rome"), Line::Unknown("/fork Rome".into()));
        assert_eq!(read("/model gpt"), Line::Unknown("/model".into()));
        assert_eq!(read("/undo 3"), Line::Unknown("/undo 3".into()), "it removes one turn, not three");
        for (typed, asked) in
            [("//quit", "/quit"), ("/etc/hosts: what is it?", "/etc/hosts: what is it?"), (" /quit", " /quit"), ("/", "/")]
        {
            assert_eq!(read(typed), Line::Ask(asked.into()));
        }
        assert_eq!(read("/help\nand more"), Line::Ask("/help\nand more".into()));
    }

    #[test]
    fn every_listed_command_is_known() {
        for (name, argument, _) in COMMANDS.iter().filter(|(name, ..)| *name != "//…") {
            let line = Line::read(format!("{name} {}", if argument.is_empty() { "" } else { "7" }));
            assert!(!matches!(line, Line::Ask(_) | Line::Unknown(_)), "{name}: {line:?}");
        }
    }
}
