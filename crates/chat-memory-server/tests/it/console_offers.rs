//! What the console offers can be done, and what was typed is never lost.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use chat_memory::Role::{Assistant, System, User};
use chat_memory_server::keys::Right;
use serde_json::json;

use crate::console_client::{Client, Page, Site};

/// The addresses of the links that a page shows, without those to other hosts and to places within a page.
fn links(page: &Page) -> BTreeSet<String> {
    let mut hidden = 0;
    let mut found = BTreeSet::new();
    for (_, rest) in page.text.match_indices('<').map(|(at, _)| (at, &page.text[at + 1..])) {
        let tag = rest.split('>').next().unwrap_or_default();
        // Of what is hidden, only list items and links are used here, and neither is nested.
        match tag.split(' ').next().unwrap_or_default() {
            "li" => hidden = usize::from(tag.ends_with(" hidden")),
            "/li" => hidden = 0,
            "a" if hidden == 0 && !tag.ends_with(" hidden") => {
                let address = tag.split(" href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an address");
                let address = address.replace("&amp;", "&");
                found.extend(address.split('#').next().filter(|path| path.starts_with("/console")).map(str::to_owned));
            }
            _ => {}
        }
    }
    found
}

/// Sessions of every shape that leaves something out.
async fn fill(site: &Site) {
    let turn = [(User, "Where to?"), (Assistant, "To *Lisbon*.")];
    site.append("turns", &turn).await;
    site.append("turns", &turn).await;
    site.append("system-alone", &[(System, "Be brief.")]).await;
    site.append("answer-first", &[(Assistant, "Hello!"), (User, "Hi."), (Assistant, "How are you?")]).await;
    site.append("answers", &[(Assistant, "Hello!")]).await;
    site.append("split", &[(User, "One?")]).await;
    site.append("split", &[(Assistant, "One!"), (User, "Two?")]).await;
    site.write("entries", "/messages", &json!({"entries": [{"type": "event", "n": 1}]})).await;
    for session in ["taken-back", "taken-back-whole", "cleared", "cleared-and-on"] {
        site.append(session, &turn).await;
        site.append(session, &turn).await;
    }
    site.write("taken-back", "/rewind", &json!({"turns": 1})).await;
    site.write("taken-back-whole", "/rewind", &json!({"to": 0})).await;
    site.clear("cleared").await;
    site.clear("cleared-and-on").await;
    site.append("cleared-and-on", &turn).await;
    site.append("redacted", &turn).await;
    site.write("redacted", "/records/0/redact", &json!({})).await;
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let tools = json!({"messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "x".repeat(70_000)},
    ]});
    site.write("tools", "/messages", &tools).await;
    site.write("turns", "/fork", &json!({"to": "copy", "seq": 0})).await;
    for n in 0..130 {
        site.append("long", &[(User, &format!("message {n}"))]).await;
    }
}

/// Follows every link from these pages on; returns the pages.
async fn crawl(client: &Client, from: &[&str]) -> BTreeSet<String> {
    let mut open: Vec<String> = from.iter().map(|path| (*path).to_owned()).collect();
    let mut seen: BTreeSet<String> = open.iter().cloned().collect();
    while let Some(path) = open.pop() {
        let page = client.get(&path).await;
        assert!(page.status.is_success() || page.status.is_redirection(), "{path}: {}: {}", page.status, page.text);
        open.extend(links(&page).into_iter().filter(|link| seen.insert(link.clone())));
    }
    seen
}

