//! The fault proxy, with AWS's own client on one side and DynamoDB Local on the other.

use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, ScalarAttributeType, TransactWriteItem,
};
use aws_sdk_dynamodb::{Client, Config};
use chat_memory_testkit::{Answer, Fault, FaultProxy, Gate, Request, Seeded, dynamodb_endpoint, table_name};

/// A client that tries everything once.
fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(60)).build());
    Client::from_conf(config.build())
}

/// A table, a client that reaches it directly, and one that reaches it through a proxy.
struct Bench {
    proxy: FaultProxy,
    table: String,
    direct: Client,
    client: Client,
}

impl Bench {
    async fn new(plan: impl chat_memory_testkit::Plan) -> Self {
        let endpoint = dynamodb_endpoint();
        let proxy = FaultProxy::start(&endpoint, plan);
        let direct = client(&endpoint);
        let client = client(&proxy.url());
        let table = table_name("proxy");
        let key = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build();
        let hash = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build();
        direct
            .create_table()
            .table_name(&table)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(key.expect("a whole definition"))
            .key_schema(hash.expect("a whole key"))
            .send()
            .await
            .expect("a table on DynamoDB Local");
        Self { proxy, table, direct, client }
    }

    /// Writes an item that must not be there yet.
    async fn put(&self, id: &str) -> Result<(), SdkError<PutItemError>> {
        let put = self.client.put_item().table_name(&self.table).item("id", AttributeValue::S(id.into()));
        put.condition_expression("attribute_not_exists(id)").send().await.map(drop)
    }

    /// Writes an item, and gives up as soon as the request has come to the proxy.
    async fn put_and_hang_up(&self, id: &str) {
        let before = self.proxy.count("PutItem");
        let came = async {
            while self.proxy.count("PutItem") == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            result = self.put(id) => panic!("it was answered: {result:?}"),
            () = came => {}
        }
    }

    /// Whether the item is there, asked without the proxy.
    async fn has(&self, id: &str) -> bool {
        let get = self.direct.get_item().table_name(&self.table).key("id", AttributeValue::S(id.into())).consistent_read(true);
        get.send().await.expect("DynamoDB Local answers").item.is_some()
    }

    fn statuses(&self) -> Vec<Vec<u16>> {
        self.proxy.requests().into_iter().map(|recorded| recorded.statuses).collect()
    }
}

fn only(operation: &'static str, nth: u64, fault: Fault) -> impl chat_memory_testkit::Plan {
    move |request: &Request| if request.is(operation, nth) { fault.clone() } else { Fault::Pass }
}

fn no_answer(result: Result<(), SdkError<PutItemError>>) -> bool {
    matches!(result, Err(SdkError::DispatchFailure(_) | SdkError::ResponseError(_)))
}

#[tokio::test]
async fn what_passes_is_recorded_and_counted() {
    let bench = Bench::new(|_: &Request| Fault::Pass).await;
    bench.put("a").await.expect("it passes");
    let refused = bench.put("a").await.expect_err("it is there already");
    assert_eq!(refused.code(), Some("ConditionalCheckFailedException"));
    bench.client.describe_table().table_name(&bench.table).send().await.expect("it passes");

    assert_eq!((bench.proxy.count("PutItem"), bench.proxy.count("DescribeTable"), bench.proxy.count("Query")), (2, 1, 0));
    let requests = bench.proxy.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[1].request.is("PutItem", 1) && requests[2].request.is("DescribeTable", 0));
    assert_eq!(requests[0].request.body["Item"]["id"]["S"], "a");
    assert_eq!(requests[0].request.body["TableName"], bench.table.as_str());
    assert_eq!(bench.statuses(), [vec![200], vec![400], vec![200]]);

    bench.proxy.forget();
    assert!(bench.proxy.requests().is_empty() && bench.proxy.counts().is_empty());
    bench.put("b").await.expect("it passes");
    assert!(bench.proxy.requests()[0].request.is("PutItem", 0));
}

#[tokio::test]
async fn a_dropped_request_never_arrives_and_a_dropped_answer_did() {
    let bench = Bench::new(only("PutItem", 0, Fault::DropRequest)).await;
    assert!(no_answer(bench.put("a").await));
    assert!(!bench.has("a").await);

    bench.proxy.set_plan(only("PutItem", 1, Fault::DropAnswer));
    assert!(no_answer(bench.put("a").await));
    assert!(bench.has("a").await);
    assert_eq!(bench.statuses(), [vec![], vec![200]]);
    bench.put("b").await.expect("the next one passes, on a new connection");
}

#[tokio::test]
async fn a_duplicate_arrives_twice() {
    let bench = Bench::new(only("PutItem", 0, Fault::Duplicate)).await;
    bench.put("a").await.expect("the first answer");
    bench.proxy.set_plan(only("PutItem", 1, Fault::Repeat));
    let second = bench.put("b").await.expect_err("the second answer");
    assert_eq!(second.code(), Some("ConditionalCheckFailedException"));
    assert_eq!(bench.statuses(), [vec![200, 400], vec![200, 400]]);
    assert!(bench.has("a").await && bench.has("b").await);
}

#[tokio::test]
async fn a_late_answer_finds_a_request_that_was_carried_out() {
    let bench = Bench::new(only("PutItem", 0, Fault::Delay(Duration::from_secs(3600)))).await;
    bench.put_and_hang_up("a").await;
    bench.proxy.idle().await;
    assert!(bench.has("a").await);
}

