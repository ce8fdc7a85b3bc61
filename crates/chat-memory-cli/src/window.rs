//! The options of `show` and `chat` that select the newest part of a history.

use chat_memory::memory::{Encoding, Policy, TokenCounter};
use clap::Args;

use crate::failure::Failure;

/// How much of a history; without an option all of it.
#[derive(Debug, Clone, Copy, Args)]
pub struct WindowOptions {
    #[command(flatten)]
    limit: Limits,
    /// Start at a user message, as some providers demand, and omit what comes before it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    start_at_user: Option<bool>,
}

#[derive(Debug, Clone, Copy, Args)]
#[group(id = "window", multiple = false)]
struct Limits {
    /// The newest N messages
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// The newest N turns, each a user message and everything up to the next
    #[arg(long, value_name = "N")]
    turns: Option<usize>,
    /// The newest messages within N tokens
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
}

impl WindowOptions {
    /// Whether any is given.
    pub fn is_given(&self) -> bool {
        let Limits { last, turns, tokens } = self.limit;
        last.is_some() || turns.is_some() || tokens.is_some() || self.start_at_user == Some(true)
    }

    /// The options that are given, as on the command line.
    pub fn given(&self) -> Option<String> {
        let Limits { last, turns, tokens } = self.limit;
        let limits = [("last", last.map(|n| n as u64)), ("turns", turns.map(|n| n as u64)), ("tokens", tokens)];
        let limits = limits.into_iter().filter_map(|(name, n)| Some(format!(" --{name} {}", n?)));
        let start = self.start_at_user.map(|start| format!(" --start-at-user={start}"));
        Some(limits.chain(start).collect())
    }

    /// The policy. Counts tokens like this model if it is known, otherwise like OpenAI's newer models. `start_at_user` is the
    /// default of that option.
    pub fn policy(&self, model: Option<&str>, start_at_user: bool) -> Result<Policy, Failure> {
        let policy = match self.limit {
            Limits { last: Some(n), .. } => Policy::last_messages(n),
            Limits { turns: Some(n), .. } => Policy::last_turns(n),
            Limits { tokens: Some(budget), .. } => {
                let known = model.and_then(|model| TokenCounter::for_model(model).ok());
                let counter = known.map_or_else(|| TokenCounter::exact(Encoding::O200kBase), Ok)?;
                Policy::token_budget(budget, counter)
            }
            _ => Policy::everything(),
        };
        Ok(if self.start_at_user.unwrap_or(start_at_user) { policy.starting_at_user() } else { policy })
    }
}
