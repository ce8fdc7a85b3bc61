//! A request that is repeated with its key.

use axum::http::Method;
use serde_json::json;

use super::client::{Api, everywhere, messages, user};

#[tokio::test]
async fn repeated_key_gets_the_first_response() {
    everywhere(async |api| {
        let (path, body) = (messages("s"), json!({"messages": [user("once")]}));
        let key = [("idempotency-key", "turn 1, é")];
        let first = api.post(&path, &key, &body).await;
        let mut expected = first.ok(201);
        assert!(!first.headers.contains_key("idempotent-replayed"));
        for n in 0..2 {
            let again = api.post(&path, &key, &body).await;
            let mut answer = again.ok(201);
            expected["cost"].take();
            answer["cost"].take();
            assert_eq!(answer, expected, "all is the same but for the cost");
            assert_eq!(again.header("etag"), first.header("etag"), "try {n}");
            assert_eq!(again.header("idempotent-replayed"), "true");
            // Also after others appended, though the ETag is no longer the session's position then.
            api.turn("s", &n.to_string()).await;
        }
        // The draft standard quotes the key: it is the same key.
        let quoted = api.post(&path, &[("idempotency-key", "\"turn 1, é\"")], &body).await;
        assert_eq!((quoted.ok(201)["seq"].clone(), quoted.header("idempotent-replayed")), (json!(0), "true"));
        assert_eq!(api.texts("s", "").await, ["once", "0?", "0!", "1?", "1!"]);

        // Repeating a write that expected a position does not conflict with itself.
        let tag = api.get(&path).await.header("etag").to_owned();
        for replayed in ["", "true"] {
            let both = [("idempotency-key", "turn 2"), ("if-match", tag.as_str())];
            let answer = api.post(&path, &both, &json!({"messages": [user("two")]})).await;
            assert_eq!((answer.ok(201)["seq"].clone(), answer.header("idempotent-replayed")), (json!(3), replayed));
        }
        // In another session the same text is another key.
        assert_eq!(api.post(&messages("other"), &key, &body).await.ok(201)["seq"], 0);
    })
    .await;
}

#[tokio::test]
async fn key_with_another_body_is_refused() {
    everywhere(async |api| {
        let (path, key) = (messages("s"), [("idempotency-key", "k")]);
        api.post(&path, &key, &json!({"messages": [user("one")]})).await.ok(201);
        for other in [json!({"messages": [user("two")]}), json!({"messages": [user("one")], "metadata": {"n": 1}})] {
            let problem = api.post(&path, &key, &other).await.problem(422, "key-reused");
            assert!(
                problem["detail"].as_str().expect("a sentence").contains("another")
                    || problem["detail"].as_str().expect("a sentence").contains("new key")
            );
        }
        api.raw(Method::DELETE, &path, &key, "").await.problem(422, "key-reused");
        assert_eq!(api.texts("s", "").await, ["one"]);
    })
    .await;
}

#[tokio::test]
async fn invalid_idempotency_keys_are_refused() {
    let api = Api::at("memory:");
    let body = json!({"messages": [user("x")]});
    for wrong in ["", "\"\"", &"k".repeat(1025)] {
        api.post(&messages("s"), &[("idempotency-key", wrong)], &body).await.problem(400, "bad-request");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    api.post(&messages("s"), &twice, &body).await.problem(400, "bad-request");
    let rewind = api.post("/v1/sessions/s/rewind", &[("idempotency-key", "k")], &json!({"turns": 1})).await;
    assert!(rewind.problem(400, "bad-request")["detail"].as_str().expect("a sentence").contains("If-Match"));
    let ticket = json!({"messages": [user("x")], "ticket": "EQAAAAAAAAAA"});
    api.post(&messages("s"), &[("idempotency-key", "k")], &ticket).await.problem(400, "bad-request");
    assert_eq!(api.post(&messages("s"), &[], &ticket).await.problem(422, "invalid")["pointer"], "/ticket");
    assert_eq!(api.texts("s", "").await, [""; 0]);
}

#[tokio::test]
async fn repeated_clear_keeps_later_messages() {
    everywhere(async |api| {
        let (path, key) = (messages("s"), [("idempotency-key", "clear 1")]);
        api.turn("s", "old").await;
        let first = api.raw(Method::DELETE, &path, &key, "").await;
        assert_eq!(first.ok(200)["erased"], 1);
        api.turn("s", "new").await;
        let again = api.raw(Method::DELETE, &path, &key, "").await;
        assert_eq!((again.ok(200)["seq"].clone(), again.header("idempotent-replayed")), (first.json()["seq"].clone(), "true"));
        assert_eq!(again.header("etag"), first.header("etag"));
        assert_eq!(api.texts("s", "").await, ["new?", "new!"]);
    })
    .await;
}
