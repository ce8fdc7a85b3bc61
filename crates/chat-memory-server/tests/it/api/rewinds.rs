//! Rewinding and clearing.

use axum::http::Method;
use serde_json::{Value, json};

use super::client::{assistant, everywhere, messages, user};

const REWIND: &str = "/v1/sessions/s/rewind";

#[tokio::test]
async fn turns_are_rewound_and_replaced_in_one_step() {
    everywhere(async |api| {
        for text in ["one", "two", "three"] {
            api.turn("s", text).await;
        }
        let done = api.post(REWIND, &[], &json!({"turns": 1})).await;
        let body = done.ok(200);
        assert_eq!((&body["seq"], &body["to"]), (&json!(3), &json!(2)));
        assert_eq!(done.header("etag"), format!("{}", body["position"]));
        assert_eq!(api.texts("s", "").await, ["one?", "one!", "two?", "two!"]);

        // A regenerated answer, expected at the last response's position.
        let tag = done.header("etag").to_owned();
        let second_try = json!({"turns": 1, "messages": [user("two?"), assistant("two, better")]});
        api.post(REWIND, &[("if-match", &tag)], &second_try).await.ok(200);
        let repeated = api.post(REWIND, &[("if-match", &tag)], &second_try).await;
        assert_eq!(repeated.header("etag"), format!("{}", repeated.problem(412, "conflict")["actual"]));
        assert_eq!(api.texts("s", "").await, ["one?", "one!", "two?", "two, better"], "a repeat takes back nothing more");

        // All turns that there are; after that, none are left.
        api.post(REWIND, &[], &json!({"turns": 100})).await.ok(200);
        assert_eq!(api.texts("s", "").await, [""; 0]);
        let nothing = api.post(REWIND, &[], &json!({"turns": 1})).await.ok(200);
        assert_eq!((&nothing["seq"], &nothing["to"]), (&Value::Null, &Value::Null));
        let lost = api.post(REWIND, &[], &json!({"turns": 1, "messages": [user("where to?")]})).await.problem(422, "invalid");
        assert_eq!(lost["pointer"], "/turns", "messages that have no place are not dropped in silence");
    })
    .await;
}

#[tokio::test]
async fn rewind_to_a_number_removes_records_from_it_on() {
    everywhere(async |api| {
        for text in ["one", "two", "three"] {
            api.turn("s", text).await;
        }
        api.post(REWIND, &[], &json!({"to": 1})).await.ok(200);
        assert_eq!(api.texts("s", "").await, ["one?", "one!"]);
        for gone in [1, 2, 17, u64::MAX] {
            let problem = api.post(REWIND, &[], &json!({"to": gone})).await.problem(422, "invalid");
            assert_eq!(problem["pointer"], "/to", "{problem}");
            assert!(problem["detail"].as_str().is_some_and(|said| said.contains("give the number (seq) of one")), "{problem}");
        }
        let langchain = json!({"to": 0, "messages": [{"type": "human", "data": {"content": "second_try"}}]});
        api.post(&format!("{REWIND}?format=langchain"), &[], &langchain).await.ok(200);
        assert_eq!(api.texts("s", "").await, ["second_try"]);
    })
    .await;
}

#[tokio::test]
async fn rewind_takes_exactly_one_of_turns_or_to() {
    everywhere(async |api| {
        for body in [json!({}), json!({"turns": 1, "to": 0}), json!({"turns": null})] {
            api.post(REWIND, &[], &body).await.problem(422, "invalid");
        }
        for (body, pointer) in [
            (json!({"turns": 0}), "/turns"),
            (json!({"turns": -1}), "/turns"),
            (json!({"to": 1.5}), "/to"),
            (json!({"turns": 1, "messages": [{"role": "bot"}]}), "/messages/0"),
        ] {
            assert_eq!(api.post(REWIND, &[], &body).await.problem(422, "invalid")["pointer"], pointer, "{body}");
        }
    })
    .await;
}

#[tokio::test]
async fn clear_takes_effect_at_once_and_checks_if_match() {
    everywhere(async |api| {
        for text in ["one", "two"] {
            api.turn("s", text).await;
        }
        let read = api.get(&messages("s")).await;
        let tag = read.header("etag").to_owned();
        api.turn("s", "three").await;
        api.raw(Method::DELETE, &messages("s"), &[("if-match", &tag)], "").await.problem(412, "conflict");
        assert_eq!(api.texts("s", "").await.len(), 6);

        let cleared = api.delete(&messages("s")).await;
        let body = cleared.ok(200);
        assert_eq!((&body["seq"], &body["erased"]), (&json!(3), &json!(3)));
        assert_eq!(cleared.header("etag"), format!("{}", body["position"]));
        assert_eq!(api.texts("s", "").await, [""; 0]);
        assert_eq!(api.texts("s", "?after=start").await, [""; 0]);
        api.get("/v1/sessions/s").await.ok(200);
        // The position after the clear works.
        let tag = cleared.header("etag").to_owned();
        api.post(&messages("s"), &[("if-match", &tag)], &json!({"messages": [user("second_try")]})).await.ok(201);
        assert_eq!(api.texts("s", "").await, ["second_try"]);
    })
    .await;
}
