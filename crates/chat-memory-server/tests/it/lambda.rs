//! Lambda's events, in the shapes that AWS documents, through `lambda_http`'s own types: event in, response out, both as JSON.

use chat_memory_server::Service;
use chat_memory_server::config::Settings;
use chat_memory_server::keys::{Keys, Right, create};
use chat_memory_server::lambda::{defaults, handler, options, service};
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use lambda_http::tower::Service as _;
use lambda_http::{Adapter, request::LambdaRequest};
use serde_json::{Value, json};

/// The front end through which a request reaches the function.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Front {
    FunctionUrl,
    /// An HTTP API with payload format 2.0, with its stage `$default` or a named one.
    HttpApi(&'static str),
    /// A REST API, with a proxy integration.
    RestApi,
    Alb,
    /// A target group with multi-value headers.
    AlbMulti,
}

const FRONTS: [Front; 6] =
    [Front::FunctionUrl, Front::HttpApi("$default"), Front::HttpApi("prod"), Front::RestApi, Front::Alb, Front::AlbMulti];

/// A request as a client sends it.
struct Sent<'a> {
    method: &'a str,
    /// Percent-encoded.
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    headers: Vec<(&'a str, String)>,
    body: Option<&'a str>,
    base64: bool,
}

impl<'a> Sent<'a> {
    fn new(method: &'a str, path: &'a str, key: &str) -> Self {
        let headers = vec![("authorization", format!("Bearer {key}"))];
        Self { method, path, query: &[], headers, body: None, base64: false }
    }

    fn json(mut self, body: &'a str) -> Self {
        self.headers.push(("content-type", "application/json".into()));
        self.body = Some(body);
        self
    }

    fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..self }
    }
}

