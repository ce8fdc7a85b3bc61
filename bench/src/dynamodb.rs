//! The DynamoDB store compared with raw calls of the SDK, on DynamoDB Local, through the same client.
//!
//! The raw side sends what the library sent: a proxy records one `PutItem` and one `Query` of the library, and the raw side repeats
//! them with keys of its own. Both therefore have the same bytes, the same condition and the same limit.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chat_memory::SessionId;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::{ChatStore as _, Cost, Load};
use chat_memory_testkit::{Fault, FaultProxy, Request, client_at, dynamodb_endpoint, table_name};
use serde_json::Value;

use crate::Result;
use crate::measure::{Comparison, Rounds, alternate};
use crate::turns::{LOADED_TURNS, WINDOW, turn};

/// What a turn and a window cost at a session's length.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// The session's turns, the appended one included.
    pub turns: usize,
    /// The append of the last turn.
    pub append: Cost,
    /// A load of a window after it.
    pub window: Cost,
}

/// The comparisons, and what turns and windows cost at these session lengths.
pub async fn compare(rounds: Rounds, lengths: &[usize]) -> Result<(Vec<Comparison>, Vec<Counts>)> {
    let endpoint = dynamodb_endpoint();
    let client = client_at(&endpoint);
    let options = Options::new(table_name("bench"));
    Admin::from_client(&client, &options)?.create_table().await?;
    let store = DynamoDbStore::from_client(&client, options.clone())?;
    let counts = count(&store, lengths).await?;

    let session = SessionId::new("library")?;
    for number in 0..LOADED_TURNS {
        store.append(&session, &turn(number)).await?;
    }
    let seen = Seen::watch(&endpoint, &options, &session).await?;
    let mut raw = Raw::new(client, seen, "raw");
    for _ in 0..LOADED_TURNS {
        raw.append().await?;
    }
    check_equal(&store, &session, &raw).await?;

    let load = Load::last(WINDOW);
    let load_ratio = alternate(
        rounds,
        async || {
            store.load(&session, &load).await?;
            Ok(())
        },
        async || raw.load().await.map(drop),
    )
    .await?;

    // Built before the clock starts, like the raw side's.
    let appended = (rounds.pairs + 1) * rounds.operations;
    let mut turns = (LOADED_TURNS..LOADED_TURNS + appended).map(turn).collect::<Vec<_>>().into_iter();
    let append_ratio = alternate(
        rounds,
        async || {
            let turn = turns.next().ok_or("more appends than turns")?;
            store.append(&session, &turn).await?;
            Ok(())
        },
        async || raw.append().await,
    )
    .await?;
    check_equal(&store, &session, &raw).await?;

    let line = |library, raw, ratio| Comparison { library, raw, aim: Some(1.1), ratio };
    let comparisons = vec![
        line("DynamoDB: append a turn", "the same PutItem by the SDK", append_ratio),
        line("DynamoDB: load a window", "the same Query by the SDK, items not read", load_ratio),
    ];
    Ok((comparisons, counts))
}

async fn count(store: &DynamoDbStore, lengths: &[usize]) -> Result<Vec<Counts>> {
    let session = SessionId::new("counts")?;
    let mut counts = Vec::new();
    for turns in 1..=lengths.iter().copied().max().unwrap_or(0) {
        let append = store.append(&session, &turn(turns)).await?.cost;
        if lengths.contains(&turns) {
            let window = store.load(&session, &Load::last(WINDOW)).await?.cost;
            counts.push(Counts { turns, append, window });
        }
    }
    Ok(counts)
}

/// Checks that both sides hold the same number of records, and that the library can read the turn that the raw side repeats.
async fn check_equal(store: &DynamoDbStore, session: &SessionId, raw: &Raw) -> Result {
    let ours = store.load(session, &Load::all()).await?;
    let theirs = store.load(&SessionId::new(raw.session.as_str())?, &Load::all()).await?;
    let first = theirs.records.first().map(|record| &record.entries);
    let same =
        |record: &chat_memory::store::Record| Some(&record.entries) == first && record.entries == turn(Seen::TURN).entries();
    if ours.records.len() != theirs.records.len() || !theirs.records.iter().all(same) {
        return Err("the raw calls did not write what the library writes; compare bench/src/dynamodb.rs with the store".into());
    }
    let items = raw.load().await?;
    if items.len() * 2 < WINDOW {
        return Err(format!("the raw query brought {} records, too few for {WINDOW} messages", items.len()).into());
    }
    Ok(())
}

/// The requests that the library sent.
pub struct Seen {
    pub put: Value,
    pub query: Value,
    pub partition_key: String,
    pub sort_key: String,
}

impl Seen {
    /// The recorded turn, which the raw side writes again and again.
    const TURN: usize = 1;

