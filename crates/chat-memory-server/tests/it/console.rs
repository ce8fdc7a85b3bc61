//! The console's pages, in this process: what they show, what they refuse, and that nothing in them is executed.

use axum::http::StatusCode;
use chat_memory::Role;
use chat_memory_server::keys::{Right, revoke};
use serde_json::json;

use crate::console_client::{self, Client, Page, Site};

/// Pages that a viewer who may write can open, once the session `trip` exists.
const PAGES: [&str; 14] = [
    "/console",
    "/console/search?q=where",
    "/console/sessions/trip?at=0",
    "/console?owner=",
    "/console?owner=nobody-there",
    "/console/new",
    "/console/costs",
    "/console/threads",
    "/console/sessions/trip",
    "/console/sessions/trip/costs",
    "/console/sessions/trip/rewind",
    "/console/sessions/trip/clear",
    "/console/sessions/trip/delete",
    "/console/no-such-page",
];

/// What a page must not have: an inline script or style, a handler, another host's file.
fn assert_harmless(path: &str, page: &Page) {
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{path}: {policy}");
    for rule in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "img-src 'self' data:", "connect-src 'self'"]
    {
        assert!(policy.contains(rule), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("cache-control"), "no-store", "{path}");
    for tag in page.tags() {
        let name = tag.split_whitespace().next().unwrap_or_default();
        assert!(!["style", "iframe", "object", "embed", "base"].contains(&name), "{path}: <{tag}>");
        if name == "script" {
            assert!(tag.contains("src=\"/console/assets/"), "{path}: <{tag}>");
        }
        if ["img", "link", "script"].contains(&name) {
            assert!(!tag.contains("http:") && !tag.contains("https:") && !tag.contains("=\"//"), "{path}: <{tag}>");
        }
        let attributes = attribute_names(tag);
        assert!(!attributes.iter().any(|name| name == "style" || name.starts_with("on")), "{path}: <{tag}>");
    }
    assert!(page.text.contains("></script>") || !page.text.contains("<script"), "{path}");
}

/// The names of a tag's attributes, without their values.
fn attribute_names(tag: &str) -> Vec<String> {
    let bare: String = tag.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    bare.split_whitespace().skip(1).map(|name| name.trim_end_matches('=').to_lowercase()).collect()
}

#[tokio::test]
async fn console_pages_have_no_inline_script_or_style() {
    let site = Site::open();
    let client = site.client();
    site.append("trip", &[(Role::User, "Where to?"), (Role::Assistant, "To *Lisbon*.\n\n| a |\n|:-:|\n| b |")]).await;
    for path in PAGES {
        let page = client.get(path).await;
        let expected = if path.ends_with("no-such-page") { StatusCode::NOT_FOUND } else { StatusCode::OK };
        assert_eq!(page.status, expected, "{path}: {}", page.text);
        assert_harmless(path, &page);
    }
    let locked = Site::locked();
    let login = locked.client().get("/console/login").await;
    assert_harmless("/console/login", &login);
}

