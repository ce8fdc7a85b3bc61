//! A key sees the sessions of its namespace, and learns nothing about others.

use axum::http::Method;
use chat_memory_server::keys::Right;
use chat_memory_testkit::{dynamodb_url, sqlite_url};
use serde_json::{Value, json};

use super::client::{Answer, Api, assistant, messages, user};

const ALL: &[Right] = &[Right::Read, Right::Write, Right::Metrics];

/// What identifies a response: everything but ids, times and costs.
fn seen(answer: &Answer) -> (u16, Value) {
    let mut body = if answer.bytes.is_empty() { Value::Null } else { answer.json() };
    for varying in
        ["/position", "/created_at", "/last_at", "/records/0/created_at", "/records/0/sent_at", "/cost", "/actual", "/next"]
    {
        if let Some(value) = body.pointer_mut(varying) {
            value.take();
        }
    }
    if body["detail"].as_str().is_some_and(|detail| detail.contains("(now at ")) {
        body["detail"].take();
    }
    (answer.status.as_u16(), body)
}

/// What every operation returns for a session.
async fn everything(api: &Api, session: &str, foreign: &Foreign) -> Vec<(u16, Value)> {
    let one = format!("/v1/sessions/{session}");
    let path = messages(session);
    let key = [("idempotency-key", "shared")];
    let answers = [
        api.get(&path).await,
        api.get(&format!("{path}?after=start")).await,
        api.get(&format!("{path}?last=5")).await,
        api.get(&format!("{path}?before={}", foreign.page)).await,
        api.raw(Method::GET, &path, &[("if-none-match", &foreign.tag)], "").await,
        api.get(&one).await,
        api.get("/v1/sessions").await,
        api.get("/v1/sessions?owner=ada").await,
        api.get("/v1/sessions?all=true").await,
        api.get(&format!("/v1/sessions?after={}", foreign.list)).await,
        api.patch(&one, &json!({"title": "mine"})).await,
        api.post(&format!("{one}/rewind"), &[], &json!({"to": 0})).await,
        api.post(&format!("{one}/rewind"), &[], &json!({"turns": 5})).await,
        api.post(&path, &[("if-match", &foreign.tag)], &json!({"messages": [user("x")]})).await,
        api.post(&path, &key, &json!({"messages": [user("another body")]})).await,
        api.get(&path).await,
        api.delete(&path).await,
        api.delete(&one).await,
    ];
    answers.iter().map(seen).collect()
}

/// What the other namespace issued.
struct Foreign {
    tag: String,
    page: String,
    list: String,
}

#[tokio::test]
async fn namespaces_are_invisible_to_each_other_in_every_response() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for url in ["memory:".to_owned(), sqlite_url(folder.path()), dynamodb_url("namespaces").await] {
        println!("on {url}");
        let [acme, umbrella, outside] = Api::locked(&url, [(Some("acme"), ALL), (Some("umbrella"), ALL), (None, ALL)]);
        let secret = json!({"messages": [user("acme's secret"), assistant("kept")], "owner": "ada", "title": "acme's"});
        for session in ["plans", "more"] {
            acme.post(&messages(session), &[("idempotency-key", "shared")], &secret).await.ok(201);
            acme.turn(session, "acme's second").await;
        }
        let read = acme.get(&format!("{}?limit=1", messages("plans"))).await;
        let list = acme.get("/v1/sessions?owner=ada&limit=1").await.ok(200);
        let foreign = Foreign {
            tag: read.header("etag").to_owned(),
            page: read.json()["next"].as_str().expect("a cursor").to_owned(),
            list: list["next"].as_str().expect("a cursor").to_owned(),
        };

        // A session of acme's, and one that does not exist, are the same to everyone else.
        for other in [&umbrella, &outside] {
            let theirs = everything(other, "plans", &foreign).await;
            let nobodys = everything(other, "nothere", &foreign).await;
            let text = format!("{theirs:?}");
            assert!(!text.contains("acme") && !text.contains("secret"), "{text}");
            assert_eq!(text.replace("plans", "nothere"), format!("{nobodys:?}"));
        }
        assert_eq!(acme.texts("plans", "").await.len(), 4, "nothing was cleared, taken back or deleted");
        assert_eq!(acme.get("/v1/sessions/plans").await.ok(200)["title"], "acme's");
        assert_eq!(acme.get("/v1/sessions?all=true").await.ok(200)["sessions"].as_array().map(Vec::len), Some(2));
        let metrics = umbrella.get("/metrics").await;
        assert!(!["acme", "plans", "ada", "umbrella"].iter().any(|name| metrics.text().contains(name)), "{}", metrics.text());
    }
}

#[tokio::test]
async fn session_id_cannot_reach_another_namespace() {
    let url = dynamodb_url("prefixes").await;
    let [acme, outside] = Api::locked(&url, [(Some("acme"), ALL), (None, ALL)]);
    acme.turn("s", "secret").await;
    for id in ["ns%23acme%23s", "ns%23acme", "acme%23s", "acme%2Fs", "..%2Facme%2Fs", "..%2F..%2Facme"] {
        let answer = outside.get(&messages(id)).await;
        assert!(
            [400, 422].contains(&answer.status.as_u16()) || answer.json()["messages"] == json!([]),
            "{id}: {}",
            answer.text()
        );
    }
}
