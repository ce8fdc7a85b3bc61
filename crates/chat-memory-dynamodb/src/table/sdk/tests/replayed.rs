//! Replays responses that AWS gives and DynamoDB Local never does.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_dynamodb::config::Region;

use crate::Options;
use crate::table::sdk::SdkTable;
use crate::table::{Condition, Created, Fault, NewItem, Range, Scan, Table, Update};
use crate::testing::{Replay, Reply, SECRET, TOKEN, at, item, key, s};
use chat_memory_core::error::ErrorKind;
use chat_memory_core::store::Cost;

/// The text of a message, which must not get into any error.
const DIARY: &str = "dear diary";

/// DynamoDB's response if it has nothing else to report.
const WHOLE: &str = r#"{"ConsumedCapacity":{"TableName":"chats","CapacityUnits":1.0}}"#;

fn new() -> NewItem {
    NewItem::alone(item("a", "t#1", [("messages", s(DIARY))]))
}

/// The result of a put that is answered like this; also checks that it reveals no secret.
async fn put(reply: Reply) -> (Fault, Cost) {
    let server = Replay::start(move |_, _| reply.clone());
    let (table, mut cost) = (server.table().await, Cost::default());
    let fault = table.create(new(), &mut cost).await.expect_err("a failure");
    assert_eq!(server.seen(), ["putitem"], "tried once");
    assert_eq!(cost.requests, 1);
    assert_clean(&fault);
    (fault, cost)
}

fn assert_clean(fault: &Fault) {
    let shown = format!("{fault:?} {}", fault.error);
    for secret in [SECRET, TOKEN, DIARY] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(std::error::Error::source(&fault.error).is_some(), "the cause is kept: {shown}");
    assert!(!fault.error.to_string().ends_with('.'), "{}", fault.error);
}

#[track_caller]
fn assert_fault(fault: &Fault, kind: ErrorKind, may_have_landed: bool, retry: bool, parts: &[&str]) {
    let said = fault.error.to_string();
    assert_eq!((fault.error.kind(), fault.may_have_landed, fault.retry), (kind, may_have_landed, retry), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} in: {said}");
    }
}

#[tokio::test]
async fn access_denied_error_names_action_table_and_policy() {
    let words = "User: arn:aws:iam::111122223333:user/x is not authorized to perform: dynamodb:PutItem on resource: \
                 arn:aws:dynamodb:eu-west-1:111122223333:table/chats because no identity-based policy allows it";
    let (fault, _) = put(Reply::error(400, "com.amazon.coral.service#AccessDeniedException", words)).await;
    let parts = ["dynamodb:PutItem", "\"chats\"", "eu-west-1", "chat-memory iam-policy"];
    assert_fault(&fault, ErrorKind::AccessDenied, false, false, &parts);
    assert!(fault.error.to_string().contains("(no identity-based policy allows it)"), "{}", fault.error);
    let words = "KMS key access denied error: com.amazonaws.services.kms.model.AWSKMSException";
    let (fault, _) = put(Reply::error(400, "com.amazon.coral.service#AccessDeniedException", words)).await;
    assert_fault(&fault, ErrorKind::AccessDenied, false, false, &["dynamodb:PutItem", "KMS key access denied"]);
}

#[tokio::test]
async fn key_mismatch_is_reported_without_describe_permission() {
    let server = Replay::start(|operation, _| match operation {
        "describetable" => Reply::error(400, "com.amazon.coral.service#AccessDeniedException", "You may not"),
        _ => {
            let words = "One or more parameter values were invalid: Missing the key id in the item";
            Reply::error(400, "com.amazon.coral.validate#ValidationException", words)
        }
    });
    let fault = server.table().await.create(new(), &mut Cost::default()).await.expect_err("other keys");
    assert_fault(&fault, ErrorKind::Invalid, false, false, &["\"session_id\"", "\"sk\"", "partition_key="]);
    assert_eq!(server.seen(), ["putitem", "describetable"]);
}

