//! The store: the protocol on the SDK's table and this machine's clocks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use tokio::sync::OnceCell;

use super::checkpoints::TableRows;
use super::common::names::Partitions;
use super::common::queue::Queues;
use super::common::retry::Retry;
use super::common::sessions::Common;
use super::common::size::MAX_ITEM;
use super::common::swept::TableSweepStats;
use super::layouts::list::{self, Contents, Listed};
use super::layouts::turns::{self, Limits, Turns};
use super::options::{Layout, Options, Roll};
use super::table::Clock;
use super::table::sdk::{Failure, Schema, SdkTable, Trouble};
use chat_memory_core::backend::{EntryIdCache, Moment};
use chat_memory_core::checkpoints::{CheckpointOptions, CheckpointStore};
use chat_memory_core::error::Error;
use chat_memory_core::store::{
    Append, Appended, Capabilities, ChatStore, ClearOutcome, Cost, Deleted, History, Load, Redacted, Redaction, SessionInfo,
    SessionPage, SessionQuery, SessionUpdate, SweepStats,
};
use chat_memory_core::{Namespace, SessionId};

/// Sessions in a DynamoDB table with a partition key and a sort key, both strings.
///
/// A warm append is one request and costs what its bytes cost, however long the session is; docs/formats.md describes what is in
/// the table. Cheap to clone; clones share their cached tails.
///
/// ```no_run
/// use chat_memory::store::dynamodb::{DynamoDbStore, Options};
/// use chat_memory::{Append, ChatStore, Message, SessionId};
/// # async fn run() -> Result<(), chat_memory::Error> {
/// let store = DynamoDbStore::open(Options::new("chats").with_region("eu-central-1")).await?;
/// let session = SessionId::new("user-42")?;
/// let turn = Append::new([Message::user("What is 2 + 2?"), Message::assistant("4.")]);
/// let appended = store.append(&session, &turn).await?;
/// println!("record {} cost {}", appended.seq, appended.cost);
/// # Ok(()) }
/// ```
///
/// A table with a partition key only was made by Flowise or LangChain: then a session is one item, as theirs are, and they continue
/// to work on it. The layout is detected from the table's keys at the first request (set [`Options::layout`] to skip that).
#[derive(Debug, Clone)]
pub struct DynamoDbStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: SdkTable,
    options: Options,
    turns: Turns<SdkTable, SystemClock>,
    /// The table's layout, once it was detected.
    layout: OnceCell<Layout>,
    /// What a sample of its items holds, once it was read.
    contents: OnceCell<Contents>,
    /// Set once the table is known to have the other layout.
    list: OnceCell<Arc<Listed<SdkTable, SystemClock>>>,
    /// The other layout as the options suggest it, before the table was asked.
    suggested: OnceCell<Arc<Listed<SdkTable, SystemClock>>>,
    entry_ids: EntryIdCache,
}