#[tokio::test]
async fn every_link_of_the_console_leads_to_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("chats.db").display());
    for site in [Site::open(), Site::on(&url)] {
        fill(&site).await;
        let pages = crawl(&site.client(), &["/console", "/console/sessions/none", "/console/search?q=where"]).await;
        for offered in [
            "/console/sessions/turns/rewind",
            "/console/sessions/turns/fork",
            "/console/sessions/turns/regenerate?seq=1&n=1",
            "/console/sessions/turns/edit?seq=1&n=0",
            "/console/sessions/answer-first/regenerate?seq=0&n=2",
            "/console/sessions/split/regenerate?seq=1&n=0",
            "/console/sessions/entries/redact?seq=0",
            "/console/sessions/entries/fork?seq=0",
            "/console/sessions/system-alone/rewind?from=0",
            "/console/sessions/taken-back/rewind?from=0",
            "/console/sessions/cleared-and-on/fork?seq=3",
            "/console/sessions/long/rewind",
        ] {
            assert!(pages.contains(offered), "{offered}: {pages:#?}");
        }
        for nothing in ["none", "cleared", "taken-back-whole"] {
            let path = format!("/console/sessions/{nothing}/");
            let changes = |page: &&String| page.starts_with(&path) && ["fork", "rewind"].iter().any(|what| page.contains(what));
            assert_eq!(pages.iter().filter(changes).collect::<Vec<_>>(), [""; 0]);
        }
        assert!(!pages.contains("/console/sessions/entries/rewind") && !pages.contains("/console/sessions/answers/rewind"));
    }
    let read_only = Site::on(&format!("{url}?read_only=true"));
    let pages = crawl(&read_only.client(), &["/console", "/console/sessions/none"]).await;
    let changes = |page: &&String| {
        ["fork", "rewind", "edit?", "regenerate", "redact?", "clear", "delete"]
            .iter()
            .any(|what| page.contains(&format!("/{what}")))
    };
    let changes: Vec<_> = pages.iter().filter(changes).filter(|page| !page.starts_with("/console/sessions/cleared")).collect();
    assert_eq!(changes, [""; 0], "a store that is read only offers no change");
}

#[tokio::test]
async fn no_link_of_the_console_needs_a_right_that_the_key_lacks() {
    let site = Site::locked();
    let writer = site.key("w", None, &[Right::Read, Right::Write]);
    let inside = site.log_in(&writer.1).await;
    let form = inside.get("/console/new").await.form("/console/new");
    inside.post(&form, &[("text", "Hello"), ("id", "trip")]).await.leads_to();
    crawl(&inside, &["/console", "/console/sessions/trip", "/console/sessions/none"]).await;
    let reader = site.key("r", None, &[Right::Read]);
    crawl(&site.log_in(&reader.1).await, &["/console", "/console/sessions/trip", "/console/sessions/none"]).await;
}