#[tokio::test]
async fn refused_credentials_error_gives_a_remedy() {
    let canonical = format!(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and \
         signing method.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:{TOKEN}\n'"
    );
    let cases = [
        ("UnrecognizedClientException", "The security token included in the request is invalid.", "unknown access key"),
        ("InvalidSignatureException", canonical.as_str(), "the secret access key does not belong"),
        ("IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements", "invalid signature"),
        ("ExpiredTokenException", "The security token included in the request is expired", "have expired; get new ones"),
        ("MissingAuthenticationTokenException", "Request is missing Authentication Token", "unknown access key"),
    ];
    for (code, words, part) in cases {
        let (fault, _) = put(Reply::error(400, &format!("com.amazon.coral.service#{code}"), words)).await;
        assert_fault(&fault, ErrorKind::AccessDenied, false, false, &[part, "\"chats\""]);
    }
}

#[tokio::test]
async fn clock_error_states_the_skew() {
    let words = "Signature expired: 20200101T000000Z is now earlier than 20200101T000500Z (20200101T001000Z - 5 min.)";
    let Reply::Answer(status, _, body) = Reply::error(400, "com.amazon.coral.service#InvalidSignatureException", words) else {
        unreachable!("an error is an answer")
    };
    let date = "Date: Wed, 01 Jan 2020 00:10:00 GMT\r\n".to_owned();
    let (fault, _) = put(Reply::Answer(status, date, body)).await;
    assert_fault(&fault, ErrorKind::AccessDenied, false, false, &["this machine's clock is wrong", "min ahead of AWS's; set it"]);
}

/// Signing by AWS's clock would let a machine with a wrong clock write wrong times.
#[tokio::test]
async fn requests_are_always_signed_with_the_local_clock() {
    let date = "Date: Tue, 01 Jan 2075 00:00:00 GMT\r\n".to_owned();
    let server = Replay::start(move |_, _| Reply::Answer(200, date.clone(), WHOLE.to_owned()));
    let table = server.table().await;
    for _ in 0..2 {
        table.get(&key("a", "t#0"), false, &mut Cost::default()).await.expect("an answer");
    }
    assert!(table.skew_ms().expect("dated") > 0);
    let signed = server.signed_at();
    assert!(signed.len() == 2 && signed.iter().all(|at| at.starts_with("20") && !at.starts_with("2075")), "{signed:?}");
}

#[tokio::test]
async fn throttling_is_retryable_and_never_in_doubt() {
    for code in ["ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"] {
        let (fault, _) = put(Reply::error(400, &format!("com.amazonaws.dynamodb.v20120810#{code}"), "Slow down.")).await;
        assert_fault(&fault, ErrorKind::Throttled, false, true, &["PutItem throttled"]);
    }
    let (fault, _) = put(Reply::error(400, "com.amazonaws.dynamodb.v20120810#TransactionConflictException", "Ongoing.")).await;
    assert_fault(&fault, ErrorKind::Unavailable, false, true, &["another transaction"]);
}

#[tokio::test]
async fn server_error_leaves_a_write_in_doubt() {
    let internal = Reply::error(500, "com.amazonaws.dynamodb.v20120810#InternalServerError", "Internal server error");
    let (fault, _) = put(internal).await;
    assert_fault(&fault, ErrorKind::Unavailable, true, true, &["InternalServerError"]);
    let unavailable = Reply::Answer(503, String::new(), "<html>busy</html>".to_owned());
    let (fault, _) = put(unavailable).await;
    assert_fault(&fault, ErrorKind::Unavailable, true, true, &["HTTP 503", "proxy"]);
}