#[tokio::test]
async fn a_held_write_arrives_after_its_client_has_given_up() {
    let gate = Gate::new();
    let bench = Bench::new(only("PutItem", 0, Fault::Hold(gate.clone()))).await;
    bench.put_and_hang_up("a").await;
    assert!(!bench.has("a").await);
    gate.open();
    bench.proxy.idle().await;
    assert!(bench.has("a").await);

    bench.proxy.set_plan(only("PutItem", 1, Fault::HoldFor(Duration::from_secs(1))));
    bench.put_and_hang_up("b").await;
    bench.proxy.idle().await;
    assert!(bench.has("b").await);
}

#[tokio::test]
async fn answers_of_aws_are_what_its_client_takes_them_for() {
    let answers = [
        (Answer::throttling(), "ThrottlingException"),
        (Answer::provisioned_throughput_exceeded(), "ProvisionedThroughputExceededException"),
        (Answer::request_limit_exceeded(), "RequestLimitExceeded"),
        (Answer::transaction_conflict(), "TransactionConflictException"),
        (Answer::unrecognized_client(), "UnrecognizedClientException"),
        (Answer::expired_token(), "ExpiredTokenException"),
        (Answer::invalid_signature(), "InvalidSignatureException"),
        (Answer::skewed_clock(), "InvalidSignatureException"),
        (Answer::access_denied("dynamodb:PutItem", "chats"), "AccessDeniedException"),
        (Answer::internal_server_error(), "InternalServerError"),
        (Answer::service_unavailable(), "ServiceUnavailable"),
    ];
    let bench = Bench::new(|_: &Request| Fault::Pass).await;
    for (answer, code) in answers {
        bench.proxy.set_plan(only("PutItem", bench.proxy.count("PutItem"), Fault::Answer(answer.clone())));
        let error = bench.put("a").await.expect_err("an error");
        assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(answer.status), "{code}");
        assert_eq!(error.code(), Some(code));
        assert!(error.message().is_some_and(|message| answer.body.contains(message)), "{code}: {:?}", error.message());
    }
    let page = Answer::broken_gateway();
    bench.proxy.set_plan(only("PutItem", bench.proxy.count("PutItem"), Fault::Answer(page)));
    let error = bench.put("a").await.expect_err("a page of HTML");
    assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(503));
    assert!(!bench.has("a").await, "none of them arrived");

    let done = Answer::internal_server_error().although_done();
    bench.proxy.set_plan(only("PutItem", bench.proxy.count("PutItem"), Fault::Answer(done)));
    assert_eq!(bench.put("a").await.expect_err("an error").code(), Some("InternalServerError"));
    assert!(bench.has("a").await, "although it answered with an error");
}

#[tokio::test]
async fn a_cancelled_transaction_names_its_reasons() {
    let answer = Answer::transaction_canceled(&["None", "ConditionalCheckFailed", "TransactionConflict"]);
    let bench = Bench::new(only("TransactWriteItems", 0, Fault::Answer(answer))).await;
    let put = Put::builder().table_name(&bench.table).item("id", AttributeValue::S("a".into())).build();
    let put = TransactWriteItem::builder().put(put.expect("a whole put")).build();
    let error = bench.client.transact_write_items().transact_items(put).send().await.expect_err("cancelled").into_service_error();
    assert!(error.is_transaction_canceled_exception(), "{error:?}");
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(error) = error
    else {
        panic!("{error:?}")
    };
    let reasons: Vec<_> = error.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or_default()).collect();
    assert_eq!(reasons, ["None", "ConditionalCheckFailed", "TransactionConflict"]);
}

#[tokio::test]
async fn chance_decides_and_nothing_is_lost_that_was_repeated() {
    let plan = Seeded { drop_requests: 0.2, drop_answers: 0.2, duplicates: 0.2, only: vec!["PutItem".into()], ..Seeded::new(7) };
    let bench = Bench::new(plan).await;
    for id in (0..20).map(|n| n.to_string()) {
        // Until an answer comes; "it is there already" is one.
        while no_answer(bench.put(&id).await) {}
        assert!(bench.has(&id).await);
    }
    assert!(bench.proxy.count("PutItem") > 20, "the seed makes faults");
}

#[test]
fn the_program_prints_its_url_and_makes_the_faults_it_is_told_to() {
    use std::io::BufRead as _;
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_fault-proxy"))
        .args(["--upstream", &dynamodb_endpoint(), "--drop-answers", "1", "--seed", "7"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut url = String::new();
    std::io::BufReader::new(program.stdout.take().expect("its output")).read_line(&mut url).expect("a line");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let result = runtime.block_on(client(url.trim()).list_tables().send());
    program.kill().and_then(|()| program.wait()).expect("it ends");
    assert!(matches!(result, Err(SdkError::DispatchFailure(_) | SdkError::ResponseError(_))), "{result:?}");
}

#[tokio::test]
async fn a_service_that_is_away_is_said() {
    let proxy = FaultProxy::start("http://127.0.0.1:1", |_: &Request| Fault::Pass);
    let error = client(&proxy.url()).list_tables().send().await.expect_err("nobody is there");
    assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(502));
}
