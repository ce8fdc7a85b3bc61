//! A session as a file.

use axum::http::{HeaderMap, HeaderValue, header};
use chat_memory::store::{ChatStore as _, Load};
use chat_memory::wire::Format;
use serde::Deserialize;

use super::page::{Refused, query};
use super::viewer::Viewer;
use crate::extract::{Params, Session};
use crate::problem::Problem;

/// The format.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    format: Option<String>,
}

/// All entries of a session, one per line
pub(crate) async fn export(
    viewer: Viewer,
    Session(session): Session,
    Params(wanted): Params<Wanted>,
) -> Result<(HeaderMap, Vec<u8>), Refused> {
    let format = wanted.format.map_or(Ok(Format::default()), |name| name.parse());
    let format: Format = format.map_err(|e| Problem::bad_request(e.to_string()))?;
    let history = viewer.access.store.load(&session, &Load::all()).await;
    let history = history.map_err(|e| Refused::from(viewer.access.problem(&e)).in_session(&session))?;
    let mut lines = Vec::new();
    for (_, value) in format.write_entries(history.into_entries()) {
        serde_json::to_writer(&mut lines, &value).map_err(|_| Problem::internal())?;
        lines.push(b'\n');
    }
    let plain: String = session.as_str().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let encoded = query(session.as_str());
    let disposition = format!("attachment; filename=\"{plain}.{format}.jsonl\"; filename*=UTF-8''{encoded}.{format}.jsonl");
    let disposition = HeaderValue::from_str(&disposition).map_err(|e| Problem::bad_request(e.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson; charset=utf-8")),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((HeaderMap::from_iter(headers), lines))
}
