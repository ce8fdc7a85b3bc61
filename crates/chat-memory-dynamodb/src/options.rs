//! How to reach a table, and how to store sessions in it.

mod credentials;
mod debug;
mod list;

use std::time::Duration;

use url::Url;

pub use credentials::Credentials;

use super::common::names;
use crate::common::timing::MIN_RETENTION_S;
use chat_memory_core::Namespace;
use chat_memory_core::backend::{DEFAULT_ROLL_BYTES, Dialect, Layout, Roll};
use chat_memory_core::error::Error;

/// The shortest retention. With a shorter one, a record could be purged while an append still builds on it.
pub const MIN_RETENTION: Duration = Duration::from_secs(MIN_RETENTION_S);

/// The longest retention, a hundred years. To keep records longer, set none.
pub const MAX_RETENTION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How long an operation tries to connect. A wrong name stays wrong, and whoever waits for the result should learn of it soon.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// The longest name of a key attribute, in bytes (DynamoDB's limit).
const MAX_KEY_NAME_BYTES: usize = 255;

/// All settings of a table and of how sessions are stored in it. What is `None` comes from AWS's default chain (environment,
/// profile, SSO, web identity, container, instance role) or from the default given with each field.
///
/// ```
/// use chat_memory::store::dynamodb::{Credentials, Options};
/// let options = Options::new("chats")
///     .with_region("eu-west-1")
///     .with_credentials(Credentials::new("AKIA…", "the secret"))
///     .with_retention(std::time::Duration::from_secs(30 * 24 * 60 * 60));
/// options.check()?;
/// assert!(!format!("{options:?}").contains("the secret"));
/// # Ok::<(), chat_memory::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The table's name or ARN. An ARN includes the region.
    pub table: String,
    /// The AWS region.
    pub region: Option<String>,
    /// The partition key's name. Default: `session_id`.
    pub partition_key: Option<String>,
    /// The sort key's name. Default: `sk`.
    pub sort_key: Option<String>,
    /// The service's URL, for DynamoDB Local.
    pub endpoint: Option<String>,
    /// The profile in AWS's configuration files. Its credentials take precedence over those in the environment.
    pub profile: Option<String>,
    /// Explicit credentials. They take precedence over all others.
    pub credentials: Option<Credentials>,
    /// A prefix of every partition key.
    pub namespace: Option<Namespace>,
    /// How long a record is kept, at least an hour. Default: forever.
    pub retention: Option<Duration>,
    /// Whether loads may miss the newest records, at half the price. Default: no.
    pub eventual: bool,
    /// Whether all writes are refused. Default: no.
    pub read_only: bool,
    /// How sessions are stored in the table. Default: detected from the table's keys; with a sort key, one item per record.
    pub layout: Option<Layout>,
    /// The dialect of a new session in the `list` layout. Default: LangChain.js's. An existing session keeps its own.
    pub dialect: Option<Dialect>,
    /// The attribute with a session's messages in the `list` layout. Default: `messages` (LangChain.js, Flowise) or `History`
    /// (LangChain Python).
    pub list_attribute: Option<String>,
    /// The sort key's value in the `list` layout, in a table that has one: what LangChain.js's `sortKey` and both libraries' `key`
    /// fix.
    pub sort_value: Option<String>,
    /// The attribute by which a session expires in the `list` layout. Default: the table's own, or `expireAt`.
    pub ttl_attribute: Option<String>,
    /// Item size above which a session's older part moves to a segment in the `list` layout. Default: [`DEFAULT_ROLL_BYTES`].
    pub roll: Roll,
    /// The largest record, in bytes of its JSON. Default: 16 MB.
    pub max_record_bytes: usize,
    /// Time after which one request is abandoned and repeated. Default: 5 s. A request has one more second per 200,000 bytes that
    /// it sends or may receive: 2 s for the largest item (400 KB), 5 s for the largest page of a history (1 MB).
    pub request_timeout: Duration,
    /// Time after which an operation gives up. Default: 30 s. The outcome of an append is then unknown if one of its requests may
    /// have landed.
    pub deadline: Duration,
    /// Time after which an operation that never had a connection gives up, as long as nothing has answered this store yet. Default:
    /// 2 s. Zero gives up at the first refusal.
    pub connect_deadline: Duration,
    /// The same once something has answered. Default: 2 s.
    pub reconnect_deadline: Duration,
}

