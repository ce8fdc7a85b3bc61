//! The service as a function on AWS Lambda, behind a function URL, API Gateway or a load balancer.
//!
//! Lambda passes each request as an event and takes the response as a whole, so there are no listeners and no streams. The front
//! ends differ in how they write the path, and in how large a response may be.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use chat_memory::store::url::StoreUrl;
use chat_memory::{Error, ErrorKind};
use http_body_util::BodyExt as _;
use lambda_http::request::RequestContext;
use lambda_http::{Body as Payload, RequestExt as _};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tower::ServiceExt as _;

use crate::app::{REQUEST_ID, app};
use crate::config::{Bytes, LogFormat, Period, Settings};
use crate::problem::Problem;
use crate::service::{Options, Service};

/// Lambda's limit for a response, in bytes of JSON, and a load balancer's for Lambda's
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>,
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html>).
const PAYLOAD: usize = 6_291_556;
const ALB_PAYLOAD: usize = 1_048_576;
/// The part of it that is reserved for status and headers.
const HEAD: usize = 16_384;

/// Characters that never occur unencoded in a path, so that a path with one was decoded on the way.
const NEVER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');
/// The same for a path that is known to be decoded: a percent sign in it is literal.
const DECODED: &AsciiSet = &NEVER.add(b'%');

/// The defaults on Lambda. The request timeout is below API Gateway's 29 seconds, and the log format suits CloudWatch.
#[must_use]
pub fn defaults() -> Settings {
    Settings {
        max_body: Some(Bytes(PAYLOAD)),
        request_timeout: Some(Period(Duration::from_secs(25))),
        log_format: Some(LogFormat::Json),
        ..Settings::defaults()
    }
}

/// The service's options on Lambda: no streams, which Lambda would hold back; cookies for TLS only, since all front ends use it
/// except a load balancer's plain HTTP listener; and no metrics, since each instance of the function has its own.
pub fn options(settings: &Settings) -> Options {
    let mut options = settings.options();
    (options.streaming, options.tls, options.metrics) = (false, true, false);
    options
}

/// The service with these settings. A relative path of the keys file is relative to the deployment package.
///
/// # Errors
/// Invalid, for a missing or wrong setting; errors from reading the keys. Refuses a store that would be lost with the function's
/// instance, and a service without keys.
pub fn service(settings: &Settings) -> Result<Service, Error> {
    let url = settings
        .store
        .as_deref()
        .ok_or_else(|| Error::invalid("CHAT_MEMORY_STORE must name the table, as in dynamodb://chats"))?;
    let url: StoreUrl = url.parse().map_err(|e: Error| e.context("the store"))?;
    if url.scheme() != "dynamodb" {
        return Err(Error::invalid(
            "invalid store for Lambda: expected a DynamoDB table, as in dynamodb://chats; files and memory of a function are lost when it ends",
        ));
    }
    let keys = settings.given_keys()?.ok_or_else(|| {
        Error::invalid(
            "missing API keys: anyone can call the function; name their file in CHAT_MEMORY_KEYS, or put its text into \
            CHAT_MEMORY_KEYS_TEXT",
        )
    })?;
    Service::new(url, Some(keys), options(settings))
}

/// Answers Lambda's events until Lambda ends the process.
///
/// # Errors
/// Unavailable, if Lambda's runtime interface fails.
///
/// # Panics
/// Outside Lambda, where the variables that Lambda sets are missing.
pub async fn run(service: Service) -> Result<(), Error> {
    let handler = handler(service);
    let failed = |e| Error::new(ErrorKind::Unavailable, format!("Lambda's interface failed ({e})"));
    lambda_http::run(handler).await.map_err(failed)
}

/// Answers one event at a time, as `lambda_http` expects it.
pub fn handler(
    service: Service,
) -> impl tower::Service<lambda_http::Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send {
    let app = app(service);
    tower::service_fn(move |event: lambda_http::Request| {
        let app = app.clone();
        async move { Ok(answer(app, event).await) }
    })
}

async fn answer(app: Router, event: lambda_http::Request) -> Response {
    let most = match event.request_context_ref() {
        Some(RequestContext::Alb(_)) => ALB_PAYLOAD,
        _ => PAYLOAD,
    } - HEAD;
    let response = match request(event) {
        Ok(request) => app.oneshot(request).await.unwrap_or_else(|never| match never {}),
        Err(problem) => problem.into_response(),
    };
    whole(response, most).await
}

/// Converts an event to a request.
fn request(event: lambda_http::Request) -> Result<Request, Problem> {
    let uri = uri(&event)?;
    let peer = peer(&event);
    let id = event.lambda_context_ref().and_then(|context| HeaderValue::from_str(&context.request_id).ok());
    let (mut parts, body) = event.into_parts();
    parts.uri = uri;
    // A client's request id has priority; otherwise the log has Lambda's, by which CloudWatch knows the invocation.
    if let Some(id) = id {
        parts.headers.entry(REQUEST_ID).or_insert(id);
    }
    if let Some(peer) = peer {
        parts.extensions.insert(ConnectInfo(SocketAddr::new(peer, 0)));
    }
    let body = match body {
        Payload::Text(text) => Body::from(text),
        Payload::Binary(bytes) => Body::from(bytes),
        _ => Body::empty(),
    };
    Ok(Request::from_parts(parts, body))
}

/// The path as the client sent it, as far as the front end kept it, without the name of API Gateway's stage.
///
/// Function URLs, REST APIs and load balancers pass on the path unchanged. An HTTP API decodes it, so that a slash in a session's
/// id looks like one of the path, and prepends its stage.
fn uri(event: &lambda_http::Request) -> Result<Uri, Problem> {
    let mut path = event.raw_http_path();
    let mut unsafe_in_path = NEVER;
    if let Some(RequestContext::ApiGatewayV2(context)) = event.request_context_ref() {
        let stage = context.stage.as_deref().filter(|stage| *stage != "$default");
        if let Some(rest) =
            stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage)).filter(|rest| rest.starts_with('/'))
        {
            path = rest;
        }
        if !context.domain_name.as_deref().is_some_and(|name| name.contains(".lambda-url.")) {
            unsafe_in_path = DECODED;
        }
    }
    let path = utf8_percent_encode(if path.is_empty() { "/" } else { path }, unsafe_in_path);
    let query = event.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().map_err(|_| Problem::bad_request("invalid path: it is not the path of a URL"))
}

/// The client's address, from the front end itself rather than from the client's headers.
fn peer(event: &lambda_http::Request) -> Option<IpAddr> {
    let address = match event.request_context_ref()? {
        RequestContext::ApiGatewayV1(context) => context.identity.source_ip.clone()?,
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.clone()?,
        // A load balancer adds the address at the end.
        _ => event.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim().to_owned(),
    };
    address.parse().ok()
}

/// Collects the response's body; a response above Lambda's limit becomes a problem.
async fn whole(response: Response, most: usize) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the response was cut off").into_response();
    };
    let body = body.to_bytes();
    if in_json(&body) > most {
        let detail = "response too large for AWS Lambda: request fewer messages at once, with `limit` or `last`";
        return Problem::invalid(detail).with("limit", most).into_response();
    }
    Response::from_parts(parts, Body::from(body))
}

/// The length in bytes of a text as JSON.
fn in_json(text: &[u8]) -> usize {
    let bytes = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.iter().map(bytes).sum()
}
