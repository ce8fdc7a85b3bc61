//! Refused requests, and their errors.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use chat_memory_server::Options;
use chat_memory_server::keys::Right;
use serde_json::{Value, json};

use super::client::{Api, messages, user};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test]
async fn json_body_errors_give_line_and_column() {
    let api = Api::at("memory:");
    for (body, line, column) in [
        ("", 1, 1),
        ("{\n \"messages\": [,]}", 2, 15),
        ("{\"messages\": []} x", 1, 18),
        ("[1,\n2", 2, 2),
        ("{\"messages\": [{\"role\": \"user\",\n \"role\": \"user\", \"content\": \"x\"}]}", 2, 2),
        ("{\"messages\": [{\"role\": \"user\", \"content\": \"x\", \"n\": 1e999}]}", 1, 53),
    ] {
        let problem = api.raw(Method::POST, &messages("s"), &JSON, body).await.problem(400, "bad-request");
        assert_eq!((&problem["line"], &problem["column"]), (&json!(line), &json!(column)), "{body:?}: {problem}");
    }
    let problem =
        api.raw(Method::POST, &messages("s"), &JSON, &b"{\"messages\": \"\xff\"}"[..]).await.problem(400, "bad-request");
    assert_eq!(problem["byte"], 14);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    api.raw(Method::POST, &messages("s"), &JSON, deep).await.problem(400, "bad-request");
    assert_eq!(api.texts("s", "").await, [""; 0]);
}

/// The same sentences as in the library and the program, from `testdata/refused.json`.
#[tokio::test]
async fn refused_input_has_the_same_error_text_everywhere() {
    let api = Api::at("memory:");
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../../../../testdata/refused.json")).expect("a list");
    let hex = |text: &str| -> Vec<u8> {
        text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("hex"), 16).expect("hex")).collect()
    };
    for case in cases {
        let says = case["says"].as_str().expect("a text");
        let text = case["text"].as_str().map(|text| text.as_bytes().to_vec()).or_else(|| case["bytes"].as_str().map(hex));
        if let Some(body) = text {
            let problem = api.raw(Method::POST, &messages("s"), &JSON, body).await.problem(400, "bad-request");
            assert_eq!(problem["detail"], says, "{}", case["name"]);
        } else {
            let path = format!("{}?format={}", messages("s"), case["format"].as_str().expect("a text"));
            let body = json!({"messages": [case["message"]]});
            let problem = api.post(&path, &[], &body).await.problem(422, "invalid");
            assert_eq!(problem["detail"], format!("{says} (at \"/messages/0\")"), "{}", case["name"]);
        }
    }
    assert_eq!(api.texts("s", "").await, [""; 0]);
}

#[tokio::test]
async fn body_may_start_with_a_byte_order_mark() {
    let api = Api::at("memory:");
    let body = "\u{feff}{\"messages\": [{\"role\": \"user\", \"content\": \"\u{feff}x\"}]}";
    api.raw(Method::POST, &messages("s"), &JSON, body).await.ok(201);
    assert_eq!(api.texts("s", "").await, ["\u{feff}x"]);
}

/// A message in a request may nest as deeply as anywhere else.
#[tokio::test]
async fn message_may_be_as_deep_as_the_limit() {
    let api = Api::at("memory:");
    let message =
        |levels: usize| json!({"role": "user", "content": "x", "deep": (1..levels).fold(json!(1), |inner, _| json!([inner]))});
    api.post(&messages("s"), &[], &json!({"messages": [message(100)]})).await.ok(201);
    let problem = api.post(&messages("s"), &[], &json!({"messages": [message(101)]})).await.problem(422, "invalid");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("the limit is 100 levels")), "{problem}");
}