#[tokio::test]
async fn refused_form_keeps_what_was_typed() {
    let site = Site::open();
    let client = site.client();
    site.append("trip", &[(User, "Hello")]).await;
    let session = client.get("/console/sessions/trip").await;
    // The browser counts characters, the limit bytes.
    let long = "日".repeat(400);
    let titled = client.post(&session.form("/console/sessions/trip/title"), &[("title", &long)]).await;
    assert_eq!(titled.status, StatusCode::UNPROCESSABLE_ENTITY);
    let form = titled.form("/console/sessions/trip/title");
    assert!(form.fields.contains(&("title".to_owned(), long.clone())), "{}", titled.text);
    client.post(&form, &[("title", "日本")]).await.leads_to();
    client.post(&session.form("/console/sessions/trip/title"), &[("title", " ")]).await.leads_to();

    let redact = client.get("/console/sessions/trip/redact?seq=0").await.form("/console/sessions/trip/redact");
    let fork = client.get("/console/sessions/trip/fork").await.form("/console/sessions/trip/fork");
    let edit = client.get("/console/sessions/trip/edit?seq=0&n=0").await.form("/console/sessions/trip/edit");
    let new = client.get("/console/new").await.form("/console/new");
    let refused = [
        (client.post(&redact, &[("replacement", &long)]).await, "400 characters in place"),
        (client.post(&fork, &[("title", &long)]).await, "a title for the fork"),
        (client.post(&new, &[("text", "Hello"), ("title", &long)]).await, "a title"),
        (client.post(&new, &[("text", "Hello"), ("owner", &long)]).await, "an owner"),
        (client.post(&new, &[("text", "Hello"), ("id", &long)]).await, "an id"),
        (client.get(&format!("/console?owner={}", percent(&long))).await, "an owner of a list"),
        (client.get(&format!("/console/search?q=a&owner={}", percent(&long))).await, "an owner of a search"),
    ];
    for (page, what) in refused {
        assert!(page.status.is_client_error() && page.text.contains("role=\"alert\""), "{what}: {}", page.text);
        assert!(page.text.contains(&format!("value=\"{long}\"")), "{what}: {}", page.text);
    }
    // What the form was about is gone.
    site.clear("trip").await;
    for (form, field) in [(&redact, "replacement"), (&edit, "text")] {
        let page = client.post(form, &[(field, "as I would put it")]).await;
        assert!(page.status.is_client_error() && page.text.contains("What you wrote"), "{field}: {}", page.text);
        assert!(page.text.contains("as I would put it") && page.text.contains("Back to the session"), "{field}: {}", page.text);
    }
    // The service was restarted since, and knows no form of before.
    let restarted = Site::open().client();
    for (form, field) in [(&new, "text"), (&edit, "text"), (&fork, "title"), (&redact, "replacement")] {
        let page = restarted.post(form, &[(field, "as I would put it")]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(page.text.contains("What you wrote") && page.text.contains("as I would put it"), "{field}: {}", page.text);
    }
}

fn percent(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn page_says_that_a_wanted_record_is_not_there() {
    let site = Site::open();
    let client = site.client();
    fill(&site).await;
    for (session, to, said) in [
        ("turns", "99", "There is no record 99: the last one is record 1."),
        ("turns", "1,000", "There is no record 1,000: the last one is record 1."),
        ("none", "0", "There is no record 0: this session has none."),
        ("taken-back", "1", "Record 1 is no longer in this session."),
        ("turns", "2100-01-01", "Nothing was sent from that time on."),
    ] {
        let place = client.get(&format!("/console/sessions/{session}/go?to={to}")).await.leads_to();
        let page = client.get(&place).await;
        assert!(page.status == StatusCode::OK && page.text.contains("class=\"notice\""), "{session} {to}: {}", page.text);
        assert!(page.text.contains(said), "{session} {to}: {}", page.text);
    }
    for (session, to) in [("turns", "1"), ("turns", "start"), ("cleared", "start"), ("turns", "2000-01-01"), ("none", "end")] {
        let place = client.get(&format!("/console/sessions/{session}/go?to={to}")).await.leads_to();
        assert!(!client.get(&place).await.text.contains("class=\"notice\""), "{session} {to}");
    }
}

#[tokio::test]
async fn remedies_are_for_someone_at_a_browser() {
    let site = Site::locked();
    let (writer, reader) = (site.key("w", None, &[Right::Read, Right::Write]), site.key("r", None, &[Right::Read]));
    let inside = site.log_in(&writer.1).await;
    let form = inside.get("/console/new").await.form("/console/new");
    inside.post(&form, &[("text", "Hello"), ("id", "trip")]).await.leads_to();
    let reader = site.log_in(&reader.1).await;
    for (client, path, said) in [
        (&reader, "/console/new", "log in with one that has it"),
        (&reader, "/console/new", "chat-memory key new --keys FILE --name NAME --right read --right write"),
        (&inside, "/console/usage", "chat-memory key new --keys FILE --name NAME --right read --right metrics"),
        (&inside, "/console?after=old", "open the list again"),
        (&inside, "/console/search?q=a&after=old", "open the list again"),
        (&inside, "/console/sessions/trip/redact?seq=7", "Record 7 cannot be redacted: it does not exist"),
    ] {
        let page = client.get(path).await;
        assert!(page.status.is_client_error() && page.text.contains(said), "{path}: {}", page.text);
        assert!(!page.text.contains("exactly as returned") && !page.text.contains("(at "), "{path}: {}", page.text);
    }
}
