//! What a request may cost: before authentication, while a body is read, and while a response waits for its reader.

use chat_memory::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Method;
use chat_memory_server::Options;
use chat_memory_server::keys::Right;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::client::{Api, everywhere, messages, user};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

/// An endless body, and how many bytes of it were taken.
fn endless() -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let chunks = stream::repeat_with(move || {
        count.fetch_add(1_024, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from_static(&[b'a'; 1_024]))
    });
    (Body::from_stream(chunks), taken)
}

#[tokio::test]
async fn unauthenticated_bodies_are_never_read() {
    let [api] = Api::locked("memory:", [(None, &[Right::Write])]);
    let document: Value = serde_json::from_str(&chat_memory_server::openapi()).expect("JSON");
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for method in operations
            .as_object()
            .expect("operations")
            .keys()
            .filter(|name| ["post", "put", "patch", "delete"].contains(&name.as_str()))
        {
            let path = path.replace("{session}", "trip");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let (body, taken) = endless();
            let answer = api.without_key().raw(method.clone(), &path, &[JSON], body).await;
            answer.problem(401, "unauthorized");
            assert_eq!(taken.load(Ordering::SeqCst), 0, "{method} {path}");
            tried += 1;
        }
    }
    assert!(tried >= 5, "{tried}");
    for path in ["/console/new", "/console/logout", "/console/sessions/trip/messages", "/console/sessions/trip/delete"] {
        let (body, taken) = endless();
        assert_eq!(api.raw(Method::POST, path, &[FORM], body).await.status, 401, "{path}");
        assert_eq!(taken.load(Ordering::SeqCst), 0, "{path}");
    }
}

#[tokio::test]
async fn login_body_is_limited_to_a_few_kilobytes() {
    let [api] = Api::locked("memory:", [(None, &[Right::Read])]);
    let (body, taken) = endless();
    let answer = api.without_key().raw(Method::POST, "/console/login", &[FORM], body).await;
    assert_eq!(answer.status, 413);
    assert!(taken.load(Ordering::SeqCst) <= 16_384, "{taken:?}");
    let announced = ("content-length", "16000000");
    let (body, taken) = endless();
    assert_eq!(api.without_key().raw(Method::POST, "/console/login", &[FORM, announced], body).await.status, 413);
    assert_eq!(taken.load(Ordering::SeqCst), 0, "it was announced");
}

#[tokio::test(start_paused = true)]
async fn login_body_that_never_arrives_times_out() {
    let [api] = Api::locked("memory:", [(None, &[Right::Read])]);
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let before = tokio::time::Instant::now();
    assert_eq!(api.without_key().raw(Method::POST, "/console/login", &[FORM], body).await.status, 408);
    assert!(before.elapsed() <= Duration::from_secs(10));
}

#[tokio::test]
async fn body_of_too_many_values_is_refused_before_parsing() {
    let api = Api::at("memory:");
    for filling in ["0,", "{},", "[],", "{\"a\":0},", "\"\","] {
        let values = filling.repeat(15_000_000 / filling.len());
        let body = format!("{{\"messages\": [{}]}}", values.trim_end_matches(','));
        let problem = api.raw(Method::POST, &messages("trip"), &[JSON], body).await.problem(413, "too-large");
        // docs/http.md names the limit: three quarters of the memory for all bodies.
        assert_eq!(problem["limit"], 96_000_000);
        assert!(problem["detail"].as_str().is_some_and(|said| said.contains("memory, and the limit is 96000000;")), "{problem}");
    }
    let text = "a".repeat(15_000_000);
    api.post(&messages("trip"), &[], &json!({"messages": [user(&text)]})).await.ok(201);
}

#[tokio::test(start_paused = true)]
async fn bodies_share_a_memory_budget_and_excess_is_503_busy() {
    let mut options = Options::default();
    options.body_memory = 1_200_000;
    let api = Api::with("memory:", options);
    let body = json!({"messages": [user(&"a".repeat(80_000))]}).to_string();
    // It is announced, but never arrives.
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let waiting = api.request(Method::POST, &messages("slow"), &[JSON, ("content-length", "280000")], never);
    let mut waiting = Box::pin(api.send(waiting));
    assert!(futures_util::future::poll_immediate(&mut waiting).await.is_none());
    let length = body.len().to_string();
    let announced = [JSON, ("content-length", &length)];
    let full = api.raw(Method::POST, &messages("trip"), &announced, body.clone()).await;
    full.problem(503, "busy");
    assert_eq!(full.header("retry-after"), "1");
    api.turn("small", "what is small has room").await;
    drop(waiting);
    api.raw(Method::POST, &messages("trip"), &announced, body.clone()).await.ok(201);
    // Neither errors nor successes keep any of it reserved.
    for _ in 0..8 {
        api.raw(Method::POST, &messages("trip"), &announced, body.clone()).await.ok(201);
        api.raw(Method::POST, &messages("trip"), &[JSON], format!("{body}}}")).await.problem(400, "bad-request");
    }
    // Concurrent ones take turns.
    let path = messages("trip");
    let many = (0..8).map(|_| api.raw(Method::POST, &path, &announced, body.clone()));
    for answer in futures_util::future::join_all(many).await {
        answer.ok(201);
    }
    // More than the whole budget.
    let large = json!({"messages": [user(&"a".repeat(400_000))]}).to_string();
    let length = large.len().to_string();
    let announced = [JSON, ("content-length", &length)];
    api.raw(Method::POST, &path, &announced, large.clone()).await.problem(413, "too-large");
    api.raw(Method::POST, &path, &[JSON], large).await.problem(413, "too-large");
    // The same for a body of unannounced length.
    let chunks: Vec<_> =
        body.into_bytes().chunks(1_000).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk))).collect();
    api.raw(Method::POST, &messages("trip"), &[JSON], Body::from_stream(stream::iter(chunks))).await.ok(201);
    let (endless, _) = endless();
    api.raw(Method::POST, &messages("trip"), &[JSON], endless).await.problem(413, "too-large");
}

