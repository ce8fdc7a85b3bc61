//! Forks, and all sessions of an owner.

use axum::http::Method;
use chat_memory_server::keys::Right;
use chat_memory_testkit::sqlite_url;
use serde_json::{Value, json};

use super::client::{Api, everywhere, messages, user};

const FORK: &str = "/v1/sessions/s/fork";

#[tokio::test]
async fn fork_copies_a_session_and_names_its_origin() {
    everywhere(async |api| {
        let first = json!({"messages": [user("one")], "owner": "ada", "title": "Trip"});
        api.post(&messages("s"), &[], &first).await.ok(201);
        api.turn("s", "two").await;
        let plan = api.post(FORK, &[], &json!({"to": "f", "dry_run": true})).await.ok(200);
        assert_eq!(
            (&plan["from"], &plan["seq"], &plan["records"], &plan["entries"]),
            (&json!("s"), &json!(1), &json!(2), &json!(3))
        );
        assert_eq!(api.texts("f", "").await, [""; 0], "a dry run writes nothing");

        let done = api.post(FORK, &[], &json!({"to": "f", "seq": 0, "title": "Rome"})).await;
        let body = done.ok(201);
        assert_eq!(
            (&body["session"], &body["from"], &body["seq"], &body["records"]),
            (&json!("f"), &json!("s"), &json!(0), &json!(1))
        );
        assert_eq!(done.header("etag"), format!("{}", body["position"]));
        api.post(&messages("f"), &[("if-match", done.header("etag"))], &json!({"messages": [user("else")]})).await.ok(201);
        assert_eq!(api.texts("f", "").await, ["one", "else"]);
        assert_eq!(api.texts("s", "").await, ["one", "two?", "two!"]);
        let info = api.get("/v1/sessions/f").await.ok(200);
        assert_eq!((&info["owner"], &info["title"]), (&json!("ada"), &json!("Rome")));
        assert_eq!(info["metadata"]["forked_from"], json!({"session": "s", "seq": 0}));

        api.post(FORK, &[], &json!({"to": "f"})).await.problem(412, "conflict");
        for dry_run in [true, false] {
            let none = api.post(FORK, &[], &json!({"to": "g", "seq": 7, "dry_run": dry_run})).await.problem(422, "invalid");
            assert_eq!(none["pointer"], "/seq");
            let path = "/v1/sessions/none/fork";
            let empty = api.post(path, &[], &json!({"to": "g", "dry_run": dry_run})).await.problem(422, "invalid");
            assert_eq!(empty["pointer"], Value::Null, "nothing in the body is wrong");
        }
        assert_eq!(api.post(FORK, &[], &json!({"to": "ns#g"})).await.problem(422, "invalid")["pointer"], "/to");
        api.post(FORK, &[("if-match", "\"x\"")], &json!({"to": "g"})).await.problem(400, "bad-request");
        assert_eq!(api.texts("g", "").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn repeated_fork_is_answered_with_the_first() {
    everywhere(async |api| {
        api.turn("s", "one").await;
        for body in [json!({"to": "f"}), json!({})] {
            let key = format!("key {body}");
            let first = api.post(FORK, &[("idempotency-key", &key)], &body).await;
            let again = api.post(FORK, &[("idempotency-key", &key)], &body).await;
            assert_eq!(again.header("idempotent-replayed"), "true");
            let (mut first, mut again) = (first.ok(201), again.ok(201));
            (first["cost"], again["cost"]) = (Value::Null, Value::Null);
            assert_eq!(first, again);
            assert_eq!(api.texts(first["session"].as_str().expect("an id"), "").await, ["one?", "one!"]);
        }
        // Without an id and a key, each fork is another session.
        let made = [api.post(FORK, &[], &json!({})).await.ok(201), api.post(FORK, &[], &json!({})).await.ok(201)];
        assert_ne!(made[0]["session"], made[1]["session"]);
    })
    .await;
}

#[tokio::test]
async fn sessions_of_an_owner_are_deleted_in_parts() {
    everywhere(async |api| {
        for n in 0..20 {
            let body = json!({"messages": [user("mine")], "owner": if n < 18 { "ada/1" } else { "bob" }});
            api.post(&messages(&format!("s{n}")), &[], &body).await.ok(201);
        }
        let (mut sessions, mut requests) = (0, 0);
        loop {
            let done = api.delete("/v1/owners/ada%2F1/sessions?limit=8").await.ok(200);
            assert_eq!((&done["owner"], &done["failed"]), (&json!("ada/1"), &json!(0)));
            sessions += done["sessions"].as_u64().expect("a number");
            requests += 1;
            if done["more"] == false {
                break;
            }
        }
        assert_eq!(sessions, 18);
        assert!(requests > 1);
        assert_eq!(api.get("/v1/sessions?owner=ada%2F1").await.ok(200)["sessions"], json!([]));
        assert_eq!(api.get("/v1/sessions?owner=bob").await.ok(200)["sessions"].as_array().map(Vec::len), Some(2));
        assert_eq!(api.texts("s0", "").await, [""; 0]);
        let nothing = api.delete("/v1/owners/nobody/sessions").await.ok(200);
        assert_eq!((&nothing["sessions"], &nothing["more"]), (&json!(0), &json!(false)));
        api.delete("/v1/owners/ada/sessions?limit=0").await.problem(400, "bad-request");
        let owner = "x".repeat(600);
        api.delete(&format!("/v1/owners/{owner}/sessions")).await.problem(400, "bad-request");
    })
    .await;
}

#[tokio::test]
async fn forks_and_deletions_need_the_right_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let [reader] = Api::locked(&sqlite_url(folder.path()), [(None, &[Right::Read])]);
    reader.call(Method::POST, FORK, &[], &json!({})).await.problem(403, "forbidden");
    reader.delete("/v1/owners/ada/sessions").await.problem(403, "forbidden");
}
