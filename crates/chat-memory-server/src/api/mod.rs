//! The HTTP API: its operations, and the document that describes them.

use axum::Router;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, OpenApiBuilder};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::operations;
use crate::problem::{self, Problem};
use crate::service::Service;

mod directory;
mod errors;
mod events;
mod fork;
mod health;
mod message;
mod owners;
mod parameters;
mod read;
mod redact;
mod rewind;
mod search;
mod threads;
mod types;
mod write;

pub(crate) use health::{healthz, metrics_text, readyz};

const ABOUT: &str = "\
Durable conversations over HTTP. A *session* is one conversation; you choose its id. One append is one *record*, with one or more messages, \
stored whole or not at all, and once.

**Exactly once.** Send an `Idempotency-Key` with each append and repeat it, with the same key and body, until it is answered: for 24 hours \
it is stored once, and each repeat gets the answer of the first.

**No lost update.** An answer's `ETag` (and `position`) says where the session is. Sent back as `If-Match`, the write is refused with 412 if \
anyone wrote since.

**Exact.** Messages are OpenAI's chat messages, with all their fields, or in another format with `?format=langchain`, `anthropic` or `responses`; \
what was appended comes back equal. A record may also hold other JSON objects: its *entries*.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Chat memory", license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    tags(
        (name = "messages", description = "A session's messages"),
        (name = "sessions", description = "The list of sessions, and what is known of each"),
        (name = "threads", description = "LangGraph's threads in the same store, read-only"),
        (name = "service", description = "How the service is; no key is needed but for the metrics")
    ),
    components(schemas(types::ProblemBody, message::ChatMessage, events::EventBody)),
    modifiers(&Keys)
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut OpenApi) {
        document.info.description = Some(ABOUT.to_owned());
        let description =
            "An API key, as `chat-memory key new` makes it. A service on loopback may run without keys, and then takes none.";
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// The number of messages or sessions on a page, as the client wants it.
fn limit(wanted: Option<usize>) -> Result<usize, Problem> {
    const MOST: usize = 1_000;
    match wanted {
        Some(limit) if !(1..=MOST).contains(&limit) => Err(Problem::bad_request(format!("limit is 1 to {MOST}"))),
        wanted => Ok(wanted.unwrap_or(operations::PAGE)),
    }
}

/// The API's routes, and the document that describes them.
pub(crate) fn routes() -> (Router<Service>, OpenApi) {
    let document = OpenApiBuilder::from(Document::openapi()).build();
    OpenApiRouter::with_openapi(document)
        .routes(routes!(write::append, read::messages, write::clear))
        .routes(routes!(rewind::rewind))
        .routes(routes!(redact::redact))
        .routes(routes!(fork::fork))
        .routes(routes!(events::events))
        .routes(routes!(events::records))
        .routes(routes!(directory::sessions))
        .routes(routes!(directory::session, directory::describe, directory::delete))
        .routes(routes!(search::search))
        .routes(routes!(owners::delete))
        .routes(routes!(threads::threads))
        .routes(routes!(threads::newest))
        .routes(routes!(threads::checkpoints))
        .routes(routes!(threads::at_checkpoint))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .split_for_parts()
}

/// The document that describes the API: OpenAPI 3.1, as JSON. A test checks that `docs/openapi.json` equals it.
///
/// ```
/// assert!(chat_memory_server::openapi().contains("\"openapi\": \"3.1.0\""));
/// ```
pub fn openapi() -> String {
    // A document built by this code can always be serialised.
    routes().1.to_pretty_json().unwrap_or_default() + "\n"
}

/// The response for unknown paths.
pub(crate) async fn no_such_path() -> impl IntoResponse {
    Problem::not_found(problem::NO_SUCH_PATH)
}

/// The response for unsupported methods.
pub(crate) async fn no_such_method() -> impl IntoResponse {
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", problem::NO_SUCH_METHOD)
}
