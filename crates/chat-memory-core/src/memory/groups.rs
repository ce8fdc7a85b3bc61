//! Groups the messages that must be shown together: a model's tool calls and their results.

use std::ops::Range;

use crate::message::tools::{Form, Reference, ToolUse};
use crate::message::{Message, Role};

/// Consecutive messages that are shown together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) at: Range<usize>,
    pub(super) state: State,
    /// Whether the group stays the same whatever older messages come before these.
    pub(super) sure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// May be shown.
    Whole,
    /// The result of a call is missing, or the output that belongs to a model's reasoning.
    Unanswered,
    /// Results without the message that made the calls.
    Stray,
    /// Calls and results do not match one to one.
    Mismatched,
    /// Gemini's calls that follow neither a user's message nor results.
    Unasked,
}

/// A group being read.
struct Run<'a> {
    form: Form,
    open: Vec<Reference<'a>>,
    /// Whether it contains a call.
    calls: bool,
    /// Whether results for the calls so far have started.
    answering: bool,
    /// Whether it has the model's reasoning, and whether output of the model followed that.
    reasoning: bool,
    followed: bool,
    /// Whether a message of results has other content, which the provider requires after all results.
    ended: bool,
    stray: bool,
    mismatched: bool,
}

impl<'a> Run<'a> {
    fn new(first: &ToolUse<'a>) -> Self {
        let mut run = Self {
            form: first.form,
            open: Vec::new(),
            calls: !first.calls.is_empty(),
            answering: false,
            reasoning: false,
            followed: false,
            ended: false,
            stray: !first.results.is_empty(),
            mismatched: false,
        };
        run.take(first);
        run
    }

    /// Whether this message belongs to the group before it.
    fn wants(&self, next: &ToolUse<'_>) -> bool {
        if !self.calls && !self.reasoning {
            return !next.results.is_empty() && next.calls.is_empty();
        }
        if next.role == Role::Assistant {
            return next.may_continue && self.wants_of_model(next);
        }
        !next.results.is_empty() && !self.ended
    }

    /// Whether another message of the model's may follow here.
    fn wants_of_model(&self, next: &ToolUse<'_>) -> bool {
        let same = self.form == next.form;
        match self.form {
            Form::Chat => false,
            Form::Items => same && (!self.open.is_empty() || (self.reasoning && !self.answering)),
            Form::Gemini => same && !self.open.is_empty() && !self.answering,
            Form::Blocks => {
                // A call that the provider runs may continue in the model's next message, after the results of other calls.
                let others_are_answered = self.open.iter().all(|call| call.by_provider);
                next.form != Form::Gemini && !self.open.is_empty() && (!self.answering || others_are_answered)
            }
        }
    }

    fn take(&mut self, next: &ToolUse<'a>) {
        for result in &next.results {
            match result.answers(&self.open) {
                Some(at) => drop(self.open.remove(at)),
                None => self.mismatched = true,
            }
        }
        self.mismatched |= next.misplaced;
        if !next.results.is_empty() {
            self.answering = true;
            // Reasoning must be directly followed by the model's output; a result is not output.
            self.mismatched |= self.reasoning && !self.followed;
            self.reasoning = false;
            self.ended = next.says_more && next.role != Role::Assistant;
        }
        if next.role == Role::Assistant {
            self.followed = !next.is_reasoning;
            self.reasoning |= next.is_reasoning;
            self.answering &= self.form == Form::Items;
        }
        self.calls |= !next.calls.is_empty();
        for call in &next.calls {
            self.mismatched |= self.open.iter().any(|other| other.has_id_of(call));
            self.open.push(*call);
        }
    }

    fn state(&self) -> State {
        if self.stray && !self.calls {
            State::Stray
        } else if self.mismatched {
            State::Mismatched
        } else if !self.open.is_empty() || (self.reasoning && !self.followed) {
            State::Unanswered
        } else {
            State::Whole
        }
    }
}

/// Groups a history, given all its messages in order.
///
/// The end of a group depends only on the neighbouring messages. So the newest part of a history has the same groups as in the
/// whole, starting at the first message that cannot continue anything. Groups before that are not [sure](Group::sure).
pub(super) fn groups(messages: &[&Message]) -> Vec<Group> {
    let uses: Vec<_> = messages.iter().map(|message| ToolUse::of(message)).collect();
    let sure_from = uses.iter().position(|of| !of.may_continue).unwrap_or(uses.len());
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    while at < uses.len() {
        let (mut end, mut state) = (at + 1, State::Whole);
        if !uses[at].is_plain() {
            let mut run = Run::new(&uses[at]);
            while let Some(next) = uses.get(end).filter(|next| run.wants(next)) {
                run.take(next);
                end += 1;
            }
            state = run.state();
        }
        let mut start = at;
        if state == State::Whole && uses[at].form == Form::Gemini && !uses[at].calls.is_empty() {
            match lead(&groups, &uses) {
                Some(first) => {
                    start = groups[first].at.start;
                    groups.truncate(first);
                }
                None => state = State::Unasked,
            }
        }
        groups.push(Group { at: start..end, state, sure: start >= sure_from });
        at = end;
    }
    groups
}

/// Returns the first of the groups that must be shown with Gemini's calls after them: a user's message, or results, with nothing
/// in between but the model's own words.
fn lead(groups: &[Group], uses: &[ToolUse<'_>]) -> Option<usize> {
    for (place, group) in groups.iter().enumerate().rev() {
        let last = &uses[group.at.end - 1];
        match last.role {
            _ if group.state != State::Whole => return None,
            Role::User | Role::Tool => return Some(place),
            Role::Assistant if last.form == Form::Gemini => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToolCall;
    use crate::wire::openai;
    use serde_json::json;

    fn call(ids: &[&str]) -> Message {
        Message::tool_calls(ids.iter().map(|id| ToolCall::function(*id, "f", "{}")))
    }

    fn result(id: &str) -> Message {
        Message::tool(id, "21")
    }

    fn states(messages: &[Message]) -> Vec<(usize, State)> {
        groups(&messages.iter().collect::<Vec<_>>()).into_iter().map(|group| (group.at.len(), group.state)).collect()
    }

    #[test]
    fn results_in_any_order_complete_a_group() {
        let history =
            [Message::user("?"), call(&["a", "b"]), result("b"), result("a"), call(&["a"]), result("a"), Message::assistant("!")];
        assert_eq!(states(&history), [(1, State::Whole), (3, State::Whole), (2, State::Whole), (1, State::Whole)]);
    }

    #[test]
    fn broken_groups_are_classified_as_a_whole() {
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
        // A message between a call and its result interrupts the group.
        let interrupted = [call(&["a"]), Message::user("Wait"), result("a")];
        assert_eq!(states(&interrupted), [(1, State::Unanswered), (1, State::Whole), (1, State::Stray)]);
    }

    #[test]
    fn legacy_function_calls_form_groups() {
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
