//! `chat` with an endpoint of our own, which streams and fails as real ones do.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::common::Place;
use crate::common::http::{Do, Request, Server, chunk, head, response};
use serde_json::{Value, json};

pub const SSE: &str = "text/event-stream";
const KEY: &str = "sk-a-secret-of-the-test";

/// An event with this piece of an answer.
pub fn delta(delta: Value) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}

pub fn finish(reason: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
}

/// A complete answer in these pieces of text.
pub fn stream(pieces: &[&str]) -> String {
    let pieces: String = pieces.iter().map(|text| delta(json!({"content": text}))).collect();
    [delta(json!({"role": "assistant", "content": ""})), pieces, finish("stop"), "data: [DONE]\n\n".into()].concat()
}

/// The stream in chunks of n bytes, which split events, lines and characters alike.
pub fn chunked(stream: &str, size: usize) -> Vec<Do> {
    let chunks = stream.as_bytes().chunks(size).map(chunk);
    [head(SSE, true)].into_iter().chain(chunks).chain([chunk(b"")]).collect()
}

pub fn answering(answer: impl Fn(&Request) -> Vec<Do> + Send + Sync + 'static) -> (Server, Place) {
    let server = Server::start(answer);
    let url = format!("{}/v1", server.url());
    let place = Place::sqlite().with("OPENAI_BASE_URL", url).with("OPENAI_API_KEY", KEY);
    (server, place)
}

pub fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).expect("JSON")
}

