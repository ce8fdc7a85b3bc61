//! `chat` against an endpoint of our own, which streams as real ones do, and as they fail.

mod common;

use std::io::Read;
use std::process::Stdio;

use common::Place;
use common::http::{Do, Request, Server, chunk, head, response};
use serde_json::{Value, json};

const SSE: &str = "text/event-stream";
const KEY: &str = "sk-a-secret-of-the-test";

/// An event with this piece of an answer.
fn delta(delta: Value) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}

fn finish(reason: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
}

/// A whole answer in these pieces of text.
fn stream(pieces: &[&str]) -> String {
    let pieces: String = pieces.iter().map(|text| delta(json!({"content": text}))).collect();
    [delta(json!({"role": "assistant", "content": ""})), pieces, finish("stop"), "data: [DONE]\n\n".into()].concat()
}

/// The stream in chunks of so many bytes, which split events, lines and characters alike.
fn chunked(stream: &str, size: usize) -> Vec<Do> {
    let chunks = stream.as_bytes().chunks(size).map(chunk);
    [head(SSE, true)].into_iter().chain(chunks).chain([chunk(b"")]).collect()
}

fn answering(answer: impl Fn(&Request) -> Vec<Do> + Send + Sync + 'static) -> (Server, Place) {
    let server = Server::start(answer);
    let url = format!("{}/v1", server.url());
    let place = Place::sqlite().with("OPENAI_BASE_URL", url).with("OPENAI_API_KEY", KEY);
    (server, place)
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).expect("JSON")
}

