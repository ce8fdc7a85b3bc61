//! Store URLs: the complete configuration of a store in one line.
//!
//! | URL | store |
//! |---|---|
//! | `sqlite:PATH?retention=30d&…` | one SQLite file; the path is relative, or absolute as in `sqlite:/var/chat.db` or `sqlite:///var/chat.db`; [`SqliteUrl`] lists the parameters |
//! | `dynamodb://TABLE?region=…&…` | a DynamoDB table, by its name or its ARN; [`DynamoDbUrl`] lists the parameters |
//! | `memory:?retention=30d` | this process's memory, for experiments |
//!
//! A crate with another store [registers](register) a [`Scheme`] of its own.
//!
//! Characters with a meaning in URLs (`%`, `?`, `#`, `&`, `=`, spaces) are percent-encoded in paths and values. URLs must not
//! contain credentials: such a URL is refused, and the error does not repeat it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::{ChatStore, InMemoryStore};
#[cfg(not(all(feature = "dynamodb", feature = "sqlite")))]
use crate::ErrorKind;
pub use crate::backend::{Dialect, Layout, Roll};
use crate::{Error, Namespace};

mod other;
mod parameters;
mod values;

pub use other::{OtherUrl, Scheme, register};
use parameters::{Parameters, Writer};

/// A store and its complete configuration. Converts to and from text (`Display`, `FromStr`) without loss.
///
/// ```
/// use chat_memory::store::url::StoreUrl;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let url: StoreUrl = "memory:?retention=30d".parse()?;
/// let store = url.open().await?;
/// assert!(!store.capabilities().durable);
///
/// let error = "dynamodb://chats?retension=30d".parse::<StoreUrl>().unwrap_err();
/// assert!(error.to_string().contains("retension"));
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "there is one in a program, and matching on it is worth more than its bytes")]
pub enum StoreUrl {
    /// `memory:`
    Memory(MemoryUrl),
    /// `sqlite:PATH`
    Sqlite(SqliteUrl),
    /// `dynamodb://TABLE`
    DynamoDb(DynamoDbUrl),
    /// A scheme that was [registered](register).
    Other(OtherUrl),
}

/// The settings of `memory:`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUrl {
    /// `retention`: how long a record is kept; `None` keeps it forever.
    pub retention: Option<Duration>,
}

/// The settings of `sqlite:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteUrl {
    /// The file.
    pub path: PathBuf,
    /// `retention`: how long a record is kept; `None` keeps it forever.
    pub retention: Option<Duration>,
    /// `read_only`: refuses all writes.
    pub read_only: bool,
    /// `create_parent`: creates the file's directory, and those above it, if missing.
    pub create_parent: bool,
    /// `max_record`: the largest record, in bytes of its JSON (`16MB`).
    pub max_record_bytes: Option<usize>,
    /// `busy_timeout`: how long an operation waits for another process that holds the file's lock (`10s`).
    pub busy_timeout: Option<Duration>,
}

impl SqliteUrl {
    /// The file at this path, with default settings.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            retention: None,
            read_only: false,
            create_parent: false,
            max_record_bytes: None,
            busy_timeout: None,
        }
    }

    /// Converts to the SQLite store's options.
    #[cfg(feature = "sqlite")]
    pub fn builder(&self) -> crate::store::sqlite::SqliteBuilder {
        let mut builder = crate::store::sqlite::SqliteStore::builder(&self.path)
            .retention(self.retention)
            .read_only(self.read_only)
            .create_parent(self.create_parent);
        if let Some(bytes) = self.max_record_bytes {
            builder = builder.max_record_bytes(bytes);
        }
        if let Some(timeout) = self.busy_timeout {
            builder = builder.busy_timeout(timeout);
        }
        builder
    }
}

