//! Search over HTTP.

use chat_memory_server::keys::Right;
use chat_memory_testkit::{list_url, sqlite_url};
use serde_json::{Value, json};

use super::client::{Api, assistant, everywhere, messages, user};

/// All hits of a search, page by page.
async fn hits(api: &Api, query: &str) -> Vec<Value> {
    let (mut hits, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/search?{query}{after}")).await.ok(200);
        assert_eq!(page["unread"], 0, "{page}");
        hits.extend(page["hits"].as_array().expect("hits").clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return hits,
        }
    }
}

#[tokio::test]
async fn search_finds_messages_and_titles() {
    everywhere(async |api| {
        let turn = [user("Where to?"), assistant("To Lisbon <b>in May</b>.")];
        let body = json!({"messages": turn, "owner": "ada", "title": "A trip to Lisbon"});
        api.post(&messages("trip"), &[], &body).await.ok(201);
        api.turn("other", "lisbon").await;

        let found = hits(&api, "q=LISB%20may").await;
        let hit = &found[0];
        assert_eq!((found.len(), &hit["session"]["id"]), (1, &json!("trip")));
        let message = &hit["message"];
        assert_eq!((&message["seq"], &message["index"], &message["role"]), (&json!(0), &json!(1), &json!("assistant")));
        assert!(message["at"].is_string());
        let parts = json!([
            {"text": "To ", "match": false}, {"text": "Lisb", "match": true}, {"text": "on <b>in ", "match": false},
            {"text": "May", "match": true}, {"text": "</b>.", "match": false}
        ]);
        assert_eq!(hit["snippet"], parts);

        assert_eq!(hits(&api, "q=lisbon&owner=ada").await.len(), 2, "the title and the message");
        assert_eq!(hits(&api, "q=lisbon&session=other&limit=1").await.len(), 2, "page after page");
        let titles = hits(&api, "q=lisbon&titles=true").await;
        assert_eq!((titles.len(), &titles[0]["message"]), (1, &Value::Null));
        assert_eq!(hits(&api, "q=lisbon&until=2020-01-01T00:00:00Z").await.len(), 0);
        assert_eq!(hits(&api, "since=2020-01-01T00:00:00Z").await.len(), 2, "the sessions active since");
        assert_eq!(hits(&api, "since=2020-01-01&until=9999-01-01").await.len(), 2, "a date is its first instant");
        assert_eq!(hits(&api, "until=2020-01-01").await.len(), 0);
        api.delete(&messages("trip")).await.ok(200);
        assert_eq!(hits(&api, "q=may").await.len(), 0, "what was cleared");

        let page = api.get("/v1/search?q=lisbon&session=other&limit=1").await.ok(200);
        let next = page["next"].as_str().expect("a second hit");
        for (query, status, kind) in [
            ("".to_owned(), 422, "invalid"),
            ("q=%3F".to_owned(), 422, "invalid"),
            (format!("q={}", "x".repeat(1025)), 422, "invalid"),
            ("q=x&limit=0".to_owned(), 400, "bad-request"),
            ("q=x&session=s&owner=ada".to_owned(), 400, "bad-request"),
            ("q=x&owner=".to_owned(), 400, "bad-request"),
            ("q=x&since=yesterday".to_owned(), 400, "bad-request"),
            ("q=x&after=x".to_owned(), 400, "bad-request"),
            (format!("q=other&session=other&after={next}"), 422, "invalid"),
        ] {
            api.get(&format!("/v1/search?{query}")).await.problem(status, kind);
        }
    })
    .await;
}

#[tokio::test]
async fn search_stays_in_the_namespace_of_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["memory:".to_owned(), sqlite_url(folder.path())] {
        let rights: &[Right] = &[Right::Read, Right::Write];
        let keys = [(Some("acme"), rights), (Some("other"), rights), (None, rights), (Some("acme"), &[Right::Metrics])];
        let [acme, other, none, metrics] = Api::locked(&url, keys);
        for (api, title) in [(&acme, "of acme"), (&none, "of none")] {
            for n in 0..3 {
                let body = json!({"messages": [user("the secret word")], "title": format!("secret {title} {n}")});
                api.post(&messages(&format!("s{n}")), &[], &body).await.ok(201);
            }
        }
        assert_eq!((hits(&acme, "q=secret").await.len(), hits(&other, "q=secret").await.len()), (6, 0), "{url}");
        let titles = hits(&none, "q=secret&titles=true").await;
        assert!(
            titles.len() == 3 && titles.iter().all(|hit| hit["session"]["title"].as_str().is_some_and(|t| t.contains("of none")))
        );
        assert_eq!(hits(&other, "q=word&session=s0").await.len(), 0);
        let page = acme.get("/v1/search?q=secret&limit=1").await.ok(200);
        let next = page["next"].as_str().expect("more");
        other.get(&format!("/v1/search?q=secret&after={next}")).await.problem(400, "bad-request");
        metrics.get("/v1/search?q=secret").await.problem(403, "forbidden");
        acme.without_key().get("/v1/search?q=secret").await.problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn list_layout_table_is_searched() {
    let api = Api::at(&list_url("api-search").await);
    api.turn("s", "where is lisbon").await;
    assert_eq!(hits(&api, "q=lisbon&session=s").await.len(), 2);
    assert_eq!(hits(&api, "q=lisbon").await.len(), 2, "all sessions");
    api.get("/v1/search?q=lisbon&owner=ada").await.problem(501, "unsupported");
}
