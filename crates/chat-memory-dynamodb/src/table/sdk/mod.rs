//! A DynamoDB table, through the AWS SDK: each call is one request, sent once.

mod client;
mod control;
mod expression;
mod failure;
mod fault;
mod http;
mod keys;
mod probe;
mod redact;
mod requests;
mod schema;
mod whole;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::sync::OnceCell;

pub use control::Description;
pub(crate) use control::TTL_TAKEN;
pub(crate) use failure::{Cause, Failure};
pub(crate) use fault::{Target, Trouble};
pub(crate) use keys::Keys;
pub use schema::{KeyAttribute, Schema};
use whole::Whole;
use wire::{Trace, Wire};

use crate::Options;
use crate::iam::Operation;
use crate::table::Fault;
use chat_memory_core::error::Error;
use chat_memory_core::store::Cost;

/// A request gets one more second per this many bytes that it sends or may receive ([`Options::request_timeout`]).
const BYTES_PER_SECOND: u64 = 200_000;

/// The largest item, and the largest page of a query (DynamoDB's limits).
const MAX_ITEM_BYTES: usize = 400 * 1024;
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// A DynamoDB table. Clones share the same table.
#[derive(Clone)]
pub(crate) struct SdkTable {
    inner: Arc<Inner>,
    pub(crate) keys: Keys,
}

struct Inner {
    client: Client,
    target: Target,
    request_timeout: Duration,
    connect_deadline: Duration,
    reconnect_deadline: Duration,
    read_only: bool,
    wire: Arc<Wire>,
    /// Requested from the table once, when first needed.
    schema: OnceCell<Schema>,
    ttl_attribute: OnceCell<Option<String>>,
}

impl fmt::Debug for SdkTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SdkTable").field(&self.inner.target.table).field(&self.inner.target.region).finish()
    }
}

/// A request that did not succeed: why, and the SDK's typed error if DynamoDB answered with one.
pub(crate) struct Refused<E> {
    pub(crate) failure: Failure,
    pub(crate) answer: Option<E>,
}

impl SdkTable {
    /// Opens a table with a client of its own. No request is sent yet.
    ///
    /// # Errors
    /// Invalid if the options cannot work or no region is known.
    pub(crate) async fn open(options: &Options) -> Result<Self, Error> {
        Ok(Self::new(client::of_options(options).await?, options))
    }

    /// Opens a table with parts of the caller's client: its HTTP client, credentials, region, endpoint and interceptors. The
    /// options take precedence. The client's retries and timeouts are never used.
    ///
    /// # Errors
    /// As [`open`](Self::open), and invalid if the options name a profile.
    pub(crate) fn from_client(client: &Client, options: &Options) -> Result<Self, Error> {
        Ok(Self::new(client::of_client(client, options)?, options))
    }

    /// Opens a table with the caller's AWS configuration, as [`from_client`](Self::from_client).
    ///
    /// # Errors
    /// As [`from_client`](Self::from_client).
    pub(crate) fn from_sdk_config(config: &SdkConfig, options: &Options) -> Result<Self, Error> {
        Ok(Self::new(client::of_config(config, options)?, options))
    }

    fn new(client: Client, options: &Options) -> Self {
        let wire = Arc::new(Wire::default());
        let target = Target {
            table: options.table.clone(),
            region: client.config().region().map_or_else(String::new, ToString::to_string),
            partition_key: options.partition_key_name().to_owned(),
            sort_key: options.sort_key_name().to_owned(),
            profile: options.profile.clone().filter(|_| options.credentials.is_none()),
            wire: Arc::clone(&wire),
        };
        let keys = Keys { partition: target.partition_key.clone(), sort: Some(target.sort_key.clone()) };
        let inner = Inner {
            client,
            target,
            request_timeout: options.request_timeout,
            connect_deadline: options.connect_deadline,
            reconnect_deadline: options.reconnect_deadline,
            read_only: options.read_only,
            wire,
            schema: OnceCell::new(),
            ttl_attribute: OnceCell::new(),
        };
        Self { inner: Arc::new(inner), keys }
    }

    /// The table's name, region and keys.
    pub(crate) fn target(&self) -> &Target {
        &self.inner.target
    }

    /// The table's keys, if they were requested before.
    pub(crate) fn known_schema(&self) -> Option<Schema> {
        self.inner.schema.get().cloned()
    }

    /// The operations that were sent through this table, by DynamoDB's names.
    pub(crate) fn operations(&self) -> BTreeSet<String> {
        self.inner.wire.operations()
    }

    /// How far DynamoDB's clock is ahead of this machine's, in milliseconds (negative: behind), by its last response.
    pub(crate) fn skew_ms(&self) -> Option<i64> {
        self.inner.wire.skew_ms()
    }

    /// Sends one request once. `bytes` is how much it sends or may receive.
    async fn call<T, E, F>(
        &self,
        operation: Operation,
        bytes: usize,
        cost: &mut Cost,
        send: impl FnOnce(Trace) -> F,
    ) -> Result<T, Refused<E>>
    where
        T: Whole,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let refused = |sent, cause| Refused { failure: Failure { operation, sent, cause }, answer: None };
        if self.inner.read_only && operation.writes() {
            return Err(refused(false, Cause::ReadOnly));
        }
        let trace = Trace::new(Arc::clone(&self.inner.wire));
        let limit = time_limit(self.inner.request_timeout, bytes);
        let outcome = tokio::time::timeout(limit, send(trace.clone())).await;
        let sent = trace.sent();
        cost.requests += u64::from(sent);
        match outcome {
            Ok(Ok(answer)) if answer.is_whole() => Ok(answer),
            Ok(Ok(_)) => Err(refused(sent, Cause::Unreadable { status: 200, why: T::LACKS.to_owned() })),
            Ok(Err(error)) => {
                let failure = Failure::new(operation, sent, &error, self.repeats_connecting_until());
                tracing::debug!(table = %self.inner.target.table, %failure, "a request to DynamoDB failed");
                let answer = match error {
                    SdkError::ServiceError(answer) => Some(answer.into_err()),
                    _ => None,
                };
                Err(Refused { failure, answer })
            }
            Err(_) => Err(refused(sent, Cause::TooLate(limit))),
        }
    }

    /// The age until which an operation that never had a connection keeps trying to get one.
    fn repeats_connecting_until(&self) -> Duration {
        if self.inner.wire.was_answered() { self.inner.reconnect_deadline } else { self.inner.connect_deadline }
    }

    /// Converts a failure to a fault for the protocol. If the keys are the problem, the table's own are requested.
    pub(crate) async fn fault(&self, failure: Failure, cost: &mut Cost) -> Fault {
        let schema = match failure.trouble() {
            Trouble::KeySchema => self.schema(cost).await.ok(),
            _ => None,
        };
        failure.into_fault(&self.inner.target, schema.as_ref())
    }
}

/// The time limit of a request that sends or may receive `bytes` ([`Options::request_timeout`]).
fn time_limit(request_timeout: Duration, bytes: usize) -> Duration {
    request_timeout + Duration::from_millis(bytes as u64 * 1000 / BYTES_PER_SECOND)
}
