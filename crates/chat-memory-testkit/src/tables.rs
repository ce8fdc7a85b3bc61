//! Direct access to DynamoDB Local: an SDK client, and tables as others create them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};

use crate::{dynamodb_endpoint, table_name};

/// Returns an AWS SDK client for [DynamoDB Local](dynamodb_endpoint) that tries each request once.
///
/// # Panics
/// Without DynamoDB Local.
pub fn client() -> Client {
    client_at(&dynamodb_endpoint())
}

/// Returns an AWS SDK client for the service at this URL that tries each request once.
pub fn client_at(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// Creates a table with these keys, both strings: a partition key, and a sort key if there are two. Returns its name.
///
/// # Panics
/// If DynamoDB Local does not create it.
pub async fn new_table(prefix: &str, keys: &[&str]) -> String {
    let name = table_name(prefix);
    let mut request = client().create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
        let definition = AttributeDefinition::builder().attribute_name(*key).attribute_type(ScalarAttributeType::S);
        let element = KeySchemaElement::builder().attribute_name(*key).key_type(kind);
        request = request
            .attribute_definitions(definition.build().expect("a name and a type"))
            .key_schema(element.build().expect("a name and a kind"));
    }
    request.send().await.expect("a table on DynamoDB Local");
    name
}
