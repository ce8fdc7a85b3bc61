//! Metrics.

use axum::http::Method;
use serde_json::json;

use super::client::{Api, everywhere, messages, user};

/// The value of a sample, 0 if it is missing.
fn value(text: &str, sample: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or(0.0)
}

#[tokio::test]
async fn requests_and_their_cost_are_counted() {
    everywhere(async |api| {
        let body = json!({"messages": [user("one")]});
        let key = [("idempotency-key", "k")];
        let mut units = 0.0;
        for _ in 0..3 {
            units +=
                api.post(&messages("a%20session"), &key, &body).await.ok(201)["cost"]["write_units"].as_f64().expect("a number");
        }
        let position = chat_memory::store::Position::new(0, None, chat_memory::Timestamp::UNIX_EPOCH).to_string();
        api.post(&messages("s"), &[], &body).await.ok(201);
        api.post(&messages("s"), &[("if-match", &position)], &body).await.problem(412, "conflict");
        api.get(&messages("s")).await.ok(200);
        api.get("/nothing/secret").await.problem(404, "not-found");
        api.raw(Method::PUT, "/v1/sessions", &[], "").await.problem(405, "method-not-allowed");

        let metrics = api.get("/metrics").await;
        assert!(metrics.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
        let text = metrics.text();
        let value = |sample: &str| value(text, sample);
        let route = "route=\"/v1/sessions/{session}/messages\"";
        for (sample, expected) in [
            (format!("chat_memory_http_requests_total{{method=\"POST\",{route},status=\"201\"}}"), 4.0),
            (format!("chat_memory_http_requests_total{{method=\"POST\",{route},status=\"412\"}}"), 1.0),
            (format!("chat_memory_http_requests_total{{method=\"GET\",{route},status=\"200\"}}"), 1.0),
            ("chat_memory_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}".into(), 1.0),
            ("chat_memory_http_requests_total{method=\"other\",route=\"/v1/sessions\",status=\"405\"}".into(), 1.0),
            (format!("chat_memory_http_request_seconds_count{{method=\"POST\",{route}}}"), 5.0),
            ("chat_memory_store_operations_total{operation=\"Append\",outcome=\"ok\"}".into(), 4.0),
            ("chat_memory_store_operations_total{operation=\"Append\",outcome=\"conflict\"}".into(), 1.0),
            ("chat_memory_idempotent_replays_total".into(), 2.0),
            ("chat_memory_event_streams".into(), 0.0),
        ] {
            assert_eq!(value(&sample), expected, "{sample}\n{text}");
        }
        assert!(value("chat_memory_store_write_units_total{operation=\"Append\"}") >= units);
        assert!(value("chat_memory_store_requests_total{operation=\"Append\"}") >= 4.0);
        assert!(!text.contains("session\"") && !text.contains("secret") && text.ends_with("# EOF\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn metrics_can_be_disabled_on_the_main_listener() {
    let mut options = chat_memory_server::Options::default();
    options.metrics = false;
    Api::with("memory:", options).get("/metrics").await.problem(404, "not-found");
}
