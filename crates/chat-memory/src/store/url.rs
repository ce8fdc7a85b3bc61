//! Store URLs: the complete configuration of a store in one line.
//!
//! | URL | store |
//! |---|---|
//! | `sqlite:PATH?retention=30d&…` | one SQLite file; the path is relative, or absolute as in `sqlite:/var/chat.db` or `sqlite:///var/chat.db`; `SqliteBuilder::SETTINGS` has the parameters |
//! | `dynamodb://TABLE?region=…&…` | a DynamoDB table, by its name or its ARN; its `Options::SETTINGS` has the parameters |
//! | `memory:?retention=30d` | this process's memory, for experiments |
//!
//! A crate with another store [registers](register) a [`Scheme`] of its own, which is all that those three are.
//!
//! Characters with a meaning in URLs (`%`, `?`, `#`, `&`, `=`, spaces) are percent-encoded in paths and values. URLs must not
//! contain credentials: such a URL is refused, and the error does not repeat it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::ChatStore;
use crate::backend::settings::{boolean, invalid, quoted};
use crate::checkpoints::{CheckpointOptions, CheckpointStore};
use crate::{Error, ErrorKind, Namespace};

#[cfg(feature = "dynamodb")]
mod dynamodb;
mod escape;
mod memory;
mod scheme;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use scheme::{Scheme, register};

/// A store and its complete configuration. Converts to and from text (`Display`, `FromStr`) without loss. Two are equal if they
/// have the same text.
///
/// ```
/// use chat_memory::store::url::StoreUrl;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let url: StoreUrl = "memory:?retention=30d".parse()?;
/// let store = url.open().await?;
/// assert!(!store.capabilities().durable);
///
/// let error = "memory:?retension=30d".parse::<StoreUrl>().unwrap_err();
/// assert!(error.to_string().contains("retension"));
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct StoreUrl {
    scheme: Arc<dyn Scheme>,
    place: OsString,
    parameters: BTreeMap<&'static str, String>,
}

impl StoreUrl {
    /// Creates the URL of a store at this place (decoded, such as the path of a SQLite file), with default settings.
    ///
    /// # Errors
    /// Invalid if there is no such scheme, or if it has no such place.
    pub fn new(scheme: &str, place: impl Into<OsString>) -> Result<Self, Error> {
        Self { scheme: scheme::find(scheme)?, place: place.into(), parameters: BTreeMap::new() }.checked()
    }

