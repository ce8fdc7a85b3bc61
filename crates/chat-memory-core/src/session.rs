//! Names of sessions, owners and namespaces. Each is checked once, when it is created.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::Error;
use crate::store::AppendId;

/// Prefixes of our own partition keys; a session id must not start with one (docs/formats.md, "Partition keys").
const RESERVED: [&str; 3] = ["ns#", "dir#", crate::checkpoints::PARTITION];

/// Returns the text if it is a valid name: not empty, at most `max` bytes of UTF-8, no control characters.
fn checked(what: &str, name: String, max: usize) -> Result<String, Error> {
    if name.is_empty() {
        return Err(Error::invalid(format!("{what} must not be empty")));
    }
    if name.len() > max {
        return Err(Error::invalid(format!("{what} is limited to {max} bytes; this one has {}", name.len())));
    }
    match name.chars().find(|c| c.is_control()) {
        Some(c) => Err(Error::invalid(format!("{what} must not hold control characters; {:?} holds {c:?}", abridged(&name)))),
        None => Ok(name),
    }
}

fn abridged(name: &str) -> String {
    if name.chars().count() <= 60 { name.to_owned() } else { name.chars().take(60).chain(['…']).collect() }
}

macro_rules! name {
    ($(#[$docs:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$docs])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The longest name, in bytes of UTF-8.
            pub const MAX_BYTES: usize = $max;

            /// Returns the name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self, Error> {
                Self::new(name)
            }
        }
    };
}

name!(
    /// The id of a session: any text of 1 to 1,000 bytes without control characters that does not start with a reserved prefix
    /// (`ns#`, `dir#`, `ckpt#`).
    ///
    /// ```
    /// use chat_memory::SessionId;
    /// let session = SessionId::new("user:42/support")?;
    /// assert_eq!(session.as_str(), "user:42/support");
    /// assert!(SessionId::new("").is_err());
    /// assert_ne!(SessionId::random(), SessionId::random());
    /// # Ok::<(), chat_memory::Error>(())
    /// ```
    #[doc(alias = "thread")]
    #[doc(alias = "conversation")]
    SessionId, "a session id", 1000
);

name!(
    /// The owner of sessions: a user, an agent, a tenant. Any text of 1 to 512 bytes without control characters.
    Owner, "an owner", 512
);

name!(
    /// A namespace: a prefix of every partition key, so that IAM's `dynamodb:LeadingKeys` can separate tenants. Any text of 1 to
    /// 64 bytes without control characters, `#`, `*`, `?` and `$` (the last three have a meaning in IAM policies).
    Namespace, "a namespace", 64
);

impl SessionId {
    /// The longest id of a stored session, in bytes: two DynamoDB keys, one of them escaped.
    pub const MAX_STORED_BYTES: usize = 2 * 2048 + 1 + 1024;

    /// Creates a session id from this text.
    ///
    /// # Errors
    /// Invalid if the text is empty or too long, contains a control character or starts with a reserved prefix.
    pub fn new(id: impl Into<String>) -> Result<Self, Error> {
        Self::named("a session id", id.into())
    }

