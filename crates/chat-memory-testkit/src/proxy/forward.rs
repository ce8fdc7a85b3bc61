//! One request on its way through the proxy.

use std::fmt;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Answer, Fault, Place, Shared};

type Reply = Response<Full<Bytes>>;

/// The service's error: hyper closes the connection without an answer.
#[derive(Debug)]
pub(super) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is dropped, as planned")
    }
}

impl std::error::Error for Dropped {}

/// Does to a request what the plan says.
pub(super) async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Dropped> {
    let (head, body) = request.into_parts();
    // A body that did not arrive whole is a request that never came.
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    let operation = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).map_or_else(
        || format!("{} {}", head.method, head.uri.path()),
        |target| target.rsplit('.').next().unwrap_or(target).to_owned(),
    );
    // Before it is counted, so that who sees the count does not find the proxy idle.
    let underway = Underway::start(&shared);
    let (fault, place) = shared.decide(operation, serde_json::from_slice(&body).unwrap_or(Value::Null));
    let request = Request::from_parts(head, Full::new(body));
    let travel = Travel { shared, place, request, _underway: underway };
    let once = |travel: Travel| async move { travel.arrive().await };
    match fault {
        Fault::DropRequest => Err(Dropped),
        Fault::Answer(answer) => {
            if answer.done {
                travel.start(once).await?;
            }
            Ok(reply(&answer))
        }
        Fault::Pass => travel.start(once).await,
        Fault::DropAnswer => {
            travel.start(once).await?;
            Err(Dropped)
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
                    travel.arrive().await;
                    travel.arrive().await
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
                    gate.passed().await;
                    travel.arrive().await
                })
                .await
        }
    }
}

/// A request that is to arrive, once or more often.
struct Travel {
    shared: Arc<Shared>,
    place: Place,
    request: Request<Full<Bytes>>,
    /// It is underway until this is dropped.
    _underway: Underway,
}

impl Travel {
    /// Runs this to its end, even if the client hangs up meanwhile.
    async fn start<F, T>(self, run: impl FnOnce(Self) -> F) -> Result<T, Dropped>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        tokio::spawn(run(self)).await.map_err(|_| Dropped)
    }

    /// Sends it on, and returns what DynamoDB answers.
    async fn arrive(&self) -> Reply {
        match self.send().await {
            Ok(reply) => {
                self.shared.answered(self.place, reply.status().as_u16());
                reply
            }
            Err(e) => {
                let body = format!("the fault proxy cannot reach {}: {e}", self.shared.upstream);
                reply(&Answer { status: 502, body, done: false })
            }
        }
    }

    /// On a connection of its own, so that one request's fault is no other's.
    async fn send(&self) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.shared.upstream).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with an error when the answer is cut off, which the answer's reader is told too.
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

/// Counts a request as underway as long as it lives.
struct Underway(Arc<Shared>);

impl Underway {
    fn start(shared: &Arc<Shared>) -> Self {
        shared.underway.send_modify(|underway| *underway += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.underway.send_modify(|underway| *underway -= 1);
    }
}

/// Removes what is said of one connection only.
fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
}

fn reply(answer: &Answer) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(answer.body.clone())));
    *reply.status_mut() = StatusCode::from_u16(answer.status).expect("a plan's answer has an HTTP status");
    let kind = if answer.body.starts_with('{') { "application/x-amz-json-1.0" } else { "text/plain" };
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    reply.headers_mut().insert("x-amzn-requestid", hyper::header::HeaderValue::from_static("FAULTPROXY"));
    reply
}
