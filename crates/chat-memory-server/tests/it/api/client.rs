//! A client of the service's router, and stores to run it on.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use chat_memory_server::keys::{self, Keys, Right};
use chat_memory_server::{Options, Service, app};
use chat_memory_testkit::{dynamodb_url, sqlite_url};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// The service, and a key to call it with, if it has keys.
#[derive(Clone)]
pub struct Api {
    router: Router,
    pub service: Service,
    key: Option<String>,
    folder: Arc<TempDir>,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("UTF-8")
    }

    /// The body, which must be JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {} {:?}", self.status, self.text()))
    }

    /// The body of a response with this status.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The problem document of an error with this status and kind.
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:chat-memory:problem:{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }

    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("plain text"))
    }
}

impl Api {
    /// The service over the store at this URL, without keys.
    pub fn at(url: &str) -> Self {
        Self::with(url, Options::default())
    }

    /// The same with these options.
    pub fn with(url: &str, options: Options) -> Self {
        Self::of(service(url, options, None))
    }

    /// This service, called without a key.
    pub fn of(service: Service) -> Self {
        Self::new(service, tempfile::tempdir().expect("a temporary folder"))
    }

    /// The service with keys, one client per key: of this namespace, with these rights.
    pub fn locked<const N: usize>(url: &str, wanted: [(Option<&str>, &[Right]); N]) -> [Self; N] {
        Self::locked_as(|keys| service(url, Options::default(), Some(keys)), wanted)
    }

    /// The same for a service that is made with these keys.
    pub fn locked_as<const N: usize>(service: impl FnOnce(Keys) -> Service, wanted: [(Option<&str>, &[Right]); N]) -> [Self; N] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("keys.toml");
        let texts = wanted.map(|(namespace, rights)| keys::create(&file, "test", namespace, rights).expect("a key").1);
        let keys = Keys::open(file).expect("the file of keys");
        let api = Self::new(service(keys), folder);
        texts.map(|text| api.key(text))
    }

    fn new(service: Service, folder: TempDir) -> Self {
        Self { router: app(service.clone()), service, key: None, folder: Arc::new(folder) }
    }

    /// The file of its keys.
    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join("keys.toml")
    }

    /// The same service, called with this key.
    pub fn key(&self, text: impl Into<String>) -> Self {
        Self { key: Some(text.into()), ..self.clone() }
    }

    /// The same service, called without a key.
    pub fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// The id of the key that it is called with.
    pub fn key_id(&self) -> &str {
        self.key.as_deref().and_then(|key| key.split('_').nth(1)).expect("a key")
    }

    /// Sends a request unchanged.
    pub async fn send(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.expect("a router does not fail")
    }

    /// A request with this method, these headers and this body.
    pub fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:8080");
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(body).expect("a request")
    }

    /// The response to a request whose body is sent unchanged.
    pub async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let response = self.send(self.request(method, path, headers, body.into())).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// The response to a request with JSON.
    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.raw(method, path, &headers, body.to_string()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.raw(Method::GET, path, &[], Body::empty()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.raw(Method::DELETE, path, &[], Body::empty()).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.call(Method::POST, path, headers, body).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PATCH, path, &[], body).await
    }

    /// Appends a turn, which must succeed.
    pub async fn turn(&self, session: &str, text: &str) -> Value {
        let body = json!({"messages": [user(&format!("{text}?")), assistant(&format!("{text}!"))]});
        self.post(&messages(session), &[], &body).await.ok(201)
    }

    /// The texts of a session's messages, as a request with this query returns them.
    pub async fn texts(&self, session: &str, query: &str) -> Vec<String> {
        texts(&self.get(&format!("{}{query}", messages(session))).await.ok(200))
    }
}

fn service(url: &str, options: Options, keys: Option<Keys>) -> Service {
    Service::new(url.parse().expect("a store URL"), keys, options).expect("a service")
}

/// The texts of a response's messages.
pub fn texts(answer: &Value) -> Vec<String> {
    let messages = answer["messages"].as_array().expect("messages");
    messages.iter().map(|message| message["content"].as_str().expect("text").to_owned()).collect()
}

/// The path of a session's messages.
pub fn messages(session: &str) -> String {
    format!("/v1/sessions/{session}/messages")
}

pub fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

pub fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// Runs a test on a new store of each kind.
pub async fn everywhere(test: impl AsyncFn(Api)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for url in ["memory:".to_owned(), sqlite_url(folder.path()), dynamodb_url("api").await] {
        println!("on {url}");
        test(Api::at(&url)).await;
    }
}

/// A path segment of this text.
pub fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
