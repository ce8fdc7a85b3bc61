//! What all pages share: their frame, their header, and the look of errors.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chat_memory::SessionId;
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::assets::ADDRESSES;
use super::viewer::Viewer;
use crate::problem::Problem;

/// Only the console's own files: no inline scripts or styles, no frames, no forms to other hosts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Without it a browser would send `Origin: null` with our own forms.
const REFERRERS: HeaderValue = HeaderValue::from_static("same-origin");

/// Characters that are not escaped in a path or a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Completes a response of the console, whatever sent it: shows problem documents as pages, and sets the headers that isolate a page.
pub(crate) fn of_console(path: &str, mut response: Response) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let page = Refused::from(problem).back_from(path).into_response();
        let (parts, body) = page.into_parts();
        // The headers of other layers stay, such as Allow.
        let own = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::WWW_AUTHENTICATE];
        own.iter().for_each(|name| drop(response.headers_mut().remove(name)));
        response.headers_mut().extend(parts.headers);
        *response.body_mut() = body;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, REFERRERS);
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    response
}

/// Escapes a text for a query.
pub(crate) fn query(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// The path of a session's page, or of one below it.
pub(crate) fn session_path(session: &SessionId, below: &str) -> String {
    format!("/console/sessions/{}{below}", query(session.as_str()))
}

/// A page without its frame.
pub(crate) struct Page<'a> {
    /// The window's title.
    pub(crate) title: &'a str,
    /// The page's viewer; `None` before the login.
    pub(crate) viewer: Option<&'a Viewer>,
    /// The kind of page, for its style.
    pub(crate) class: &'static str,
    pub(crate) main: Markup,
}

impl Page<'_> {
    /// Renders the whole document.
    pub(crate) fn whole(self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    title { (self.title) " · Chat memory" }
                    link rel="icon" href=(ADDRESSES.icon) type="image/svg+xml";
                    link rel="stylesheet" href=(ADDRESSES.style);
                    script src=(ADDRESSES.script) defer {}
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    (top(self.viewer))
                    main.(self.class) id="main" tabindex="-1" { (self.main) }
                }
            }
        }
    }
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        self.whole().into_response()
    }
}

fn top(viewer: Option<&Viewer>) -> Markup {
    html! {
        header.top.in[viewer.is_some_and(|viewer| viewer.login.is_some())] {
            a.brand href="/console" {
                (mark())
                span { "Chat memory" }
            }
            @if let Some(viewer) = viewer {
                ul.facts aria-label="This store" {
                    li.badge { (viewer.kind().name()) }
                    @if let Some(namespace) = &viewer.access.namespace {
                        li.badge { span.label { "namespace " } bdi { (namespace) } }
                    }
                    @if !viewer.may_write() { li.badge.quiet { "read only" } }
                }
                form.find role="search" aria-label="All sessions" method="get" action="/console/search" {
                    label.away for="find" { "Search" }
                    input type="search" id="find" name="q" placeholder="Search" title="Press / to search" maxlength="1024" autocomplete="off" dir="auto";
                }
                nav aria-label="Service" {
                    @if viewer.has_threads() { a href="/console/threads" { "Threads" } }
                    a href="/docs" { "API" }
                    @if let Some(login) = &viewer.login {
                        form method="post" action="/console/logout" {
                            (token(viewer))
                            span.who title="The key that you logged in with" { bdi { (login.key.name) } }
                            button.plain type="submit" { "Log out" }
                        }
                    }
                }
            }
        }
    }
}

/// The product's logo: records in a stack.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" focusable="false" {
            rect x="2" y="3" width="14" height="5" rx="2.5" {}
            rect x="8" y="9.5" width="14" height="5" rx="2.5" {}
            rect x="2" y="16" width="10" height="5" rx="2.5" {}
        }
    }
}

/// The field that identifies a form as this viewer's.
pub(crate) fn token(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name="token" value=(viewer.token()); }
}

/// A message shown once, after an action.
pub(crate) fn notice(text: &str) -> Markup {
    html! { p.notice role="status" { (text) } }
}

/// Formats a sentence with a capital and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let begun: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    if begun.ends_with(['.', '!', '?']) { begun } else { begun + "." }
}

/// Formats a number of things.
pub(crate) fn count(n: usize, what: &str) -> String {
    format!("{} {what}{}", number(n), if n == 1 { "" } else { "s" })
}

