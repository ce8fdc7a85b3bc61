//! An explicit access key.

use std::fmt;

use secrecy::SecretString;

use chat_memory_core::error::Error;

/// An access key, as in Flowise's credential. Never printed.
#[derive(Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretString,
    /// The session token of temporary credentials.
    pub session_token: Option<SecretString>,
}

impl Credentials {
    /// A permanent access key.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: SecretString::from(secret_access_key.into()),
            session_token: None,
        }
    }

    /// Adds the session token that comes with a temporary access key.
    #[must_use]
    pub fn with_session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(SecretString::from(token.into()));
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        use secrecy::ExposeSecret;
        let empty = self.access_key_id.is_empty() || self.secret_access_key.expose_secret().is_empty();
        if empty {
            return Err(Error::invalid(
                "incomplete credentials: the access key's id or its secret is missing; give both, or neither to use AWS's default chain",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}
