//! New records as server-sent events.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::Method;
use chat_memory_server::Options;
use chat_memory_server::keys::{self, Right};
use chat_memory_testkit::sqlite_url;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::client::{Api, everywhere, messages, user};

/// Long enough for any machine: a test waits this long only if it fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stream {
    body: BodyDataStream,
    buffer: String,
}

#[derive(Debug)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

impl Stream {
    async fn open(api: &Api, session: &str, query: &str, last: Option<&str>) -> Self {
        let headers: Vec<_> = last.map(|id| ("last-event-id", id)).into_iter().collect();
        let path = format!("/v1/sessions/{session}/events{query}");
        let response = api.send(api.request(Method::GET, &path, &headers, Body::empty())).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut stream = Self { body: response.into_body().into_data_stream(), buffer: String::new() };
        let head = stream.block().await.expect("the stream's beginning");
        assert!(head.contains("retry:"), "{head}");
        stream
    }

    /// The next block of lines; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(block);
            }
            let next = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("something comes, or the end");
            self.buffer += std::str::from_utf8(&next?.expect("bytes")).expect("UTF-8");
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
            // A comment keeps the connection alive.
            if block.starts_with(':') {
                continue;
            }
            let data = serde_json::from_str(&field("data:")).expect("JSON");
            return Some(Event { kind: field("event:"), id: field("id:"), data });
        }
    }

    /// The next record's number and its first text.
    async fn record(&mut self) -> (u64, String) {
        let event = self.next().await.expect("an event");
        assert_eq!(event.kind, "record", "{event:?}");
        let text = event.data["content"][0]["content"].as_str().unwrap_or_default().to_owned();
        (event.data["seq"].as_u64().expect("a number"), text)
    }
}

#[tokio::test]
async fn new_records_arrive_without_gaps() {
    everywhere(async |api| {
        api.turn("s", "before").await;
        let mut now = Stream::open(&api, "s", "", None).await;
        let mut all = Stream::open(&api, "s", "?after=start", None).await;
        assert_eq!(all.record().await, (0, "before?".into()));
        api.turn("other", "elsewhere").await;
        let appended = api.turn("s", "new").await;
        let event = now.next().await.expect("an event");
        assert_eq!((event.kind.as_str(), &event.data["seq"], &event.data["messages"]), ("record", &json!(1), &json!(2)));
        assert_eq!(event.data["content"][1]["content"], "new!");
        assert!(event.data["created_at"].is_string() && event.data.get("rewind").is_none());
        assert_eq!(all.record().await, (1, "new?".into()));

        // Its id is the position after it, for If-Match and to continue from.
        drop(now);
        api.post(&messages("s"), &[("if-match", &event.id)], &json!({"messages": [user("three")]})).await.ok(201);
        let mut resumed = Stream::open(&api, "s", "?after=start", Some(&event.id)).await;
        assert_eq!(resumed.record().await, (2, "three".into()));
        let mut by_answer =
            Stream::open(&api, "s", &format!("?after={}", appended["position"].as_str().expect("a position")), None).await;
        assert_eq!(by_answer.record().await, (2, "three".into()));

        // A rewind says from which record on; the replacing messages come with it.
        api.post("/v1/sessions/s/rewind", &[], &json!({"to": 1, "messages": [user("instead")]})).await.ok(200);
        let event = resumed.next().await.expect("an event");
        assert_eq!(
            (&event.data["seq"], &event.data["rewind"], &event.data["content"][0]["content"]),
            (&json!(3), &json!(1), &json!("instead"))
        );
        api.delete(&messages("s")).await.ok(200);
        let event = resumed.next().await.expect("an event");
        assert_eq!((&event.data["seq"], &event.data["rewind"], &event.data["content"]), (&json!(4), &json!(0), &json!([])));
        // A client that missed both gets what is still valid.
        let mut late = Stream::open(&api, "s", "", appended["position"].as_str()).await;
        let event = late.next().await.expect("an event");
        assert_eq!((&event.data["seq"], &event.data["rewind"]), (&json!(4), &json!(0)));
        api.delete("/v1/sessions/s").await.ok(200);
        assert_eq!(late.next().await.expect("an event").data["rewind"], 0);

        let mut langchain = Stream::open(&api, "s", "?format=langchain", None).await;
        api.turn("s", "form").await;
        assert_eq!(langchain.next().await.expect("an event").data["content"][0]["type"], "human");
    })
    .await;
}