    /// Returns the scheme's name, such as `sqlite`.
    pub fn scheme(&self) -> &'static str {
        scheme::name_of(self.scheme.form())
    }

    /// Returns what names the store within its scheme, decoded: the table's name, the file's path.
    ///
    /// # Errors
    /// Invalid if it is not UTF-8, as only a [path](Self::path) may be.
    pub fn place(&self) -> Result<&str, Error> {
        let place = self.place.to_str();
        place.ok_or_else(|| Error::invalid("what follows the scheme in the store URL is not UTF-8 once decoded"))
    }

    /// Returns the same as a path.
    pub fn path(&self) -> &Path {
        Path::new(&self.place)
    }

    /// Returns a parameter's value, decoded.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Returns the parameters that are given, decoded, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.parameters.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Sets a parameter.
    ///
    /// # Errors
    /// Unsupported if the scheme has no such parameter; invalid if it cannot have this value.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Result<Self, Error> {
        let Some(name) = self.scheme.parameters().into_iter().find(|known| *known == name) else {
            let form = self.scheme.form();
            return Err(Error::new(ErrorKind::Unsupported, format!("unknown parameter {name} of a store {form}")));
        };
        self.parameters.insert(name, value.into());
        self.checked()
    }

    /// Removes a parameter, if it is given.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.parameters.remove(name);
        self
    }

    /// Sets the place.
    ///
    /// # Errors
    /// Invalid if the scheme has no such place.
    pub fn with_place(self, place: impl Into<OsString>) -> Result<Self, Error> {
        Self { place: place.into(), ..self }.checked()
    }

    /// Whether all writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.parameter("read_only") == Some("true")
    }

    /// Makes the store read-only: refuses all writes.
    ///
    /// # Errors
    /// Unsupported if the scheme has no `read_only`; invalid for `memory:`, which starts empty in each process, so there is nothing
    /// to read.
    pub fn into_read_only(self) -> Result<Self, Error> {
        if self.scheme() == "memory" {
            return Err(Error::invalid("memory: cannot be opened read-only: it starts empty in each process"));
        }
        self.with("read_only", "true")
    }

    /// Returns the URL of a namespace's own store; see [`Scheme::in_namespace`].
    ///
    /// # Errors
    /// Unsupported if the scheme has no namespaces; invalid if both namespaces together are too long.
    pub fn in_namespace(&self, namespace: &Namespace) -> Result<Self, Error> {
        self.scheme.in_namespace(self, namespace)
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Errors of opening the store.
    pub async fn open(&self) -> Result<Arc<dyn ChatStore>, Error> {
        self.scheme.open(self).await
    }

    /// Opens the checkpoints in the store; see [`checkpoints::open`](crate::checkpoints::open).
    ///
    /// # Errors
    /// Unsupported if the scheme has none; errors of opening the store.
    pub async fn open_checkpoints(&self, options: CheckpointOptions) -> Result<CheckpointStore, Error> {
        self.scheme.open_checkpoints(self, options).await
    }

    /// Returns the options of the DynamoDB store; `None` if it is another store.
    #[cfg(feature = "dynamodb")]
    pub fn dynamodb(&self) -> Option<crate::store::dynamodb::Options> {
        (self.scheme() == "dynamodb").then(|| dynamodb::options(self).ok()).flatten()
    }

    /// Returns the builder of the SQLite store; `None` if it is another store.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(&self) -> Option<crate::store::sqlite::SqliteBuilder> {
        (self.scheme() == "sqlite").then(|| sqlite::builder(self).ok()).flatten()
    }

    /// The namespace that it names, if any.
    fn namespace(&self) -> Result<Option<Namespace>, Error> {
        let Some(name) = self.parameter("namespace") else { return Ok(None) };
        Namespace::new(name).map(Some).map_err(|e| invalid("namespace", name, e))
    }

    fn checked(self) -> Result<Self, Error> {
        if let Some(value) = self.parameter("read_only") {
            boolean(value).map_err(|why| invalid("read_only", value, why))?;
        }
        self.namespace()?;
        self.scheme.check(&self)?;
        Ok(self)
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // Never repeat the text: it may be something else, with a password in it.
        let Some((name, rest)) = text.split_once(':') else {
            let forms = scheme::forms();
            return Err(Error::invalid(format!(
                "unknown store: there is no colon in it; {forms} (write sqlite: before a file's path)"
            )));
        };
        let scheme = scheme::find(name)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (form, prefix) = (scheme.form(), scheme::prefix_of(scheme.form()));
        let place = match place.strip_prefix("//") {
            Some(place) if prefix.ends_with("//") || place.starts_with('/') => place,
            Some(_) => {
                return Err(Error::invalid(format!(
                    "a {name} URL has no host: write {form}, or {name}:///PATH for an absolute path"
                )));
            }
            None if prefix.ends_with("//") => {
                return Err(Error::invalid(format!("a {name} URL starts with {prefix}: write {form}")));
            }
            None => place,
        };
        let place = escape::path(place)?;
        let parameters = parameters(prefix, &scheme.parameters(), query)?;
        Self { scheme, place, parameters }.checked()
    }
}

/// Parses `name=value&name=value`: each parameter at most once, each known.
fn parameters(prefix: &str, known: &[&'static str], query: &str) -> Result<BTreeMap<&'static str, String>, Error> {
    let mut given = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = escape::text(name, "a parameter's name")?;
        if is_secret(&name) {
            return Err(credentials(&format!("the parameter {name:?}")));
        }
        let Some(known) = known.iter().find(|known| **known == name) else {
            return Err(Error::invalid(format!(
                "unknown parameter {} of a {prefix} URL: expected one of {}",
                quoted(&name),
                known.join(", ")
            )));
        };
        let value = escape::text(value, &format!("the parameter {name}"))?;
        if given.insert(*known, value).is_some() {
            return Err(Error::invalid(format!("the parameter {name} is given twice in the {prefix} URL; give it once")));
        }
    }
    Ok(given)
}

/// Whether a parameter of this name carries a secret, in any of the usual spellings.
fn is_secret(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    ["accesskey", "secret", "token", "password", "passwd", "credential", "apikey"].iter().any(|word| name.contains(word))
}

/// The error for a URL that contains credentials.
fn credentials(what: &str) -> Error {
    Error::invalid(format!(
        "a store URL must not carry credentials, since URLs end up in logs and process lists: take out {what}, and give them \
         by environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), by a profile, or in code through the store's options"
    ))
}

impl PartialEq for StoreUrl {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for StoreUrl {}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, place) = (scheme::prefix_of(self.scheme.form()), escape::escaped_path(OsStr::new(&self.place)));
        // The part after two slashes would be read as a host.
        let slashes = if !prefix.ends_with("//") && place.starts_with("//") { "//" } else { "" };
        write!(f, "{prefix}{slashes}{place}")?;
        let mut separator = '?';
        for (name, value) in self.parameters() {
            write!(f, "{separator}{name}={}", escape::escaped(value))?;
            separator = '&';
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
