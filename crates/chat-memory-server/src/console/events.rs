//! New messages of a session, for an open page.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use chat_memory::store::Record;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

use super::message::MessageView;
use super::page::Refused;
use super::viewer::Viewer;
use crate::extract::{Params, Session};
use crate::sse;

/// How often the login of an open page is checked.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The page's position.
#[derive(Debug, Deserialize)]
pub(crate) struct From {
    after: Option<String>,
}

/// New records as they arrive, each as HTML
pub(crate) async fn events(
    viewer: Viewer,
    Session(session): Session,
    Params(from): Params<From>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let view = MessageView::new(&session, &viewer);
    let write = move |record: &Record| {
        json!({ "seq": record.seq, "rewind": record.rewind, "html": view.single_record(record).into_string() }).to_string()
    };
    let stream = sse::events(viewer.access.clone(), session, &headers, from.after.as_deref(), write).await?;
    // A page that stays open must not outlive its login.
    let (parts, body) = stream.into_parts();
    let events = body.into_data_stream().take_until(end_of_login(viewer));
    Ok(Response::from_parts(parts, Body::from_stream(events)))
}

/// Waits until the login ends: its key was revoked, or it expired.
async fn end_of_login(viewer: Viewer) {
    let (Some(login), Some(keys)) = (&viewer.login, viewer.access.service.keys()) else { return std::future::pending().await };
    while login.holds(keys) {
        tokio::time::sleep(ASK_EVERY).await;
    }
}