#[tokio::test]
async fn invalid_values_are_named_by_json_pointer() {
    let api = Api::at("memory:");
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for (body, pointer) in [
        (json!([]), ""),
        (json!([[user("x")]]), ""),
        (json!("hello"), ""),
        (json!(null), ""),
        (json!({}), "/messages"),
        (json!({"messages": []}), "/messages"),
        (json!({"messages": null}), "/messages"),
        (json!({"messages": "hello"}), "/messages"),
        (json!({"messages": [user("x"), 1]}), "/messages/1"),
        (json!({"messages": [user("x"), {"role": "bot", "content": "x"}]}), "/messages/1"),
        (json!({"messages": [{"content": "x"}]}), "/messages/0"),
        (json!({"messages": [{"role": "user", "content": 1}]}), "/messages/0"),
        (json!({"messages": [{"role": "user", "content": "x", "openai_role": "developer"}], "metadata": {}}), ""),
        (json!({"messages": [user("x")], "metadata": []}), "/metadata"),
        (json!({"messages": [user("x")], "owner": ""}), "/owner"),
        (json!({"messages": [user("x")], "owner": "x".repeat(513)}), "/owner"),
        (json!({"messages": [user("x")], "title": "a\nb"}), "/title"),
        (json!({"messages": [user("x")], "title": "x".repeat(1025)}), "/title"),
        (json!({"messages": [user("x")], "ticket": "x"}), "/ticket"),
        (json!({"messages": [{"role": "user", "content": "x", "deep": deep(96)}]}), "ok"),
        (json!({"messages": [user("x")], "metadata": {"deep": deep(100)}}), "/metadata"),
        (json!({"entries": []}), "/entries"),
        (json!({"entries": [1]}), "/entries/0"),
        (json!({"messages": [user("x")], "surprise": 1}), ""),
    ] {
        let answer = api.post(&messages("s"), &[], &body).await;
        if answer.status == 201 {
            continue;
        }
        let problem = answer.problem(422, "invalid");
        assert!(problem["pointer"] == pointer || problem["pointer"] == "/surprise", "{body}: {problem}");
    }
    let keyed = [("idempotency-key", "k")];
    let only_new = json!({"messages": [user("x")], "only_new": true});
    assert_eq!(api.post(&messages("s"), &keyed, &only_new).await.problem(422, "invalid")["pointer"], "/only_new");
}

#[tokio::test]
async fn body_of_another_shape_is_answered_with_an_example_that_the_route_accepts() {
    let api = Api::at("memory:");
    api.turn("s", "x").await;
    for (method, path) in [
        (Method::POST, messages("s")),
        (Method::POST, "/v1/sessions/s/rewind".into()),
        (Method::POST, "/v1/sessions/s/records/0/redact".into()),
        (Method::POST, "/v1/sessions/s/fork".into()),
        (Method::PATCH, "/v1/sessions/s".into()),
    ] {
        let problem = api.raw(method.clone(), &path, &JSON, "[]").await.problem(422, "invalid");
        assert_eq!(problem["pointer"], "");
        let detail = problem["detail"].as_str().expect("a text");
        let example = detail.strip_prefix("invalid body: expected a JSON object such as ").expect(detail);
        let example = example.strip_suffix(" (at \"\")").expect(detail).to_owned();
        let answer = api.raw(method, &path, &JSON, example.clone()).await;
        assert!(answer.status.is_success(), "{path}: {example}: {}", answer.text());
    }
}

#[tokio::test]
async fn body_must_have_a_json_content_type() {
    let api = Api::at("memory:");
    let body = json!({"messages": [user("x")]}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""] {
        api.raw(Method::POST, &messages("s"), &[("content-type", kind)], body.clone()).await.problem(415, "not-json");
    }
    api.raw(Method::POST, &messages("s"), &[], body.clone()).await.problem(415, "not-json");
    let answer = api.raw(Method::POST, &messages("s"), &[("content-type", "Application/JSON ; charset=utf-8")], body).await;
    answer.ok(201);
}