#[tokio::test]
async fn writes_of_another_process_arrive() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = sqlite_url(folder.path());
    let mut options = Options::default();
    options.poll = Duration::from_millis(20);
    let (one, other) = (Api::with(&url, options), Api::at(&url));
    let mut stream = Stream::open(&one, "s", "", None).await;
    for n in 0..5 {
        other.turn("s", &n.to_string()).await;
        assert_eq!(stream.record().await, (n, format!("{n}?")));
    }
}

#[tokio::test]
async fn concurrent_streams_see_every_record_once_in_order() {
    let api = Api::at("memory:");
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(Stream::open(&api, "s", "?after=start", None).await);
    }
    let writers = (0..8).map(|writer| {
        let api = api.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                api.turn("s", &format!("{writer}/{n}")).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for stream in &mut streams {
        for seq in 0..160 {
            assert_eq!(stream.record().await.0, seq);
        }
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert!(api.get("/metrics").await.text().contains("chat_memory_event_streams 5"));
    drop(streams);
    assert!(api.get("/metrics").await.text().contains("chat_memory_event_streams 0"));
}

#[tokio::test]
async fn restarted_log_sends_a_reset() {
    let old = Api::at("memory:");
    let mut stream = Stream::open(&old, "s", "?after=start", None).await;
    let mut last = String::new();
    for n in 0..3 {
        old.turn("s", &n.to_string()).await;
        last = stream.next().await.expect("an event").id;
    }
    // The log that replaces it is shorter, of the same length, and longer.
    for length in [0, 1, 3, 5] {
        let new = Api::at("memory:");
        for n in 0..length {
            new.turn("s", &format!("new {n}")).await;
        }
        let mut stream = Stream::open(&new, "s", "", Some(&last)).await;
        let event = stream.next().await.expect("an event");
        assert_eq!((event.kind.as_str(), &event.data), ("reset", &json!({})), "a log of {length}");
        new.turn("s", &format!("new {length}")).await;
        for n in 0..=length {
            assert_eq!(stream.record().await, (n, format!("new {n}?")), "all of it comes");
        }
    }
}

#[tokio::test]
async fn streams_end_when_the_service_stops() {
    everywhere(async |api| {
        let mut stream = Stream::open(&api, "s", "", None).await;
        api.turn("s", "one").await;
        assert_eq!(stream.record().await, (0, "one?".into()));
        api.service.stop();
        assert!(stream.next().await.is_none(), "it ends");
        // A new client learns when to retry.
        let mut late = Stream::open(&api, "s", "?after=start", None).await;
        while late.next().await.is_some() {}
    })
    .await;
}

#[tokio::test]
async fn stream_ends_when_its_key_is_revoked() {
    let [reader, writer] = Api::locked("memory:", [(Some("a"), &[Right::Read]), (Some("a"), &[Right::Read, Right::Write])]);
    let mut stream = Stream::open(&reader, "s", "", None).await;
    writer.turn("s", "one").await;
    assert_eq!(stream.record().await, (0, "one?".into()));
    keys::revoke(&reader.key_file(), reader.key_id()).expect("revoked");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    writer.turn("s", "two").await;
    assert!(stream.next().await.is_none(), "nothing more is sent");
}

#[tokio::test]
async fn idle_stream_ends_when_its_key_is_revoked() {
    let [reader] = Api::locked("memory:", [(None, &[Right::Read])]);
    let mut stream = Stream::open(&reader, "s", "", None).await;
    keys::revoke(&reader.key_file(), reader.key_id()).expect("revoked");
    assert!(stream.next().await.is_none(), "it ends by itself");
}

#[tokio::test]
async fn invalid_stream_positions_are_refused() {
    let api = Api::at("memory:");
    for query in ["?after=x", "?after=", "?from=start", "?format=xml"] {
        api.get(&format!("/v1/sessions/s/events{query}")).await.problem(400, "bad-request");
    }
    api.raw(Method::GET, "/v1/sessions/s/events", &[("last-event-id", "17")], "").await.problem(400, "bad-request");
    let head = api.raw(Method::HEAD, "/v1/sessions/s/events", &[], "").await;
    assert_eq!((head.status.as_u16(), head.header("content-type")), (200, "text/event-stream"));
}
