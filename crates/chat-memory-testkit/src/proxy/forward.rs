//! Forwards one request through the proxy.

use std::fmt;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Answer, Fault, Place, Shared};

type Reply = Response<Full<Bytes>>;

/// The service's error type: how the connection ends instead of a complete response. hyper then leaves the connection as it is.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// It is closed.
    Closed,
    /// It is reset.
    Reset,
    /// These bytes are sent before it is closed.
    Said(Bytes),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ends, as planned")
    }
}

impl std::error::Error for Ended {}

/// Applies the plan's fault to a request.
pub(super) async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Ended> {
    let clock = Arc::clone(&shared);
    let mut reply = planned(shared, request).await?;
    clock.clock().date(reply.headers_mut());
    Ok(reply)
}

async fn planned(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Ended> {
    let (head, body) = request.into_parts();
    // A request whose body did not arrive completely does not count.
    let body = body.collect().await.map_err(|_| Ended::Closed)?.to_bytes();
    let operation = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).map_or_else(
        || format!("{} {}", head.method, head.uri.path()),
        |target| target.rsplit('.').next().unwrap_or(target).to_owned(),
    );
    // Before it is counted, so that whoever sees the count does not find the proxy idle.
    let underway = Underway::start(&shared);
    let (fault, place) = shared.decide(operation, serde_json::from_slice(&body).unwrap_or(Value::Null));
    let request = Request::from_parts(head, Full::new(body));
    let travel = Travel { shared, place, request, underway };
    let once = |travel: Travel| async move { travel.arrive().await };
    match fault {
        Fault::DropRequest => Err(Ended::Closed),
        Fault::ResetRequest => Err(Ended::Reset),
        Fault::Answer(answer) => {
            if answer.done {
                travel.start(once).await?;
            }
            Ok(reply(&answer))
        }
        Fault::Pass => travel.start(once).await,
        Fault::DropAnswer => {
            travel.start(once).await?;
            Err(Ended::Closed)
        }
        Fault::ResetAnswer => {
            travel.start(once).await?;
            Err(Ended::Reset)
        }
        Fault::Truncate => {
            let reply = travel.start(once).await?;
            Err(Ended::Said(first_half(reply).await))
        }
        Fault::Delay(by) => {
            let reply = travel.start(once).await;
            tokio::time::sleep(by).await;
            reply
        }
        Fault::Duplicate => {
            travel
                .start(|travel| async move {
                    let first = travel.arrive().await;
                    travel.arrive().await;
                    first
                })
                .await
        }
        Fault::Repeat => {
            travel
                .start(|travel| async move {
                    let first = travel.arrive().await;
                    // The repeat follows at once. If a test lets hours pass just then, refusing the second for its time would
                    // tell the client that nothing was done.
                    if travel.is_out_of_time() { first } else { travel.arrive().await }
                })
                .await
        }
        Fault::HoldFor(time) => {
            travel
                .start(async move |travel: Travel| {
                    tokio::time::sleep(time).await;
                    travel.arrive().await
                })
                .await
        }
        Fault::Hold(gate) => {
            travel
                .start(async move |travel: Travel| {
                    let held = travel.underway.hold();
                    let passed = gate.passed().await;
                    drop(held);
                    if passed { Ok(travel.arrive().await) } else { Err(Ended::Closed) }
                })
                .await?
        }
    }
}

/// A request that is to arrive, once or several times.
struct Travel {
    shared: Arc<Shared>,
    place: Place,
    request: Request<Full<Bytes>>,
    /// It counts as underway until this is dropped.
    underway: Underway,
}

impl Travel {
    /// Runs this to completion, even if the client disconnects in the meantime.
    async fn start<F, T>(self, run: impl FnOnce(Self) -> F) -> Result<T, Ended>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        tokio::spawn(run(self)).await.map_err(|_| Ended::Closed)
    }

    fn is_out_of_time(&self) -> bool {
        self.shared.clock().refusal(self.request.headers()).is_some()
    }

    /// Forwards it and returns DynamoDB's response.
    async fn arrive(&self) -> Reply {
        if let Some(refusal) = self.shared.clock().refusal(self.request.headers()) {
            self.shared.note(self.place, |recorded| recorded.out_of_time += 1);
            return reply(&refusal);
        }
        match self.send().await {
            Ok(reply) => {
                self.shared.note(self.place, |recorded| recorded.statuses.push(reply.status().as_u16()));
                reply
            }
            Err(e) => {
                let body = format!("the fault proxy cannot reach {}: {e}", self.shared.upstream);
                reply(&Answer { status: 502, body, done: false })
            }
        }
    }

    /// Uses a new connection, so that one request's fault does not affect others.
    async fn send(&self) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.shared.upstream).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with an error when the response is cut off, which the reader of the response gets, too.
        let connection = tokio::spawn(connection);
        let mut request = self.request.clone();
        remove_hop_headers(request.headers_mut());
        let (mut head, body) = sender.send_request(request).await?.into_parts();
        remove_hop_headers(&mut head.headers);
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Response::from_parts(head, Full::new(body)))
    }
}

/// Counts a request as underway while it exists.
struct Underway(Arc<Shared>);

impl Underway {
    fn start(shared: &Arc<Shared>) -> Self {
        shared.underway.send_modify(|count| count.all += 1);
        Self(Arc::clone(shared))
    }

    /// Counts it as waiting at a gate until this is dropped.
    fn hold(&self) -> Held {
        self.0.underway.send_modify(|count| count.held += 1);
        Held(Arc::clone(&self.0))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.underway.send_modify(|count| count.all -= 1);
    }
}

/// Counts a request as held while it exists.
struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.underway.send_modify(|count| count.held -= 1);
    }
}

/// Removes the headers that apply to one connection only.
fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
}

/// Returns a response as sent over the wire, with half of its body: hyper itself only sends whole ones.
async fn first_half(reply: Reply) -> Bytes {
    let (head, body) = reply.into_parts();
    let body = body.collect().await.map_or_else(|never| match never {}, http_body_util::Collected::to_bytes);
    let mut said = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in head.headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH) {
        said.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    // An empty body lacks a byte, too.
    said.extend(format!("content-length: {}\r\n\r\n", body.len().max(1)).into_bytes());
    said.extend(&body[..body.len() / 2]);
    said.into()
}

fn reply(answer: &Answer) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(answer.body.clone())));
    *reply.status_mut() = StatusCode::from_u16(answer.status).expect("a plan's answer has an HTTP status");
    let kind = if answer.body.starts_with('{') { "application/x-amz-json-1.0" } else { "text/plain" };
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    reply.headers_mut().insert("x-amzn-requestid", hyper::header::HeaderValue::from_static("FAULTPROXY"));
    reply
}
