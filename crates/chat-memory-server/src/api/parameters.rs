//! The parameters that several operations share, as the document describes them. The module `extract` reads them.

use utoipa::IntoParams;

/// The session in the path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it is only described")]
pub struct SessionPath {
    /// The session's id, percent-encoded: any text of 1 to 1,000 bytes without control characters that does not begin with `ns#`, `dir#` or `ckpt#`
    #[param(
        min_length = 1,
        max_length = 1000,
        pattern = r"^(?!ns#|dir#|ckpt#)[^\u0000-\u001f\u007f-\u009f]+$",
        example = "trip"
    )]
    session: String,
}

/// Makes a write safe to repeat.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it is only described")]
pub struct KeyHeader {
    /// Any text of yours that names this write, such as a UUID, plain or in quotes: for 24 hours it is done once in its session
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 1024, nullable = false, example = "6a1c7c9e-turn-1")]
    idempotency_key: Option<String>,
}

/// Refuses a write if the session was modified.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it is only described")]
pub struct IfMatchHeader {
    /// The position that the session must be at: an earlier answer's `ETag`, or its `position`. Good for a day
    #[param(rename = "If-Match", nullable = false, pattern = r#"^(W/)?("[A-Za-z0-9_-]+"|[A-Za-z0-9_-]+)$"#)]
    if_match: Option<String>,
}

/// Avoids reading again what the client already has.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it is only described")]
pub struct IfNoneMatchHeader {
    /// The `ETag` of an earlier answer, or several: 304 if nothing was written since
    #[param(rename = "If-None-Match", nullable = false)]
    if_none_match: Option<String>,
}

/// The last position of a stream of events.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it is only described")]
pub struct LastEventHeader {
    /// The id of the last event that came. A browser's `EventSource` sends it by itself
    #[param(rename = "Last-Event-ID", nullable = false, pattern = r"^[A-Za-z0-9_-]*$")]
    last_event_id: Option<String>,
}
