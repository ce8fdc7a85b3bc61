//! Keys and their rights.

use axum::http::Method;
use chat_memory_server::keys::{self, Right};
use serde_json::json;

use super::client::{Answer, Api, messages, user};

/// Every operation on sessions: its method, its path, and whether it writes.
const OPERATIONS: [(&str, &str, bool); 9] = [
    ("GET", "/v1/sessions", false),
    ("GET", "/v1/sessions/s", false),
    ("GET", "/v1/sessions/s/messages", false),
    ("GET", "/v1/sessions/s/events", false),
    ("POST", "/v1/sessions/s/messages", true),
    ("POST", "/v1/sessions/s/rewind", true),
    ("DELETE", "/v1/sessions/s/messages", true),
    ("PATCH", "/v1/sessions/s", true),
    ("DELETE", "/v1/sessions/s", true),
];

async fn operate(api: &Api, method: &str, path: &str) -> Answer {
    let method: Method = method.parse().expect("a method");
    // A stream has no end: its headers are enough.
    if path.ends_with("/events") {
        let response = api.send(api.request(method, path, &[], axum::body::Body::empty())).await;
        let (parts, body) = response.into_parts();
        let bytes =
            if parts.status == 200 { Default::default() } else { axum::body::to_bytes(body, 10_000).await.expect("a body") };
        return Answer { status: parts.status, headers: parts.headers, bytes };
    }
    api.call(method, path, &[], &json!({})).await
}

#[tokio::test]
async fn requests_without_a_valid_key_are_unauthorized() {
    let [api] = Api::locked("memory:", [(None, &[Right::Read])]);
    let id = api.key_id().to_owned();
    let open = api.without_key();
    let forged = [format!("cm_{id}_AAAA"), "cm_nobody_AAAA".into(), "x".into(), " ".into()];
    for (method, path, _) in OPERATIONS.into_iter().chain([("GET", "/metrics", false)]) {
        for api in std::iter::once(open.clone()).chain(forged.iter().map(|key| open.key(key.as_str()))) {
            let answer = operate(&api, method, path).await;
            let problem = answer.problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
            assert!(!problem["detail"].as_str().expect("a sentence").contains(&id));
        }
    }
    for header in ["Basic Y206eA==", "Bearer", "cm_x_y", "bearer\u{e9}"] {
        let answer = open.raw(Method::GET, "/v1/sessions", &[("authorization", header)], "").await;
        answer.problem(401, "unauthorized");
    }
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs/"] {
        assert_eq!(open.get(path).await.status, 200, "{path}");
    }
    // Without the right to write, the body is not even read.
    open.raw(Method::POST, &messages("s"), &[("content-type", "text/plain")], "x").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn key_rights_are_enforced() {
    let rights: [&[Right]; 4] = [&[Right::Read, Right::Write], &[Right::Read], &[Right::Write], &[Right::Metrics]];
    let [full, reader, writer, measurer] = Api::locked("memory:", rights.map(|rights| (Some("acme"), rights)));
    full.turn("s", "one").await;
    for (method, path, writes) in OPERATIONS {
        for (api, right, may) in
            [(&full, "", true), (&reader, "write", !writes), (&writer, "read", writes), (&measurer, "", false)]
        {
            let answer = operate(api, method, path).await;
            if may {
                assert!(![401, 403].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.text());
            } else {
                let detail = answer.problem(403, "forbidden")["detail"].to_string();
                assert!(detail.contains(right) && !detail.contains("acme"), "{detail}");
            }
        }
    }
    assert_eq!(measurer.get("/metrics").await.status, 200);
    for api in [&full, &reader, &writer] {
        let refused = api.get("/metrics").await.problem(403, "forbidden");
        let made = "chat-memory key new --keys FILE --name NAME --right read --right metrics";
        assert!(refused["detail"].as_str().is_some_and(|said| said.contains(made)), "{refused}");
    }
    // The scheme's name is case-insensitive.
    let text = keys::create(&full.key_file(), "late", None, &[Right::Read]).expect("a key").1;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let late = full.without_key().raw(Method::GET, "/v1/sessions", &[("authorization", &format!("bearer {text}"))], "").await;
    late.ok(200);
}

#[tokio::test]
async fn revoked_key_is_refused() {
    let [api, other] = Api::locked("memory:", [(None, &[Right::Read, Right::Write]), (None, &[Right::Read])]);
    api.turn("s", "one").await;
    let page = api.get("/v1/sessions?all=true").await.ok(200);
    assert_eq!(page["sessions"].as_array().map(Vec::len), Some(1));
    keys::revoke(&api.key_file(), api.key_id()).expect("revoked");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    api.get(&messages("s")).await.problem(401, "unauthorized");
    other.get(&messages("s")).await.ok(200);
    std::fs::remove_file(api.key_file()).expect("removed");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    other.get(&messages("s")).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn cursor_is_valid_for_its_key_only() {
    let [one, same_namespace, other] = Api::locked(
        "memory:",
        [(Some("a"), &[Right::Read, Right::Write]), (Some("a"), &[Right::Read]), (Some("b"), &[Right::Read, Right::Write])],
    );
    for session in ["s", "t"] {
        for api in [&one, &other] {
            api.post(&messages(session), &[], &json!({"messages": [user("one")]})).await.ok(201);
            api.post(&messages(session), &[], &json!({"messages": [user("two")]})).await.ok(201);
        }
    }
    let page = one.get(&format!("{}?limit=1", messages("s"))).await.ok(200)["next"].as_str().expect("a cursor").to_owned();
    let list = |cursor: &str| format!("/v1/sessions?limit=1&after={cursor}");
    let before = |session: &str, cursor: &str| format!("{}?limit=1&before={cursor}", messages(session));
    let list_cursor = one.get("/v1/sessions?limit=1").await.ok(200)["next"].as_str().expect("a cursor").to_owned();
    one.get(&list(&list_cursor)).await.ok(200);
    one.get(&before("s", &page)).await.ok(200);
    for api in [&same_namespace, &other] {
        api.get(&list(&list_cursor)).await.problem(400, "bad-request");
        api.get(&before("s", &page)).await.problem(400, "bad-request");
    }
    one.get(&before("t", &page)).await.problem(400, "bad-request");
    let (cursor, signature) = page.split_once('.').expect("a signature");
    for forged in [cursor, &format!("{cursor}."), &format!("{cursor}.AAAA"), &format!("A{page}"), &format!(".{signature}"), "%00"]
    {
        one.get(&before("s", forged)).await.problem(400, "bad-request");
        one.get(&list(forged)).await.problem(400, "bad-request");
    }
}
