//! Tables on DynamoDB Local, and direct access to what they contain.
#![allow(dead_code, reason = "tests are left out with features")]

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
#[cfg(feature = "conformance")]
use chat_memory::conformance::{Capability, Case, Outcome, Suite};
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{Credentials, DynamoDbStore, Options};
use chat_memory::{Error, Message, SessionId};
pub use chat_memory_testkit::client;
use chat_memory_testkit::{dynamodb_endpoint, table_name};
use futures_util::{StreamExt as _, stream};
use tokio::sync::OnceCell;

static TABLE: OnceCell<String> = OnceCell::const_new();

/// An item of the table, as it is stored.
pub type Stored = HashMap<String, AttributeValue>;

/// Options for a table at an endpoint (DynamoDB Local's own, or that of a proxy in front of it).
pub fn options(table: &str, endpoint: &str) -> Options {
    Options::new(table).with_region("us-east-1").with_endpoint(endpoint).with_credentials(Credentials::new("local", "local"))
}

/// Returns the name of this program's table.
pub async fn table() -> &'static str {
    TABLE.get_or_init(new_table).await
}

/// Creates a new table.
pub async fn new_table() -> String {
    let name = table_name("chat-memory");
    let admin = Admin::open(&options(&name, &dynamodb_endpoint())).await.expect("good options");
    admin.create_table().await.expect("a table on DynamoDB Local");
    name
}

/// Opens a new store on this program's table.
pub async fn open(endpoint: &str) -> Result<DynamoDbStore, Error> {
    DynamoDbStore::open(options(table().await, endpoint)).await
}

/// Opens a new store on this program's table, without a proxy.
pub async fn direct() -> DynamoDbStore {
    open(&dynamodb_endpoint()).await.expect("good options")
}

/// Runs this for each item, up to n at once.
pub async fn each<T, F: Future<Output = ()> + Send + 'static>(
    all: impl IntoIterator<Item = T>,
    at_once: usize,
    one: impl Fn(T) -> F,
) {
    // A task is created when its turn comes.
    let tasks = stream::iter(all).map(|item| tokio::spawn(one(item)));
    tasks.buffer_unordered(at_once).for_each(async |done| done.expect("it holds for each")).await;
}

/// Runs these cases of the suite, several at once, to save time.
#[cfg(feature = "conformance")]
pub async fn run(suite: &Suite, cases: impl Iterator<Item = &'static Case>) {
    // No table can list the sessions of all owners in one order.
    let cases = cases.filter(|case| case.needs != Some(Capability::AnyOwner));
    each(cases, 8, |case| {
        let suite = suite.clone();
        async move {
            let outcome = suite.run(case).await;
            assert!(matches!(outcome, Outcome::Passed), "{} proves that {}: {outcome:?}", case.name, case.promise);
        }
    })
    .await;
}

/// A session that no other test uses.
pub fn session(test: &str) -> SessionId {
    SessionId::new(format!("{test}/{}", uuid::Uuid::new_v4())).expect("a good id")
}

/// Text that hardly compresses: random letters of a large alphabet, one to three bytes each.
pub fn noise(bytes: usize, seed: u64) -> String {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut text = String::with_capacity(bytes + 2);
    while text.len() < bytes {
        text.push(char::from_u32(chance.u32(0x20..0xd000)).filter(|c| !c.is_control()).unwrap_or('x'));
    }
    while text.len() > bytes {
        text.pop();
    }
    // Removing the last letter may have left room for one or two bytes.
    text.extend(std::iter::repeat_n('x', bytes - text.len()));
    text
}

/// A question and an answer of this size each.
pub fn turn(n: usize, bytes: usize) -> [Message; 2] {
    let text = |what: &str| format!("{what} {n}: {}", "word ".repeat(bytes))[..bytes].to_owned();
    [Message::user(text("question")), Message::assistant(text("answer"))]
}

/// A record's sort key.
pub fn record_key(seq: u64) -> String {
    format!("t#{seq:012}")
}

pub fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// Direct access to one session's partition of this program's table, bypassing the library.
pub struct Raw {
    client: Client,
    table: String,
    partition: String,
}

impl Raw {
    pub async fn of(session: &SessionId) -> Self {
        Self::at(session.as_str().to_owned()).await
    }

    /// The partition of a session in another table.
    pub fn of_table(table: &str, session: &str) -> Self {
        Self { client: client(), table: table.to_owned(), partition: session.to_owned() }
    }

    /// The partition with this key, for keys that are not just the session's id.
    pub async fn at(partition: String) -> Self {
        Self { client: client(), table: table().await.to_owned(), partition }
    }

    /// Returns all items, sorted by sort key.
    pub async fn items(&self) -> Vec<Stored> {
        let request = self.client.query().table_name(&self.table).consistent_read(true).key_condition_expression("#pk = :pk");
        let request =
            request.expression_attribute_names("#pk", "session_id").expression_attribute_values(":pk", s(&self.partition));
        request.into_paginator().items().send().collect::<Result<_, _>>().await.expect("the items of a session")
    }

    /// Returns the items whose sort key has this prefix.
    pub async fn starting(&self, prefix: &str) -> Vec<Stored> {
        self.items().await.into_iter().filter(|item| text(item, "sk").starts_with(prefix)).collect()
    }

    /// Returns a record's item.
    pub async fn record(&self, seq: u64) -> Stored {
        let found = self.starting(&record_key(seq)).await;
        found.into_iter().next().unwrap_or_else(|| panic!("there is no record {seq}"))
    }

    /// Sets an attribute of a record.
    pub async fn set(&self, seq: u64, name: &str, value: AttributeValue) {
        let request = self.update(seq).update_expression("SET #a = :a").expression_attribute_names("#a", name);
        request.expression_attribute_values(":a", value).send().await.expect("an update");
    }

    /// Removes an attribute of a record.
    pub async fn unset(&self, seq: u64, name: &str) {
        let request = self.update(seq).update_expression("REMOVE #a").expression_attribute_names("#a", name);
        request.send().await.expect("an update");
    }

    fn update(&self, seq: u64) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.table).condition_expression("attribute_exists(sk)");
        request.key("session_id", s(&self.partition)).key("sk", s(record_key(seq)))
    }

    /// Deletes a record, as TTL or a person would.
    pub async fn delete(&self, seq: u64) {
        self.delete_key(&record_key(seq)).await;
    }

    /// Deletes the item with this sort key.
    pub async fn delete_key(&self, sort_key: &str) {
        let request = self.client.delete_item().table_name(&self.table).key("session_id", s(&self.partition));
        request.key("sk", s(sort_key)).send().await.expect("a deletion");
    }

    /// Puts an item, replacing the one with its keys.
    pub async fn put(&self, item: Stored) {
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await.expect("a put");
    }
}

/// Returns a text attribute.
pub fn text<'a>(item: &'a Stored, name: &str) -> &'a str {
    item[name].as_s().expect("a string")
}

/// Returns a whole-number attribute.
pub fn number(item: &Stored, name: &str) -> i64 {
    item[name].as_n().expect("a number").parse().expect("a whole number")
}
