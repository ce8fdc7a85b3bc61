//! The service on a table that Flowise or LangChain created: one item per session.

use axum::http::Method;
use chat_memory_testkit::list_url;
use serde_json::json;

use super::client::{Api, messages, user};

#[tokio::test]
async fn list_layout_table_is_served() {
    let api = Api::at(&list_url("api-list").await);
    let path = messages("s");
    let (body, key) = (json!({"messages": [user("once")]}), [("idempotency-key", "turn 1")]);
    api.post(&path, &key, &body).await.ok(201);
    assert_eq!(api.post(&path, &key, &body).await.header("idempotent-replayed"), "true");
    let tag = api.get(&path).await.header("etag").to_owned();
    api.turn("s", "two").await;
    assert_eq!(api.texts("s", "").await, ["once", "two?", "two!"]);
    let late = [("if-match", tag.as_str())];
    api.post(&path, &late, &body).await.problem(412, "conflict");
    api.call(Method::POST, "/v1/sessions/s/rewind", &[], &json!({"turns": 1})).await.ok(200);
    assert_eq!(api.texts("s", "").await, ["once"]);
    let sessions = api.get("/v1/sessions?all=true").await.ok(200);
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
    assert_eq!((&sessions["sessions"][0]["first_words"], &sessions["order"]), (&json!("once"), &serde_json::Value::Null));
    for query in ["limit=3", "order=recent", "order=started"] {
        api.get(&format!("/v1/sessions?all=true&{query}")).await.problem(400, "bad-request");
    }
    api.delete(&path).await.ok(200);
    assert_eq!(api.texts("s", "").await, [""; 0]);
}
