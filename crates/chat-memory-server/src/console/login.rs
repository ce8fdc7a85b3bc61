//! Logging in with an API key, and out.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::form::Fields;
use super::page::{Page, Refused, answer, words};
use super::session_cookie::{Login, logs_in, logs_out};
use super::viewer::Viewer;
use crate::auth::lacks;
use crate::client::is_secure;
use crate::extract::Params;
use crate::keys::{Right, console_token};
use crate::metrics::Operation;
use crate::problem::{Problem, Reader};
use crate::service::Service;

/// How long the response to a wrong key takes, to slow down guessing.
const SLOWLY: Duration = Duration::from_millis(400);

/// Where to go after the login.
#[derive(Debug, Deserialize)]
pub(crate) struct Wish {
    next: Option<String>,
}

/// The form
pub(crate) async fn form(State(service): State<Service>, Params(wish): Params<Wish>, headers: HeaderMap) -> Response {
    let next = own(wish.next.as_deref());
    match service.keys() {
        None => Redirect::to(next).into_response(),
        Some(keys) if Login::of(&headers, keys).is_some() => Redirect::to(next).into_response(),
        Some(_) => page(next, None).into_response(),
    }
}

fn page<'a>(next: &str, error: Option<&str>) -> Page<'a> {
    let main = html! {
        h1 { "Log in" }
        p.hint { "With an API key of this service, as " code { "chat-memory key new" } " printed it." }
        @if let Some(error) = error { p.error role="alert" { (error) } }
        form.stack method="post" action="/console/login" {
            input type="hidden" name="next" value=(next);
            // So that a password manager saves it as a login.
            input.away type="text" name="username" value="chat-memory" autocomplete="username" readonly tabindex="-1" aria-hidden="true";
            label for="key" { "API key" }
            input id="key" name="key" type="password" autocomplete="current-password" spellcheck="false" required autofocus placeholder="cm_…";
            p { button.primary type="submit" { "Log in" } }
        }
    };
    Page { title: "Log in", viewer: None, class: "narrow login", main }
}

/// Logs in
pub(crate) async fn login(State(service): State<Service>, request: Request) -> Result<Response, Refused> {
    let Some(keys) = service.keys() else { return Ok(Redirect::to("/console").into_response()) };
    let secure = is_secure(request.extensions(), request.headers(), &service);
    let fields = Fields::read_short(request, &service).await?;
    let next = own(fields.get("next"));
    let text = fields.get("key").unwrap_or_default().trim();
    let refused = match keys.find(text).zip(console_token(text)) {
        Some((key, token)) if key.allows(Right::Read) => {
            let cookie = logs_in(&key, &token, secure).map_err(|e| Problem::of(&e, Reader::Client, Operation::Load))?;
            return Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response());
        }
        Some(_) => lacks(Right::Read),
        None => {
            let detail =
                "unknown API key: it was revoked or is incomplete; paste the whole key as `chat-memory key new` printed it";
            Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        }
    };
    tokio::time::sleep(SLOWLY).await;
    let words = words(&refused);
    Ok(answer(refused, page(next, Some(&words))))
}

/// Logs out
pub(crate) async fn logout(viewer: Viewer, request: Request) -> Result<Response, Refused> {
    let fields = Fields::read_short(request, &viewer.access.service).await?;
    viewer.check_token(fields.get("token"))?;
    let cookie = logs_out(viewer.secure).map_err(|e| Problem::of(&e, Reader::Client, Operation::Load))?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/console/login")).into_response())
}

/// The path if it is one of the console's; otherwise the console's first page.
fn own(path: Option<&str>) -> &str {
    let is_own = |path: &&str| {
        let below = path.strip_prefix("/console");
        below.is_some_and(|below| below.is_empty() || below.starts_with(['/', '?']))
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    };
    path.filter(is_own).unwrap_or("/console")
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn login_redirects_only_within_the_console() {
        for path in ["/console", "/console?all=true", "/console/sessions/a%2Fb?before=x"] {
            assert_eq!(own(Some(path)), path);
        }
        for path in
            ["", "/", "/consoles", "//example.org", "/console\\x", "https://example.org/console", "/console/\r\nx", "/docs"]
        {
            assert_eq!(own(Some(path)), "/console", "{path}");
        }
    }
}
