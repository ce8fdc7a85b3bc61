//! Tests the fault proxy, with AWS's own client on one side and DynamoDB Local on the other.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use chat_memory_testkit::{Answer, Fault, FaultProxy, Gate, Request, Seeded, client_at, dynamodb_endpoint, new_table};

/// A client that tries everything once and signs by this machine's clock.
fn client(endpoint: &str) -> Client {
    let config = client_at(endpoint).config().to_builder().disable_clock_skew_correction(true);
    let patient = TimeoutConfig::builder().operation_timeout(Duration::from_secs(60)).build();
    Client::from_conf(config.timeout_config(patient).build())
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
        let table = new_table("proxy", &["id"]).await;
        Self { proxy, table, direct, client }
    }

    /// Writes an item that must not exist yet.
    async fn put(&self, id: &str) -> Result<(), SdkError<PutItemError>> {
        let put = self.client.put_item().table_name(&self.table).item("id", AttributeValue::S(id.into()));
        put.condition_expression("attribute_not_exists(id)").send().await.map(drop)
    }

    /// Writes an item, and gives up as soon as the request has reached the proxy.
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

    /// Whether the item exists, checked without the proxy.
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
async fn passed_requests_are_recorded_and_counted() {
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
async fn dropped_request_is_lost_but_dropped_answer_was_executed() {
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
async fn duplicated_request_arrives_twice() {
    let bench = Bench::new(only("PutItem", 0, Fault::Duplicate)).await;
    bench.put("a").await.expect("the first answer");
    bench.proxy.set_plan(only("PutItem", 1, Fault::Repeat));
    let second = bench.put("b").await.expect_err("the second answer");
    assert_eq!(second.code(), Some("ConditionalCheckFailedException"));
    assert_eq!(bench.statuses(), [vec![200, 400], vec![200, 400]]);
    assert!(bench.has("a").await && bench.has("b").await);
}

#[tokio::test]
async fn reset_differs_from_a_closed_connection() {
    let bench = Bench::new(only("PutItem", 0, Fault::ResetRequest)).await;
    // As text, since a closed connection is another error of the same kind.
    let how = |result: Result<(), SdkError<PutItemError>>| format!("{:?}", result.expect_err("no answer"));
    let reset = how(bench.put("a").await);
    assert!(reset.contains("ConnectionReset"), "{reset}");
    assert!(!bench.has("a").await);

    bench.proxy.set_plan(only("PutItem", 1, Fault::ResetAnswer));
    let reset = how(bench.put("a").await);
    assert!(reset.contains("ConnectionReset"), "{reset}");
    assert!(bench.has("a").await);

    bench.proxy.set_plan(only("PutItem", 2, Fault::DropAnswer));
    let closed = how(bench.put("b").await);
    assert!(!closed.contains("ConnectionReset"), "{closed}");
    assert_eq!(bench.statuses(), [vec![], vec![200], vec![200]]);
    bench.put("c").await.expect("the next one passes, on a new connection");
}

#[tokio::test]
async fn truncated_answer_is_incomplete() {
    let bench = Bench::new(only("GetItem", 0, Fault::Truncate)).await;
    bench.put("a").await.expect("it passes");
    let get = || bench.client.get_item().table_name(&bench.table).key("id", AttributeValue::S("a".into())).send();
    let error = get().await.expect_err("half an answer");
    assert!(matches!(error, SdkError::ResponseError(_)), "{error:?}");
    assert!(format!("{error:?}").contains("IncompleteBody"), "{error:?}");
    assert!(get().await.expect("whole").item.is_some());
    assert_eq!(bench.statuses(), [vec![200], vec![200], vec![200]]);

    let bench = Bench::new(only("PutItem", 0, Fault::Truncate)).await;
    assert!(no_answer(bench.put("a").await));
    assert!(bench.has("a").await);
}

#[tokio::test]
async fn conflict_takes_the_form_of_the_operation() {
    let bench = Bench::new(|request: &Request| Answer::conflict(request, 4).map_or(Fault::Pass, Fault::Answer)).await;
    assert_eq!(bench.put("a").await.expect_err("a conflict").code(), Some("TransactionConflictException"));
    assert!(!bench.has("a").await);
    let put = |id: &str| {
        let put = Put::builder().table_name(&bench.table).item("id", AttributeValue::S(id.into())).build();
        TransactWriteItem::builder().put(put.expect("a whole put")).build()
    };
    let transaction =
        bench.client.transact_write_items().transact_items(put("a")).transact_items(put("b")).transact_items(put("c"));
    let error = transaction.send().await.expect_err("a conflict").into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(error) = error
    else {
        panic!("{error:?}")
    };
    let reasons: Vec<_> = error.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or_default()).collect();
    assert_eq!(reasons, ["None", "TransactionConflict", "None"], "index 4 of three, modulo 3");
    bench.client.describe_table().table_name(&bench.table).send().await.expect("it never conflicts");
}

#[tokio::test]
async fn out_of_time_signature_is_refused_with_the_service_date() {
    let bench = Bench::new(|_: &Request| Fault::Pass).await;
    bench.proxy.check_clocks(Duration::from_secs(15 * 60));
    bench.put("right").await.expect("the same clock");
    for (ahead, words) in [(16 * 60, "Signature expired: "), (-16 * 60, "Signature not yet current: ")] {
        bench.proxy.set_clock_ahead(ahead);
        let error = bench.put("wrong").await.expect_err("a wrong clock");
        assert_eq!(error.code(), Some("InvalidSignatureException"));
        assert!(
            error.message().is_some_and(|said| said.starts_with(words) && said.ends_with("15 min.)")),
            "{:?}",
            error.message()
        );
        let date = error.raw_response().and_then(|response| response.headers().get("date")).expect("a date").to_owned();
        let date =
            aws_sdk_dynamodb::primitives::DateTime::from_str(&date, aws_sdk_dynamodb::primitives::DateTimeFormat::HttpDate);
        let now = aws_sdk_dynamodb::primitives::DateTime::from(std::time::SystemTime::now());
        assert!((date.expect("a date").secs() - now.secs() - ahead).abs() < 60, "dated by the service's clock");
    }
    assert!(!bench.has("wrong").await);
    bench.proxy.set_clock_ahead(14 * 60);
    bench.put("nearly right").await.expect("it is tolerated");
    let recorded = bench.proxy.requests();
    let seen: Vec<_> = recorded.iter().map(|recorded| (recorded.statuses.len(), recorded.out_of_time)).collect();
    assert_eq!(seen, [(1, 0), (0, 1), (0, 1), (1, 0)]);
}

#[tokio::test]
async fn held_request_is_checked_by_the_clock_at_arrival() {
    let gate = Gate::new();
    let bench = Bench::new(only("PutItem", 0, Fault::Hold(gate.clone()))).await;
    bench.proxy.check_clocks(Duration::from_secs(5 * 60));
    bench.put_and_hang_up("late").await;
    bench.proxy.set_clock_ahead(6 * 60);
    gate.open();
    bench.proxy.idle().await;
    assert!(!bench.has("late").await);
    assert_eq!(bench.proxy.requests()[0].out_of_time, 1);
}

/// The SDK's own clock correction, which the library turns off, takes the time from the refusal's date.
#[tokio::test]
async fn aws_client_corrects_its_clock_from_the_refusal() {
    let bench = Bench::new(|_: &Request| Fault::Pass).await;
    bench.proxy.check_clocks(Duration::from_secs(5 * 60));
    bench.proxy.set_clock_ahead(3 * 3600);
    let config = bench.client.config().to_builder().retry_config(RetryConfig::standard()).disable_clock_skew_correction(false);
    let corrects = Client::from_conf(config.build());
    corrects.describe_table().table_name(&bench.table).send().await.expect("the second try is signed by the service's clock");
    let seen: Vec<_> = bench.proxy.requests().iter().map(|recorded| recorded.out_of_time).collect();
    assert_eq!(seen, [1, 0]);
}

#[tokio::test]
async fn delayed_answer_leaves_its_request_executed() {
    let bench = Bench::new(only("PutItem", 0, Fault::Delay(Duration::from_secs(3600)))).await;
    bench.put_and_hang_up("a").await;
    bench.proxy.idle().await;
    assert!(bench.has("a").await);
}

#[tokio::test]
async fn held_write_arrives_after_its_client_gave_up() {
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
async fn waiting_for_idle_can_exclude_held_requests() {
    let gate = Gate::new();
    let held = gate.clone();
    let bench = Bench::new(move |request: &Request| match (request.operation.as_str(), request.nth) {
        ("PutItem", 0) => Fault::Hold(held.clone()),
        ("PutItem", 1) => Fault::HoldFor(Duration::from_secs(1)),
        _ => Fault::Pass,
    })
    .await;
    bench.put_and_hang_up("held").await;
    bench.put_and_hang_up("slow").await;
    bench.proxy.idle_but_for_held().await;
    assert_eq!((bench.has("held").await, bench.has("slow").await), (false, true));
    gate.open();
    bench.proxy.idle().await;
    assert!(bench.has("held").await);
}

#[tokio::test]
async fn simulated_aws_errors_are_recognised_by_the_aws_client() {
    let answers = [
        (Answer::throttling(), "ThrottlingException"),
        (Answer::provisioned_throughput_exceeded(), "ProvisionedThroughputExceededException"),
        (Answer::request_limit_exceeded(), "RequestLimitExceeded"),
        (Answer::transaction_conflict(), "TransactionConflictException"),
        (Answer::unrecognized_client(), "UnrecognizedClientException"),
        (Answer::expired_token(), "ExpiredTokenException"),
        (Answer::invalid_signature(), "InvalidSignatureException"),
        (Answer::skewed_clock(), "InvalidSignatureException"),
        (Answer::unsigned(), "MissingAuthenticationTokenException"),
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
async fn cancelled_transaction_carries_its_reasons() {
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
async fn retried_writes_survive_random_faults() {
    let plan = Seeded { drop_requests: 0.2, drop_answers: 0.2, duplicates: 0.2, only: vec!["PutItem".into()], ..Seeded::new(7) };
    let bench = Bench::new(plan).await;
    for id in (0..20).map(|n| n.to_string()) {
        // Until a response arrives; "it already exists" is one.
        while no_answer(bench.put(&id).await) {}
        assert!(bench.has(&id).await);
    }
    assert!(bench.proxy.count("PutItem") > 20, "the seed produces faults");
}

/// Returns the error that a client gets from a proxy started with these arguments.
fn told_by_the_program(args: &[&str]) -> String {
    use std::io::BufRead as _;
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_fault-proxy"))
        .args(["--upstream", &dynamodb_endpoint(), "--seed", "7"])
        .args(args)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut url = String::new();
    std::io::BufReader::new(program.stdout.take().expect("its output")).read_line(&mut url).expect("a line");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let result = runtime.block_on(client(url.trim()).list_tables().send());
    program.kill().and_then(|()| program.wait()).expect("it ends");
    format!("{result:?}")
}

#[test]
fn proxy_program_prints_its_url_and_injects_faults() {
    for (args, told) in [
        (&["--drop-answers", "1"][..], "IncompleteMessage"),
        (&["--resets", "1"], "ConnectionReset"),
        (&["--truncations", "1"], "IncompleteBody"),
        (&["--refusals", "1"], "Exception"),
        (&["--conflicts", "1"], "Ok("),
        (&["--holds", "1", "--hold-ms", "1"], "Ok("),
        (&["--check-clocks", "5", "--clock-ahead", "-3600"], "Signature not yet current"),
    ] {
        let result = told_by_the_program(args);
        assert!(result.contains(told), "{args:?}: {result}");
    }
}

#[tokio::test]
async fn unreachable_service_is_502() {
    let proxy = FaultProxy::start("http://127.0.0.1:1", |_: &Request| Fault::Pass);
    let error = client(&proxy.url()).list_tables().send().await.expect_err("nobody is there");
    assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(502));
}
