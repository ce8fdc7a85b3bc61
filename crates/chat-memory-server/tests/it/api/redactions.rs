//! Redactions.

use chat_memory_server::keys::Right;
use chat_memory_testkit::sqlite_url;
use serde_json::json;

use super::client::{Api, everywhere};

const REDACT: &str = "/v1/sessions/s/records/0/redact";

#[tokio::test]
async fn record_is_redacted_in_place() {
    everywhere(async |api| {
        api.turn("s", "secret").await;
        api.turn("s", "other").await;
        let before = api.get("/v1/sessions/s/messages").await;
        let tried = api.post(REDACT, &[], &json!({"message": 0, "dry_run": true})).await.ok(200);
        assert_eq!((&tried["changed"], &tried["entries"]), (&json!(true), &json!(1)));
        assert_eq!(api.texts("s", "").await, ["secret?", "secret!", "other?", "other!"]);

        let done = api.post(REDACT, &[], &json!({"message": 0})).await.ok(200);
        assert_eq!(
            (&done["session"], &done["seq"], &done["changed"], &done["entries"]),
            (&json!("s"), &json!(0), &json!(true), &json!(1))
        );
        assert_eq!(api.texts("s", "").await, ["[redacted]", "secret!", "other?", "other!"]);
        let after = api.get("/v1/sessions/s/messages").await;
        assert!(after.json()["messages"][0]["redacted"].is_string(), "{}", after.text());
        let next = |answer: &serde_json::Value| answer["messages"].as_array().map(Vec::len);
        assert_eq!(next(&after.json()), next(&before.json()));
        let done = api.post(REDACT, &[], &json!({"replacement": "(gone)"})).await.ok(200);
        assert_eq!(done["entries"], 2);
        let again = api.post(REDACT, &[], &json!({"replacement": "(gone)"})).await.ok(200);
        assert_eq!((&again["changed"], &again["entries"]), (&json!(false), &json!(0)));
        assert_eq!(api.texts("s", "").await, ["(gone)", "(gone)", "other?", "other!"]);

        api.post("/v1/sessions/s/records/7/redact", &[], &json!({})).await.problem(404, "not-found");
        api.post("/v1/sessions/none/records/0/redact", &[], &json!({})).await.problem(404, "not-found");
        api.post("/v1/sessions/s/records/x/redact", &[], &json!({})).await.problem(400, "bad-request");
        let none = api.post(REDACT, &[], &json!({"message": 2})).await.problem(422, "invalid");
        assert_eq!(none["pointer"], "/message");
        api.turn("t", "x").await;
        api.post("/v1/sessions/t/rewind", &[], &json!({"to": 0})).await.ok(200);
        api.post("/v1/sessions/t/records/1/redact", &[], &json!({"message": 0})).await.problem(422, "invalid");
        // A trial that is meant, and not understood, must not write.
        for path in [&format!("{REDACT}?dry_run=true"), "/v1/sessions/s/fork?dry_run=true"] {
            api.post(path, &[], &json!({})).await.problem(400, "bad-request");
        }
        let empty = api.post(REDACT, &[], &json!({"replacement": ""})).await.problem(422, "invalid");
        assert_eq!(empty["pointer"], "/replacement");
        api.post(REDACT, &[("if-match", "\"x\"")], &json!({})).await.problem(400, "bad-request");
        api.delete("/v1/sessions/s/messages").await.ok(200);
        api.post(REDACT, &[], &json!({})).await.problem(404, "not-found");
    })
    .await;
}

#[tokio::test]
async fn redaction_needs_the_right_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let [writer, reader] =
        Api::locked(&sqlite_url(folder.path()), [(None, &[Right::Read, Right::Write]), (None, &[Right::Read])]);
    writer.turn("s", "secret").await;
    reader.post(REDACT, &[], &json!({})).await.problem(403, "forbidden");
    let tried = reader.post(REDACT, &[], &json!({"dry_run": true})).await.ok(200);
    assert_eq!((&tried["changed"], &tried["entries"]), (&json!(true), &json!(2)));
    reader.post("/v1/sessions/s/fork", &[], &json!({})).await.problem(403, "forbidden");
    assert_eq!(reader.post("/v1/sessions/s/fork", &[], &json!({"dry_run": true})).await.ok(200)["records"], 1);
    assert_eq!(writer.texts("s", "").await, ["secret?", "secret!"]);
    assert_eq!(reader.texts("s", "").await, ["secret?", "secret!"]);
    let missing = writer.post("/v1/sessions/s/records/7/redact", &[], &json!({})).await.problem(404, "not-found");
    assert!(missing["detail"].as_str().is_some_and(|detail| detail.contains("record 7")), "{missing}");
}
