//! How to reach a table, and how to store sessions in it.

mod credentials;
mod layout;
mod list;
mod settings;

use std::time::Duration;

pub use credentials::Credentials;
pub use layout::{DEFAULT_ROLL_BYTES, Dialect, Layout, MAX_ROLL_BYTES, MIN_ROLL_BYTES, Roll};

use super::common::names;
use chat_memory_core::Namespace;
use chat_memory_core::backend::settings::{invalid, spell_duration};
use chat_memory_core::error::Error;

/// The shortest retention. With a shorter one, a record could be purged while an append still builds on it.
pub const MIN_RETENTION: Duration = crate::common::timing::MIN_RETENTION;

/// The longest retention, a hundred years. To keep records longer, set none.
pub const MAX_RETENTION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How long an operation may take in total.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long an operation tries to connect. A wrong name stays wrong, and whoever waits for the result should learn of it soon.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// All settings of a table and of how sessions are stored in it. What is `None` comes from AWS's default chain (environment,
/// profile, SSO, web identity, container, instance role) or from the default given with each field. [`Options::SETTINGS`] has the
/// settings that a store URL can give.
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
            deadline: DEADLINE,
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
    /// Invalid if a setting cannot have its value, or if two contradict each other; the error names the one that was given.
    pub fn check(&self) -> Result<(), Error> {
        chat_memory_core::backend::settings::check(&Self::SETTINGS, self)?;
        let arn_region = self.check_table()?;
        if let (Some(region), Some(arn_region)) = (&self.region, arn_region)
            && region != arn_region
        {
            return Err(invalid(
                "region",
                region,
                format_args!("the table's ARN is in {arn_region}; leave the region out, or give the same"),
            ));
        }
        if self.said_layout() != Some(Layout::List) {
            self.check_keys()?;
        }
        self.check_list()?;
        self.credentials.as_ref().map_or(Ok(()), Credentials::check)?;
        if self.deadline < self.request_timeout {
            let (deadline, timeout) = (spell_duration(self.deadline), spell_duration(self.request_timeout));
            return Err(if self.deadline == DEADLINE {
                invalid(
                    "request_timeout",
                    &timeout,
                    format_args!("the deadline is {deadline}; give a shorter timeout, or a longer deadline"),
                )
            } else {
                invalid(
                    "deadline",
                    &deadline,
                    format_args!("one request may take {timeout}; give a longer deadline, or a shorter request_timeout"),
                )
            });
        }
        Ok(())
    }

    /// Checks the table's name or ARN, and returns the ARN's region.
    fn check_table(&self) -> Result<Option<&str>, Error> {
        let arn = TableArn::of(&self.table);
        if self.table.starts_with("arn:") && arn.is_none() {
            let expected = "expected an ARN such as arn:aws:dynamodb:eu-west-1:111122223333:table/chats";
            return Err(invalid("table", &self.table, expected));
        }
        let name = arn.map_or(self.table.as_str(), |arn| arn.table);
        let fits = (3..=255).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if !fits {
            let expected = "expected a name of 3 to 255 letters, digits, '_', '-' and '.', or the table's whole ARN";
            return Err(invalid("table", name, expected));
        }
        Ok(arn.map(|arn| arn.region))
    }

    fn check_keys(&self) -> Result<(), Error> {
        for (setting, name) in [("partition_key", self.partition_key_name()), ("sort_key", self.sort_key_name())] {
            if names::ATTRIBUTES.contains(&name) {
                return Err(invalid(
                    setting,
                    name,
                    "records have an attribute of that name; use a table whose key has another name",
                ));
            }
        }
        if self.partition_key_name() == self.sort_key_name() {
            let (setting, other) = if self.sort_key.is_some() { ("sort_key", "partition") } else { ("partition_key", "sort") };
            return Err(invalid(
                setting,
                self.sort_key_name(),
                format_args!("the {other} key has the same name; give the table's two keys"),
            ));
        }
        Ok(())
    }

    /// The region given by these options, if only in the table's ARN.
    pub(crate) fn known_region(&self) -> Option<&str> {
        self.region.as_deref().or_else(|| TableArn::of(&self.table).map(|arn| arn.region))
    }
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
    fn default_options_are_valid() {
        Options::new("chats").check().expect("defaults");
        let options = Options::new("arn:aws:dynamodb:eu-west-1:111122223333:table/chats");
        options.check().expect("an ARN");
        assert_eq!(options.known_region(), Some("eu-west-1"));
        assert_eq!((options.partition_key_name(), options.sort_key_name()), ("session_id", "sk"));
    }

    #[test]
    fn invalid_options_are_refused_with_a_remedy() {
        assert!(refused(Options::new("no")).contains("invalid table \"no\": expected a name of 3 to 255"));
        assert!(refused(Options::new("a table")).contains("invalid table"));
        assert!(refused(Options::new("arn:aws:s3:::chats")).contains("arn:aws:dynamodb:eu-west-1"));
        let arn = Options::new("arn:aws:dynamodb:eu-west-1:111122223333:table/chats");
        assert!(refused(arn.with_region("us-east-1")).contains("eu-west-1"));
        assert!(refused(Options::new("chats").with_keys("id", "id")).contains("invalid sort_key \"id\""));
        assert!(refused(Options::new("chats").with_credentials(Credentials::new("AKIA", ""))).contains("incomplete credentials"));
    }

    /// Each invalid value, by its name and as code gives it.
    #[test]
    fn invalid_setting_is_refused_by_name_and_by_builder_alike() {
        let long = "x".repeat(1025);
        for (name, value, says, in_code) in [
            ("region", "EU-WEST-1", "eu-west-1", (|o, v| o.with_region(v)) as fn(Options, &str) -> Options),
            ("region", "x.evil.example/", "eu-west-1", |o, v| o.with_region(v)),
            ("region", "", "eu-west-1", |o, v| o.with_region(v)),
            ("partition_key", "", "1 to 255 bytes", |o, v| o.with_keys(v, "sk")),
            ("sort_key", &long, "1 to 255 bytes", |o, v| o.with_keys("id", v)),
            ("list_attribute", "", "1 to 255 bytes", |o, v| o.with_list_attribute(v)),
            ("ttl_attribute", "", "1 to 255 bytes", |o, v| o.with_ttl_attribute(v)),
            ("sort_value", &long, "1 to 1024 bytes", |o, v| o.with_sort_value(v)),
            ("profile", "", "empty", |o, v| o.with_profile(v)),
            ("retention", "3599s", "an hour to a hundred years", |o, _| o.with_retention(Duration::from_secs(3599))),
            ("retention", "36501d", "a hundred years", |o, _| o.with_retention(Duration::from_secs(36_501 * 86_400))),
            ("max_record", "0MB", "above 0", |o, _| o.with_max_record_bytes(0)),
            ("roll", "1", "4000 to 380000", |o, _| o.with_roll(Roll::At(1))),
            ("deadline", "0d", "above 0", |o, _| o.with_deadline(Duration::ZERO)),
            ("request_timeout", "0d", "above 0", |o, _| o.with_request_timeout(Duration::ZERO)),
            ("endpoint", "localhost:8000", "http://127.0.0.1:8000", |o, v| o.with_endpoint(v)),
            ("endpoint", "ftp://x", "http://127.0.0.1:8000", |o, v| o.with_endpoint(v)),
            ("endpoint", "http://", "http://127.0.0.1:8000", |o, v| o.with_endpoint(v)),
            ("endpoint", "http://x:1/?y=z", "query", |o, v| o.with_endpoint(v)),
            ("endpoint", "http://me:hunter2@127.0.0.1:8000", "password", |o, v| o.with_endpoint(v)),
        ] {
            let named = Options::new("chats").set(name, value).expect_err(value).to_string();
            assert_eq!(refused(in_code(Options::new("chats"), value)), named);
            assert!(named.starts_with(&format!("invalid {name}")) && named.contains(says), "{named}");
            assert!(!named.contains("hunter2"), "{named}");
        }
        assert!(Options::new("chats").set("regoin", "x").expect_err("no such setting").to_string().contains("region, endpoint"));
    }

    #[test]
    fn contradictory_settings_are_named() {
        for (given, says) in [
            (&[("partition_key", "messages")][..], "invalid partition_key \"messages\": records have an attribute of that name"),
            (&[("partition_key", "History")], "invalid partition_key \"History\""),
            (&[("layout", "list"), ("partition_key", "messages")], "invalid partition_key \"messages\""),
            (&[("partition_key", "id"), ("list_attribute", "id")], "invalid list_attribute \"id\": it is also the partition_key"),
            (&[("list_attribute", "History")], "dialect=python"),
            (&[("list_attribute", "chat_memory")], "invalid list_attribute"),
            (&[("ttl_attribute", "messages")], "invalid ttl_attribute"),
            (&[("layout", "turns"), ("sort_value", "x")], "invalid sort_value \"x\": it requires the list layout"),
            (&[("deadline", "1s")], "invalid deadline \"1s\": one request may take 5s"),
            (&[("request_timeout", "1m")], "invalid request_timeout \"1m\": the deadline is 30s"),
        ] {
            let mut options = Options::new("chats");
            given.iter().for_each(|(name, value)| options.set(name, value).expect("each alone is good"));
            let said = refused(options);
            assert!(said.contains(says), "{given:?}: {said}");
        }
        let mut other = Options::new("chats");
        for (name, value) in [("layout", "list"), ("partition_key", "messages"), ("list_attribute", "chat")] {
            other.set(name, value).expect("a good value");
        }
        other.check().expect("the messages are elsewhere");
    }

    #[test]
    fn debug_shows_settings_but_no_secret() {
        let credentials = Credentials::new("AKIAEXAMPLE", "hunter2").with_session_token("hunter3");
        let options = Options::new("chats").with_credentials(credentials).with_endpoint("http://me:hunter2@x");
        let shown = format!("{options:?}");
        assert!(!shown.contains("AKIAEXAMPLE") && !shown.contains("hunter"), "{shown}");
        let shown = format!("{:?}", options.with_endpoint("http://x:1").with_region("eu-west-1").with_roll(Roll::Off));
        assert!(
            shown.contains("endpoint: http://x:1, ") && shown.contains("region: eu-west-1") && shown.contains("roll: off"),
            "{shown}"
        );
    }

    #[test]
    fn every_option_is_a_setting_or_listed_as_none() {
        // A new field fails to compile here: add its row to `Options::SETTINGS`, and it to one of the two lists.
        let Options {
            region: _,
            partition_key: _,
            sort_key: _,
            endpoint: _,
            profile: _,
            namespace: _,
            retention: _,
            eventual: _,
            read_only: _,
            layout: _,
            dialect: _,
            list_attribute: _,
            sort_value: _,
            ttl_attribute: _,
            roll: _,
            max_record_bytes: _,
            request_timeout: _,
            deadline: _, // those with a row
            table: _,
            credentials: _,
            connect_deadline: _,
            reconnect_deadline: _,
        } = Options::new("chats");
        assert_eq!(Options::SETTINGS.len(), 18);
    }
}