/// The settings of `dynamodb://TABLE`: all of the DynamoDB store's `Options` except credentials and the connect timeout. `None`
/// means AWS's default chain (environment, profile, SSO, web identity, container, instance role) or the store's default.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DynamoDbUrl {
    /// The table's name or ARN.
    pub table: String,
    /// `region`: the AWS region.
    pub region: Option<String>,
    /// `partition_key`: the partition key's name.
    pub partition_key: Option<String>,
    /// `sort_key`: the sort key's name.
    pub sort_key: Option<String>,
    /// `endpoint`: the service's URL, for DynamoDB Local.
    pub endpoint: Option<String>,
    /// `profile`: the profile in AWS's configuration files.
    pub profile: Option<String>,
    /// `namespace`: a prefix of every partition key.
    pub namespace: Option<Namespace>,
    /// `retention`: how long a record is kept (`30d`); `None` keeps it forever.
    pub retention: Option<Duration>,
    /// `consistency=eventual`: loads cost half as much but may miss the newest records. The default is `strong`.
    pub eventual: bool,
    /// `read_only`: refuses all writes.
    pub read_only: bool,
    /// `layout=list` or `turns`: how sessions are stored in the table; `None` detects it from the table's key schema.
    pub layout: Option<Layout>,
    /// `dialect=js` or `python`: the form of new sessions in the `list` layout (`js`).
    pub dialect: Option<Dialect>,
    /// `list_attribute`: the attribute that holds a session's messages in the `list` layout (`messages`, or Python's `History`).
    pub list_attribute: Option<String>,
    /// `sort_value`: the fixed value of the sort key in the `list` layout, if the table has one.
    pub sort_value: Option<String>,
    /// `ttl_attribute`: the attribute by which a session expires in the `list` layout (the table's own, or `expireAt`).
    pub ttl_attribute: Option<String>,
    /// `roll=64KB` or `off`: item size above which older records of a session move to a segment, in the `list` layout.
    pub roll: Option<Roll>,
    /// `max_record`: the largest record, in bytes of its JSON (`16MB`).
    pub max_record_bytes: Option<usize>,
    /// `request_timeout`: how long to wait for one request before retrying it (`5s`).
    pub request_timeout: Option<Duration>,
    /// `deadline`: how long an operation may take in total (`30s`).
    pub deadline: Option<Duration>,
}

impl DynamoDbUrl {
    /// The table with this name or ARN, with default settings.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            region: None,
            partition_key: None,
            sort_key: None,
            endpoint: None,
            profile: None,
            namespace: None,
            retention: None,
            eventual: false,
            read_only: false,
            layout: None,
            dialect: None,
            list_attribute: None,
            sort_value: None,
            ttl_attribute: None,
            roll: None,
            max_record_bytes: None,
            request_timeout: None,
            deadline: None,
        }
    }

    /// Converts to the DynamoDB store's options.
    #[cfg(feature = "dynamodb")]
    pub fn options(&self) -> crate::store::dynamodb::Options {
        let mut options = crate::store::dynamodb::Options::new(&self.table);
        options.region.clone_from(&self.region);
        options.partition_key.clone_from(&self.partition_key);
        options.sort_key.clone_from(&self.sort_key);
        options.endpoint.clone_from(&self.endpoint);
        options.profile.clone_from(&self.profile);
        options.namespace.clone_from(&self.namespace);
        options.retention = self.retention;
        options.eventual = self.eventual;
        options.read_only = self.read_only;
        options.layout = self.layout;
        options.dialect = self.dialect;
        options.list_attribute.clone_from(&self.list_attribute);
        options.sort_value.clone_from(&self.sort_value);
        options.ttl_attribute.clone_from(&self.ttl_attribute);
        options.roll = self.roll.unwrap_or(options.roll);
        options.max_record_bytes = self.max_record_bytes.unwrap_or(options.max_record_bytes);
        options.request_timeout = self.request_timeout.unwrap_or(options.request_timeout);
        options.deadline = self.deadline.unwrap_or(options.deadline);
        options
    }
}