/// The event that AWS makes from a request.
fn event(front: Front, sent: &Sent) -> Value {
    let host = match front {
        Front::FunctionUrl => "abcdefgh.lambda-url.eu-west-1.on.aws",
        Front::HttpApi(_) | Front::RestApi => "abcdefgh.execute-api.eu-west-1.amazonaws.com",
        Front::Alb | Front::AlbMulti => "balancer-1234.eu-west-1.elb.amazonaws.com",
    };
    let mut headers = sent.headers.clone();
    headers.extend([
        ("host", host.into()),
        ("x-forwarded-proto", "https".into()),
        ("x-forwarded-for", "6.6.6.6, 203.0.113.7".into()),
    ]);
    let single: Value =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into();
    let multi: Value =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect::<serde_json::Map<_, _>>().into();
    let body = sent.body.map(|body| if sent.base64 { base64(body) } else { body.to_owned() });
    let encoded = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let decoded = percent_encoding::percent_decode_str(sent.path).decode_utf8_lossy().into_owned();
    let raw_query: Vec<_> = sent.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    match front {
        Front::FunctionUrl | Front::HttpApi(_) => {
            let (stage, path) = match front {
                // It decodes the path, and prepends a named stage.
                Front::HttpApi("$default") => ("$default", decoded),
                Front::HttpApi(stage) => (stage, format!("/{stage}{decoded}")),
                _ => ("$default", sent.path.to_owned()),
            };
            json!({
                "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": raw_query.join("&"),
                "headers": single, "isBase64Encoded": sent.base64, "body": body,
                "requestContext": {
                    "accountId": "111122223333", "apiId": "abcdefgh", "domainName": host, "domainPrefix": "abcdefgh",
                    "http": { "method": sent.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "curl/8" },
                    "requestId": "JKJaXmPLvHcESHA=", "routeKey": "$default", "stage": stage,
                    "time": "10/Mar/2026:05:16:23 +0000", "timeEpoch": 1_773_119_783_000_u64
                }
            })
        }
        Front::RestApi => {
            let query: serde_json::Map<_, _> =
                sent.query.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let multi_query: serde_json::Map<_, _> =
                sent.query.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect();
            json!({
                "resource": "/{proxy+}", "path": sent.path, "httpMethod": sent.method, "headers": single, "multiValueHeaders": multi,
                "queryStringParameters": (!query.is_empty()).then_some(query),
                "multiValueQueryStringParameters": (!multi_query.is_empty()).then_some(multi_query),
                "pathParameters": { "proxy": &sent.path[1..] }, "stageVariables": null,
                "requestContext": {
                    "resourceId": "123456", "resourcePath": "/{proxy+}", "httpMethod": sent.method, "path": format!("/prod{}", sent.path),
                    "accountId": "111122223333", "protocol": "HTTP/1.1", "stage": "prod", "domainName": host, "domainPrefix": "abcdefgh",
                    "requestTimeEpoch": 1_773_119_783_000_u64, "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
                    "identity": { "sourceIp": "203.0.113.7", "userAgent": "curl/8" }, "apiId": "abcdefgh"
                },
                "body": body, "isBase64Encoded": sent.base64
            })
        }
        Front::Alb | Front::AlbMulti => {
            // It leaves the query's parameters encoded.
            let query: serde_json::Map<_, _> =
                sent.query.iter().map(|(name, value)| (encoded(name), json!(encoded(value)))).collect();
            let multi_query: serde_json::Map<_, _> =
                sent.query.iter().map(|(name, value)| (encoded(name), json!([encoded(value)]))).collect();
            let target = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/chat/0123456789abcdef";
            let mut event = json!({
                "requestContext": { "elb": { "targetGroupArn": target } },
                "httpMethod": sent.method, "path": sent.path, "body": body.unwrap_or_default(), "isBase64Encoded": sent.base64
            });
            if front == Front::AlbMulti {
                event["multiValueHeaders"] = multi;
                event["multiValueQueryStringParameters"] = multi_query.into();
            } else {
                event["headers"] = single;
                event["queryStringParameters"] = query.into();
            }
            event
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The function's response to an event.
async fn answer(service: &Service, event: &Value) -> Value {
    let event: LambdaRequest = serde_json::from_str(&event.to_string()).expect("an event that lambda_http knows");
    let mut function = Adapter::from(handler(service.clone()));
    let mut context = Context::default();
    context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".into();
    let answer = function.call(LambdaEvent::new(event, context)).await.expect("an answer");
    serde_json::to_value(answer).expect("JSON")
}

async fn ask(service: &Service, front: Front, sent: &Sent<'_>) -> Answer {
    Answer(answer(service, &event(front, sent)).await)
}

#[derive(Debug)]
struct Answer(Value);

impl Answer {
    fn status(&self) -> u64 {
        self.0["statusCode"].as_u64().expect("a status")
    }

    fn body(&self) -> Value {
        assert_eq!(self.0["isBase64Encoded"], false, "text is handed on as text: {self:?}");
        serde_json::from_str(self.0["body"].as_str().expect("a body")).expect("JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.0["headers"][name].as_str().or_else(|| self.0["multiValueHeaders"][name][0].as_str())
    }
}

/// A service on a store in memory, and a key with all rights.
fn started() -> (Service, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.toml");
    let (_, key) = create(&path, "test", Some("acme"), &[Right::Read, Right::Write]).expect("a key");
    let text = std::fs::read_to_string(&path).expect("the file");
    let keys = Keys::of_text(&text, "the test").expect("keys");
    (Service::new("memory:".parse().expect("a URL"), Some(keys), options(&defaults())).expect("a service"), key)
}

const TURN: &str =
    r#"{"messages": [{"role": "user", "content": "Grüße \"to\" you"}, {"role": "assistant", "content": "Hello."}]}"#;

#[tokio::test]
async fn every_lambda_front_end_appends_and_reads() {
    for front in FRONTS {
        let (service, key) = started();
        let path = "/v1/sessions/a%20b%C3%BC%25/messages";
        let mut append = Sent::new("POST", path, &key).json(TURN);
        append.headers.push(("idempotency-key", "one".into()));
        let appended = ask(&service, front, &append).await;
        assert_eq!(appended.status(), 201, "{front:?} {appended:?}");
        assert_eq!(appended.body()["seq"], 0, "{front:?}");
        assert!(appended.header("etag").is_some(), "{front:?} {appended:?}");
        assert_eq!(appended.header("x-request-id"), Some("8476a536-e9f4-11e8-9739-2dfe598c3fcd"), "{front:?}");
        // The repeat arrives encoded, as some front ends send every body.
        append.base64 = true;
        let again = ask(&service, front, &append).await;
        assert_eq!((again.status(), again.header("idempotent-replayed")), (201, Some("true")), "{front:?} {again:?}");
        let read = ask(&service, front, &Sent::new("GET", path, &key).query(&[("last", "1"), ("format", "openai")])).await;
        assert_eq!((read.status(), &read.body()["messages"][0]["content"]), (200, &json!("Hello.")), "{front:?} {read:?}");
        let listed = ask(&service, front, &Sent::new("GET", "/v1/sessions", &key)).await;
        assert_eq!(listed.body()["sessions"][0]["id"], "a bü%", "{front:?} {listed:?}");
    }
}

#[tokio::test]
async fn lambda_requires_a_key_but_no_host_name() {
    let (service, key) = started();
    for front in FRONTS {
        for wrong in ["", "cm_0123456789ab_wrong"] {
            let refused = ask(&service, front, &Sent::new("GET", "/v1/sessions/a/messages", wrong)).await;
            assert_eq!(refused.status(), 401, "{front:?} {refused:?}");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"chat-memory\""), "{front:?}");
            assert_eq!(refused.body()["type"], "urn:chat-memory:problem:unauthorized", "{front:?}");
        }
        let read = ask(&service, front, &Sent::new("GET", "/v1/sessions/a/messages", &key)).await;
        assert_eq!((read.status(), &read.body()["messages"]), (200, &json!([])), "{front:?} {read:?}");
        assert_eq!(ask(&service, front, &Sent::new("GET", "/healthz", "")).await.status(), 200, "{front:?}");
    }
}

#[tokio::test]
async fn encoded_slash_survives_except_through_an_http_api() {
    for front in FRONTS {
        let (service, key) = started();
        let appended = ask(&service, front, &Sent::new("POST", "/v1/sessions/team%2F7%3F%23/messages", &key).json(TURN)).await;
        // An HTTP API decodes the path first, so this is another path.
        let expected = if matches!(front, Front::HttpApi(_)) { 404 } else { 201 };
        assert_eq!(appended.status(), expected, "{front:?} {appended:?}");
        let listed = ask(&service, front, &Sent::new("GET", "/v1/sessions", &key)).await.body();
        let names: Vec<_> = listed["sessions"].as_array().expect("a list").iter().map(|one| &one["id"]).collect();
        assert_eq!(names.contains(&&json!("team/7?#")), expected == 201, "{front:?} {listed}");
    }
}

#[tokio::test]
async fn event_stream_is_refused_on_lambda() {
    let (service, key) = started();
    for front in FRONTS {
        let refused = ask(&service, front, &Sent::new("GET", "/v1/sessions/a/events", &key)).await;
        assert_eq!(refused.status(), 501, "{front:?} {refused:?}");
        assert!(refused.body()["detail"].as_str().is_some_and(|detail| detail.contains("whole")), "{front:?}");
    }
}

#[tokio::test]
async fn response_too_large_for_the_front_end_is_a_problem() {
    let (service, key) = started();
    // 700 KB of quotes are 1.4 MB of JSON, and twice that as JSON in JSON: more than a load balancer takes, less than the others
    // do.
    let body = json!({ "messages": [{ "role": "user", "content": "\"".repeat(700_000) }] }).to_string();
    let append = Sent::new("POST", "/v1/sessions/a/messages", &key).json(&body);
    assert_eq!(ask(&service, Front::FunctionUrl, &append).await.status(), 201);
    for front in FRONTS {
        let read = ask(&service, front, &Sent::new("GET", "/v1/sessions/a/messages", &key)).await;
        let expected = if matches!(front, Front::Alb | Front::AlbMulti) { 422 } else { 200 };
        assert_eq!(read.status(), expected, "{front:?}");
        assert!(read.0.to_string().len() < if expected == 200 { 6_291_556 } else { 1_048_576 });
    }
    for _ in 0..2 {
        assert_eq!(ask(&service, Front::FunctionUrl, &append).await.status(), 201);
    }
    let refused = ask(&service, Front::FunctionUrl, &Sent::new("GET", "/v1/sessions/a/messages", &key)).await;
    assert_eq!((refused.status(), refused.body()["type"].as_str()), (422, Some("urn:chat-memory:problem:invalid")));
    let last =
        ask(&service, Front::FunctionUrl, &Sent::new("GET", "/v1/sessions/a/messages", &key).query(&[("last", "1")])).await;
    assert_eq!(last.status(), 200, "what the problem says to do");
}

#[test]
fn lambda_settings_are_checked_before_any_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys.toml");
    create(&file, "test", None, &[Right::Read]).expect("a key");
    let text = std::fs::read_to_string(&file).expect("the file");
    let file = file.to_str().expect("a path");
    let with = |store: Option<&str>, keys: Option<&str>, text: Option<&str>| {
        let (store, keys, keys_text) = (store.map(Into::into), keys.map(Into::into), text.map(Into::into));
        service(&Settings { store, keys, keys_text, ..defaults() })
    };
    let table = Some("dynamodb://chats");
    for (keys, text) in [(Some(file), None), (None, Some(text.as_str()))] {
        assert!(with(table, keys, text).expect("a service").keys().is_some());
    }
    let wrong = [
        (None, Some(file), None, "CHAT_MEMORY_STORE"),
        (Some("dynamodb:"), Some(file), None, "the store"),
        (Some("sqlite:chats.db"), Some(file), None, "lost"),
        (table, None, None, "CHAT_MEMORY_KEYS_TEXT"),
        (table, Some(file), Some(text.as_str()), "give only one"),
        (table, None, Some("version = 1"), "no API key"),
        (table, Some("nowhere.toml"), None, "nowhere.toml"),
    ];
    for (store, keys, text, said) in wrong {
        let error = with(store, keys, text).expect_err("refused").to_string();
        assert!(error.contains(said), "{store:?} {keys:?}: {error}");
    }
}
