//! Policies: which messages of a history the model is shown.

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
    /// At most the newest n messages.
    Messages(usize),
    /// The newest n turns, each from a message that [begins one](Message::begins_turn) to the next such message.
    Turns(usize),
    /// As many of the newest messages as fit the budget.
    Tokens {
        /// The budget, in tokens.
        budget: u64,
        /// Counts the tokens.
        counter: TokenCounter,
    },
}

impl Limit {
    /// Returns the limit's number and its unit; `None` if it has none.
    fn measure(&self) -> Option<(u64, Unit)> {
        match self {
            Self::Messages(n) => Some((*n as u64, Unit::Messages)),
            Self::Tokens { budget, .. } => Some((*budget, Unit::Tokens)),
            Self::Everything | Self::Turns(_) => None,
        }
    }
}

/// Which messages of a history the model is shown. The [module documentation](super) lists what no policy shows.
///
/// The window is the newest part of the history without a gap, apart from messages that no policy shows: a group of messages that
/// does not fit ends the window, even if older ones would fit.
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
    starts_at_user: bool,
}

impl Policy {
    /// Shows the whole history.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Shows at most the last `n` messages.
    pub fn last_messages(n: usize) -> Self {
        Limit::Messages(n).into()
    }

    /// Shows the last `n` turns. If there are fewer, what comes before the history's first turn is shown, too.
    pub fn last_turns(n: usize) -> Self {
        Limit::Turns(n).into()
    }

    /// Shows as many of the newest messages as fit `budget` tokens.
    pub fn token_budget(budget: u64, counter: TokenCounter) -> Self {
        Limit::Tokens { budget, counter }.into()
    }

    /// Also shows the system messages at the very start of the history. They do not count among the last *n*. They do count
    /// against a token budget and are taken first: one that does not fit is left out.
    ///
    /// Showing them requires reading the whole history.
    #[must_use]
    pub fn keeping_system(mut self) -> Self {
        self.keeps_system = true;
        self
    }

    /// Starts the window at a message that [begins a turn](Message::begins_turn), as some providers demand. Messages before it
    /// are left out, except system messages. [`Omitted::before_user`] counts them.
    ///
    /// ```
    /// use chat_memory::Message;
    /// use chat_memory::memory::Policy;
    /// let history = || ["To Rome?", "Or to Lisbon?"].iter().flat_map(|text| [Message::assistant("Hm."), Message::user(*text)]).collect();
    /// let window = Policy::last_messages(2).starting_at_user().window(history());
    /// assert_eq!(window.messages, [Message::user("Or to Lisbon?")]);
    /// assert_eq!(Policy::last_messages(2).window(history()).messages.len(), 2);
    /// ```
    #[must_use]
    pub fn starting_at_user(mut self) -> Self {
        self.starts_at_user = true;
        self
    }

    /// Returns the limit.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Returns how far back a store must be read for this policy if nothing has to be left out. (Otherwise
    /// [`recall`](super::recall) reads further.)
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

    /// Returns the window onto a history, given whole and oldest first.
    pub fn window(&self, history: Vec<Message>) -> Window {
        let view = self.view_of(&history.iter().collect::<Vec<_>>());
        view.window(history)
    }