/// The layout in use.
enum On<'a> {
    Turns(&'a Turns<SdkTable, SystemClock>),
    List(&'a Listed<SdkTable, SystemClock>),
}

/// Runs the same operation on either layout. If the layout is unknown, the first request reveals it: with the wrong keys it is
/// refused, and changes nothing.
macro_rules! on {
    ($store:expr, $sessions:ident => $run:expr) => {{
        let mut on = $store.on().await?;
        loop {
            let done = match on {
                On::List($sessions) => $run.await,
                On::Turns($sessions) => $run.await,
            };
            let Err(error) = done else { break done };
            match $store.corrected(&on, &error).await? {
                Some(other) => on = other,
                None => break Err(error),
            }
        }
    }};
}

impl DynamoDbStore {
    /// Opens a table. No request is sent yet: a missing table is reported by the first operation.
    ///
    /// # Errors
    /// Invalid if the options cannot work or no region is known.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let table = SdkTable::open(&options).await?;
        Ok(Self::over(table, &options))
    }

    /// Opens a table with parts of an existing client: its credentials, region, endpoint and HTTP client. Its retries and timeouts
    /// are not used, since the protocol has its own; see [`Options::request_timeout`] and [`Options::deadline`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_client(client: &Client, options: Options) -> Result<Self, Error> {
        let table = SdkTable::from_client(client, &options)?;
        Ok(Self::over(table, &options))
    }

    /// Opens a table with an existing configuration of the AWS SDK.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_sdk_config(config: &SdkConfig, options: Options) -> Result<Self, Error> {
        let table = SdkTable::from_sdk_config(config, &options)?;
        Ok(Self::over(table, &options))
    }

    /// Opens another namespace in the same table with the same AWS client. Connections and credentials are shared; everything else
    /// is separate.
    ///
    /// ```
    /// use chat_memory::Namespace;
    /// use chat_memory::store::dynamodb::{DynamoDbStore, Options};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let store = DynamoDbStore::open(Options::new("chats").with_region("eu-west-1")).await?;
    /// let of_acme = store.in_namespace(Namespace::new("acme")?);
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn in_namespace(&self, namespace: Namespace) -> Self {
        Self::over(self.0.table.clone(), &self.0.options.clone().with_namespace(namespace))
    }

    fn over(table: SdkTable, options: &Options) -> Self {
        let limits = Limits::new(options.max_record_bytes);
        let turns = Turns::new(table.clone(), SystemClock, common(options), limits).queued(Queues::default());
        let (layout, contents, list, suggested) = Default::default();
        let entry_ids = EntryIdCache::new(options.retention);
        Self(Arc::new(Inner { table, options: options.clone(), turns, layout, contents, list, suggested, entry_ids }))
    }

    /// The layout, as far as it is known. The table's keys are requested only if the options hint that it may not have the `turns`
    /// layout, but do not suggest the other one's keys.
    async fn on(&self) -> Result<On<'_>, Error> {
        let options = &self.0.options;
        let layout = match (self.listed(), options.settled_layout(), self.0.layout.get()) {
            (Some(list), ..) => return Ok(On::List(list)),
            (None, Some(settled), _) => settled,
            (None, None, Some(found)) => *found,
            (None, None, None) if options.suggests_list() => {
                let suggested = self.0.suggested.get_or_try_init(async || self.listed_with(None).await.map(Arc::new));
                return Ok(On::List(suggested.await?));
            }
            (None, None, None) if options.hints_at_list() => self.found_layout().await?,
            (None, None, None) => Layout::Turns,
        };
        match layout {
            Layout::List => self.list().await.map(On::List),
            Layout::Turns => Ok(On::Turns(&self.0.turns)),
        }
    }

    /// The `list` layout, if the table is known to have it, or if the options suggest it and nothing has contradicted.
    fn listed(&self) -> Option<&Listed<SdkTable, SystemClock>> {
        let suggested = self.0.suggested.get().filter(|_| self.0.layout.get().is_none());
        self.0.list.get().or(suggested).map(Arc::as_ref)
    }

    fn is_list(&self) -> bool {
        self.listed().is_some() || self.0.options.settled_layout() == Some(Layout::List)
    }

    /// Detects the table's layout from its keys and, if it has two, from a sample of its items. Done once.
    async fn found_layout(&self) -> Result<Layout, Error> {
        let found = self.0.layout.get_or_try_init(|| async {
            let options = &self.0.options;
            let schema = match self.schema().await {
                // Then only the options can tell.
                Err(error) if error.is_access_denied() && options.hints_at_list() => {
                    return Ok(options.said_layout().unwrap_or(Layout::Turns));
                }
                schema => schema?,
            };
            let Some(sort) = &schema.sort else { return Ok(Layout::List) };
            let contents = self.contents().await?;
            let is_expected =
                (schema.partition.name.as_str(), sort.name.as_str()) == (options.partition_key_name(), options.sort_key_name());
            Ok(match contents {
                Contents { turns: true, .. } => Layout::Turns,
                Contents { lists: true, .. } => Layout::List,
                _ if is_expected => Layout::Turns,
                _ => options.said_layout().unwrap_or(Layout::Turns),
            })
        });
        found.await.copied()
    }

    /// What a sample of the table's items holds; nothing if the credentials may not read them.
    async fn contents(&self) -> Result<&Contents, Error> {
        let looked = self.0.contents.get_or_try_init(|| async {
            let mut retry = Retry::new(&SystemClock, self.0.options.deadline);
            loop {
                let failure = match self.0.table.sample(&mut Cost::default()).await {
                    Ok(items) => {
                        let sort = self.schema().await?.sort;
                        return Ok(Contents::of(&items, sort.as_ref().map(|key| key.name.as_str())));
                    }
                    Err(failure) if failure.trouble() == Trouble::Denied => return Ok(Contents::default()),
                    Err(failure) => failure,
                };
                retry.after(failure.into_fault(self.0.table.target(), None)).await?;
            }
        });
        looked.await
    }

    /// The table's keys, requested once.
    async fn schema(&self) -> Result<Schema, Error> {
        let mut retry = Retry::new(&SystemClock, self.0.options.deadline);
        loop {
            let failure = match self.0.table.schema(&mut Cost::default()).await {
                Ok(schema) => return Ok(schema),
                Err(failure) => failure,
            };
            if failure.trouble() == Trouble::Denied {
                return Err(failure.into_error(self.0.table.target(), None).context(
                    "the table's keys could not be read; give layout=turns in the store URL, or layout=list with \
                     partition_key=… (and sort_key=…, if the table has one), to skip reading them",
                ));
            }
            retry.after(failure.into_fault(self.0.table.target(), None)).await?;
        }
    }

    /// Returns what the table turns out to be if the error was about keys and another layout, or other keys, were tried.
    async fn corrected(&self, tried: &On<'_>, error: &Error) -> Result<Option<On<'_>>, Error> {
        let is_about_keys = Failure::of(error).is_some_and(|failure| failure.trouble() == Trouble::KeySchema);
        if !is_about_keys || self.0.options.settled_layout().is_some() {
            return Ok(None);
        }
        if let Some(known) = self.0.list.get() {
            // Another operation may have found it since this one began.
            let is_tried = matches!(tried, On::List(tried) if std::ptr::eq(*tried, Arc::as_ptr(known)));
            return Ok((!is_tried).then(|| On::List(known)));
        }
        match (tried, self.found_layout().await?) {
            (On::Turns(_), Layout::Turns) => Ok(None),
            (On::List(_), Layout::Turns) => Ok(Some(On::Turns(&self.0.turns))),
            (_, Layout::List) => self.list().await.map(On::List).map(Some),
        }
    }

    async fn list(&self) -> Result<&Listed<SdkTable, SystemClock>, Error> {
        let options = &self.0.options;
        let opened = self.0.list.get_or_try_init(|| async {
            let schema = match self.0.table.known_schema() {
                None if options.asks_for_keys() => Some(self.schema().await?),
                known => known,
            };
            let is_as_suggested = schema.as_ref().is_some_and(|schema| schema.sort.is_none());
            let list = self.listed_with(schema).await?;
            // What was remembered of sessions until now stays.
            let suggested = self.0.suggested.get().filter(|_| is_as_suggested);
            Ok(suggested.map_or_else(|| Arc::new(list), Arc::clone))
        });
        opened.await.map(Arc::as_ref)
    }

    /// The `list` layout in a table with these keys, or with those of the options.
    async fn listed_with(&self, schema: Option<Schema>) -> Result<Listed<SdkTable, SystemClock>, Error> {
        let options = &self.0.options;
        let table = self.0.table.with_list_keys(options, schema)?;
        let mut dialect = options.dialect.or_else(|| list::dialect_of_keys(table.keys.names()));
        if let (None, Some(name)) = (dialect, &options.list_attribute) {
            // The content of the named list shows its dialect.
            dialect = self.contents().await?.attributes.get(name).copied();
        }
        let common = common(options);
        let settings = list::Settings {
            ids: list::Ids {
                partitions: common.partitions.clone(),
                sort: match (&table.keys.sort, &options.sort_value) {
                    (None, _) => list::Sort::None,
                    (Some(_), Some(value)) => list::Sort::Fixed(value.clone()),
                    (Some(name), None) => list::Sort::Free(name.clone()),
                },
            },
            lists: options.lists(dialect),
            dialect,
            partition_key: table.keys.partition.clone(),
            ttl_attribute: options.ttl_attribute.clone(),
            roll_bytes: match options.roll {
                Roll::Off => None,
                Roll::At(bytes) => Some(bytes),
            },
            record_bytes: options.max_record_bytes,
            item_bytes: MAX_ITEM,
        };
        Ok(Listed::new(table, SystemClock, common, settings).queued(Queues::default()))
    }

    /// The layout of sessions in the table. If the options do not give it, the table's keys are requested, once, and, if it has
    /// two, a sample of its items.
    ///
    /// # Errors
    /// Errors of the store, such as access denied or throttled.
    pub async fn layout(&self) -> Result<Layout, Error> {
        let is_open = self.0.list.get().is_some() || self.0.options.settled_layout().is_some();
        if !is_open && self.found_layout().await? == Layout::List {
            self.list().await?;
        }
        Ok(match self.on().await? {
            On::Turns(_) => Layout::Turns,
            On::List(_) => Layout::List,
        })
    }

    /// Finishes what interrupted clears, deletes and appends left behind in the whole table: hidden records that were not erased
    /// yet, and parts of large records that were never completed. Reads every item of the table once and changes no load. Calls
    /// `progress` now and then with the number of items read.
    ///
    /// ```no_run
    /// # async fn run(store: chat_memory::store::dynamodb::DynamoDbStore) -> Result<(), chat_memory::Error> {
    /// let swept = store.sweep_table(&mut |items| eprintln!("{items} items looked at")).await?;
    /// println!("{} records of {} sessions erased, for {}", swept.records, swept.sessions, swept.cost);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Errors of the store, and corrupt for an item that cannot be read. What was swept until then stays swept.
    pub async fn sweep_table(&self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<TableSweepStats, Error> {
        // A scan is not refused for wrong keys, and would stumble over the other layout's items.
        self.layout().await?;
        on!(self, sessions => sessions.sweep_table(progress))
    }

    /// Refuses a session id that a table of the `turns` layout cannot hold. The other layout checks for itself.
    async fn check(&self, session: &SessionId) -> Result<(), Error> {
        match session.check() {
            Err(error) if self.layout().await? == Layout::Turns => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the checkpoints in the same table, with this store's client and namespace, and with its retention unless the options
    /// have one. Sessions and threads do not meet, whatever their names. The table must have a partition key and a sort key; whether it has is found by the first operation.
    ///
    /// ```
    /// use chat_memory::checkpoints::CheckpointOptions;
    /// use chat_memory::store::dynamodb::{DynamoDbStore, Options};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let store = DynamoDbStore::open(Options::new("chats").with_region("eu-west-1")).await?;
    /// let checkpoints = store.checkpoints(CheckpointOptions::default());
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoints(&self, options: CheckpointOptions) -> CheckpointStore {
        let own = &self.0.options;
        let rows = TableRows { table: self.0.table.clone(), clock: SystemClock, deadline: own.deadline, is_list: self.is_list() };
        let retention = options.retention.or(own.retention);
        CheckpointStore::new(rows, options.with_namespace(own.namespace.clone()).with_retention(retention))
    }

    /// The operations that this store and its clones have sent so far, by the names that IAM also uses.
    pub fn operations(&self) -> std::collections::BTreeSet<String> {
        self.0.table.operations()
    }
}

#[async_trait]
impl ChatStore for DynamoDbStore {
    fn capabilities(&self) -> Capabilities {
        if self.is_list() { list::CAPABILITIES } else { turns::CAPABILITIES }
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.append(session, append))
    }

    async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.append_all(session, appends))
    }

    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.load(session, load))
    }

    async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.sweep(session))
    }

    async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.redact(session, seq, redaction))
    }

    async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.delete(session))
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        on!(self, sessions => sessions.sessions(query))
    }

    async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        self.layout().await?;
        let mut page = on!(self, sessions => sessions.list_all_sessions(after))?;
        if self.capabilities().directory && self.0.contents.get().is_some_and(|contents| contents.lists) {
            page.warnings.push(
                "the table also holds sessions in the format of LangChain or Flowise, which are not listed here; give \
                 layout=list in the store URL to list those"
                    .to_owned(),
            );
        }
        Ok(page)
    }

    async fn read_contents(&self, listed: &mut [SessionInfo]) -> Result<Cost, Error> {
        if listed.is_empty() {
            return Ok(Cost::default());
        }
        on!(self, sessions => sessions.read_contents(listed))
    }

    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.session(session))
    }

    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.update_session(session, update))
    }

    fn write_units(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        Some(match self.listed() {
            Some(list) => list.write_units(session, appends),
            None => self.0.turns.write_units(session, appends),
        })
    }

    fn write_units_of_all(&self, session: &SessionId, appends: &[Append]) -> Option<f64> {
        Some(match self.listed() {
            Some(list) => list.write_units_of_all(session, appends),
            None => self.0.turns.write_units_of_all(session, appends),
        })
    }

    fn entry_ids(&self) -> Option<&EntryIdCache> {
        Some(&self.0.entry_ids)
    }

    async fn clear(&self, session: &SessionId) -> Result<ClearOutcome, Error> {
        self.check(session).await?;
        on!(self, sessions => sessions.clear(session))
    }
}

fn common(options: &Options) -> Common {
    Common {
        partitions: Partitions::new(options.namespace.as_ref()),
        retention: options.retention,
        eventual: options.eventual,
        read_only: options.read_only,
        deadline: options.deadline,
    }
}

/// This machine's clocks and randomness.
#[derive(Debug)]
struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }
}
