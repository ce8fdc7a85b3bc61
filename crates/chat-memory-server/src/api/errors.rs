//! The errors that operations return, as the document describes them. All are problem documents.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::IntoResponses;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Ref, Type};
use utoipa::openapi::{Header, RefOr};

use crate::problem::CONTENT_TYPE;

/// A status: when it is returned, and an example's kind and text.
type Described = (u16, &'static str, &'static str, &'static str);

const ALL: [Described; 16] = [
    (
        400,
        "The request is invalid. If its body is not JSON, `line` and `column` are the place",
        "bad-request",
        "invalid JSON at line 1, column 30: a trailing comma; remove it",
    ),
    (
        401,
        "The API key is missing or unknown",
        "unauthorized",
        "this service needs an API key: send it as `Authorization: Bearer KEY`",
    ),
    (403, "The key lacks the right, or the store is read-only", "forbidden", "this key lacks the right \"write\""),
    (404, "Not found", "not-found", "no session \"trip\": a session is listed from its first message on"),
    (
        408,
        "The body did not arrive in time",
        "timeout",
        "request timed out: the body did not arrive in time, and nothing was written; send it again",
    ),
    (
        409,
        "A request with the same Idempotency-Key is in progress; repeat this one after `Retry-After`",
        "in-flight",
        "a request with the same Idempotency-Key is in progress",
    ),
    (
        412,
        "The session was modified since that position, and nothing was written; `actual` and the ETag are its position",
        "conflict",
        "the session was modified since it was read; reload it and retry",
    ),
    (
        413,
        "The body has too many bytes or takes too much memory to read; `limit` is the limit, if it is one of the body's",
        "too-large",
        "a body is limited to 16000000 bytes",
    ),
    (
        414,
        "The path and its query are too long",
        "path-too-long",
        "path and query too long: the limit is 8192 bytes, and this one has 9000",
    ),
    (415, "The Content-Type is not JSON", "not-json", "the body must be JSON: send it with `Content-Type: application/json`"),
    (
        421,
        "The service has no API keys, and answers only on loopback names",
        "misdirected",
        "unknown host name: without API keys this service answers only on loopback names, such as localhost",
    ),
    (
        422,
        "A value is invalid; `pointer` is its place. `key-reused`: the Idempotency-Key was used with another body",
        "invalid",
        "unknown role \"bot\": expected one of system, developer, user, assistant, tool, function; give \"assistant\", which means the same (at \"/messages/0\")",
    ),
    (
        429,
        "The store is throttled, or too many event streams are open (`too-many-streams`); repeat it after `Retry-After`",
        "throttled",
        "the store is throttled: retry later",
    ),
    (
        500,
        "The service failed, or the stored data cannot be read",
        "internal",
        "internal error: see the service's log under this request's id",
    ),
    (501, "The service's store does not support this", "unsupported", "not supported by this service's store"),
    (
        503,
        "The store is unavailable, or the outcome of a write is unknown (`in-doubt`; for an append with a `ticket`). Nothing was \
            written if other writers to the session came first (`contended`), or if the service is reading as many bodies as its \
            memory allows (`busy`). Repeat it after `Retry-After`, a write with the same Idempotency-Key",
        "in-doubt",
        "outcome unknown: the store did not answer, so this may have been stored; repeat the request with the same Idempotency-Key",
    ),
];

/// Defines the errors of a group of operations.
macro_rules! errors {
    ($($(#[$docs:meta])* $name:ident: $($status:literal)+;)+) => {$(
        $(#[$docs])*
        #[derive(Debug)]
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                described(&[$($status),+])
            }
        }
    )+};
}

errors! {
    /// Those of the service itself.
    OfService: 414 421;
    /// Those of the metrics.
    OfMetrics: 401 403 404 414 421;
    /// Those of every operation on sessions.
    OfStore: 400 401 403 414 421 429 500 501 503;
    /// Those of an operation on a session that must be listed.
    OfListed: 404;
    /// Those of an operation with a body.
    OfBody: 408 413 415;
    /// Those of an operation whose values may be invalid.
    OfValues: 422;
    /// Those of an Idempotency-Key.
    OfKey: 409;
    /// Those of If-Match.
    OfMatch: 412;
}

fn described(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let found = ALL.iter().filter(|(status, ..)| statuses.contains(status));
    found.map(|described| (described.0.to_string(), RefOr::T(response(described)))).collect()
}

fn response((status, description, kind, detail): &Described) -> Response {
    let title = axum::http::StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
    let example = json!({"type": format!("urn:chat-memory:problem:{kind}"), "title": title, "status": status, "detail": detail});
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).example(Some(example)).build();
    let response = ResponseBuilder::new().description(*description).content(CONTENT_TYPE, content);
    match status {
        401 => response.header("WWW-Authenticate", header(Type::String, "`Bearer`")),
        412 => response.header("ETag", header(Type::String, "Where the session is")),
        409 | 429 | 503 => response.header("Retry-After", header(Type::Integer, "The number of seconds to wait")),
        _ => response,
    }
    .build()
}

fn header(kind: Type, description: &str) -> Header {
    HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind).build())).description(Some(description)).build()
}
