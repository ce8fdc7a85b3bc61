//! Policies: which of a history's messages the model is shown.

use std::fmt;
use std::sync::Arc;

use super::groups::{Group, State, groups};
use super::tokens::TokenCounter;
use crate::message::{Message, Role};
use crate::store::Reach;

/// How much of a history is shown.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Limit {
    /// All of it.
    #[default]
    Everything,
    /// At most so many of the newest messages.
    Messages(usize),
    /// The newest so many turns, each from a user's message to the next one's.
    Turns(usize),
    /// As many of the newest messages as have at most so many tokens together.
    Tokens {
        /// How many.
        budget: u64,
        /// How they are counted.
        counter: TokenCounter,
    },
}

/// Which messages of a history the model is shown. The [module](super)'s page says what none of them shows.
///
/// What is shown is the history's newest part without a gap, but for what must be left out anywhere: a group of
/// messages that does not fit ends it, even where older ones would fit.
///
/// ```
/// use chat_memory::memory::Policy;
/// use chat_memory::{Message, ToolCall};
/// let history = vec![
///     Message::user("What is the weather in Paris?"),
///     Message::tool_calls([ToolCall::function("call_1", "get_weather", r#"{"city":"Paris"}"#)]),
///     Message::tool("call_1", "21 °C"),
///     Message::assistant("It is 21 °C."),
/// ];
/// let window = Policy::last_messages(2).window(history);
/// assert_eq!(window.messages.len(), 1, "a tool's result is not shown without its call");
/// assert_eq!(window.left_out.older, 3);
/// assert_eq!(window.left_out.to_string(), "3 older messages left out");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Policy {
    limit: Limit,
    keeps_system: bool,
}

impl Policy {
    /// The whole history.
    pub fn everything() -> Self {
        Self::default()
    }

    /// At most the last `n` messages.
    pub fn last_messages(n: usize) -> Self {
        Limit::Messages(n).into()
    }

    /// The last `n` turns. What stands before a history's first turn is shown with it, if there are fewer.
    pub fn last_turns(n: usize) -> Self {
        Limit::Turns(n).into()
    }

    /// As many of the newest messages as fit `budget` tokens.
    pub fn token_budget(budget: u64, counter: TokenCounter) -> Self {
        Limit::Tokens { budget, counter }.into()
    }

    /// The same policy, which also shows the system messages at the very start of the history. They do not count among the
    /// last *n*, but they do count against a budget, and come first: one that does not fit is left out.
    ///
    /// To show them, the whole history must be read.
    #[must_use]
    pub fn keeping_system(mut self) -> Self {
        self.keeps_system = true;
        self
    }

    /// How much is shown.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// How far back a store must be read for this policy, if nothing has to be left out. ([`recall`](super::recall) reads on
    /// where something has.)
    pub fn reach(&self) -> Reach {
        match &self.limit {
            _ if self.keeps_system => Reach::All,
            Limit::Everything => Reach::All,
            Limit::Messages(n) => Reach::Messages(*n),
            Limit::Turns(n) => Reach::Turns(*n),
            Limit::Tokens { budget, counter } => {
                let counter = counter.clone();
                Reach::Weight { budget: *budget, of: Arc::new(move |message| counter.count(message)) }
            }
        }
    }

    /// The window onto a history, given whole and oldest first.
    pub fn window(&self, history: Vec<Message>) -> Window {
        self.window_of(history).0
    }

    /// The window, and whether it would be the same with any older messages in front of these.
    pub(super) fn window_of(&self, history: Vec<Message>) -> (Window, bool) {
        let pinned = if self.keeps_system { history.iter().take_while(|m| m.role == Role::System).count() } else { 0 };
        let mut room = Room::new(&self.limit, &history);
        // Each system message at the start is a group of its own.
        let mut shown: Vec<bool> = history[..pinned].iter().map(|message| room.take_pinned(message)).collect();
        shown.resize(history.len(), false);

        let mut left_out = LeftOut::default();
        let groups = groups(&history[pinned..]);
        let mut start = pinned;
        let mut settled = false;
        for Group { at, state } in groups.iter().rev() {
            let at = at.start + pinned..at.end + pinned;
            if room.is_full(at.end) || (*state == State::Whole && !room.take(&history[at.clone()])) {
                start = at.end;
                settled = true;
                break;
            }
            match state {
                State::Whole => shown[at].fill(true),
                State::Unanswered => left_out.unanswered += at.len(),
                State::Stray => left_out.stray += at.len(),
                State::Mismatched => left_out.mismatched += at.len(),
            }
        }
        settled |= room.is_full(start);
        left_out.older = shown[..start].iter().filter(|shown| !**shown).count();
        let messages = history.into_iter().zip(shown).filter_map(|(message, shown)| shown.then_some(message)).collect();
        (Window { messages, tokens: room.spent(), left_out }, settled)
    }
}

