//! What clients see if the network to DynamoDB loses requests and responses, or the store is slow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use chat_memory_server::Options;
use chat_memory_testkit::{Answer as Refusal, Fault, FaultProxy, Gate, Request, Seeded, dynamodb_endpoint, dynamodb_url};
use serde_json::json;

use super::client::{Api, messages, user};

/// A new table, and its URL through a proxy that causes these faults.
async fn through(plan: impl chat_memory_testkit::Plan) -> (FaultProxy, String) {
    let url = dynamodb_url("http-faults").await;
    let proxy = FaultProxy::start(&dynamodb_endpoint(), plan);
    let url = url.replace(&dynamodb_endpoint(), &proxy.url());
    (proxy, url)
}

fn is_put(request: &Request) -> bool {
    request.operation == "PutItem" || request.operation == "TransactWriteItems"
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answer_yields_one_message_and_one_201() {
    for fault in [Fault::DropAnswer, Fault::DropRequest, Fault::Duplicate, Fault::Repeat] {
        let of_each_put = fault.clone();
        let (proxy, url) =
            through(
                move |request: &Request| {
                    if is_put(request) && request.nth.is_multiple_of(2) { of_each_put.clone() } else { Fault::Pass }
                },
            )
            .await;
        let api = Api::at(&url);
        for n in 0..10 {
            let (key, body) = (format!("k{n}"), json!({"messages": [user(&n.to_string())]}));
            assert_eq!(api.post(&messages("s"), &[("idempotency-key", &key)], &body).await.ok(201)["seq"], n, "{fault:?}");
        }
        let expected: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(api.texts("s", "").await, expected, "{fault:?}");
        proxy.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retrying_clients_lose_and_duplicate_nothing() {
    let plan =
        Seeded { drop_answers: 0.15, drop_requests: 0.1, throttles: 0.05, errors: 0.05, duplicates: 0.05, ..Seeded::new(11) };
    let (proxy, url) = through(plan).await;
    let api = Api::at(&url);
    let clients = (0..8).map(|client| {
        let api = api.clone();
        tokio::spawn(async move {
            for n in 0..10 {
                let (key, body) = (format!("{client}/{n}"), json!({"messages": [user(&format!("{client}/{n}"))]}));
                while api.post(&messages("s"), &[("idempotency-key", &key)], &body).await.status != 201 {}
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client");
    }
    proxy.set_plan(|_: &Request| Fault::Pass);
    proxy.idle().await;
    let mut texts = api.texts("s", "?limit=1000").await;
    texts.sort();
    let mut expected: Vec<_> = (0..80).map(|n| format!("{}/{}", n / 10, n % 10)).collect();
    expected.sort();
    assert_eq!(texts, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_use_of_a_key_is_refused_as_in_flight() {
    let gate = Gate::new();
    let held = gate.clone();
    let (proxy, url) =
        through(move |request: &Request| if is_put(request) { Fault::Hold(held.clone()) } else { Fault::Pass }).await;
    let api = Api::at(&url);
    let (key, body) = ([("idempotency-key", "k")], json!({"messages": [user("once")]}));
    let first = tokio::spawn({
        let (api, body) = (api.clone(), body.clone());
        async move { api.post(&messages("s"), &[("idempotency-key", "k")], &body).await }
    });
    while proxy.requests().iter().all(|recorded| !is_put(&recorded.request)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = api.post(&messages("s"), &key, &body).await;
    second.problem(409, "in-flight");
    assert_eq!(second.header("retry-after"), "1");
    // It does not delay another key, or the same key in another session.
    gate.open();
    assert_eq!(first.await.expect("an answer").ok(201)["seq"], 0);
    let third = api.post(&messages("s"), &key, &body).await;
    assert_eq!((third.ok(201)["seq"].clone(), third.header("idempotent-replayed")), (json!(0), "true"));
    assert_eq!(api.texts("s", "").await, ["once"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_write_completes_after_its_request_times_out() {
    let gate = Gate::new();
    let held = gate.clone();
    let (proxy, url) =
        through(move |request: &Request| if is_put(request) { Fault::Hold(held.clone()) } else { Fault::Pass }).await;
    let mut options = Options::default();
    options.request_timeout = Duration::from_millis(300);
    let api = Api::with(&url, options);
    let (key, body) = ([("idempotency-key", "k")], json!({"messages": [user("once")]}));
    let late = api.post(&messages("s"), &key, &body).await;
    late.problem(503, "timeout");
    assert_eq!(late.header("retry-after"), "1");
    gate.open();
    proxy.idle().await;
    // A shutdown waits for it.
    api.service.stop();
    api.service.finish_writes().await;
    let again = api.post(&messages("s"), &key, &body).await;
    assert_eq!((again.ok(201)["seq"].clone(), again.header("idempotent-replayed")), (json!(0), "true"));
    assert_eq!(api.texts("s", "").await, ["once"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_outcome_returns_a_ticket_that_settles_it() {
    let (proxy, url) = through(|_: &Request| Fault::Pass).await;
    let api = Api::at(&format!("{url}&deadline=1s&request_timeout=500ms"));
    for (number, fault) in [(1, Fault::DropAnswer), (2, Fault::DropRequest)] {
        api.turn("s", "surely").await;
        // From the first write on no response arrives, so the store gives up with the outcome unknown; early, to keep the test
        // short.
        let broken = AtomicBool::new(false);
        proxy.set_plan(move |request: &Request| {
            let breaks = broken.fetch_or(is_put(request), Ordering::SeqCst) || is_put(request);
            if breaks { fault.clone() } else { Fault::Pass }
        });
        let answer = api.post(&messages("s"), &[], &json!({"messages": [user("perhaps")]})).await;
        let problem = answer.problem(503, "in-doubt");
        assert!(!answer.header("retry-after").is_empty());
        proxy.set_plan(|_: &Request| Fault::Pass);
        let with_ticket = json!({"messages": [user("perhaps")], "ticket": problem["ticket"]});
        for _ in 0..2 {
            assert_eq!(api.post(&messages("s"), &[], &with_ticket).await.ok(201)["seq"], 2 * number - 1);
        }
    }
    assert_eq!(api.texts("s", "").await, ["surely?", "surely!", "perhaps", "surely?", "surely!", "perhaps"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_store_is_429_and_unreachable_store_503() {
    let (proxy, url) = through(|_: &Request| Fault::Answer(Refusal::throttling())).await;
    let api = Api::at(&format!("{url}&deadline=1s&request_timeout=500ms"));
    let throttled = api.get(&messages("s")).await;
    throttled.problem(429, "throttled");
    assert!(!throttled.header("retry-after").is_empty());
    proxy.set_plan(|_: &Request| Fault::DropRequest);
    for (method, path) in [(Method::GET, "/v1/sessions"), (Method::GET, "/v1/sessions/s/messages")] {
        let gone = api.raw(method, path, &[], "").await;
        gone.problem(503, "unavailable");
        assert!(!gone.header("retry-after").is_empty());
    }
    api.get("/readyz").await.problem(503, "not-ready");
}
