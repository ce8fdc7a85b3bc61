//! Responses that AWS gives but DynamoDB Local never does: refused credentials, throttling, outages.
//!
//! Status, type and wording are DynamoDB's (its developer guide, "Error handling with DynamoDB", and what clients report of the
//! two families of types, `com.amazonaws.dynamodb.v20120810` and `com.amazon.coral.*`).

use std::time::Duration;

use serde_json::{Value, json};

use super::clock::basic;
use super::fault::Request;

/// A response sent instead of DynamoDB's.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Whether the request is carried out nevertheless.
    pub done: bool,
}

impl Answer {
    /// A response with a JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string(), done: false }
    }

    /// Carries the request out before responding; a response with status 500 or 503 leaves that open.
    #[must_use]
    pub fn although_done(self) -> Self {
        Self { done: true, ..self }
    }

    /// An error of DynamoDB's own, by the name of its type.
    pub fn dynamodb_error(status: u16, name: &str, message: &str) -> Self {
        Self::json(status, &json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": message}))
    }

    fn service_error(name: &str, message: &str) -> Self {
        Self::json(400, &json!({"__type": format!("com.amazon.coral.service#{name}"), "message": message}))
    }

    /// `ThrottlingException`: the load on an on-demand table grows too fast.
    pub fn throttling() -> Self {
        let message = "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your \
            table or index so please try again shortly.";
        Self::dynamodb_error(400, "ThrottlingException", message)
    }

    /// `ProvisionedThroughputExceededException`: a provisioned table or one of its partitions is over its capacity.
    pub fn provisioned_throughput_exceeded() -> Self {
        let message = "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
            provisioning level with the UpdateTable API.";
        Self::dynamodb_error(400, "ProvisionedThroughputExceededException", message)
    }

    /// `RequestLimitExceeded`: the account is over its quota.
    pub fn request_limit_exceeded() -> Self {
        let message = "Throughput exceeds the current throughput limit for your account.";
        Self::dynamodb_error(400, "RequestLimitExceeded", message)
    }

    /// `TransactionConflictException`: another transaction holds the item of a plain write.
    pub fn transaction_conflict() -> Self {
        Self::dynamodb_error(400, "TransactionConflictException", "Transaction is ongoing for the item")
    }

    /// `TransactionCanceledException`, with a reason for each of the transaction's actions: `ConditionalCheckFailed`,
    /// `TransactionConflict`, `ThrottlingError`, …, or `None` for an action that did not cause it.
    pub fn transaction_canceled(reasons: &[&str]) -> Self {
        let reason = |code: &&str| match *code {
            "None" => json!({"Code": "None"}),
            "ConditionalCheckFailed" => json!({"Code": code, "Message": "The conditional request failed"}),
            "TransactionConflict" => json!({"Code": code, "Message": "Transaction is ongoing for the item"}),
            _ => json!({"Code": code, "Message": "Throughput exceeds the current capacity of your table or index."}),
        };
        let message =
            format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", reasons.join(", "));
        let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        let reasons: Vec<Value> = reasons.iter().map(reason).collect();
        Self::json(400, &json!({"__type": kind, "CancellationReasons": reasons, "Message": message}))
    }

    /// The response that another transaction holds an item of this request: `TransactionConflictException` for a write of one
    /// item; `TransactionCanceledException` for a transaction, with a reason for each action, of which the `which`-th (modulo
    /// their number) is the cause. `None` for an operation that never gets this response from AWS.
    pub fn conflict(request: &Request, which: usize) -> Option<Self> {
        match request.operation.as_str() {
            "PutItem" | "UpdateItem" | "DeleteItem" => Some(Self::transaction_conflict()),
            "TransactWriteItems" | "TransactGetItems" => {
                let actions = request.body["TransactItems"].as_array().map_or(0, Vec::len);
                let mut reasons = vec!["None"; actions];
                *reasons.get_mut(which.checked_rem(actions)?)? = "TransactionConflict";
                Some(Self::transaction_canceled(&reasons))
            }
            _ => None,
        }
    }

    /// `UnrecognizedClientException`: no such access key.
    pub fn unrecognized_client() -> Self {
        Self::service_error("UnrecognizedClientException", "The security token included in the request is invalid.")
    }

    /// `ExpiredTokenException`: temporary credentials have expired.
    pub fn expired_token() -> Self {
        Self::service_error("ExpiredTokenException", "The security token included in the request is expired")
    }

    /// `InvalidSignatureException`: the secret is wrong.
    pub fn invalid_signature() -> Self {
        let message = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
            Access Key and signing method. Consult the service documentation for details.";
        Self::service_error("InvalidSignatureException", message)
    }

    /// `InvalidSignatureException`: the client's clock is 10 minutes behind.
    pub fn skewed_clock() -> Self {
        let message = "Signature expired: 20260102T030000Z is now earlier than 20260102T030500Z (20260102T031000Z - 5 min.)";
        Self::service_error("InvalidSignatureException", message)
    }

    /// `InvalidSignatureException`: a request signed at this time, in seconds since 1970, reached a service whose clock differs
    /// by more than it tolerates.
    pub fn signature_out_of_time(signed_s: i64, now_s: i64, tolerance: Duration) -> Self {
        let (tolerance_s, minutes) = (tolerance.as_secs().cast_signed(), tolerance.as_secs() / 60);
        let (signed, now) = (basic(signed_s), basic(now_s));
        let message = if signed_s < now_s {
            let earliest = basic(now_s - tolerance_s);
            format!("Signature expired: {signed} is now earlier than {earliest} ({now} - {minutes} min.)")
        } else {
            let latest = basic(now_s + tolerance_s);
            format!("Signature not yet current: {signed} is still later than {latest} ({now} + {minutes} min.)")
        };
        Self::service_error("InvalidSignatureException", &message)
    }

    /// `MissingAuthenticationTokenException`: a request that is not signed.
    pub fn unsigned() -> Self {
        Self::service_error("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    }

    /// `AccessDeniedException`: a policy does not allow this action (`dynamodb:PutItem`) on this table.
    pub fn access_denied(action: &str, table: &str) -> Self {
        let message = format!(
            "User: arn:aws:iam::123456789012:user/chat is not authorized to perform: {action} on resource: \
            arn:aws:dynamodb:us-east-1:123456789012:table/{table} because no identity-based policy allows the {action} action"
        );
        // With a capital M, unlike the others.
        Self::json(400, &json!({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": message}))
    }

    /// `InternalServerError`, status 500.
    pub fn internal_server_error() -> Self {
        Self::dynamodb_error(500, "InternalServerError", "The request processing has failed because of an unknown error.")
    }

    /// `ServiceUnavailable`, status 503.
    pub fn service_unavailable() -> Self {
        Self::dynamodb_error(503, "ServiceUnavailable", "DynamoDB is currently unavailable. Please try again later.")
    }

    /// An HTML page with status 503, as sent by a gateway in front of DynamoDB.
    pub fn broken_gateway() -> Self {
        let body = "<html><body><b>Http/1.1 Service Unavailable</b></body></html>".to_owned();
        Self { status: 503, body, done: false }
    }
}