/// Formats a number with thousands separators.
pub(crate) fn number(n: impl ToString) -> String {
    let digits = n.to_string();
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// Formats a number of bytes with three digits.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..100_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Why a page is not shown: a problem, or a login is needed first.
#[derive(Debug)]
pub(crate) struct Refused(Box<Why>);

#[derive(Debug)]
enum Why {
    Login(String),
    /// Without a way back, [`of_console`] makes the page, with the one that the path implies.
    Problem {
        problem: Problem,
        back: Option<(String, &'static str)>,
        /// What was written into the form that is refused.
        written: Option<String>,
    },
}

impl Refused {
    /// Redirects to the login, and from there back to this path.
    pub(crate) fn login(path: &str) -> Self {
        Self(Box::new(Why::Login(path.to_owned())))
    }

    /// The same, with a link to continue.
    pub(crate) fn back(mut self, path: impl Into<String>, words: &'static str) -> Self {
        if let Why::Problem { back, .. } = &mut *self.0 {
            *back = Some((path.into(), words));
        }
        self
    }

    /// The same, with what was written into the form, so that it is not lost.
    pub(crate) fn keep(mut self, text: &str) -> Self {
        if let Why::Problem { written, .. } = &mut *self.0 {
            *written = Some(text.to_owned()).filter(|text| !text.is_empty());
        }
        self
    }

    /// The same, with a link back from this path: to the session or the list that it is about.
    pub(crate) fn back_from(self, path: &str) -> Self {
        let to_list = |refused: Self| refused.back("/console", "Back to the sessions");
        let mut below = path.strip_prefix("/console/").unwrap_or_default().split('/');
        match (below.next(), below.next()) {
            (Some("sessions"), Some(id)) => match percent_decode_str(id).decode_utf8().map(SessionId::stored) {
                Ok(Ok(session)) => self.back(session_path(&session, ""), "Back to the session"),
                _ => to_list(self),
            },
            (Some("search"), _) => self.back("/console/search", "Search again"),
            (Some("threads"), _) => self.back("/console/threads", "Back to the threads"),
            _ => to_list(self),
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(Why::Problem { problem, back: None, written: None }))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (problem, to, back, written) = match *self.0 {
            Why::Login(path) if path == "/console" => return Redirect::to("/console/login").into_response(),
            Why::Login(path) => return Redirect::to(&format!("/console/login?next={}", query(&path))).into_response(),
            Why::Problem { problem, back: None, .. } => return problem.into_response(),
            Why::Problem { problem, back: Some((to, back)), written } => (problem, to, back, written),
        };
        let status = problem.status();
        let words = words(&problem);
        let main = html! {
            h1 { (title(status)) }
            p.error role="alert" { (words) }
            @if let Some(text) = written {
                div.stack {
                    label for="written" { "What you wrote" }
                    textarea id="written" dir="auto" rows="6" readonly { "\n" (text) }
                }
            }
            p { a.button href=(to) { (back) } }
        };
        answer(problem, Page { title: title(status), viewer: None, class: "narrow", main })
    }
}

/// A page with a problem's status and headers.
pub(crate) fn answer(problem: Problem, page: Page<'_>) -> Response {
    let (mut parts, _) = problem.into_response().into_parts();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::WWW_AUTHENTICATE] {
        parts.headers.remove(name);
    }
    (parts.status, parts.headers, page).into_response()
}

/// A problem's sentence for someone at a browser, who sends no headers.
pub(crate) fn words(problem: &Problem) -> String {
    match problem.kind() {
        "conflict" => {
            "This session was modified since you saw it, so nothing was changed. Look at it again before you retry.".into()
        }
        "in-doubt" => {
            "The store did not answer, so this may have been stored or not. Send it again: it is never stored twice.".into()
        }
        "method-not-allowed" => "This address takes no such request. Open the page, and use its form.".into(),
        "key-reused" => "This form has already stored another text. Send it again to store this one, too.".into(),
        _ => sentence(problem.detail_in_console()),
    }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "Not logged in",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::PRECONDITION_FAILED => "Modified by someone else",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "Try again later",
        status if status.is_server_error() => "Request failed",
        _ => "Request refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_formatted_for_display() {
        assert_eq!([7, 999, 1_000, 1_234_567].map(number), ["7", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 999, 1_500, 123_456, 12_345_678].map(size), ["0 B", "999 B", "1.5 KB", "123 KB", "12.3 MB"]);
        assert_eq!((count(1, "record"), count(0, "record")), ("1 record".to_owned(), "0 records".to_owned()));
    }

    #[test]
    fn sentences_are_capitalised_and_end_with_a_full_stop() {
        assert_eq!(sentence("it is so"), "It is so.");
        assert_eq!((sentence("Why?"), sentence("")), ("Why?".to_owned(), ".".to_owned()));
    }

    #[test]
    fn session_path_encodes_any_id() {
        let path = |id: &str| session_path(&SessionId::new(id).expect("a good id"), "/clear");
        assert_eq!(path("a/b?c#d&é"), "/console/sessions/a%2Fb%3Fc%23d%26%C3%A9/clear");
    }
}