#[tokio::test]
async fn lost_answer_leaves_a_write_in_doubt() {
    let item = format!(r#"{{"Attributes":{{"messages":{{"S":"{DIARY}"#);
    for reply in [Reply::Truncated(item.clone()), Reply::Hangup, Reply::ok(item), Reply::ok("<html>welcome to our hotel</html>")]
    {
        let (fault, _) = put(reply).await;
        assert_fault(&fault, ErrorKind::Unavailable, true, true, &["\"chats\""]);
    }
}

#[tokio::test]
async fn proxy_refusal_is_not_access_denied() {
    let (fault, _) = put(Reply::Answer(403, String::new(), "<html>blocked by your company</html>".to_owned())).await;
    assert_fault(&fault, ErrorKind::Unavailable, false, false, &["HTTP 403", "proxy"]);
}

#[tokio::test]
async fn unanswered_request_times_out() {
    let server = Replay::start(|_, _| Reply::Silence(Duration::from_secs(20)));
    let options = at(&server.endpoint, "chats").with_request_timeout(Duration::from_millis(200));
    let table = SdkTable::open(&options).await.expect("good options");
    let mut cost = Cost::default();
    let fault = table.create(new(), &mut cost).await.expect_err("silence");
    assert_fault(&fault, ErrorKind::Unavailable, true, true, &["did not answer PutItem within 200 ms"]);
    assert_clean(&fault);
    let tail = Range {
        pk: "a".to_owned(),
        from: "t#".to_owned(),
        to: "t#~".to_owned(),
        newest_first: true,
        limit: Some(1),
        eventual: false,
        only: Some(&["append_id"]),
    };
    let fault = table.page(&tail, None, &mut cost).await.expect_err("silence");
    assert_fault(&fault, ErrorKind::Unavailable, false, true, &["Query"]);
    assert_eq!(cost.requests, 2, "sent, though not answered");
}

#[tokio::test]
async fn unsent_request_is_not_in_doubt() {
    // A port that was free a moment ago, so that nothing listens there, and a name that is reserved never to exist.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    for endpoint in [format!("http://{free}"), "http://dynamodb.invalid".to_owned(), format!("https://{free}")] {
        let table = SdkTable::open(&at(&endpoint, "chats")).await.expect("good options");
        let fault = table.create(new(), &mut Cost::default()).await.expect_err("nobody there");
        assert_fault(&fault, ErrorKind::Unavailable, false, true, &["no connection", &endpoint]);
        assert_clean(&fault);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_without_tls() {
    let server = Replay::start(|_, _| Reply::ok("{}"));
    let endpoint = server.endpoint.replace("http:", "https:");
    let table = SdkTable::open(&at(&endpoint, "chats")).await.expect("good options");
    let fault = table.create(new(), &mut Cost::default()).await.expect_err("no TLS there");
    assert_fault(&fault, ErrorKind::Unavailable, false, true, &["no connection"]);
}

#[tokio::test]
async fn cancelled_transaction_reasons_are_mapped() {
    let cancelled = |reasons: serde_json::Value| {
        let body = serde_json::json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "Transaction cancelled",
            "CancellationReasons": reasons,
        });
        Reply::Answer(400, String::new(), body.to_string())
    };
    let none = serde_json::json!({ "Code": "None" });
    let failed = serde_json::json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed" });
    let stands = serde_json::json!({
        "Code": "ConditionalCheckFailed",
        "Item": { "session_id": { "S": "a" }, "sk": { "S": "t#1" }, "messages": { "S": DIARY } },
    });
    let reason = |code: &str| serde_json::json!({ "Code": code, "Message": "Why" });
    let outcome = async |reasons: serde_json::Value| {
        let reply = cancelled(reasons);
        let server = Replay::start(move |_, _| reply.clone());
        let new = NewItem { precondition: Some((key("a", "t#0"), vec![Condition::Exists])), ..new() };
        server.table().await.create(new, &mut Cost::default()).await
    };
    let taken = outcome(serde_json::json!([stands, failed])).await.expect("an answer");
    assert_eq!(taken, Created::Taken(new().item));
    assert_eq!(outcome(serde_json::json!([none, failed])).await.expect("an answer"), Created::NoPrecondition);
    assert_eq!(
        outcome(serde_json::json!([reason("TransactionConflict"), failed])).await.expect("an answer"),
        Created::NoPrecondition
    );
    for (code, kind) in [
        ("TransactionConflict", ErrorKind::Unavailable),
        ("ThrottlingError", ErrorKind::Throttled),
        ("ProvisionedThroughputExceeded", ErrorKind::Throttled),
    ] {
        let fault = outcome(serde_json::json!([reason(code), none])).await.expect_err(code);
        assert_fault(&fault, kind, false, true, &["\"chats\""]);
        assert_clean(&fault);
    }
    let fault = outcome(serde_json::json!([failed, none])).await.expect_err("no item");
    assert_fault(&fault, ErrorKind::Unsupported, false, false, &["ReturnValuesOnConditionCheckFailure"]);
}

