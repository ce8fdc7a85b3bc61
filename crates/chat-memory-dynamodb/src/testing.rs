//! Shared by the tests of this crate: DynamoDB Local, and a server that replays responses that Local cannot give.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::admin::Admin;
use super::table::sdk::SdkTable;
use super::table::{Attributes, Item, Key};
use super::{Credentials, Options};

/// Secrets that must not appear in any error.
pub(crate) const SECRET: &str = "hunter2";
pub(crate) const TOKEN: &str = "hunter3";

/// Options for a table in DynamoDB Local.
pub(crate) fn local(table: &str) -> Options {
    let endpoint = std::env::var("DYNAMODB_ENDPOINT").expect(
        "DYNAMODB_ENDPOINT is not set: this test runs on DynamoDB Local; run `cargo xtask test`, which starts one and sets it",
    );
    at(endpoint, table)
}

/// Options for a table at this endpoint.
pub(crate) fn at(endpoint: impl Into<String>, table: &str) -> Options {
    Options::new(table)
        .with_region("eu-west-1")
        .with_endpoint(endpoint)
        .with_credentials(Credentials::new("AKIAEXAMPLE", SECRET).with_session_token(TOKEN))
}

/// A table name that no other test run uses.
pub(crate) fn table_name(test: &str) -> String {
    format!("sdk-{test}-{}", uuid::Uuid::new_v4().simple())
}

/// Creates a table in DynamoDB Local.
pub(crate) async fn new_table(test: &str) -> SdkTable {
    let options = local(&table_name(test));
    Admin::open(&options).await.expect("good options").create_table().await.expect("a new table");
    SdkTable::open(&options).await.expect("good options")
}

pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn key(pk: &str, sk: &str) -> Key {
    Key { pk: pk.to_owned(), sk: sk.to_owned() }
}

pub(crate) fn item<const N: usize>(pk: &str, sk: &str, attributes: [(&str, AttributeValue); N]) -> Item {
    let attributes: Attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Item { key: key(pk, sk), attributes }
}

/// How the server handles a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Responds with this status, extra header lines and body.
    Answer(u16, String, String),
    /// Starts to respond, and closes the connection before the end of the body.
    Truncated(String),
    /// Closes the connection.
    Hangup,
    /// Stays silent for this long.
    Silence(Duration),
}

impl Reply {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Answer(200, String::new(), body.into())
    }

    /// An error in DynamoDB's format.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "__type": code, "message": message });
        Self::Answer(status, String::new(), body.to_string())
    }
}

/// A server that answers each request by its operation and body.
pub(crate) struct Replay {
    pub(crate) endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request that the server received.
struct Seen {
    operation: String,
    signed_at: String,
}

impl Replay {
    pub(crate) fn start(replies: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (replies, log) = (Arc::new(replies), Arc::clone(&seen));
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (replies, log) = (Arc::clone(&replies), Arc::clone(&log));
                std::thread::spawn(move || serve(connection, &*replies, &log));
            }
        });
        Self { endpoint, seen }
    }

    /// The operations requested, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic in the server").iter().map(|seen| seen.operation.clone()).collect()
    }

    /// The signing times in the requests (`20260131T…`).
    pub(crate) fn signed_at(&self) -> Vec<String> {
        self.seen.lock().expect("no panic in the server").iter().map(|seen| seen.signed_at.clone()).collect()
    }

    pub(crate) async fn table(&self) -> SdkTable {
        SdkTable::open(&at(&self.endpoint, "chats")).await.expect("good options")
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::open(&at(&self.endpoint, "chats")).await.expect("good options")
    }
}

/// Serves one request on a connection. Any problem here surfaces in the test as a failed request.
fn serve(connection: TcpStream, replies: &dyn Fn(&str, &str) -> Reply, log: &Mutex<Vec<Seen>>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let (mut operation, mut signed_at, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("x-amz-target: dynamodb_20120810.") {
            operation = value.to_owned();
        } else if let Some(value) = line.strip_prefix("x-amz-date: ") {
            signed_at = value.to_owned();
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    log.lock().ok()?.push(Seen { operation: operation.clone(), signed_at });
    let mut connection = reader.into_inner();
    let reply = replies(&operation, &String::from_utf8_lossy(&body));
    let (status, headers, body, promised) = match reply {
        Reply::Answer(status, headers, body) => (status, headers, body.clone(), body.len()),
        Reply::Truncated(body) => (200, String::new(), body.clone(), body.len() + 100),
        Reply::Hangup => return None,
        Reply::Silence(time) => {
            std::thread::sleep(time);
            return None;
        }
    };
    let head = format!(
        "HTTP/1.1 {status} Replayed\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\n\
         {headers}Content-Length: {promised}\r\n\r\n"
    );
    connection.write_all((head + &body).as_bytes()).ok()
}
