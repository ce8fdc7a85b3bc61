//! LangGraph's threads over HTTP.

use std::path::Path;

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
        let paths =
            ["/v1/threads/{id}", "/v1/threads/{id}/checkpoints", "/v1/threads/{id}/checkpoints/1", "/console/threads/{id}"];
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