    /// Decides what is shown of a history, or of its newest part.
    pub(super) fn view_of(&self, history: &[&Message]) -> View {
        let pinned = if self.keeps_system { history.iter().take_while(|m| m.role == Role::System).count() } else { 0 };
        let mut room = Room::new(&self.limit, history);
        // Each system message at the start is a group of its own.
        let mut shown: Vec<bool> = history[..pinned].iter().map(|message| room.take_pinned(message)).collect();
        shown.resize(history.len(), false);

        let mut left_out = Omitted::default();
        let groups = groups(&history[pinned..]);
        let mut start = pinned;
        let mut settled = false;
        let mut sure = true;
        for Group { at, state, sure: is_sure } in groups.iter().rev() {
            let at = at.start + pinned..at.end + pinned;
            if room.is_full(at.end) {
                start = at.end;
                settled = true;
                break;
            }
            sure &= is_sure;
            if *state == State::Whole
                && let Err(needed) = room.take(&history[at.clone()])
            {
                if !shown[pinned..].contains(&true) {
                    left_out.does_not_fit =
                        self.limit.measure().map(|(limit, unit)| DoesNotFit { messages: at.len(), needed, limit, unit });
                }
                start = at.end;
                settled = true;
                break;
            }
            match state {
                State::Whole => shown[at].fill(true),
                State::Unanswered => left_out.unanswered += at.len(),
                State::Stray => left_out.stray += at.len(),
                State::Mismatched => left_out.mismatched += at.len(),
                State::Unasked => left_out.unasked += at.len(),
            }
        }
        settled |= room.is_full(start);
        left_out.older = shown[..start].iter().filter(|shown| !**shown).count();
        if self.starts_at_user {
            for (shown, message) in
                shown.iter_mut().zip(history).take_while(|(shown, message)| !(**shown && message.begins_turn()))
            {
                if *shown && message.role != Role::System {
                    *shown = false;
                    left_out.before_user += 1;
                    room.give_back(message);
                }
            }
        }
        View { shown, tokens: room.spent(), left_out, settled: settled && sure, full: settled }
    }
}

/// What a policy shows of the messages that it was given.
#[derive(Debug)]
pub(super) struct View {
    /// For each message, whether it is shown.
    pub(super) shown: Vec<bool>,
    pub(super) tokens: Option<u64>,
    pub(super) left_out: Omitted,
    /// Whether the result stays the same whatever older messages come before these.
    pub(super) settled: bool,
    /// Whether the limit accepts nothing older.
    pub(super) full: bool,
}

impl View {
    /// Returns the window onto the messages that this view was made for.
    pub(super) fn window(self, history: Vec<Message>) -> Window {
        let messages = history.into_iter().zip(self.shown).filter_map(|(message, shown)| shown.then_some(message)).collect();
        Window { messages, tokens: self.tokens, left_out: self.left_out }
    }
}

impl From<Limit> for Policy {
    fn from(limit: Limit) -> Self {
        Self { limit, keeps_system: false, starts_at_user: false }
    }
}

