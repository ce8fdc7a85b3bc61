//! Stores of other crates: a scheme is registered once, and then its URLs work wherever ours do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, RwLock};

use async_trait::async_trait;

use super::parameters::{Parameters, Writer};
use super::values;
use crate::store::ChatStore;
use crate::{Error, Namespace};

/// Opens the stores of a URL scheme.
#[async_trait]
pub trait Scheme: fmt::Debug + Send + Sync + 'static {
    /// The URL's form, for messages, such as `files:FOLDER`. What precedes the colon is the scheme's name.
    fn form(&self) -> &'static str;

    /// The names of the parameters that its URLs may have after the `?`. A scheme that has `read_only` can be opened with
    /// `--read-only`; the service can serve keys with namespaces from one that has `namespace`.
    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    /// Opens the store of a URL.
    ///
    /// # Errors
    /// Invalid, for a place or a parameter that cannot be; errors from opening the store.
    async fn open(&self, url: &OtherUrl) -> Result<Arc<dyn ChatStore>, Error>;
}

/// A URL of a registered scheme. Two are equal if they have the same text.
#[derive(Debug, Clone)]
pub struct OtherUrl {
    scheme: Arc<dyn Scheme>,
    /// What is between the colon and the `?`, decoded.
    pub place: String,
    /// The parameters, decoded.
    pub parameters: BTreeMap<&'static str, String>,
}

static SCHEMES: OnceLock<RwLock<Vec<Arc<dyn Scheme>>>> = OnceLock::new();

/// Registers a scheme for the rest of the process. The program, the service and everything else that takes a store URL accept it from
/// then on.
///
/// # Errors
/// Invalid, if its form does not start with a name and a colon, or if the name is taken.
pub fn register(scheme: impl Scheme) -> Result<(), Error> {
    let form = scheme.form();
    let name = name_of(form);
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'+');
    if !form.contains(':') || !is_name(name) {
        return Err(Error::invalid(format!("invalid URL form {form:?}: expected a name of a-z, 0-9 and + before a colon")));
    }
    let mut schemes = schemes().write().unwrap_or_else(std::sync::PoisonError::into_inner);
    if ["sqlite", "dynamodb", "memory"].contains(&name) || schemes.iter().any(|scheme| name_of(scheme.form()) == name) {
        return Err(Error::invalid(format!("the URL scheme {name:?} is taken; register the store under another name")));
    }
    schemes.push(Arc::new(scheme));
    Ok(())
}

fn schemes() -> &'static RwLock<Vec<Arc<dyn Scheme>>> {
    SCHEMES.get_or_init(RwLock::default)
}

fn name_of(form: &'static str) -> &'static str {
    form.split_once(':').map_or("", |(name, _)| name)
}

/// The forms of the registered schemes.
pub(super) fn forms() -> Vec<&'static str> {
    schemes().read().unwrap_or_else(std::sync::PoisonError::into_inner).iter().map(|scheme| scheme.form()).collect()
}

/// Reads a URL of a registered scheme; `None` if there is none of this name.
pub(super) fn read(name: &str, place: &str, query: Option<&str>) -> Option<Result<OtherUrl, Error>> {
    let schemes = schemes().read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let scheme = Arc::clone(schemes.iter().find(|scheme| name_of(scheme.form()) == name)?);
    Some(parse(scheme, place, query))
}

fn parse(scheme: Arc<dyn Scheme>, place: &str, query: Option<&str>) -> Result<OtherUrl, Error> {
    let place = values::decoded(place, "what follows the scheme")?;
    let names = scheme.parameters();
    let mut given = Parameters::read(name_of(scheme.form()), names, query)?;
    let mut parameters = BTreeMap::new();
    for name in names {
        parameters.extend(given.take(name, |value| Ok(value.to_owned()))?.map(|value| (*name, value)));
    }
    let url = OtherUrl { scheme, place, parameters };
    url.flag("read_only")?;
    url.namespace()?;
    Ok(url)
}

impl OtherUrl {
    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Whether a parameter is `true`; `false` if it is missing.
    ///
    /// # Errors
    /// Invalid, if it is neither `true` nor `false`.
    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        let value = self.parameter(name).map(values::boolean).transpose();
        value
            .map(Option::unwrap_or_default)
            .map_err(|why| Error::invalid(format!("invalid parameter {name} in the store URL: {why}")))
    }

    /// The namespace that it names.
    ///
    /// # Errors
    /// Invalid, if it is not a namespace.
    pub fn namespace(&self) -> Result<Option<Namespace>, Error> {
        self.parameter("namespace").map(Namespace::new).transpose()
    }

    /// Sets a parameter.
    ///
    /// # Errors
    /// Unsupported, if the scheme has no such parameter.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Result<Self, Error> {
        let form = self.scheme.form();
        let name = self
            .scheme
            .parameters()
            .iter()
            .find(|known| **known == name)
            .ok_or_else(|| Error::new(crate::ErrorKind::Unsupported, format!("a store {form} has no parameter {name}")))?;
        self.parameters.insert(name, value.into());
        Ok(self)
    }

    pub(super) async fn open(&self) -> Result<Arc<dyn ChatStore>, Error> {
        self.scheme.open(self).await
    }
}

impl PartialEq for OtherUrl {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl fmt::Display for OtherUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place: Vec<_> = self.place.split('/').map(values::encoded).collect();
        let mut out = Writer::new(f, &format!("{}:{}", name_of(self.scheme.form()), place.join("/")))?;
        self.parameters.iter().try_for_each(|(name, value)| out.put(name, Some(value.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::InMemoryStore;
    use crate::store::url::StoreUrl;

    #[derive(Debug)]
    struct Nowhere;

    #[async_trait]
    impl Scheme for Nowhere {
        fn form(&self) -> &'static str {
            "nowhere:PLACE"
        }

        fn parameters(&self) -> &'static [&'static str] {
            &["read_only", "mode"]
        }

        async fn open(&self, url: &OtherUrl) -> Result<Arc<dyn ChatStore>, Error> {
            if url.place.is_empty() { Err(Error::invalid("it needs a place")) } else { Ok(Arc::new(InMemoryStore::new())) }
        }
    }

    #[tokio::test]
    async fn registered_scheme_is_parsed_opened_and_named() {
        register(Nowhere).expect("a free name");
        assert!(register(Nowhere).expect_err("a taken name").is_invalid());
        let url: StoreUrl = "nowhere:a/b%20c?mode=x%26y".parse().expect("a registered scheme");
        assert_eq!(url.to_string(), "nowhere:a/b%20c?mode=x%26y");
        let StoreUrl::Other(other) = &url else { panic!("another store: {url:?}") };
        assert_eq!((other.place.as_str(), other.parameter("mode")), ("a/b c", Some("x&y")));
        url.open().await.expect("it opens");
        let read_only = url.clone().into_read_only().expect("it has read_only");
        assert_eq!(read_only.to_string(), "nowhere:a/b%20c?mode=x%26y&read_only=true");
        assert_eq!(read_only.to_string().parse::<StoreUrl>().expect("its own text"), read_only);
        assert!("nowhere:".parse::<StoreUrl>().expect("it is read").open().await.expect_err("no place").is_invalid());
        for (bad, says) in
            [("nowhere:a?mood=x", "mood"), ("nowhere:a?read_only=maybe", "read_only"), ("elsewhere:a", "nowhere:PLACE")]
        {
            let error = bad.parse::<StoreUrl>().expect_err(bad);
            assert!(error.is_invalid() && error.to_string().contains(says), "{bad}: {error}");
        }
    }
}
