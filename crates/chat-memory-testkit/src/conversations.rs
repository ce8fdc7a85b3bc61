//! Conversations to test with: real ones if available, otherwise the project's own sample.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use chat_memory::{Message, Role};
use serde_json::Value;

/// A conversation, as on a line of the file: `{"id", "messages"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// Its id, which is a valid session id.
    pub id: String,
    /// Its messages, oldest first.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// Splits into turns: each is a user's message and everything up to the next one. What comes before the first user's message
    /// (a system prompt) belongs to the first turn; a conversation without a user's message is one turn.
    ///
    /// ```
    /// use chat_memory::Message;
    /// use chat_memory_testkit::Conversation;
    /// let [prompt, question, answer] = [Message::system("Be brief."), Message::user("Hello"), Message::assistant("Hi.")];
    /// let messages = vec![prompt, question.clone(), answer, question];
    /// let conversation = Conversation { id: "demo".into(), messages };
    /// assert_eq!(conversation.turns().map(<[Message]>::len).collect::<Vec<_>>(), [3, 1]);
    /// ```
    pub fn turns(&self) -> impl Iterator<Item = &[Message]> {
        let is_user = |message: &Message| message.role == Role::User;
        let first = self.messages.iter().position(is_user);
        let later = self.messages.iter().enumerate().filter(move |(at, message)| is_user(message) && Some(*at) != first);
        let mut starts: Vec<usize> = later.map(|(at, _)| at).collect();
        if !self.messages.is_empty() {
            starts.insert(0, 0);
        }
        let ends: Vec<usize> = starts.iter().skip(1).copied().chain([self.messages.len()]).collect();
        starts.into_iter().zip(ends).map(|(start, end)| &self.messages[start..end])
    }
}

/// Loads the conversations of [`conversations_path`].
///
/// # Panics
/// If the file cannot be read or a line is not a conversation; the message names it.
pub fn shared_conversations() -> Vec<Conversation> {
    read(&conversations_path())
}

/// Returns the file of conversations: `data/conversations.jsonl` in the directory that CHAT_MEMORY_SHARED names, or in
/// `../shared` next to the checkout, or else [the project's own sample](sample_path), which is then reported on stderr.
///
/// # Panics
/// If CHAT_MEMORY_SHARED names a directory without the file.
pub fn conversations_path() -> PathBuf {
    static ANNOUNCED: Once = Once::new();
    let inside = Path::new("data").join("conversations.jsonl");
    if let Some(folder) = std::env::var_os("CHAT_MEMORY_SHARED").filter(|folder| !folder.is_empty()) {
        let path = Path::new(&folder).join(inside);
        assert!(path.is_file(), "CHAT_MEMORY_SHARED names a folder without {}; correct it or unset it", path.display());
        return path;
    }
    let path = root().join("..").join("shared").join(inside);
    if path.is_file() {
        return path;
    }
    ANNOUNCED.call_once(|| {
        // Bypasses the test runner, which hides the output of passing tests. If stderr is closed, nobody is listening.
        let _ = writeln!(
            std::io::stderr(),
            "note: no real conversations ({} is missing); testing on the sample in testdata/",
            path.display()
        );
    });
    sample_path()
}

/// Returns the project's own sample of conversations: small, but with tool calls, parts and emoji.
pub fn sample_path() -> PathBuf {
    root().join("testdata").join("conversations.jsonl")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace's root is two folders up")
}

fn read(path: &Path) -> Vec<Conversation> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{} cannot be read: {e}", path.display()));
    let lines = text.lines().enumerate();
    let conversation = |(at, line)| parse(line).unwrap_or_else(|e| panic!("{}, line {}: {e}", path.display(), at + 1));
    lines.map(conversation).collect()
}

fn parse(line: &str) -> Result<Conversation, String> {
    let mut line: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let Value::Array(messages) = line["messages"].take() else { return Err("it has no list of messages".into()) };
    let id = line["id"].as_str().ok_or("it has no id")?.to_owned();
    let messages = messages.into_iter().map(Message::from_value).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    Ok(Conversation { id, messages })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(conversations: &[Conversation], test: impl Fn(&Message) -> bool) -> bool {
        conversations.iter().flat_map(|conversation| &conversation.messages).any(test)
    }

    #[test]
    fn sample_covers_the_message_forms_tests_need() {
        let sample = read(&sample_path());
        assert_eq!(sample.len(), 3);
        assert!(has(&sample, |message| message.role == Role::System));
        assert!(has(&sample, |message| message.tool_calls.len() > 1));
        assert!(has(&sample, |message| message.role == Role::Tool && message.tool_call_id.is_some()));
        assert!(has(&sample, |message| matches!(&message.content, Some(chat_memory::Content::Parts(parts)) if parts.len() > 1)));
        assert!(has(&sample, |message| message.text().contains('🚲')));
        assert!(has(&sample, |message| message.content.is_none()));
    }

    #[test]
    fn turns_cover_the_conversation_with_one_question_each() {
        for conversation in read(&sample_path()).into_iter().chain(shared_conversations()) {
            let turns: Vec<_> = conversation.turns().collect();
            assert_eq!(turns.concat(), conversation.messages, "{}", conversation.id);
            for turn in turns {
                let questions = turn.iter().filter(|message| message.role == Role::User).count();
                assert_eq!(questions, 1, "{}", conversation.id);
            }
        }
    }

    #[test]
    fn turns_are_split_in_edge_cases() {
        let turns = |messages: Vec<Message>| {
            let conversation = Conversation { id: "x".into(), messages };
            conversation.turns().map(<[Message]>::len).collect::<Vec<_>>()
        };
        assert!(turns(vec![]).is_empty());
        assert_eq!(turns(vec![Message::system("s"), Message::assistant("a")]), [2]);
        assert_eq!(turns(vec![Message::user("u"), Message::user("u")]), [1, 1]);
    }
}
