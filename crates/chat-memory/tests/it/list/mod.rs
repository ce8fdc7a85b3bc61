//! Tables as created by Flowise and LangChain, on DynamoDB Local.
#![allow(dead_code, reason = "tests are left out with features")]

use std::collections::HashMap;
use std::sync::LazyLock;

use chat_memory::Error;
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory_testkit::dynamodb_endpoint;
use tokio::sync::Mutex;

static TABLES: LazyLock<Mutex<HashMap<&'static str, String>>> = LazyLock::new(Mutex::default);

/// Returns this program's table of this name, creating it on first use.
pub async fn table(name: &'static str, sort_key: Option<&str>) -> String {
    let mut tables = TABLES.lock().await;
    if let Some(table) = tables.get(name) {
        return table.clone();
    }
    let table = new_table("id", sort_key).await;
    tables.insert(name, table.clone());
    table
}

/// Creates a new table with these keys.
pub async fn new_table(partition_key: &str, sort_key: Option<&str>) -> String {
    let keys: Vec<&str> = [partition_key].into_iter().chain(sort_key).collect();
    chat_memory_testkit::new_table("list", &keys).await
}

/// Opens a new store on a table, with settings.
pub async fn open(table: String, with: impl FnOnce(Options) -> Options) -> Result<DynamoDbStore, Error> {
    let store = DynamoDbStore::open(with(crate::dynamodb::options(&table, &dynamodb_endpoint()))).await?;
    // The store then declares from the start what the table supports.
    store.layout().await?;
    Ok(store)
}