impl StoreUrl {
    /// Makes the store read-only: refuses all writes.
    ///
    /// # Errors
    /// Invalid for `memory:`, which starts empty in each process, so there is nothing to read.
    pub fn into_read_only(mut self) -> Result<Self, Error> {
        match &mut self {
            Self::Sqlite(url) => url.read_only = true,
            Self::DynamoDb(url) => url.read_only = true,
            Self::Other(url) => return url.clone().with("read_only", "true").map(Self::Other),
            Self::Memory(_) => {
                return Err(Error::invalid("memory: starts empty in each process, so opening it for reading only shows nothing"));
            }
        }
        Ok(self)
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Unsupported if this build lacks the store, naming the cargo feature; other errors of opening the store.
    pub async fn open(&self) -> Result<Arc<dyn ChatStore>, Error> {
        match self {
            Self::Memory(MemoryUrl { retention: None }) => Ok(Arc::new(InMemoryStore::new())),
            Self::Memory(MemoryUrl { retention: Some(kept) }) => Ok(Arc::new(InMemoryStore::with_retention(kept.as_secs()))),
            Self::Sqlite(url) => open_sqlite(url).await,
            Self::DynamoDb(url) => open_dynamodb(url).await,
            Self::Other(url) => url.open().await,
        }
    }
}

#[cfg(not(feature = "sqlite"))]
async fn open_sqlite(_: &SqliteUrl) -> Result<Arc<dyn ChatStore>, Error> {
    Err(lacks("SQLite", "sqlite"))
}

#[cfg(not(feature = "dynamodb"))]
async fn open_dynamodb(_: &DynamoDbUrl) -> Result<Arc<dyn ChatStore>, Error> {
    Err(lacks("DynamoDB", "dynamodb"))
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(url: &SqliteUrl) -> Result<Arc<dyn ChatStore>, Error> {
    Ok(Arc::new(url.builder().open().await?))
}

#[cfg(feature = "dynamodb")]
async fn open_dynamodb(url: &DynamoDbUrl) -> Result<Arc<dyn ChatStore>, Error> {
    Ok(Arc::new(crate::store::dynamodb::DynamoDbStore::open(url.options()).await?))
}

#[cfg(not(all(feature = "dynamodb", feature = "sqlite")))]
fn lacks(what: &str, feature: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("this build has no {what} store: build the crate chat-memory with its cargo feature {feature:?}"),
    )
}

/// The forms that a store URL may have.
fn forms() -> String {
    let mut forms = vec!["sqlite:PATH", "dynamodb://TABLE"];
    forms.extend(other::forms());
    format!("expected {} or memory:", forms.join(", "))
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // Never repeat the text: it may be something else, with a password in it.
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(Error::invalid(format!(
                "unknown store: there is no colon in it; {} (write sqlite: before a file's path)",
                forms()
            )));
        };
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        match scheme {
            "memory" => {
                if !place.is_empty() {
                    return Err(Error::invalid("memory: has no path; for a file write sqlite:PATH"));
                }
                let mut said = Parameters::read("memory:", &["retention"], query)?;
                Ok(Self::Memory(MemoryUrl { retention: said.take("retention", values::retention)? }))
            }
            "sqlite" => sqlite(place, query).map(Self::Sqlite),
            "dynamodb" => dynamodb(place, query).map(Self::DynamoDb),
            other => match other::read(other, place, query) {
                Some(url) => url.map(Self::Other),
                // What precedes the colon is named only if it looks like a scheme.
                None if other.len() <= 16 && other.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') => {
                    Err(Error::invalid(format!("unknown store \"{other}:…\": {}", forms())))
                }
                None => Err(Error::invalid(format!("unknown store: {}", forms()))),
            },
        }
    }
}

/// The parameters of a SQLite URL.
const SQLITE: [&str; 5] = ["retention", "read_only", "create_parent", "max_record", "busy_timeout"];

fn sqlite(place: &str, query: Option<&str>) -> Result<SqliteUrl, Error> {
    let mut said = Parameters::read("sqlite:", &SQLITE, query)?;
    let path = match place.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => {
            return Err(Error::invalid("a sqlite URL has no host: write sqlite:PATH, or sqlite:///PATH for an absolute path"));
        }
        Some(path) => path,
        None => place,
    };
    let path = values::path_of(path)?;
    if path.as_os_str().is_empty() {
        return Err(Error::invalid("a sqlite URL names a file: sqlite:PATH"));
    }
    if path.as_os_str() == ":memory:" {
        return Err(Error::invalid("a store in this process's memory is memory:, without sqlite"));
    }
    Ok(SqliteUrl {
        path,
        retention: said.take("retention", values::retention)?,
        read_only: said.take("read_only", values::boolean)?.unwrap_or(false),
        create_parent: said.take("create_parent", values::boolean)?.unwrap_or(false),
        max_record_bytes: said.take("max_record", values::bytes)?,
        busy_timeout: said.take("busy_timeout", values::duration)?,
    })
}