#[test]
fn conversation_is_remembered_across_runs() {
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
    assert_eq!(body(&requests[0])["stream_options"], json!({"include_usage": true}));
    let sent = body(&requests[2])["messages"].take();
    assert_eq!(sent[0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(sent[1], json!({"role": "user", "content": "One"}));
    assert_eq!(sent[5], json!({"role": "user", "content": "Three"}));
    let stored = place.messages("s");
    assert_eq!(stored.len(), 6, "the system prompt is not stored: {stored:?}");
    assert_eq!(place.run(&["show", "s", "--json"]).json()["records"].as_array().map(Vec::len), Some(3), "one append a turn");
}

#[test]
fn model_receives_only_the_window() {
    let (server, place) = answering(|_| chunked(&stream(&["Yes."]), 1000));
    for n in 0..3 {
        place.run_with(
            &["append", "s", "--file", "-"],
            format!("{{\"role\":\"user\",\"content\":\"{n}?\"}}\n{{\"role\":\"assistant\",\"content\":\"{n}!\",\"id\":\"x\"}}"),
        );
    }
    let ran = place.run_with(&["chat", "s", "--model", "m", "--turns", "1"], "And?\n");
    assert!(ran.err.contains("did not get all messages"), "{}", ran.err);
    ran.done();
    let sent = body(&server.requests()[0])["messages"].take();
    assert_eq!(
        sent,
        json!([{"role": "user", "content": "2?"}, {"role": "assistant", "content": "2!"}, {"role": "user", "content": "And?"}]),
        "and without fields that an endpoint does not know"
    );
}

/// Endpoints that stream by UTF-16 units split an emoji in two.
#[test]
fn emoji_split_across_two_events_is_joined() {
    let piece = |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let events = [piece("Hi \\ud83d"), piece("\\ude00!"), piece("\\ud83c\\udf89 \\ud83d"), piece("x"), finish("stop")];
    let stream = format!("{}data: [DONE]\n\n", events.concat());
    let (_server, place) = answering(move |_| chunked(&stream, 11));
    let ran = place.run(&["chat", "s", "--model", "m", "-m", "Hi"]);
    assert_eq!(ran.done(), "Hi 😀!🎉 \u{fffd}x\n");
    assert_eq!(place.messages("s")[1]["content"], "Hi 😀!🎉 \u{fffd}x");
}

#[test]
fn new_session_id_is_printed() {
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
fn non_streaming_endpoint_works() {
    let whole = json!({"choices": [{"message": {"role": "assistant", "content": "Whole."}, "finish_reason": "length"}]});
    let (_server, place) = answering(move |_| response("200 OK", "application/json", &whole.to_string()));
    let ran = place.run(&["chat", "s", "--model", "m", "-m", "Hi"]);
    assert!(ran.err.contains("length limit"), "{}", ran.err);
    assert_eq!(ran.done(), "Whole.\n");
    assert_eq!(place.messages("s")[1]["content"], "Whole.");
}

#[test]
fn streamed_tool_calls_are_stored_whole() {
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
    // The calls have no results, so the next request omits them: an endpoint would refuse them.
    place.run(&["chat", "s", "--model", "m", "-m", "Go on"]).done();
    let sent = body(&server.requests()[1])["messages"].take();
    assert_eq!(sent, json!([{"role": "user", "content": "Weather?"}, {"role": "user", "content": "Go on"}]));
}

#[test]
fn model_output_cannot_control_the_terminal() {
    let (_server, place) = answering(|_| chunked(&stream(&["\u{1b}]0;owned\u{7}", "\u{9b}2J"]), 5));
    let out = place.run(&["chat", "s", "--model", "m", "-m", "Hi"]).done();
    assert_eq!(out, "\\u{1b}]0;owned\\u{7}\\u{9b}2J\n");
    assert_eq!(place.messages("s")[1]["content"], "\u{1b}]0;owned\u{7}\u{9b}2J", "it is stored as it came");
}

/// Each of these fails with a sentence, and stores nothing of the turn.
#[test]
fn failed_answers_store_nothing() {
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
            &["lost in the middle"],
        ),
        (Box::new(move || vec![head(SSE, true), chunk(half_too.as_bytes())]), &["lost in the middle"]),
        (Box::new(move || vec![head(SSE, false), Do::Send(half_again.clone().into_bytes())]), &["lost in the middle"]),
        (Box::new(|| chunked("data: {\"choices\n\ndata: [DONE]\n\n", 100)), &["not JSON"]),
        (Box::new(|| chunked("data: [DONE]\n\n", 100)), &["empty answer"]),
        (Box::new(|| response("200 OK", "text/html", "<h1>Welcome</h1>")), &["base URL"]),
        (Box::new(Vec::new), &["cannot reach the endpoint"]),
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
fn unreachable_model_endpoint_is_named() {
    let place = Place::sqlite();
    let chat = |url: &str| place.run(&["chat", "s", "--model", "m", "-m", "Hi", "--base-url", url]);
    chat("http://127.0.0.1:1/v1").fails(1, &["cannot reach the endpoint http://127.0.0.1:1/v1/chat/completions"]);
    chat("localhost").fails(2, &["invalid --base-url"]);
    let ran = chat("http://user:hunter2@127.0.0.1:1/v1");
    ran.fails(2, &["OPENAI_API_KEY"]);
    assert!(!ran.err.contains("hunter2"));
}

#[cfg(unix)]
#[test]
fn interrupted_answer_is_not_stored() {
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
    let ran: crate::common::Ran = child.wait_with_output().expect("it ends").into();
    ran.fails(130, &["interrupted: nothing of this turn was stored"]);
    assert!(place.messages("s").is_empty());
}

#[test]
fn read_only_store_is_refused_before_the_model_is_asked() {
    let (server, place) = answering(|_| chunked(&stream(&["Hi."]), 1000));
    place.run(&["append", "s", "Hi"]).done();
    place.run(&["chat", "s", "--model", "m", "-m", "Hi", "--read-only"]).fails(1, &["the store is read-only", "--read-only"]);
    let url = "sqlite:chats.db?read_only=true";
    place.run(&["--store", url, "chat", "s", "--model", "m", "-m", "Hi"]).fails(1, &["the store is read-only"]);
    assert!(server.requests().is_empty(), "nobody pays for an answer that cannot be stored");
    assert_eq!(place.messages("s").len(), 1);
}

#[test]
fn full_chat_completions_url_works_as_base_url() {
    let (server, place) = answering(|_| chunked(&stream(&["Hi."]), 1000));
    let url = format!("{}/v1/chat/completions", server.url());
    place.run(&["chat", "s", "--model", "m", "-m", "Hi", "--base-url", &url]).done();
    assert_eq!(server.requests()[0].path, "/v1/chat/completions");
    let url = format!("{}/v1/responses", server.url());
    place
        .run(&["chat", "s", "--model", "m", "-m", "Hi", "--base-url", &url])
        .fails(2, &["--base-url", "/responses", "/chat/completions"]);
}

#[test]
fn slash_commands_are_not_sent_to_the_model() {
    let (server, place) = answering(|_| chunked(&stream(&["Yes."]), 1000));
    let ran = place.run_with(&["chat", "s", "--model", "m"], "/help\n//etc is what?\n/quit\nnever asked\n");
    assert!(ran.err.contains("/quit") && ran.err.contains("Ctrl-C"), "{}", ran.err);
    ran.done();
    let unknown = place.run_with(&["chat", "s", "--model", "m"], "/model other\nnever asked\n");
    unknown.fails(2, &["unknown command \"/model\"", "/help"]);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(place.messages("s")[0]["content"], "/etc is what?");
}

#[test]
fn multiline_message_is_read_from_standard_input() {
    let (server, place) = answering(|_| chunked(&stream(&["Yes."]), 1000));
    place.run_with(&["chat", "s", "--model", "m", "-m", "-"], "one\n\n/two\n").done();
    assert_eq!(server.requests().len(), 1);
    assert_eq!(place.messages("s")[0]["content"], "one\n\n/two");
}

#[test]
fn reasoning_is_shown_and_stored_but_not_resent() {
    for field in ["reasoning_content", "reasoning"] {
        let events = [
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({field: "Let me \u{1b}[2J"})),
            delta(json!({field: "think."})),
            delta(json!({"content": "42."})),
            finish("stop"),
            "data: [DONE]\n\n".to_owned(),
        ];
        let (server, place) = answering(move |_| chunked(&events.concat(), 9));
        let ran = place.run(&["chat", "s", "--model", "m", "-m", "Hi"]);
        assert_eq!(ran.err, "Let me \\u{1b}[2Jthink.\n\n", "apart from the answer, and without steering the terminal");
        assert_eq!(ran.done(), "42.\n");
        assert_eq!(place.messages("s")[1], json!({"role": "assistant", "content": "42.", field: "Let me \u{1b}[2Jthink."}));
        assert!(place.run(&["show", "s"]).done().contains("think.\n  42.\n"));
        // Endpoints refuse it, or charge for it.
        place.run(&["chat", "s", "--model", "m", "-m", "More", "--json"]).done();
        assert_eq!(body(&server.requests()[1])["messages"][1], json!({"role": "assistant", "content": "42."}));
    }
    let events = [delta(json!({"reasoning": "Hm."})), finish("length"), "data: [DONE]\n\n".to_owned()];
    let (_server, place) = answering(move |_| chunked(&events.concat(), 100));
    place.run(&["chat", "s", "--model", "m", "-m", "Hi"]).fails(1, &["reasoned and did not answer", "length"]);
}

#[cfg(unix)]
fn interrupt(child: &std::process::Child) {
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill is everywhere").success());
}

#[cfg(unix)]
#[test]
fn interrupt_ends_the_wait_for_the_store() {
    let (model, place) = answering(|_| chunked(&stream(&["Hi."]), 1000));
    // A table that accepts each request, and never answers.
    let table = Server::start(|_| vec![Do::Hang]);
    let store = format!("dynamodb://chats?endpoint={}&region=eu-west-1&request_timeout=10m&deadline=30m", table.url());
    let mut command = place.command(["--store", &store, "chat", "s", "--model", "m", "-m", "Hi"]);
    command.env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    while table.requests().is_empty() {
        std::thread::yield_now();
    }
    interrupt(&child);
    let ran: crate::common::Ran = child.wait_with_output().expect("it ends").into();
    ran.fails(130, &["interrupted: nothing of this turn was stored"]);
    assert!(model.requests().is_empty());
}

#[test]
fn usage_is_reported_where_the_endpoint_knows_it() {
    let usage = json!({"prompt_tokens": 12, "completion_tokens": 3});
    let last = format!("data: {}\n\ndata: [DONE]\n\n", json!({"choices": [], "usage": usage}));
    let events = [delta(json!({"content": "Hi."})), finish("stop"), last].concat();
    let (_server, place) = answering(move |_| chunked(&events, 9));
    assert_eq!(place.run(&["chat", "s", "--model", "m", "-m", "Hi", "--json"]).json()["usage"], usage);

    // Others refuse the option that asks for it. They are asked again without, once.
    let (server, place) = answering(|request| match body(request).get("stream_options") {
        Some(_) => {
            response("422 Unprocessable Entity", "application/json", r#"{"detail": [{"loc": ["body", "stream_options"]}]}"#)
        }
        None => chunked(&stream(&["Hi."]), 1000),
    });
    let ran = place.run_with(&["chat", "s", "--model", "m", "--json"], "One\nTwo\n");
    assert!(ran.done().lines().all(|line| line.contains("\"usage\":null")));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn fork_continues_in_a_copy() {
    let (server, place) = answering(|_| chunked(&stream(&["Answer"]), 1000));
    place.run_with(&["chat", "s", "--model", "m", "--owner", "ada"], "One\nTwo\n").done();
    let ran = place.run_with(&["chat", "s", "--model", "m", "--owner", "ada"], "/fork 0\nThree\n");
    assert!(ran.err.contains("forked s up to record 0 (1 record)"), "{}", ran.err);
    let contents = |session: &str| -> Vec<Value> {
        place.messages(session).into_iter().map(|mut message| message["content"].take()).collect()
    };
    assert_eq!(contents("s"), ["One", "Answer", "Two", "Answer"]);
    let listed = place.run(&["sessions", "--owner", "ada", "--json"]).done();
    let infos = listed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let fork = infos.into_iter().find(|info| info["id"] != "s").expect("the fork is listed");
    assert_eq!(fork["metadata"]["forked_from"], json!({"session": "s", "seq": 0}));
    assert_eq!(contents(fork["id"].as_str().expect("an id")), ["One", "Answer", "Three", "Answer"]);
    assert_eq!(server.requests().len(), 3);
    place.run_with(&["chat", "empty", "--model", "m"], "/fork\n").fails(1, &["it has no messages"]);
}

#[test]
fn scripts_may_undo_and_retry() {
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let (server, place) = answering(move |_| {
        let n = answers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        chunked(&stream(&["Answer ", &n.to_string()]), 1000)
    });
    let ran = place.run_with(&["chat", "s", "--model", "m", "--turns", "1"], "One\nTwo\nThree\n/undo\n/retry\n");
    assert!(ran.err.contains("removed the last turn: Three") && ran.err.contains("asking again: Two"), "{}", ran.err);
    assert_eq!(ran.done(), "Answer 0\nAnswer 1\nAnswer 2\nAnswer 3\n");
    let contents: Vec<Value> = place.messages("s").into_iter().map(|mut message| message["content"].take()).collect();
    assert_eq!(contents, ["One", "Answer 0", "Two", "Answer 3"]);
    // The model got what it got the first time, without its old answer.
    let sent = |n: usize| body(&server.requests()[n])["messages"].take();
    assert_eq!(sent(3), sent(1));
    // The new answer took the old one's place in one append: there were no records between.
    let records = place.run(&["show", "s", "--json"]).json()["records"].take();
    assert_eq!(
        records.as_array().map(|records| records.iter().map(|record| record["seq"].clone()).collect()),
        Some(vec![json!(0), json!(4)])
    );
    place.run_with(&["chat", "new", "--model", "m"], "/undo 2\n").fails(2, &["unknown command \"/undo 2\""]);
    // What a person would see is not mixed into a script's output.
    let ran = place.run_with(&["chat", "new", "--model", "m", "--json"], "/sessions\n/sessions s\n");
    let listed: Vec<Value> = ran.done().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(listed.iter().map(|info| info["id"].clone()).collect::<Vec<_>>(), ["s"]);
    let nothing = place.run_with(&["chat", "new", "--model", "m"], "/undo\n/retry\n");
    assert!(nothing.err.contains("no turn to remove") && nothing.err.contains("no question to ask again"), "{}", nothing.err);
}
