//! Making a table, and finding out whether one is fit for sessions.

mod check;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;

pub use super::sdk::{Description, KeyAttribute, Schema};
pub use check::{Finding, Severity, Subject};

use super::sdk::{Failure, SdkTable, Target, Trouble};
use super::{Options, names};
use chat_memory_core::backend::Layout;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Receipt;

/// How long a new table may take until it is usable. It mostly takes ten seconds.
const CREATION_LIMIT: Duration = Duration::from_secs(5 * 60);

/// How often a new table is looked at: soon first, then every two seconds.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// A table, for those who run it.
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

/// What [`Admin::create_table`] did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Creation {
    /// Whether the table was made now. Otherwise there was one of its name; it is as it was.
    pub created: bool,
    /// The table.
    pub table: Description,
    /// Whether its keys and its TTL fit: two findings.
    pub findings: Vec<Finding>,
}

impl Creation {
    /// Whether sessions can be kept in the table.
    pub fn fits(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }
}

/// What reading every item of a table takes, by what DynamoDB says of its size.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ScanCost {
    /// Items in the table.
    pub items: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Read capacity units, eventually consistent: half of one for each 4 KB.
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
    /// What a listing of every session of the table will read, said beforehand.
    ///
    /// # Errors
    /// What describing the table meets.
    pub async fn scan_cost(&self) -> Result<ScanCost, Error> {
        let table = self.describe().await?;
        Ok(ScanCost { items: table.items, bytes: table.bytes, read_units: table.bytes.div_ceil(4096) as f64 / 2.0 })
    }

    /// Opens a table. Nothing is asked of DynamoDB yet.
    ///
    /// # Errors
    /// Invalid, when the options cannot work or no region is known.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        Ok(Self { table: SdkTable::open(options).await?, options: options.clone() })
    }

    /// Opens a table with an existing client; region, endpoint and credentials of the options go first.
    ///
    /// # Errors
    /// As [`open`](Self::open), and invalid when the options name a profile.
    pub fn from_client(client: &Client, options: &Options) -> Result<Self, Error> {
        Ok(Self { table: SdkTable::from_client(client, options)?, options: options.clone() })
    }

    /// Opens a table with an AWS configuration; region, endpoint and credentials of the options go first.
    ///
    /// # Errors
    /// As [`from_client`](Self::from_client).
    pub fn from_sdk_config(config: &SdkConfig, options: &Options) -> Result<Self, Error> {
        Ok(Self { table: SdkTable::from_sdk_config(config, options)?, options: options.clone() })
    }

    /// Makes the table, billed on demand, with string keys of the options' names and TTL by the attribute `ttl`, and
    /// waits until it is usable. A table that is there already is waited for and looked at, never changed.
    ///
    /// Where the options say the layout [`List`](chat_memory_core::backend::Layout::List), it is a table as LangChain and Flowise use: a partition
    /// key only (`id`, if no name is given), or a sort key besides where they say its name or its fixed value, and TTL by `expireAt`.
    ///
    /// # Errors
    /// Access denied, with the action that is lacking; unavailable, also when the table is not usable after five minutes;
    /// read only, where the options say so.
    pub async fn create_table(&self) -> Result<Creation, Error> {
        let (target, receipt) = (self.table.target(), &mut Receipt::default());
        let (partition_key, sort_key) = self.new_keys();
        let mut retry = Retry::new(self.options.deadline);
        let created = loop {
            match self.table.create_table(partition_key, sort_key, receipt).await {
                Ok(created) => break created,
                Err(failure) => retry.bear(failure, target).await?,
            }
        };
        let table = self.wait_until_usable(receipt).await?;
        let mut retry = Retry::new(self.options.deadline);
        let ttl = loop {
            match self.settle_ttl(created, receipt).await {
                Ok(ttl) => break ttl,
                Err(failure) => retry.bear(failure, target).await?,
            }
        };
        let (place, keys) = self.place(Some(&table.schema), None);
        let findings = vec![keys, self.ttl_finding(ttl.as_deref(), place.as_ref())];
        Ok(Creation { created, table, findings })
    }

    /// What DynamoDB says of the table.
    ///
    /// # Errors
    /// Not found, access denied, unavailable, throttled.
    pub async fn describe(&self) -> Result<Description, Error> {
        let mut retry = Retry::new(self.options.deadline);
        loop {
            match self.table.describe(&mut Receipt::default()).await {
                Ok(table) => return Ok(table),
                Err(failure) => retry.bear(failure, self.table.target()).await?,
            }
        }
    }

    /// The table's TTL attribute; in a new table TTL is turned on if it is not. DynamoDB refuses to do that twice, and the
    /// answer to the first time may have been lost, so each try looks first.
    async fn settle_ttl(&self, new: bool, receipt: &mut Receipt) -> Result<Option<String>, Failure> {
        let ttl = self.table.time_to_live(receipt).await?;
        if !new || ttl.is_some() {
            return Ok(ttl);
        }
        let attribute = self.new_ttl();
        self.table.enable_ttl(attribute, receipt).await?;
        Ok(Some(attribute.to_owned()))
    }

    fn is_list(&self) -> bool {
        self.options.said_layout() == Some(Layout::List)
    }

    /// The keys of a table to be made.
    fn new_keys(&self) -> (&str, Option<&str>) {
        let options = &self.options;
        if !self.is_list() {
            return (options.partition_key_name(), Some(options.sort_key_name()));
        }
        let partition_key = options.partition_key.as_deref().unwrap_or(names::LIST_PARTITION_KEY);
        // LangChain.js's option `sortKey` is the key's name and its value at once.
        (partition_key, options.sort_key.as_deref().or(options.sort_value.as_deref()))
    }

    /// The TTL attribute of a table to be made.
    fn new_ttl(&self) -> &str {
        if self.is_list() { self.options.ttl_attribute.as_deref().unwrap_or(names::LIST_TTL) } else { names::TTL }
    }

    async fn wait_until_usable(&self, receipt: &mut Receipt) -> Result<Description, Error> {
        let target = self.table.target();
        let mut retry = Retry::new(CREATION_LIMIT);
        loop {
            match self.table.describe(receipt).await {
                Ok(table) if table.usable => return Ok(table),
                Ok(_) => retry.pause().await.then_some(()).ok_or_else(|| {
                    let minutes = CREATION_LIMIT.as_secs() / 60;
                    Error::new(
                        ErrorKind::Unavailable,
                        format!("{target} is being made, but not usable after {minutes} minutes; look again later"),
                    )
                })?,
                // Until word of a new table has got around, some of DynamoDB's servers say that it is not there.
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

/// How long to go on with what is safe to try again, and how often.
struct Retry {
    until: Instant,
    /// Since when there was no connection.
    unconnected: Option<Instant>,
    pause: Duration,
}

impl Retry {
    fn new(limit: Duration) -> Self {
        Self { until: Instant::now() + limit, unconnected: None, pause: FIRST_LOOK }
    }

    /// Waits, each time longer. Not if that would take too long: then `false`.
    async fn pause(&mut self) -> bool {
        if Instant::now() + self.pause > self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LAST_LOOK);
        true
    }

    /// Waits for a failure to pass. It is the error if it does not pass by itself, or there is no time left.
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
