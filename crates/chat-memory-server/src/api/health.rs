//! Health and metrics.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::errors::{OfMetrics, OfService};
use crate::auth::MayMeasure;
use crate::metrics;
use crate::problem::Problem;
use crate::service::Service;

/// Whether the process runs
#[utoipa::path(
    get, path = "/healthz", tag = "service", operation_id = "healthz",
    responses((status = 200, description = "It runs", body = String, content_type = "text/plain"), OfService)
)]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests should be sent here
///
/// 503 where the store cannot be read, and from the moment that the service begins to stop.
#[utoipa::path(
    get, path = "/readyz", tag = "service", operation_id = "readyz",
    responses((status = 200, description = "It is ready", body = String, content_type = "text/plain"),
        (status = 503, description = "It stops, or its store cannot be read", body = super::types::ProblemBody,
            content_type = "application/problem+json"), OfService)
)]
pub async fn readyz(State(service): State<Service>) -> Response {
    let not = |why: &str| Problem::later(StatusCode::SERVICE_UNAVAILABLE, "not-ready", 1, why).into_response();
    if service.is_stopping() {
        return not("the service is stopping");
    }
    if service.stores().is_readable().await {
        return "ready\n".into_response();
    }
    not("the store cannot be read: see the service's log")
}

/// Counters, in Prometheus's text form
///
/// Needs a key with the right `metrics`, where there are keys. No label holds anything of a client's.
#[utoipa::path(
    get, path = "/metrics", tag = "service", operation_id = "metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"), OfMetrics),
    security(("key" = []))
)]
pub async fn metrics(State(service): State<Service>, _: MayMeasure) -> Result<Response, Problem> {
    if service.options().metrics {
        return Ok(metrics_text(&service));
    }
    Err(Problem::not_found("no metrics at this address: the service has another listener for them"))
}

/// The metrics' text as a response.
pub(crate) fn metrics_text(service: &Service) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))], service.metrics().text()).into_response()
}
