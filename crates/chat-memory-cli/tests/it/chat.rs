//! `chat` with an endpoint of our own, which streams and fails as real ones do.

use std::io::{Read, Write as _};
use std::process::{Command, Stdio};

use crate::common::Place;
use crate::common::http::{Do, Request, Server, chunk, head, response};
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

/// A complete answer in these pieces of text.
fn stream(pieces: &[&str]) -> String {
    let pieces: String = pieces.iter().map(|text| delta(json!({"content": text}))).collect();
    [delta(json!({"role": "assistant", "content": ""})), pieces, finish("stop"), "data: [DONE]\n\n".into()].concat()
}

/// The stream in chunks of n bytes, which split events, lines and characters alike.
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
    ran.fails(1, &["interrupted: nothing of this turn was stored"]);
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
    ran.fails(1, &["interrupted: nothing of this turn was stored"]);
    assert!(model.requests().is_empty());
}

/// The program on a terminal, provided by util-linux's `script`.
#[cfg(target_os = "linux")]
struct Terminal {
    child: std::process::Child,
    shown: String,
}

#[cfg(target_os = "linux")]
impl Terminal {
    fn chat(place: &Place, server: &Server) -> Self {
        let program = env!("CARGO_BIN_EXE_chat-memory");
        let mut command = Command::new("script");
        command.args(["-qec", &format!("'{program}' chat s --model m"), "/dev/null"]).current_dir(place.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", place.path()).env("TERM", "dumb");
        command.env("CHAT_MEMORY_STORE", &place.store).env("OPENAI_BASE_URL", format!("{}/v1", server.url()));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("util-linux is there");
        Self { child, shown: String::new() }
    }

    fn type_(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("piped").write_all(text.as_bytes()).expect("it reads");
    }

    /// Waits until this is on the screen, after what was waited for before.
    fn wait_for(&mut self, text: &str) {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&bytes).contains(text) {
            let read = self.child.stdout.as_mut().expect("piped").read(&mut byte).expect("readable");
            assert_eq!(read, 1, "it ended before {text:?}: {}{}", self.shown, String::from_utf8_lossy(&bytes));
            bytes.push(byte[0]);
        }
        self.shown.push_str(&String::from_utf8_lossy(&bytes));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn terminal_paste_is_one_question() {
    let (server, place) = answering(|_| chunked(&stream(&["Yes."]), 1000));
    let mut terminal = Terminal::chat(&place, &server);
    terminal.wait_for("s: m at http://");
    terminal.wait_for("> ");
    terminal.type_("one\ntwo\n");
    terminal.wait_for("(2 lines were pasted; Enter sends them)");
    terminal.type_("three\n");
    terminal.wait_for("Yes.");
    terminal.wait_for("> ");
    terminal.type_("four\\\n");
    terminal.wait_for("… ");
    terminal.type_("five\n");
    terminal.wait_for("Yes.");
    terminal.wait_for("> ");
    terminal.type_("/nothing\n");
    terminal.wait_for("unknown command");
    terminal.wait_for("> ");
    terminal.type_("/quit\n");
    assert!(terminal.child.wait().expect("it ends").success());
    assert_eq!(server.requests().len(), 2);
    let asked: Vec<Value> = place.messages("s").into_iter().step_by(2).map(|mut message| message["content"].take()).collect();
    assert_eq!(asked, ["one\ntwo\nthree", "four\nfive"]);
}