#[test]
fn a_conversation_is_remembered_across_runs() {
    let (server, place) = answering(|request| {
        let asked = body(request)["messages"].as_array().expect("a list").len();
        chunked(&stream(&["You said ", &asked.to_string(), " things, 日本 👍"]), 7)
    });
    let ran = place.run_with(&["chat", "s", "--model", "m", "--cost"], "One\n\nTwo\n");
    assert!(ran.err.starts_with("cost: requests=4 "), "two loads and two appends: {}", ran.err);
    assert_eq!(ran.done(), "You said 1 things, 日本 👍\nYou said 3 things, 日本 👍\n");
    let third = place.run(&["chat", "s", "--model", "m", "--system", "Be brief.", "-m", "Three"]).done();
    assert_eq!(third, "You said 6 things, 日本 👍\n");

    let requests = server.requests();
    assert_eq!(requests[0].path, "/v1/chat/completions");
    assert_eq!(requests[0].headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!((&body(&requests[0])["model"], &body(&requests[0])["stream"]), (&json!("m"), &json!(true)));
    let sent = body(&requests[2])["messages"].take();
    assert_eq!(sent[0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(sent[1], json!({"role": "user", "content": "One"}));
    assert_eq!(sent[5], json!({"role": "user", "content": "Three"}));
    let stored = place.messages("s");
    assert_eq!(stored.len(), 6, "the system prompt is not stored: {stored:?}");
    assert_eq!(place.run(&["show", "s", "--json"]).json()["records"].as_array().map(Vec::len), Some(3), "one append a turn");
}

#[test]
fn the_model_is_shown_the_window() {
    let (server, place) = answering(|_| chunked(&stream(&["Yes."]), 1000));
    for n in 0..3 {
        place.run_with(
            &["append", "s", "--file", "-"],
            format!("{{\"role\":\"user\",\"content\":\"{n}?\"}}\n{{\"role\":\"assistant\",\"content\":\"{n}!\",\"id\":\"x\"}}"),
        );
    }
    let ran = place.run_with(&["chat", "s", "--model", "m", "--turns", "1"], "And?\n");
    assert!(ran.err.contains("was not shown everything"), "{}", ran.err);
    ran.done();
    let sent = body(&server.requests()[0])["messages"].take();
    assert_eq!(
        sent,
        json!([{"role": "user", "content": "2?"}, {"role": "assistant", "content": "2!"}, {"role": "user", "content": "And?"}]),
        "and without fields that an endpoint does not know"
    );
}

/// Endpoints that stream by UTF-16 units cut an emoji in two.
#[test]
fn an_emoji_that_two_events_share_is_put_together() {
    let piece = |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let events = [piece("Hi \\ud83d"), piece("\\ude00!"), piece("\\ud83c\\udf89 \\ud83d"), piece("x"), finish("stop")];
    let stream = format!("{}data: [DONE]\n\n", events.concat());
    let (_server, place) = answering(move |_| chunked(&stream, 11));
    let ran = place.run(&["chat", "s", "--model", "m", "-m", "Hi"]);
    assert_eq!(ran.done(), "Hi 😀!🎉 \u{fffd}x\n");
    assert_eq!(place.messages("s")[1]["content"], "Hi 😀!🎉 \u{fffd}x");
}

#[test]
fn a_new_session_is_named() {
    let (_server, place) = answering(|_| chunked(&stream(&["Hi."]), 1000));
    let ran = place.run(&["chat", "--model", "m", "-m", "Hello", "--json", "--owner", "ann"]);
    let id = ran.err.strip_prefix("new session ").expect("it is said").trim().to_owned();
    let answer = ran.json();
    assert_eq!((&answer["session"], &answer["seq"], &answer["finish_reason"]), (&json!(id), &json!(0), &json!("stop")));
    assert_eq!(answer["answer"], json!({"role": "assistant", "content": "Hi."}));
    assert_eq!(place.messages(&id).len(), 2);
    assert!(place.run(&["sessions", "--owner", "ann"]).done().contains(&id));
}

#[test]
fn an_endpoint_that_does_not_stream() {
    let whole = json!({"choices": [{"message": {"role": "assistant", "content": "Whole."}, "finish_reason": "length"}]});
    let (_server, place) = answering(move |_| response("200 OK", "application/json", &whole.to_string()));
    let ran = place.run(&["chat", "s", "--model", "m", "-m", "Hi"]);
    assert!(ran.err.contains("longest answer"), "{}", ran.err);
    assert_eq!(ran.done(), "Whole.\n");
    assert_eq!(place.messages("s")[1]["content"], "Whole.");
}

#[test]
fn tool_calls_come_in_pieces() {
    let call = |index: u64, piece: Value| delta(json!({"tool_calls": [{"index": index, "function": piece}]}));
    let events = [
        delta(json!({"role": "assistant", "content": null, "tool_calls": [
            {"index": 0, "id": "c0", "type": "function", "function": {"name": "weather", "arguments": ""}}]})),
        call(0, json!({"arguments": "{\"city\":"})),
        delta(
            json!({"tool_calls": [{"index": 1, "id": "c1", "type": "function", "function": {"name": "time", "arguments": "{}"}}]}),
        ),
        call(0, json!({"arguments": "\"Paris\"}"})),
        finish("tool_calls"),
        "data: [DONE]\n\n".to_owned(),
    ];
    let (server, place) = answering(move |_| chunked(&events.concat(), 11));
    let ran = place.run(&["chat", "s", "--model", "m", "-m", "Weather?"]);
    assert!(ran.err.contains("tools are not run here"), "{}", ran.err);
    assert!(ran.done().contains("calls weather (c0)\n    city: Paris\n  calls time (c1)\n"));
    let function = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    assert_eq!(
        place.messages("s")[1],
        json!({"role": "assistant", "content": null, "tool_calls": [function("c0", "weather", "{\"city\":\"Paris\"}"), function("c1", "time", "{}")]})
    );
    // The calls have no results, so the next request leaves them out: an endpoint would refuse them.
    place.run(&["chat", "s", "--model", "m", "-m", "Go on"]).done();
    let sent = body(&server.requests()[1])["messages"].take();
    assert_eq!(sent, json!([{"role": "user", "content": "Weather?"}, {"role": "user", "content": "Go on"}]));
}

#[test]
fn what_the_model_says_does_not_steer_the_terminal() {
    let (_server, place) = answering(|_| chunked(&stream(&["\u{1b}]0;owned\u{7}", "\u{9b}2J"]), 5));
    let out = place.run(&["chat", "s", "--model", "m", "-m", "Hi"]).done();
    assert_eq!(out, "\\u{1b}]0;owned\\u{7}\\u{9b}2J\n");
    assert_eq!(place.messages("s")[1]["content"], "\u{1b}]0;owned\u{7}\u{9b}2J", "it is stored as it came");
}

/// Each of these fails with a sentence, and leaves nothing of the turn behind.
#[test]
fn failures_leave_nothing_behind() {
    type Answer = Box<dyn Fn() -> Vec<Do> + Send + Sync>;
    let error = |message: &str| json!({"error": {"message": message, "type": "x"}}).to_string();
    let unauthorized = error("Incorrect API key provided.");
    let overloaded = format!("data: {}\n\n", error("The server is overloaded"));
    let half = [delta(json!({"role": "assistant", "content": "Half an"})), delta(json!({"content": " ans"}))].concat();
    let (half_too, half_again) = (half.clone(), half.clone());
    let cases: Vec<(Answer, &[&str])> = vec![
        (
            Box::new(move || response("401 Unauthorized", "application/json", &unauthorized)),
            &["401", "Incorrect API key", "OPENAI_API_KEY"],
        ),
        (Box::new(|| response("404 Not Found", "text/html", "<h1>Not found</h1>")), &["404", "--model", "/v1"]),
        (Box::new(|| response("503 Service Unavailable", "text/plain", "\u{1b}[31m")), &["503"]),
        (Box::new(move || chunked(&overloaded, 10)), &["The server is overloaded"]),
        // Cut within a chunk, after a chunk, and where the body ends with the connection.
        (
            Box::new(move || vec![head(SSE, true), chunk(half.as_bytes()), Do::Send(b"40\r\ndata: {".to_vec())]),
            &["cut in the middle"],
        ),
        (Box::new(move || vec![head(SSE, true), chunk(half_too.as_bytes())]), &["cut in the middle"]),
        (Box::new(move || vec![head(SSE, false), Do::Send(half_again.clone().into_bytes())]), &["cut in the middle"]),
        (Box::new(|| chunked("data: {\"choices\n\ndata: [DONE]\n\n", 100)), &["no JSON"]),
        (Box::new(|| chunked("data: [DONE]\n\n", 100)), &["answered with nothing"]),
        (Box::new(|| response("200 OK", "text/html", "<h1>Welcome</h1>")), &["base URL"]),
        (Box::new(Vec::new), &["cannot be reached"]),
    ];
    for (answer, says) in cases {
        let (_server, place) = answering(move |_| answer());
        let ran = place.run(&["chat", "s", "--model", "m", "-m", "Hi"]);
        ran.fails(1, says);
        ran.fails(1, &["nothing of this turn was stored"]);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(!ran.err.contains(KEY) && !ran.err.contains('\u{1b}'), "{}", ran.err);
        assert!(place.messages("s").is_empty(), "{}", ran.err);
    }
}

#[test]
fn an_endpoint_that_is_not_there() {
    let place = Place::sqlite();
    let chat = |url: &str| place.run(&["chat", "s", "--model", "m", "-m", "Hi", "--base-url", url]);
    chat("http://127.0.0.1:1/v1").fails(1, &["http://127.0.0.1:1/v1/chat/completions cannot be reached"]);
    chat("localhost").fails(2, &["--base-url is a URL"]);
    let ran = chat("http://user:hunter2@127.0.0.1:1/v1");
    ran.fails(2, &["OPENAI_API_KEY"]);
    assert!(!ran.err.contains("hunter2"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_answer_is_not_stored() {
    let half = delta(json!({"role": "assistant", "content": "Half an answer"}));
    let (_server, place) = answering(move |_| vec![head(SSE, true), chunk(half.as_bytes()), Do::Hang]);
    let mut child = place
        .command(["chat", "s", "--model", "m", "-m", "Hi"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = [0; 14];
    child.stdout.as_mut().expect("piped").read_exact(&mut said).expect("the first piece is printed at once");
    assert_eq!(&said, b"Half an answer");
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill is everywhere").success());
    let ran: common::Ran = child.wait_with_output().expect("it ends").into();
    ran.fails(1, &["interrupted: nothing of this turn was stored"]);
    assert!(place.messages("s").is_empty());
}