/// The parameters of a DynamoDB URL.
const DYNAMODB: [&str; 18] = [
    "region",
    "partition_key",
    "sort_key",
    "endpoint",
    "profile",
    "namespace",
    "retention",
    "consistency",
    "read_only",
    "max_record",
    "request_timeout",
    "deadline",
    "layout",
    "dialect",
    "list_attribute",
    "sort_value",
    "ttl_attribute",
    "roll",
];

fn dynamodb(place: &str, query: Option<&str>) -> Result<DynamoDbUrl, Error> {
    let Some(table) = place.strip_prefix("//") else {
        return Err(Error::invalid("a DynamoDB URL starts with dynamodb://, followed by the table's name or ARN"));
    };
    if table.contains('@') {
        return Err(parameters::credentials("what stands before the @"));
    }
    let table = values::table(&values::decoded(table, "the table's name")?)?;
    let mut said = Parameters::read("dynamodb://", &DYNAMODB, query)?;
    Ok(DynamoDbUrl {
        table,
        region: said.take("region", values::region)?,
        partition_key: said.take("partition_key", values::attribute)?,
        sort_key: said.take("sort_key", values::attribute)?,
        endpoint: said.take("endpoint", values::endpoint)?,
        profile: said.take("profile", values::text)?,
        namespace: said.take("namespace", |value| Namespace::new(value).map_err(|e| e.to_string()))?,
        retention: said.take("retention", values::retention)?,
        eventual: said.take("consistency", values::eventual)?.unwrap_or(false),
        read_only: said.take("read_only", values::boolean)?.unwrap_or(false),
        layout: said.take("layout", values::named)?,
        dialect: said.take("dialect", values::named)?,
        list_attribute: said.take("list_attribute", values::attribute)?,
        sort_value: said.take("sort_value", values::text)?,
        ttl_attribute: said.take("ttl_attribute", values::attribute)?,
        roll: said.take("roll", values::roll)?,
        max_record_bytes: said.take("max_record", values::bytes)?,
        request_timeout: said.take("request_timeout", values::duration)?,
        deadline: said.take("deadline", values::duration)?,
    })
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(url) => url.fmt(f),
            Self::Memory(url) => {
                let mut out = Writer::new(f, "memory:")?;
                out.put("retention", url.retention.map(values::spell_duration))
            }
            Self::Sqlite(url) => {
                let path = values::spell_path(&url.path);
                // The part after two slashes would be read as a host.
                let scheme = if path.starts_with("//") { "sqlite://" } else { "sqlite:" };
                let mut out = Writer::new(f, &format!("{scheme}{path}"))?;
                out.put("retention", url.retention.map(values::spell_duration))?;
                out.put("read_only", url.read_only.then(|| "true".to_owned()))?;
                out.put("create_parent", url.create_parent.then(|| "true".to_owned()))?;
                out.put("max_record", url.max_record_bytes.map(values::spell_bytes))?;
                out.put("busy_timeout", url.busy_timeout.map(values::spell_duration))
            }
            Self::DynamoDb(url) => {
                let mut out = Writer::new(f, &format!("dynamodb://{}", values::encoded(&url.table)))?;
                out.put("region", url.region.clone())?;
                out.put("partition_key", url.partition_key.clone())?;
                out.put("sort_key", url.sort_key.clone())?;
                out.put("endpoint", url.endpoint.clone())?;
                out.put("profile", url.profile.clone())?;
                out.put("namespace", url.namespace.as_ref().map(ToString::to_string))?;
                out.put("retention", url.retention.map(values::spell_duration))?;
                out.put("consistency", url.eventual.then(|| "eventual".to_owned()))?;
                out.put("read_only", url.read_only.then(|| "true".to_owned()))?;
                out.put("layout", url.layout.map(|layout| layout.to_string()))?;
                out.put("dialect", url.dialect.map(|dialect| dialect.to_string()))?;
                out.put("list_attribute", url.list_attribute.clone())?;
                out.put("sort_value", url.sort_value.clone())?;
                out.put("ttl_attribute", url.ttl_attribute.clone())?;
                out.put("roll", url.roll.map(values::spell_roll))?;
                out.put("max_record", url.max_record_bytes.map(values::spell_bytes))?;
                out.put("request_timeout", url.request_timeout.map(values::spell_duration))?;
                out.put("deadline", url.deadline.map(values::spell_duration))
            }
        }
    }
}

#[cfg(test)]
mod tests;
