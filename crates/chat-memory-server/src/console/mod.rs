//! The console: reading and writing sessions in a browser. The server renders the pages. The console's own script adds new messages
//! to open pages; everything else works without scripts.

use axum::Router;
use axum::response::Redirect;
use axum::routing::{any, get, post};

use crate::problem::Problem;
use crate::service::Service;

mod actions;
mod assets;
mod code;
mod conversation;
mod cost_pages;
mod costs;
mod edit;
mod events;
mod export;
mod fork;
mod form;
mod login;
mod markdown;
mod message;
pub(crate) mod page;
mod place;
mod redact;
mod search;
mod session_cookie;
mod sessions;
mod threads;
mod usage;
mod viewer;

/// The console's routes.
pub(crate) fn routes(_: &Service) -> Router<Service> {
    // Not nested: otherwise the path that a login returns to would lack its prefix.
    let session = |below: &str| format!("/console/sessions/{{id}}{below}");
    Router::new()
        .route("/console", get(sessions::list))
        .route("/console/new", get(sessions::new).post(sessions::start))
        .route("/console/costs", get(cost_pages::of_list))
        .route("/console/usage", get(usage::usage))
        .route("/console/search", get(search::search))
        .route("/console/threads", get(threads::list))
        .route("/console/threads/{id}", get(threads::thread))
        .route("/console/threads/{id}/state", get(threads::whole))
        .route("/console/threads/{id}/delete", get(threads::ask_to_delete).post(threads::delete))
        .route("/console/login", get(login::form).post(login::login))
        .route("/console/logout", post(login::logout).get(home))
        .route("/console/assets/{version}/{name}", get(assets::file))
        .route(&session(""), get(conversation::conversation))
        .route(&session("/messages"), post(actions::send).get(actions::to_session))
        .route(&session("/rewind"), get(actions::ask_to_take_back).post(actions::take_back))
        .route(&session("/edit"), get(edit::ask_to_edit).post(edit::edit))
        .route(&session("/regenerate"), get(edit::ask_to_regenerate).post(edit::regenerate))
        .route(&session("/redact"), get(redact::ask).post(redact::redact))
        .route(&session("/clear"), get(actions::ask_to_clear).post(actions::clear))
        .route(&session("/delete"), get(actions::ask_to_delete).post(actions::delete))
        .route(&session("/fork"), get(fork::ask).post(fork::fork))
        .route(&session("/go"), get(place::go))
        .route(&session("/title"), post(actions::entitle).get(actions::to_session))
        .route(&session("/costs"), get(cost_pages::of_session))
        .route(&session("/export"), get(export::export))
        .route(&session("/records/{seq}"), get(message::record))
        .route(&session("/records/{seq}/messages/{n}"), get(message::text))
        .route(&session("/events"), get(events::events))
        .route("/console/", get(home))
        .route("/console/{*rest}", any(nowhere))
}

/// Whether a path is the console's, so that someone at a browser reads the response.
pub(crate) fn has(path: &str) -> bool {
    path == "/" || path == "/console" || path.starts_with("/console/")
}

/// Redirects to the console.
pub(crate) async fn home() -> Redirect {
    Redirect::to("/console")
}

async fn nowhere() -> page::Refused {
    Problem::not_found("page not found in the console").into()
}