impl Options {
    /// Creates options for a table, given by its name or its ARN, with the defaults for everything else.
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
            layout: None,
            dialect: None,
            list_attribute: None,
            sort_value: None,
            ttl_attribute: None,
            roll: Roll::At(DEFAULT_ROLL_BYTES),
            max_record_bytes: 16_000_000,
            request_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            connect_deadline: CONNECT_DEADLINE,
            reconnect_deadline: CONNECT_DEADLINE,
        }
    }

    /// Sets the AWS region.
    #[must_use]
    pub fn with_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Sets the names of the table's keys.
    #[must_use]
    pub fn with_keys(mut self, partition_key: impl Into<String>, sort_key: impl Into<String>) -> Self {
        self.partition_key = Some(partition_key.into());
        self.sort_key = Some(sort_key.into());
        self
    }

    /// Sets the service's URL, for DynamoDB Local.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets the profile in AWS's configuration files.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// Sets the credentials, which replace those of AWS's default chain.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets a prefix of every partition key.
    #[must_use]
    pub fn with_namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Sets how long each record is kept.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Sets whether loads may miss the newest records, at half the price.
    #[must_use]
    pub fn with_eventual_loads(mut self, eventual: bool) -> Self {
        self.eventual = eventual;
        self
    }

    /// Sets whether all writes are refused.
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Sets how sessions are stored in the table, whatever its keys are.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// Sets the dialect of new sessions in the `list` layout.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// Sets the attribute with a session's messages in the `list` layout.
    #[must_use]
    pub fn with_list_attribute(mut self, name: impl Into<String>) -> Self {
        self.list_attribute = Some(name.into());
        self
    }

    /// Sets the sort key's fixed value, which implies the `list` layout.
    #[must_use]
    pub fn with_sort_value(mut self, value: impl Into<String>) -> Self {
        self.sort_value = Some(value.into());
        self
    }

    /// Sets the attribute by which sessions expire in the `list` layout.
    #[must_use]
    pub fn with_ttl_attribute(mut self, name: impl Into<String>) -> Self {
        self.ttl_attribute = Some(name.into());
        self
    }

    /// Sets the item size above which sessions are rolled in the `list` layout.
    #[must_use]
    pub fn with_roll(mut self, roll: Roll) -> Self {
        self.roll = roll;
        self
    }

    /// Sets the limit on a record, in bytes of its JSON.
    #[must_use]
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Sets the time after which one request is abandoned (see [`Options::request_timeout`]).
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the time after which an operation gives up.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the time after which an operation that never had a connection gives up ([`Options::connect_deadline`]).
    #[must_use]
    pub fn with_connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    /// Sets the same for the time once something has answered ([`Options::reconnect_deadline`]).
    #[must_use]
    pub fn with_reconnect_deadline(mut self, deadline: Duration) -> Self {
        self.reconnect_deadline = deadline;
        self
    }

    /// The partition key's name: the one given, or `session_id`.
    pub fn partition_key_name(&self) -> &str {
        self.partition_key.as_deref().unwrap_or(names::PARTITION_KEY)
    }

    /// The sort key's name: the one given, or `sk`.
    pub fn sort_key_name(&self) -> &str {
        self.sort_key.as_deref().unwrap_or(names::SORT_KEY)
    }

    /// Checks whether these options can work at all, as far as they themselves show. Whatever opens a table calls this first.
    ///
    /// # Errors
    /// Invalid if a name is impossible, two options contradict each other, or a number is out of bounds.
    pub fn check(&self) -> Result<(), Error> {
        let arn_region = self.check_table()?;
        if let (Some(region), Some(arn_region)) = (&self.region, arn_region)
            && region != arn_region
        {
            return Err(Error::invalid(format!(
                "the table's ARN is of the region {arn_region}, but the region given is {region}; \
                 leave the region out, or give the same"
            )));
        }
        if let Some(region) = &self.region
            && (region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
        {
            return Err(Error::invalid(format!("{region:?} is not an AWS region; give one like eu-west-1")));
        }
        if self.said_layout() == Some(Layout::List) {
            self.check_list()?;
        } else {
            self.check_list().and(self.check_keys())?;
        }
        self.endpoint.as_deref().map_or(Ok(()), check_endpoint)?;
        if let Some(credentials) = &self.credentials {
            credentials.check()?;
        }
        self.check_numbers()
    }

    /// Checks the table's name or ARN, and returns the ARN's region.
    fn check_table(&self) -> Result<Option<&str>, Error> {
        let arn = if self.table.starts_with("arn:") {
            let arn = TableArn::of(&self.table);
            Some(arn.ok_or_else(|| {
                Error::invalid(format!(
                    "{:?} is not the ARN of a DynamoDB table; one looks like arn:aws:dynamodb:eu-west-1:111122223333:table/chats",
                    self.table
                ))
            })?)
        } else {
            None
        };
        let name = arn.map_or(self.table.as_str(), |arn| arn.table);
        let fits = (3..=255).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if !fits {
            return Err(Error::invalid(format!(
                "{name:?} cannot be a table's name; DynamoDB takes 3 to 255 of the characters a-z, A-Z, 0-9, '_', '-' and '.'"
            )));
        }
        Ok(arn.map(|arn| arn.region))
    }

    fn check_keys(&self) -> Result<(), Error> {
        for (what, name) in [("partition", self.partition_key_name()), ("sort", self.sort_key_name())] {
            if name.is_empty() || name.len() > MAX_KEY_NAME_BYTES {
                return Err(Error::invalid(format!("the {what} key's name must have 1 to {MAX_KEY_NAME_BYTES} bytes")));
            }
            if names::ATTRIBUTES.contains(&name) {
                return Err(Error::invalid(format!(
                    "the {what} key must not be called {name:?}, since records have an attribute of that name; \
                     use a table whose key has another name"
                )));
            }
        }
        if self.partition_key_name() == self.sort_key_name() {
            return Err(Error::invalid(format!(
                "the partition key and the sort key are two attributes, but both are called {:?}",
                self.sort_key_name()
            )));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Error> {
        if let Some(retention) = self.retention
            && !(MIN_RETENTION..=MAX_RETENTION).contains(&retention)
        {
            return Err(Error::invalid(format!(
                "a retention is an hour at least and a hundred years at most; {} seconds is neither \
                 (leave it out to keep everything)",
                retention.as_secs()
            )));
        }
        if self.max_record_bytes == 0 {
            return Err(Error::invalid("the limit on a record is 0 bytes, so nothing could be appended; give a larger one"));
        }
        if self.request_timeout.is_zero() || self.deadline < self.request_timeout {
            return Err(Error::invalid(format!(
                "the deadline ({} ms) must leave time for one request ({} ms), and that must not be zero",
                self.deadline.as_millis(),
                self.request_timeout.as_millis()
            )));
        }
        Ok(())
    }

    /// The region given by these options, if only in the table's ARN.
    pub(crate) fn known_region(&self) -> Option<&str> {
        self.region.as_deref().or_else(|| TableArn::of(&self.table).map(|arn| arn.region))
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), Error> {
    let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        // Not repeated in the message: it may hold a password that a typo in the scheme kept from being recognised.
        return Err(Error::invalid("the endpoint is not a URL of the service; give one like http://127.0.0.1:8000"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::invalid(
            "the endpoint holds a user name or password, which DynamoDB does not know; \
             give credentials as options or in the environment",
        ));
    }
    Ok(())
}

/// The parts of a table's ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableArn<'a> {
    pub(crate) region: &'a str,
    pub(crate) table: &'a str,
}

impl<'a> TableArn<'a> {
    /// Parses `arn:PARTITION:dynamodb:REGION:ACCOUNT:table/NAME`.
    pub(crate) fn of(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let ("arn", partition, "dynamodb", region, account) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?)
        else {
            return None;
        };
        let table = parts.next()?.strip_prefix("table/")?;
        let whole = !partition.is_empty() && !region.is_empty() && !account.is_empty();
        whole.then_some(Self { region, table })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: Options) -> String {
        let error = options.check().expect_err("these options cannot work");
        assert!(error.is_invalid());
        error.to_string()
    }

    #[test]
    fn the_defaults_work() {
        Options::new("chats").check().expect("defaults");
        let options = Options::new("arn:aws:dynamodb:eu-west-1:111122223333:table/chats");
        options.check().expect("an ARN");
        assert_eq!(options.known_region(), Some("eu-west-1"));
        assert_eq!((options.partition_key_name(), options.sort_key_name()), ("session_id", "sk"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_remedy() {
        assert!(refused(Options::new("no")).contains("3 to 255"));
        assert!(refused(Options::new("a table")).contains("cannot be a table's name"));
        assert!(refused(Options::new("arn:aws:s3:::chats")).contains("arn:aws:dynamodb:eu-west-1"));
        let arn = Options::new("arn:aws:dynamodb:eu-west-1:111122223333:table/chats");
        assert!(refused(arn.with_region("us-east-1")).contains("eu-west-1"));
        assert!(refused(Options::new("chats").with_region("x.evil.example/")).contains("not an AWS region"));
        assert!(refused(Options::new("chats").with_keys("id", "id")).contains("both are called \"id\""));
        assert!(refused(Options::new("chats").with_keys("messages", "sk")).contains("\"messages\""));
        assert!(refused(Options::new("chats").with_keys("", "sk")).contains("1 to 255 bytes"));
        assert!(refused(Options::new("chats").with_retention(Duration::from_secs(3599))).contains("an hour at least"));
        assert!(refused(Options::new("chats").with_max_record_bytes(0)).contains("0 bytes"));
        assert!(refused(Options::new("chats").with_deadline(Duration::from_secs(1))).contains("1000 ms"));
        assert!(refused(Options::new("chats").with_credentials(Credentials::new("AKIA", ""))).contains("lack"));
    }

    #[test]
    fn an_endpoint_is_a_url_without_secrets() {
        for good in ["http://127.0.0.1:8000", "https://dynamodb.eu-west-1.amazonaws.com"] {
            Options::new("chats").with_endpoint(good).check().expect(good);
        }
        for bad in ["localhost:8000", "ftp://x", "", "http://"] {
            assert!(refused(Options::new("chats").with_endpoint(bad)).contains("http://127.0.0.1:8000"), "{bad}");
        }
        let message = refused(Options::new("chats").with_endpoint("http://me:hunter2@127.0.0.1:8000"));
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::new("AKIAEXAMPLE", "hunter2").with_session_token("hunter3");
        let shown = format!("{:?}", Options::new("chats").with_credentials(credentials));
        assert!(!shown.contains("AKIAEXAMPLE") && !shown.contains("hunter"), "{shown}");
    }
}
