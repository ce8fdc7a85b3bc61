//! Appending: the result, and what is refused.

use axum::http::Method;
use serde_json::json;

use super::client::{Api, assistant, encoded, everywhere, messages, texts, user};

#[tokio::test]
async fn append_response_has_position_and_cost() {
    everywhere(async |api| {
        let body = json!({"messages": [user("Where to?"), assistant("To Lisbon.")], "metadata": {"n": 1}, "owner": "ada", "title": "May"});
        let first = api.post(&messages("trip"), &[], &body).await;
        let answer = first.ok(201);
        assert_eq!((&answer["session"], &answer["seq"], &answer["next"]), (&json!("trip"), &json!(0), &json!(1)));
        assert_eq!(first.header("etag"), format!("{}", answer["position"]), "the ETag is the position in quotes");
        assert!(answer["cost"]["requests"].as_u64() >= Some(1) && answer["created_at"].is_string(), "{answer}");
        assert!(!first.headers.contains_key("idempotent-replayed"));
        assert!(!first.header("x-request-id").is_empty() && first.header("x-content-type-options") == "nosniff");

        let second = api.turn("trip", "more").await;
        assert_eq!((&second["seq"], &second["next"]), (&json!(1), &json!(2)));
        let read = api.get(&messages("trip")).await.ok(200);
        assert_eq!(texts(&read), ["Where to?", "To Lisbon.", "more?", "more!"]);
        assert_eq!((&read["records"][0]["metadata"], &read["records"][0]["messages"]), (&json!({"n": 1}), &json!(2)));
        assert_eq!(read["position"].as_str().map(str::len), second["position"].as_str().map(str::len));
        let listed = api.get("/v1/sessions/trip").await.ok(200);
        assert_eq!((&listed["owner"], &listed["title"]), (&json!("ada"), &json!("May")));
    })
    .await;
}

#[tokio::test]
async fn write_with_an_outdated_if_match_is_refused() {
    everywhere(async |api| {
        let path = messages("s");
        let empty = api.get(&path).await;
        let tag = empty.header("etag").to_owned();
        let body = json!({"messages": [user("one")]});
        let first = api.post(&path, &[("if-match", &tag)], &body).await;
        first.ok(201);

        let refused = api.post(&path, &[("if-match", &tag)], &body).await;
        let problem = refused.problem(412, "conflict");
        assert_eq!(refused.header("etag"), format!("{}", problem["actual"]));
        // The reported position works for the next attempt; so does the first answer's ETag: weak, quoted or bare.
        let position = first.json()["position"].as_str().expect("a position").to_owned();
        for tag in [refused.header("etag"), first.header("etag"), &format!("W/\"{position}\""), &position] {
            let known = api.raw(Method::GET, &path, &[("if-none-match", tag)], "").await;
            assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0), "{tag}");
        }
        api.post(&path, &[("if-match", &position)], &json!({"messages": [user("two")]})).await.ok(201);
        assert_eq!(api.texts("s", "").await, ["one", "two"], "what was refused wrote nothing");

        for wrong in ["*", "\"x", "nothing", "\"AQ\"", "é"] {
            api.post(&path, &[("if-match", wrong)], &body).await.problem(400, "bad-request");
        }
        let twice = [("if-match", position.as_str()), ("if-match", position.as_str())];
        api.post(&path, &twice, &body).await.problem(400, "bad-request");
    })
    .await;
}

#[tokio::test]
async fn any_valid_text_works_as_a_session_id() {
    everywhere(async |api| {
        for id in ["user:42/support", "..", "../../etc/passwd", "日本 🦀", "a?b#c%d", ".", "%00", "x".repeat(1000).as_str()] {
            let path = messages(&encoded(id));
            assert_eq!(api.post(&path, &[], &json!({"messages": [user(id)]})).await.ok(201)["session"], id);
            let read = api.get(&path).await.ok(200);
            assert_eq!((&read["session"], texts(&read)), (&json!(id), vec![id.to_owned()]));
            let one = format!("/v1/sessions/{}", encoded(id));
            assert_eq!(api.get(&one).await.ok(200)["id"], id);
            api.delete(&one).await.ok(200);
            api.get(&one).await.problem(404, "not-found");
        }
    })
    .await;
}

#[tokio::test]
async fn invalid_session_ids_in_paths_are_refused() {
    let api = Api::at("memory:");
    for id in ["%00", "a%0Ab", "%7F", "%C2%85", "ns%23x", "dir%23", "%FF", "a%C3", &"x".repeat(1001), &"%C3%A9".repeat(501)] {
        // What is not text is no id at all; another store may have sessions with the other ids.
        let (status, code) = if ["%FF", "a%C3"].contains(&id) { (400, "bad-request") } else { (422, "invalid") };
        for path in [messages(id), format!("/v1/sessions/{id}"), format!("/v1/sessions/{id}/events")] {
            api.get(&path).await.problem(status, code);
        }
        api.post(&messages(id), &[], &json!({"messages": [user("x")]})).await.problem(status, code);
        api.delete(&messages(id)).await.problem(status, code);
    }
    // No path leads outside the routes.
    for path in ["/v1/sessions//messages", "/v1/sessions/", "/v1/../keys.toml", "/docs/../../Cargo.toml", "/v1"] {
        let answer = api.get(path).await;
        answer.problem(answer.status.as_u16(), if answer.status == 404 { "not-found" } else { "bad-request" });
    }
    assert_eq!(api.get("/v1/sessions/../messages").await.ok(200)["session"], "..", "which is a session's id like any other");
}
