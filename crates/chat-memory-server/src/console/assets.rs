//! The console's own files, embedded in the program.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("../../assets/console.css");
const SCRIPT: &str = include_str!("../../assets/console.js");
const ICON: &str = include_str!("../../assets/icon.svg");

/// A browser may cache this: another version of a file has another address.
const FOR_A_YEAR: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The addresses of the files, each with a few digits of the hash of all of them.
pub(crate) struct Addresses {
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) icon: String,
}

/// Where the files are.
pub(crate) static ADDRESSES: LazyLock<Addresses> = LazyLock::new(|| {
    let digest = Sha256::digest([STYLE, SCRIPT, ICON].concat());
    let version: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let address = |name: &str| format!("/console/assets/{version}/{name}");
    Addresses { style: address("console.css"), script: address("console.js"), icon: address("icon.svg") }
});

/// Serves one of the files. The address of any version returns the current one.
pub(crate) async fn file(Path((_, name)): Path<(String, String)>) -> Response {
    let (kind, content) = match name.as_str() {
        "console.css" => ("text/css; charset=utf-8", STYLE),
        "console.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, FOR_A_YEAR)], content).into_response()
}