#[tokio::test]
async fn item_without_its_keys_is_corrupt() {
    for (item, part) in
        [(r#"{"session_id":{"S":"a"}}"#, "lacks the key \"sk\""), (r#"{"session_id":{"N":"1"},"sk":{"S":"x"}}"#, "not a string")]
    {
        let server = Replay::start(move |_, _| Reply::ok(format!(r#"{{"Item":{item},{}"#, &WHOLE[1..])));
        let fault = server.table().await.get(&key("a", "x"), false, &mut Cost::default()).await.expect_err("no key");
        assert_fault(&fault, ErrorKind::Corrupt, false, false, &[part, "\"chats\""]);
    }
}

#[tokio::test]
async fn reserved_ttl_attribute_is_refused() {
    let server = Replay::start(|_, _| {
        Reply::ok(r#"{"TimeToLiveDescription":{"TimeToLiveStatus":"ENABLED","AttributeName":"expires_at"}}"#)
    });
    let table = server.table().await;
    for _ in 0..2 {
        let fault = table.ttl_attribute(&crate::common::names::ATTRIBUTES, &mut Cost::default()).await.expect_err("it is ours");
        assert!(fault.error.is_invalid() && fault.error.to_string().contains("\"expires_at\""), "{fault:?}");
    }
    assert_eq!(server.seen().len(), 1, "asked for once");
}

/// Credentials that take forever.
#[derive(Debug)]
struct Slow;

impl ProvideCredentials for Slow {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(std::future::pending())
    }
}

#[tokio::test]
async fn slow_credentials_are_not_a_server_timeout() {
    let server = Replay::start(|_, _| Reply::ok("{}"));
    let config = SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(Slow))
        .build();
    let options = Options::new("chats").with_endpoint(&server.endpoint).with_request_timeout(Duration::from_millis(100));
    let table = SdkTable::from_sdk_config(&config, &options).expect("a configuration");
    let mut cost = Cost::default();
    let fault = table.create(new(), &mut cost).await.expect_err("no credentials yet");
    assert_fault(&fault, ErrorKind::Unavailable, false, true, &["credentials", "within 100 ms"]);
    assert_eq!((cost.requests, server.seen().len()), (0, 0));
}

/// Credentials that never come.
#[derive(Debug)]
struct Nobody(fn() -> CredentialsError);

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn missing_credentials_fail_before_sending() {
    let server = Replay::start(|_, _| Reply::ok("{}"));
    let options = Options::new("chats").with_region("eu-west-1").with_endpoint(&server.endpoint);
    let with = |nobody: Option<Nobody>| {
        let config = SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::latest());
        let mut config = config.region(Region::from_static("eu-west-1"));
        config.set_credentials_provider(nobody.map(SharedCredentialsProvider::new));
        SdkTable::from_sdk_config(&config.build(), &options).expect("a configuration")
    };
    let cases: [(Option<Nobody>, ErrorKind, bool, &str); 4] = [
        (None, ErrorKind::AccessDenied, false, "AWS_ACCESS_KEY_ID"),
        (Some(Nobody(CredentialsError::not_loaded_no_source)), ErrorKind::AccessDenied, false, "AWS_ACCESS_KEY_ID"),
        (
            Some(Nobody(|| CredentialsError::provider_error("the SSO session has expired"))),
            ErrorKind::AccessDenied,
            false,
            "the SSO session has expired",
        ),
        (
            Some(Nobody(|| CredentialsError::provider_timed_out(Duration::from_secs(5)))),
            ErrorKind::Unavailable,
            true,
            "in time (",
        ),
    ];
    for (nobody, kind, retry, part) in cases {
        let mut cost = Cost::default();
        let fault = with(nobody).create(new(), &mut cost).await.expect_err("no credentials");
        assert_fault(&fault, kind, false, retry, &[part, "\"chats\""]);
        assert_eq!(cost.requests, 0);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn missing_profile_is_named_without_falling_back() {
    let server = Replay::start(|_, _| Reply::ok("{}"));
    let options = Options::new("chats").with_region("eu-west-1").with_endpoint(&server.endpoint);
    let table = SdkTable::open(&options.with_profile("chat-memory-none")).await.expect("good options");
    let fault = table.create(new(), &mut Cost::default()).await.expect_err("no such profile");
    assert_fault(&fault, ErrorKind::AccessDenied, false, false, &["chat-memory-none", "\"chats\""]);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn missing_region_error_explains_how_to_set_it() {
    let config = SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::latest()).build();
    let error = SdkTable::from_sdk_config(&config, &Options::new("chats")).expect_err("no region");
    let said = error.to_string();
    assert!(error.is_invalid() && said.contains("?region=eu-west-1") && said.contains("AWS_REGION"), "{said}");
}

#[tokio::test]
async fn table_debug_shows_no_secret() {
    let table = SdkTable::open(&at("http://127.0.0.1:9", "chats")).await.expect("good options");
    assert_eq!(format!("{table:?}"), "SdkTable(\"chats\", \"eu-west-1\")");
}

/// A proxy, a captive portal or another service may answer anything.
#[tokio::test]
async fn foreign_response_is_never_a_success() {
    for body in ["{}", "", "[]", "null", r#"{"ok":true}"#, "<html>welcome to our hotel</html>", r#"{"ConsumedCapacity":null}"#] {
        let server = Replay::start(move |_, _| Reply::ok(body));
        let (table, mut cost) = (server.table().await, Cost::default());
        let (at, stored) = (key("a", "t#1"), new().item);
        let precondition = Some((key("a", "t#0"), vec![Condition::Exists]));
        let range = Range {
            pk: "a".to_owned(),
            from: "a".to_owned(),
            to: "z".to_owned(),
            newest_first: true,
            limit: None,
            eventual: false,
            only: None,
        };
        let writes = [
            table.create(new(), &mut cost).await.map(drop),
            table.create(NewItem { precondition, ..new() }, &mut cost).await.map(drop),
            table.put(&stored, &[Condition::Absent], &mut cost).await.map(drop),
            table.put(&stored, &[], &mut cost).await.map(drop),
            table
                .update(
                    &Update { key: at.clone(), set: vec![("title".to_owned(), Some(s("x")))], ..Update::default() },
                    &mut cost,
                )
                .await
                .map(drop),
            table.delete(&at, &[], &mut cost).await.map(drop),
        ];
        for (place, write) in writes.into_iter().enumerate() {
            let fault = write.expect_err("no success");
            println!("write {place} answered with {body:?}");
            assert_fault(&fault, ErrorKind::Unavailable, true, true, &["cannot be read", "proxy"]);
        }
        let reads = [
            table.get(&at, false, &mut cost).await.map(drop),
            table.page(&range, None, &mut cost).await.map(drop),
            table.scan(&Scan::default(), None, &mut cost).await.map(drop),
        ];
        for read in reads {
            assert_fault(&read.expect_err("no success"), ErrorKind::Unavailable, false, true, &["cannot be read", "proxy"]);
        }
        assert!(table.describe(&mut cost).await.is_err(), "{body:?}");
        assert!(table.time_to_live(&mut cost).await.is_err(), "{body:?}");
        assert!(table.enable_ttl("ttl", &mut cost).await.is_err(), "{body:?}");
        assert!(table.create_table("id", None, &mut cost).await.is_err(), "{body:?}");
        assert!(table.point_in_time_recovery(&mut cost).await.is_err(), "{body:?}");
    }
}