    /// Creates the id of an agent's thread from this text, for the [checkpoints](crate::checkpoints) of LangGraph's graphs. The rules
    /// are those of [`new`](Self::new); only the errors differ, which speak of a thread.
    ///
    /// ```
    /// use chat_memory::SessionId;
    /// assert_eq!(SessionId::of_thread("trip")?, SessionId::new("trip")?);
    /// assert_eq!(SessionId::of_thread("").unwrap_err().to_string(), "a thread id must not be empty");
    /// # Ok::<(), chat_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_thread(id: impl Into<String>) -> Result<Self, Error> {
        Self::named("a thread id", id.into())
    }

    fn named(what: &str, id: String) -> Result<Self, Error> {
        let id = checked(what, id, Self::MAX_BYTES)?;
        match RESERVED.iter().find(|prefix| id.starts_with(**prefix)) {
            Some(prefix) => {
                let id = abridged(&id);
                Err(Error::invalid(format!("{what} must not start with {prefix:?}, which is reserved; {id:?} does")))
            }
            None => Ok(Self(id)),
        }
    }

    /// Names a session by the id under which it is stored, whoever wrote it: to read, export or clear a session whose id
    /// [`new`](Self::new) refuses. Flowise's and LangChain's tables accept any text.
    ///
    /// A store refuses such an id if it cannot hold it; [`check`](Self::check) tells whether every store can.
    ///
    /// ```
    /// use chat_memory::SessionId;
    /// let found = SessionId::stored("a\nb")?;
    /// assert!(found.check().unwrap_err().to_string().contains("control characters"));
    /// assert_eq!(SessionId::stored("user-42")?, SessionId::new("user-42")?);
    /// # Ok::<(), chat_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Invalid if the text is empty or longer than [`MAX_STORED_BYTES`](Self::MAX_STORED_BYTES), which no stored id is.
    pub fn stored(id: impl Into<String>) -> Result<Self, Error> {
        let id = id.into();
        match id.len() {
            0 => Err(Error::invalid("a session id must not be empty")),
            1..=Self::MAX_STORED_BYTES => Ok(Self(id)),
            bytes => Err(Error::invalid(format!(
                "session id too long: the limit is {} bytes, and this one has {bytes}",
                Self::MAX_STORED_BYTES
            ))),
        }
    }

    /// Checks that every store accepts this id for a new session, by the rules of [`new`](Self::new).
    ///
    /// # Errors
    /// Invalid, with the reason.
    pub fn check(&self) -> Result<(), Error> {
        Self::new(self.as_str()).map(drop)
    }

    /// Returns a digest of the id, for stores whose own names are short or of few characters, such as files: 36 characters, `0-9`,
    /// `a-f` and `-`, the same for ever. Another id has another digest, as far as SHA-1 goes.
    pub fn digest(&self) -> String {
        AppendId::of_key(self, "file").to_string()
    }

    /// Generates a session id (UUIDv7).
    pub fn random() -> Self {
        Self(Uuid::now_v7().to_string())
    }
}

impl Owner {
    /// Creates an owner with this name.
    ///
    /// # Errors
    /// Invalid if the name is empty, too long or contains a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        checked("an owner", name.into(), Self::MAX_BYTES).map(Self)
    }
}

impl Namespace {
    /// Creates a namespace with this name.
    ///
    /// # Errors
    /// Invalid if the name is empty, too long or contains a character that is not allowed.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = checked("a namespace", name.into(), Self::MAX_BYTES)?;
        match name.chars().find(|c| matches!(c, '#' | '*' | '?' | '$')) {
            Some(c) => Err(Error::invalid(format!("a namespace must not hold {c:?}; {name:?} does"))),
            None => Ok(Self(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_session_ids_are_refused() {
        for good in ["a", "..", "user:42", "ns", "dir", "ckpt", "日本", "a b", &"x".repeat(1000)] {
            assert!(SessionId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "a\u{0}", "ns#a", "dir#", "ckpt#a", &"x".repeat(1001), &"x".repeat(3000)] {
            let error = SessionId::new(bad).expect_err(bad);
            assert!(error.is_invalid() && error.to_string().starts_with("a session id "), "{error}");
            let of_thread = SessionId::of_thread(bad).expect_err(bad);
            assert_eq!(of_thread.to_string(), error.to_string().replace("a session id ", "a thread id "));
        }
    }

    #[test]
    fn digest_stays_as_it_is() {
        // Files are named by it.
        assert_eq!(SessionId::new("trip").expect("a good id").digest(), "2805d9fe-d0f5-532b-a352-6220885974a0");
        assert_ne!(SessionId::random().digest(), SessionId::random().digest());
    }

    #[test]
    fn stored_id_may_be_any_text() {
        for odd in ["a\nb", "ns#a", "dir#", "\u{0}", &"x".repeat(SessionId::MAX_STORED_BYTES)] {
            let id = SessionId::stored(odd).expect(odd);
            assert_eq!(id.as_str(), odd);
            assert!(id.check().expect_err(odd).is_invalid());
        }
        assert!(SessionId::stored("fine").expect("an id").check().is_ok());
        for bad in ["", &"x".repeat(SessionId::MAX_STORED_BYTES + 1)] {
            assert!(SessionId::stored(bad).expect_err("no id").is_invalid());
        }
    }

    #[test]
    fn error_does_not_repeat_a_long_name() {
        let error = SessionId::new(format!("{}\n", "x".repeat(900))).expect_err("a line feed");
        assert!(error.to_string().len() < 200, "{error}");
    }
}
