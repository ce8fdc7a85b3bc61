//! Which messages stand and fall together: an assistant's calls of tools, and their results.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

use crate::message::{Message, Role};
use crate::wire::openai;

/// Neighbouring messages that are shown together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) at: Range<usize>,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// May be shown.
    Whole,
    /// A call's result is missing.
    Unanswered,
    /// Results without the message that calls.
    Stray,
    /// Calls and results are not one to one.
    Mismatched,
}

/// By what a result names its call.
#[derive(PartialEq, Eq, Hash)]
enum Name<'a> {
    Call(&'a str),
    /// OpenAI's older kind of call has no id.
    Function(&'a str),
}

/// The calls of an assistant's message; `None` for one that nothing can name.
fn calls(message: &Message) -> Vec<Option<Name<'_>>> {
    if message.role != Role::Assistant {
        return Vec::new();
    }
    let function = openai::function_call(message).map(|call| call.get("name").and_then(Value::as_str).map(Name::Function));
    message.tool_calls.iter().map(|call| call.id().map(Name::Call)).chain(function).collect()
}

/// The call that a result names.
fn answers(message: &Message) -> Option<Name<'_>> {
    match openai::other_name(message.role, &message.extra) {
        Some(_) => message.name.as_deref().map(Name::Function),
        None => message.tool_call_id.as_deref().map(Name::Call),
    }
}

fn state_of(calls: Vec<Option<Name<'_>>>, results: &[Message]) -> State {
    let expected = calls.len();
    let named: HashSet<_> = calls.into_iter().flatten().collect();
    let answered: HashSet<_> = results.iter().filter_map(answers).collect();
    if named.len() < expected || answered.len() < results.len() || !answered.is_subset(&named) {
        State::Mismatched
    } else if answered.len() < named.len() {
        State::Unanswered
    } else {
        State::Whole
    }
}

/// The groups of a history, all its messages in their order. Where a group ends is told by the messages next to it alone, so the
/// newest part of a history has the groups that it has in the whole; only results at its very start may belong to a call before it.
pub(super) fn groups(messages: &[Message]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut at = 0;
    while at < messages.len() {
        let calls = calls(&messages[at]);
        let is_result = |message: &&Message| message.role == Role::Tool;
        let (end, state) = if !calls.is_empty() {
            let end = at + 1 + messages[at + 1..].iter().take_while(is_result).count();
            (end, state_of(calls, &messages[at + 1..end]))
        } else if messages[at].role == Role::Tool {
            (at + messages[at..].iter().take_while(is_result).count(), State::Stray)
        } else {
            (at + 1, State::Whole)
        };
        groups.push(Group { at: at..end, state });
        at = end;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToolCall;
    use serde_json::json;

    fn call(ids: &[&str]) -> Message {
        Message::tool_calls(ids.iter().map(|id| ToolCall::function(*id, "f", "{}")))
    }

    fn result(id: &str) -> Message {
        Message::tool(id, "21")
    }

    fn states(messages: &[Message]) -> Vec<(usize, State)> {
        groups(messages).into_iter().map(|group| (group.at.len(), group.state)).collect()
    }

    #[test]
    fn results_in_any_order_make_a_group_whole() {
        let history =
            [Message::user("?"), call(&["a", "b"]), result("b"), result("a"), call(&["a"]), result("a"), Message::assistant("!")];
        assert_eq!(states(&history), [(1, State::Whole), (3, State::Whole), (2, State::Whole), (1, State::Whole)]);
    }

    #[test]
    fn broken_groups_are_broken_whole() {
        for (history, broken) in [
            (vec![call(&["a"])], State::Unanswered),
            (vec![call(&["a", "b"]), result("a")], State::Unanswered),
            (vec![result("a")], State::Stray),
            (vec![result("a"), result("b")], State::Stray),
            (vec![call(&["a"]), result("a"), result("a")], State::Mismatched),
            (vec![call(&["a"]), result("b")], State::Mismatched),
            (vec![call(&["a"]), result("a"), result("b")], State::Mismatched),
            (vec![call(&["a", "a"]), result("a")], State::Mismatched),
            (vec![call(&["a"]), Message::new(Role::Tool, "no id")], State::Mismatched),
        ] {
            assert_eq!(states(&history), [(history.len(), broken)], "{history:?}");
        }
        // Something between a call and its result interrupts the group.
        let interrupted = [call(&["a"]), Message::user("Wait"), result("a")];
        assert_eq!(states(&interrupted), [(1, State::Unanswered), (1, State::Whole), (1, State::Stray)]);
    }

    #[test]
    fn the_older_kind_of_call_is_one_too() {
        let read = |value| openai::from_value(value).expect("good");
        let call = read(json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}}));
        let result = read(json!({"role": "function", "name": "f", "content": "21"}));
        let other = read(json!({"role": "function", "name": "g", "content": "21"}));
        assert_eq!(states(&[call.clone(), result.clone()]), [(2, State::Whole)]);
        assert_eq!(states(&[call.clone(), other]), [(2, State::Mismatched)]);
        assert_eq!(states(std::slice::from_ref(&call)), [(1, State::Unanswered)]);
        assert_eq!(states(&[result]), [(1, State::Stray)]);
        let none = read(json!({"role": "assistant", "content": "x", "function_call": null}));
        assert_eq!(states(&[none]), [(1, State::Whole)]);
    }
}
