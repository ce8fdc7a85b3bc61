//! LangGraph's threads over HTTP.

use std::path::Path;

use axum::http::Method;
use chat_memory::SessionId;
use chat_memory::checkpoints::{NewCheckpoint, Typed};
use chat_memory::store::url::StoreUrl;
use chat_memory::store::{Append, ChatStore as _};
use chat_memory::{Message, Namespace};
use chat_memory_server::keys::Right;
use chat_memory_testkit::{dynamodb_url, open_checkpoints, sqlite_url};
use serde_json::{Value, json};

use super::client::Api;

/// Stores a thread of three checkpoints, `1` to `3`, with that many messages.
async fn fill(url: &str, thread: &str) {
    let store = open_checkpoints(url).await;
    let value = |value: Value| Typed::new("json", value.to_string());
    let thread = SessionId::new(thread).expect("an id");
    let mut messages = Vec::new();
    for n in 1..=3 {
        messages.push(json!({"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "HumanMessage"],
            "kwargs": {"content": format!("<b>{n}</b>"), "additional_kwargs": {}, "response_metadata": {}}}));
        let parent = (n > 1).then(|| (n - 1).to_string());
        let metadata = value(json!({"source": "loop", "step": n}));
        let mut checkpoint = NewCheckpoint::new(n.to_string(), parent, value(json!({})), metadata);
        checkpoint.versions.extend([("messages".to_owned(), n.to_string()), ("key".to_owned(), "1".to_owned())]);
        checkpoint.values.insert("messages".to_owned(), Some(value(messages.clone().into())));
        checkpoint.values.insert("key".to_owned(), Some(Typed::new("msgpack+aes", "secret")));
        store.put(&thread, "", checkpoint).await.expect("it is put");
    }
    store.close().await.expect("it is closed");
}

async fn reads_threads(url: &str) {
    fill(url, "a/b").await;
    let api = Api::at(url);
    let list = api.get("/v1/threads").await.ok(200);
    assert_eq!(list["threads"], json!([{"id": "a/b", "checkpoint": "3", "last_at": null}]));
    assert!(list["next"].is_null() && list["cost"]["requests"].as_u64() > Some(0), "{list}");

    let path = "/v1/threads/a%2Fb/checkpoints";
    let first = api.get(&format!("{path}?limit=2")).await.ok(200);
    let ids =
        |page: &Value| page["checkpoints"].as_array().expect("a list").iter().map(|of| of["id"].clone()).collect::<Vec<_>>();
    assert_eq!((ids(&first), &first["checkpoints"][1]["newest"]), (vec![json!("3"), json!("2")], &json!(false)));
    let next = first["next"].as_str().expect("a cursor");
    let second = api.get(&format!("{path}?limit=2&after={next}")).await.ok(200);
    assert_eq!((ids(&second), &second["next"]), (vec![json!("1")], &Value::Null));
    assert_eq!(second["checkpoints"][0]["metadata"], json!({"source": "loop", "step": 1}));
    api.get(&format!("/v1/threads/other/checkpoints?after={next}")).await.problem(400, "bad-request");
    api.get(&format!("{path}?limit=101")).await.problem(400, "bad-request");
    assert_eq!(ids(&api.get("/v1/threads/other/checkpoints").await.ok(200)), [""; 0]);

    let state = api.get("/v1/threads/a%2Fb").await.ok(200);
    assert_eq!((&state["checkpoint"]["id"], state["messages"].as_array().map(Vec::len)), (&json!("3"), Some(3)));
    assert_eq!(state["values"], json!({"key": {"kind": "msgpack+aes", "bytes": 6, "encrypted": true}}));
    let state = api.get(&format!("{path}/1?format=anthropic")).await.ok(200);
    assert_eq!((&state["messages"][0]["content"], &state["messages"][1]), (&json!("<b>1</b>"), &Value::Null));
    api.get("/v1/threads/other").await.problem(404, "not-found");
    api.get(&format!("{path}/9")).await.problem(404, "not-found");
    api.get(&format!("{path}/%20")).await.problem(422, "invalid");
    assert_eq!(api.get("/v1/sessions?all=true").await.ok(200)["sessions"], json!([]), "a thread is no session");

    let page = api.get("/console/threads/a%2Fb?checkpoint=2").await;
    assert!(page.status.is_success() && !page.text().contains("<b>1</b>"), "{}", page.text());
    assert!(page.text().contains("loop, step 2") && page.text().contains("msgpack+aes"), "{}", page.text());
    let whole = api.get("/console/threads/a%2Fb/state?checkpoint=2").await;
    assert!(whole.header("content-type").starts_with("text/plain"));
    assert_eq!(whole.json()["messages"].as_array().map(Vec::len), Some(2));
    assert!(api.get("/console/threads").await.text().contains("href=\"/console/threads/a%2Fb\""));
    assert_eq!(api.get("/console/threads/other").await.status, 404);
    deletes_a_thread(url, &api).await;
}

