//! Creating a table, and checking whether one is fit for sessions.

mod check;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;

pub use super::table::sdk::{Description, KeyAttribute, Schema};
pub use check::{Finding, Severity, Subject};

use super::Options;
use super::common::names;
use super::table::sdk::{Failure, SdkTable, Target, Trouble};
use crate::options::Layout;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Cost;

/// How long a new table may take to become usable. Ten seconds is typical.
const CREATION_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The interval between polls of a new table: short at first, then up to two seconds.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Administers a table.
///
/// ```no_run
/// # async fn run() -> Result<(), chat_memory::Error> {
/// use chat_memory::store::dynamodb::{Options, admin::Admin};
/// let admin = Admin::open(&Options::new("chats").with_region("eu-west-1")).await?;
/// admin.create_table().await?;
/// for finding in admin.check().await {
///     println!("{finding}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    table: SdkTable,
    options: Options,
}

/// The result of [`Admin::create_table`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Creation {
    /// Whether the table was created by this call. Otherwise it already existed and was left as it was.
    pub created: bool,
    /// The table.
    pub table: Description,
    /// Whether its keys and its TTL are suitable: two findings.
    pub findings: Vec<Finding>,
}

impl Creation {
    /// Whether sessions can be stored in the table.
    pub fn fits(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }
}

/// The cost of reading every item of a table, from the size that DynamoDB reports.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ScanCost {
    /// Items in the table.
    pub items: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Read capacity units for eventually consistent reads: half a unit per 4 KB.
    pub read_units: f64,
}

impl std::fmt::Display for ScanCost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { items, bytes, read_units } = self;
        let items = if *items == 1 { "1 item".to_owned() } else { format!("{items} items") };
        write!(
            f,
            "this reads the whole table: {items} of {bytes} bytes in all, about {read_units} read units (as DynamoDB last counted them)"
        )
    }
}

impl Admin {
    /// Estimates what listing every session of the table will read.
    ///
    /// # Errors
    /// As [`describe`](Self::describe).
    pub async fn scan_cost(&self) -> Result<ScanCost, Error> {
        let table = self.describe().await?;
        Ok(ScanCost { items: table.items, bytes: table.bytes, read_units: table.bytes.div_ceil(4096) as f64 / 2.0 })
    }

