//! The program that Lambda starts, tested with Lambda's runtime interface as AWS documents it, served here.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chat_memory::store::dynamodb::{Credentials, Options, admin::Admin};
use chat_memory_server::keys::{Right, create};
use chat_memory_testkit::{credentials_env, dynamodb_endpoint, table_name};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

/// Only a hanging program takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The interface: waiting events, and received responses.
struct Interface {
    events: Mutex<mpsc::Receiver<Value>>,
    answers: mpsc::Sender<Value>,
}

async fn next(State(interface): State<Arc<Interface>>) -> Response {
    let Some(event) = interface.events.lock().await.recv().await else { return std::future::pending().await };
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:111122223333:function:chat"),
        ("content-type", "application/json"),
    ];
    (headers, event.to_string()).into_response()
}

async fn answered(State(interface): State<Arc<Interface>>, Path((_, how)): Path<(String, String)>, body: String) -> &'static str {
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    interface.answers.send(json!({ "how": how, "answer": body })).await.expect("the test waits for it");
    "{}"
}

/// A function URL's event.
fn event(method: &str, path: &str, key: &str, body: Option<Value>) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": {
            "authorization": format!("Bearer {key}"), "content-type": "application/json", "host": "abcdefgh.lambda-url.eu-west-1.on.aws",
            "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"
        },
        "requestContext": {
            "accountId": "anonymous", "apiId": "abcdefgh", "domainName": "abcdefgh.lambda-url.eu-west-1.on.aws", "domainPrefix": "abcdefgh",
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "curl/8" },
            "requestId": "d6e5b1f0", "routeKey": "$default", "stage": "$default", "time": "10/Mar/2026:05:16:23 +0000",
            "timeEpoch": 1_773_119_783_000_u64
        },
        "body": body.map(|body| body.to_string()), "isBase64Encoded": false
    })
}

fn program() -> tokio::process::Command {
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_chat-memory-lambda"));
    program.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    program
}

#[tokio::test]
async fn lambda_program_answers_events() {
    let (endpoint, table) = (dynamodb_endpoint(), table_name("lambda"));
    let options = Options::new(&table)
        .with_region("us-east-1")
        .with_endpoint(&endpoint)
        .with_credentials(Credentials::new("local", "local"));
    Admin::open(&options).await.expect("a client").create_table().await.expect("a table");
    let folder = tempfile::tempdir().expect("a folder");
    let (_, key) = create(&folder.path().join("keys.toml"), "test", Some("acme"), &[Right::Read, Right::Write]).expect("a key");

    let ((send, events), (answers, mut receive)) = (mpsc::channel(4), mpsc::channel(4));
    let interface = Arc::new(Interface { events: Mutex::new(events), answers });
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/{how}", post(answered))
        .with_state(interface);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });

    // As Lambda starts it: in the deployment package's folder, with the function's environment.
    let program = program()
        .current_dir(folder.path())
        .envs(credentials_env())
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .envs([
            ("AWS_LAMBDA_FUNCTION_NAME", "chat"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ])
        .envs([("AWS_REGION", "us-east-1"), ("CHAT_MEMORY_KEYS", "keys.toml")])
        .env("CHAT_MEMORY_STORE", format!("dynamodb://{table}?endpoint={endpoint}"))
        .spawn()
        .expect("the program");

    let mut ask = async |event: Value| {
        send.send(event).await.expect("the interface takes it");
        let answered = tokio::time::timeout(PATIENCE, receive.recv()).await.expect("an answer").expect("an answer");
        assert_eq!(answered["how"], "response", "{answered}");
        answered["answer"].clone()
    };
    let path = "/v1/sessions/team%2F7/messages";
    let body = json!({ "messages": [{ "role": "user", "content": "Hello, Lambda" }] });
    let appended = ask(event("POST", path, &key, Some(body))).await;
    assert_eq!(appended["statusCode"], 201, "{appended}");
    let refused = ask(event("GET", path, "cm_0123456789ab_wrong", None)).await;
    assert_eq!(refused["statusCode"], 401, "{refused}");
    let read = ask(event("GET", path, &key, None)).await;
    let messages: Value = serde_json::from_str(read["body"].as_str().unwrap_or_default()).expect("JSON");
    assert_eq!(messages["messages"][0]["content"], "Hello, Lambda", "{read}");

    let mut program = program;
    program.start_kill().expect("it runs still");
    let log = String::from_utf8(program.wait_with_output().await.expect("it ended").stderr).expect("text");
    let line: Value = log.lines().find_map(|line| serde_json::from_str(line).ok()).expect("a line of JSON for each request");
    assert_eq!((&line["status"], &line["client"]), (&json!(201), &json!("203.0.113.7")), "{line}");
    assert!(log.contains("8476a536-e9f4-11e8-9739-2dfe598c3fcd"), "by Lambda's own id: {log}");
    assert!(!log.contains(&key) && !log.contains("Hello"), "{log}");
}

#[tokio::test]
async fn misconfigured_function_exits_with_an_error() {
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[("CHAT_MEMORY_STORE", "dynamodb://chats")], "this is not AWS Lambda"),
        (&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9"), ("CHAT_MEMORY_STORE", "dynamodb://chats")], "CHAT_MEMORY_KEYS_TEXT"),
        (&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9"), ("CHAT_MEMORY_KEYS", "keys.toml")], "CHAT_MEMORY_STORE"),
    ];
    for (variables, said) in cases {
        let output = program().envs(variables.iter().copied()).output().await.expect("the program");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(said), "{variables:?}: {errors}");
    }
}