/// The console deletes one thread after it was asked to, and leaves the others.
async fn deletes_a_thread(url: &str, api: &Api) {
    fill(url, "other").await;
    let page = api.get("/console/threads/a%2Fb").await;
    assert!(page.text().contains("href=\"/console/threads/a%2Fb/delete\""), "{}", page.text());
    let ask = api.get("/console/threads/a%2Fb/delete").await;
    assert!(ask.status.is_success() && ask.text().contains("Delete this thread?"), "{}", ask.text());
    let token =
        ask.text().split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token").to_owned();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let post = async |token: &str| api.raw(Method::POST, "/console/threads/a%2Fb/delete", &form, format!("token={token}")).await;
    assert_eq!(post("forged").await.status, 403);
    assert_eq!(api.get("/v1/threads/a%2Fb").await.status, 200, "nothing was deleted");
    let done = post(&token).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/console/threads?done=deleted"));
    assert!(api.get("/console/threads?done=deleted").await.text().contains("The thread was deleted."));
    api.get("/v1/threads/a%2Fb").await.problem(404, "not-found");
    api.get("/v1/threads/other").await.ok(200);
    assert_eq!(post(&token).await.status, 303, "a form that is sent twice");
}

#[tokio::test]
async fn console_pages_through_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = sqlite_url(folder.path());
    for n in 0..120 {
        fill(&url, &format!("thread-{n}")).await;
    }
    let api = Api::at(&url);
    let (mut path, mut seen, mut pages) = ("/console/threads".to_owned(), std::collections::BTreeSet::new(), 0);
    loop {
        let page = api.get(&path).await;
        let text = page.text();
        let links = text.split("href=\"").filter_map(|rest| rest.split('"').next());
        seen.extend(links.clone().filter(|link| link.starts_with("/console/threads/thread-")).map(str::to_owned));
        pages += 1;
        let next = links.filter(|link| link.starts_with("/console/threads?after=")).last();
        let Some(next) = next else { break };
        path = next.to_owned();
    }
    assert!(pages > 1 && seen.len() == 120, "{pages} pages, {} threads", seen.len());
}

#[tokio::test]
async fn thread_is_deleted_only_by_someone_who_may_write() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("{}?read_only=true", sqlite_url(folder.path()));
    fill(&sqlite_url(folder.path()), "a/b").await;
    let api = Api::at(&url);
    assert!(!api.get("/console/threads/a%2Fb").await.text().contains("/delete\""));
    assert_eq!(api.get("/console/threads/a%2Fb/delete").await.status, 403);
}

#[tokio::test]
async fn threads_are_read_from_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    reads_threads(&sqlite_url(folder.path())).await;
}

#[tokio::test]
async fn threads_are_read_from_dynamodb() {
    reads_threads(&dynamodb_url("api-threads").await).await;
}

/// What a key of another namespace, and one without the right, get.
#[tokio::test]
async fn keys_see_threads_of_their_namespace() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = sqlite_url(folder.path());
    let acme: StoreUrl = url.parse().expect("a store URL");
    let acme = acme.in_namespace(&Namespace::new("acme").expect("a name")).expect("a URL");
    assert!(Path::new(acme.path()).ends_with("chat.acme.db"));
    acme.open()
        .await
        .expect("a new file")
        .append(&SessionId::new("s").expect("an id"), &Append::new([Message::user("Hi")]))
        .await
        .expect("it is stored");
    fill(&acme.to_string(), "secret").await;
    fill(&url, "open").await;
    let [all, own, writer] = Api::locked(&url, [(None, &[Right::Read]), (Some("acme"), &[Right::Read]), (None, &[Right::Write])]);
    for (api, seen, hidden) in [(&all, "open", "secret"), (&own, "secret", "open")] {
        let list = api.get("/v1/threads").await.ok(200);
        assert_eq!((list["threads"].as_array().map(Vec::len), &list["threads"][0]["id"]), (Some(1), &json!(seen)));
        api.get(&format!("/v1/threads/{seen}")).await.ok(200);
        api.get(&format!("/v1/threads/{hidden}")).await.problem(404, "not-found");
        api.get(&format!("/v1/threads/{hidden}/checkpoints/1")).await.problem(404, "not-found");
    }
    let next = all.get("/v1/threads/open/checkpoints?limit=1").await.ok(200)["next"].as_str().expect("a cursor").to_owned();
    own.get(&format!("/v1/threads/open/checkpoints?after={next}")).await.problem(400, "bad-request");
    writer.get("/v1/threads").await.problem(403, "forbidden");
    all.without_key().get("/v1/threads").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn invalid_thread_id_is_called_one() {
    let api = Api::at("memory:");
    let long = "x".repeat(1_001);
    for (id, says) in [
        ("%0A", "a thread id must not hold control characters"),
        ("ckpt%23a", "a thread id must not start with \"ckpt#\""),
        (&long, "a thread id is limited to 1000 bytes"),
        ("%FF", "in the path: it is not percent-encoded UTF-8"),
    ] {
        let page = api.get(&format!("/console/threads/{id}")).await;
        assert_eq!(page.status, 400, "{}", page.text());
        assert!(page.text().to_lowercase().contains(&says.replace('"', "&quot;").to_lowercase()), "{}", page.text());
        let paths = ["/v1/threads/{id}", "/v1/threads/{id}/checkpoints", "/v1/threads/{id}/checkpoints/1"];
        for path in paths.map(|path| path.replace("{id}", id)) {
            let problem = api.get(&path).await.problem(400, "bad-request");
            let detail = problem["detail"].as_str().expect("a sentence");
            assert!(detail.contains(says) && !detail.contains("session"), "{path}: {detail}");
        }
    }
}

#[tokio::test]
async fn stores_without_threads_say_so() {
    let api = Api::at(&chat_memory_testkit::list_url("api-no-threads").await);
    api.get("/v1/threads").await.problem(501, "unsupported");
    assert_eq!(Api::at("memory:").get("/v1/threads").await.ok(200)["threads"], json!([]));
}