/// What a limit still accepts, going back from the newest message.
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
    fn new(limit: &'a Limit, history: &[&Message]) -> Self {
        match limit {
            Limit::Everything => Self::Endless,
            Limit::Messages(n) => Self::Messages { left: *n },
            Limit::Turns(0) => Self::From { start: history.len(), found: true },
            Limit::Turns(n) => {
                let users = history.iter().enumerate().rev().filter(|(_, message)| message.begins_turn());
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

    /// Takes a group if it fits; otherwise returns how large the limit would have to be. (Call [`is_full`](Self::is_full) first.)
    fn take(&mut self, group: &[&Message]) -> Result<(), u64> {
        match self {
            // If a turn begins inside a group, it begins at the group's start, so no group crosses the start of a turn.
            Self::Endless | Self::From { .. } => Ok(()),
            Self::Messages { left } => match left.checked_sub(group.len()) {
                Some(rest) => {
                    *left = rest;
                    Ok(())
                }
                None => Err(group.len() as u64),
            },
            Self::Tokens { budget, spent, counter } => {
                let sum = group.iter().map(|message| counter.count(message)).fold(*spent, u64::saturating_add);
                if sum > *budget {
                    return Err(sum);
                }
                *spent = sum;
                Ok(())
            }
        }
    }

    /// Takes a message that only counts against a budget.
    fn take_pinned(&mut self, message: &Message) -> bool {
        !matches!(self, Self::Tokens { .. }) || self.take(&[message]).is_ok()
    }

    /// Gives back a message that was taken but is not shown after all.
    fn give_back(&mut self, message: &Message) {
        if let Self::Tokens { spent, counter, .. } = self {
            *spent = spent.saturating_sub(counter.count(message));
        }
    }

    fn spent(&self) -> Option<u64> {
        match self {
            Self::Tokens { spent, .. } => Some(*spent),
            _ => None,
        }
    }
}

/// The part of a history that the model is shown.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Window {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Their tokens, if the policy counts them.
    pub tokens: Option<u64>,
    /// What is not shown.
    pub left_out: Omitted,
}

/// How many messages a window does not show, and why. `Display` writes it as a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Omitted {
    /// Older than the window reaches; counts only messages that were read.
    pub older: usize,
    /// Within the window: tool calls with a missing result, and those of their results that exist. Also a model's reasoning in
    /// OpenAI's Responses form that no output follows.
    pub unanswered: usize,
    /// Within the window: results that do not follow the message that made the calls.
    pub stray: usize,
    /// Within the window: calls and results that do not match one to one, because an id is missing, unknown or duplicated.
    pub mismatched: usize,
    /// Within the window: calls and results in Gemini's form that follow neither a user's message nor other results, as Gemini
    /// demands.
    pub unasked: usize,
    /// Within the limit: messages before the first one that begins a turn, if the policy [starts
    /// there](Policy::starting_at_user).
    pub before_user: usize,
    /// Set if the limit is too small for the newest message, or for the newest messages that belong together: how much they need.
    /// The window is then empty, except for system messages that it keeps.
    pub does_not_fit: Option<DoesNotFit>,
    /// Whether there are older messages that were not read.
    pub unread: bool,
}

/// The unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Messages.
    Messages,
    /// Tokens.
    Tokens,
}

/// The newest message, or the newest messages that belong together, and a limit that is too small for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoesNotFit {
    /// How many messages there are.
    pub messages: usize,
    /// How large the limit would have to be.
    pub needed: u64,
    /// The limit.
    pub limit: u64,
    /// The unit of both.
    pub unit: Unit,
}

impl fmt::Display for DoesNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, needed, limit, unit } = self;
        let what = match messages {
            1 => "the newest message".to_owned(),
            n => format!("a tool's call and its results, the newest {n} messages,"),
        };
        let unit = match unit {
            Unit::Messages => "messages",
            Unit::Tokens => "tokens",
        };
        let verb = if *messages == 1 { "needs" } else { "need" };
        write!(f, "the window is empty: {what} {verb} {needed} {unit} and the limit is {limit}; raise the limit to {needed}")
    }
}

impl Omitted {
    /// Whether everything is shown.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns how many messages were read but are not shown.
    pub fn messages(&self) -> usize {
        self.older + self.before_user + self.broken()
    }

    /// Returns how many messages are not shown because a tool's calls and results do not match.
    pub fn broken(&self) -> usize {
        self.unanswered + self.stray + self.mismatched + self.unasked
    }
}

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {}", what.replacen("messages", "message", 1))),
            n => Some(format!("{n} {what}")),
        };
        let mut said: Vec<String> = [
            count(self.older, "older messages"),
            count(self.before_user, "messages before the first user's message"),
            count(self.unanswered, "messages of tool calls without a result"),
            count(self.stray, "messages that are tool results without their call"),
            count(self.mismatched, "messages of tool calls and results that do not match"),
            count(self.unasked, "messages of tool calls that follow no user's message"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.unread {
            said.push("everything earlier".into());
        }
        match (&self.does_not_fit, said.is_empty()) {
            (None, true) => f.write_str("nothing left out"),
            (None, false) => write!(f, "{} left out", said.join(", ")),
            (Some(sizes), true) => write!(f, "{sizes}"),
            (Some(sizes), false) => write!(f, "{sizes} ({} left out)", said.join(", ")),
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "forms_tests.rs"]
mod forms_tests;
