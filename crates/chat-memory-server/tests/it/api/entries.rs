//! Entries that are not messages.

use serde_json::{Value, json};

use super::client::{assistant, everywhere, messages, user};

fn line(id: &str) -> Value {
    json!({"type": "progress", "uuid": id, "n": [1, 1.0, u64::MAX]})
}

#[tokio::test]
async fn entries_are_stored_as_they_are_and_returned_on_request() {
    everywhere(async |api| {
        let entries = [line("a"), user("Hi"), line("b"), assistant("Ho"), json!({"role": "user", "content": 7})];
        api.post(&messages("s"), &[], &json!({"entries": entries})).await.ok(201);
        let plain = api.get(&messages("s")).await.ok(200);
        assert_eq!((&plain["messages"], &plain["other_entries"]), (&json!([user("Hi"), assistant("Ho")]), &json!(3)));
        assert_eq!((&plain["records"][0]["messages"], &plain["records"][0]["other_entries"]), (&json!(2), &json!(3)));
        for query in ["?entries=all", "?entries=all&after=start", "?entries=all&limit=1"] {
            let all = api.get(&format!("{}{query}", messages("s"))).await.ok(200);
            assert_eq!((&all["messages"], &all["other_entries"]), (&json!(entries), &Value::Null), "{query}");
            assert_eq!(all["records"][0]["messages"], 5, "{query}");
        }
        let langchain = api.get(&format!("{}?entries=all&format=langchain", messages("s"))).await.ok(200);
        assert_eq!((&langchain["messages"][0], &langchain["messages"][1]["type"]), (&line("a"), &json!("human")));
        let window = api.get(&format!("{}?last=1", messages("s"))).await.ok(200);
        assert_eq!((&window["messages"], &window["other_entries"]), (&json!([assistant("Ho")]), &json!(3)));
        for (query, body) in [("?entries=all&last=2", None), ("?entries=all&for_model=true", None), ("", Some(json!({})))] {
            let answer = match body {
                None => api.get(&format!("{}{query}", messages("s"))).await,
                Some(_) => api.post(&messages("s"), &[], &json!({"messages": [user("x")], "entries": [line("c")]})).await,
            };
            answer.problem(400, "bad-request");
        }
        // Where messages are expected, a wrong one is refused.
        let refused = api.post(&messages("s"), &[], &json!({"messages": [line("c")]})).await;
        assert_eq!(refused.problem(422, "invalid")["pointer"], "/messages/0");
    })
    .await;
}

#[tokio::test]
async fn only_new_entries_are_appended_by_their_ids() {
    everywhere(async |api| {
        let body = |ids: &[&str]| json!({"entries": ids.iter().map(|id| line(id)).collect::<Vec<_>>(), "only_new": true});
        let first = api.post(&messages("s"), &[], &body(&["a", "b"])).await.ok(201);
        assert_eq!((&first["new"], &first["seq"]), (&json!([true, true]), &json!(0)));
        let second = api.post(&messages("s"), &[], &body(&["b", "c"])).await.ok(201);
        assert_eq!((&second["new"], &second["seq"]), (&json!([false, true]), &json!(1)));
        let third = api.post(&messages("s"), &[], &body(&["a", "c"])).await;
        let said = third.ok(200);
        assert_eq!((&said["new"], &said["seq"], &said["next"]), (&json!([false, false]), &Value::Null, &second["next"]));
        let other = json!({"entries": [{"type": "changed", "uuid": "b"}], "only_new": true});
        let refused = api.post(&messages("s"), &[], &other).await;
        assert!(refused.problem(422, "key-reused")["detail"].as_str().is_some_and(|detail| detail.contains("\"b\"")));
        api.post(&messages("s"), &[("idempotency-key", "k")], &body(&["d"])).await.problem(422, "invalid");
    })
    .await;
}
