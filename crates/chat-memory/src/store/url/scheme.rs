//! The schemes: ours, and those that other crates register.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::StoreUrl;
use crate::checkpoints::{CheckpointOptions, CheckpointStore};
use crate::store::ChatStore;
use crate::{Error, ErrorKind, Namespace};

/// A kind of store URL: what its URLs may say, and how its stores are opened.
#[async_trait]
pub trait Scheme: fmt::Debug + Send + Sync + 'static {
    /// The URL's form, for messages, such as `files:FOLDER`. What precedes the colon is the scheme's name. With two slashes after
    /// it, as in `dynamodb://TABLE`, they are part of every URL.
    fn form(&self) -> &'static str;

    /// The names of the parameters that its URLs may have after the `?`. A scheme that has `read_only` can be opened with
    /// `--read-only`; the service can serve keys with namespaces from one that has `namespace`.
    fn parameters(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Checks the place and the parameters of a URL, as far as they themselves show.
    ///
    /// # Errors
    /// Invalid, for a place or a parameter that cannot be.
    fn check(&self, url: &StoreUrl) -> Result<(), Error> {
        let _ = url;
        Ok(())
    }

    /// Returns the URL of a namespace's own store. By default the namespace becomes the parameter `namespace`, after the one that
    /// the URL names.
    ///
    /// # Errors
    /// Unsupported if the scheme has no namespaces; invalid if both namespaces together are too long.
    fn in_namespace(&self, url: &StoreUrl, namespace: &Namespace) -> Result<StoreUrl, Error> {
        let namespace = url.namespace()?.map_or_else(|| namespace.to_string(), |outer| format!("{outer}/{namespace}"));
        url.clone().with("namespace", namespace)
    }

    /// Opens the store of a URL.
    ///
    /// # Errors
    /// Errors from opening the store.
    async fn open(&self, url: &StoreUrl) -> Result<Arc<dyn ChatStore>, Error>;

    /// Opens the [checkpoints](crate::checkpoints) of a URL. By default the scheme has none.
    ///
    /// # Errors
    /// Unsupported if the scheme has none; errors from opening the store.
    async fn open_checkpoints(&self, url: &StoreUrl, options: CheckpointOptions) -> Result<CheckpointStore, Error> {
        let _ = (url, options);
        let form = self.form();
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("no checkpoints in a store of the form {form}; keep them in sqlite:PATH, dynamodb://TABLE or memory:"),
        ))
    }
}

static REGISTERED: RwLock<Vec<Arc<dyn Scheme>>> = RwLock::new(Vec::new());

/// The names of our schemes, which nobody else may take, with the cargo feature that builds each.
const OURS: [(&str, &str); 3] = [("sqlite", "sqlite"), ("dynamodb", "dynamodb"), ("memory", "")];

/// Registers a scheme for the rest of the process. The program, the service and everything else that takes a store URL accept it from
/// then on.
///
/// # Errors
/// Invalid, if its form does not start with a name and a colon, or if the name is taken.
pub fn register(scheme: impl Scheme) -> Result<(), Error> {
    let form = scheme.form();
    let name = name_of(form);
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'+');
    if !is_name {
        return Err(Error::invalid(format!("invalid URL form {form:?}: expected a name of a-z, 0-9 and + before a colon")));
    }
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    if OURS.iter().any(|(ours, _)| *ours == name) || registered.iter().any(|scheme| name_of(scheme.form()) == name) {
        return Err(Error::invalid(format!("the URL scheme {name:?} is taken; register the store under another name")));
    }
    registered.push(Arc::new(scheme));
    Ok(())
}

/// Returns the scheme of this name.
pub(super) fn find(name: &str) -> Result<Arc<dyn Scheme>, Error> {
    match name {
        "memory" => return Ok(Arc::new(super::memory::Memory)),
        #[cfg(feature = "sqlite")]
        "sqlite" => return Ok(Arc::new(super::sqlite::Sqlite)),
        #[cfg(feature = "dynamodb")]
        "dynamodb" => return Ok(Arc::new(super::dynamodb::DynamoDb)),
        _ => {}
    }
    let registered =
        REGISTERED.read().unwrap_or_else(PoisonError::into_inner).iter().find(|scheme| name_of(scheme.form()) == name).cloned();
    registered.ok_or_else(|| {
        if let Some((_, feature)) = OURS.iter().find(|(ours, _)| *ours == name) {
            let remedy = format!("build the crate chat-memory with its cargo feature {feature:?}");
            return Error::new(ErrorKind::Unsupported, format!("this build has no store of the scheme {name}: {remedy}"));
        }
        // What precedes the colon is named only if it looks like a scheme.
        let is_name = name.len() <= 16 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+');
        let shown = if is_name { format!(" \"{name}:…\"") } else { String::new() };
        Error::invalid(format!("unknown store{shown}: {}", forms()))
    })
}

/// Returns what precedes the colon.
pub(super) fn name_of(form: &'static str) -> &'static str {
    form.split_once(':').map_or("", |(name, _)| name)
}

/// Returns what precedes the place.
pub(super) fn prefix_of(form: &'static str) -> &'static str {
    let name = name_of(form).len();
    let end = if form[name..].starts_with("://") { name + 3 } else { form.len().min(name + 1) };
    &form[..end]
}

/// The forms that a store URL may have.
pub(super) fn forms() -> String {
    let mut forms = vec!["sqlite:PATH", "dynamodb://TABLE"];
    forms.extend(REGISTERED.read().unwrap_or_else(PoisonError::into_inner).iter().map(|scheme| scheme.form()));
    format!("expected {} or memory:", forms.join(", "))
}
