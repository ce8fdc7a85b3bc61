//! A test browser: it fetches pages, and submits the forms that it finds in them.

use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use chat_memory::Role;
use chat_memory_server::keys::{Keys, Right, create};
use chat_memory_server::{Options, Service, app};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// A service in memory.
pub struct Site {
    router: Router,
    folder: TempDir,
}

impl Site {
    /// A service without keys.
    pub fn open() -> Self {
        Self::new("memory:", false)
    }

    /// A service without keys on this store.
    pub fn on(store: &str) -> Self {
        Self::new(store, false)
    }

    /// A service with keys.
    pub fn locked() -> Self {
        Self::new("memory:", true)
    }

    fn new(store: &str, locked: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        let keys = locked.then(|| {
            create(&path, "first", None, &[Right::Metrics]).expect("a key");
            Keys::open(&path).expect("the keys")
        });
        let service = Service::new(store.parse().expect("a URL"), keys, Options::default()).expect("a service");
        Self { router: app(service), folder }
    }

    pub fn keys_path(&self) -> PathBuf {
        self.folder.path().join("keys.toml")
    }

    /// Creates a key and returns its id and its text. The service restarts, so that it knows the key at once.
    pub fn key(&self, name: &str, namespace: Option<&str>, rights: &[Right]) -> (String, String) {
        let (key, text) = create(&self.keys_path(), name, namespace, rights).expect("a key");
        // A running service notices it within a second.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        (key.id, text)
    }

    pub fn client(&self) -> Client {
        Client { router: self.router.clone(), headers: Vec::new() }
    }

    /// A client who logged in.
    pub async fn log_in(&self, key: &str) -> Client {
        let client = self.client();
        let form = client.get("/console/login").await.form("/console/login");
        let done = client.post(&form, &[("key", key)]).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        client.logged_in(&done)
    }

    /// Appends through the API.
    pub async fn append(&self, session: &str, messages: &[(Role, &str)]) {
        let messages: Vec<Value> = messages.iter().map(|(role, text)| json!({"role": role.as_str(), "content": text})).collect();
        self.write(session, "/messages", &json!({ "messages": messages })).await;
    }

    /// Sends a body to an address below a session through the API.
    pub async fn write(&self, session: &str, below: &str, body: &Value) {
        let request = Request::post(path(session, below))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        let answer = self.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
        assert!(answer.status().is_success(), "{body}: {}", answer.status());
    }

    /// Clears a session through the API.
    pub async fn clear(&self, session: &str) {
        let request = Request::delete(path(session, "/messages")).header(header::HOST, "localhost").body(Body::empty());
        let answer = self.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// A session's messages, through the API.
    pub async fn messages(&self, session: &str) -> Vec<Value> {
        let request = Request::get(path(session, "/messages")).header(header::HOST, "localhost").body(Body::empty());
        let answer = self.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
        let body: Value = serde_json::from_str(&Page::of(answer).await.text).expect("JSON");
        body["messages"].as_array().expect("messages").clone()
    }
}

fn path(session: &str, below: &str) -> String {
    let session: String = url::form_urlencoded::byte_serialize(session.as_bytes()).collect();
    format!("/v1/sessions/{}{below}", session.replace('+', "%20"))
}

/// A client that sends requests with these headers.
#[derive(Clone)]
pub struct Client {
    router: Router,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    /// The same with another header.
    pub fn with(&self, (name, value): (&'static str, &str)) -> Self {
        let mut client = self.clone();
        client.headers.push((name, value.to_owned()));
        client
    }

    /// The same with the cookie of this response.
    pub fn logged_in(&self, answer: &Page) -> Self {
        let cookie = answer.header("set-cookie");
        self.with(("cookie", cookie.split(';').next().unwrap_or_default()))
    }

    async fn send(&self, mut request: Request<Body>) -> Response {
        request.headers_mut().insert(header::HOST, "localhost".parse().expect("a name"));
        for (name, value) in &self.headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        self.router.clone().oneshot(request).await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Page {
        Page::of(self.send(Request::get(path).body(Body::empty()).expect("a request")).await).await
    }

    /// Submits a form with its own values, and these fields.
    pub async fn post(&self, form: &Form, fields: &[(&str, &str)]) -> Page {
        let own = form.fields.iter().filter(|(name, _)| !fields.iter().any(|(given, _)| given == name));
        let all = own.map(|(name, value)| (name.as_str(), value.as_str())).chain(fields.iter().copied());
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        let request = Request::post(&form.action).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        Page::of(self.send(request.body(Body::from(body)).expect("a request")).await).await
    }

    /// The data of a stream's first event.
    pub async fn first_event(&self, path: &str) -> Value {
        let answer = self.send(Request::get(path).body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let (mut events, mut text) = (answer.into_body().into_data_stream(), String::new());
        loop {
            if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: "))
                && text.ends_with("\n\n")
            {
                return serde_json::from_str(data).expect("JSON");
            }
            let bytes = events.next().await.expect("more").expect("bytes");
            text.push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }
}

/// A form of a page: its target, and the prefilled fields.
#[derive(Debug, Clone)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

/// A response.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    async fn of(answer: Response) -> Self {
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Self { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII")).unwrap_or_default()
    }

    /// Where it redirects to.
    pub fn leads_to(&self) -> String {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text);
        self.header("location").to_owned()
    }

    /// Every start tag, without its brackets. Text has no bracket in our pages: each is escaped.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let starts = self.text.match_indices('<').map(|(at, _)| &self.text[at + 1..]);
        starts.filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic())).filter_map(|rest| rest.split('>').next())
    }

    pub fn count(&self, what: &str) -> usize {
        self.text.matches(what).count()
    }

    /// The form with this target.
    pub fn form(&self, action: &str) -> Form {
        let forms = self.text.split("<form").skip(1).map(|form| form.split("</form>").next().unwrap_or_default());
        let wanted = format!("action=\"{action}\"");
        let form = forms.into_iter().find(|form| form.contains(&wanted));
        let form = form.unwrap_or_else(|| panic!("no form for {action} ({}): {}", self.status, self.text));
        let attribute = |input: &str, name: &str| {
            let value = input.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
            value.map(|value| value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        };
        let inputs = form.split("<input").skip(1).filter_map(|input| input.split('>').next());
        let fields = inputs.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default())));
        Form { action: action.to_owned(), fields: fields.collect() }
    }
}
