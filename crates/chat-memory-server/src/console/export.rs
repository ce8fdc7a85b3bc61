//! A session as a file.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use chat_memory::store::Record;
use chat_memory::wire::Format;
use serde::Deserialize;

use super::page::{Refused, query};
use super::viewer::Viewer;
use crate::extract::{Params, Session};
use crate::operations;
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
) -> Result<(HeaderMap, Body), Refused> {
    let format = wanted.format.map_or(Ok(Format::default()), |name| name.parse());
    let format: Format = format.map_err(|e| Problem::bad_request(e.to_string()))?;
    let write = move |record: &Record| {
        let mut lines = Vec::new();
        for (_, entry) in format.write_entries(record.entries.clone()) {
            // An entry of JSON is JSON.
            lines.extend(serde_json::to_vec(&entry).unwrap_or_default());
            lines.push(b'\n');
        }
        lines
    };
    let lines = operations::records(&viewer.access, &session, false, write).await?;
    let plain: String = session.as_str().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let encoded = query(session.as_str());
    let disposition = format!("attachment; filename=\"{plain}.{format}.jsonl\"; filename*=UTF-8''{encoded}.{format}.jsonl");
    let disposition = HeaderValue::from_str(&disposition).map_err(|e| Problem::bad_request(e.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson; charset=utf-8")),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((HeaderMap::from_iter(headers), Body::from_stream(lines)))
}
