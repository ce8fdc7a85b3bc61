//! The directory: which sessions there are, and what is known of each beside its messages.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value};

use super::Receipt;
use crate::error::Error;
use crate::json;
use crate::session::{Owner, SessionId};

/// The longest title, in bytes.
pub const MAX_TITLE_BYTES: usize = 1024;

/// A session, as the directory lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Its title.
    pub title: Option<String>,
    /// The caller's own JSON.
    pub metadata: Option<Map<String, Value>>,
    /// When its first record was written, in epoch milliseconds.
    pub created_at: i64,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionQuery {
    /// Those of this owner; `None` for those of nobody.
    pub owner: Option<Owner>,
    /// At most so many; 100 where it is `None`.
    pub limit: Option<usize>,
    /// Go on where the last page ended: its [`next`](SessionPage::next).
    pub after: Option<String>,
}

impl SessionQuery {
    /// The sessions that have no owner.
    pub fn of_nobody() -> Self {
        Self::default()
    }

    /// The sessions of this owner.
    pub fn of(owner: Owner) -> Self {
        Self { owner: Some(owner), ..Self::default() }
    }

    /// At most so many a page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The page after the one that ended with this cursor.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<String>) -> Self {
        self.after = Some(cursor.into());
        self
    }
}

/// A page of the directory, newest sessions first.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionInfo>,
    /// Where the next page goes on; `None` after the last.
    pub next: Option<String>,
    /// What it cost.
    pub receipt: Receipt,
}

impl SessionPage {
    /// A page of these sessions.
    pub fn new(sessions: Vec<SessionInfo>, next: Option<String>) -> Self {
        Self { sessions, next, receipt: Receipt::default() }
    }
}

/// A change of what is known of a session. `None` leaves a field as it is, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionUpdate {
    /// The title.
    pub title: Option<Option<String>>,
    /// The caller's own JSON, replaced whole.
    pub metadata: Option<Option<Map<String, Value>>>,
}

impl SessionUpdate {
    /// Whether any store may take it. Stores call this first.
    ///
    /// # Errors
    /// Invalid, when the title is not one (see [`check_title`]) or the metadata nests too deep to be read back.
    pub fn check(&self) -> Result<(), Error> {
        self.title.iter().flatten().try_for_each(|title| check_title(title))?;
        let fields = self.metadata.iter().flatten();
        match fields.flat_map(Map::values).map(json::depth).max() {
            // The object that holds the fields is a level of its own.
            Some(json::MAX_DEPTH..) => Err(Error::invalid(json::too_deep("metadata"))),
            _ => Ok(()),
        }
    }
}

/// Where a page of the directory ended: its last session's place in the order, which outlives the session itself, so that
/// a listing goes on where it was even if that session was deleted meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) created_at: i64,
    pub(crate) id: String,
}

impl Cursor {
    /// The cursor after this session.
    pub(crate) fn after(info: &SessionInfo) -> Self {
        Self { created_at: info.created_at, id: info.id.to_string() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(format!("1:{}:{}", self.created_at, self.id)))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let text = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
            let (created_at, id) = text.strip_prefix("1:")?.split_once(':')?;
            Some(Self { created_at: created_at.parse().ok()?, id: SessionId::new(id).ok()?.to_string() })
        };
        read().ok_or_else(|| Error::invalid("that cursor is not of a list of sessions; start from its first page"))
    }
}

/// Whether a title may be stored.
///
/// # Errors
/// Invalid, when it is too long or holds control characters.
pub fn check_title(title: &str) -> Result<(), Error> {
    if title.len() > MAX_TITLE_BYTES {
        return Err(Error::invalid(format!("a title may have {MAX_TITLE_BYTES} bytes at most; this one has {}", title.len())));
    }
    match title.chars().find(|c| c.is_control()) {
        Some(c) => Err(Error::invalid(format!("a title must not hold control characters; this one holds {c:?}"))),
        None => Ok(()),
    }
}