    /// Opens a table. No request is sent yet.
    ///
    /// # Errors
    /// Invalid if the options cannot work or no region is known.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        Ok(Self { table: SdkTable::open(options).await?, options: options.clone() })
    }

    /// Opens a table with an existing client. Region, endpoint and credentials in the options take precedence.
    ///
    /// # Errors
    /// As [`open`](Self::open), and invalid if the options name a profile.
    pub fn from_client(client: &Client, options: &Options) -> Result<Self, Error> {
        Ok(Self { table: SdkTable::from_client(client, options)?, options: options.clone() })
    }

    /// Opens a table with an AWS configuration. Region, endpoint and credentials in the options take precedence.
    ///
    /// # Errors
    /// As [`from_client`](Self::from_client).
    pub fn from_sdk_config(config: &SdkConfig, options: &Options) -> Result<Self, Error> {
        Ok(Self { table: SdkTable::from_sdk_config(config, options)?, options: options.clone() })
    }

    /// Creates the table (billed on demand, with string keys named by the options and TTL on the attribute `ttl`) and waits until
    /// it is usable. A table that already exists is waited for and checked, never changed.
    ///
    /// If the options set the layout [`List`](crate::Layout::List), creates a table such as LangChain and
    /// Flowise use: a partition key only (`id` unless named), plus a sort key if the options give its name or its fixed value, and
    /// TTL on `expireAt`.
    ///
    /// # Errors
    /// Access denied, naming the missing action; unavailable, also if the table is not usable after five minutes; read only if the
    /// options say so.
    pub async fn create_table(&self) -> Result<Creation, Error> {
        let (target, cost) = (self.table.target(), &mut Cost::default());
        let (partition_key, sort_key) = self.new_keys();
        let mut retry = Retry::new(self.options.deadline);
        let created = loop {
            match self.table.create_table(partition_key, sort_key, cost).await {
                Ok(created) => break created,
                Err(failure) => retry.bear(failure, target).await?,
            }
        };
        let table = self.wait_until_usable(cost).await?;
        let mut retry = Retry::new(self.options.deadline);
        let ttl = loop {
            match self.settle_ttl(created, cost).await {
                Ok(ttl) => break ttl,
                Err(failure) => retry.bear(failure, target).await?,
            }
        };
        let (place, keys) = self.place(Some(&table.schema), None);
        let findings = vec![keys, self.ttl_finding(ttl.as_deref(), place.as_ref())];
        Ok(Creation { created, table, findings })
    }

    /// Describes the table as DynamoDB reports it.
    ///
    /// # Errors
    /// Not found, access denied, unavailable, throttled.
    pub async fn describe(&self) -> Result<Description, Error> {
        let mut retry = Retry::new(self.options.deadline);
        loop {
            match self.table.describe(&mut Cost::default()).await {
                Ok(table) => return Ok(table),
                Err(failure) => retry.bear(failure, self.table.target()).await?,
            }
        }
    }

    /// Returns the table's TTL attribute; turns TTL on in a new table if it is off. DynamoDB refuses to turn it on twice, and the
    /// first response may have been lost, so each attempt checks first.
    async fn settle_ttl(&self, new: bool, cost: &mut Cost) -> Result<Option<String>, Failure> {
        let ttl = self.table.time_to_live(cost).await?;
        if !new || ttl.is_some() {
            return Ok(ttl);
        }
        let attribute = self.new_ttl();
        self.table.enable_ttl(attribute, cost).await?;
        Ok(Some(attribute.to_owned()))
    }

    fn is_list(&self) -> bool {
        self.options.said_layout() == Some(Layout::List)
    }

    /// The keys of a table to be created.
    fn new_keys(&self) -> (&str, Option<&str>) {
        let options = &self.options;
        if !self.is_list() {
            return (options.partition_key_name(), Some(options.sort_key_name()));
        }
        let partition_key = options.partition_key.as_deref().unwrap_or(names::LIST_PARTITION_KEY);
        // LangChain.js's option `sortKey` is both the key's name and its value.
        (partition_key, options.sort_key.as_deref().or(options.sort_value.as_deref()))
    }

    /// The TTL attribute of a table to be created.
    fn new_ttl(&self) -> &str {
        if self.is_list() { self.options.ttl_attribute.as_deref().unwrap_or(names::LIST_TTL) } else { names::TTL }
    }

    async fn wait_until_usable(&self, cost: &mut Cost) -> Result<Description, Error> {
        let target = self.table.target();
        let mut retry = Retry::new(CREATION_LIMIT);
        loop {
            match self.table.describe(cost).await {
                Ok(table) if table.usable => return Ok(table),
                Ok(_) => retry.pause().await.then_some(()).ok_or_else(|| {
                    let minutes = CREATION_LIMIT.as_secs() / 60;
                    Error::new(
                        ErrorKind::Unavailable,
                        format!("{target} is being created, but not usable after {minutes} minutes; check again later"),
                    )
                })?,
                // For a moment after a table is created, some of DynamoDB's servers still report it as missing.
                Err(failure) if failure.trouble() == Trouble::Missing => {
                    retry.pause().await.then_some(()).ok_or_else(|| failure.into_error(target, None))?;
                }
                Err(failure) => retry.bear(failure, target).await?,
            }
        }
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &SdkTable {
        &self.table
    }
}

/// How long and how often to retry what is safe to retry.
struct Retry {
    until: Instant,
    /// Since when there has been no connection.
    unconnected: Option<Instant>,
    pause: Duration,
}

impl Retry {
    fn new(limit: Duration) -> Self {
        Self { until: Instant::now() + limit, unconnected: None, pause: FIRST_LOOK }
    }

    /// Waits, longer each time. Returns `false` without waiting if that would pass the deadline.
    async fn pause(&mut self) -> bool {
        if Instant::now() + self.pause > self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LAST_LOOK);
        true
    }

    /// Waits for a failure to pass. Returns it as the error if it will not pass by itself or there is no time left.
    async fn bear(&mut self, failure: Failure, target: &Target) -> Result<(), Error> {
        let unconnected_until = failure.unconnected_until();
        self.unconnected = unconnected_until.and(self.unconnected.or_else(|| Some(Instant::now())));
        let is_hopeless = unconnected_until.zip(self.unconnected).is_some_and(|(until, since)| since.elapsed() >= until);
        if passes(&failure) && !is_hopeless && self.pause().await { Ok(()) } else { Err(failure.into_error(target, None)) }
    }
}

/// Whether a failure may pass by itself.
fn passes(failure: &Failure) -> bool {
    matches!(failure.trouble(), Trouble::Throttled | Trouble::Busy | Trouble::Unavailable)
}