impl From<Limit> for Policy {
    fn from(limit: Limit) -> Self {
        Self { limit, keeps_system: false }
    }
}

/// What a limit still takes, going back from the newest message.
enum Room<'a> {
    Endless,
    Messages {
        left: usize,
    },
    /// From this message on.
    From {
        start: usize,
        found: bool,
    },
    Tokens {
        budget: u64,
        spent: u64,
        counter: &'a TokenCounter,
    },
}

impl<'a> Room<'a> {
    fn new(limit: &'a Limit, history: &[Message]) -> Self {
        match limit {
            Limit::Everything => Self::Endless,
            Limit::Messages(n) => Self::Messages { left: *n },
            Limit::Turns(0) => Self::From { start: history.len(), found: true },
            Limit::Turns(n) => {
                let users = history.iter().enumerate().rev().filter(|(_, message)| message.role == Role::User);
                let start = users.map(|(at, _)| at).nth(n - 1);
                Self::From { start: start.unwrap_or(0), found: start.is_some() }
            }
            Limit::Tokens { budget, counter } => Self::Tokens { budget: *budget, spent: 0, counter },
        }
    }

    /// Whether nothing before the message at `end` can be taken.
    fn is_full(&self, end: usize) -> bool {
        match self {
            Self::Endless => false,
            Self::Messages { left } => *left == 0,
            Self::From { start, found } => *found && end <= *start,
            Self::Tokens { budget, spent, .. } => spent >= budget,
        }
    }

    /// Takes a group, if it fits. ([`is_full`](Self::is_full) was asked first.)
    fn take(&mut self, group: &[Message]) -> bool {
        match self {
            // No group has a user's message inside, so none lies across the start of a turn.
            Self::Endless | Self::From { .. } => true,
            Self::Messages { left } => left.checked_sub(group.len()).map(|rest| *left = rest).is_some(),
            Self::Tokens { budget, spent, counter } => {
                let sum = group.iter().map(|message| counter.count(message)).fold(*spent, u64::saturating_add);
                let fits = sum <= *budget;
                if fits {
                    *spent = sum;
                }
                fits
            }
        }
    }

    /// Takes a message that counts against a budget only.
    fn take_pinned(&mut self, message: &Message) -> bool {
        !matches!(self, Self::Tokens { .. }) || self.take(std::slice::from_ref(message))
    }

    fn spent(&self) -> Option<u64> {
        match self {
            Self::Tokens { spent, .. } => Some(*spent),
            _ => None,
        }
    }
}

/// What the model is shown of a history.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Window {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Their tokens, where the policy counts them.
    pub tokens: Option<u64>,
    /// What is not shown.
    pub left_out: LeftOut,
}

/// How many messages a window does not show, and why. `Display` says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LeftOut {
    /// Older than the window reaches; of those that were read.
    pub older: usize,
    /// Within the window: calls of tools of which a result is missing, and the results that are there.
    pub unanswered: usize,
    /// Within the window: results that do not follow the message that calls for them.
    pub stray: usize,
    /// Within the window: calls and results that are not one to one, since an id is missing, unknown or there twice.
    pub mismatched: usize,
    /// Whether there are still older messages, which were not even read.
    pub unread: bool,
}

impl LeftOut {
    /// Whether everything is shown.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// How many messages were read and are not shown.
    pub fn messages(&self) -> usize {
        self.older + self.broken()
    }

    /// How many messages are not shown because a tool's calls and results do not fit together.
    pub fn broken(&self) -> usize {
        self.unanswered + self.stray + self.mismatched
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {}", what.replacen("messages", "message", 1))),
            n => Some(format!("{n} {what}")),
        };
        let mut said: Vec<String> = [
            count(self.older, "older messages"),
            count(self.unanswered, "messages of tool calls without a result"),
            count(self.stray, "messages that are tool results without their call"),
            count(self.mismatched, "messages of tool calls and results that do not match"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.unread {
            said.push("what is older still".into());
        }
        if said.is_empty() { f.write_str("nothing left out") } else { write!(f, "{} left out", said.join(", ")) }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
