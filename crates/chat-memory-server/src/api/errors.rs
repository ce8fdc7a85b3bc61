//! The answers that every operation may give.

use std::collections::BTreeMap;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::schema::Ref;
use utoipa::openapi::{RefOr, response::Response};

use crate::problem::CONTENT_TYPE;

/// The errors of every operation on sessions, all of them problem documents.
#[derive(Debug)]
pub struct Errors;

const ALL: [(u16, &str); 16] = [
    (400, "The request cannot be read; the place is named"),
    (401, "There is no key, or none that is known"),
    (403, "The key does not allow it"),
    (404, "It is not there"),
    (405, "Not with this method"),
    (408, "The request did not come in time"),
    (409, "A request with the same Idempotency-Key is under way"),
    (412, "Someone wrote since that position; `actual` is where the session is"),
    (413, "Too large; `limit` is the limit"),
    (415, "The body is not JSON by its Content-Type"),
    (421, "Without keys, the service answers by this machine's own names only"),
    (422, "What it asks cannot be done; `pointer` is the place. Also: the Idempotency-Key was used with another body"),
    (429, "Too fast; try again after `Retry-After`"),
    (500, "The service failed"),
    (501, "This store does not do that"),
    (503, "The store cannot be reached, or it is not known whether a write landed; try again after `Retry-After`"),
];

impl utoipa::IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
        let response =
            |description: &str| ResponseBuilder::new().description(description).content(CONTENT_TYPE, content()).build();
        let all = ALL.iter().map(|(status, description)| (status.to_string(), response(description)));
        ResponsesBuilder::new().responses_from_iter(all).build().responses.into_iter().collect()
    }
}