/// Any number gets a response, and never a server error.
#[tokio::test]
async fn extreme_values_never_cause_a_server_error() {
    let numbers = [
        "0",
        "1",
        "-1",
        "",
        "%20",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "NaN",
        "0x10",
        "99999999999999999999999999999999",
        "%00",
        "%ff",
    ];
    everywhere(async |api| {
        for text in ["a", "b", "c"] {
            api.turn("trip", text).await;
        }
        let answered = async |path: String| {
            let answer = api.get(&path).await;
            assert!(answer.status.as_u16() < 500, "{path}: {} {}", answer.status, answer.text());
        };
        for number in numbers {
            for name in ["last", "turns", "tokens", "limit", "before", "after"] {
                answered(format!("{}?{name}={number}", messages("trip"))).await;
                answered(format!("{}?{name}={number}&{name}={number}", messages("trip"))).await;
            }
            for name in ["limit", "after", "all", "owner"] {
                answered(format!("/v1/sessions?{name}={number}")).await;
            }
            answered(format!("/v1/sessions/trip/events?after={number}x")).await;
            answered(format!("/console/sessions/trip?before={number}")).await;
            answered(format!("/console?after={number}")).await;
        }
        for largest in [usize::MAX, usize::MAX / 2 + 1, i64::MAX as usize] {
            assert_eq!(api.texts("trip", &format!("?last={largest}")).await.len(), 6);
            assert_eq!(api.texts("trip", &format!("?turns={largest}")).await.len(), 6);
            assert_eq!(api.texts("trip", &format!("?tokens={largest}")).await.len(), 6);
        }
        // Positions and tickets come from the caller: even those that no store ever issued get a response.
        for next in [0, 1, 3, u64::MAX] {
            for read_at in [Timestamp::MIN, Timestamp::from_millis(-1), Timestamp::UNIX_EPOCH, Timestamp::MAX] {
                let id = chat_memory::store::AppendId::random();
                let position = chat_memory::store::Position::new(next, Some(id), read_at).to_string();
                answered(format!("{}?after={position}", messages("trip"))).await;
                let stream =
                    api.send(api.request(Method::GET, &format!("/v1/sessions/trip/events?after={position}"), &[], Body::empty()));
                let mut stream = stream.await.into_body().into_data_stream();
                assert!(stream.next().await.is_some_and(|first| first.is_ok()));
                let at = api.post(&messages("trip"), &[("if-match", &position)], &json!({"messages": [user("x")]})).await;
                at.problem(412, "conflict");
                let ticket = chat_memory::store::Ticket::new(id, next).tried_at(read_at);
                let by = api.post(&messages("trip"), &[], &json!({"messages": [user("x")], "ticket": ticket.to_string()})).await;
                assert!([201, 422].contains(&by.status.as_u16()), "{ticket:?}: {}", by.text());
            }
        }
        for number in [0, 1, u64::MAX, i64::MAX as u64] {
            for body in [json!({"turns": number, "messages": [user("x")]}), json!({"to": number})] {
                let answer = api.post("/v1/sessions/trip/rewind", &[], &body).await;
                assert!(answer.status.as_u16() < 500, "{body}: {}", answer.text());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn event_streams_are_limited() {
    let mut options = Options::default();
    options.max_streams = 2;
    let api = Api::with("memory:", options);
    let open = async || api.send(api.request(Method::GET, "/v1/sessions/trip/events", &[], Body::empty())).await;
    let first = open().await;
    let second = open().await;
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let third = api.get("/v1/sessions/trip/events").await;
    third.problem(503, "too-many-streams");
    assert_eq!(third.header("retry-after"), "5");
    drop(first);
    assert_eq!(open().await.status(), 200, "a place is free again");
}

/// The events of a stream until it ends or pauses, with a delay before reading each.
async fn taken(body: Body, pause: Duration) -> (Vec<u64>, bool) {
    let mut body = body.into_data_stream();
    let mut numbers = Vec::new();
    loop {
        tokio::time::sleep(pause).await;
        match tokio::time::timeout(Duration::from_secs(3), body.next()).await {
            Err(_) => return (numbers, false),
            Ok(None) => return (numbers, true),
            Ok(Some(bytes)) => {
                let bytes = bytes.expect("bytes");
                let text = std::str::from_utf8(&bytes).expect("UTF-8");
                let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
                numbers.extend(data.filter_map(|data| serde_json::from_str::<Value>(data).ok()?["seq"].as_u64()));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stalled_event_reader_is_cut_off_but_a_slow_one_is_not() {
    let api = Api::at("memory:");
    for n in 0..6 {
        api.turn("trip", &n.to_string()).await;
    }
    let open =
        async || api.send(api.request(Method::GET, "/v1/sessions/trip/events?after=start", &[], Body::empty())).await.into_body();
    let (slow, stalled) = (open().await, open().await);
    let (numbers, _) = taken(slow, Duration::from_secs(10)).await;
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5], "a slow reader is waited for");
    // It has read nothing for a minute by now.
    let (numbers, ended) = taken(stalled, Duration::ZERO).await;
    assert!(ended && numbers.len() < 3, "{numbers:?}");
}
