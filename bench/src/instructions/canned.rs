//! An AWS client without a network: each request is answered at once, so that what is counted is the library's work and the SDK's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use crate::Result;

/// How many items a query returns at most.
const PAGE: usize = 10;

/// The answers of a table of the `turns` layout with one session, and the last requests.
#[derive(Debug, Clone, Default)]
pub struct Canned(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// The items that were put, newest first.
    items: VecDeque<Value>,
    put: Option<Value>,
    query: Option<Value>,
    /// The answer to each query, once frozen.
    page: Option<Vec<u8>>,
}

impl Canned {
    /// A client that gets its answers from here.
    pub fn client(&self) -> Client {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("canned", "canned", None, None, "bench"))
            .http_client(self.clone())
            .retry_config(RetryConfig::disabled());
        Client::from_conf(config.build())
    }

    /// From now on requests are answered without being read, each query with the newest items: reading a request would be counted.
    pub fn freeze(&self) {
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let page = contents.page();
        contents.page = Some(page);
    }

    /// The last `PutItem` and the last `Query`.
    pub fn seen(&self) -> Result<(Value, Value)> {
        let contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [Some(put), Some(query)] = [&contents.put, &contents.query] else {
            return Err("the library sent no PutItem or no Query".into());
        };
        Ok((put.clone(), query.clone()))
    }
}

impl Contents {
    fn page(&self) -> Vec<u8> {
        let items: Vec<_> = self.items.iter().take(PAGE).collect();
        let capacity = json!({"TableName": "canned", "CapacityUnits": 3.0});
        json!({"Items": items, "Count": items.len(), "ScannedCount": items.len(), "ConsumedCapacity": capacity})
            .to_string()
            .into()
    }

    fn answer(&mut self, operation: &str, body: &[u8]) -> Result<Vec<u8>> {
        if let Some(page) = &self.page {
            return match operation {
                "Query" => Ok(page.clone()),
                "PutItem" => Ok(br#"{"ConsumedCapacity":{"TableName":"canned","CapacityUnits":1.0}}"#.to_vec()),
                other => Err(format!("a warm store should put items and query, not {other}").into()),
            };
        }
        let body: Value = serde_json::from_slice(body)?;
        let answer = match operation {
            "PutItem" => {
                self.items.push_front(body["Item"].clone());
                self.put = Some(body);
                json!({"ConsumedCapacity": {"TableName": "canned", "CapacityUnits": 1.0}})
            }
            // A session's first append: its record, and its entry in the list of sessions, which no query here is about.
            "TransactWriteItems" => {
                let puts = body["TransactItems"].as_array().into_iter().flatten().map(|item| &item["Put"]["Item"]);
                self.items.extend(puts.filter(|item| item.get("append_id").is_some()).cloned());
                json!({"ConsumedCapacity": [{"TableName": "canned", "CapacityUnits": 4.0}]})
            }
            "Query" => {
                let page = self.page();
                self.query = Some(body);
                return Ok(page);
            }
            other => return Err(format!("no answer is known for {other}: {body}").into()),
        };
        Ok(answer.to_string().into())
    }
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).answer(operation, body);
        let response = answer.and_then(|answer| Ok(HttpResponse::new(200.try_into()?, SdkBody::from(answer))));
        HttpConnectorFuture::ready(response.map_err(ConnectorError::user))
    }
}

impl HttpClient for Canned {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