#[tokio::test]
async fn page_assets_exist_and_are_cacheable() {
    let client = Site::open().client();
    let page = client.get("/console").await;
    let files: Vec<&str> = page.text.split('"').filter(|text| text.starts_with("/console/assets/")).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let answer = client.get(file).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert!(answer.header("cache-control").contains("immutable") && !answer.text.is_empty(), "{file}");
    }
    assert_eq!(client.get("/console/assets/0/other.js").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn stored_markup_is_escaped() {
    let site = Site::open();
    let text = "<script>alert(1)</script>\n\n[run](javascript:alert(2)) ![there](https://elsewhere.example/a.png) \
        ![here](data:image/png;base64,iVBORw0KGgo=) [web](https://example.org) <b onclick=\"x()\">b</b>";
    site.append("trip", &[(Role::User, text), (Role::Tool, "<img src=x onerror=alert(3)>")]).await;
    let page = site.client().get("/console/sessions/trip").await;
    assert_harmless("the session", &page);
    assert!(page.text.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.text.contains("&lt;img src=x"), "{}", page.text);
    assert!(page.text.contains("<img src=\"data:image/png;base64,iVBORw0KGgo=\" alt=\"here\""), "{}", page.text);
    assert!(!page.tags().any(|tag| tag.starts_with("img") && tag.contains("elsewhere")), "no image from elsewhere");
    let links: Vec<&str> = page.tags().filter(|tag| tag.starts_with("a ") && tag.contains("http")).collect();
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(links.iter().all(|link| link.contains("rel=\"noopener noreferrer\"")), "{links:?}");
    assert!(!page.tags().any(|tag| tag.contains("javascript:")), "{}", page.text);
}

#[tokio::test]
async fn titles_owners_and_ids_are_escaped() {
    let site = Site::open();
    let client = site.client();
    let form = client.get("/console/new").await.form("/console/new");
    let bad = "<script>alert(1)</script>\"'>";
    let started = client.post(&form, &[("text", bad), ("id", bad), ("title", bad), ("owner", bad)]).await;
    let session = started.leads_to();
    for path in
        ["/console".to_owned(), format!("/console?owner={}", percent(bad)), session.clone(), session.replace('?', "/costs?")]
    {
        let page = client.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert_harmless(&path, &page);
        assert!(page.text.contains("&lt;script&gt;alert(1)"), "{path}: {}", page.text);
    }
}

fn percent(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn repeated_form_submission_is_stored_once() {
    let site = Site::open();
    let client = site.client();
    let form = client.get("/console/new").await.form("/console/new");
    let sent = [("text", "Hello\r\nthere"), ("title", "A trip"), ("owner", "ada")];
    let (first, second) = tokio::join!(client.post(&form, &sent), client.post(&form, &sent));
    assert_eq!(first.leads_to(), second.leads_to(), "two clicks start one session");
    let session = first.leads_to();
    let page = client.get(&session).await;
    assert_eq!(page.count("class=\"message user\""), 1, "{}", page.text);
    let id = session.split('?').next().and_then(|path| path.rsplit('/').next()).expect("an id").to_owned();
    assert_eq!(site.messages(&id).await, [json!({"role": "user", "content": "Hello\nthere"})]);

    let below = |what: &str| format!("/console/sessions/{id}{what}");
    let form = page.form(&below("/messages"));
    let sent = [("text", "Hi."), ("role", "assistant")];
    assert_eq!(client.post(&form, &sent).await.status, StatusCode::SEE_OTHER);
    assert_eq!(client.post(&form, &sent).await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.messages(&id).await.len(), 2);
    let reused = client.post(&form, &[("text", "Other"), ("role", "assistant")]).await;
    assert_eq!(reused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(reused.text.contains("Other") && reused.text.contains("Send it again"), "the text is not lost: {}", reused.text);
    assert_eq!(client.post(&reused.form(&below("/messages")), &[("text", "Other")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.messages(&id).await.len(), 3);
    for (role, text) in [("tool", "x"), ("robot", "x"), ("user", ""), ("user", " \n ")] {
        assert_eq!(client.post(&form, &[("text", text), ("role", role)]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    let titled = client.post(&page.form(&below("/title")), &[("title", "Another trip")]).await;
    assert!(client.get(&titled.leads_to()).await.text.contains("<h1 dir=\"auto\">Another trip</h1>"));
    let asked = client.get(&below("/rewind")).await;
    assert!(asked.text.contains("Other"), "it shows what goes: {}", asked.text);
    let form = asked.form(&below("/rewind"));
    site.append(&id, &[(Role::User, "One more")]).await;
    let late = client.post(&form, &[]).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(site.messages(&id).await.len(), 4, "nothing that was not seen is taken back");
    let form = client.get(&below("/rewind")).await.form(&below("/rewind"));
    assert_eq!(client.post(&form, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.messages(&id).await.len(), 3);

    let form = client.get(&below("/clear")).await.form(&below("/clear"));
    assert_eq!(client.post(&form, &[]).await.status, StatusCode::SEE_OTHER);
    assert!(site.messages(&id).await.is_empty());
    site.append(&id, &[(Role::User, "After")]).await;
    assert_eq!(client.post(&form, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.messages(&id).await.len(), 1, "the same clear, sent again, clears nothing that came after");
    assert_eq!(client.get(&below("/rewind")).await.status, StatusCode::OK);
    let form = client.get(&below("/delete")).await.form(&below("/delete"));
    assert_eq!(client.post(&form, &[]).await.leads_to(), "/console?done=deleted");
    assert!(!client.get("/console?owner=ada").await.text.contains("Another trip"));
    assert_eq!(client.get(&below("/rewind")).await.status, StatusCode::UNPROCESSABLE_ENTITY, "there is no turn");
}

#[tokio::test]
async fn forged_and_cross_site_forms_are_refused() {
    let site = Site::open();
    let client = site.client();
    site.append("trip", &[(Role::User, "Hello")]).await;
    let form = client.get("/console/sessions/trip/delete").await.form("/console/sessions/trip/delete");
    let without: Vec<(String, String)> = Vec::new();
    let forged = vec![("token".to_owned(), "AAAA".to_owned())];
    let of_another = Site::open().client().get("/console/new").await.form("/console/new").fields;
    for fields in [without, forged, of_another] {
        let form = console_client::Form { fields, ..form.clone() };
        let refused = client.post(&form, &[]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_harmless("the refusal", &refused);
    }
    for header in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://elsewhere.example")] {
        assert_eq!(client.with(header).post(&form, &[]).await.status, StatusCode::FORBIDDEN, "{header:?}");
    }
    let kind = ("content-type", "text/plain");
    assert_eq!(client.with(kind).post(&form, &[]).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(site.messages("trip").await.len(), 1, "nothing was done");
    assert_eq!(client.with(("sec-fetch-site", "same-origin")).post(&form, &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn login_and_logout_work_with_a_key() {
    let site = Site::locked();
    let key = site.key("team", None, &[Right::Read, Right::Write]);
    let client = site.client();
    let asked = client.get("/console/sessions/a%2Fb").await;
    assert_eq!(asked.leads_to(), "/console/login?next=%2Fconsole%2Fsessions%2Fa%252Fb");
    let form = client.get(&asked.leads_to()).await.form("/console/login");
    for wrong in ["", "cm_x_y", &key.1[..key.1.len() - 1]] {
        let refused = client.post(&form, &[("key", wrong)]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(refused.text.contains("Unknown API key") && !refused.headers.contains_key("set-cookie"));
        assert_harmless("the refusal", &refused);
    }
    let metrics = site.key("metrics", None, &[Right::Metrics]);
    assert_eq!(client.post(&form, &[("key", &metrics.1)]).await.status, StatusCode::FORBIDDEN);
    let elsewhere = client.with(("sec-fetch-site", "cross-site")).post(&form, &[("key", &key.1)]).await;
    assert_eq!(elsewhere.status, StatusCode::FORBIDDEN, "nobody is logged in by another site");

    let done = client.post(&form, &[("key", &key.1)]).await;
    assert_eq!(done.leads_to(), "/console/sessions/a%2Fb");
    let cookie = done.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/console"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&key.1) && !cookie.contains("Secure"), "{cookie}");
    let inside = client.logged_in(&done);
    let page = inside.get("/console").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("team") && page.text.contains("New session"));
    assert_eq!(inside.get("/console/login").await.leads_to(), "/console");

    // A form of one login is invalid for another, even with the same key.
    let other = client.logged_in(&client.post(&form, &[("key", &key.1)]).await);
    let foreign = other.get("/console/new").await.form("/console/new");
    assert_eq!(inside.post(&foreign, &[("text", "x")]).await.status, StatusCode::FORBIDDEN);

    let out = inside.post(&page.form("/console/logout"), &[]).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(out.leads_to(), "/console/login");
    assert_eq!(client.get("/console").await.leads_to(), "/console/login");
    assert_eq!(
        client.with(("accept", "text/event-stream")).get("/console/sessions/a/events").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn revoked_key_ends_its_logins() {
    let site = Site::locked();
    let key = site.key("team", None, &[Right::Read, Right::Write]);
    let client = site.log_in(&key.1).await;
    let form = client.get("/console/new").await.form("/console/new");
    revoke(&site.keys_path(), &key.0).expect("revoked");
    // The file is checked once a second.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while client.get("/console").await.status == StatusCode::OK {
        assert!(std::time::Instant::now() < until, "the login outlives its key");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(client.get("/console").await.leads_to(), "/console/login");
    assert_eq!(client.post(&form, &[("text", "x")]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn login_sees_only_its_own_namespace() {
    let site = Site::locked();
    let (acme, globex) =
        (site.key("a", Some("acme"), &[Right::Read, Right::Write]), site.key("g", Some("globex"), &[Right::Read]));
    let inside = site.log_in(&acme.1).await;
    let form = inside.get("/console/new").await.form("/console/new");
    inside.post(&form, &[("text", "a secret of acme"), ("id", "trip"), ("title", "Acme's trip")]).await;
    assert!(inside.get("/console").await.text.contains("Acme's trip"));
    let other = site.log_in(&globex.1).await;
    for path in
        ["/console", "/console/costs", "/console/sessions/trip", "/console/sessions/trip/costs", "/console/sessions/trip/export"]
    {
        let page = other.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.text.contains("secret") && !page.text.contains("Acme"), "{path}: {}", page.text);
    }
    assert!(other.get("/console").await.text.contains("globex"), "it says which namespace it shows");
}

#[tokio::test]
async fn read_only_key_gets_no_forms_and_cannot_write() {
    let site = Site::locked();
    let (writer, reader) = (site.key("w", None, &[Right::Read, Right::Write]), site.key("r", None, &[Right::Read]));
    let inside = site.log_in(&writer.1).await;
    let form = inside.get("/console/new").await.form("/console/new");
    inside.post(&form, &[("text", "Hello"), ("id", "trip")]).await;
    let client = site.log_in(&reader.1).await;
    for path in ["/console", "/console/sessions/trip"] {
        let page = client.get(path).await;
        assert!(page.text.contains("read only"), "{path}");
        let posts: Vec<&str> = page.tags().filter(|tag| tag.starts_with("form") && tag.contains("\"post\"")).collect();
        assert!(posts.iter().all(|form| form.contains("/console/logout")), "{path}: {posts:?}");
    }
    let token = client.get("/console").await.form("/console/logout").fields;
    for path in
        ["/console/new", "/console/sessions/trip/messages", "/console/sessions/trip/clear", "/console/sessions/trip/delete"]
    {
        if !path.ends_with("/messages") {
            assert_eq!(client.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
        }
        let form = console_client::Form { action: path.to_owned(), fields: token.clone() };
        let refused = client.post(&form, &[("text", "x")]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}: {}", refused.text);
    }
    assert!(inside.get("/console/sessions/trip").await.text.contains("Hello"));
}

#[tokio::test]
async fn long_sessions_and_lists_are_paged() {
    let site = Site::open();
    let client = site.client();
    for n in 0..250 {
        site.append("trip", &[(Role::User, &format!("message {n}."))]).await;
    }
    let (mut path, mut seen, mut pages) = ("/console/sessions/trip".to_owned(), Vec::new(), 0);
    loop {
        let page = client.get(&path).await;
        pages += 1;
        seen.extend((0..250).filter(|n| page.text.contains(&format!("message {n}."))));
        let older =
            page.tags().find(|tag| tag.contains("?before=")).and_then(|tag| tag.split('"').find(|text| text.contains("before=")));
        let Some(older) = older else { break };
        path = older.replace("&amp;", "&");
    }
    seen.sort_unstable();
    assert_eq!((pages, seen), (3, (0..250).collect::<Vec<_>>()), "each message once");
    assert_eq!(client.get("/console/sessions/trip?before=forged").await.status, StatusCode::BAD_REQUEST);

    for n in 0..110 {
        site.append(&format!("session-{n}"), &[(Role::User, "Hello")]).await;
    }
    let first = client.get("/console?owner=").await;
    assert_eq!(first.count("href=\"/console/sessions/"), 100);
    let next = first.tags().filter_map(|tag| tag.split('"').find(|text| text.contains("after="))).next().expect("a next page");
    assert_eq!(client.get(&next.replace("&amp;", "&")).await.count("href=\"/console/sessions/"), 11);
    assert!(
        client.get("/console/costs").await.text.contains("records")
            || client.get("/console/costs?all=true").await.text.contains("records")
    );
}

#[tokio::test]
async fn session_is_exported_as_json_lines() {
    let site = Site::open();
    site.append("a/b", &[(Role::User, "Hello"), (Role::Assistant, "Hi.")]).await;
    let client = site.client();
    let openai = client.get("/console/sessions/a%2Fb/export?format=openai").await;
    assert_eq!(openai.text, "{\"role\":\"user\",\"content\":\"Hello\"}\n{\"role\":\"assistant\",\"content\":\"Hi.\"}\n");
    assert_eq!(
        openai.header("content-disposition"),
        "attachment; filename=\"a_b.openai.jsonl\"; filename*=UTF-8''a%2Fb.openai.jsonl"
    );
    let langchain = client.get("/console/sessions/a%2Fb/export?format=langchain").await;
    assert!(langchain.text.starts_with("{\"type\":\"human\""), "{}", langchain.text);
    assert_eq!(client.get("/console/sessions/a%2Fb/export?format=other").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn new_records_arrive_as_html_events() {
    let site = Site::open();
    let client: Client = site.client();
    site.append("trip", &[(Role::User, "Hello")]).await;
    let page = client.get("/console/sessions/trip").await;
    let events =
        page.tags().find_map(|tag| tag.split('"').find(|text| text.contains("/events?after="))).expect("an address").to_owned();
    site.append("trip", &[(Role::Assistant, "<b>Hi</b>\r\nthere")]).await;
    let event = client.first_event(&events).await;
    assert_eq!((&event["seq"], &event["rewind"]), (&json!(1), &json!(null)));
    let html = event["html"].as_str().expect("a text");
    assert!(html.starts_with("<li class=\"record\" id=\"r1\"") && html.contains("&lt;b&gt;Hi&lt;/b&gt;"), "{html}");
}

#[tokio::test]
async fn refused_request_of_a_browser_is_answered_with_a_page_and_the_way_back() {
    let site = Site::open();
    let client = site.client();
    site.append("trip", &[(Role::User, "Hello")]).await;
    let (sessions, session, threads) = ("href=\"/console\"", "href=\"/console/sessions/trip\"", "href=\"/console/threads\"");
    for (path, words, back) in [
        ("/console?order=x", "order: unknown variant `x`, expected `started` or `recent`", sessions),
        ("/console?before=x", "before: ", sessions),
        ("/console?after=x", "This link to a further page", sessions),
        ("/console/costs?all=x", "all: ", sessions),
        ("/console/costs?after=x", "This link to a further page", sessions),
        ("/console/sessions/trip?at=abc", "at: expected a whole number from 0", session),
        ("/console/sessions/trip?before=-1", "before: ", session),
        ("/console/sessions/trip/rewind?from=x", "from: ", session),
        ("/console/sessions/trip/edit?seq=x", "seq: ", session),
        ("/console/sessions/trip/edit", "missing field `seq`", session),
        ("/console/sessions/trip/regenerate?seq=x", "seq: ", session),
        ("/console/sessions/trip/redact?seq=x", "seq: ", session),
        ("/console/sessions/trip/fork?seq=x", "seq: ", session),
        ("/console/sessions/trip/go?to=yesterday", "Invalid place", session),
        ("/console/sessions/trip/go?to=1&to=2", "duplicate field `to`", session),
        ("/console/sessions/trip/export?format=x", "Unknown message format", session),
        ("/console/sessions/trip/events?after=x", "Invalid after", session),
        ("/console/sessions/trip/records/x", "Invalid record number", session),
        ("/console/sessions/trip/records/0/messages/x", "Invalid message number", session),
        ("/console/sessions/%FF", "percent-encoded", sessions),
        ("/console/sessions/%FF/export", "percent-encoded", sessions),
        ("/console/search?titles=x", "titles: ", "href=\"/console/search\""),
        ("/console/search?q=a&since=x", "Invalid first day", "value=\"a\""),
        ("/console/search?q=a&after=x", "This link to a further page", "value=\"a\""),
        ("/console/threads?after=x", "This link to a further page", threads),
        ("/console/threads/%FF", "percent-encoded", threads),
        ("/console/login?next=a&next=b", "duplicate field `next`", sessions),
    ] {
        let page = client.get(path).await;
        assert_eq!((page.status, page.header("content-type")), (StatusCode::BAD_REQUEST, "text/html; charset=utf-8"), "{path}");
        assert!(page.text.contains("role=\"alert\"") && page.text.contains(words), "{path}: {}", page.text);
        assert!(page.text.contains(back), "{path}: {}", page.text);
        assert_harmless(path, &page);
    }
    let form = |action: &str| console_client::Form { action: action.to_owned(), fields: Vec::new() };
    let page = client.post(&form("/console"), &[]).await;
    assert_eq!((page.status, page.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD"));
    assert!(page.text.contains("Open the page, and use its form.") && page.text.contains(sessions), "{}", page.text);
    for path in ["/console/nothing", "/console/sessions/trip/nothing"] {
        for page in [client.get(path).await, client.post(&form(path), &[]).await] {
            assert!(page.status == StatusCode::NOT_FOUND && page.text.contains("Page not found"), "{path}: {}", page.text);
        }
    }
    let long = client.get(&format!("/console?owner={}", "x".repeat(10_000))).await;
    assert!(long.status == StatusCode::URI_TOO_LONG && long.text.contains("too long"), "{}", long.text);
    assert_harmless("a long path", &long);
    let foreign = client.with(("host", "evil.example")).get("/").await;
    assert!(foreign.status == StatusCode::MISDIRECTED_REQUEST && foreign.text.contains("role=\"alert\""), "{}", foreign.text);
}

#[tokio::test]
async fn user_text_has_automatic_direction() {
    let site = Site::open();
    let client = site.client();
    let form = client.get("/console/new").await.form("/console/new");
    let sent = [("text", "שלום, מה שלומך?"), ("id", "שיחה"), ("title", "טיול"), ("owner", "עדה")];
    let session = client.post(&form, &sent).await.leads_to();
    let page = client.get(&session).await;
    for part in [
        "<h1 dir=\"auto\">טיול</h1>",
        "<div class=\"text\" dir=\"auto\">",
        "<code dir=\"auto\">שיחה</code>",
        "dir=\"auto\" rows=",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let list = client.get("/console").await;
    let links: Vec<&str> = list.tags().filter(|tag| tag.contains("/console/sessions/") || tag.contains("?owner=%D7")).collect();
    assert!(links.len() > 1 && links.iter().all(|link| link.contains("dir=\"auto\"")), "{links:?}");
}

#[tokio::test]
async fn form_for_a_new_session_adds_nothing_to_one_that_exists() {
    let site = Site::open();
    let client = site.client();
    site.append("there", &[(Role::User, "Hello")]).await;
    let form = client.get("/console/new").await.form("/console/new");
    let refused = client.post(&form, &[("text", "And this"), ("id", "there"), ("title", "Mine")]).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    assert!(refused.text.contains("exists already") && refused.text.contains("And this"), "{}", refused.text);
    assert!(!client.get("/console/sessions/there").await.text.contains("And this"));
    // The same form, sent twice for another id, is no conflict.
    for _ in 0..2 {
        client.post(&form, &[("text", "And this"), ("id", "another")]).await.leads_to();
    }
}

#[tokio::test]
async fn older_page_link_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("chats.db").display());
    let site = Site::on(&url);
    for n in 0..130 {
        site.append("trip", &[(Role::User, &format!("message {n}."))]).await;
    }
    let page = site.client().get("/console/sessions/trip").await;
    let older =
        page.tags().filter_map(|tag| tag.split('"').find(|text| text.contains("?before="))).next().expect("an older page");
    let older = older.replace("&amp;", "&");
    let number = older.split('&').next().expect("the record's number");
    // The cursor only spares the store some reading.
    for path in [older.as_str(), number, &format!("{number}&cursor=forged")] {
        let again = Site::on(&url).client().get(path).await;
        assert!(again.status == StatusCode::OK && again.text.contains("message 3."), "{path}: {}", again.text);
    }
    let elsewhere = site.client().get(&older.replace("trip", "other")).await;
    assert!(elsewhere.status == StatusCode::OK && !elsewhere.text.contains("message 3."), "{}", elsewhere.text);
}

#[tokio::test]
async fn long_text_is_truncated_with_a_link_to_the_whole() {
    let site = Site::open();
    let client = site.client();
    let long = "0123456789 é<b>".repeat(25_000);
    site.append("trip", &[(Role::User, "Hello"), (Role::Assistant, &long)]).await;
    site.append("trip", &[(Role::Tool, &long)]).await;
    site.append("trip", &[(Role::User, "The end")]).await;
    let page = client.get("/console/sessions/trip").await;
    assert!(page.text.len() < 100_000, "{}", page.text.len());
    let whole = page.text.split("Show all of it").filter_map(|before| before.rsplit('"').nth(1));
    let links: Vec<&str> = whole.filter(|text| text.contains("/records/")).collect();
    assert_eq!(links, ["/console/sessions/trip/records/0/messages/1", "/console/sessions/trip/records/1"]);
    let text = client.get(links[0]).await;
    assert_eq!((text.status, text.header("content-type")), (StatusCode::OK, "text/plain; charset=utf-8"));
    assert!(text.text == long, "to the byte");
    let record = client.get(links[1]).await;
    let record: serde_json::Value = serde_json::from_str(&record.text).expect("JSON");
    assert_eq!((&record["seq"], &record["messages"][0]["content"]), (&json!(1), &json!(long)));
    assert!(client.get("/console/sessions/trip/records/2").await.text.contains("The end"));
    for missing in ["/records/3", "/records/18446744073709551615", "/records/0/messages/2"] {
        let answer = client.get(&format!("/console/sessions/trip{missing}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{missing}");
    }
    site.append("other", &[(Role::User, &long)]).await;
    let asked = client.get("/console/sessions/other/rewind").await;
    assert!(asked.text.len() < 100_000 && asked.text.contains("/console/sessions/other/records/0/messages/0"));
}

#[tokio::test]
async fn cost_page_ends_where_a_single_item_is_full() {
    let site = Site::open();
    let client = site.client();
    for _ in 0..5 {
        site.append("trip", &[(Role::User, &"x".repeat(100_000))]).await;
    }
    let page = client.get("/console/sessions/trip/costs").await;
    assert!(page.text.contains("full (400 KB) at record 4") && page.text.contains("<td>full</td>"), "{}", page.text);
    assert!(page.count("class=\"tick\"") >= 8, "the axes have numbers: {}", page.text);
    assert!(page.text.contains("<th scope=\"row\">0</th>"), "numbered as in the session: {}", page.text);
    let session = client.get("/console/sessions/trip").await;
    assert!(session.text.contains("Record 0") && session.text.contains("Record 4"), "{}", session.text);
}
