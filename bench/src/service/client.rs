//! A client of the service with one persistent connection.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::Result;
use crate::turns::WINDOW;

/// As said.
#[derive(Debug)]
pub struct Client {
    connection: SendRequest<Full<Bytes>>,
    host: String,
    authorization: String,
}

impl Client {
    /// Connects to the service with this key.
    pub async fn connect(address: SocketAddr, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self { connection, host: address.to_string(), authorization: format!("Bearer {key}") })
    }

    /// Appends a body of messages to a session.
    pub async fn append(&mut self, session: &str, body: Bytes) -> Result {
        let path = format!("/v1/sessions/{session}/messages");
        self.ask(Method::POST, &path, body, StatusCode::CREATED).await.map(drop)
    }

    /// Returns the raw response to a read of a session's newest messages.
    pub async fn window(&mut self, session: &str) -> Result<Bytes> {
        let path = format!("/v1/sessions/{session}/messages?last={WINDOW}");
        self.ask(Method::GET, &path, Bytes::new(), StatusCode::OK).await
    }

    async fn ask(&mut self, method: Method, path: &str, body: Bytes, expected: StatusCode) -> Result<Bytes> {
        let request =
            Request::builder().method(method).uri(path).header("host", &self.host).header("authorization", &self.authorization);
        let request = request.header("content-type", "application/json").body(Full::new(body))?;
        self.connection.ready().await?;
        let answer = self.connection.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != expected {
            return Err(format!("the service answered {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    }
}

/// Returns the messages of a response.
pub fn messages(answer: &[u8]) -> Result<Vec<Value>> {
    let mut answer: Value = serde_json::from_slice(answer)?;
    match answer["messages"].take() {
        Value::Array(messages) => Ok(messages),
        _ => Err("the answer has no messages".into()),
    }
}
