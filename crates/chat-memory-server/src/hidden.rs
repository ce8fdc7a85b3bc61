//! A setting that is not printed with the others.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that `Debug` does not show.
///
/// ```
/// use chat_memory_server::config::Hidden;
/// let text = Hidden::from("what others must not read");
/// assert_eq!((text.text(), format!("{text:?}").as_str()), ("what others must not read", "…"));
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