#[tokio::test]
async fn oversized_bodies_and_paths_are_refused_with_the_limit() {
    let mut options = Options::default();
    (options.max_body, options.max_path) = (1_000, 500);
    let api = Api::with("memory:", options);
    let long = json!({"messages": [user(&"x".repeat(1_000))]}).to_string();
    let announced = [JSON[0], ("content-length", "100000000")];
    for (headers, body) in [(&announced[..], "{}".to_owned()), (&JSON[..], long)] {
        let problem = api.raw(Method::POST, &messages("s"), headers, body).await.problem(413, "too-large");
        assert_eq!(problem["limit"], 1_000);
    }
    // The length is not announced.
    let endless = futures_util::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>("x".repeat(100))));
    api.raw(Method::POST, &messages("s"), &JSON, Body::from_stream(endless)).await.problem(413, "too-large");
    let problem = api.get(&format!("/v1/sessions?owner={}", "x".repeat(500))).await.problem(414, "path-too-long");
    assert_eq!(problem["limit"], 500);
    assert_eq!(api.texts("s", "").await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn late_body_is_refused() {
    let mut options = Options::default();
    options.request_timeout = Duration::from_secs(5);
    let api = Api::with("memory:", options);
    let never = futures_util::stream::pending::<Result<String, std::io::Error>>();
    api.raw(Method::POST, &messages("s"), &JSON, Body::from_stream(never)).await.problem(408, "timeout");
    let broken = futures_util::stream::iter([Ok("{\"messages\""), Err(std::io::Error::other("gone"))]);
    api.raw(Method::POST, &messages("s"), &JSON, Body::from_stream(broken)).await.problem(400, "bad-request");
}

#[tokio::test]
async fn unsupported_method_lists_the_allowed_ones() {
    let api = Api::at("memory:");
    for (method, path, allow) in [
        (Method::PUT, messages("s"), "DELETE,GET,HEAD,POST"),
        (Method::PATCH, messages("s"), "DELETE,GET,HEAD,POST"),
        (Method::OPTIONS, messages("s"), "DELETE,GET,HEAD,POST"),
        (Method::TRACE, messages("s"), "DELETE,GET,HEAD,POST"),
        (Method::POST, "/v1/sessions/s".into(), "DELETE,GET,HEAD,PATCH"),
        (Method::DELETE, "/v1/sessions".into(), "GET,HEAD"),
        (Method::GET, "/v1/sessions/s/rewind".into(), "POST"),
        (Method::POST, "/v1/sessions/s/events".into(), "GET,HEAD"),
        (Method::POST, "/healthz".into(), "GET,HEAD"),
        (Method::POST, "/readyz".into(), "GET,HEAD"),
        (Method::DELETE, "/metrics".into(), "GET,HEAD"),
        (Method::POST, "/openapi.json".into(), "GET,HEAD"),
        (Method::POST, "/docs/".into(), "GET,HEAD"),
    ] {
        let answer = api.raw(method, &path, &[], "").await;
        answer.problem(405, "method-not-allowed");
        let mut given: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        given.sort_unstable();
        assert_eq!(given.join(","), allow, "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_return_a_problem_document() {
    let api = Api::at("memory:");
    for path in ["/v2", "/v1/sessions/s/nothing", "/docs/nothing.js", "/%FF", "/docs/%FF", "/favicon.ico", "//"] {
        let answer = api.get(path).await;
        assert!(answer.status.is_client_error(), "{path}");
        answer.problem(answer.status.as_u16(), if answer.status == 404 { "not-found" } else { "bad-request" });
    }
    assert_eq!(api.raw(Method::HEAD, "/v2", &[], "").await.status, 404);
}

#[tokio::test]
async fn malformed_percent_escape_in_the_path_is_refused() {
    let api = Api::at("memory:");
    for id in ["%zz", "%", "a%2", "%FF", "%2", "50%25%"] {
        for path in [format!("/v1/sessions/{id}"), format!("/v1/sessions/{id}/messages"), format!("/v1/threads/{id}")] {
            let problem = api.get(&path).await.problem(400, "bad-request");
            assert!(problem["detail"].as_str().is_some_and(|said| said.contains("two hexadecimal digits")), "{path}: {problem}");
        }
        api.delete(&format!("/v1/owners/{id}/sessions")).await.problem(400, "bad-request");
        api.post(&format!("/v1/sessions/{id}/records/0/redact"), &[], &json!({})).await.problem(400, "bad-request");
    }
    api.turn("%25zz", "x").await;
    assert_eq!(api.texts("%25zz", "").await, ["x?", "x!"], "an escaped percent sign");
}

#[tokio::test]
async fn service_without_keys_answers_known_host_names_only() {
    let mut options = Options::default();
    options.hosts = vec!["memory.example".into()];
    let api = Api::with("memory:", options);
    let get = async |host: &str| api.raw(Method::GET, "/v1/sessions", &[("host", host)], "").await;
    for own in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]:8080",
        "[::1]",
        "memory.example:8080",
        "Memory.Example",
    ] {
        assert_eq!(get(own).await.status, 200, "{own}");
    }
    for foreign in
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "192.168.0.1", "0.0.0.0", "[::2]", "", "a b", "é"]
    {
        get(foreign).await.problem(421, "misdirected");
    }
    // HTTP/2 has the host in the target.
    let mut request = api.request(Method::GET, "http://evil.example/v1/sessions", &[("host", "localhost")], Body::empty());
    assert_eq!(api.send(request).await.status(), 421);
    request = api.request(Method::GET, "http://localhost/v1/sessions", &[("host", "localhost")], Body::empty());
    assert_eq!(api.send(request).await.status(), 200);
    let at = |site: &'static str| [("sec-fetch-site", site), ("origin", "https://evil.example")];
    api.post(&messages("s"), &at("cross-site"), &json!({"messages": [user("x")]})).await.problem(403, "forbidden");
    api.post(&messages("s"), &at("same-origin"), &json!({"messages": [user("x")]})).await.ok(201);
}

