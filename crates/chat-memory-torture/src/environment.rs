//! The environment of a schedule: its own table or file, the clock, and DynamoDB's TTL.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveSpecification};
use chat_memory::torture::CLOCK_BYTES;
use chat_memory_testkit::{client, new_table};

use crate::Result;

/// The clocks of all processes.
pub(crate) struct Clock {
    file: File,
    path: PathBuf,
    ahead_ms: i64,
}

impl Clock {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let path = folder.join("clock");
        let mut file = File::create(&path).map_err(|e| e.to_string())?;
        file.write_all(&[0; CLOCK_BYTES]).map_err(|e| e.to_string())?;
        Ok(Self { file, path, ahead_ms: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets time pass, for all at once; returns how far ahead the clocks then are, in milliseconds.
    pub(crate) fn pass(&mut self, ms: i64) -> Result<i64> {
        self.ahead_ms += ms;
        self.file.write_all_at(&self.ahead_ms.to_le_bytes(), 0).map_err(|e| e.to_string())?;
        Ok(self.ahead_ms)
    }

    fn now_s(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(0) + self.ahead_ms / 1000
    }
}

/// A table of DynamoDB Local's.
pub(crate) struct Table {
    client: Client,
    name: String,
    keys: Vec<String>,
}

impl Table {
    /// Creates a table with these keys.
    pub(crate) async fn new(keys: &[&str]) -> Self {
        let (client, name) = (client(), new_table("torture", keys).await);
        // DynamoDB Local purges by the real clock, but this project's records are far ahead of it: here [`Table::purge`] does the
        // purging.
        let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("ttl").build();
        let request = client.update_time_to_live().table_name(&name);
        request.time_to_live_specification(ttl.expect("both are there")).send().await.expect("TTL on DynamoDB Local");
        Self { client, name, keys: keys.iter().map(|&key| key.to_owned()).collect() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Does what DynamoDB's TTL does: deletes expired items in no order, each with this chance out of 100.
    pub(crate) async fn purge(&self, clock: &Clock, chance: u8, rng: &mut fastrand::Rng) -> Result<usize> {
        let now = AttributeValue::N(clock.now_s().to_string());
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let page = self.client.scan().table_name(&self.name).consistent_read(true).set_exclusive_start_key(after);
            let page = page.projection_expression(format!("{}, #ttl", self.keys.join(", ")));
            let page = page.expression_attribute_names("#ttl", "ttl");
            let page = page.send().await.map_err(|e| format!("{:?}", e.into_service_error()))?;
            items.extend(page.items.unwrap_or_default());
            after = page.last_evaluated_key;
            if after.is_none() {
                break;
            }
        }
        rng.shuffle(&mut items);
        let mut purged = 0;
        for item in items {
            let due = item.get("ttl").and_then(|at| at.as_n().ok()).and_then(|at| at.parse::<i64>().ok());
            if due.is_none_or(|at| at > clock.now_s()) || rng.u8(0..100) >= chance {
                continue;
            }
            let mut delete = self.client.delete_item().table_name(&self.name);
            for key in &self.keys {
                delete = delete.key(key, item.get(key).cloned().ok_or("an item without its key")?);
            }
            let delete = delete.condition_expression("#ttl <= :now").expression_attribute_names("#ttl", "ttl");
            match delete.expression_attribute_values(":now", now.clone()).send().await {
                Ok(_) => purged += 1,
                Err(e) => {
                    let e = e.into_service_error();
                    if !e.is_conditional_check_failed_exception() {
                        return Err(format!("{e:?}"));
                    }
                }
            }
        }
        Ok(purged)
    }

    pub(crate) async fn delete(&self) {
        // A leftover table does no harm: DynamoDB Local keeps it in memory until it ends.
        let _ = self.client.delete_table().table_name(&self.name).send().await;
    }
}
