//! Settings that are secret.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that `Debug` does not print.
///
/// ```
/// use chat_memory_server::config::Secret;
/// let text = Secret::from("what others must not read");
/// assert_eq!((text.text(), format!("{text:?}").as_str()), ("what others must not read", "…"));
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
