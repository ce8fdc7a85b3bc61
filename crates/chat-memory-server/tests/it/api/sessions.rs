//! The list of sessions.

use axum::http::Method;
use chat_memory_testkit::sqlite_url;
use serde_json::{Value, json};

use super::client::{Api, encoded, everywhere, messages, user};

async fn started(api: &Api, session: &str, owner: Option<&str>) {
    let body = json!({"messages": [user("hello")], "owner": owner, "title": format!("about {session}")});
    api.post(&messages(session), &[], &body).await.ok(201);
}

/// The ids of every page of a list.
async fn listed(api: &Api, query: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/sessions?{query}{cursor}")).await.ok(200);
        let sessions = page["sessions"].as_array().expect("sessions");
        ids.extend(sessions.iter().map(|session| session["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { return ids };
        cursor = format!("&after={}", encoded(next));
    }
}

#[tokio::test]
async fn sessions_are_listed_by_owner_newest_first() {
    everywhere(async |api| {
        for n in 0..5 {
            started(&api, &format!("ada-{n}"), Some("ada")).await;
            started(&api, &format!("none-{n}"), None).await;
            // Ordered by the millisecond in which they started.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        started(&api, "bob", Some("nobody")).await;
        let newest_first = |prefix: &str| (0..5).rev().map(|n| format!("{prefix}-{n}")).collect::<Vec<_>>();
        for limit in [1, 2, 5, 1000] {
            assert_eq!(listed(&api, &format!("owner=ada&limit={limit}")).await, newest_first("ada"), "{limit}");
            assert_eq!(listed(&api, &format!("limit={limit}")).await, newest_first("none"), "{limit}");
        }
        assert_eq!(listed(&api, "owner=nobody").await, ["bob"], "an owner's name is no other list's");
        let mut all = listed(&api, "all=true").await;
        all.sort();
        assert_eq!(all.len(), 11, "{all:?}");
        assert_eq!(listed(&api, "owner=eve").await, [""; 0]);
        let page = api.get("/v1/sessions?owner=ada&limit=1").await.ok(200);
        assert_eq!(page["sessions"][0]["title"], "about ada-4");
        assert!(page["sessions"][0]["created_at"].is_string() && page["cost"]["requests"].as_u64() >= Some(1));

        // What the list does not say is read when it is asked for.
        for query in ["owner=ada", "owner=ada&order=recent&limit=3", "all=true"] {
            let page = api.get(&format!("/v1/sessions?{query}&contents=true")).await.ok(200);
            for session in page["sessions"].as_array().expect("sessions") {
                let said = ["first_words", "records", "records_exact"].map(|name| session[name].clone());
                assert_eq!(said, [json!("hello"), json!(1), json!(true)], "{query}: {session}");
            }
        }

        // A cursor belongs to one list.
        let next = encoded(page["next"].as_str().expect("a cursor"));
        for query in [
            format!("after={next}"),
            format!("owner=bob&after={next}"),
            format!("all=true&after={next}"),
            format!("owner=ada&after=x{next}"),
        ] {
            api.get(&format!("/v1/sessions?{query}")).await.problem(400, "bad-request");
        }
        let elsewhere = api.get(&format!("{}?before={next}", messages("ada-4"))).await;
        elsewhere.problem(400, "bad-request");
    })
    .await;
}

#[tokio::test]
async fn sessions_are_listed_by_last_activity() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for url in ["memory:".to_owned(), sqlite_url(folder.path())] {
        let api = Api::at(&url);
        for id in ["a", "b", "c"] {
            started(&api, id, Some("ada")).await;
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        api.post(&messages("a"), &[], &json!({"messages": [user("more")]})).await.ok(201);
        for limit in [1, 2, 50] {
            assert_eq!(listed(&api, &format!("owner=ada&limit={limit}")).await, ["c", "b", "a"]);
            assert_eq!(listed(&api, &format!("owner=ada&order=started&limit={limit}")).await, ["c", "b", "a"]);
            assert_eq!(listed(&api, &format!("owner=ada&order=recent&limit={limit}")).await, ["a", "c", "b"]);
        }
        let page = api.get("/v1/sessions?owner=ada&order=recent&limit=1").await.ok(200);
        assert_eq!(page["order"], "recent");
        assert!(page["sessions"][0]["last_at"].as_str() > page["sessions"][0]["created_at"].as_str(), "{page}");
        let next = encoded(page["next"].as_str().expect("a cursor"));
        api.get(&format!("/v1/sessions?owner=ada&after={next}")).await.problem(400, "bad-request");
        assert_eq!(api.get("/v1/sessions?owner=ada").await.ok(200)["order"], "started");
        // All owners in one order, page by page.
        started(&api, "d", None).await;
        for limit in [1, 3, 50] {
            assert_eq!(listed(&api, &format!("all=true&limit={limit}")).await, ["d", "c", "b", "a"]);
            assert_eq!(listed(&api, &format!("all=true&order=recent&limit={limit}")).await, ["d", "a", "c", "b"]);
        }
        assert_eq!(api.get("/v1/sessions?all=true").await.ok(200)["order"], "started");
        let page = api.get("/v1/sessions?all=true&order=recent&limit=1").await.ok(200);
        let next = encoded(page["next"].as_str().expect("a cursor"));
        for query in ["all=true", "order=recent", "owner=ada&order=recent"] {
            api.get(&format!("/v1/sessions?{query}&after={next}")).await.problem(400, "bad-request");
        }
    }
}

#[tokio::test]
async fn invalid_list_parameters_are_refused() {
    let api = Api::at("memory:");
    for query in [
        "limit=0",
        "limit=1001",
        "all=true&owner=a",
        "all=true&limit=0",
        "order=newest",
        "all=yes",
        "owner=",
        "owner=%00",
        "after=",
        "page=2",
        "owner=a&owner=b",
    ] {
        api.get(&format!("/v1/sessions?{query}")).await.problem(400, "bad-request");
    }
    api.get(&format!("/v1/sessions?owner={}", "a".repeat(513))).await.problem(400, "bad-request");
}

#[tokio::test]
async fn session_is_read_updated_and_deleted() {
    everywhere(async |api| {
        let path = "/v1/sessions/s";
        api.patch(path, &json!({"title": "x"})).await.problem(404, "not-found");
        started(&api, "s", Some("ada")).await;
        let before = api.get(path).await.ok(200);
        assert_eq!((&before["id"], &before["owner"], &before["metadata"]), (&json!("s"), &json!("ada"), &Value::Null));

        let changed = api.patch(path, &json!({"title": "🦀", "metadata": {"a": [1, 2.0]}})).await.ok(200);
        assert_eq!((&changed["title"], &changed["metadata"]), (&json!("🦀"), &json!({"a": [1, 2.0]})));
        assert_eq!(api.patch(path, &json!({})).await.ok(200), changed, "what is left out stays");
        assert_eq!(api.patch(path, &json!({"owner": "ada"})).await.ok(200), changed);
        let taken = api.patch(path, &json!({"title": null})).await.ok(200);
        assert_eq!((&taken["title"], &taken["metadata"]), (&Value::Null, &json!({"a": [1, 2.0]})));
        assert_eq!(api.get(path).await.ok(200), taken);
        assert_eq!(taken["created_at"], before["created_at"]);
        for (body, pointer) in [
            (json!({"owner": "bob"}), "/owner"),
            (json!({"owner": null}), "/owner"),
            (json!({"title": "x".repeat(1025)}), "/title"),
            (json!({"title": "\u{0}"}), "/title"),
            (json!({"title": 1}), "/title"),
            (json!({"metadata": []}), "/metadata"),
            (json!({"metadata": {"x": "x".repeat(16_384)}}), "/metadata"),
        ] {
            assert_eq!(api.patch(path, &body).await.problem(422, "invalid")["pointer"], pointer, "{body}");
        }
        // An array is not accepted for the fields in their order.
        api.patch(path, &json!([null, null])).await.problem(422, "invalid");
        assert_eq!(api.get(path).await.ok(200), taken);
        api.patch(path, &json!({"name": "x"})).await.problem(422, "invalid");

        // An unchecked condition is refused, not ignored.
        let condition = [("if-match", "AQAAAAAAAAABAAABohBf4UtKFkc7ZJ5CeIFcIoVhX9cu")];
        api.raw(Method::DELETE, path, &condition, "").await.problem(400, "bad-request");
        api.call(Method::PATCH, path, &condition, &json!({"title": "x"})).await.problem(400, "bad-request");
        assert_eq!(api.get(path).await.ok(200), taken);

        let deleted = api.delete(path).await.ok(200);
        assert_eq!((&deleted["existed"], &deleted["erased"]), (&json!(true), &json!(1)));
        api.get(path).await.problem(404, "not-found");
        assert_eq!(api.texts("s", "").await, [""; 0]);
        assert_eq!(listed(&api, "owner=ada").await, [""; 0]);
        assert_eq!(api.delete(path).await.ok(200)["existed"], false);
        // It may start again, with another owner.
        started(&api, "s", Some("bob")).await;
        assert_eq!(api.get(path).await.ok(200)["owner"], "bob");
        assert_eq!(api.raw(Method::HEAD, path, &[], "").await.status, 200);
    })
    .await;
}
