//! The stores behind the service: one for each namespace, opened when its first request comes.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chat_memory::store::Load;
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::store::url::{MemoryUrl, SqliteUrl, StoreUrl};
use chat_memory::{ChatStore, Error, Namespace, SessionId};
use tokio::sync::OnceCell;

use crate::metered::Metered;
use crate::metrics::Metrics;

/// The longest that the store may take to say that it is there, and how long that holds.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The store of each namespace.
///
/// On DynamoDB a namespace is a prefix of every partition key of one table (behind the one that the URL names, if it names
/// one); on SQLite it is a file of its own beside the first, `chats.NAMESPACE.db` beside `chats.db`; in memory it is a store of its own.
/// So no session id, cursor or position of one namespace means anything in another.
pub struct Stores {
    url: StoreUrl,
    metrics: Arc<Metrics>,
    /// A place for each namespace, so that a store that opens slowly keeps only its own namespace waiting.
    places: Mutex<HashMap<Option<Namespace>, Place>>,
    table: OnceCell<DynamoDbStore>,
    /// When the store was last looked at, and whether it could be read.
    looked: Mutex<Option<(Instant, bool)>>,
    /// One look at a time.
    looking: tokio::sync::Mutex<()>,
}

/// Where a store is, once it was opened.
type Place = Arc<OnceCell<Arc<dyn ChatStore>>>;

impl Stores {
    /// The stores at this URL.
    pub fn new(url: StoreUrl, metrics: Arc<Metrics>) -> Self {
        Self {
            url,
            metrics,
            places: Mutex::default(),
            table: OnceCell::new(),
            looked: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// The store of a namespace, or of requests that have none.
    ///
    /// # Errors
    /// What the store meets when it opens. The next request tries again.
    pub async fn of(&self, namespace: Option<&Namespace>) -> Result<Arc<dyn ChatStore>, Error> {
        let place = self.place(namespace);
        place.get_or_try_init(|| self.open(namespace)).await.cloned()
    }

    fn place(&self, namespace: Option<&Namespace>) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(namespace.cloned()).or_default())
    }

    async fn open(&self, namespace: Option<&Namespace>) -> Result<Arc<dyn ChatStore>, Error> {
        let store: Arc<dyn ChatStore> = match (&self.url, namespace) {
            (StoreUrl::DynamoDb(url), namespace) => {
                // One AWS client for all namespaces: its connections and credentials are the service's.
                let table = self.table.get_or_try_init(|| DynamoDbStore::open(url.options())).await?;
                match namespace {
                    Some(inner) => Arc::new(table.in_namespace(behind(url.namespace.as_ref(), inner)?)),
                    None => Arc::new(table.clone()),
                }
            }
            (url, Some(namespace)) => within(url, namespace)?.open().await?,
            (url, None) => url.open().await?,
        };
        Ok(Arc::new(Metered::new(store, Arc::clone(&self.metrics))))
    }

    /// Whether the store can be read: it reads the end of a session that nobody writes to.
    ///
    /// # Errors
    /// What the store meets.
    pub async fn look(&self) -> Result<(), Error> {
        let nowhere = SessionId::new("chat-memory readiness")?;
        self.of(None).await?.load(&nowhere, &Load::last(0).eventually_consistent()).await.map(drop)
    }

    /// Whether the store can be read, by a look of a moment ago at the latest: probes need no key, and must not be a way to make the store work.
    pub(crate) async fn is_readable(&self) -> bool {
        let known = self.looked();
        if let Some((at, readable)) = known
            && at.elapsed() < LOOK_EVERY
        {
            return readable;
        }
        // While a look is under way, others go by the one before; only the first of all has to be waited for.
        let _looking = match (self.looking.try_lock(), known) {
            (Ok(looking), _) => looking,
            (Err(_), Some((_, readable))) => return readable,
            (Err(_), None) => {
                let looking = self.looking.lock().await;
                if let Some((_, readable)) = self.looked() {
                    return readable;
                }
                looking
            }
        };
        // Whoever asks may go away before the store has answered: then it cannot be read, either.
        let mut noted = Noted { looked: &self.looked, readable: false };
        let found = tokio::time::timeout(PATIENCE, self.look()).await;
        match &found {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not ready: the store cannot be read"),
            Err(_) => tracing::warn!("not ready: the store did not answer in time"),
        }
        noted.readable = matches!(found, Ok(Ok(())));
        noted.readable
    }

    fn looked(&self) -> Option<(Instant, bool)> {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which stores these are, for the log.
    pub fn url(&self) -> &StoreUrl {
        &self.url
    }
}

/// Notes what a look found, when it ends.
struct Noted<'a> {
    looked: &'a Mutex<Option<(Instant, bool)>>,
    readable: bool,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), self.readable));
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("url", &self.url.to_string()).finish_non_exhaustive()
    }
}

/// A namespace behind the one that the store's URL names, if it names one.
fn behind(outer: Option<&Namespace>, inner: &Namespace) -> Result<Namespace, Error> {
    outer.map_or_else(|| Ok(inner.clone()), |outer| Namespace::new(format!("{outer}/{inner}")))
}

/// The URL of a namespace's store, where it has one of its own.
fn within(url: &StoreUrl, namespace: &Namespace) -> Result<StoreUrl, Error> {
    match url {
        // Each is opened once, and is another one.
        StoreUrl::Memory(memory) => Ok(StoreUrl::Memory(MemoryUrl::clone(memory))),
        StoreUrl::Sqlite(file) => {
            let mut own = SqliteUrl::clone(file);
            own.path = beside(&file.path, namespace)?;
            Ok(StoreUrl::Sqlite(own))
        }
        _ => Err(Error::invalid("this kind of store has no namespaces")),
    }
}

fn beside(path: &Path, namespace: &Namespace) -> Result<PathBuf, Error> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.ok_or_else(|| Error::invalid(format!("{} has no name to put a namespace into", path.display())))?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let name = extension.map_or_else(|| format!("{stem}.{namespace}"), |extension| format!("{stem}.{namespace}.{extension}"));
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_place_of_its_own() {
        let within = |url: &str, namespace: &str| {
            let namespace = Namespace::new(namespace).expect("a good name");
            within(&url.parse().expect("a good URL"), &namespace).expect("a URL").to_string()
        };
        assert_eq!(within("sqlite:/data/chats.db?retention=30d", "acme"), "sqlite:/data/chats.acme.db?retention=30d");
        assert_eq!(within("sqlite:chats", "acme"), "sqlite:chats.acme");
        let name = |name: &str| Namespace::new(name).expect("a good name");
        assert_eq!(behind(None, &name("acme")).expect("a name"), name("acme"));
        assert_eq!(behind(Some(&name("prod")), &name("acme")).expect("a name"), name("prod/acme"));
    }
}
