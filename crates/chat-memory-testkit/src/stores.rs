//! Creates new stores to test on and returns their URLs, so that other processes can open them; and opens their checkpoints.

use std::path::Path;

use chat_memory::checkpoints::{CheckpointOptions, CheckpointStore};
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{Credentials, DynamoDbStore};
use chat_memory::store::url::StoreUrl;

use crate::{dynamodb_endpoint, table_name};

/// Returns the URL of a new table on DynamoDB Local with one item per record.
///
/// # Panics
/// Without DynamoDB Local.
pub async fn dynamodb_url(prefix: &str) -> String {
    new_table_url(prefix, "").await
}

/// Returns the URL of a new table on DynamoDB Local like Flowise's, with one item per session.
///
/// # Panics
/// Without DynamoDB Local.
pub async fn list_url(prefix: &str) -> String {
    new_table_url(prefix, "&layout=list&partition_key=id&dialect=js").await
}

async fn new_table_url(prefix: &str, more: &str) -> String {
    let url = format!("dynamodb://{}?region=us-east-1&endpoint={}{more}", table_name(prefix), dynamodb_endpoint());
    let parsed: StoreUrl = url.parse().expect("a store URL");
    let options = parsed.dynamodb().expect("it is a DynamoDB URL");
    let admin = Admin::open(&options).await.expect("DynamoDB Local is reachable");
    admin.create_table().await.expect("a new table");
    url
}

/// Returns the URL of a new SQLite file in this directory.
pub fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("chat.db").display())
}

/// One of each.
///
/// # Panics
/// As [`dynamodb_url`].
pub async fn store_urls(prefix: &str, folder: &Path) -> [String; 2] {
    [sqlite_url(folder), dynamodb_url(prefix).await]
}

/// Opens the checkpoints in the store at this URL. A table is one of DynamoDB Local.
///
/// # Panics
/// If the store cannot be opened.
pub async fn open_checkpoints(url: &str) -> CheckpointStore {
    let (url, options): (StoreUrl, _) = (url.parse().expect("a store URL"), CheckpointOptions::default());
    match url.dynamodb() {
        Some(table) => {
            let table = table.with_region("us-east-1").with_credentials(Credentials::new("local", "local"));
            DynamoDbStore::open(table).await.expect("a table").checkpoints(options)
        }
        None => url.open_checkpoints(options).await.expect("a store"),
    }
}
