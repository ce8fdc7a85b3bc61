//! A table on DynamoDB Local, made once for a test program.

use chat_memory::Error;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{Credentials, DynamoDbStore, Options};
use chat_memory_testkit::{dynamodb_endpoint, table_name};
use tokio::sync::OnceCell;

static TABLE: OnceCell<String> = OnceCell::const_new();

/// How to reach a table through an endpoint (DynamoDB Local's own, or a proxy's in front of it).
pub fn options(table: &str, endpoint: &str) -> Options {
    Options::new(table).with_region("us-east-1").with_endpoint(endpoint).with_credentials(Credentials::new("local", "local"))
}

/// The name of this program's table.
pub async fn table() -> &'static str {
    TABLE
        .get_or_init(|| async {
            let name = table_name("chat-memory");
            let admin = Admin::open(&options(&name, &dynamodb_endpoint())).await.expect("good options");
            admin.create_table().await.expect("a table on DynamoDB Local");
            name
        })
        .await
}

/// A store of its own on this program's table.
pub async fn open(endpoint: &str) -> Result<DynamoDbStore, Error> {
    DynamoDbStore::open(options(table().await, endpoint)).await
}
