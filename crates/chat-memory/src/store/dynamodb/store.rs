//! The store itself: the protocol on the SDK's table and this machine's clocks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;

use super::names::Partitions;
use super::options::Options;
use super::sdk::SdkTable;
use super::table::Clock;
use super::turns::{Limits, Settings, TableSwept, Turns};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::position::Moment;
use crate::store::{
    Append, Appended, Capabilities, ChatStore, Cleared, History, Load, SessionInfo, SessionPage, SessionQuery, SessionUpdate,
    Swept,
};

/// Sessions in a DynamoDB table with a partition key and a sort key, both strings.
///
/// A warm append is one request and costs what its bytes cost, at any length of the session; docs/formats.md says what is in
/// the table. Cheap to clone; clones share what they know of the sessions' ends.
///
/// ```no_run
/// use chat_memory::store::dynamodb::{DynamoDbStore, Options};
/// use chat_memory::{Append, ChatStore, Message, SessionId};
/// # async fn run() -> Result<(), chat_memory::Error> {
/// let store = DynamoDbStore::open(Options::new("chats").with_region("eu-central-1")).await?;
/// let session = SessionId::new("user-42")?;
/// let turn = Append::new([Message::user("What is 2 + 2?"), Message::assistant("4.")]);
/// let appended = store.append(&session, &turn).await?;
/// println!("record {} cost {}", appended.seq, appended.receipt);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DynamoDbStore(Arc<Turns<SdkTable, SystemClock>>);

impl DynamoDbStore {
    /// Opens a table. Nothing is asked of DynamoDB yet: a table that is missing shows at the first operation.
    ///
    /// # Errors
    /// Invalid, when the options cannot work or no region is known.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let table = SdkTable::open(&options).await?;
        Ok(Self::on(table, &options))
    }

    /// Opens a table with what an existing client is made of: its credentials, region, endpoint and HTTP client. Its retries
    /// and timeouts are not used, since they are the protocol's business; see [`Options::request_timeout`] and [`Options::deadline`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_client(client: &Client, options: Options) -> Result<Self, Error> {
        let table = SdkTable::from_client(client, &options)?;
        Ok(Self::on(table, &options))
    }

    /// Opens a table with an existing configuration of the AWS SDK.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_sdk_config(config: &SdkConfig, options: Options) -> Result<Self, Error> {
        let table = SdkTable::from_sdk_config(config, &options)?;
        Ok(Self::on(table, &options))
    }

    fn on(table: SdkTable, options: &Options) -> Self {
        let settings = Settings {
            partitions: Partitions::new(options.namespace.as_ref()),
            retention_s: options.retention.map(|retention| retention.as_secs()),
            eventual: options.eventual,
            read_only: options.read_only,
            limits: Limits::new(options.max_record_bytes),
            deadline_ms: u64::try_from(options.deadline.as_millis()).unwrap_or(u64::MAX),
        };
        Self(Arc::new(Turns::new(table, SystemClock, settings)))
    }

    /// Finishes what clears, deletes and appends that were cut off have left, in the whole table: hidden records that were not
    /// erased yet, and parts of large records that never came to be. It reads every item of the table once and changes no load.
    /// `progress` is told now and then how many items were looked at.
    ///
    /// ```no_run
    /// # async fn run(store: chat_memory::store::dynamodb::DynamoDbStore) -> Result<(), chat_memory::Error> {
    /// let swept = store.sweep_table(&mut |items| eprintln!("{items} items looked at")).await?;
    /// println!("{} records of {} sessions erased, for {}", swept.records, swept.sessions, swept.receipt);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the table itself meets, and corrupt for an item that cannot be read; what was swept until then stays swept.
    pub async fn sweep_table(&self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<TableSwept, Error> {
        self.0.sweep_table(progress).await
    }

    /// The operations that this store and its clones have sent so far, by the names that IAM knows them by too.
    pub fn operations(&self) -> std::collections::BTreeSet<String> {
        self.0.table().operations()
    }
}

#[async_trait]
impl ChatStore for DynamoDbStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.0.append(session, append).await
    }

    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        self.0.load(session, load).await
    }

    async fn sweep(&self, session: &SessionId) -> Result<Swept, Error> {
        self.0.sweep(session).await
    }

    async fn delete(&self, session: &SessionId) -> Result<Swept, Error> {
        self.0.delete(session).await
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        self.0.sessions(query).await
    }

    async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        self.0.session(session).await
    }

    async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        self.0.update_session(session, update).await
    }

    async fn clear(&self, session: &SessionId) -> Result<Cleared, Error> {
        self.0.clear(session).await
    }
}

/// This machine's clocks, and chance.
#[derive(Debug)]
struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::now()
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }
}
