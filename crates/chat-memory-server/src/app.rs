//! The service as one axum router: its routes, and the middleware for every request.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::extract::Deadline;
use crate::problem::{Problem, as_document};
use crate::service::Service;
use crate::{api, auth, client, console, unread};

/// Identifies a request, in its response and in the log. A valid id from the client is kept.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The documentation page loads only its own files. Its scripts generate its styles.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'none'";

/// The service's router: the API under `/v1`, `/docs`, the console, health and metrics.
///
/// The client's address is taken from axum's `ConnectInfo<SocketAddr>`, if the server provides it.
pub fn app(service: Service) -> Router {
    let (api, document) = api::routes();
    let docs = SwaggerUi::new("/docs").url("/openapi.json", document).config(Config::default().validator_url("none"));
    let mut router = api.merge(Router::from(docs).layer(axum::middleware::from_fn(documentation)));
    if service.options().console {
        router = router.merge(console::routes(&service)).route("/", get(console::home));
    }
    router = router.fallback(api::no_such_path).method_not_allowed_fallback(api::no_such_method);
    router = router.layer(from_fn_with_state(service.clone(), admit)).layer(CatchPanicLayer::custom(panicked));
    if !service.options().cors_origins.is_empty() {
        // Outside the layers that refuse requests, so that web pages can read the reason.
        router = router.layer(cors(&service.options().cors_origins));
    }
    router.layer(from_fn_with_state(service.clone(), watch)).with_state(service)
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::ETAG, header::RETRY_AFTER, REQUEST_ID, HeaderName::from_static("idempotent-replayed")])
}

async fn documentation(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    response
}

/// Refuses requests that no route should see, and those that take too long.
async fn admit(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let options = service.options();
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if path > options.max_path {
        let detail = format!("path and query too long: the limit is {} bytes, and this one has {path}", options.max_path);
        return Problem::new(StatusCode::URI_TOO_LONG, "path-too-long", detail).with("limit", options.max_path).into_response();
    }
    if service.keys().is_none()
        && let Some(problem) = auth::foreign(&request, options)
    {
        return problem.into_response();
    }
    let reads = request.method().is_safe();
    let deadline = tokio::time::Instant::now() + options.request_timeout;
    request.extensions_mut().insert(Deadline(deadline));
    match tokio::time::timeout_at(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = if reads {
                "request timed out: the store did not answer in time; retry"
            } else {
                "request timed out: the write may have succeeded; repeat it with the same Idempotency-Key if it had one, or read the \
                 session first"
            };
            Problem::later(StatusCode::SERVICE_UNAVAILABLE, "timeout", 1, detail).into_response()
        }
    }
}

/// Identifies, logs and counts each request. The log has routes instead of paths, since a path names a session.
async fn watch(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let id = request_id(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let client = client::address(&request, &service);
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let page = Some(request.uri().path()).filter(|path| service.options().console && console::has(path)).map(str::to_owned);
    let mut response = as_document(next.run(unread::read_in_vain(request)).instrument(span.clone()).await);
    if let Some(path) = page {
        response = console::page::of_console(&path, response);
    }
    let took = started.elapsed();
    let status = response.status();
    service.metrics().answered(&method, route.as_deref(), status.as_u16(), took);
    span.in_scope(|| {
        let (route, ms) = (route.as_deref().unwrap_or("other"), took.as_millis());
        let client = client.map(tracing::field::display);
        if status.is_server_error() {
            tracing::error!(%method, route, status = status.as_u16(), ms, client, "answered");
        } else {
            tracing::info!(%method, route, status = status.as_u16(), ms, client, "answered");
        }
    });
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The client's request id if it is valid, otherwise a new one.
fn request_id(request: &Request) -> HeaderValue {
    let own = request.headers().get(REQUEST_ID);
    let sensible = |id: &&HeaderValue| {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        (1..=64).contains(&id.len()) && id.as_bytes().iter().all(plain)
    };
    own.filter(sensible).cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::now_v7().simple().to_string();
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unnamed"))
    })
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic's text is on standard error already.
    tracing::error!("a request's handler panicked");
    Problem::internal().into_response()
}
