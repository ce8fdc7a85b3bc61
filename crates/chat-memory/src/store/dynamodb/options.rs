//! How to reach a table, and how to keep sessions in it.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use crate::session::Namespace;

/// Everything that can be said of a table and of how sessions are kept in it. What is `None` comes from AWS's usual chain
/// (environment, profile, SSO, web identity, container, instance role) or from the default named with each field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The table's name or ARN.
    pub table: String,
    /// The AWS region.
    pub region: Option<String>,
    /// The partition key's name; `session_id`.
    pub partition_key: Option<String>,
    /// The sort key's name; `sk`.
    pub sort_key: Option<String>,
    /// The service's URL, for DynamoDB Local.
    pub endpoint: Option<String>,
    /// The profile in AWS's configuration files.
    pub profile: Option<String>,
    /// Explicit credentials.
    pub credentials: Option<Credentials>,
    /// A prefix of every partition key.
    pub namespace: Option<Namespace>,
    /// How long a record is kept, at least an hour; without end.
    pub retention: Option<Duration>,
    /// Whether loads may miss the newest records, at half the price; no.
    pub eventual: bool,
    /// Whether everything that writes is refused; no.
    pub read_only: bool,
    /// The largest record, in bytes of its JSON; 16 MB.
    pub max_record_bytes: usize,
    /// After how long one request is given up and repeated; 5 s. For a request with a large body it is longer.
    pub request_timeout: Duration,
    /// After how long an operation is given up; 30 s. An append is then in doubt if a request of it may have landed.
    pub deadline: Duration,
}

impl Options {
    /// The options for a table, everything else as by default.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            region: None,
            partition_key: None,
            sort_key: None,
            endpoint: None,
            profile: None,
            credentials: None,
            namespace: None,
            retention: None,
            eventual: false,
            read_only: false,
            max_record_bytes: 16_000_000,
            request_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
        }
    }
}

/// An access key, as Flowise's credential has it. Never printed.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretString,
    /// The session token of temporary credentials.
    pub session_token: Option<SecretString>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}
