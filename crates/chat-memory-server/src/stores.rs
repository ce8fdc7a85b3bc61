//! The stores behind the service: one per namespace, opened at its first request.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chat_memory::checkpoints::{CheckpointOptions, CheckpointStore};
use chat_memory::store::Load;
use chat_memory::store::dynamodb::DynamoDbStore;
use chat_memory::store::url::StoreUrl;
use chat_memory::{ChatStore, Error, ErrorKind, Namespace, SessionId};
use tokio::sync::OnceCell;

use crate::metered::Metered;
use crate::metrics::Metrics;

/// The longest that a readiness check may take, and how long its result is valid.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The store of each namespace.
///
/// On DynamoDB a namespace is a prefix of every partition key of one table (after the URL's own namespace, if any); on SQLite it is
/// a separate file next to the first, `chats.NAMESPACE.db` next to `chats.db`; in memory it is a separate store; in a store of another
/// crate it is the URL's parameter `namespace`. A session id,
/// cursor or position of one namespace therefore means nothing in another. A ready store has no namespaces.
pub struct Stores {
    source: Source,
    metrics: Arc<Metrics>,
    /// One place per namespace, so that a store that opens slowly delays only its own namespace.
    places: Mutex<HashMap<Option<Namespace>, Place>>,
    /// The checkpoints of each namespace, likewise.
    checkpoints: Mutex<HashMap<Option<Namespace>, Arc<OnceCell<CheckpointStore>>>>,
    table: OnceCell<DynamoDbStore>,
    /// When the store was last checked, and whether it could be read.
    looked: Mutex<Option<(Instant, bool)>>,
    /// One check at a time.
    looking: tokio::sync::Mutex<()>,
}

/// Where the stores come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Opened by a URL, one per namespace.
    Url(Box<StoreUrl>),
    /// Opened by the embedding program.
    Ready(Arc<dyn ChatStore>),
}

/// A store, once it is opened.
type Place = Arc<OnceCell<Arc<dyn ChatStore>>>;

impl Stores {
    /// The stores of this source.
    pub(crate) fn new(source: Source, metrics: Arc<Metrics>) -> Self {
        Self {
            source,
            metrics,
            places: Mutex::default(),
            checkpoints: Mutex::default(),
            table: OnceCell::new(),
            looked: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// The store of a namespace, or of requests without one.
    ///
    /// # Errors
    /// Errors from opening the store. The next request tries again.
    pub async fn of(&self, namespace: Option<&Namespace>) -> Result<Arc<dyn ChatStore>, Error> {
        let place = self.place(namespace);
        place.get_or_try_init(|| self.open(namespace)).await.cloned()
    }

    fn place(&self, namespace: Option<&Namespace>) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(namespace.cloned()).or_default())
    }

    async fn open(&self, namespace: Option<&Namespace>) -> Result<Arc<dyn ChatStore>, Error> {
        let url = match (&self.source, namespace) {
            (Source::Url(url), _) => url,
            (Source::Ready(store), None) => return Ok(self.metered(Arc::clone(store))),
            (Source::Ready(_), Some(namespace)) => {
                return Err(Error::invalid(format!(
                    "namespace \"{namespace}\" of a key: the service's store was opened without namespaces; give the service a store URL"
                )));
            }
        };
        let own = namespace.map(|namespace| url.in_namespace(namespace)).transpose()?;
        let store: Arc<dyn ChatStore> = match self.table(url, own.as_ref()).await? {
            Some(table) => Arc::new(table),
            None => own.as_ref().unwrap_or(url).open().await?,
        };
        Ok(self.metered(store))
    }

    /// The table of a namespace, if the store is on DynamoDB. All namespaces share one AWS client, opened without any of theirs: the
    /// connections and credentials are the service's.
    async fn table(&self, url: &StoreUrl, own: Option<&StoreUrl>) -> Result<Option<DynamoDbStore>, Error> {
        let Some(options) = url.dynamodb() else { return Ok(None) };
        let table = self.table.get_or_try_init(|| DynamoDbStore::open(options)).await?;
        let namespace = own.and_then(|own| own.dynamodb()?.namespace);
        Ok(Some(namespace.map_or_else(|| table.clone(), |namespace| table.in_namespace(namespace))))
    }

    /// LangGraph's checkpoints in the store of a namespace.
    ///
    /// # Errors
    /// Unsupported for a ready store, and for one whose URL has none; errors from opening it. The next request tries again.
    pub async fn checkpoints(&self, namespace: Option<&Namespace>) -> Result<CheckpointStore, Error> {
        let Source::Url(url) = &self.source else {
            let why = "no threads: the service's store was opened without a store URL; give the service one";
            return Err(Error::new(ErrorKind::Unsupported, why));
        };
        let place = {
            let mut places = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(places.entry(namespace.cloned()).or_default())
        };
        let open = async || {
            let own = namespace.map(|namespace| url.in_namespace(namespace)).transpose()?;
            // It never puts a checkpoint after one that it read.
            let options = CheckpointOptions::default().with_cache_bytes(0);
            match self.table(url, own.as_ref()).await? {
                Some(table) => Ok(table.checkpoints(options)),
                None => own.as_ref().unwrap_or(url).open_checkpoints(options).await,
            }
        };
        place.get_or_try_init(open).await.cloned()
    }

    fn metered(&self, store: Arc<dyn ChatStore>) -> Arc<dyn ChatStore> {
        Arc::new(Metered::new(store, Arc::clone(&self.metrics)))
    }

    /// Checks that the store can be read, by reading the end of a session that nobody writes to.
    ///
    /// # Errors
    /// Errors from the store.
    pub async fn look(&self) -> Result<(), Error> {
        let nowhere = SessionId::new("chat-memory readiness")?;
        self.of(None).await?.load(&nowhere, &Load::last(0).eventually_consistent()).await.map(drop)
    }

    /// Whether the store can be read, from a recent check: probes need no key, and must not put load on the store.
    pub(crate) async fn is_readable(&self) -> bool {
        let known = self.looked();
        if let Some((at, readable)) = known
            && at.elapsed() < LOOK_EVERY
        {
            return readable;
        }
        // While a check is running, others use the previous result; only the very first must be awaited.
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
        // If the caller disconnects before the store answers, it counts as unreadable.
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

    /// The URL of these stores, if they have one.
    pub fn url(&self) -> Option<&StoreUrl> {
        match &self.source {
            Source::Url(url) => Some(url),
            Source::Ready(_) => None,
        }
    }
}

/// Records a check's result when it is dropped.
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
        f.debug_struct("Stores").field("url", &self.url().map(ToString::to_string)).finish_non_exhaustive()
    }
}