    /// Records the library's requests while it appends to a session of its own and loads a window of this one.
    async fn watch(endpoint: &str, options: &Options, loaded: &SessionId) -> Result<Self> {
        let proxy = FaultProxy::start(endpoint, |_: &Request| Fault::Pass);
        let client = client_at(&proxy.url());
        let schema = Admin::from_client(&client, options)?.describe().await?.schema;
        let store = DynamoDbStore::from_client(&client, options.clone())?;
        let session = SessionId::new("seen")?;
        // The first append also lists the session; the second is like all later ones.
        for number in 0..Self::TURN {
            store.append(&session, &turn(number)).await?;
        }
        proxy.forget();
        store.append(&session, &turn(Self::TURN)).await?;
        store.load(loaded, &Load::last(WINDOW)).await?;
        let requests = proxy.requests();
        let bodies: Vec<_> = requests.iter().map(|seen| (seen.request.operation.as_str(), &seen.request.body)).collect();
        let [("PutItem", put), ("Query", query)] = bodies[..] else {
            let operations: Vec<_> = bodies.iter().map(|(operation, _)| *operation).collect();
            return Err(format!("a warm append and a window should be a PutItem and a Query, not {operations:?}").into());
        };
        let sort_key = schema.sort.ok_or("the table has no sort key")?.name;
        Ok(Self { put: put.clone(), query: query.clone(), partition_key: schema.partition.name, sort_key })
    }
}

/// The raw side.
pub struct Raw {
    client: Client,
    seen: Seen,
    session: String,
    item: HashMap<String, AttributeValue>,
    next: u64,
}

impl Raw {
    pub fn new(client: Client, seen: Seen, session: &str) -> Self {
        let item = attributes(&seen.put["Item"]);
        Self { client, seen, session: session.to_owned(), item, next: 0 }
    }

    pub async fn append(&mut self) -> Result {
        let mut item = self.item.clone();
        item.insert(self.seen.partition_key.clone(), AttributeValue::S(self.session.clone()));
        item.insert(self.seen.sort_key.clone(), AttributeValue::S(format!("t#{:012}", self.next)));
        item.insert("append_id".into(), AttributeValue::B(Blob::new(uuid::Uuid::new_v4().into_bytes())));
        let put = self.client.put_item().table_name(text(&self.seen.put["TableName"])).set_item(Some(item));
        put.condition_expression(text(&self.seen.put["ConditionExpression"]))
            .set_expression_attribute_names(names(&self.seen.put))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await?;
        self.next += 1;
        Ok(())
    }

    pub async fn load(&self) -> Result<Vec<HashMap<String, AttributeValue>>> {
        let query = &self.seen.query;
        let mut values = attributes(&query["ExpressionAttributeValues"]);
        for value in values.values_mut() {
            if *value == AttributeValue::S("library".into()) {
                *value = AttributeValue::S(self.session.clone());
            }
        }
        let output = self
            .client
            .query()
            .table_name(text(&query["TableName"]))
            .key_condition_expression(text(&query["KeyConditionExpression"]))
            .set_expression_attribute_names(names(query))
            .set_expression_attribute_values(Some(values))
            .set_consistent_read(query["ConsistentRead"].as_bool())
            .set_scan_index_forward(query["ScanIndexForward"].as_bool())
            .set_limit(query["Limit"].as_i64().and_then(|limit| i32::try_from(limit).ok()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await?;
        Ok(output.items.unwrap_or_default())
    }

    /// The messages of [`load`](Self::load), parsed.
    pub async fn load_parsed(&self) -> Result<Vec<Value>> {
        let items = self.load().await?;
        let lists = items.iter().filter_map(|item| item.get("messages")?.as_l().ok());
        let texts = lists.flatten().filter_map(|text| text.as_s().ok());
        Ok(texts.map(|text| serde_json::from_str(text)).collect::<std::result::Result<_, _>>()?)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn names(body: &Value) -> Option<HashMap<String, String>> {
    let names = body["ExpressionAttributeNames"].as_object()?;
    Some(names.iter().map(|(name, attribute)| (name.clone(), text(attribute))).collect())
}

/// Reads attributes from their JSON on the wire.
fn attributes(value: &Value) -> HashMap<String, AttributeValue> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), attribute(value)?))).collect()
}

fn attribute(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "S" => AttributeValue::S(value.as_str()?.to_owned()),
        "N" => AttributeValue::N(value.as_str()?.to_owned()),
        "B" => AttributeValue::B(Blob::new(BASE64.decode(value.as_str()?).ok()?)),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(value.as_array()?.iter().map(attribute).collect::<Option<_>>()?),
        "M" => AttributeValue::M(attributes(value)),
        _ => return None,
    })
}
