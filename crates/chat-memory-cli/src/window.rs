//! The options by which `show` and `chat` take the newest part of a history.

use chat_memory::memory::{Encoding, Policy, TokenCounter};
use clap::Args;

use crate::failure::Failure;

/// How much of a history; all of it without an option.
#[derive(Debug, Clone, Copy, Args)]
#[group(id = "window", multiple = false)]
pub struct WindowOptions {
    /// The newest N messages
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// The newest N turns, each a user's message and all up to the next
    #[arg(long, value_name = "N")]
    turns: Option<usize>,
    /// The newest messages that have at most N tokens together
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
}

impl WindowOptions {
    /// Whether any is given.
    pub fn is_given(&self) -> bool {
        self.last.is_some() || self.turns.is_some() || self.tokens.is_some()
    }

    /// The policy. Tokens are counted as this model counts them, where it is known, and as OpenAI's newer models do otherwise.
    pub fn policy(&self, model: Option<&str>) -> Result<Policy, Failure> {
        Ok(match self {
            Self { last: Some(n), .. } => Policy::last_messages(*n),
            Self { turns: Some(n), .. } => Policy::last_turns(*n),
            Self { tokens: Some(budget), .. } => {
                let known = model.and_then(|model| TokenCounter::for_model(model).ok());
                let counter = known.map_or_else(|| TokenCounter::exact(Encoding::O200kBase), Ok)?;
                Policy::token_budget(*budget, counter)
            }
            _ => Policy::everything(),
        })
    }
}
