//! Submitted forms, checked to come from this viewer's own pages.

use std::fmt;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};

use super::page::Refused;
use super::viewer::Viewer;
use crate::extract::{bytes, short_bytes};
use crate::memory::Held;
use crate::problem::Problem;
use crate::service::Service;

/// A form's fields.
#[derive(Default)]
pub(crate) struct Fields(Vec<(String, String)>);

/// Only the names: the values include keys and form tokens.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Fields {
    /// A field's text; `None` if it is missing or blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        found.filter(|value| !value.trim().is_empty())
    }

    /// What was written into the form, as the fields for it have it.
    pub(crate) fn written(&self) -> String {
        let written = ["text", "title", "id", "owner", "replacement"].into_iter().filter_map(|name| self.get(name));
        written.collect::<Vec<_>>().join("\n").replace("\r\n", "\n")
    }

    /// Reads the fields of a short body, from any viewer.
    pub(crate) async fn read_short(request: Request, service: &Service) -> Result<Self, Problem> {
        check(request.headers())?;
        Self::of(&short_bytes(request, service).await?)
    }

    /// Reads the fields of a body that may contain a text to store, from a viewer who may write.
    async fn read(request: Request, service: &Service) -> Result<(Self, Held), Problem> {
        check(request.headers())?;
        let (body, mut held) = bytes(request, service).await?;
        // The fields are copies of the body.
        service.memory().for_reading(&mut held, 3 * body.len()).await?;
        Self::of(&body).map(|fields| (fields, held))
    }

    fn of(body: &[u8]) -> Result<Self, Problem> {
        let fields: Vec<_> =
            url::form_urlencoded::parse(body).take(MOST_FIELDS + 1).map(|(name, text)| (name.into(), text.into())).collect();
        if fields.len() > MOST_FIELDS {
            return Err(Problem::bad_request(format!("a form may have {MOST_FIELDS} fields at most")));
        }
        Ok(Self(fields))
    }
}

/// More fields than any of the console's forms has.
const MOST_FIELDS: usize = 100;

/// Refuses what no console form sends, before anything is read.
fn check(headers: &HeaderMap) -> Result<(), Problem> {
    not_of_another_site(headers)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return Ok(());
    }
    let detail = "the console accepts only requests of its own forms";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-a-form", detail))
}

/// A form of a viewer who may write.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) viewer: Viewer,
    pub(crate) fields: Fields,
    /// The memory reserved for the fields.
    pub(crate) _held: Held,
}

impl FromRequest<Service> for Posted {
    type Rejection = Refused;
    async fn from_request(request: Request, service: &Service) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let viewer = <Viewer as axum::extract::FromRequestParts<Service>>::from_request_parts(&mut parts, service).await?;
        viewer.must_write()?;
        let path = parts.uri.path().to_owned();
        let (fields, held) = Fields::read(Request::from_parts(parts, body), service).await?;
        if let Err(problem) = viewer.check_token(fields.get("token")) {
            return Err(Refused::from(problem).keep(&fields.written()).back_from(&path));
        }
        Ok(Self { viewer, fields, _held: held })
    }
}

/// Refuses requests that another site's page made this browser send. If the browser sends no `Sec-Fetch-Site`, as over plain HTTP,
/// its `Origin` must be this host; a client that sends neither is not a current browser.
fn not_of_another_site(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let own = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some_and(|host| text("host").is_some_and(|own| own.eq_ignore_ascii_case(host)))
        }
        (None, None) => true,
    };
    if own { Ok(()) } else { Err(Problem::forbidden("form refused: it was sent by a page of another site")) }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn cross_site_forms_are_refused() {
        let allowed = |given: &[(&'static str, &'static str)]| {
            let given = given.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            not_of_another_site(&given.collect()).is_ok()
        };
        assert!(allowed(&[]) && allowed(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(!allowed(&[("sec-fetch-site", "cross-site")]) && !allowed(&[("sec-fetch-site", "same-site")]));
        assert!(allowed(&[("origin", "http://10.0.0.7:8080"), ("host", "10.0.0.7:8080")]));
        assert!(!allowed(&[("origin", "http://10.0.0.7:8081"), ("host", "10.0.0.7:8080")]));
        assert!(!allowed(&[("origin", "null"), ("host", "10.0.0.7:8080")]));
    }
}
