//! Tables such as Flowise and LangChain made, on DynamoDB Local.
#![allow(dead_code, reason = "not every test program needs all of it")]

use std::collections::HashMap;
use std::sync::LazyLock;

use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use chat_memory::Error;
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory_testkit::{dynamodb_endpoint, table_name};
use tokio::sync::Mutex;

static TABLES: LazyLock<Mutex<HashMap<&'static str, String>>> = LazyLock::new(Mutex::default);

/// The table of this name in this program, made when it is first asked for.
pub async fn table(name: &'static str, sort_key: Option<&str>) -> String {
    let mut tables = TABLES.lock().await;
    if let Some(table) = tables.get(name) {
        return table.clone();
    }
    let table = new_table("id", sort_key).await;
    tables.insert(name, table.clone());
    table
}

/// A table of one's own with these keys.
pub async fn new_table(partition_key: &str, sort_key: Option<&str>) -> String {
    let name = table_name("list");
    let mut request = crate::dynamodb::client().create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in [(Some(partition_key), KeyType::Hash), (sort_key, KeyType::Range)] {
        let Some(key) = key else { continue };
        let definition = AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S);
        let element = KeySchemaElement::builder().attribute_name(key).key_type(kind);
        request = request
            .attribute_definitions(definition.build().expect("a name and a type"))
            .key_schema(element.build().expect("a name and a kind"));
    }
    request.send().await.expect("a table on DynamoDB Local");
    name
}

/// A store of its own on a table, with settings.
pub async fn open(table: String, with: impl FnOnce(Options) -> Options) -> Result<DynamoDbStore, Error> {
    let store = DynamoDbStore::open(with(crate::dynamodb::options(&table, &dynamodb_endpoint()))).await?;
    // So that the store declares from the start what the table can do.
    store.layout().await?;
    Ok(store)
}