#[tokio::test]
async fn cors_is_answered_for_configured_origins_only() {
    let preflight =
        [("origin", "https://app.example"), ("access-control-request-method", "POST"), ("sec-fetch-site", "cross-site")];
    let none = Api::at("memory:");
    let answer = none.raw(Method::OPTIONS, &messages("s"), &preflight, "").await;
    assert!(answer.status == 403 && answer.header("access-control-allow-origin").is_empty());
    let read = none.raw(Method::GET, "/v1/sessions", &preflight[..1], "").await;
    assert!(read.status == 200 && read.header("access-control-allow-origin").is_empty());

    let mut options = Options::default();
    options.cors_origins = vec!["https://app.example".into()];
    let api = Api::with("memory:", options);
    let answer = api.raw(Method::OPTIONS, &messages("s"), &preflight, "").await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, "https://app.example"));
    let allowed = answer.header("access-control-allow-headers");
    assert!(["authorization", "idempotency-key", "if-match"].iter().all(|name| allowed.contains(name)), "{allowed}");
    let from = [("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    let done = api.post(&messages("s"), &from, &json!({"messages": [user("x")]})).await;
    done.ok(201);
    assert!(done.header("access-control-expose-headers").contains("etag"));
    // Also why it was refused.
    let refused = api.post(&messages("s"), &[from[0], ("host", "evil.example")], &json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (421, "https://app.example"));
    let other = api.raw(Method::GET, "/v1/sessions", &[("origin", "https://evil.example")], "").await;
    assert_eq!(other.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn valid_request_id_is_echoed() {
    let api = Api::at("memory:");
    let get =
        async |id: &str| api.raw(Method::GET, "/healthz", &[("x-request-id", id)], "").await.header("x-request-id").to_owned();
    assert_eq!(get("abc-1.2_3").await, "abc-1.2_3");
    for wrong in ["a b", "", "<script>", &"x".repeat(65)] {
        assert_ne!(get(wrong).await, wrong);
    }
}

#[tokio::test]
async fn stopping_service_is_not_ready_but_still_answers() {
    let api = Api::at("memory:");
    assert_eq!(api.get("/healthz").await.text(), "ok\n");
    assert_eq!(api.get("/readyz").await.text(), "ready\n");
    assert_eq!(api.raw(Method::HEAD, "/readyz", &[], "").await.status, 200);
    api.service.stop();
    let not = api.get("/readyz").await;
    not.problem(503, "not-ready");
    assert_eq!(not.header("retry-after"), "1");
    // Requests are still answered: a load balancer needs a moment to notice.
    assert_eq!(api.get("/healthz").await.status, 200);
    api.turn("s", "late").await;
    api.service.finish_writes().await;
}

#[tokio::test]
async fn unopenable_store_is_explained_to_operators_only() {
    let open = Api::at("sqlite:/dev/null/secret/chat.db");
    open.get("/readyz").await.problem(503, "not-ready");
    let problem = open.get("/v1/sessions").await;
    assert!(problem.problem(503, "unavailable")["detail"].as_str().is_some_and(|detail| detail.contains("secret")));
    assert!(!problem.header("retry-after").is_empty());

    let [locked] = Api::locked("sqlite:/dev/null/secret/chat.db", [(Some("acme"), &[Right::Read])]);
    for path in ["/readyz", "/v1/sessions", "/v1/sessions/s/messages"] {
        let answer = locked.get(path).await;
        assert_eq!(answer.status, 503);
        assert!(!answer.text().contains("secret") && !answer.text().contains("acme"), "{}", answer.text());
    }
}
